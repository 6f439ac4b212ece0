"""What a schedule is, what happens to it, and what it may be asked. Moments are nanoseconds since the epoch.

Every fact that brings a schedule forward carries the moment that follows: history is folded without reading a calendar, so a new edition of
the time zones changes what is to come and never what was.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.results import ErrorInfo, OutcomeKind

__all__ = [
    "SCHEDULE_FACTS",
    "CatchUp",
    "ChangeSchedule",
    "ContinueSchedule",
    "CreateSchedule",
    "DeleteSchedule",
    "Firing",
    "Moment",
    "NextScheduleOpened",
    "Overlap",
    "PauseSchedule",
    "ResumeSchedule",
    "ScheduleChanged",
    "ScheduleCompleted",
    "ScheduleContinued",
    "ScheduleContinuing",
    "ScheduleCreated",
    "ScheduleDeleted",
    "ScheduleFired",
    "SchedulePaused",
    "ScheduleQueued",
    "ScheduleResumed",
    "ScheduleRunEnded",
    "ScheduleSkipped",
    "ScheduleSpec",
    "TriggerSchedule",
]

_STREAM: Final = "schedule-<schedule id>/<run no>"


class Overlap(enum.StrEnum):
    """What is done when a moment comes and what was started before has not ended."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    """One moment waits, further ones are skipped."""
    QUEUE_ALL = "queue_all"
    """Moments wait in their order, up to a bound."""
    ALLOW = "allow"
    CANCEL_RUNNING = "cancel_running"
    """What runs is told to stop; when it has, the newest moment starts."""


class CatchUp(enum.StrEnum):
    """What is done about moments that passed while nobody ran the store."""

    NONE = "none"
    """Only a moment of less than a minute ago is acted on."""
    LAST = "last"
    """The newest one, however long ago."""
    ALL = "all"
    """Each within the window, in order, up to a bound."""


class ScheduleSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was asked for. Just one of ``cron``, ``every_ns`` and ``at`` is given."""

    workflow: str
    """Name of what is started."""
    definition: bytes | None = None
    """The definition as it was given; ``None``: what is registered under that name when a moment comes."""
    input: bytes = codec.NULL
    """Encoded; references to ``schedule`` in it are filled in for each start."""
    cron: str | None = None
    timezone: str = "UTC"
    every_ns: int | None = None
    at: int | None = None
    start_at: int | None = None
    """No moment before it; an interval counts from it."""
    end_at: int | None = None
    """No moment after it."""
    max_runs: int | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    window_ns: int = 0
    """How far back ``all`` looks."""
    jitter_ns: int = 0
    """Each start is later by a part of it, which never reaches the next moment."""


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """A moment of a schedule: when it is due, and when it is acted on, which is not earlier."""

    due: int
    at: int


class Firing(msgspec.Struct, frozen=True, array_like=True):
    """One start of the workflow."""

    number: int
    """Counted over the whole schedule; its token."""
    due: int
    workflow_id: str
    is_manual: bool = False
    is_told: bool = False
    """Whether it was told to stop."""
    fired_at: int = 0
    outcome: OutcomeKind | None = None
    ended_at: int | None = None


# --- facts --------------------------------------------------------------------------------------------------------------


class ScheduleCreated(Fact, frozen=True, gc=False):
    """Somebody created a schedule. ``seed`` decides its jitter."""

    event_type: ClassVar[str] = "schedule_created"
    stream: ClassVar[str] = _STREAM
    spec: ScheduleSpec
    seed: str
    first: Moment
    requested_by: str = ""


class ScheduleChanged(Fact, frozen=True, gc=False):
    """Somebody changed a schedule. Without ``first`` nothing is due any more."""

    event_type: ClassVar[str] = "schedule_changed"
    stream: ClassVar[str] = _STREAM
    spec: ScheduleSpec
    first: Moment | None = None
    requested_by: str = ""


class ScheduleFired(Fact, frozen=True, gc=False):
    """A moment has come, and the workflow is to be started under ``workflow_id``; ``following`` is there when the schedule moves on
    by it: the moment after, or none."""

    event_type: ClassVar[str] = "schedule_fired"
    stream: ClassVar[str] = _STREAM
    due: int
    number: int
    workflow_id: str
    is_manual: bool = False
    following: tuple[Moment, ...] | None = None


class ScheduleQueued(Fact, frozen=True, gc=False):
    """A moment has come, ``at`` this time, and waits until what runs has ended, or was told to."""

    event_type: ClassVar[str] = "schedule_queued"
    stream: ClassVar[str] = _STREAM
    due: int
    at: int
    is_cancelling: bool = False
    is_manual: bool = False
    following: tuple[Moment, ...] | None = None


class ScheduleSkipped(Fact, frozen=True, gc=False):
    """A moment came and nothing is started for it, nor for those after it and before ``until``."""

    event_type: ClassVar[str] = "schedule_skipped"
    stream: ClassVar[str] = _STREAM
    due: int
    reason: str
    until: int | None = None
    following: tuple[Moment, ...] | None = None


class ScheduleRunEnded(Fact, frozen=True, gc=False):
    """What a moment started has ended, or could not be started."""

    event_type: ClassVar[str] = "schedule_run_ended"
    stream: ClassVar[str] = _STREAM
    number: int
    outcome: OutcomeKind
    error: ErrorInfo | None = None


class SchedulePaused(Fact, frozen=True, gc=False):
    """Nothing is started until the schedule is resumed; what runs goes on."""

    event_type: ClassVar[str] = "schedule_paused"
    stream: ClassVar[str] = _STREAM
    requested_by: str = ""
    reason: str = ""


class ScheduleResumed(Fact, frozen=True, gc=False):
    """The schedule goes on, with the first moment after this one."""

    event_type: ClassVar[str] = "schedule_resumed"
    stream: ClassVar[str] = _STREAM
    first: Moment | None = None
    requested_by: str = ""
    reason: str = ""


class ScheduleDeleted(Fact, frozen=True, gc=False):
    """Terminal: somebody deleted the schedule; what runs goes on by itself."""

    event_type: ClassVar[str] = "schedule_deleted"
    stream: ClassVar[str] = _STREAM
    requested_by: str = ""
    reason: str = ""


class ScheduleCompleted(Fact, frozen=True, gc=False):
    """Terminal: no moment is left, and everything that was started has ended."""

    event_type: ClassVar[str] = "schedule_completed"
    stream: ClassVar[str] = _STREAM


class ScheduleContinuing(Fact, frozen=True, gc=False):
    """The stream is long enough: everything else happens in the next one. Terminal with ``is_there``: that one has begun."""

    event_type: ClassVar[str] = "schedule_continuing"
    stream: ClassVar[str] = _STREAM
    is_there: bool = False


class ScheduleContinued(Fact, frozen=True, gc=False):
    """The schedule goes on in this stream, where the one before left it."""

    event_type: ClassVar[str] = "schedule_continued"
    stream: ClassVar[str] = _STREAM
    spec: ScheduleSpec
    seed: str
    anchor: int
    created_at: int
    last_due: int
    following: Moment | None
    fired: int
    number: int
    is_paused: bool
    running: tuple[Firing, ...]
    queue: tuple[ScheduleQueued, ...]
    recent: tuple[Firing, ...]


SCHEDULE_FACTS: Final = FactCodec(
    [
        ScheduleCreated,
        ScheduleChanged,
        ScheduleFired,
        ScheduleQueued,
        ScheduleSkipped,
        ScheduleRunEnded,
        SchedulePaused,
        ScheduleResumed,
        ScheduleDeleted,
        ScheduleCompleted,
        ScheduleContinuing,
        ScheduleContinued,
    ]
)


# --- commands -----------------------------------------------------------------------------------------------------------


class CreateSchedule(Command, frozen=True, kw_only=True):
    """Begin a schedule, on an empty stream."""

    opens_stream: ClassVar[bool] = True
    spec: ScheduleSpec
    seed: str
    requested_by: str = ""


class ChangeSchedule(Command, frozen=True, kw_only=True):
    """Put ``spec`` in the place of what was asked for before."""

    spec: ScheduleSpec
    requested_by: str = ""


class PauseSchedule(Command, frozen=True, kw_only=True):
    """Start nothing until resumed."""

    requested_by: str = ""
    reason: str = ""


class ResumeSchedule(Command, frozen=True, kw_only=True):
    """Start again at the moments to come."""

    requested_by: str = ""
    reason: str = ""


class DeleteSchedule(Command, frozen=True, kw_only=True):
    """End the schedule."""

    requested_by: str = ""
    reason: str = ""


class TriggerSchedule(Command, frozen=True, kw_only=True):
    """Act as if a moment had come now; the moments to come stay as they are."""


class ContinueSchedule(Command, frozen=True, kw_only=True):
    """Begin the next stream of a schedule with what the one before left."""

    opens_stream: ClassVar[bool] = True
    left: ScheduleContinued


class NextScheduleOpened(Command, frozen=True, kw_only=True):
    """The next stream of this schedule is there."""
