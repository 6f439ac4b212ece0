"""``runs watch|graph|timeline|export|diff|fork|approve|reject``, ``events tail|trace``: to look at runs, beside whoever performs them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, Reason, RunNo, StoreOption, WorkflowId
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

Task = Annotated[str, typer.Argument(metavar="TASK", help="The task in question, as `runs show` names it.")]
Person = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; recorded with it.")]


def add_to(app: typer.Typer, runs: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the commands to the program and to its group ``runs``."""
    runs.command("watch")(_watch)
    runs.command("graph")(_graph)
    runs.command("timeline")(_timeline)
    runs.command("export")(_export)
    runs.command("diff")(_diff)
    runs.command("fork")(_fork)
    runs.command("approve")(_approve)
    runs.command("reject")(_reject)
    runs.command("cancel-task")(_cancel_task)
    events = add_group(app, "events", settings, about="Events of all runs, agents and topics.")
    events.command("tail")(_tail)
    events.command("trace")(_trace)


def _watch(
    workflow_id: WorkflowId, run: RunNo = None, store: StoreOption = None, form: FormatOption = Format.TABLE
) -> int:
    """Show a run as it goes on, until it has ended; ends with its exit code.

    Reads beside the process that performs it. On a terminal a table that is drawn in place, else a line for everything that changes; with
    -o json one JSON document per change.
    """
    from agenticflow.cli.commands.looking import watch  # late: only when run

    return watch.watch(workflow_id, run_no=run, store=store, form=form)


def _graph(
    workflow_id: WorkflowId,
    run: RunNo = None,
    direction: Annotated[str, typer.Option(metavar="DIR", help="TD, LR, BT or RL.")] = "TD",
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Draw a run as a Mermaid flowchart, coloured by where each task stands."""
    from agenticflow.cli.commands.looking import drawings  # late: only when run

    return drawings.graph(workflow_id, run_no=run, direction=direction, store=store, form=form)


def _timeline(
    workflow_id: WorkflowId,
    run: RunNo = None,
    width: Annotated[int | None, typer.Option(min=10, max=500, help="Of the bars, in letters.")] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show what a run spent its time on: one row per attempt, with its start, its end, its wait and how it ended."""
    from agenticflow.cli.commands.looking import drawings  # late: only when run

    return drawings.timeline(workflow_id, run_no=run, width=width, store=store, form=form)


def _export(
    workflow_id: WorkflowId,
    run: RunNo = None,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to; it must not be there. By default stdout.")
    ] = "-",
    store: StoreOption = None,
) -> int:
    """Write a run to one JSON file, a cassette, to be replayed in tests; what looks like a secret is hidden.

    Reads beside the process that performs it; a run that goes on is written as far as it is.
    """
    from agenticflow.cli.commands.looking import exporting  # late: only when run

    return exporting.export(workflow_id, run_no=run, out=out, store=store)


def _diff(
    left: Annotated[str, typer.Argument(metavar="LEFT", help="The id of a workflow.")],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="The id of another one, or the same.")],
    left_run: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Which run of LEFT; by default the latest.")
    ] = None,
    right_run: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Which run of RIGHT; by default the latest.")
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show how two runs differ: definition, input, and what became of each task; a fork and what it began with, say."""
    from agenticflow.cli.commands.looking import comparing  # late: only when run

    return comparing.diff(left, right, left_run=left_run, right_run=right_run, store=store, form=form)


def _fork(
    workflow_id: WorkflowId,
    at: Annotated[
        int | None,
        typer.Option(metavar="EVENT", min=1, help="Where it stood after that event; by default as it stands."),
    ] = None,
    from_task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Go on there: what depends on it is done again.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="KEY=VALUE", help="Over the input of the run; VALUE is JSON, else text."),
    ] = None,
    input_json: Annotated[
        str | None, typer.Option(metavar="JSON", help="Another input as a whole; @FILE, or - for stdin.")
    ] = None,
    definition: Annotated[
        str | None, typer.Option(metavar="FILE[:NAME]", help="Another definition, as `agenticflow run` takes it.")
    ] = None,
    new_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The id of the fork; by default a new one.")
    ] = None,
    run: RunNo = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Start another workflow where a run stands, or stood: what was completed there is kept.

    The run that is forked does not notice. The owner of the store runs the fork; when there is none, the next one does. Kept results are
    those of the old input and definition: name the first task that has to be done again with --from-task.
    """
    from agenticflow.cli.commands.looking import forking  # late: only when run

    return forking.fork(
        workflow_id,
        run_no=run,
        at=at,
        from_task=from_task,
        inputs=inputs or [],
        input_json=input_json,
        target=definition,
        new_id=new_id,
        store=store,
        form=form,
    )


def _approve(
    workflow_id: WorkflowId,
    task: Task,
    comment: Annotated[str, typer.Option(help="Recorded with it.")] = "",
    value: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Goes into the task's result: JSON, or else text.")
    ] = None,
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say yes to what a task asks."""
    from agenticflow.cli.commands.looking import answers  # late: only when run

    return answers.approve(workflow_id, task, comment=comment, value=value, by=by, store=store, form=form)


def _cancel_task(
    workflow_id: WorkflowId,
    task: Task,
    reason: Reason = "",
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Go on without a task: what it has in work is told to stop, what depends on it finds it skipped."""
    from agenticflow.cli.commands.looking import answers  # late: only when run

    return answers.cancel_task(workflow_id, task, reason=reason, store=store, form=form)


def _reject(
    workflow_id: WorkflowId,
    task: Task,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say no to what a task asks: it has failed then."""
    from agenticflow.cli.commands.looking import answers  # late: only when run

    return answers.reject(workflow_id, task, comment=reason, by=by, store=store, form=form)


def _tail(
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="PATTERN", help="Only these types: task_*, order.placed; may be given again."),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only events of this workflow.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=0, max=100_000, help="How many of the past.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Also those to come, until interrupted.")] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Print the latest events of the whole store, in order; with -o json one JSON document per line."""
    from agenticflow.cli.commands.looking import tail  # late: only when run

    return tail.tail(types or (), workflow_id=run, count=count, follows=follow, store=store, form=form)


def _trace(
    correlation_id: Annotated[
        str, typer.Argument(metavar="ID", help="A workflow, an event, or a correlation id that events were given.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many events at most.")] = 10_000,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show what caused what, across workflows and the reactions of agents: every event below the one that caused it."""
    from agenticflow.cli.commands.looking import trace  # late: only when run

    return trace.trace(correlation_id, limit=limit, store=store, form=form)
