"""Test doubles that are real: a store that fails and dawdles on request, journals of tasks without an engine.

A fake keeps every promise of what it stands for except the one it was told to break, and says in advance how often it will break it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from agenticflow.core.context import effect_key
from agenticflow.core.events import EventPredicate
from agenticflow.core.journal import CallEffect, Entry, Fingerprint
from agenticflow.core.results import ErrorInfo
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError, OutcomeUnknown, StoreUnavailable
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.rows import RunRow, Snapshot

__all__ = ["FlakyStore", "MemoryJournals", "StoreMethod"]

T = TypeVar("T")
StoreMethod = Literal[
    "commit",
    "read_page",
    "scan_page",
    "get_run",
    "list_runs",
    "get_snapshot",
    "get_blob",
    "get_value",
    "put_value",
    "delete_value",
    "list_values",
    "compact",
]


def _anything(_: object) -> bool:
    return True


class _Failure:
    __slots__ = ("error", "is_written", "only", "skip", "times")

    def __init__(
        self, error: AgenticFlowError | None, times: int, skip: int, is_written: bool, only: Callable[[object], bool]
    ) -> None:
        self.error = error
        self.times = times
        self.skip = skip
        self.is_written = is_written
        self.only = only

    def strikes(self, argument: object) -> bool:
        if self.times <= 0 or not self.only(argument):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FlakyStore(MemoryStore):
    """A memory store that fails when told to: ``store.fail("commit", times=3)``.

    With ``delay_seconds`` every call (of the methods in ``delayed``, when given) takes that long, so that others get their turn in
    between, as with a store on disk. ``calls`` counts calls by method, ``failures`` those that failed.
    """

    def __init__(self, schemas: SchemaRegistry | None = None, *, delay_seconds: float | None = None) -> None:
        super().__init__(schemas)
        self.delay_seconds = delay_seconds
        self.delayed: Collection[StoreMethod] | None = None
        self.calls: dict[str, int] = {}
        self.failures = 0
        self._failures: dict[str, list[_Failure]] = {}

    def fail(
        self,
        method: StoreMethod,
        *,
        times: int = 1,
        skip: int = 0,
        error: AgenticFlowError | None = None,
        is_written: bool = False,
        only: Callable[[object], bool] = _anything,
    ) -> None:
        """Let the next ``times`` calls of ``method``, after ``skip`` that go well, raise ``error`` (by default ``StoreUnavailable``).

        ``only`` picks calls by their first argument (the ``Commit``, a stream id, a blob's name; of values the key, of a list of
        them the namespace). A ``commit`` or ``put_value`` with ``is_written`` is made true before it fails, by default with
        ``OutcomeUnknown``: the caller cannot know.
        """
        self._failures.setdefault(method, []).append(_Failure(error, times, skip, is_written, only))

    def heal(self) -> None:
        """Fail no more."""
        self._failures.clear()

    async def _pass(self, method: StoreMethod, argument: object) -> _Failure | None:
        """Count the call; return the failure that strikes it, if any."""
        self.calls[method] = self.calls.get(method, 0) + 1
        if self.delay_seconds is not None and (self.delayed is None or method in self.delayed):
            await asyncio.sleep(self.delay_seconds)
        for failure in self._failures.get(method, ()):
            if failure.strikes(argument):
                self.failures += 1
                return failure
        return None

    async def _pass_or_raise(self, method: StoreMethod, argument: object) -> None:
        failure = await self._pass(method, argument)
        if failure is not None:
            raise failure.error or StoreUnavailable(f"{method} failed, as it was told to")

    async def commit(self, commit: Commit) -> Committed:
        failure = await self._pass("commit", commit)
        if failure is None:
            return await super().commit(commit)
        if failure.is_written:
            await super().commit(commit)
            raise failure.error or OutcomeUnknown("the commit failed, as it was told to; its outcome is unknown")
        raise failure.error or StoreUnavailable("the commit failed, as it was told to")

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        await self._pass_or_raise("read_page", stream_id)
        return await super().read_page(stream_id, after_version, limit)

    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        await self._pass_or_raise("scan_page", after_position)
        return await super().scan_page(after_position, limit, predicate)

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        await self._pass_or_raise("get_run", execution_id)
        return await super().get_run(execution_id, run_no, kind=kind)

    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        await self._pass_or_raise("list_runs", kind)
        return await super().list_runs(kind=kind, status=status, is_open=is_open, after=after, limit=limit)

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        await self._pass_or_raise("get_snapshot", stream_id)
        return await super().get_snapshot(stream_id)

    async def get_blob(self, name: str) -> bytes | None:
        await self._pass_or_raise("get_blob", name)
        return await super().get_blob(name)

    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        await self._pass_or_raise("get_value", key)
        return await super().get_value(namespace, key, now=now)

    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        now: int,
        expires_at: int | None = None,
        expected_version: int = ANY_VERSION,
    ) -> int:
        failure = await self._pass("put_value", key)
        if failure is not None and not failure.is_written:
            raise failure.error or StoreUnavailable("put_value failed, as it was told to")
        version = await super().put_value(
            namespace, key, value, now=now, expires_at=expires_at, expected_version=expected_version
        )
        if failure is not None:
            raise failure.error or OutcomeUnknown("put_value failed, as it was told to; its outcome is unknown")
        return version

    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        await self._pass_or_raise("delete_value", key)
        return await super().delete_value(namespace, key, expected_version=expected_version)

    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        await self._pass_or_raise("list_values", namespace)
        return await super().list_values(namespace, now=now, prefix=prefix, after=after, limit=limit)

    async def compact(self, policy: RetentionPolicy = KEEP_ALL, *, now: int) -> Compacted:
        await self._pass_or_raise("compact", policy)
        return await super().compact(policy, now=now)


class MemoryJournals:
    """Keeps journals as long as it lives: ``context.journals = MemoryJournals()``.

    ``entries`` has the calls of each task, by its effect key and the key of the call. A second context of the same task goes on where the
    first was, as another attempt does.
    """

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Entry]] = {}

    def desk(self, *, workflow_id: str, task_key: str, generation: int, **attempt: int) -> MemoryDesk:
        """Return the desk of one attempt."""
        return MemoryDesk(self.entries.setdefault(effect_key(workflow_id, task_key, generation), {}))


class MemoryDesk:
    """Writes at once, and nobody else does."""

    is_superseded = False

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries

    async def find(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def start(self, key: str, fingerprint: Fingerprint) -> None:
        self._entries[key] = Entry(fingerprint, "at_most_once", 1)

    async def end(
        self,
        key: str,
        fingerprint: Fingerprint,
        effect: CallEffect,
        *,
        value: bytes | None = None,
        error: ErrorInfo | None = None,
        is_given: bool = False,
    ) -> None:
        self._entries[key] = Entry(fingerprint, effect, 1, value, error)

    async def withdraw(self, key: str) -> None:
        self._entries.pop(key, None)

    async def forget(self, key: str) -> None:
        keys = list(self._entries)
        for one in keys[keys.index(key) :]:
            del self._entries[one]

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """In a loop of its own: nothing here waits for another."""
        return asyncio.run(work)

    def close(self) -> None:
        """Nothing: what is written stays."""
