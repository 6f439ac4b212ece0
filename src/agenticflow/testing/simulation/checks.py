"""What must be true when a schedule is over, read from the disk and independently of the engine's host.

Each check names the guarantee it stands for (``ARCHITECTURE.md``). Everything is read: nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agenticflow.core.codec import NULL
from agenticflow.core.decider import Fact
from agenticflow.core.types import MAX_EVENT_BYTES, MAX_RUN_EVENTS
from agenticflow.core.values import reference_in
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.state import undo_key
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.crashes.cases import CrashCase
from agenticflow.testing.crashes.record import decode, fold_stored, problems_of_run, read_whole
from agenticflow.testing.simulation.disk import Disk
from agenticflow.testing.simulation.faults import Plan, sometimes
from agenticflow.testing.simulation.outside import WORKFLOW_ID, Outside
from agenticflow.testing.simulation.process import SimulatedProcess

__all__ = ["Played", "problems_of_schedule"]

MAX_RUNS = 1_000
LATE_SECONDS = 1.0
NANOSECONDS = 1_000_000_000


class Played(Protocol):
    """A schedule that has been played."""

    @property
    def case(self) -> CrashCase: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def disk(self) -> Disk: ...
    @property
    def outside(self) -> Outside: ...
    @property
    def processes(self) -> list[SimulatedProcess]: ...
    @property
    def is_lenient(self) -> bool: ...


async def problems_of_schedule(played: Played) -> list[str]:
    """Return, in words, what was promised and is not so."""
    store = played.disk.store
    problems = await _acknowledged_is_there(played)
    rows = await store.list_runs(kind="workflow", limit=MAX_RUNS)
    for row in rows:
        if row.is_open:
            continue  # a run that is stuck is told of already
        problems += await problems_of_run(store, row.execution_id, row.run_no)
        events = await read_whole(store, row.stream_id)
        facts = [(event, decode(event)) for event in events]
        history = _History(row.stream_id)
        for event, fact in facts:
            history.take(event, fact)
        history.end(len(facts))
        problems += history.problems
        problems += await _equal_folds(store, row.stream_id, events)
        if not played.plan.faults and played.plan.pause_at is None:
            problems += _late_timers(row.stream_id, facts)
    for row in await store.list_runs(kind="gate", is_open=True, limit=MAX_RUNS):
        if not played.is_lenient:
            problems.append(f"G12: the permit of {row.execution_id!r} was never given back")
    return problems


async def _acknowledged_is_there(played: Played) -> list[str]:
    """G1, G5: whatever an orchestrator or a client was told is recorded stands in the history, where it was put."""
    store, problems = played.disk.store, []
    streams: dict[str, list[StoredEvent]] = {}
    for entry in played.disk.written:
        commit = entry.commit
        if commit is None or not entry.is_answered or not commit.events:
            continue
        if commit.stream_id not in streams:
            streams[commit.stream_id] = await read_whole(store, commit.stream_id)
        first = entry.version - len(commit.events)
        there = streams[commit.stream_id][first : entry.version]
        if [(e.event_type, e.data, e.timestamp) for e in there] != [
            (e.event_type, e.data, e.timestamp) for e in commit.events
        ]:
            problems.append(
                f"G1: versions {first + 1} to {entry.version} of {commit.stream_id!r} were acknowledged and are not there"
            )
    outside = played.outside
    if outside.acknowledged_start and await store.get_run(WORKFLOW_ID, 1) is None:
        problems.append("G1: the start of the workflow was acknowledged, and there is no run")
    problems += await _signals_arrived_once(played)
    return problems


async def _signals_arrived_once(played: Played) -> list[str]:
    """G1, G2: an acknowledged signal is there, and none is there twice, however often it was sent."""
    problems: list[str] = []
    received: dict[str, int] = {}
    for row in await played.disk.store.list_runs(kind="workflow", limit=MAX_RUNS):
        if row.execution_id == WORKFLOW_ID:
            for event in await read_whole(played.disk.store, row.stream_id):
                fact = decode(event) if event.event_type == f.SignalReceived.event_type else None
                if isinstance(fact, f.SignalReceived):
                    received[fact.signal] = received.get(fact.signal, 0) + 1
    sent: dict[str, list[int]] = {}
    for number, signal in enumerate(played.case.signals):
        sent.setdefault(signal.name, []).append(number)
    for name, numbers in sent.items():
        least = sum(number in played.outside.acknowledged_signals for number in numbers)
        if not least <= received.get(name, 0) <= len(numbers):
            problems.append(
                f"G2: {received.get(name, 0)} signals {name!r} are recorded; {len(numbers)} were sent, {least} acknowledged"
            )
    return problems


class _History:
    """G2, G4, G8, G9, G11: what the order of a run's events tells."""

    def __init__(self, stream_id: str) -> None:
        self.problems: list[str] = []
        self._stream_id = stream_id
        self._tokens: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._is_paused = self._is_ending = self._is_undoing = False
        self._completed: list[str] = []
        self._undoable: list[str] = []
        """Keys of sub-workflows that did something which can be undone, or of what another run did that this one undoes."""
        self._undone: list[str] = []

    def take(self, event: StoredEvent, fact: Fact) -> None:
        """Look at the next event."""
        match fact:
            case f.TaskScheduled():
                self._scheduled(event, fact)
            case f.TaskCompleted() | f.TaskFailed() | f.TaskRetryScheduled() | f.TaskReassigned():
                self._ended(fact)
            case f.TimerSet():
                self._due[fact.task_key] = fact.due
            case f.TimerFired():
                if event.timestamp < self._due.pop(fact.task_key, 0):
                    self._tell(f"G9: timer {fact.task_key!r} fired before its time")
            case f.WorkflowPaused() | f.WorkflowResumed():
                self._is_paused = isinstance(fact, f.WorkflowPaused)
            case f.WorkflowCancelRequested():
                self._is_ending = True
            case f.CompensationStarted(undoing=undoing):
                self._is_undoing = True
                if bytes(undoing) != NULL and reference_in(bytes(undoing)) is None:
                    self._undoable = msgspec.msgpack.decode(undoing, type=f.Course).order
                    self._completed = list(self._undoable)
            case f.TaskLateOutcome():
                self._undoable += [fact.task_key] * fact.is_undoable
            case _:
                """The others say nothing about order."""
        if len(event.data) > MAX_EVENT_BYTES:
            self._tell(f"G11: event {event.version} has {len(event.data):,} bytes")

    def _scheduled(self, event: StoredEvent, fact: f.TaskScheduled) -> None:
        key = fact.task_key
        if event.timestamp < self._due.pop(key, 0):
            self._tell(f"G9: task {key!r} was tried again before its time")
        if self._is_paused and not self._is_undoing:
            self._tell(f"G8: task {key!r} was scheduled while the run was paused")
        if self._is_ending and not self._is_undoing:
            self._tell(f"G8: task {key!r} was scheduled after the run was told to end")
        if key.startswith(undo_key("")) and fact.attempt == 1:
            self._undone.append(key.removeprefix(undo_key("")))
        self._tokens[key] = event.version

    def _ended(self, fact: f.TaskCompleted | f.TaskFailed | f.TaskRetryScheduled | f.TaskReassigned) -> None:
        key = fact.task_key
        if key in self._tokens and fact.token != self._tokens[key]:
            self._tell(f"G4: the outcome of a superseded attempt of {key!r} counts")
        if isinstance(fact, f.TaskRetryScheduled):
            self._due[key] = fact.retry_at
        elif isinstance(fact, f.TaskCompleted):
            self._completed.append(key)
            self._undoable += [key] * fact.is_undoable

    def end(self, count: int) -> None:
        """The run has ended after so many events."""
        undone = self._undone
        if self._is_undoing and not set(self._undoable) <= set(undone):
            self._tell(f"G8: undone were {undone}, and not all of {self._undoable}")
        if count > MAX_RUN_EVENTS:
            self._tell(f"G11: there are {count:,} events")
        if len(undone) != len(set(undone)):
            self._tell(f"G8: something was undone twice: {undone}")
        order = list(dict.fromkeys(key for key in reversed(self._completed) if key in undone))
        # What ended late, after all, is undone too, and is no completion.
        if undone != order and set(undone) <= set(self._completed):
            self._tell(f"G8: undone were {undone}, and completed {self._completed}, in this order")

    def _tell(self, what: str) -> None:
        self.problems.append(f"{what}, in {self._stream_id!r}")


def _late_timers(stream_id: str, facts: Sequence[tuple[StoredEvent, Fact]]) -> list[str]:
    """G9: where nothing goes wrong, a timer is not late."""
    due: dict[str, int] = {}
    problems: list[str] = []
    for event, fact in facts:
        if isinstance(fact, f.TimerSet):
            due[fact.task_key] = fact.due
        elif isinstance(fact, f.TimerFired):
            late = (event.timestamp - due.get(fact.task_key, event.timestamp)) / NANOSECONDS
            if late > LATE_SECONDS:
                problems.append(f"G9: timer {fact.task_key!r} of {stream_id!r} fired {late:g} s late")
    return problems


async def _equal_folds(store: MemoryStore, stream_id: str, events: Sequence[StoredEvent]) -> list[str]:
    """G5, G10: who folds from a snapshot on has the same state as who folds from the beginning."""
    snapshot = await store.get_snapshot(stream_id)
    if snapshot is None:
        return []
    sometimes("a snapshot was taken")
    guest = WorkflowGuest()
    whole = await fold_stored(store, stream_id, events[: snapshot.version])
    if guest.snapshot(whole) != snapshot.data:
        return [f"G5: the snapshot of {stream_id!r} at {snapshot.version} is not what the history says"]
    return []
