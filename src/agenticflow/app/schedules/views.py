"""What a program sees of a schedule: where it stands, when it is due next, what it started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.orchestration.schedules.facts import Firing
from agenticflow.orchestration.schedules.guest import ScheduleGuest
from agenticflow.orchestration.schedules.moments import iso
from agenticflow.orchestration.schedules.state import ScheduleState, ScheduleStatus

__all__ = ["ScheduleView", "ScheduledRun", "view_of_schedule"]

SHOWN_MOMENTS: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduledRun(msgspec.Struct, frozen=True, kw_only=True):
    """One start of the workflow."""

    workflow_id: str
    due: datetime
    """The moment it was due for."""
    started_at: datetime
    is_manual: bool
    outcome: str | None
    """``succeeded``, ``failed`` or ``cancelled``; ``None`` while it runs."""
    ended_at: datetime | None


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it stands."""

    schedule_id: str
    workflow: str
    status: ScheduleStatus
    rule: str
    """When it is due, in words."""
    timezone: str
    overlap: str
    catch_up: str
    input: object
    next_moments: Sequence[datetime]
    """The next ones, as they are known now."""
    waiting: Sequence[datetime]
    """Moments that have come and wait for what runs."""
    running: Sequence[ScheduledRun]
    last_runs: Sequence[ScheduledRun]
    """The last ten that ended, newest first."""
    runs: int
    """Starts in all."""
    created_at: datetime
    waits_for: str = ""
    """Who would have to come, in words, for the workflow to be started: a process that has registered it."""


def view_of_schedule(state: ScheduleState, guest: ScheduleGuest, now: int, waits_for: str = "") -> ScheduleView:
    """Return the view of a state."""
    spec = state.asked
    return ScheduleView(
        schedule_id=state.schedule_id,
        workflow=spec.workflow,
        status=state.status,
        rule=_rule(state),
        timezone=spec.timezone,
        overlap=spec.overlap.value,
        catch_up=spec.catch_up.value,
        input=codec.decode(spec.input),
        next_moments=[] if state.left is not None else _next(state, guest, now),
        waiting=[_when(queued.due) for queued in state.queue],
        running=[_run(firing) for firing in state.running.values()],
        last_runs=[_run(firing) for firing in reversed(state.recent)],
        runs=state.number,
        created_at=_when(state.created_at),
        waits_for=waits_for,
    )


def _next(state: ScheduleState, guest: ScheduleGuest, now: int) -> list[datetime]:
    if state.next is None:
        return []
    moments = guest.moments(state)
    # What is recorded is what comes, whatever the calendar says meanwhile; a paused schedule goes on with what is still to come.
    due = moments.after(now) if state.is_paused and state.next.at <= now else state.next.due
    found: list[datetime] = []
    while due is not None and len(found) < SHOWN_MOMENTS:
        found.append(_when(due))
        due = moments.after(due)
    return found


def _rule(state: ScheduleState) -> str:
    spec = state.asked
    if spec.cron is not None:
        return f"cron {spec.cron}"
    return f"every {spec.every_ns / 1e9:g} s" if spec.every_ns is not None else f"once at {iso(spec.at or 0)}"


def _run(firing: Firing) -> ScheduledRun:
    return ScheduledRun(
        workflow_id=firing.workflow_id,
        due=_when(firing.due),
        started_at=_when(firing.fired_at),
        is_manual=firing.is_manual,
        outcome=None if firing.outcome is None else firing.outcome.value,
        ended_at=None if firing.ended_at is None else _when(firing.ended_at),
    )


def _when(moment: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment // 1_000)
