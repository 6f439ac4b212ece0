"""What a run spent its time on: one row per attempt, folded from the recorded events of the run. Pure.

Events come in, in order; rows go out in the order in which they began. Moments are nanoseconds since the epoch. Timers, signals and
approvals have one row each, and all of it is waiting. What a run kept of an earlier one did nothing here and has no row.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from agenticflow.core.events import AgenticEvent

__all__ = ["Ending", "Stretch", "Timeline", "gantt", "timeline_of"]

SECOND: Final = 1_000_000_000
MIN_WIDTH: Final = 10


class Ending(enum.StrEnum):
    """How an attempt ended, or that it has not."""

    COMPLETED = "completed"
    FAILED = "failed"
    """For good."""
    RETRIED = "retried"
    """It failed and another one follows."""
    REASSIGNED = "reassigned"
    """It failed and another agent goes on."""
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Its handler asks a person and runs again when there is an answer."""
    UNKNOWN = "unknown"
    """Nobody can say whether it happened."""
    QUARANTINED = "quarantined"
    """It has lost too many processes."""
    OPEN = "open"


class Stretch(msgspec.Struct, kw_only=True):
    """One attempt of a task, or the wait of a timer, a signal or an approval."""

    task_key: str
    attempt: int
    """From 1; 0 for what only waits."""
    kind: str
    """``attempt``, ``timer``, ``signal`` or ``approval``."""
    scheduled_at: int
    started_at: int | None = None
    """When its handler is known to have started: recorded for at-most-once work, and for what takes a while."""
    ended_at: int | None = None
    outcome: Ending = Ending.OPEN
    error: str = ""
    wait_seconds: float = 0.0
    """Before it began: since the attempt before it ended, and until its handler started as far as that is known. What only waits has
    all of its time here."""

    def seconds(self, now: int) -> float:
        """Return how long it has taken, until ``now`` when it is open."""
        return ((self.ended_at if self.ended_at is not None else now) - self.scheduled_at) / SECOND


class Timeline(msgspec.Struct, kw_only=True):
    """The rows of one run."""

    started_at: int = 0
    ended_at: int | None = None
    rows: list[Stretch]

    def until(self, now: int) -> int:
        """Return the moment up to which there is something to show."""
        return self.ended_at if self.ended_at is not None else max(now, self.started_at)


_WAITS: Final[Mapping[str, str]] = {
    "timer_set": "timer",
    "signal_awaited": "signal",
    "approval_required": "approval",
}
_ENDS: Final[Mapping[str, Ending]] = {
    "task_completed": Ending.COMPLETED,
    "timer_fired": Ending.COMPLETED,
    "approval_granted": Ending.COMPLETED,
    "task_failed": Ending.FAILED,
    "approval_rejected": Ending.FAILED,
    "task_retry_scheduled": Ending.RETRIED,
    "task_reassigned": Ending.REASSIGNED,
    "task_result_given": Ending.COMPLETED,
    "task_cancelled": Ending.CANCELLED,
    # somebody goes on without it while it waits, or while nobody knows what became of it
    "task_skipped": Ending.CANCELLED,
    "task_outcome_unknown": Ending.UNKNOWN,
    "task_quarantined": Ending.QUARANTINED,
}
_TERMINAL: Final = frozenset({"workflow_completed", "workflow_failed", "workflow_cancelled"})


def timeline_of(events: Iterable[AgenticEvent]) -> Timeline:
    """Return the rows of the run whose recorded events these are, in order."""
    fold = _Fold()
    for event in events:
        fold.take(event.event_type, event.payload, event.timestamp)
    return fold.timeline


class _Fold:
    def __init__(self) -> None:
        self.timeline = Timeline(rows=[])
        self._open: dict[str, Stretch] = {}
        self._unknown: dict[str, Stretch] = {}
        self._ended: dict[str, int] = {}

    def take(self, event_type: str, payload: Mapping[str, object], at: int) -> None:
        key = str(payload.get("task_key", ""))
        if event_type == "workflow_started":
            self.timeline.started_at = at
        elif event_type == "task_scheduled":
            attempt = payload.get("attempt", 1)
            waited = (at - self._ended.get(key, at)) / SECOND
            self._begin(key, "attempt", attempt if isinstance(attempt, int) else 1, at, waited)
        elif event_type in _WAITS:
            self._begin(key, _WAITS[event_type], 0, at, 0.0)
        elif event_type == "task_started":
            self._started(key, at)
        elif event_type in ("task_interrupted", "task_interrupted_again"):
            self._interrupted(key, at, payload)
        elif event_type == "interrupt_answered":
            # An answer that comes while its task runs with another one ends nothing.
            if (row := self._open.get(key)) is not None and row.kind == "approval":
                self._end(key, Ending.COMPLETED, at, payload)
        elif event_type in _ENDS:
            self._end(key, _ENDS[event_type], at, payload)
        elif event_type == "tasks_cancelled":
            keys = payload.get("task_keys", ())
            for each in keys if isinstance(keys, (tuple, list)) else ():
                self._end(str(each), Ending.CANCELLED, at, {})
        elif event_type in _TERMINAL:
            self.timeline.ended_at = at
            for left in list(self._open):
                self._end(left, Ending.CANCELLED, at, {})

    def _begin(self, key: str, kind: str, attempt: int, at: int, waited: float) -> None:
        row = Stretch(task_key=key, attempt=attempt, kind=kind, scheduled_at=at, wait_seconds=waited)
        self._open[key] = row
        self.timeline.rows.append(row)

    def _interrupted(self, key: str, at: int, payload: Mapping[str, object]) -> None:
        """Of several questions the first ends the attempt; the wait is one, and none when an answer has come already."""
        row = self._open.get(key)
        if row is None or row.kind != "approval":
            self._end(key, Ending.INTERRUPTED, at, payload)
            if not payload.get("is_due"):
                self._begin(key, "approval", 0, at, 0.0)
        elif payload.get("is_due"):
            self._end(key, Ending.COMPLETED, at, payload)

    def _started(self, key: str, at: int) -> None:
        row = self._open.get(key)
        if row is not None and row.started_at is None:
            row.started_at = at
            row.wait_seconds += (at - row.scheduled_at) / SECOND

    def _end(self, key: str, outcome: Ending, at: int, payload: Mapping[str, object]) -> None:
        row = self._open.pop(key, None)
        if row is None:
            # A person has said what became of work whose outcome nobody knew.
            row = self._unknown.pop(key, None)
            if row is None:
                return
        if outcome is Ending.UNKNOWN:
            self._unknown[key] = row
        row.ended_at, row.outcome = at, outcome
        self._ended[key] = at
        if row.kind != "attempt":
            row.wait_seconds = (at - row.scheduled_at) / SECOND
        error = payload.get("error")
        if isinstance(error, Mapping):
            row.error = f"{error.get('type', 'Error')}: {error.get('message', '')}"


_MARKS: Final[Mapping[Ending, str]] = {
    Ending.COMPLETED: "█",
    Ending.FAILED: "✗",
    Ending.RETRIED: "▒",
    Ending.REASSIGNED: "▒",
    Ending.CANCELLED: "░",
    Ending.INTERRUPTED: "▒",
    Ending.UNKNOWN: "?",
    Ending.QUARANTINED: "✗",
    Ending.OPEN: "▓",
}
_WAITED: Final = "·"


def gantt(timeline: Timeline, now: int, *, width: int = 60) -> list[str]:
    """Return one bar per row, ``width`` letters wide, on a common scale from the start of the run to its end, or to ``now``.

    ``·`` is waiting; work is ``█`` completed, ``✗`` failed, ``▒`` tried again, ``░`` cancelled, ``?`` unknown, ``▓`` still open.
    """
    width = max(width, MIN_WIDTH)
    begin = timeline.started_at
    whole = max(timeline.until(now) - begin, 1)

    def place(moment: int) -> int:
        return min(max((moment - begin) * width // whole, 0), width)

    bars: list[str] = []
    for row in timeline.rows:
        first = place(row.scheduled_at - (int(row.wait_seconds * SECOND) if row.started_at is None else 0))
        work = place(row.started_at if row.started_at is not None else row.scheduled_at)
        last = place(row.ended_at if row.ended_at is not None else timeline.until(now))
        if row.kind != "attempt":
            first = place(row.scheduled_at)
            work = max(first, last - 1)
        bar = " " * first + _WAITED * (work - first)
        is_wait = row.kind != "attempt" and row.outcome in (Ending.COMPLETED, Ending.OPEN)
        mark = _WAITED if is_wait else _MARKS[row.outcome]
        # The shortest work is seen too, in its place.
        length = max(last - work, 1)
        bars.append((bar[: width - length] + mark * length).ljust(width)[:width])
    return bars
