"""The schedule as a decider and a guest of the engine: which moments are acted on, what waits, what is skipped, and what is started.

What it starts is a child of the engine like a sub-workflow: its id follows from the schedule and the moment, so asking again after a crash
finds it, and its end is reported back. Time comes in with the command, the rules of time zones through ``zone``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import (
    ActivityFinished,
    ActivityInput,
    ContinueExecution,
    Effect,
    ProcessDeath,
    Recovery,
    RunChild,
    StopActivity,
    Summary,
    TimersDue,
)
from agenticflow.errors import CommandRefused, InvariantError
from agenticflow.orchestration.references import compile_template
from agenticflow.orchestration.schedules import facts as f
from agenticflow.orchestration.schedules.facts import CatchUp, Firing, Moment, Overlap, ScheduleSpec
from agenticflow.orchestration.schedules.moments import Moments, iso
from agenticflow.orchestration.schedules.state import (
    ScheduleState,
    ScheduleStatus,
    restored_schedule,
    schedule_snapshot,
    take_over,
)

__all__ = ["KIND", "ScheduleGuest", "fill_in", "stream_of_schedule"]

KIND: Final = "schedule"
MAX_EVENTS: Final = 10_000
"""Events of one stream of a schedule; it goes on in the next."""
MAX_RUNNING: Final = 500
MAX_QUEUE: Final = 100
MAX_CATCH_UP: Final = 100
MISSED_AFTER_NS: Final = 60_000_000_000
_STOPPED: Final = "its schedule starts it anew"


def stream_of_schedule(schedule_id: str, run_no: int) -> str:
    """Return the stream in which the facts of a schedule are."""
    return f"{KIND}-{schedule_id}/{run_no}"


def fill_in(given: bytes, schedule_id: str, number: int, due: int) -> object:
    """Return the encoded input with ``${schedule.due}``, ``${schedule.id}`` and ``${schedule.number}`` filled in.

    Raises ``DefinitionError`` for a malformed reference, ``InvalidInput`` for one that leads nowhere.
    """
    known: Mapping[str, object] = {"schedule": {"id": schedule_id, "number": number, "due": iso(due)}}
    return compile_template(codec.decode(given)).resolve(known.__getitem__)


class ScheduleGuest:
    """Decides over the streams ``schedule-<id>/<run no>``. ``zone`` gives the rules of a time zone by its name."""

    def __init__(self, zone: Callable[[str], tzinfo]) -> None:
        self._zone = zone

    kind = KIND
    codec = f.SCHEDULE_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> ScheduleState:
        return ScheduleState(stream_id) if snapshot is None else restored_schedule(stream_id, snapshot)

    def moments(self, state: ScheduleState) -> Moments:
        """Return when the schedule is due."""
        return self._moments(state.asked, state.anchor, state.seed)

    def _moments(self, spec: ScheduleSpec, anchor: int, seed: str) -> Moments:
        return Moments(spec, anchor, seed, self._zone(spec.timezone))

    # --- commands ---------------------------------------------------------------------------------------------------

    def decide(self, state: ScheduleState, command: Command) -> Sequence[Fact]:
        match command:
            case f.CreateSchedule():
                return self._create(state, command)
            case f.ContinueSchedule(left=left):
                _demand_empty(state)
                return (left,)
            case ActivityFinished():
                if command.token not in state.running or state.left is not None:
                    return ()
                return (f.ScheduleRunEnded(command.token, command.outcome.kind, command.outcome.error),)
            case TimersDue(now=now):
                return self.advance(state, now)
            case f.NextScheduleOpened():
                is_next = state.left is ScheduleStatus.CONTINUING and state.is_open
                return (f.ScheduleContinuing(is_there=True),) if is_next else ()
            case _:
                return self._steer(state, command)

    def _create(self, state: ScheduleState, command: f.CreateSchedule) -> Sequence[Fact]:
        _demand_empty(state)
        first = self._moments(command.spec, command.now, command.seed).next(command.now)
        if first is None:
            raise CommandRefused(
                f"the schedule {state.schedule_id!r} would never be due", hint="give it a moment that is still to come"
            )
        return (f.ScheduleCreated(command.spec, command.seed, first, command.requested_by),)

    def _steer(self, state: ScheduleState, command: Command) -> Sequence[Fact]:
        if state.left is not None or state.spec is None:
            raise CommandRefused(
                f"the schedule {state.schedule_id!r} {_LEFT.get(state.left, 'was never created')}",
                hint="create it" if state.left is not ScheduleStatus.CONTINUING else "ask again",
            )
        match command:
            case f.ChangeSchedule(spec=spec, now=now, requested_by=by):
                if spec == state.spec:
                    return ()
                is_over = spec.max_runs is not None and _counted(state, ()) >= spec.max_runs
                first = self._moments(spec, now, state.seed).next(max(now, state.last_due))
                return (f.ScheduleChanged(spec, None if is_over else first, by),)
            case f.PauseSchedule(requested_by=by, reason=reason):
                return () if state.is_paused else (f.SchedulePaused(by, reason),)
            case f.ResumeSchedule():
                return self._resume(state, command)
            case f.DeleteSchedule(requested_by=by, reason=reason):
                return (f.ScheduleDeleted(by, reason),)
            case f.TriggerSchedule(now=now):
                found = self._overlap(state, [now], now, is_manual=True)
                if isinstance(found[-1], f.ScheduleSkipped):
                    raise CommandRefused(
                        f"the schedule {state.schedule_id!r} starts nothing now: {found[-1].reason}",
                        hint="wait until what it started has ended, or change its overlap policy",
                    )
                return found
            case _:
                raise InvariantError(f"a schedule does not know the command {type(command).__name__}")

    def _resume(self, state: ScheduleState, command: f.ResumeSchedule) -> Sequence[Fact]:
        if not state.is_paused:
            return ()
        first, missed = state.next, []
        if first is not None and first.at <= command.now:
            following = self.moments(state).next(command.now)
            missed = [f.ScheduleSkipped(first.due, "paused", None if following is None else following.due)]
            first = following
        return (*missed, f.ScheduleResumed(first, command.requested_by, command.reason))

    # --- what follows -----------------------------------------------------------------------------------------------

    def advance(self, state: ScheduleState, now: int) -> Sequence[Fact]:
        if state.left is not None or state.spec is None:
            return ()
        if state.version >= MAX_EVENTS:
            return (f.ScheduleContinuing(),)
        if state.is_paused:
            return ()
        if state.waits_for_time and state.queue[0].at <= now:
            return (_fired(state, state.queue[0].due, state.queue[0].is_manual),)
        if state.next is not None:
            return self._come(state, state.next, now) if state.next.at <= now else ()
        return () if state.running or state.queue else (f.ScheduleCompleted(),)

    def _come(self, state: ScheduleState, due: Moment, now: int) -> Sequence[Fact]:
        """Moments have come, from ``due`` on: act on those that the policy wants."""
        spec, moments = state.asked, self.moments(state)
        count = MAX_CATCH_UP if spec.catch_up is CatchUp.ALL else 1
        # One more, because the newest may not have reached its jitter yet. Other rules of a zone may know the moment no more: it counts.
        come = [one for one in moments.newest(due.due, now, count + 1) if moments.moment(one).at <= now] or [due.due]
        wanted = [one for one in come[-count:] if _is_wanted(spec, one, now)]
        following = moments.next(come[-1])
        found: list[Fact] = []
        if not wanted:
            until = None if following is None else following.due
            found.append(f.ScheduleSkipped(due.due, "missed", until))
        elif wanted[0] > due.due:
            found.append(f.ScheduleSkipped(due.due, "missed", wanted[0]))
        for one in self._overlap(state, wanted, now):
            found.append(one)
            if spec.max_runs is not None and _counted(state, found) >= spec.max_runs:
                following = None
                break
        last: Any = found[-1]
        found[-1] = msgspec.structs.replace(last, following=() if following is None else (following,))
        return found

    def _overlap(self, state: ScheduleState, due: Sequence[int], now: int, *, is_manual: bool = False) -> list[Fact]:
        """Return what is done about moments, in order, in the face of what runs and waits."""
        policy = state.asked.overlap
        running, waiting, number = len(state.running), [queued.due for queued in state.queue], state.number
        found: list[Fact] = []
        for one in due:
            if (not running and not waiting) or (policy is Overlap.ALLOW and running < MAX_RUNNING):
                number += 1
                running += 1
                found.append(_fired(state, one, is_manual, number))
            elif policy is Overlap.CANCEL_RUNNING:
                found += [f.ScheduleSkipped(older, "a newer moment came") for older in waiting]
                found.append(f.ScheduleQueued(one, now, is_cancelling=True, is_manual=is_manual))
                waiting = [one]
            elif policy is Overlap.SKIP:
                found.append(f.ScheduleSkipped(one, "what was started before runs"))
            elif policy is Overlap.ALLOW:
                found.append(f.ScheduleSkipped(one, f"{MAX_RUNNING} runs have not ended"))
            elif len(waiting) >= (1 if policy is Overlap.QUEUE_ONE else MAX_QUEUE):
                found.append(f.ScheduleSkipped(one, "enough wait already"))
            else:
                waiting.append(one)
                found.append(f.ScheduleQueued(one, now, is_manual=is_manual))
        return found

    def evolve(self, state: ScheduleState, fact: Fact, version: int, at: int) -> None:
        match fact:
            case f.ScheduleCreated(spec, seed, first):
                state.spec, state.seed, state.next = spec, seed, first
                state.anchor = state.created_at = at
            case f.ScheduleChanged(spec, first):
                state.spec, state.next, state.anchor = spec, first, at
            case f.ScheduleFired(due, number, workflow_id, is_manual, following):
                state.number = number
                state.fired += not is_manual
                state.running[number] = Firing(number, due, workflow_id, is_manual, False, at)
                if state.queue and (state.queue[0].due, state.queue[0].is_manual) == (due, is_manual):
                    del state.queue[0]
                _move(state, due, following)
            case f.ScheduleQueued():
                if fact.is_cancelling:
                    state.queue.clear()
                    for number, firing in state.running.items():
                        state.running[number] = msgspec.structs.replace(firing, is_told=True)
                state.queue.append(fact)
                _move(state, fact.due, fact.following)
            case f.ScheduleSkipped(due=due, following=following):
                _move(state, due, following)
            case f.ScheduleRunEnded(number, outcome):
                state.ended(number, outcome, at)
            case f.SchedulePaused():
                state.is_paused = True
            case f.ScheduleResumed(first):
                state.is_paused, state.next = False, first
            case f.ScheduleContinued():
                take_over(state, fact)
            case f.ScheduleContinuing(is_there):
                state.left = ScheduleStatus.CONTINUED if is_there else ScheduleStatus.CONTINUING
                state.ended_at = at if is_there else None
            case f.ScheduleDeleted():
                state.left, state.ended_at = ScheduleStatus.DELETED, at
            case f.ScheduleCompleted():
                state.left, state.ended_at = ScheduleStatus.COMPLETED, at
            case _:
                raise InvariantError(f"a schedule does not know the fact {type(fact).__name__}")
        state.version = version

    # --- what the engine asks ---------------------------------------------------------------------------------------

    def effects(self, state: ScheduleState, fact: Fact, version: int) -> Sequence[Effect]:
        match fact:
            case f.ScheduleFired(number=number):
                firing = state.running.get(number)
                return () if firing is None else (_child(state, firing),)
            case f.ScheduleQueued(is_cancelling=True):
                return [StopActivity(number, _STOPPED) for number in state.running]
            case f.ScheduleContinued():
                return self._open_work(state)
            case f.ScheduleContinuing(is_there=False):
                return (_next_stream(state),)
            case _:
                return ()

    def recover(self, state: ScheduleState, now: int, died: ProcessDeath | None = None) -> Recovery:
        if state.left is ScheduleStatus.CONTINUING:
            return Recovery((), (_next_stream(state),))
        return Recovery((), self._open_work(state))

    def _open_work(self, state: ScheduleState) -> list[Effect]:
        found: list[Effect] = []
        for firing in state.running.values():
            found.append(_child(state, firing))
            if firing.is_told:
                found.append(StopActivity(firing.number, _STOPPED))
        return found

    def is_in_work(self, state: ScheduleState, token: int) -> bool:
        return token in state.running

    def inputs(self, state: ScheduleState, task_key: str) -> ActivityInput:
        firing = next((one for one in state.running.values() if one.workflow_id == task_key), None)
        if firing is None:
            raise InvariantError(f"the schedule {state.stream_id!r} has not started {task_key!r}")
        spec = state.asked
        params: Any = fill_in(spec.input, state.schedule_id, firing.number, firing.due) or {}
        return ActivityInput(params, {}, spec.input, state.schedule_id, state.run_no, task_key)

    def summary(self, state: ScheduleState) -> Summary:
        return Summary(
            execution_id=state.schedule_id,
            run_no=state.run_no,
            name=state.asked.workflow,
            status=state.status,
            is_open=state.is_open,
            next_due=state.next_due,
            started_at=state.created_at,
            ended_at=state.ended_at,
        )

    def snapshot(self, state: ScheduleState) -> bytes:
        return schedule_snapshot(state)


_LEFT: Final[Mapping[ScheduleStatus | None, str]] = {
    ScheduleStatus.CONTINUING: "goes on in its next stream",
    ScheduleStatus.CONTINUED: "goes on in its next stream",
    ScheduleStatus.COMPLETED: "is completed",
    ScheduleStatus.DELETED: "was deleted",
}


def _demand_empty(state: ScheduleState) -> None:
    if state.spec is not None:
        raise CommandRefused(f"the schedule {state.schedule_id!r} exists already", hint="change it, or delete it first")


def _is_wanted(spec: ScheduleSpec, due: int, now: int) -> bool:
    """Whether the policy wants a moment that has come to be acted on, however late it is."""
    if spec.catch_up is CatchUp.LAST:
        return True
    window = spec.window_ns if spec.catch_up is CatchUp.ALL else 0
    return now - due - spec.jitter_ns <= max(window, MISSED_AFTER_NS)


def _fired(state: ScheduleState, due: int, is_manual: bool, number: int | None = None) -> f.ScheduleFired:
    number = state.number + 1 if number is None else number
    # A moment is acted on once, so its id is its own; somebody may ask for two starts in one moment.
    workflow_id = f"{state.schedule_id}@{iso(due)}{f'+{number}' if is_manual else ''}"
    return f.ScheduleFired(due, number, workflow_id, is_manual)


def _counted(state: ScheduleState, found: Sequence[Fact]) -> int:
    """Return how many starts the schedule has, with those that wait and those found now."""
    waiting = sum(not queued.is_manual for queued in state.queue)
    return state.fired + waiting + sum(isinstance(fact, f.ScheduleFired | f.ScheduleQueued) for fact in found)


def _move(state: ScheduleState, due: int, following: tuple[Moment, ...] | None) -> None:
    if following is not None:
        state.last_due = due
        state.next = following[0] if following else None


def _child(state: ScheduleState, firing: Firing) -> RunChild:
    spec = state.asked
    return RunChild(firing.workflow_id, firing.number, 1, firing.workflow_id, spec.definition, spec.workflow)


def _next_stream(state: ScheduleState) -> ContinueExecution:
    return ContinueExecution(state.schedule_id, state.run_no, codec.NULL)
