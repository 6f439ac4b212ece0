"""What survives a process: a store that remembers what was synced, and the view a process has of it, with everything that fails there.

``Disk`` is the one truth of a schedule; a ``ProcessStore`` stands before it for each process and is where commits are slow, refused,
lost on the way or not answered. A power loss takes the commits that were not synced, the last ones first: a commit is all or nothing,
which real files are held to by ``testing.faulty_disk``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from agenticflow.core.decider import Fact
from agenticflow.errors import AgenticFlowError, OutcomeUnknown, StoreUnavailable
from agenticflow.orchestration import facts as f
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store
from agenticflow.testing.crashes.watch import FencedStore, Life, Recorded
from agenticflow.testing.simulation.faults import FaultKind

__all__ = ["Disk", "ProcessStore", "Traffic", "at_once"]

P = ParamSpec("P")
T = TypeVar("T")
WORKFLOWS = "workflow-"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never waits, as those of the memory store."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise AssertionError("a memory store waits for nothing")


@dataclass(slots=True)
class Written:
    """One write that became true."""

    write: Callable[[MemoryStore], Coroutine[Any, Any, object]]
    commit: Commit | None = None
    version: int = 0
    """Of the stream, after it."""
    number: int = 0
    is_answered: bool = False


class Disk:
    """A memory store, and what was written into it in which order."""

    def __init__(self, synced_every: int = 1, *, joins_commits: bool = True) -> None:
        self.store = MemoryStore()
        self.recorded = Recorded()
        self.written: list[Written] = []
        self.lost_commits = 0
        """Acknowledged, and gone with the power: only where ``synced_every`` is above 1."""
        self.joins_commits = joins_commits
        """Whether commits that follow from each other are on their way together, or one after the other."""
        self._synced_every = synced_every
        self._synced = 0

    async def commit(self, commit: Commit) -> tuple[Committed, Written | None]:
        """Make a commit true; return its answer, and the entry that remembers it if it wrote anything."""
        committed = await self.store.commit(commit)
        if committed.is_repeated:
            return committed, None
        entry = Written(lambda store: store.commit(commit), commit, committed.version, len(self.written) + 1)
        self.written.append(entry)
        for fact in facts_of(commit):
            self.recorded.take(commit.stream_id, fact)
        return committed, entry

    def note_value(self, write: Callable[[MemoryStore], Coroutine[Any, Any, object]]) -> None:
        """A value by key was written."""
        self.written.append(Written(write))

    def answered(self, entry: Written) -> None:
        """Whoever asked knows: unless syncing is put off, it is on the disk, and so is everything before it."""
        entry.is_answered = True
        if self._synced_every == 1:
            self._synced = max(self._synced, entry.number)
        else:
            self._synced = max(self._synced, len(self.written) // self._synced_every * self._synced_every)

    def seen(self) -> None:
        """Somebody reads: nobody is shown what may be gone again, unless syncing is put off."""
        if self._synced_every == 1:
            self._synced = len(self.written)

    def lose_power(self, share: float) -> int:
        """Forget what was not synced, but for the first ``share`` of it; return how many writes that were."""
        kept = self._synced + int(share * (len(self.written) - self._synced))
        lost = self.written[kept:]
        if not lost:
            return 0
        self.lost_commits += sum(entry.is_answered for entry in lost)
        self.written = self.written[:kept]
        self._synced = kept
        self.store, self.recorded = MemoryStore(), Recorded()
        for entry in self.written:
            at_once(entry.write(self.store))
            if entry.commit is not None:
                for fact in facts_of(entry.commit):
                    self.recorded.take(entry.commit.stream_id, fact)
        return len(lost)


def facts_of(commit: Commit) -> list[Fact]:
    """Return the facts about a run that a commit makes true."""
    if not commit.stream_id.startswith(WORKFLOWS):
        return []
    return [f.FACTS.decode(event.event_type, event.data, event.schema_version) for event in commit.events]


class Traffic(Life, Protocol):
    """What a process's store asks of the schedule."""

    def fault_of_commit(self) -> FaultKind | None:
        """Return what goes wrong with the next commit."""

    def latency(self) -> float:
        """Return how long a commit is on its way, each way."""

    def became_true(self, commit: Commit, committed: Committed) -> None:
        """A commit became true."""

    def conflicted(self, commit: Commit) -> None:
        """A commit met a conflict."""

    def fails_to_read(self) -> bool:
        """Return whether the next read fails."""


class ProcessStore(FencedStore):
    """The disk as one process sees it."""

    def __init__(self, disk: Disk, traffic: Traffic) -> None:
        super().__init__(disk.store, disk.recorded, traffic, traffic.latency)
        self._disk = disk
        self._traffic = traffic

    async def commit(self, commit: Commit) -> Committed:
        traffic = self._traffic
        fault = await self._send()
        try:
            committed, entry = await self._disk.commit(commit)
        except Exception:
            traffic.conflicted(commit)
            raise
        traffic.became_true(commit, committed)
        await self._answer(fault)
        if entry is not None and self._disk.store is self._inner:
            self._disk.answered(entry)
        return committed

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        if not self._disk.joins_commits:
            return await Store.commit_in_order(self, commits)
        try:
            return await self._commit_together(commits)
        except AgenticFlowError as error:
            return [error]

    async def _commit_together(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        """On their way together: one fault strikes all of them."""
        traffic, disk = self._traffic, self._disk
        fault = await self._send()
        answers: list[Committed | AgenticFlowError] = []
        entries: list[Written | None] = []
        for commit in commits:
            try:
                committed, entry = await disk.commit(commit)
            except AgenticFlowError as error:
                traffic.conflicted(commit)
                answers.append(error)
                break
            traffic.became_true(commit, committed)
            answers.append(committed)
            entries.append(entry)
            if committed.is_repeated:
                break
        await self._answer(fault)
        if disk.store is self._inner:
            for entry in filter(None, entries):
                disk.answered(entry)
        return answers

    async def _send(self) -> FaultKind | None:
        """Bring a commit to the disk; return the fault that strikes it, unless that has kept it from being written."""
        fault = self._traffic.fault_of_commit()
        self._traffic.demand()
        await asyncio.sleep(self._traffic.latency())
        self._traffic.arrive("commit.sent")
        self._traffic.demand()
        if fault is FaultKind.REFUSED:
            raise StoreUnavailable("no space is left on the device", hint="make room")
        if fault is FaultKind.LOST:
            raise OutcomeUnknown("the disk failed in the middle of a commit", hint="ask again")
        return fault

    async def _answer(self, fault: FaultKind | None) -> None:
        """Bring the answer to a commit that has become true."""
        self._traffic.arrive("commit.true")
        if fault is FaultKind.UNANSWERED:
            raise OutcomeUnknown("the disk failed at the end of a commit", hint="ask again")
        await asyncio.sleep(self._traffic.latency())
        self._hear()

    async def _written(self, write: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        traffic = self._traffic
        traffic.demand()
        await asyncio.sleep(traffic.latency())
        traffic.arrive("value.sent")
        traffic.demand()
        answer = await write(*args, **kwargs)
        name = getattr(write, "__name__", "")
        self._disk.note_value(lambda store: getattr(store, name)(*args, **kwargs))
        traffic.arrive("value.true")
        await asyncio.sleep(traffic.latency())
        self._hear()
        return answer

    def _hear(self) -> None:
        """The answer to a write arrives, or not: then nobody knows that it was written."""
        try:
            self._traffic.demand()
        except StoreUnavailable as error:
            raise OutcomeUnknown("the store was cut off in the middle of a write", hint="ask again") from error

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        self._look()
        return await super().read_page(stream_id, after_version, limit)

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        self._look()
        return await super().get_run(execution_id, run_no, kind=kind)

    def _look(self) -> None:
        self._traffic.demand()
        if self._traffic.fails_to_read():
            raise StoreUnavailable("the disk cannot be read", hint="try again")
        self._disk.seen()

    async def close(self) -> None:
        """The disk survives."""
