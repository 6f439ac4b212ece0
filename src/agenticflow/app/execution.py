"""What users hold of a run: the handle of one they started, and the view of one as it stands."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from agenticflow.core import codec
from agenticflow.core.context import Progress
from agenticflow.core.results import ErrorInfo, TaskResult
from agenticflow.errors import WorkflowExecutionError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.graph import NodeStatus, TaskGraph
from agenticflow.orchestration.guest import child_id
from agenticflow.orchestration.state import RunState, TaskRecord, TaskStatus, WorkflowStatus
from agenticflow.orchestration.waiting import waits_of, words_of

if typing.TYPE_CHECKING:  # programs without agents that ask a model load nothing of models
    from agenticflow.agents.loop.results import AgentUpdate

__all__ = ["Controls", "TaskView", "WorkflowExecution", "WorkflowHandle", "WorkflowState", "failure_of", "view_of"]


class Controls(Protocol):
    """What an orchestrator offers for a workflow id; handles and views pass their calls on."""

    async def wait(self, workflow_id: str, run_no: int | None = None) -> object: ...
    async def get_execution(self, workflow_id: str, run_no: int | None = None) -> WorkflowExecution: ...
    async def pause(self, workflow_id: str, *, reason: str = "") -> None: ...
    async def resume(self, workflow_id: str, *, reason: str = "") -> None: ...
    def agent_updates(self, workflow_id: str, run_no: int | None = None) -> AsyncIterable[AgentUpdate]: ...
    async def abort(self, workflow_id: str, reason: str = "", *, grace_seconds: float = 10.0) -> None: ...
    async def signal(
        self, workflow_id: str, name: str, value: object = None, *, signal_id: str | None = None
    ) -> None: ...


class WorkflowHandle:
    """A run that was started, by this process or another: wait for it, look at it, steer it."""

    __slots__ = ("_controls", "run_no", "workflow_id")

    def __init__(self, controls: Controls, workflow_id: str, run_no: int) -> None:
        self._controls = controls
        self.workflow_id = workflow_id
        self.run_no = run_no

    async def result(self) -> object:
        """Wait for the end of the run and return its output. Raises ``WorkflowExecutionError`` when it failed or was cancelled."""
        return await self._controls.wait(self.workflow_id, self.run_no)

    def updates(self) -> AsyncIterable[AgentUpdate]:
        """Look at the agents of the run that ask models, from now until its end: ``async for update in handle.updates()``.

        What they say piece by piece, the tools they call and what comes of it; ``update.task`` says for which task. A view of this process:
        of a run that another one performs nothing is seen, and what was said before is in what is recorded. Nobody at work waits for who
        looks. Raises ``BoundExceeded`` for who is too slow, ``StoreUnavailable`` while the orchestrator is not started.
        """
        return self._controls.agent_updates(self.workflow_id, self.run_no)

    async def execution(self) -> WorkflowExecution:
        """Return the run as it stands."""
        return await self._controls.get_execution(self.workflow_id, self.run_no)

    async def status(self) -> WorkflowStatus:
        """Return where the run stands."""
        return (await self.execution()).status

    async def pause(self, *, reason: str = "") -> None:
        """Schedule nothing new; work in flight goes on."""
        await self._controls.pause(self.workflow_id, reason=reason)

    async def resume(self, *, reason: str = "") -> None:
        """Schedule again."""
        await self._controls.resume(self.workflow_id, reason=reason)

    async def abort(self, reason: str = "", *, grace_seconds: float = 10.0) -> None:
        """End the run: nothing starts or advances any more, handlers get ``grace_seconds`` to stop."""
        await self._controls.abort(self.workflow_id, reason, grace_seconds=grace_seconds)

    async def signal(self, name: str, value: object = None, *, signal_id: str | None = None) -> None:
        """Send a signal; with a ``signal_id``, sending it again changes nothing."""
        await self._controls.signal(self.workflow_id, name, value, signal_id=signal_id)

    def __repr__(self) -> str:
        return f"WorkflowHandle({self.workflow_id!r}, run_no={self.run_no})"


class TaskView:
    """One task, or one item of a map, as it stood when it was asked for."""

    __slots__ = (
        "_deadline",
        "_ended_at",
        "_scheduled_at",
        "_waits_until",
        "attempt",
        "errors",
        "item_count",
        "items_done",
        "items_failed",
        "key",
        "progress",
        "question",
        "signal",
        "status",
        "task_id",
    )

    def __init__(self, record: TaskRecord) -> None:
        self.key = record.key
        self.task_id = record.node.task.task_id
        self.status = record.status
        self.attempt = record.attempt
        self.errors: tuple[ErrorInfo, ...] = tuple(record.errors) if record.errors else ()
        # Moments are made when they are looked at: of a long run there are thousands, and nobody looks at most of them.
        self._scheduled_at = record.scheduled_at
        self._ended_at = record.ended_at
        self._deadline = record.deadline
        self._waits_until = record.due if record.status in (TaskStatus.WAITING, TaskStatus.RETRYING) else None
        self.item_count = len(record.items) if record.items is not None else None
        """Of a map: how many items it has, once that is known."""
        self.items_done = record.done
        self.items_failed = record.failed
        self.question = record.question
        """What an approval asks."""
        self.signal = record.node.task.signal
        """The name of the signal it waits for, or has got."""
        self.progress: Progress | None = None
        """What its handler reported last, while it runs in this process."""

    @property
    def scheduled_at(self) -> datetime | None:
        """When its current attempt was scheduled."""
        return _moment(self._scheduled_at)

    @property
    def ended_at(self) -> datetime | None:
        """When it had come to its end."""
        return _moment(self._ended_at)

    @property
    def deadline(self) -> datetime | None:
        """When its attempt meets its time limit."""
        return _moment(self._deadline)

    @property
    def waits_until(self) -> datetime | None:
        """When its timer, or its next attempt, is due."""
        return _moment(self._waits_until)


class WorkflowState:
    """What ``get_workflow_state`` answers: status, tasks by key, and the last task that succeeded."""

    __slots__ = ("last_success", "run_no", "status", "tasks", "version", "workflow_id")

    def __init__(self, state: RunState) -> None:
        self.workflow_id = state.workflow_id
        self.run_no = state.run_no
        self.status = state.status
        self.version = state.version
        self.last_success = state.last_success
        self.tasks = {key: TaskView(record) for key, record in state.tasks.items()}


class WorkflowExecution:
    """A run as it stood when it was asked for. ``pause``, ``resume`` and ``abort`` act on the run, not on this view."""

    __slots__ = (
        "_controls",
        "children",
        "completed_at",
        "context",
        "definition",
        "error",
        "run_no",
        "started_at",
        "status",
        "task_graph",
        "task_results",
        "tasks",
        "waits_for",
        "workflow_id",
    )

    def __init__(
        self,
        controls: Controls,
        state: RunState,
        results: Mapping[str, TaskResult[object]],
        waits_for: list[str],
        progress: Mapping[str, Progress],
    ) -> None:
        self._controls = controls
        self.workflow_id = state.workflow_id
        self.run_no = state.run_no
        self.definition: WorkflowDefinition = state.laid_out.described()
        self.context = codec.decode(state.values.resolve(state.input))
        """The workflow input."""
        self.started_at = _moment(state.started_at)
        self.completed_at = _moment(state.ended_at)
        self.status = state.status
        self.tasks = {key: TaskView(record) for key, record in state.tasks.items()}
        for key, reported in progress.items():
            if key in self.tasks:
                self.tasks[key].progress = reported
        self.task_results = dict(results)
        """Results by task id, of tasks that have one; a failed one holds its error."""
        self.task_graph = _graph(state)
        self.error: ErrorInfo | None = state.problem.error if state.problem is not None else None
        self.children = {
            key: child_id(state.workflow_id, key, state.generation_of(key))
            for key, record in state.tasks.items()
            if record.node.task.workflow is not None and _has_asked(state, record)
        }
        """Workflow ids of the sub-workflows that it asked for, by task key."""
        self.waits_for = waits_for
        """In words: what the run waits for that somebody could give it."""

    async def pause(self) -> None:
        """Schedule nothing new; work in flight goes on."""
        await self._controls.pause(self.workflow_id)

    async def resume(self) -> None:
        """Schedule again."""
        await self._controls.resume(self.workflow_id)

    async def abort(self, reason: str = "") -> None:
        """End the run."""
        await self._controls.abort(self.workflow_id, reason)

    def __repr__(self) -> str:
        return f"WorkflowExecution({self.workflow_id!r}, run_no={self.run_no}, {self.status})"


def _has_asked(state: RunState, record: TaskRecord) -> bool:
    """Whether there is a sub-workflow of this task, item or iteration; a map or a loop as a whole has none."""
    is_whole = record.index is None and (record.items is not None or record.node.until is not None)
    # Of what has no attempt in a later run an earlier one may have asked.
    return not is_whole and (record.attempt > 0 or state.run_no > 1)


def view_of(
    controls: Controls, state: RunState, missing_handlers: list[str], progress: Mapping[str, Progress]
) -> WorkflowExecution:
    """Return the run as users see it. Raises ``BlobMissing``."""
    results: dict[str, TaskResult[object]] = {}
    for node in state.laid_out.nodes:
        task_id = node.task.task_id
        record = state.tasks.get(task_id)
        if record is None:
            continue
        if record.status is TaskStatus.COMPLETED:
            results[task_id] = TaskResult.success(codec.decode(state.result_of(task_id) or codec.NULL))
        elif record.status is TaskStatus.FAILED:
            results[task_id] = TaskResult.failure(_last_error(state, record))
    waits = [words_of(wait) for wait in waits_of(state) if wait.is_for_others]
    return WorkflowExecution(controls, state, results, [*missing_handlers, *waits], progress)


def _last_error(state: RunState, record: TaskRecord) -> ErrorInfo:
    if record.errors:
        return record.errors[-1]
    for index in range(len(record.items or ())):
        item = state.tasks.get(f"{record.key}[{index}]")
        if item is not None and item.status is TaskStatus.FAILED and item.errors:
            return item.errors[-1]
    return ErrorInfo("Failure", f"task {record.key!r} failed")


def _graph(state: RunState) -> TaskGraph:
    graph = TaskGraph()
    for node in state.laid_out.nodes:
        graph.add_task(node.task.task_id)
    for node in state.laid_out.nodes:
        for dependency in node.task.dependencies:
            graph.add_dependency(node.task.task_id, dependency)
    names = {
        TaskStatus.COMPLETED: NodeStatus.COMPLETED,
        TaskStatus.FAILED: NodeStatus.FAILED,
        TaskStatus.SKIPPED: NodeStatus.SKIPPED,
    }
    for record in state.tasks.values():
        if record.index is not None or record.undoes is not None:
            continue
        status = names.get(record.status)
        if status is NodeStatus.COMPLETED:
            graph.mark_completed(record.key)
        elif status is NodeStatus.SKIPPED:
            graph.mark_skipped(record.key)
        elif status is NodeStatus.FAILED:
            graph.mark_failed(record.key, _last_error(state, record))
    for record in state.tasks.values():
        if (
            record.index is None
            and record.undoes is None
            and record.status not in names
            and record.key in graph.get_ready_tasks()
        ):
            graph.mark_running(record.key)
    return graph


def _moment(nanoseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC) if nanoseconds else None


def failure_of(state: RunState) -> WorkflowExecutionError:
    """Return the error of a run that has ended without its result."""
    failed = {
        record.key: str(record.errors[-1]) if record.errors else "failed"
        for record in state.tasks.values()
        if record.status is TaskStatus.FAILED
    }
    if state.outcome is WorkflowStatus.CANCELLED:
        reason = state.cancel.reason if state.cancel is not None else ""
        message = f"workflow {state.workflow_id!r} was cancelled" + (f": {reason}" if reason else "")
        remaining: Sequence[str] = ()
    else:
        problem = state.problem
        reason = problem.error.message if problem is not None else "no reason recorded"
        message = f"workflow {state.workflow_id!r} failed: {reason}"
        remaining = problem.remaining if problem is not None else ()
    return WorkflowExecutionError(
        message,
        workflow_id=state.workflow_id,
        failed=failed,
        remaining=remaining,
        status=str(state.outcome),
        hint="mend the cause, then resume_workflow goes on after the last success",
    )
