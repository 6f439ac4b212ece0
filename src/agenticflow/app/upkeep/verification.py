"""Whether a store is sound: what the backend says of its own bytes, and whether everything derived follows from the events.

Reads only, page by page, and works beside a running owner: what looks wrong is read again before it is called wrong, because the owner
may have written between two reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import msgspec

from agenticflow.core.decider import Fact
from agenticflow.core.events import EventPredicate
from agenticflow.core.values import BlobMissing, Values, reference_in
from agenticflow.errors import AgenticFlowError, CorruptStore
from agenticflow.orchestration.facts import FACTS, WorkflowStarted
from agenticflow.orchestration.guest import KIND, WorkflowGuest
from agenticflow.orchestration.state import RunState
from agenticflow.runtime.actors import run_row
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = ["Verification", "verify_store"]

PAGE: Final = 2_000
TRIES: Final = 5
"""How often a run that looks wrong is read again while its owner keeps writing to it."""


class Verification(msgspec.Struct):
    """What was looked at, and what is wrong with it, in words."""

    runs: int = 0
    events: int = 0
    blobs: int = 0
    problems: list[str] = []

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class _Folded(msgspec.Struct):
    state: RunState
    version: int
    blobs: set[str]


async def verify_store(store: Store, progress: Callable[[int], None] | None = None) -> Verification:
    """Fold every run from its first event (not from snapshots) and compare with the index; look for every large value referred to.

    ``progress(runs so far)`` is called after each run. What cannot be read is a problem like any other; nothing is raised for it.
    """
    found = Verification(problems=[])
    verify: Callable[[], Awaitable[list[str]]] | None = getattr(store, "verify", None)
    if verify is not None:
        found.problems += await verify()
    streams: set[str] = set()
    blobs: set[str] = set()
    after = 0
    started = EventPredicate(event_types={WorkflowStarted.event_type})
    while page := await store.scan_page(after, PAGE, started):
        for stored in page:
            if stored.event_type == WorkflowStarted.event_type and stored.stream_id not in streams:
                streams.add(stored.stream_id)
                await _verify_run(store, stored.stream_id, found, blobs)
                found.runs += 1
                if progress is not None:
                    progress(found.runs)
        after = page[-1].position
    async for stream_id in _runs_in_the_index_only(store, streams):
        # Archived, or begun since the events were read: else it has no events.
        if await store.read_page(stream_id, 0, 1):
            await _verify_run(store, stream_id, found, blobs)
            found.runs += 1
            if progress is not None:
                progress(found.runs)
        elif await _row(store, stream_id) is not None:
            found.problems.append(f"the index has {stream_id!r}, which has no events")
    found.blobs = len(blobs)
    return found


async def _verify_run(store: Store, stream_id: str, found: Verification, blobs: set[str]) -> None:
    problems: list[str] = []
    folded: _Folded | None = None
    for _ in range(TRIES):
        before = await _row(store, stream_id)
        try:
            folded = await _fold(store, stream_id)
        except AgenticFlowError as error:
            found.problems.append(f"run {stream_id!r} cannot be folded: {error}")
            return
        problems = _compare(stream_id, before, folded)
        after = await _row(store, stream_id)
        if not problems or (after == before and not await store.read_page(stream_id, folded.version, 1)):
            break
    found.problems += problems
    if folded is None:
        return
    found.events += folded.version
    for name in folded.blobs - blobs:
        try:
            if await store.get_blob(name) is None:
                found.problems.append(f"run {stream_id!r} refers to the value {name}, which is gone")
        except AgenticFlowError as error:
            found.problems.append(f"a value of run {stream_id!r}: {error}")
    blobs |= folded.blobs


async def _row(store: Store, stream_id: str) -> RunRow | None:
    execution_id, _, run_no = stream_id.removeprefix(f"{KIND}-").rpartition("/")
    return await store.get_run(execution_id, int(run_no)) if run_no.isdecimal() else None


def _compare(stream_id: str, row: RunRow | None, folded: _Folded) -> list[str]:
    if row is None:
        return [f"run {stream_id!r} is not in the index"]
    wanted = run_row(stream_id, WorkflowGuest(), folded.state, row.version)
    problems = [
        f"run {stream_id!r}: the index says {field} {getattr(row, field)!r}, its events say {getattr(wanted, field)!r}"
        for field in RunRow.__struct_fields__
        if getattr(row, field) != getattr(wanted, field)
    ]
    if row.version > folded.version:
        problems.append(f"run {stream_id!r}: the index knows version {row.version}, there are {folded.version} events")
    return problems


async def _fold(store: Store, stream_id: str) -> _Folded:
    guest = WorkflowGuest()
    state = guest.initial(stream_id)
    state.values = Values()
    version = 0
    blobs: set[str] = set()
    while page := await store.read_page(stream_id, version, PAGE):
        for stored in page:
            fact = FACTS.decode(stored.event_type, stored.data, stored.schema_version)
            blobs.update(_references(fact))
            while True:
                try:
                    guest.evolve(state, fact, stored.version, stored.timestamp)
                    break
                except BlobMissing as missing:
                    data = await store.get_blob(missing.reference.hash)
                    if data is None:
                        raise CorruptStore(f"the value {missing.reference.hash} is gone") from None
                    state.values.put(missing.reference.hash, data)
            version = stored.version
    return _Folded(state, version, blobs)


def _references(fact: Fact) -> Iterator[str]:
    for field in fact.__struct_fields__:
        value = getattr(fact, field)
        if isinstance(value, msgspec.Raw):
            reference = reference_in(bytes(value))
            if reference is not None:
                yield reference.hash


async def _runs_in_the_index_only(store: Store, streams: set[str]) -> AsyncIterator[str]:
    after: str | None = None
    while rows := await store.list_runs(kind=KIND, after=after, limit=PAGE):
        for row in rows:
            if row.stream_id not in streams:
                yield row.stream_id
        after = rows[-1].stream_id
