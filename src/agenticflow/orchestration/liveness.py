"""The rule that no run is ever silently stuck, as a predicate; and what is recorded when it is broken.

Every open run has work in hand, ready work that waits for room, a timer, an input it awaits, or a pause flag. Whether an attempt is in
hand and a timer is set, only the process that runs the store knows: it comes in as a ``Holding``. Pure, and answered for one moment;
whoever asks twice, a little apart, does not take work on its way from hand to hand for lost.
"""

from __future__ import annotations

from collections.abc import Container
from typing import ClassVar, Final, Literal

import msgspec

from agenticflow.core.decider import Fact, FactCodec
from agenticflow.orchestration.advance import room_of
from agenticflow.orchestration.repair.asking import is_asking
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskRecord, TaskStatus, takes_place

__all__ = [
    "ALARM_FACTS",
    "ALARM_STREAM",
    "LATE_SECONDS",
    "Breach",
    "BreachKey",
    "Holding",
    "LivenessBreached",
    "LivenessRestored",
    "Missing",
    "breaches_of",
]

ALARM_STREAM: Final = "alarm-liveness"
LATE_SECONDS: Final = 90.0
"""How late a timer that is set may be: clocks that are set forward are noticed within a minute."""
NANOSECONDS: Final = 1_000_000_000

Missing = Literal["attempt", "timer", "permit", "sub_workflow", "next_run", "decision", "starter"]
"""What should be there: somebody who performs the attempt, a timer that is set, a permit that was granted and not handed on, the report
of a sub-workflow that has ended, whoever starts the next run, a decision that follows from the state alone, whoever
knows the workflow of a schedule."""


BreachKey = tuple[str, int, Missing, str, int]
"""What makes it the same breach: workflow, run, what is missing, task key, token."""


class LivenessBreached(Fact, frozen=True):
    """A run is open, and a branch of it waits for nothing that will come. Recorded once for each breach, within a minute.

    Of a schedule ``workflow_id`` is its id.
    """

    event_type: ClassVar[str] = "liveness_breached"
    stream: ClassVar[str] = "alarm-liveness"
    workflow_id: str
    run_no: int
    missing: Missing
    since: int
    task_key: str = ""
    token: int = 0


class LivenessRestored(Fact, frozen=True):
    """The branch has gone on, or its run has ended."""

    event_type: ClassVar[str] = "liveness_restored"
    stream: ClassVar[str] = "alarm-liveness"
    workflow_id: str
    run_no: int
    missing: Missing
    task_key: str = ""
    token: int = 0


ALARM_FACTS: Final = FactCodec([LivenessBreached, LivenessRestored])


class Breach(msgspec.Struct, frozen=True):
    """A branch that waits for nothing that will come."""

    workflow_id: str
    run_no: int
    missing: Missing
    since: int
    """When the branch began to wait, nanoseconds since the epoch."""
    task_key: str = ""
    """Empty for the run as a whole."""
    token: int = 0

    @property
    def key(self) -> BreachKey:
        """What makes it the same breach."""
        return self.workflow_id, self.run_no, self.missing, self.task_key, self.token

    @property
    def words(self) -> str:
        """The breach in a sentence."""
        if self.missing == "starter":
            return f"schedule {self.workflow_id!r} is stuck: {_WORDS[self.missing]}"
        where = f"run {self.run_no} of workflow {self.workflow_id!r}"
        branch = f"task {self.task_key!r} of {where}" if self.task_key else where
        return f"{branch} is stuck: {_WORDS[self.missing]}"


_WORDS: Final[dict[Missing, str]] = {
    "attempt": "it is in work by the history, and nobody here performs it",
    "timer": "its timer is not set, or does not ring",
    "permit": "it may have the permit it waits for, and nobody tells it",
    "sub_workflow": "its sub-workflow has ended, and it was not told",
    "next_run": "nobody starts the run that goes on in its place",
    "starter": "its workflow is not registered in the process that runs this store, so nobody starts it",
    "decision": "something follows from its state, and nobody decides it",
}


class Holding(msgspec.Struct, frozen=True):
    """What the process that runs the store holds of one run."""

    tokens: Container[int]
    """Of the attempts somebody is about: in work, in a queue, before a gate, or kept until somebody can perform them."""
    timer: int | None = None
    """The moment at which the run will be told the time."""
    is_busy: bool = False
    """Whether a command of it waits to be decided or committed."""
    is_continuing: bool = False
    """Whether somebody is about starting the run after it."""
    needs_code: bool = False
    """Whether the function that plans it is not there, or does not fit: it says so itself."""


def breaches_of(state: RunState, holding: Holding, now: int) -> list[Breach]:
    """Return what is broken in this run; empty for a run that is alive, or has ended."""
    if holding.is_busy or state.phase in (Phase.NEW, Phase.ENDED):
        return []
    workflow_id, run_no = state.workflow_id, state.run_no
    if state.phase is Phase.CONTINUING:
        return [] if holding.is_continuing else [Breach(workflow_id, run_no, "next_run", now)]
    found: list[Breach] = []
    due, timer = state.next_due, holding.timer
    if due is not None and (timer is None or timer > due or due + LATE_SECONDS * NANOSECONDS < now):
        found.append(Breach(workflow_id, run_no, "timer", min(due, now)))
    if state.phase is not Phase.CANCELLING and state.in_flight:
        for record in state.tasks.values():
            if record.status in IN_FLIGHT and record.token not in holding.tokens:
                found.append(Breach(workflow_id, run_no, "attempt", record.scheduled_at, record.key, record.token))
    if _is_unsettled(state) and not (state.planning is not None and holding.needs_code):
        found.append(Breach(workflow_id, run_no, "decision", now))
    return found


def _is_unsettled(state: RunState) -> bool:
    """Whether something follows from the state alone, which is decided together with whatever made it so."""
    if state.phase is Phase.CANCELLING:
        return not state.in_flight and not state.lingering
    if state.phase is Phase.RUNNING and state.planning is not None and state.planning.closed is not None:
        return True
    if state.phase is Phase.RUNNING and (state.final is not None or state.undecided or state.deliverable):
        return True
    if state.ready:
        # A run that is being undone starts what is ready whatever else is in work.
        has_room = room_of(state) > 0 or not takes_place(state.ready[0]) or state.phase is Phase.COMPENSATING
        return has_room and not state.is_paused
    if not state.active and not state.unknown and not state.lingering:
        return not is_asking(state)
    return (
        state.next_due is None
        and not state.is_paused
        and any(_needs_timer(state, record) for record in state.tasks.values())
    )


def _needs_timer(state: RunState, record: TaskRecord) -> bool:
    if record.status is TaskStatus.WAITING:
        asked = state.requests.get(record.key)
        return any(one.has_timer for one in asked.values()) if asked else record.node.task.signal is None
    return record.status is TaskStatus.RETRYING
