"""``dead-letters list|show|retry|discard``: tasks in quarantine, and events that a subscriber gave up, beside whoever performs the runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, Reason, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

LetterId = Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `dead-letters list` shows it.")]
Person = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; recorded with it.")]


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the group ``dead-letters`` to the program."""
    group = add_group(
        app,
        "dead-letters",
        settings,
        about="What was given up and waits for a person: tasks that kill their process, events that no subscriber could deal with.",
    )
    group.command("list")(_list)
    group.command("show")(_show)
    group.command("retry")(_retry)
    group.command("discard")(_discard)


def _list(
    workflow_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only tasks of this workflow.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on behind this letter of a task, the last of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many of each kind.")] = 50,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List what nobody has decided about: tasks first, then events, the oldest of each first."""
    from agenticflow.cli.commands.people import letters  # late: only when run

    return letters.listing(workflow_id=workflow_id, after=after, limit=limit, store=store, form=form)


def _show(letter_id: LetterId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Show a letter: what it is about, what went wrong when, what to do."""
    from agenticflow.cli.commands.people import letters  # late: only when run

    return letters.show(letter_id, store=store, form=form)


def _retry(
    letter_id: LetterId,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Run the task again, beside no other suspect; or give the event to its subscriber again."""
    from agenticflow.cli.commands.people import letters  # late: only when run

    return letters.retry(letter_id, reason=reason, by=by, store=store, form=form)


def _discard(
    letter_id: LetterId,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Have the task failed for good, as after any failure; or forget the event."""
    from agenticflow.cli.commands.people import letters  # late: only when run

    return letters.discard(letter_id, reason=reason, by=by, store=store, form=form)
