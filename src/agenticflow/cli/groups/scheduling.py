"""``schedules list|show|create|…``: what is started again and again, beside whoever performs it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, Reason, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id.")]


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the group ``schedules`` to the program."""
    group = add_group(
        app, "schedules", settings, about="What is started again and again, also beside a running owner of the store."
    )
    group.command("list")(_list)
    group.command("show")(_show)
    group.command("create")(_create)
    group.command("pause")(_pause)
    group.command("resume")(_resume)
    group.command("delete")(_delete)
    group.command("trigger")(_trigger)


def _list(
    only_open: Annotated[bool, typer.Option("--open", help="Only schedules that have not ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 50,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List schedules, newest first."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.listing(store=store, only_open=only_open, limit=limit, form=form)


def _show(schedule_id: ScheduleId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Show a schedule: when it is due next, what runs, what its last runs came to."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.show(schedule_id, store=store, form=form)


def _create(
    schedule_id: ScheduleId,
    workflow: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW", help="A file as for `run`, or the name of a workflow that is registered."),
    ],
    cron: Annotated[str | None, typer.Option(metavar="FIELDS", help="When: '0 3 * * *' is every day at 3.")] = None,
    every: Annotated[float | None, typer.Option(metavar="SECONDS", help="When: so often.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When: once, 2027-01-31T03:00:00Z.")] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Where --cron is meant: Europe/Zurich.")] = "UTC",
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", metavar="KEY=VALUE", help="Part of the input; repeat it.")
    ] = None,
    input_json: Annotated[
        str | None, typer.Option(metavar="JSON", help="The input as JSON; @file reads it, - reads stdin.")
    ] = None,
    overlap: Annotated[
        str, typer.Option(help="While one runs: skip, queue_one, queue_all, allow or cancel_running.")
    ] = "skip",
    catch_up: Annotated[str, typer.Option(help="Of what was missed: none, last or all.")] = "last",
    window: Annotated[float, typer.Option(metavar="SECONDS", help="How far back all looks.")] = 86_400.0,
    start_at: Annotated[str | None, typer.Option(metavar="TIME", help="Nothing before it.")] = None,
    end_at: Annotated[str | None, typer.Option(metavar="TIME", help="Nothing after it.")] = None,
    max_runs: Annotated[int | None, typer.Option(metavar="N", min=1, help="So many times at most.")] = None,
    jitter: Annotated[float, typer.Option(metavar="SECONDS", help="Up to so much later, each time.")] = 0.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the schedule of this id, when it is another.")
    ] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Create a schedule. Creating it again changes nothing; who owns the store starts what is due."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.create(
        schedule_id,
        workflow,
        {
            "cron": cron,
            "every": every,
            "timezone": timezone,
            "overlap": overlap,
            "catch_up": catch_up,
            "catch_up_window": window,
            "max_runs": max_runs,
            "jitter": jitter,
            "replace": replace,
        },
        times={"at": at, "start_at": start_at, "end_at": end_at},
        inputs=inputs or (),
        input_json=input_json,
        store=store,
        form=form,
    )


def _pause(
    schedule_id: ScheduleId, reason: Reason = "", store: StoreOption = None, form: FormatOption = Format.TABLE
) -> int:
    """Start nothing until it is resumed; what runs goes on."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.pause(schedule_id, reason=reason, store=store, form=form)


def _resume(
    schedule_id: ScheduleId, reason: Reason = "", store: StoreOption = None, form: FormatOption = Format.TABLE
) -> int:
    """Go on with the first moment that is still to come."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.resume(schedule_id, reason=reason, store=store, form=form)


def _delete(
    schedule_id: ScheduleId, reason: Reason = "", store: StoreOption = None, form: FormatOption = Format.TABLE
) -> int:
    """End a schedule; what it started goes on."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.delete(schedule_id, reason=reason, store=store, form=form)


def _trigger(
    schedule_id: ScheduleId,
    trigger_id: Annotated[
        str | None, typer.Option(metavar="ID", help="With an id, triggering it again changes nothing.")
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Start it now; the moments to come stay as they are."""
    from agenticflow.cli.commands import schedules  # late: only when run

    return schedules.trigger(schedule_id, trigger_id=trigger_id, store=store, form=form)
