"""The run decider: what happens next in a workflow. The heart of the engine, and pure.

``decide`` answers a command with facts or a refusal, ``advance`` says what follows from the state alone (what is ready is
scheduled, a finished run ends), ``evolve`` folds. Time, ids and seeds come in with the command; nothing here waits, looks at a
clock or talks to anybody. Data passes in as commands (``facts.py``, ``core.engine``) and out as facts, which the host
commits before any of them takes effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, assert_never

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.engine import ActivityFinished, ActivityStarted, EffectClass, TimersDue
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.errors import CommandRefused, InvalidInput, InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.evolve import evolve
from agenticflow.orchestration.plan import decode_plan
from agenticflow.orchestration.snapshots import restore
from agenticflow.orchestration.state import (
    DEADLINE,
    GRACE,
    IN_FLIGHT,
    LINGER,
    RETRY,
    TIMER,
    TOTAL,
    Phase,
    RunState,
    TaskRecord,
    TaskStatus,
    WorkflowStatus,
)

__all__ = ["RunDecider"]

NANOSECONDS: Final = 1_000_000_000
GRACE_SECONDS: Final = 10.0
MAX_GRACE_SECONDS: Final = 86_400
MAX_IN_FLIGHT: Final = 8_192
"""Attempts of one run scheduled and not ended; bounds one decision to well under the largest commit."""
MAX_LISTED: Final = 100
MAX_MAP_ITEMS: Final = MAX_RUN_EVENTS // 3
HISTORY_RESERVE: Final = 2 * MAX_IN_FLIGHT + 100
"""Events kept free so that a run at its limit can still record the end of everything in flight."""

Facts = Sequence[Fact]


class RunDecider:
    """Decides over the streams ``workflow-<id>/<run no>``. Holds nothing."""

    @property
    def codec(self) -> FactCodec:
        return f.FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> RunState:
        return RunState(stream_id) if snapshot is None else restore(stream_id, snapshot)

    def evolve(self, state: RunState, fact: Fact, version: int, at: int) -> None:
        evolve(state, fact, version, at)

    # --- decide -----------------------------------------------------------------------------------------------------

    def decide(self, state: RunState, command: Command) -> Facts:
        match command:
            case ActivityFinished():
                return self._finished(state, command)
            case ActivityStarted():
                return self._activity_started(state, command)
            case TimersDue(now=now):
                return self._timers_due(state, now)
            case f.StartRun():
                return self._start_run(state, command)
            case _:
                self._demand_open(state, command)
                return self._intervene(state, command)

    def _intervene(self, state: RunState, command: Command) -> Facts:
        match command:
            case f.Signal():
                return [f.SignalReceived(command.signal, msgspec.Raw(command.value), command.requested_by)]
            case f.Pause():
                return [] if state.is_paused else [f.WorkflowPaused(command.requested_by, command.reason)]
            case f.Resume():
                return [f.WorkflowResumed(command.requested_by, command.reason)] if state.is_paused else []
            case f.Abort():
                if not 0 <= command.grace_seconds <= MAX_GRACE_SECONDS:
                    raise InvalidInput(
                        f"grace_seconds is {command.grace_seconds!r}", hint=f"give 0 to {MAX_GRACE_SECONDS:,}"
                    )
                grace = command.now + int(command.grace_seconds * NANOSECONDS)
                return [f.WorkflowCancelRequested("abort", command.requested_by, command.reason, grace)]
            case f.Resolve():
                return self._resolve(state, command)
            case _:
                raise InvariantError(f"a run does not know the command {type(command).__name__}")

    def _demand_open(self, state: RunState, command: Command) -> None:
        if state.phase is not Phase.RUNNING:
            what = {Phase.NEW: "has not started", Phase.CANCELLING: "is being cancelled"}.get(
                state.phase, f"is {state.status}"
            )
            can_go_on = state.phase is Phase.ENDED and state.outcome is not WorkflowStatus.COMPLETED
            raise CommandRefused(
                f"run {state.run_no} of workflow {state.workflow_id!r} {what} and takes no {type(command).__name__}",
                hint="resume_workflow opens its next run" if can_go_on else "",
            )

    def _start_run(self, state: RunState, command: f.StartRun) -> Facts:
        if state.phase is not Phase.NEW:
            raise CommandRefused(f"run {command.run_no} of workflow {command.workflow_id!r} has started already")
        plan = decode_plan(state.values.resolve(command.definition))
        limit = plan.definition.timeout_seconds
        return [
            f.WorkflowStarted(
                workflow_id=command.workflow_id,
                run_no=command.run_no,
                name=plan.definition.name,
                definition=msgspec.Raw(command.definition),
                input=msgspec.Raw(command.input),
                seed=command.seed,
                fingerprint=command.fingerprint,
                started_by=command.requested_by,
                deadline=None if limit is None else command.now + int(limit * NANOSECONDS),
                kept=msgspec.Raw(codec.NULL if command.kept is None else command.kept),
                generations=command.generations,
                signals=msgspec.Raw(codec.NULL if command.signals is None else command.signals),
            )
        ]

    def _activity_started(self, state: RunState, command: ActivityStarted) -> Facts:
        record = state.tasks.get(command.task_key)
        if (
            record is None
            or record.token != command.token
            or record.status is not TaskStatus.SCHEDULED
            or state.phase is not Phase.RUNNING
        ):
            return ()
        return (f.TaskStarted(command.task_key, command.token, command.deadline),)

    def _finished(self, state: RunState, command: ActivityFinished) -> Facts:
        key, token, outcome = command.task_key, command.token, command.outcome
        record = state.tasks.get(key)
        if record is None or state.phase is Phase.ENDED:
            return ()
        if record.token != token or record.status not in IN_FLIGHT:
            if record.token == token and record.status is TaskStatus.UNKNOWN:
                return self._no_longer_unknown(record, outcome, command.now)
            if token in state.lingering and state.lingering[token][0] == key and not outcome.is_abandoned:
                result = outcome.value if outcome.kind is OutcomeKind.SUCCEEDED else codec.NULL
                return (f.TaskLateOutcome(key, token, outcome.kind, msgspec.Raw(result), outcome.error),)
            return ()
        if outcome.kind is OutcomeKind.SUCCEEDED:
            return (f.TaskCompleted(key, token, msgspec.Raw(outcome.value)),)
        return (self._unsuccessful(state, record, outcome, command.now),)

    def _no_longer_unknown(self, record: TaskRecord, outcome: Outcome, now: int) -> Facts:
        if outcome.kind is OutcomeKind.SUCCEEDED:
            return (f.TaskCompleted(record.key, record.token, msgspec.Raw(outcome.value)),)
        if outcome.kind is OutcomeKind.FAILED and outcome.error is not None:
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
            return f.TaskOutcomeUnknown(key, token, reason)
        if is_once and outcome.kind is OutcomeKind.CANCELLED and record.status is TaskStatus.RUNNING:
            return f.TaskOutcomeUnknown(key, token, "it was interrupted while it ran")
        if outcome.kind is OutcomeKind.CANCELLED and state.phase is Phase.CANCELLING:
            return f.TaskCancelled(key, token)
        error = outcome.error or ErrorInfo(type="OutcomeUnknown", message=f"the attempt was {outcome.kind.value}")
        error = msgspec.structs.replace(error, attempt=record.attempt, at=now)
        grace = now + int(GRACE_SECONDS * NANOSECONDS) if outcome.is_abandoned else None
        if state.phase is Phase.RUNNING:
            delay = task.policy.delay_after(record.attempt, error, seed=state.seed, task_key=key)
            if delay is not None:
                return f.TaskRetryScheduled(key, token, error, now + int(delay * NANOSECONDS), grace)
        return f.TaskFailed(key, token, error, grace)

    def _resolve(self, state: RunState, command: f.Resolve) -> Facts:
        record = state.tasks.get(command.task_key)
        if record is None or record.status is not TaskStatus.UNKNOWN:
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
        for _, _, kind, key in due:
            if key in closed:
                continue
            if kind == GRACE:
                facts.extend(
                    f.TaskCancelled(record.key, record.token)
                    if _never_started(record)
                    else f.TaskOutcomeUnknown(record.key, record.token, "it did not stop in time")
                    for record in state.tasks.values()
                    if record.status in IN_FLIGHT
                )
            elif kind == LINGER:
                lingering, _ = state.lingering[int(key)]
                facts.append(f.TaskLateOutcome(lingering, int(key), OutcomeKind.UNKNOWN))
            else:
                closed[key] = None
                facts.append(self._task_due(state, state.tasks[key], kind, now))
        return facts

    def _task_due(self, state: RunState, record: TaskRecord, kind: int, now: int) -> Fact:
        key = record.key
        if kind == TIMER:
            return f.TimerFired(key)
        if kind == RETRY:
            return f.TaskScheduled(key, record.attempt + 1)
        task = record.node.task
        is_running = record.status in IN_FLIGHT
        if is_running and task.effect is EffectClass.AT_MOST_ONCE and not _never_started(record):
            return f.TaskOutcomeUnknown(
                key, record.token, f"its total limit of {task.total_timeout_seconds:g} s passed"
            )
        what = f"signal {task.signal!r} did not come" if task.signal is not None else "it was not done"
        error = ErrorInfo(
            "TaskTimeout",
            f"task {key!r}: {what} within its total limit of {task.total_timeout_seconds:g} s",
            code="timeout",
            attempt=record.attempt,
            at=now,
        )
        return f.TaskFailed(key, record.token, error, now + int(GRACE_SECONDS * NANOSECONDS) if is_running else None)

    # --- advance ----------------------------------------------------------------------------------------------------

    def advance(self, state: RunState, now: int) -> Facts:
        if state.phase is Phase.CANCELLING:
            return self._end_cancelled(state, now) if not state.in_flight and not state.lingering else ()
        if state.phase is not Phase.RUNNING:
            return ()
        if state.version > MAX_RUN_EVENTS - HISTORY_RESERVE and (state.ready or state.active or state.unknown):
            reason = f"the history reached {state.version:,} events, close to the limit of {MAX_RUN_EVENTS:,}"
            return [
                f.WorkflowCancelRequested("history_limit", "engine", reason, now + int(GRACE_SECONDS * NANOSECONDS))
            ]
        if state.deliverable:
            name = next(iter(state.deliverable))
            record = state.tasks[state.waiting[name][0]]
            return (f.TaskCompleted(record.key, record.token, msgspec.Raw(state.signals[name][0])),)
        if state.ready:
            return () if state.is_paused else self._start_ready(state, now)
        if not state.active and not state.unknown and not state.lingering:
            return (self._end(state, now),)
        return ()

    def _start_ready(self, state: RunState, now: int) -> Facts:
        facts: list[Fact] = []
        room = MAX_IN_FLIGHT - state.in_flight
        for record in islice(state.ready, MAX_IN_FLIGHT):
            if room <= 0:
                break
            fact = self._start(state, record, now)
            facts.append(fact)
            if type(fact) is f.TaskScheduled:
                room -= 1
        return facts

    def _start(self, state: RunState, record: TaskRecord, now: int) -> Fact:
        key, node = record.key, record.node
        task = node.task
        if record.is_blocked:
            return f.TaskSkipped(key, "everything it depends on was skipped")
        if record.index is None and record.attempt == 0 and (node.condition is not None or node.for_each is not None):
            try:
                if node.condition is not None and not node.condition.holds(state.lookup()):
                    return f.TaskSkipped(key, f"its condition does not hold: {node.condition.text}"[:500])
                if node.for_each is not None:
                    return self._expand(state, record, now)
            except InvalidInput as error:
                return f.TaskFailed(
                    key, 0, ErrorInfo("InvalidInput", str(error), error.code, is_permanent=True, at=now)
                )
        limit = task.total_timeout_seconds
        deadline = None if limit is None else now + int(limit * NANOSECONDS)
        if task.delay_seconds is not None:
            return f.TimerSet(key, now + int(task.delay_seconds * NANOSECONDS))
        if task.signal is not None:
            return f.SignalAwaited(key, task.signal, deadline)
        return f.TaskScheduled(key, record.attempt + 1, deadline)

    def _expand(self, state: RunState, record: TaskRecord, now: int) -> Fact:
        template = record.node.for_each
        elements = template.resolve(state.lookup()) if template is not None else None
        if not isinstance(elements, list):
            raise InvalidInput(
                f"for_each of task {record.key!r} gives a {type(elements).__name__}, not a list",
                hint="point it at a list: ${task.key}",
            )
        if len(elements) > MAX_MAP_ITEMS:
            raise InvalidInput(
                f"for_each of task {record.key!r} gives {len(elements):,} items, above the limit of {MAX_MAP_ITEMS:,}",
                hint="group the items, or start a workflow per group",
            )
        return f.MapExpanded(record.key, len(elements))

    # --- the end ----------------------------------------------------------------------------------------------------

    def _end(self, state: RunState, now: int) -> Fact:
        failed = [record for record in state.tasks.values() if record.status is TaskStatus.FAILED]
        if not failed:
            return self._completed(state, now)
        keys = [record.key for record in failed]
        first = next((record.errors[-1] for record in failed if record.errors), None)
        message = f"{len(failed)} task{'s' if len(failed) > 1 else ''} failed, the first: {keys[0]!r} with {first}"
        return f.WorkflowFailed(
            error=ErrorInfo("WorkflowExecutionError", message[:1_000], "workflow_failed", at=now),
            failed=keys[:MAX_LISTED],
            remaining=self._remaining(state),
        )

    def _completed(self, state: RunState, now: int) -> Fact:
        """Every task is done; a result that cannot be made of theirs is a failure of the run, not of whoever asks for it."""
        output = state.laid_out.output
        try:
            if output is not None:
                output.resolve(state.lookup())
        except InvalidInput as error:
            problem = ErrorInfo("InvalidInput", f"the output: {error}"[:1_000], error.code, is_permanent=True, at=now)
            return f.WorkflowFailed(error=problem, failed=[], remaining=[])
        return f.WorkflowCompleted()

    def _end_cancelled(self, state: RunState, now: int) -> Facts:
        cancel = state.cancel
        if cancel is None:
            raise InvariantError(f"run {state.stream_id!r} is being cancelled for no reason")
        if cancel.cause == "abort":
            return (f.WorkflowCancelled(cancel.requested_by, cancel.reason),)
        kind = "TaskTimeout" if cancel.cause == "timeout" else "BoundExceeded"
        failed = [record.key for record in state.tasks.values() if record.status is TaskStatus.FAILED]
        return (
            f.WorkflowFailed(
                error=ErrorInfo(kind, cancel.reason, cancel.cause, is_permanent=True, at=now),
                failed=failed[:MAX_LISTED],
                remaining=self._remaining(state),
            ),
        )

    def _remaining(self, state: RunState) -> list[str]:
        never_ran = (TaskStatus.READY, TaskStatus.PENDING)
        remaining: list[str] = []
        for node in state.laid_out.nodes:
            record = state.tasks.get(node.task.task_id)
            if (
                record is None
                or record.status in never_ran
                or (record.status is TaskStatus.CANCELLED and record.attempt == 0)
            ):
                remaining.append(node.task.task_id)
                if len(remaining) == MAX_LISTED:
                    break
        return remaining


def _never_started(record: TaskRecord) -> bool:
    """Whether the intent to start was never recorded, though it would have been: then the work has certainly not happened."""
    return record.status is TaskStatus.SCHEDULED and record.node.task.effect is EffectClass.AT_MOST_ONCE
