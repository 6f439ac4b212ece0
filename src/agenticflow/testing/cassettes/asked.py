"""What was asked of a run from outside, read back from what it made true.

A command is not recorded, its facts are, and the name of the command that caused them. Where several commands can have been behind a fact,
all are returned, the likeliest first. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from agenticflow.app.cassettes import CassetteEvent
from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import ActivityFinished, ActivityStarted, ProcessDeath, TimersDue
from agenticflow.core.interrupts import Ask
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals.facts import (
    AnswersKept,
    ApprovalAnswered,
    ApprovalDelegated,
    InterruptAnswered,
    InterruptRefused,
    InterruptWithdrawn,
    TaskInterrupted,
    TaskInterruptedAgain,
)
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.facts import ReplanAgreed, ReplanRefused
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import Heard, RunState
from agenticflow.orchestration.suspicion.commands import DiscardLetter, ProcessDied, RetryLetter, SuspectsInterrupted
from agenticflow.orchestration.suspicion.facts import ProcessLost

__all__ = ["commands_behind", "ended_token"]

NANOSECONDS: Final = 1_000_000_000
MAX_DIGITS: Final = 9
"""Of the number of an event."""
_UNKNOWN_KINDS: Final = {
    "its time limit passed": OutcomeKind.TIMED_OUT,
    "its process ended while it ran": OutcomeKind.UNKNOWN,
    "it was interrupted while it ran": OutcomeKind.CANCELLED,
}
"""Of at-most-once work, by the reason that is recorded."""


def ended_token(event: CassetteEvent) -> int | None:
    """Return the token of the attempt whose end caused the event, ``None`` when something else did."""
    _, at, token = event.cause.rpartition("@")
    return int(token) if at and token.isascii() and token.isdecimal() and len(token) <= MAX_DIGITS else None


def commands_behind(state: RunState, events: Sequence[CassetteEvent], at: int) -> Iterator[Command]:
    """Yield what can have been asked of ``state`` that made event ``events[at]`` true, and those after it with the same cause.

    Raises ``InvalidInput`` when nobody can say.
    """
    event = events[at]
    fact, now = event.fact, event.at
    if (token := ended_token(event)) is not None:
        key = str(getattr(fact, "task_key", ""))
        for outcome in _outcomes(state, events, at):
            yield ActivityFinished(now=now, task_key=key, token=token, outcome=outcome)
        return
    read = _READERS.get(event.cause)
    if read is None:
        raise InvalidInput(
            f"event {event.version} was caused by {event.cause!r:.50}, which this program does not know",
            hint="replay it with the release that exported it, or export the run again",
        )
    yield from read(state, fact, now, islice(events, at + 1, None))


# --- the end of an attempt ----------------------------------------------------------------------------------------------


def _outcomes(state: RunState, events: Sequence[CassetteEvent], at: int) -> Iterator[Outcome]:
    fact = events[at].fact
    match fact:
        case f.TaskCompleted():
            yield Outcome(OutcomeKind.SUCCEEDED, bytes(fact.result), is_undoable=fact.is_undoable)
        case f.TaskFailed() if (unheard := _unheard(state, fact.task_key)) is not None:
            yield _interrupted_by([unheard])
            yield _unsuccessful(fact.error, is_abandoned=fact.grace_until is not None)
        case f.TaskFailed() | f.TaskRetryScheduled() | f.TaskReassigned():
            yield _unsuccessful(fact.error, is_abandoned=fact.grace_until is not None)
        case f.TaskCancelled():
            yield Outcome(OutcomeKind.CANCELLED)
            yield _interrupted_by([Ask("")])
        case f.TaskLateOutcome():
            yield Outcome(fact.kind, bytes(fact.result), fact.error, is_undoable=fact.is_undoable)
        case TaskInterrupted() | TaskInterruptedAgain() | InterruptWithdrawn():
            yield _interrupted_by(_asks(state, events, at))
        case f.TaskOutcomeUnknown():
            if (kind := _UNKNOWN_KINDS.get(fact.reason)) is not None:
                yield Outcome(kind)
                return
            # An undo that failed: of its error only the words were recorded.
            name, _, message = fact.reason.partition(": ")[2].partition(": ")
            for is_permanent in (False, True):
                yield Outcome(OutcomeKind.FAILED, error=ErrorInfo(name, message, is_permanent=is_permanent))
        case _:
            raise InvalidInput(
                f"the cassette is damaged: no end of work is recorded as {fact.event_type!r}",
                hint="export the run again",
            )


def _unsuccessful(error: ErrorInfo, *, is_abandoned: bool) -> Outcome:
    if error.type == "OutcomeUnknown":
        kind = next((one for one in OutcomeKind if error.message == f"the attempt was {one.value}"), None)
        if kind is not None:
            return Outcome(kind, is_abandoned=is_abandoned)
    is_late = error.code in ("timeout", "stalled") and error.type in ("TaskTimeout", "TaskStalled")
    return Outcome(
        OutcomeKind.TIMED_OUT if is_late or is_abandoned else OutcomeKind.FAILED, error=error, is_abandoned=is_abandoned
    )


def _interrupted_by(asks: list[Ask]) -> Outcome:
    return Outcome(OutcomeKind.INTERRUPTED, codec.encode(asks))


def _unheard(state: RunState, key: str) -> Ask | None:
    """Return what a handler asked that was refused while it ran."""
    closed = state.answered.get(key, {}).values()
    return next((Ask(one.key) for one in closed if one.refusal is not None), None)


def _asks(state: RunState, events: Sequence[CassetteEvent], at: int) -> list[Ask]:
    """Return all that a handler asked when it ended: what was new, what was open already, and something that was answered by then."""
    key = str(getattr(events[at].fact, "task_key", ""))
    still_open = {one.token: Ask(one.key) for one in state.requests.get(key, {}).values()}
    new: list[Ask] = []
    answered: list[Ask] = []
    for event in islice(events, at, None):
        fact = event.fact
        if event.cause != events[at].cause:
            break
        if isinstance(fact, InterruptWithdrawn):
            still_open.pop(fact.token, None)
        elif isinstance(fact, TaskInterrupted):
            new.append(_ask(fact, event.at))
        elif isinstance(fact, TaskInterruptedAgain) and fact.is_due:
            closed = state.answered.get(key, {}).values()
            answered = [Ask(one.key) for one in closed if one.answer is not None][-1:]
    return [*still_open.values(), *new, *answered]


def _ask(fact: TaskInterrupted, now: int) -> Ask:
    terms = fact.terms
    return Ask(
        key=fact.key,
        value=terms.arguments,
        question=fact.question,
        response_schema=terms.response_schema,
        assignees=terms.assignees,
        deadline_seconds=terms.limit_seconds,
        on_deadline=terms.on_deadline,
        default=terms.default,
        quorum=terms.quorum,
        rejection_ends=terms.rejection_ends,
        escalation=tuple(((moment - now + 0.5) / NANOSECONDS, tuple(to)) for moment, to in terms.escalation),
        on_rejection=terms.on_rejection,
    )


# --- what people and the engine asked -----------------------------------------------------------------------------------

Reader = Callable[[RunState, Fact, int, Iterable[CassetteEvent]], Iterator[Command]]


class _Beginning(msgspec.Struct):
    """What a run was started with beside what stands in its first event, as the facts behind that tell."""

    heard: list[Heard] = []
    terms: ReplanTerms | None = None
    answers: bytes | None = None
    undone_for: ErrorInfo | None = None
    steps: list[f.PlannedStep] = []
    course: bytes | None = None

    def take(self, event: CassetteEvent) -> bool:
        """Take what the next event tells; return whether there may be more."""
        match event.fact:
            case f.StepsPlanned(steps=steps) if event.cause == "StartRun":
                self.steps += steps
            case f.CompensationStarted(error=error, undoing=undoing) if bytes(undoing) != codec.NULL:
                self.undone_for, self.course = error, bytes(undoing)
                return False
            case AnswersKept(answers=answers):
                self.answers = bytes(answers)
            case ReplanAgreed(times=times, limit_seconds=limit):
                self.terms = ReplanTerms(times, limit)
            case f.FeedbackGiven() as said if event.cause == "StartRun":
                at = event.at if said.said_at is None else said.said_at
                self.heard.append(Heard(bytes(said.feedback), said.given_by, at, said.task_key, said.reason))
            case _:
                return False
        return True


def _start(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.WorkflowStarted):
        begun = _Beginning()
        for event in rest:
            if not begun.take(event):
                break
        yield c.StartRun(
            now=now,
            workflow_id=fact.workflow_id,
            run_no=fact.run_no,
            definition=bytes(fact.definition),
            input=bytes(fact.input),
            seed=fact.seed,
            fingerprint=fact.fingerprint,
            requested_by=fact.started_by,
            kept=bytes(fact.kept),
            generations=fact.generations,
            signals=bytes(fact.signals),
            answers=begun.answers,
            feedback=tuple(begun.heard),
            parent=fact.parent,
            depth=fact.depth,
            first_generation=fact.first_generation,
            replan=begun.terms,
            undone_for=begun.undone_for,
            course=begun.course,
            steps=() if begun.course is None else tuple(begun.steps),
        )


def _started(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TaskStarted):
        yield ActivityStarted(now=now, task_key=fact.task_key, token=fact.token, deadline=fact.deadline)


def _due(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    yield TimersDue(now=now)


def _continued(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    yield c.NextRunStarted(now=now)


def _plan(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    yield c.Plan(now=now)


def _signal(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.SignalReceived):
        yield c.Signal(now=now, signal=fact.signal, value=bytes(fact.value), requested_by=fact.sent_by)


def _pause(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.WorkflowPaused):
        yield c.Pause(now=now, requested_by=fact.requested_by, reason=fact.reason)


def _resume(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.WorkflowResumed):
        yield c.Resume(now=now, requested_by=fact.requested_by, reason=fact.reason)


def _abort(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.WorkflowCancelRequested):
        grace = fact.grace_until - now
        # The second for seconds that are no whole number of nanoseconds as a float.
        for seconds in (grace / NANOSECONDS, (grace + 0.5) / NANOSECONDS):
            yield c.Abort(now=now, requested_by=fact.requested_by, reason=fact.reason, grace_seconds=seconds)


def _resolve(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    match fact:
        case f.TaskCompleted():
            value, by = bytes(fact.result), fact.decided_by
            yield c.Resolve(now=now, task_key=fact.task_key, decision="completed", requested_by=by, value=value)
        case f.TaskFailed():
            reason, by = fact.error.message, fact.decided_by
            yield c.Resolve(now=now, task_key=fact.task_key, decision="failed", requested_by=by, reason=reason)
        case f.TaskRerunRequested():
            yield c.Resolve(now=now, task_key=fact.task_key, decision="run_again", requested_by=fact.requested_by)
        case _:
            return


def _cancel_task(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TasksCancelled):
        task_id = fact.task_keys[0].partition("[")[0]
        yield c.CancelTask(now=now, task_id=task_id, requested_by=fact.decided_by, reason=fact.reason)


def _skip_task(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TaskSkipped):
        yield c.SkipTask(now=now, task_key=fact.task_key, requested_by=fact.decided_by, reason=fact.reason)


def _retry_task(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TaskRetryRequested):
        yield c.RetryTask(now=now, task_key=fact.task_key, requested_by=fact.decided_by, reason=fact.reason)


def _set_result(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TaskResultGiven):
        key, value, by = fact.task_key, bytes(fact.result), fact.decided_by
        yield c.SetResult(now=now, task_key=key, value=value, requested_by=by, reason=fact.reason)


def _give_feedback(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.FeedbackGiven):
        said, by = bytes(fact.feedback), fact.given_by
        yield c.GiveFeedback(now=now, feedback=said, requested_by=by, task_key=fact.task_key, reason=fact.reason)


def _modify(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.WorkflowModified):
        yield c.Modify(
            now=now,
            modifications=bytes(fact.modifications),
            requested_by=fact.modified_by,
            reason=fact.reason,
            definition=state.laid_out.content_hash,
        )


def _approve(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    match fact:
        case f.ApprovalGranted() | InterruptAnswered():
            given = codec.decode(state.values.resolve(bytes(fact.result)))
            result = bytes(fact.result)
            if fact.given and isinstance(given, dict):
                # What others said was added by the run.
                result = codec.encode({key: value for key, value in given.items() if key != "answers"})
        case ApprovalAnswered():
            said = {"approved": True, "by": fact.decided_by, "comment": fact.comment, "value": fact.value}
            result = codec.encode(said)
        case _:
            return
    key, by, token = fact.task_key, fact.decided_by, fact.token
    yield c.Approve(now=now, task_key=key, requested_by=by, comment=fact.comment, result=result, token=token)


def _reject(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    match fact:
        case f.ApprovalRejected() | InterruptRefused():
            comment = fact.error.message.removeprefix(f"{fact.decided_by} rejected it").removeprefix(": ")
        case ApprovalAnswered() | InterruptAnswered():
            comment = fact.comment
        case _:
            return
    yield c.Reject(now=now, task_key=fact.task_key, requested_by=fact.decided_by, comment=comment, token=fact.token)


def _delegate(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, ApprovalDelegated):
        key, by, token = fact.task_key, fact.decided_by, fact.token
        yield c.Delegate(now=now, task_key=key, requested_by=by, to=fact.to, comment=fact.comment, token=token)


# --- lost processes, and what people decided about what lost them -------------------------------------------------------


def _process_died(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, ProcessLost):
        yield ProcessDied(now=now, death=ProcessDeath(fact.life, fact.began_at, fact.pid, fact.limit))


def _interrupted(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    yield SuspectsInterrupted(now=now)


def _retry_letter(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, f.TaskRetryRequested) and (suspect := state.suspects.get(fact.task_key)) is not None:
        key, by = fact.task_key, fact.decided_by
        yield RetryLetter(now=now, task_key=key, token=suspect.token, requested_by=by, reason=fact.reason)


def _discard_letter(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    if isinstance(fact, (f.TaskFailed, f.TaskOutcomeUnknown)) and fact.task_key in state.suspects:
        words = fact.error.message if isinstance(fact, f.TaskFailed) else fact.reason
        before, _, reason = words.partition(" has given it up")
        yield DiscardLetter(
            now=now,
            task_key=fact.task_key,
            token=state.suspects[fact.task_key].token,
            requested_by=before.rpartition(" times, and ")[2],
            reason=reason.removeprefix(": "),
        )


def _propose(state: RunState, fact: Fact, now: int, rest: Iterable[CassetteEvent]) -> Iterator[Command]:
    match fact:
        case f.WorkflowModified():
            given, by, reason = bytes(fact.modifications), fact.modified_by, fact.reason
            yield Propose(now=now, number=fact.number, requested_by=by, modifications=given, reason=reason)
        case ReplanRefused():
            # Which modifications were refused is not recorded, only why.
            yield Propose(now=now, number=fact.number, requested_by=fact.decided_by, problems=fact.problems)
        case _:
            return


_READERS: Final[dict[str, Reader]] = {
    "StartRun": _start,
    "ActivityStarted": _started,
    "TimersDue": _due,
    "NextRunStarted": _continued,
    "Plan": _plan,
    "Signal": _signal,
    "Pause": _pause,
    "Resume": _resume,
    "Abort": _abort,
    "Resolve": _resolve,
    "CancelTask": _cancel_task,
    "SkipTask": _skip_task,
    "RetryTask": _retry_task,
    "SetResult": _set_result,
    "GiveFeedback": _give_feedback,
    "Modify": _modify,
    "Approve": _approve,
    "Reject": _reject,
    "Delegate": _delegate,
    "ProcessDied": _process_died,
    "SuspectsInterrupted": _interrupted,
    "RetryLetter": _retry_letter,
    "DiscardLetter": _discard_letter,
    "Propose": _propose,
}
