"""What a crash search watches: every commit that became true, every handler that was called, and a fence that death cannot pass.

``Recorded`` knows what the surviving store holds, ``FencedStore`` stands in front of it and lets nothing pass once its life has
ended, watched performers have each call checked against what was recorded at that moment. Nothing here kills anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.core.binding import Handler, RunsIn
from agenticflow.core.context import TaskContext
from agenticflow.core.decider import Fact
from agenticflow.core.events import EventPredicate
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.state import undo_key
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.rows import RunRow, Snapshot
from agenticflow.storage.store import Store
from agenticflow.testing.crashes.record import decode, read_whole

__all__ = ["Calls", "FencedStore", "Life", "Recorded", "watched_agent", "watched_worker"]

P = ParamSpec("P")
T = TypeVar("T")

_UNDO: Final = undo_key("")
"""What undoes at-most-once work may run twice itself."""


class Recorded:
    """What is true in the surviving store, as far as the calls of handlers must agree with it."""

    def __init__(self) -> None:
        self.scheduled: set[tuple[str, str, int, int]] = set()
        """``(stream, task key, generation, attempt)`` of every scheduled attempt."""
        self.started: set[tuple[str, str, int]] = set()
        """``(stream, task key, generation)`` with a recorded intent."""
        self.completed: set[tuple[str, str]] = set()
        self.asked_again: set[tuple[str, str]] = set()
        """Tasks that a person had tried again after they failed: that is what at-most-once work may run again for."""
        self.ended: set[str] = set()
        self._first: dict[str, int] = {}
        self._generations: dict[tuple[str, str], int] = {}

    def take(self, stream_id: str, fact: Fact) -> None:
        """Note one fact that became true."""
        match fact:
            case f.WorkflowStarted():
                self._first[stream_id] = fact.first_generation
                for key, generation in fact.generations.items():
                    self._generations[stream_id, key] = generation
            case f.TaskScheduled():
                self.scheduled.add((stream_id, fact.task_key, self._generation(stream_id, fact.task_key), fact.attempt))
            case f.TaskStarted():
                self.started.add((stream_id, fact.task_key, self._generation(stream_id, fact.task_key)))
            case f.TaskRerunRequested():
                self._generations[stream_id, fact.task_key] = fact.generation
            case f.TaskRetryRequested():
                self.asked_again.add((stream_id, fact.task_key))
            case f.WorkflowModified():
                for key, generation in fact.generations.items():
                    self._generations[stream_id, key] = generation
            case f.TaskCompleted() | f.TaskResultGiven():
                self.completed.add((stream_id, fact.task_key))
            case (
                f.WorkflowCompleted()
                | f.WorkflowFailed()
                | f.WorkflowCancelled()
                | f.WorkflowContinued()
                | f.WorkflowCompensated()
            ):
                self.ended.add(stream_id)
            case _:
                pass

    def _generation(self, stream_id: str, task_key: str) -> int:
        return self._first.get(stream_id, 0) + self._generations.get((stream_id, task_key), 0)

    async def reload(self, store: Store, stream_ids: Collection[str]) -> None:
        """Read again what a new life finds: commits may have become true after the moment of death."""
        for stream_id in stream_ids:
            for stored in await read_whole(store, stream_id):
                self.take(stream_id, decode(stored))


class Life(Protocol):
    """The life of one process, as far as its store is concerned."""

    def demand(self) -> None:
        """Raise when it has ended."""

    def arrive(self, point: str) -> None:
        """The life has come to ``point``; it may end there."""


class FencedStore(Store):
    """The store as one life sees it. When that life has ended, nothing passes any more.

    Before and after each commit ``latency()`` seconds pass, so that the moments between *decided* and *true*, and between *true* and
    *known to be true*, exist over every backend.
    """

    def __init__(self, inner: Store, recorded: Recorded, life: Life, latency: Callable[[], float]) -> None:
        super().__init__(inner.schemas)
        self.followers = inner.followers
        self._inner = inner
        self._recorded = recorded
        self._demand_life = life.demand
        self._arrive = life.arrive
        self._latency = latency

    async def commit(self, commit: Commit) -> Committed:
        self._demand_life()
        await asyncio.sleep(self._latency())
        self._arrive("commit.sent")
        committed = await self._inner.commit(commit)
        self._demand_life()
        self._note(commit, committed)
        self._arrive("commit.true")
        await asyncio.sleep(self._latency())
        self._demand_life()
        return committed

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        self._demand_life()
        await asyncio.sleep(self._latency())
        self._arrive("commit.sent")
        answers = await self._inner.commit_in_order(commits)
        self._demand_life()
        for commit, answer in zip(commits, answers, strict=False):
            if isinstance(answer, Committed):
                self._note(commit, answer)
        self._arrive("commit.true")
        await asyncio.sleep(self._latency())
        self._demand_life()
        return answers

    def _note(self, commit: Commit, committed: Committed) -> None:
        if not committed.is_repeated and commit.stream_id.startswith("workflow-"):
            for event in commit.events:
                fact = f.FACTS.decode(event.event_type, event.data, event.schema_version)
                self._recorded.take(commit.stream_id, fact)

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        self._demand_life()
        return await self._inner.read_page(stream_id, after_version, limit)

    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        self._demand_life()
        return await self._inner.scan_page(after_position, limit, predicate)

    async def last_position(self) -> int:
        self._demand_life()
        return await self._inner.last_position()

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        self._demand_life()
        return await self._inner.get_run(execution_id, run_no, kind=kind)

    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        self._demand_life()
        return await self._inner.list_runs(kind=kind, status=status, is_open=is_open, after=after, limit=limit)

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        self._demand_life()
        return await self._inner.get_snapshot(stream_id)

    async def get_blob(self, name: str) -> bytes | None:
        self._demand_life()
        return await self._inner.get_blob(name)

    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        self._demand_life()
        return await self._inner.get_value(namespace, key, now=now)

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
        return await self._written(
            self._inner.put_value,
            namespace,
            key,
            value,
            now=now,
            expires_at=expires_at,
            expected_version=expected_version,
        )

    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        return await self._written(self._inner.delete_value, namespace, key, expected_version=expected_version)

    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        self._demand_life()
        return await self._inner.list_values(namespace, now=now, prefix=prefix, after=after, limit=limit)

    async def _written(self, write: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write a value; a life may end before it is true, and between that and its being known."""
        self._demand_life()
        await asyncio.sleep(self._latency())
        self._arrive("value.sent")
        answer = await write(*args, **kwargs)
        self._demand_life()
        self._arrive("value.true")
        await asyncio.sleep(self._latency())
        self._demand_life()
        return answer

    async def compact(self, policy: RetentionPolicy = KEEP_ALL, *, now: int) -> Compacted:
        self._demand_life()
        return await self._inner.compact(policy, now=now)

    async def close(self) -> None:
        """Leave the inner store open: whoever opened it closes it."""


class Calls:
    """Every call of a handler over all lives of one case, checked at the moment it is made."""

    def __init__(self, recorded: Recorded, once_only: Collection[str]) -> None:
        self._recorded = recorded
        self._once_only = once_only
        self._made: dict[tuple[str, str, int], int] = {}
        self.violations: list[str] = []

    @property
    def count(self) -> int:
        """How often any handler was called."""
        return sum(self._made.values())

    @property
    def again(self) -> int:
        """How many calls came after the first of the same task: retries, and what was not recorded when its life ended."""
        return sum(times - 1 for times in self._made.values())

    def note(self, context: TaskContext) -> None:
        """A handler is about to be called."""
        stream_id, key = stream_of(context.workflow_id, context.run_no), context.task_key
        recorded, work = self._recorded, (stream_id, key, context.generation)
        what = f"task {key!r} of {stream_id!r}, attempt {context.attempt}, generation {context.generation}"
        if (*work, context.attempt) not in recorded.scheduled:
            self.violations.append(f"{what} ran before its scheduling was recorded")
        if (stream_id, key) in recorded.completed:
            self.violations.append(f"{what} ran again after its completion was recorded")
        if stream_id in recorded.ended:
            self.violations.append(f"{what} ran after the end of the run was recorded")
        if context.task_id in self._once_only and not context.task_key.startswith(_UNDO):
            if work not in recorded.started:
                self.violations.append(f"{what} is at-most-once and ran before its intent was recorded")
            if work in self._made and (stream_id, key) not in recorded.asked_again:
                self.violations.append(f"{what} is at-most-once and ran twice")
        self._made[work] = self._made.get(work, 0) + 1


class _WatchedHandler(Handler):
    """Calls the handler of somebody else and notes each call."""

    __slots__ = ("_calls", "_inner")

    def __init__(self, inner: Handler, calls: Calls) -> None:
        for name in Handler.__slots__:
            setattr(self, name, getattr(inner, name))
        self._inner = inner
        self._calls = calls
        if inner.runs_in is RunsIn.LOOP:
            self.function = self._call_on_loop
        elif inner.runs_in is RunsIn.THREAD:
            self.function = self._call_in_thread

    def arguments(self, params: dict[str, object], context: TaskContext) -> dict[str, Any]:
        arguments = self._inner.arguments(params, context)
        if self.runs_in is RunsIn.PROCESS:
            self._calls.note(context)
            return arguments
        return {"context": context, "arguments": arguments}

    async def _call_on_loop(self, context: TaskContext, arguments: dict[str, Any]) -> object:
        self._calls.note(context)
        function: Callable[..., Any] = self._inner.function
        return await function(**arguments)

    def _call_in_thread(self, context: TaskContext, arguments: dict[str, Any]) -> object:
        self._calls.note(context)
        return self._inner.function(**arguments)


class _WatchedAgent(Agent):
    __slots__ = ("_calls", "_original")

    def __init__(self, original: Agent, calls: Calls) -> None:
        super().__init__(
            original.agent_id, original.capabilities, role=original.role, concurrency=max(1, original.concurrency)
        )
        self._original = original
        self._calls = calls
        self._definition = original.definition
        self._tools = original._tools

    def handler_for(self, task_type: str) -> Handler | None:
        # The loop is this agent's own: it is driven by the engine that this one is registered with.
        has_own = task_type in self._original.task_types
        inner = self._original.handler_for(task_type) if has_own else super().handler_for(task_type)
        return None if inner is None else _WatchedHandler(inner, self._calls)


class _WatchedWorker(Worker[..., Any]):
    __slots__ = ("_calls", "_original")

    def __init__(self, original: Worker[..., Any], calls: Calls) -> None:
        super().__init__(original.name, original.function, concurrency=original.concurrency)
        self._original = original
        self._calls = calls

    def handler_for(self, task_type: str) -> Handler | None:
        inner = self._original.handler_for(task_type)
        return None if inner is None else _WatchedHandler(inner, self._calls)


def watched_agent(original: Agent, calls: Calls) -> Agent:
    """Return an agent as it is after a restart (same identity and handlers, fresh state) whose calls are noted."""
    return _WatchedAgent(original, calls)


def watched_worker(original: Worker[..., Any], calls: Calls) -> Worker[..., Any]:
    """Return a worker with the same function whose calls are noted."""
    return _WatchedWorker(original, calls)
