"""The run decider: what happens next in a workflow. The heart of the engine, and pure.

``decide`` answers a command with facts or a refusal, ``orchestration.advance`` says what follows from the state alone (what is ready
is scheduled, a finished run ends), ``orchestration.evolve`` folds. Time, ids and seeds come in with the command; nothing here waits,
looks at a clock or talks to anybody. Data passes in as commands (``commands.py``, ``core.engine``) and out as facts, which the host
commits before any of them takes effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.engine import ActivityFinished, ActivityStarted, EffectClass, OutcomeChecked, TimersDue
from agenticflow.core.results import SUCCEEDED, ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import CommandRefused, InvalidInput, InvariantError, OutcomeUnknown
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.advance import (
    GRACE_SECONDS,
    MAX_KEYS_PER_FACT,
    MAX_LISTED,
    NANOSECONDS,
    advance,
    first_attempt,
    never_started,
    open_keys,
)
from agenticflow.orchestration.approvals.facts import AnswersKept
from agenticflow.orchestration.evolve import evolve
from agenticflow.orchestration.inbox.answering import MAX_COMMENT_CHARS, answer_of, is_repeated
from agenticflow.orchestration.inbox.answering import due as request_due
from agenticflow.orchestration.inbox.asking import interrupted
from agenticflow.orchestration.interventions.checking import modify
from agenticflow.orchestration.interventions.feedback import give_feedback, said_before
from agenticflow.orchestration.interventions.moments import not_now
from agenticflow.orchestration.interventions.tasks import retry_task, set_result, skip_task
from agenticflow.orchestration.plan import decode_plan
from agenticflow.orchestration.quarantine.deciding import decided_about, process_died
from agenticflow.orchestration.quarantine.deciding import interrupted as interrupted_suspects
from agenticflow.orchestration.repair.answering import not_in_time, proposed
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.facts import ReplanAgreed
from agenticflow.orchestration.snapshots import restore
from agenticflow.orchestration.state import (
    ANSWER,
    DEADLINE,
    ESCALATION,
    GRACE,
    IN_FLIGHT,
    LINGER,
    REPLAN,
    RETRY,
    TIMER,
    TOTAL,
    Phase,
    RunState,
    TaskRecord,
    TaskStatus,
)
from agenticflow.orchestration.statuses import OVER
from agenticflow.orchestration.suspicion import commands as s
from agenticflow.orchestration.undoing.beginning import begin_undoing

__all__ = ["RunDecider"]

MAX_GRACE_SECONDS: Final = 86_400
MAX_RETRY_AFTER_SECONDS: Final = 3_600.0
"""Whoever says next year is asked after an hour all the same."""

_NONE: Final = msgspec.Raw(codec.NULL)

Facts = Sequence[Fact]


class RunDecider:
    """Decides over the streams ``workflow-<id>/<run no>``. Holds nothing."""

    codec: FactCodec = f.FACTS
    evolve = staticmethod(evolve)

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> RunState:
        return RunState(stream_id) if snapshot is None else restore(stream_id, snapshot)

    # --- decide -----------------------------------------------------------------------------------------------------

    def decide(self, state: RunState, command: Command) -> Facts:
        match command:
            case ActivityFinished():
                return self._finished(state, command)
            case ActivityStarted():
                return self._activity_started(state, command)
            case TimersDue(now=now):
                return self._timers_due(state, now)
            case c.StartRun():
                return self._start_run(state, command)
            case c.NextRunStarted():
                return (f.WorkflowContinued(),) if state.phase is Phase.CONTINUING else ()
            case c.Plan():
                return () if state.planner is None else state.planner.plan(state)
            case s.ProcessDied():
                return process_died(state, command)
            case s.SuspectsInterrupted():
                return interrupted_suspects(state)
            case Propose():
                return proposed(state, command)
            case s.RetryLetter() | s.DiscardLetter():
                return decided_about(state, command)
            case OutcomeChecked():
                self._demand_open(state, command)
                return self._resolve(
                    state,
                    c.Resolve(
                        now=command.now,
                        task_key=command.task_key,
                        decision=command.decision,
                        requested_by=command.checked_by,
                        value=command.value,
                    ),
                    command.token,
                )
            case c.Resolve() if state.phase is Phase.COMPENSATING:
                return self._resolve(state, command)
            case c.Approve() | c.Reject() | c.Delegate():
                if is_repeated(state, command):
                    return ()
                if state.phase is not Phase.COMPENSATING or command.task_key not in state.requests:
                    self._demand_open(state, command)  # what undoes a task may ask too
                return answer_of(state, command)
            case _:
                self._demand_open(state, command)
                return self._intervene(state, command)

    def _intervene(self, state: RunState, command: Command) -> Facts:
        match command:
            case c.Signal():
                return [f.SignalReceived(command.signal, msgspec.Raw(command.value), command.requested_by)]
            case c.Pause():
                return [] if state.is_paused else [f.WorkflowPaused(command.requested_by, command.reason)]
            case c.Resume():
                return [f.WorkflowResumed(command.requested_by, command.reason)] if state.is_paused else []
            case c.Abort():
                if not 0 <= command.grace_seconds <= MAX_GRACE_SECONDS:
                    raise InvalidInput(
                        f"grace_seconds is {command.grace_seconds!r}", hint=f"give 0 to {MAX_GRACE_SECONDS:,}"
                    )
                grace = command.now + int(command.grace_seconds * NANOSECONDS)
                return [f.WorkflowCancelRequested("abort", command.requested_by, command.reason, grace)]
            case c.Resolve():
                return self._resolve(state, command)
            case c.CancelTask():
                return self._cancel_task(state, command)
            case c.SkipTask():
                return skip_task(state, command)
            case c.RetryTask():
                return retry_task(state, command)
            case c.SetResult():
                return set_result(state, command)
            case c.GiveFeedback():
                return give_feedback(state, command)
            case c.Modify():
                return modify(state, command)
            case _:
                raise InvariantError(f"a run does not know the command {type(command).__name__}")

    def _cancel_task(self, state: RunState, command: c.CancelTask) -> Facts:
        task_id, index = command.task_id, state.laid_out.by_id.get(command.task_id)
        if index is None:
            raise InvalidInput(
                f"workflow {state.workflow_id!r} has no task {task_id!r}",
                hint="name a task as the definition does; items of a map are cancelled with their map",
            )
        keys = open_keys(state, index)
        if not keys:
            raise CommandRefused(
                f"task {task_id!r} of workflow {state.workflow_id!r} is {state.tasks[task_id].status}, "
                "there is nothing to cancel"
            )
        grace = command.now + int(GRACE_SECONDS * NANOSECONDS)
        by, reason = command.requested_by, _cut(command.reason)
        return [
            f.TasksCancelled(tuple(keys[start : start + MAX_KEYS_PER_FACT]), "", grace, by, reason)
            for start in range(0, len(keys), MAX_KEYS_PER_FACT)
        ]

    def _demand_open(self, state: RunState, command: Command) -> None:
        if state.phase is not Phase.RUNNING:
            raise not_now(state, getattr(command, "words", "command"))

    def _start_run(self, state: RunState, command: c.StartRun) -> Facts:
        if state.phase is not Phase.NEW:
            raise CommandRefused(f"run {command.run_no} of workflow {command.workflow_id!r} has started already")
        plan = decode_plan(state.values.resolve(command.definition))
        limit = plan.definition.timeout_seconds if command.undone_for is None else None
        started = f.WorkflowStarted(
            workflow_id=command.workflow_id,
            run_no=command.run_no,
            name=plan.definition.name,
            definition=msgspec.Raw(command.definition),
            input=msgspec.Raw(command.input),
            seed=command.seed,
            fingerprint=command.fingerprint,
            started_by=command.requested_by,
            deadline=None if limit is None else command.now + int(limit * NANOSECONDS),
            kept=_NONE if command.kept is None else msgspec.Raw(command.kept),
            generations=command.generations,
            signals=_NONE if command.signals is None else msgspec.Raw(command.signals),
            parent=command.parent,
            depth=command.depth,
            first_generation=command.first_generation,
        )
        facts: list[Fact] = [started]
        if (terms := command.replan) is not None:
            facts.append(ReplanAgreed(terms.times, terms.limit_seconds))
        if command.feedback:
            facts += said_before(command.feedback)
        if command.answers is not None:
            facts.append(AnswersKept(msgspec.Raw(command.answers)))
        if command.undone_for is not None:
            facts += begin_undoing(command.undone_for, command.course, command.steps)
        return facts

    def _activity_started(self, state: RunState, command: ActivityStarted) -> Facts:
        record = state.tasks.get(command.task_key)
        if (
            record is None
            or record.token != command.token
            or record.status is not TaskStatus.SCHEDULED
            or state.phase not in (Phase.RUNNING, Phase.COMPENSATING)
        ):
            return ()
        return (f.TaskStarted(command.task_key, command.token, command.deadline),)

    def _finished(self, state: RunState, command: ActivityFinished) -> Facts:
        key, token, outcome = command.task_key, command.token, command.outcome
        record = state.tasks.get(key)
        if record is None or state.phase in OVER:
            return ()
        if record.token != token or record.status not in IN_FLIGHT:
            if record.token == token and record.status is TaskStatus.UNKNOWN:
                return self._no_longer_unknown(state, record, outcome, command.now)
            is_late = record.token == token and record.status is TaskStatus.SKIPPED and record.value is None
            if is_late and outcome.kind is OutcomeKind.SUCCEEDED and not outcome.is_abandoned:
                # Somebody went on without it while nobody knew what became of it.
                return (f.TaskLateOutcome(key, token, outcome.kind, msgspec.Raw(outcome.value), outcome.error),)
            if token in state.lingering and state.lingering[token][0] == key and not outcome.is_abandoned:
                result = msgspec.Raw(outcome.value if outcome.kind is OutcomeKind.SUCCEEDED else codec.NULL)
                return (
                    f.TaskLateOutcome(key, token, outcome.kind, result, outcome.error, _is_undoable(record, outcome)),
                )
            return ()
        if outcome.kind is SUCCEEDED:
            return (f.TaskCompleted(key, token, msgspec.Raw(outcome.value), is_undoable=_is_undoable(record, outcome)),)
        if outcome.kind is OutcomeKind.INTERRUPTED:
            if state.phase is Phase.CANCELLING:
                return (f.TaskCancelled(key, token),)
            return interrupted(state, record, outcome.value, command.now)
        return (self._unsuccessful(state, record, outcome, command.now),)

    def _no_longer_unknown(self, state: RunState, record: TaskRecord, outcome: Outcome, now: int) -> Facts:
        if outcome.kind is OutcomeKind.SUCCEEDED:
            return (f.TaskCompleted(record.key, record.token, msgspec.Raw(outcome.value)),)
        if outcome.kind is OutcomeKind.INTERRUPTED and state.phase is not Phase.CANCELLING:
            # It stopped itself at a point that it chose: what it has done is known.
            return interrupted(state, record, outcome.value, now)
        if outcome.kind is OutcomeKind.FAILED and outcome.error is not None and record.undoes is None:
            error = msgspec.structs.replace(outcome.error, attempt=record.attempt, at=now)
            return (f.TaskFailed(record.key, record.token, error),)
        return ()

    def _unsuccessful(self, state: RunState, record: TaskRecord, outcome: Outcome, now: int) -> Fact:
        key, token = record.key, record.token
        task = record.node.task
        is_once = task.effect is EffectClass.AT_MOST_ONCE
        if is_once and outcome.kind in (OutcomeKind.UNKNOWN, OutcomeKind.TIMED_OUT):
            reason = (
                "its time limit passed" if outcome.kind is OutcomeKind.TIMED_OUT else "its process ended while it ran"
            )
            if outcome.error is not None and outcome.error.code == OutcomeUnknown.code:
                reason = outcome.error.message[:1_000]  # its own handler says so
            return f.TaskOutcomeUnknown(key, token, reason)
        if is_once and outcome.kind is OutcomeKind.CANCELLED and record.status is TaskStatus.RUNNING:
            return f.TaskOutcomeUnknown(key, token, "it was interrupted while it ran")
        if outcome.kind is OutcomeKind.CANCELLED and state.phase is Phase.CANCELLING:
            return f.TaskCancelled(key, token)
        error = outcome.error or ErrorInfo(type="OutcomeUnknown", message=f"the attempt was {outcome.kind.value}")
        error = msgspec.structs.replace(error, attempt=record.attempt, at=now)
        grace = now + int(GRACE_SECONDS * NANOSECONDS) if outcome.is_abandoned else None
        if state.phase is Phase.RUNNING or record.undoes is not None:
            attempts = record.attempt - record.attempts_before
            delay = task.policy.delay_after(attempts, error, seed=state.seed, task_key=key)
            if delay is not None:
                delay = max(delay, min(error.retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
                return f.TaskRetryScheduled(key, token, error, now + int(delay * NANOSECONDS), grace)
            if (next_agent := _next_agent(record)) is not None:
                return f.TaskReassigned(key, token, error, next_agent, grace)
        if record.undoes is not None:
            # Nobody may go on as if it were undone: a person says what became of it.
            return f.TaskOutcomeUnknown(key, token, f"it could not be undone: {error}"[:1_000])
        return f.TaskFailed(key, token, error, grace)

    def _resolve(self, state: RunState, command: c.Resolve, token: int | None = None) -> Facts:
        record = state.tasks.get(command.task_key)
        if record is None or record.status is not TaskStatus.UNKNOWN or token not in (None, record.token):
            unknown = [key for key, task in state.tasks.items() if task.status is TaskStatus.UNKNOWN]
            raise CommandRefused(
                f"the outcome of task {command.task_key!r} in workflow {state.workflow_id!r} is not in question",
                hint=f"in question: {', '.join(unknown[:MAX_LISTED]) or 'none'}",
            )
        key, by = command.task_key, command.requested_by
        match command.decision:
            case "completed":
                return [f.TaskCompleted(key, record.token, msgspec.Raw(command.value), by)]
            case "failed":
                message = command.reason or "decided by a person"
                error = ErrorInfo("ResolvedAsFailed", message, attempt=record.attempt, at=command.now)
                return [f.TaskFailed(key, record.token, error, None, by)]
            case "run_again":
                if state.phase is Phase.COMPENSATING and record.undoes is None:
                    raise CommandRefused(
                        f"workflow {state.workflow_id!r} is being undone, task {key!r} cannot run again",
                        hint="say 'completed', then it is undone too, or 'failed'",
                    )
                return [f.TaskRerunRequested(key, state.generations.get(key, 0) + 1, by)]
            case _:
                assert_never(command.decision)

    # --- timers -----------------------------------------------------------------------------------------------------

    def _timers_due(self, state: RunState, now: int) -> Facts:
        facts: list[Fact] = []
        due = state.due_timers(now)
        if any(kind == DEADLINE for _, _, kind, _ in due):
            limit = state.laid_out.definition.timeout_seconds
            grace = now + int(GRACE_SECONDS * NANOSECONDS)
            reason = f"the workflow's limit of {limit:g} s passed"
            # Whatever else is due now no longer matters: nothing advances after this.
            return [f.WorkflowCancelRequested("timeout", "engine", reason, grace)]
        # A task whose total limit has passed is not tried again, also when its retry was due before (nobody looked in between).
        closed = dict.fromkeys(key for _, _, kind, key in due if kind == TOTAL)
        facts.extend(self._task_due(state, state.tasks[key], TOTAL, now) for key in closed)
        for moment, _, kind, key in due:
            if key in closed:
                continue
            if kind == GRACE:
                facts.extend(
                    f.TaskCancelled(record.key, record.token)
                    if never_started(record)
                    else f.TaskOutcomeUnknown(record.key, record.token, "it did not stop in time")
                    for record in state.tasks.values()
                    if record.status in IN_FLIGHT
                )
            elif kind == REPLAN:
                facts.append(not_in_time(state))
            elif kind == LINGER:
                lingering, _ = state.lingering[int(key)]
                facts.append(f.TaskLateOutcome(lingering, int(key), OutcomeKind.UNKNOWN))
            elif kind in (ANSWER, ESCALATION):
                closed[key] = None
                facts.extend(request_due(state, key, kind, moment, now))
            else:
                closed[key] = None
                node = state.tasks[key].node
                facts.append(self._task_due(state, state.tasks[key], kind, now))
                # Of two timers that end each other only the first has ended, also when nobody looked in between.
                closed.update(dict.fromkeys(node.task.cancels if kind == TIMER else ()))
        return facts

    def _task_due(self, state: RunState, record: TaskRecord, kind: int, now: int) -> Fact:
        key = record.key
        if kind == TIMER:
            if record.node.until is None:
                return f.TimerFired(key)
            if state.laid_out.is_limited:
                return f.LoopContinued(record.node.task.task_id, record.index or 0)
            try:
                return first_attempt(state, record, now)
            except InvalidInput as problem:
                error = ErrorInfo("InvalidInput", str(problem), problem.code, is_permanent=True, at=now)
                return f.TaskFailed(key, 0, error)
        if kind == RETRY:
            return f.TaskScheduled(key, record.attempt + 1)
        task = record.node.task
        is_running = record.status in IN_FLIGHT
        if is_running and task.effect is EffectClass.AT_MOST_ONCE and not never_started(record):
            return f.TaskOutcomeUnknown(
                key, record.token, f"its total limit of {task.total_timeout_seconds:g} s passed"
            )
        what = f"signal {task.signal!r} did not come" if task.signal is not None else "it was not done"
        if record.status is TaskStatus.WAITING and key in state.requests:
            what = "nobody answered"
        error = ErrorInfo(
            "TaskTimeout",
            f"task {key!r}: {what} within its total limit of {task.total_timeout_seconds:g} s",
            code="timeout",
            attempt=record.attempt,
            at=now,
        )
        return f.TaskFailed(key, record.token, error, now + int(GRACE_SECONDS * NANOSECONDS) if is_running else None)

    # --- advance ----------------------------------------------------------------------------------------------------

    advance = staticmethod(advance)


def _is_undoable(record: TaskRecord, outcome: Outcome) -> bool:
    """Whether the sub-workflow has to be undone when the run is: never one that goes its own way."""
    return outcome.is_undoable and record.node.can_be_undone(is_undoable=True)


def _next_agent(record: TaskRecord) -> str | None:
    """Return who gets a task that failed with the agent it was given to; ``None`` when there is nobody left."""
    agents = record.node.task.reassign_to
    if record.performer_id not in agents:
        return agents[0] if agents else None
    following = agents[agents.index(record.performer_id) + 1 :]
    return following[0] if following else None


def _cut(text: str) -> str:
    return text[:MAX_COMMENT_CHARS]
