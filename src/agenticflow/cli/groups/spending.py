"""``budgets list|show``: what may be spent on calls, and what was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

BudgetId = Annotated[str, typer.Argument(metavar="ID", help="The budget's id.")]


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the group ``budgets`` to the program."""
    group = add_group(
        app,
        "budgets",
        settings,
        about="What may be spent on calls, and what was; also beside a running owner of the store.",
    )
    group.command("list")(_list)
    group.command("show")(_show)


def _list(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 50,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List budgets, those opened last first."""
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.listing(store=store, limit=limit, form=form)


def _show(budget_id: BudgetId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Show a budget: its limits, what was spent, what is reserved, and by which calls."""
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.show(budget_id, store=store, form=form)
