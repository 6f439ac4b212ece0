"""``runs skip|retry|set-result|feedback|modify``: for whoever steps into a run that goes on, beside whoever performs it."""

from __future__ import annotations

from typing import Annotated

import typer

from agenticflow.cli.options import FormatOption, Reason, StoreOption, WorkflowId
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

Task = Annotated[str, typer.Argument(metavar="TASK", help="The task, as `runs show` names it.")]
Person = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it; recorded with it.")]


def add_to(runs: typer.Typer) -> None:
    """Add the commands to the group ``runs``."""
    runs.command("skip")(_skip)
    runs.command("retry")(_retry)
    runs.command("set-result")(_set_result)
    runs.command("feedback")(_feedback)
    runs.command("modify")(_modify)


def _skip(
    workflow_id: WorkflowId,
    task: Task,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Go on as if the condition of a task did not hold; not while somebody works on it: `runs cancel-task` stops that."""
    from agenticflow.cli.commands.people import stepping  # late: only when run

    return stepping.skip(workflow_id, task, reason=reason, by=by, store=store, form=form)


def _retry(
    workflow_id: WorkflowId,
    task: Task,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Try a task now: its next attempt is due later, or it has failed for good while the run goes on."""
    from agenticflow.cli.commands.people import stepping  # late: only when run

    return stepping.retry(workflow_id, task, reason=reason, by=by, store=store, form=form)


def _set_result(
    workflow_id: WorkflowId,
    task: Task,
    value: Annotated[str, typer.Option(metavar="VALUE", help="The result: JSON, or else text.")] = "null",
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Give a task its result, as if a handler had returned it; not while somebody works on it."""
    from agenticflow.cli.commands.people import stepping  # late: only when run

    return stepping.set_result(workflow_id, task, value=value, reason=reason, by=by, store=store, form=form)


def _feedback(
    workflow_id: WorkflowId,
    feedback: Annotated[str, typer.Argument(metavar="WHAT", help="What the handlers shall hear: JSON, or else text.")],
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only for this task.")] = None,
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Tell the handlers of a run something: those that run now and those that follow."""
    from agenticflow.cli.commands.people import stepping  # late: only when run

    return stepping.feedback(workflow_id, feedback, task_key=task, by=by, store=store, form=form)


def _modify(
    workflow_id: WorkflowId,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .yaml or .json list: add, replace, remove.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")] = False,
    expect: Annotated[
        int | None, typer.Option("--expect", metavar="VERSION", min=1, help="Only when the run is still at this event.")
    ] = None,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Add, replace or remove tasks that have not started, all or none of it; prints what changes.

    The file is a list: `- add: {task_id: …}`, `- replace: {task_id: …}`, `- remove: task_id`, tasks as in a workflow file.
    """
    from agenticflow.cli.commands.people import stepping  # late: only when run

    return stepping.modify(
        workflow_id, file, is_dry=dry_run, expected=expect, reason=reason, by=by, store=store, form=form
    )
