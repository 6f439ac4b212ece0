"""``approvals list|show|approve|reject|delegate``: what waits for people, over all runs of a store, beside whoever performs them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, Reason, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="The request's id, as `approvals list` shows it.")]
Person = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; recorded with it.")]
Comment = Annotated[str, typer.Option(help="Recorded with it.")]


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the group ``approvals`` to the program."""
    group = add_group(
        app, "approvals", settings, about="What waits for people, also beside a running owner of the store."
    )
    group.command("list")(_list)
    group.command("show")(_show)
    group.command("approve")(_approve)
    group.command("reject")(_reject)
    group.command("delegate")(_delegate)


def _list(
    assignee: Annotated[
        str | None, typer.Option("--for", metavar="NAME", help="Only what waits for this person.")
    ] = None,
    workflow_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Only requests of this workflow.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on behind this request, the last of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 50,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List open requests, what was asked first first."""
    from agenticflow.cli.commands.people import approvals  # late: only when run

    return approvals.listing(
        assignee=assignee, workflow_id=workflow_id, after=after, limit=limit, store=store, form=form
    )


def _show(approval_id: ApprovalId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Show a request: what is asked, who may answer until when, what was said."""
    from agenticflow.cli.commands.people import approvals  # late: only when run

    return approvals.show(approval_id, store=store, form=form)


def _approve(
    approval_id: ApprovalId,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="Edited arguments, or what the form asks for; @file reads it, - reads stdin."
        ),
    ] = None,
    comment: Comment = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say yes: to what is proposed, or with a value."""
    from agenticflow.cli.commands.people import approvals  # late: only when run

    return approvals.approve(approval_id, value=value, comment=comment, by=by, store=store, form=form)


def _reject(
    approval_id: ApprovalId,
    reason: Reason = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say no: the task that asks fails."""
    from agenticflow.cli.commands.people import approvals  # late: only when run

    return approvals.reject(approval_id, comment=reason, by=by, store=store, form=form)


def _delegate(
    approval_id: ApprovalId,
    to: Annotated[str, typer.Argument(metavar="NAME", help="Who may answer from now on, in the place of --by.")],
    comment: Comment = "",
    by: Person = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Hand a request from one who may answer it to another person."""
    from agenticflow.cli.commands.people import approvals  # late: only when run

    return approvals.delegate(approval_id, to, comment=comment, by=by, store=store, form=form)
