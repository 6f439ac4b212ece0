"""The workflow as a guest of the engine: which effects its facts ask for, what is open after a crash, what a handler is given.

Pure like the decider it extends. The engine knows it only through ``core.engine.Guest``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.context import CancelReason
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import (
    ActivityFinished,
    ActivityInput,
    AskForPlan,
    CheckActivity,
    ContinueExecution,
    Effect,
    EffectClass,
    InformActivity,
    PauseActivities,
    ProcessDeath,
    Recovery,
    RunActivity,
    RunChild,
    StopActivity,
    Summary,
    TellPerformer,
)
from agenticflow.core.interrupts import NO_REPLIES
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.commands import Plan
from agenticflow.orchestration.inbox.answering import answers_to
from agenticflow.orchestration.interventions.feedback import feedback_for, is_for
from agenticflow.orchestration.lookups import lookup
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.orchestration.quarantine.deciding import suspected, were_running
from agenticflow.orchestration.repair.asking import is_asking
from agenticflow.orchestration.replanning.facts import ReplanRequested
from agenticflow.orchestration.run import RunDecider
from agenticflow.orchestration.snapshots import take
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskRecord, TaskStatus
from agenticflow.orchestration.suspicion.commands import ProcessDied, SuspectsInterrupted
from agenticflow.orchestration.suspicion.facts import AttemptsInterrupted, ProcessLost

__all__ = ["Results", "WorkflowGuest", "child_id", "encoded_output", "run_output", "stream_of"]

KIND: Final = "workflow"
MAX_ID_CHARS: Final = 200
_WITHOUT_EFFECT: Final = frozenset(
    {f.WorkflowStarted, f.TaskCompleted, f.TaskStarted, f.TaskSkipped, f.ChoiceMade, f.StepsPlanned}
)
"""The most frequent facts that ask for nothing; others are looked at one by one."""
_REASONS: Final[dict[f.CancelCause, CancelReason]] = {
    "abort": CancelReason.ABORTED,
    "timeout": CancelReason.TIMEOUT,
    "history_limit": CancelReason.LIMIT,
}
"""Otherwise the run ends by itself, without what is still in work."""


def stream_of(workflow_id: str, run_no: int) -> str:
    """Return the stream of one run."""
    return f"{KIND}-{workflow_id}/{run_no}"


def child_id(workflow_id: str, task_key: str, generation: int) -> str:
    """Return the workflow id of a sub-workflow: equal for all attempts of its task, another when it is explicitly run again."""
    name = f"{workflow_id}~{task_key}" + (f"~{generation}" if generation else "")
    # Deeply nested ones would outgrow what an id may be.
    return name if len(name) <= MAX_ID_CHARS else f"{name[:100]}~{codec.content_hash(name.encode())}"


class Results(Mapping[str, object]):
    """Results by task id, decoded on first use and kept; private to one attempt."""

    __slots__ = ("_decoded", "_encoded")

    def __init__(self, encoded: Mapping[str, bytes]) -> None:
        self._encoded = encoded
        self._decoded: dict[str, object] = {}

    def __getitem__(self, task_id: str) -> object:
        if task_id not in self._decoded:
            self._decoded[task_id] = codec.decode(self._encoded[task_id])
        return self._decoded[task_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


class WorkflowGuest(RunDecider):
    """Runs workflow definitions. ``planners`` know the functions of workflows as code: without them such a run is folded, not driven."""

    kind = KIND

    def __init__(self, planners: Planners | None = None) -> None:
        self._planners = planners

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> RunState:
        state = super().initial(stream_id, snapshot)
        state.planner = self._planners
        return state

    def effects(self, state: RunState, fact: Fact, version: int) -> Sequence[Effect]:
        kind = type(fact)
        if kind is f.TaskScheduled:
            record = state.tasks[fact.task_key]  # type: ignore[attr-defined]  # the line above has the type
            if record.token != version:
                return ()
            return (self._run(state, record) if record.node.task.workflow is None else self._child(state, record),)
        if kind in _WITHOUT_EFFECT or (kind is f.WorkflowCompleted and not state.is_paused):
            return ()
        if isinstance(fact, f.TaskFailed) and fact.token:
            told = TellPerformer(state.tasks[fact.task_key].performer_id, "task_failed")
            if fact.grace_until is None:
                return (told,)
            return (StopActivity(fact.token, "its time limit passed", CancelReason.TIMEOUT), told)
        if isinstance(fact, f.TasksCancelled):
            why = fact.reason or (
                f"task {fact.cancelled_by!r} made it unnecessary" if fact.cancelled_by else "cancelled"
            )
            reason = f"workflow {state.workflow_id!r}: {why}"
            known = CancelReason.UNNEEDED if fact.cancelled_by else CancelReason.CANCELLED
            tokens = (state.tasks[key].token for key in fact.task_keys)
            return [StopActivity(token, reason, known) for token in tokens if token in state.lingering]
        if isinstance(fact, f.TaskReassigned) and fact.grace_until is not None:
            return (StopActivity(fact.token, "another agent does it", CancelReason.TIMEOUT),)
        if isinstance(fact, f.CompensationStarted):
            # Also after an abort: with nothing in work the two are one decision, and the run is no longer paused where that one looks.
            return (PauseActivities(False),)
        if isinstance(fact, f.TaskOutcomeUnknown):
            record = state.tasks[fact.task_key]
            if record.node.task.workflow is not None:
                return ()  # it waits for a person, as does what it undoes; when that is undone after all, so is this
            stop = StopActivity(fact.token, fact.reason, CancelReason.TIMEOUT)
            return (stop, *self._check(state, record))
        if isinstance(fact, ReplanRequested):
            return (AskForPlan(fact.number, fact.due),)
        if isinstance(fact, (ProcessLost, AttemptsInterrupted)):
            lost = (state.tasks[key] for key in fact.task_keys)
            return [self._run(state, record) for record in lost if record.status is TaskStatus.SCHEDULED]
        if isinstance(fact, f.WorkflowCancelRequested):
            if self._planners is not None:
                self._planners.forget(state.stream_id)
            reason = f"workflow {state.workflow_id!r}: {fact.cause} {fact.reason}".rstrip()
            known = _REASONS.get(fact.cause, CancelReason.UNNEEDED)
            tokens = (record.token for record in state.tasks.values() if record.status in IN_FLIGHT)
            stops = [StopActivity(token, reason, known) for token in tokens]
            return [*stops, PauseActivities(False)] if state.is_paused else stops
        if isinstance(fact, f.WorkflowContinuing):
            return (ContinueExecution(state.workflow_id, state.run_no, bytes(fact.input)),)
        if isinstance(fact, f.FeedbackGiven):
            return [
                InformActivity(record.token, feedback_for(state, record))
                for record in state.tasks.values()
                if record.status in IN_FLIGHT and is_for(fact.task_key, record)
            ]
        if isinstance(fact, f.WorkflowPaused):
            return (PauseActivities(True),)
        if isinstance(fact, f.WorkflowResumed) or (
            state.is_paused and isinstance(fact, (f.WorkflowCompleted, f.WorkflowFailed))
        ):
            return (PauseActivities(False),)
        return ()

    def _check(self, state: RunState, record: TaskRecord) -> Sequence[Effect]:
        """Return what asks whether work of unknown outcome has happened; what undoes a task, and what ends, is left to a person."""
        is_checked = record.node.task.workflow is None and record.undoes is None
        return (CheckActivity(self._run(state, record)),) if is_checked and state.phase is Phase.RUNNING else ()

    def _run(self, state: RunState, record: TaskRecord) -> RunActivity:
        node = record.node
        task = node.task
        if node.is_plain and not state.suspects and record.performer_id == node.performer_id:
            return RunActivity(
                record.key,
                record.token,
                record.attempt,
                node.performer_id,
                node.task_type,
                task.effect,
                task.timeout_seconds,
                record.deadline,
                state.generation_of(record.key) if state.generations else state.first_generation,
            )
        suspect = state.suspects.get(record.key)
        return RunActivity(
            record.key,
            record.token,
            record.attempt,
            record.performer_id,
            node.task_type,
            task.effect,
            task.timeout_seconds,
            record.deadline,
            state.generation_of(record.key),
            record.permits,
            node.priority,
            task.stall_seconds,
            task.capabilities,  # type: ignore[arg-type]  # a definition makes it a tuple
            # With a list the run says whose turn it is.
            task.on_failure == "reassign" and not task.reassign_to,
            0 if suspect is None else suspect.caution,
        )

    def _child(self, state: RunState, record: TaskRecord) -> RunChild:
        node = record.node
        task = node.task
        started_for = record.undoes or record.key
        return RunChild(
            record.key,
            record.token,
            record.attempt,
            child_id(state.workflow_id, started_for, state.generation_of(started_for)),
            node.workflow,
            task.workflow if isinstance(task.workflow, str) else record.key,
            task.on_cancel == "detach",
            record.permits,
            node.priority,
            state.depth + 1,
            record.undoes is not None,
        )

    def recover(self, state: RunState, now: int, died: ProcessDeath | None = None) -> Recovery:
        if state.phase is Phase.CONTINUING:
            return Recovery((), (ContinueExecution(state.workflow_id, state.run_no, state.continuation or codec.NULL),))
        commands: list[Command] = []
        effects: list[Effect] = [PauseActivities(True)] if state.is_paused and state.phase is Phase.RUNNING else []
        for token, (key, _) in state.lingering.items():
            record = state.tasks[key]
            if record.node.task.workflow is not None and record.token == token:
                # A sub-workflow does not die with the process: it has to be told to stop again, and says when it has.
                effects += (self._child(state, record), StopActivity(token, "it is not wanted any more"))
                continue
            commands.append(ActivityFinished(now=now, task_key=key, token=token, outcome=Outcome(OutcomeKind.UNKNOWN)))
        if state.planning is not None and state.phase is Phase.RUNNING:
            commands.append(Plan(now=now))
        if is_asking(state) and state.phase is Phase.RUNNING and (asked := state.replanning) is not None:
            effects.append(AskForPlan(asked.asked, asked.due or now))
        # What is said about these first leads to their effects: they run when it is recorded.
        told = frozenset(were_running(state) if died is None else suspected(state, died.life))
        if told:
            commands.append(SuspectsInterrupted(now=now) if died is None else ProcessDied(now=now, death=died))
        for record in state.tasks.values():
            if record.status is TaskStatus.UNKNOWN:
                is_child = record.node.task.workflow is not None
                effects.extend((self._child(state, record),) if is_child else self._check(state, record))
            if record.status in IN_FLIGHT:
                found = self._recover(state, record, now)
                if isinstance(found, Outcome):
                    finished = ActivityFinished(now=now, task_key=record.key, token=record.token, outcome=found)
                    commands.append(finished)
                elif record.key not in told:
                    effects.extend(found)
        return Recovery(commands, effects)

    def _recover(self, state: RunState, record: TaskRecord, now: int) -> Outcome | Sequence[Effect]:
        """Return what became of an attempt whose process died, or what has to be done to go on with it."""
        task = record.node.task
        is_cancelling = state.phase is Phase.CANCELLING
        if task.workflow is not None:
            again = self._child(state, record)
            return (again, StopActivity(record.token, "its workflow ends")) if is_cancelling else (again,)
        if task.effect is EffectClass.AT_MOST_ONCE and record.status is TaskStatus.RUNNING:
            return Outcome(OutcomeKind.UNKNOWN)
        if is_cancelling:
            return Outcome(OutcomeKind.CANCELLED)
        if record.deadline is not None and record.deadline <= now:
            limit = task.timeout_seconds or 0
            message = f"task {record.key!r} passed its limit of {limit:g} s while its process was down"
            error = ErrorInfo("TaskTimeout", message, "timeout", kinds=("TaskTimeout", "TemporaryError"))
            return Outcome(OutcomeKind.TIMED_OUT, error=error)
        return (self._run(state, record),)

    def is_in_work(self, state: RunState, token: int) -> bool:
        if token in state.lingering:
            return True
        return any(record.token == token and record.status in IN_FLIGHT for record in state.tasks.values())

    def inputs(self, state: RunState, task_key: str) -> ActivityInput:
        record = state.tasks[task_key]
        node = record.node
        params: object
        if node.params is not None:
            params = node.params.resolve(lookup(state, record))
        else:
            params = codec.decode(state.values.resolve(node.encoded_params))
        if not isinstance(params, dict):
            raise InvariantError(f"params of task {task_key!r} are no mapping")
        if node.task.workflow is not None:  # its params are all that a sub-workflow is given
            return ActivityInput(
                params, {}, state.values.resolve(state.input), state.workflow_id, state.run_no, node.task.task_id
            )
        encoded: dict[str, bytes] = {}
        nodes = state.laid_out.nodes
        # A fallback is given what the task it stands in for was given.
        waited_for = nodes[state.laid_out.alternatives[node.index]] if node.is_alternative else node
        if record.undoes is not None:
            encoded[node.task.task_id] = state.values.resolve(state.tasks[record.undoes].value or codec.NULL)
        for index in waited_for.depends_on:
            task_id = nodes[index].task.task_id
            data = state.result_of(task_id)
            if data is not None and task_id not in encoded:
                encoded[task_id] = data
        return ActivityInput(
            params,
            Results(encoded),
            state.values.resolve(state.input),
            state.workflow_id,
            state.run_no,
            node.task.task_id,
            feedback_for(state, record) if state.feedback else (),
            self._replies(state, task_key) if state.answered or state.answers else NO_REPLIES,
        )

    def _replies(self, state: RunState, task_key: str) -> Mapping[str, bytes]:
        return {key: state.values.resolve(answer) for key, answer in answers_to(state, task_key).items()}

    def summary(self, state: RunState) -> Summary:
        return Summary(
            execution_id=state.workflow_id,
            run_no=state.run_no,
            name=state.laid_out.definition.name,
            status=state.status.value,
            is_open=state.is_open,
            next_due=state.next_due,
            fingerprint=state.fingerprint,
            started_at=state.started_at,
            ended_at=state.ended_at,
        )

    def snapshot(self, state: RunState) -> bytes:
        return take(state)


def run_output(state: RunState) -> object:
    """Return the result of a completed run: its output template resolved, or the results of the tasks nothing depends on,
    by task id. Raises ``BlobMissing``, and ``InvalidInput`` when the template leads nowhere."""
    if state.planning is not None:
        closed = state.planning.closed
        return None if closed is None else codec.decode(state.values.resolve(bytes(closed.value)))
    plan = state.laid_out
    if plan.output is not None:
        return plan.output.resolve(lookup(state))
    return {task_id: codec.decode(data) for task_id, data in _last_results(state)}


def encoded_output(state: RunState) -> bytes:
    """Return the result of a completed run encoded. Raises as ``run_output`` does, and ``NotSerializable``."""
    plan = state.laid_out
    if state.planning is not None or plan.output is not None:
        return codec.encode(run_output(state))
    # They are encoded already, and may be large.
    return codec.encode({task_id: msgspec.Raw(data) for task_id, data in _last_results(state)})


def _last_results(state: RunState) -> Iterator[tuple[str, bytes]]:
    """Yield the encoded results of the tasks that nothing depends on, by task id."""
    plan = state.laid_out
    for index in plan.sinks:
        task_id = plan.nodes[index].task.task_id
        data = state.result_of(task_id)
        if data is not None:
            yield task_id, data
