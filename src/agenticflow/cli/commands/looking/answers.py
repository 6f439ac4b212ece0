"""``agenticflow runs approve`` and ``runs reject``: a person's answer to what a task asks."""

from __future__ import annotations

from difflib import get_close_matches

from agenticflow.app.commands.operations import Approve, CancelTask, Reject
from agenticflow.cli.access import reading
from agenticflow.cli.commands.run import parsed_value
from agenticflow.cli.commands.runs import demand_run, steer
from agenticflow.cli.options import person
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format
from agenticflow.errors import InvalidInput

__all__ = ["approve", "reject"]


def approve(
    workflow_id: str, task_key: str, *, comment: str, value: str | None, by: str | None, store: str | None, form: Format
) -> int:
    """Say yes."""
    operation = Approve(
        workflow_id=workflow_id,
        task_key=task_key,
        comment=comment,
        value=None if value is None else parsed_value(value),
        by=person(by),
    )
    run_async(_demand_question(store, workflow_id, task_key))
    return steer(operation, store, form)


def reject(workflow_id: str, task_key: str, *, comment: str, by: str | None, store: str | None, form: Format) -> int:
    """Say no."""
    operation = Reject(workflow_id=workflow_id, task_key=task_key, comment=comment, by=person(by))
    run_async(_demand_question(store, workflow_id, task_key))
    return steer(operation, store, form)


def cancel_task(workflow_id: str, task_id: str, *, reason: str, store: str | None, form: Format) -> int:
    """Go on without a task."""
    return steer(CancelTask(workflow_id=workflow_id, task_id=task_id, reason=reason), store, form)


async def _demand_question(store: str | None, workflow_id: str, task_key: str) -> None:
    """A task that asks nobody is a slip of the pen; one that asks, but not now, is refused by the run."""
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        execution = await orchestrator.get_execution(workflow_id)
    names = [task.task_id for task in execution.definition.tasks if task.approval is not None]
    names += [view.key for view in execution.tasks.values() if view.question and view.task_id not in names]
    if task_key not in names and task_key.partition("[")[0] not in names:
        close = get_close_matches(task_key, names, n=1)
        raise InvalidInput(
            f"no task {task_key!r} of workflow {workflow_id!r} asks for an approval",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}",
        )
