"""Where a schedule stands, folded from its facts, and as it is kept between runs of a process."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Container
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import Execution
from agenticflow.core.guests import read_snapshot
from agenticflow.core.results import OutcomeKind
from agenticflow.core.values import Values
from agenticflow.errors import InvariantError
from agenticflow.orchestration.schedules.facts import (
    Firing,
    Moment,
    Overlap,
    ScheduleContinued,
    ScheduleQueued,
    ScheduleSpec,
)

__all__ = ["ScheduleState", "ScheduleStatus", "restored_schedule", "schedule_snapshot", "take_over", "what_is_left"]

KEPT_RUNS: Final = 10
_FORM: Final = 1


class ScheduleStatus(enum.StrEnum):
    """Where a schedule stands."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CONTINUING = "CONTINUING"
    """The stream is long enough, and the next one is about to begin."""
    CONTINUED = "CONTINUED"
    """It goes on in the next stream."""
    COMPLETED = "COMPLETED"
    DELETED = "DELETED"


class ScheduleState:
    """One stream of a schedule, as folded."""

    __slots__ = (
        "anchor",
        "created_at",
        "ended_at",
        "fired",
        "is_paused",
        "last_due",
        "left",
        "next",
        "number",
        "queue",
        "recent",
        "running",
        "schedule_id",
        "seed",
        "spec",
        "stream_id",
        "values",
        "version",
    )

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.schedule_id = Execution.of(stream_id).id
        self.values = Values()
        self.version = 0
        self.spec: ScheduleSpec | None = None
        self.seed = ""
        self.anchor = 0
        """When it was created, or changed last."""
        self.created_at = 0
        self.last_due = 0
        """The last moment that has come: none before it comes again, whatever the clock says."""
        self.next: Moment | None = None
        self.fired = 0
        """Starts that count for ``max_runs``."""
        self.number = 0
        """Starts in all."""
        self.is_paused = False
        self.left: ScheduleStatus | None = None
        """How it stands when nothing more is decided here."""
        self.ended_at: int | None = None
        self.running: dict[int, Firing] = {}
        self.queue: list[ScheduleQueued] = []
        self.recent: deque[Firing] = deque(maxlen=KEPT_RUNS)
        """The last ones that ended."""

    @property
    def asked(self) -> ScheduleSpec:
        """What was asked for."""
        if self.spec is None:
            raise InvariantError(f"the schedule {self.stream_id!r} was never created")
        return self.spec

    def is_known(self, workflows: Container[str]) -> bool:
        """Whether who knows these workflows can start what the schedule starts."""
        return self.asked.definition is not None or self.asked.workflow in workflows

    @property
    def run_no(self) -> int:
        """Which stream of the schedule this is."""
        return Execution.of(self.stream_id).run_no

    @property
    def status(self) -> ScheduleStatus:
        """Word for the index."""
        return self.left or (ScheduleStatus.PAUSED if self.is_paused else ScheduleStatus.ACTIVE)

    @property
    def is_open(self) -> bool:
        """Whether something can still happen here."""
        return self.ended_at is None

    @property
    def waits_for_time(self) -> bool:
        """Whether what waits may start: it has come already, so only a clock that was set back holds it up."""
        return bool(self.queue) and (not self.running or self.asked.overlap is Overlap.ALLOW)

    @property
    def next_due(self) -> int | None:
        """When a moment is acted on next."""
        if self.left or self.is_paused:
            return None
        found = [self.queue[0].at] if self.waits_for_time else []
        if self.next is not None:
            found.append(self.next.at)
        return min(found, default=None)

    def ended(self, number: int, outcome: OutcomeKind, at: int) -> None:
        """What the firing started has ended."""
        firing = self.running.pop(number)
        self.recent.append(msgspec.structs.replace(firing, outcome=outcome, ended_at=at))


class _Saved(msgspec.Struct):
    form: int
    version: int
    left: ScheduleStatus | None
    ended_at: int | None
    state: ScheduleContinued


def what_is_left(state: ScheduleState) -> ScheduleContinued:
    """Return everything that the next stream has to know."""
    return ScheduleContinued(
        spec=state.asked,
        seed=state.seed,
        anchor=state.anchor,
        created_at=state.created_at,
        last_due=state.last_due,
        following=state.next,
        fired=state.fired,
        number=state.number,
        is_paused=state.is_paused,
        running=tuple(state.running.values()),
        queue=tuple(state.queue),
        recent=tuple(state.recent),
    )


def take_over(state: ScheduleState, left: ScheduleContinued) -> None:
    """Have the state stand where ``left`` says."""
    state.spec, state.seed, state.anchor = left.spec, left.seed, left.anchor
    state.created_at, state.last_due, state.next = left.created_at, left.last_due, left.following
    state.fired, state.number, state.is_paused = left.fired, left.number, left.is_paused
    state.running = {firing.number: firing for firing in left.running}
    state.queue = list(left.queue)
    state.recent = deque(left.recent, maxlen=KEPT_RUNS)


def schedule_snapshot(state: ScheduleState) -> bytes:
    """Return the state in a form ``restored_schedule`` takes."""
    return codec.encode(_Saved(_FORM, state.version, state.left, state.ended_at, what_is_left(state)))


def restored_schedule(stream_id: str, data: bytes) -> ScheduleState:
    """Return the state behind a snapshot. Raises ``CorruptStore`` when it cannot be read."""
    saved = read_snapshot(stream_id, data, _Saved, _FORM)
    state = ScheduleState(stream_id)
    take_over(state, saved.state)
    state.version, state.left, state.ended_at = saved.version, saved.left, saved.ended_at
    return state
