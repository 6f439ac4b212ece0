"""What lies in a store after the crashes, read independently of the engine's host, and what a whole history looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from agenticflow.core.decider import Fact
from agenticflow.core.values import BlobMissing
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.guest import WorkflowGuest, stream_of
from agenticflow.orchestration.state import RunState
from agenticflow.runtime.actors import run_row
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.store import Store

__all__ = ["decode", "fold_stored", "problems_of_run", "read_whole"]

PAGE_EVENTS: Final = 2_000
TERMINAL: Final = frozenset(
    {"workflow_completed", "workflow_failed", "workflow_cancelled", "workflow_continued", "workflow_compensated"}
)


def decode(stored: StoredEvent) -> Fact:
    """Return the fact behind a stored event of a run."""
    return f.FACTS.decode(stored.event_type, stored.data, stored.schema_version)


async def read_whole(store: Store, stream_id: str) -> list[StoredEvent]:
    """Return every event of a stream."""
    events: list[StoredEvent] = []
    while page := await store.read_page(stream_id, len(events), PAGE_EVENTS):
        events.extend(page)
    return events


async def fold_stored(store: Store, stream_id: str, events: Sequence[StoredEvent]) -> RunState:
    """Return the state of a run, folded from what the store holds, independently of the engine's host."""
    guest = WorkflowGuest()
    state = guest.initial(stream_id)
    for event in events:
        while True:
            try:
                guest.evolve(state, decode(event), event.version, event.timestamp)
                break
            except BlobMissing as missing:
                state.values.put(missing.reference.hash, await store.get_blob(missing.reference.hash) or b"")
    return state


async def problems_of_run(store: Store, workflow_id: str, run_no: int = 1) -> list[str]:
    """Return, in words, what is wrong with the history of a run that has ended: one end, one completion per task and generation,
    versions without gaps, an index row that follows from the history."""
    stream_id = stream_of(workflow_id, run_no)
    events = await read_whole(store, stream_id)
    if not events:
        return [f"{stream_id!r} was never started"]
    problems: list[str] = []
    if [event.version for event in events] != list(range(1, len(events) + 1)):
        problems.append(f"the versions of {stream_id!r} are not 1 to {len(events)}")
    ends = [event.event_type for event in events if event.event_type in TERMINAL]
    if len(ends) != 1 or events[-1].event_type not in TERMINAL:
        problems.append(f"{stream_id!r} has the terminal events {ends}, and its last is {events[-1:]}")
    completed = Counter(
        fact.task_key
        for fact in map(decode, events)
        if isinstance(fact, f.TaskCompleted | f.TaskResultGiven | f.TimerFired)
    )
    problems += [f"task {key!r} was completed {times} times" for key, times in completed.items() if times > 1]
    state = await fold_stored(store, stream_id, events)
    expected, row = run_row(stream_id, WorkflowGuest(), state, 0), await store.get_run(workflow_id, run_no)
    if row is None or msgspec.structs.replace(row, version=0) != expected:
        problems.append(f"the index row is {row}, the history says {expected}")
    return problems
