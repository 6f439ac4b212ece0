"""The workflow as a guest of the engine: which effects its facts ask for, what is open after a crash, what a handler is given.

Pure like the decider it extends. The engine knows it only through ``core.engine.Guest``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import (
    ActivityFinished,
    ActivityInput,
    Effect,
    EffectClass,
    PauseActivities,
    Recovery,
    RunActivity,
    StopActivity,
    Summary,
    TellPerformer,
)
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.run import RunDecider
from agenticflow.orchestration.snapshots import take
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskRecord, TaskStatus

__all__ = ["Results", "WorkflowGuest", "run_output", "stream_of"]

KIND: Final = "workflow"


def stream_of(workflow_id: str, run_no: int) -> str:
    """Return the stream of one run."""
    return f"{KIND}-{workflow_id}/{run_no}"


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
    """Runs workflow definitions."""

    @property
    def kind(self) -> str:
        return KIND

    def effects(self, state: RunState, fact: Fact, version: int) -> Sequence[Effect]:
        kind = type(fact)
        if kind is f.TaskScheduled:
            record = state.tasks[fact.task_key]  # type: ignore[attr-defined]  # the line above has the type
            return (self._run(state, record),) if record.token == version else ()
        if isinstance(fact, f.TaskFailed) and fact.token:
            told = TellPerformer(state.tasks[fact.task_key].node.performer_id, "task_failed")
            return (told,) if fact.grace_until is None else (StopActivity(fact.token, "its time limit passed"), told)
        if isinstance(fact, f.TaskOutcomeUnknown):
            return (StopActivity(fact.token, fact.reason),)
        if isinstance(fact, f.WorkflowCancelRequested):
            reason = f"workflow {state.workflow_id!r}: {fact.cause} {fact.reason}".rstrip()
            stops = [
                StopActivity(record.token, reason) for record in state.tasks.values() if record.status in IN_FLIGHT
            ]
            return [*stops, PauseActivities(False)] if state.is_paused else stops
        if isinstance(fact, f.WorkflowPaused):
            return (PauseActivities(True),)
        if isinstance(fact, f.WorkflowResumed) or (
            state.is_paused and isinstance(fact, (f.WorkflowCompleted, f.WorkflowFailed))
        ):
            return (PauseActivities(False),)
        return ()

    def _run(self, state: RunState, record: TaskRecord) -> RunActivity:
        node = record.node
        return RunActivity(
            record.key,
            record.token,
            record.attempt,
            node.performer_id,
            node.task_type,
            node.task.effect,
            node.task.timeout_seconds,
            record.deadline,
            state.generations.get(record.key, 0) if state.generations else 0,
        )

    def recover(self, state: RunState, now: int) -> Recovery:
        commands: list[Command] = []
        effects: list[Effect] = [PauseActivities(True)] if state.is_paused and state.phase is Phase.RUNNING else []
        for token, (key, _) in state.lingering.items():
            commands.append(ActivityFinished(now=now, task_key=key, token=token, outcome=Outcome(OutcomeKind.UNKNOWN)))
        for record in state.tasks.values():
            if record.status not in IN_FLIGHT:
                continue
            is_once = record.node.task.effect is EffectClass.AT_MOST_ONCE
            if is_once and record.status is TaskStatus.RUNNING:
                outcome = Outcome(OutcomeKind.UNKNOWN)
            elif state.phase is Phase.CANCELLING:
                outcome = Outcome(OutcomeKind.CANCELLED)
            elif record.deadline is not None and record.deadline <= now:
                limit = record.node.task.timeout_seconds or 0
                message = f"task {record.key!r} passed its limit of {limit:g} s while its process was down"
                error = ErrorInfo("TaskTimeout", message, "timeout", kinds=("TaskTimeout", "TemporaryError"))
                outcome = Outcome(OutcomeKind.TIMED_OUT, error=error)
            else:
                effects.append(self._run(state, record))
                continue
            commands.append(ActivityFinished(now=now, task_key=record.key, token=record.token, outcome=outcome))
        return Recovery(commands, effects)

    def inputs(self, state: RunState, task_key: str) -> ActivityInput:
        record = state.tasks[task_key]
        node = record.node
        params: object
        if node.params is not None:
            params = node.params.resolve(state.lookup(record))
        else:
            params = codec.decode(node.encoded_params)
        if not isinstance(params, dict):
            raise InvariantError(f"params of task {task_key!r} are no mapping")
        encoded: dict[str, bytes] = {}
        nodes = state.laid_out.nodes
        for index in node.depends_on:
            task_id = nodes[index].task.task_id
            data = state.result_of(task_id)
            if data is not None:
                encoded[task_id] = data
        return ActivityInput(
            params,
            Results(encoded),
            state.values.resolve(state.input),
            state.workflow_id,
            state.run_no,
            node.task.task_id,
        )

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
    plan = state.laid_out
    if plan.output is not None:
        return plan.output.resolve(state.lookup())
    output: dict[str, object] = {}
    for index in plan.sinks:
        task_id = plan.nodes[index].task.task_id
        data = state.result_of(task_id)
        if data is not None:
            output[task_id] = codec.decode(data)
    return output
