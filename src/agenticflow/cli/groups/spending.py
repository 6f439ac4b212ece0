"""``budgets list|show|open|change|…``: what may be spent on calls, and what was, beside whoever spends it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

BudgetId = Annotated[str, typer.Argument(metavar="ID", help="The budget's id.")]
Usd = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Dollars; none for no limit.")]
Tokens = Annotated[str | None, typer.Option(metavar="N", help="Tokens, input and output together; none for no limit.")]
Seconds = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Time from its opening on, by the clock; none for no limit.")
]
ToolCalls = Annotated[str | None, typer.Option(metavar="N", help="Calls of tools; none for no limit.")]
Call = Annotated[str, typer.Argument(metavar="CALL", help="The open call, OWNER#NUMBER, as `budgets show` names it.")]


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
    group.command("open")(_open)
    group.command("change")(_change)
    group.command("close")(_close)
    group.command("settle")(_settle)
    group.command("release")(_release)


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


def _open(
    budget_id: BudgetId,
    usd: Usd = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    tool_calls: ToolCalls = None,
    parent: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The budget that it is a part of: what is spent of it costs that one too."),
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Open a budget, for agents and runs that name its id. Opening it again changes nothing; with other limits, those count.

    What is left out is counted, and not limited. One that was closed goes on with what was spent.
    """
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.open_(
        budget_id, parent, usd=usd, tokens=tokens, seconds=seconds, tool_calls=tool_calls, store=store, form=form
    )


def _change(
    budget_id: BudgetId,
    usd: Usd = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    tool_calls: ToolCalls = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Give a budget other limits, whatever the program asks for; those left out stay as they are.

    Calls that wait for more go on. A run that has failed for it goes on with `agenticflow runs resume ID`.
    """
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.change(
        budget_id, usd=usd, tokens=tokens, seconds=seconds, tool_calls=tool_calls, store=store, form=form
    )


def _close(budget_id: BudgetId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Say that nobody needs a budget now: retention may let go of it. Refused while calls are open."""
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.close(budget_id, store=store, form=form)


def _settle(
    budget_id: BudgetId,
    call: Call,
    usd: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Dollars; left out, nobody knows the price.")
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="N", min=0, max=10**15, help="Tokens, input and output together.")] = 0,
    tool_calls: Annotated[int, typer.Option(metavar="N", min=0, max=10**15, help="Calls of tools.")] = 0,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say what an open call has cost, when its owner is gone; without amounts it counts as what was reserved for it.

    It is settled in all that the budget is a part of, too.
    """
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.settle(budget_id, call, usd=usd, tokens=tokens, tool_calls=tool_calls, store=store, form=form)


def _release(budget_id: BudgetId, call: Call, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Say that an open call was not made, for certain, when its owner is gone: it costs nothing.

    It is released in all that the budget is a part of, too.
    """
    from agenticflow.cli.commands.looking import budgets  # late: only when run

    return budgets.release(budget_id, call, store=store, form=form)
