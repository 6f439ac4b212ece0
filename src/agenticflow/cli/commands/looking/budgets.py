"""``agenticflow budgets …``: look at budgets, beside whoever owns the store. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from agenticflow.cli.access import reading
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.errors import InvalidInput
from agenticflow.resilience import BudgetView

__all__ = ["listing", "show"]

_NONE = "–"


def listing(*, store: str | None, limit: int, form: Format) -> int:
    """List budgets, those opened last first."""
    views = run_async(_views(store, limit))
    if form is Format.JSON:
        print_json([_plain(view) for view in views])
    elif not views:
        note("there are no budgets")
    else:
        print_table(
            ("BUDGET", "STATUS", "USD", "OF", "TOKENS", "OF", "CALLS", "OPEN", "PART OF"),
            [_row(view) for view in views],
            right={"USD", "TOKENS", "CALLS", "OPEN"},
        )
    return Exit.OK


async def _views(store: str | None, limit: int) -> Sequence[BudgetView]:
    async with reading(store) as (orchestrator, _):
        return await orchestrator.budgets.list(limit=limit)


def show(budget_id: str, *, store: str | None, form: Format) -> int:
    """Show how a budget stands."""
    view = run_async(_view(store, budget_id))
    if form is Format.JSON:
        print_json(_plain(view))
        return Exit.OK
    print(printable(f"{view.budget_id}: {view.status}, {view.calls:,} calls settled, {view.open_count:,} open"))
    if len(view.lineage) > 1:
        print(printable(f"part of {', of '.join(view.lineage[1:])}"))
    limits, left, spent, reserved = view.limits, view.left, view.spent, view.reserved
    print_table(
        ("", "SPENT", "RESERVED", "LEFT", "LIMIT"),
        [
            ("usd", _number(spent.usd), _number(reserved.usd), _number(left.money), _number(limits.money)),
            ("tokens", *map(_number, (spent.tokens, reserved.tokens, left.tokens, limits.tokens))),
            ("tool calls", *map(_number, (spent.tool_calls, reserved.tool_calls, left.tool_calls, limits.tool_calls))),
            ("seconds", f"{view.seconds_used:,.0f}", _NONE, _seconds(left.seconds), _seconds(limits.seconds)),
        ],
        right={"SPENT", "RESERVED", "LEFT", "LIMIT"},
    )
    for claim in view.open_calls:
        print(printable(f"open: call {claim.number} of {claim.owner}"))
    if view.unpriced_calls:
        note(f"{view.unpriced_calls:,} calls have no known price, {view.unpriced_tokens:,} tokens of them")
    if view.unmetered_calls:
        note(f"{view.unmetered_calls:,} calls count as what was reserved: nobody told what they used")
    return Exit.OK


async def _view(store: str | None, budget_id: str) -> BudgetView:
    async with reading(store) as (orchestrator, _):
        try:
            return await orchestrator.budgets.get(budget_id)
        except InvalidInput as error:
            raise NotThere(error.message, hint="`agenticflow budgets list` shows what there is") from error


def _plain(view: BudgetView) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(view)
    for name in ("limits", "left"):
        plain[name] = getattr(view, name).to_dict()
    for name in ("spent", "reserved"):
        sums = getattr(view, name)
        plain[name] = {"usd": f"{sums.usd:f}", "tokens": sums.tokens, "tool_calls": sums.tool_calls}
    plain["open_calls"] = [str(claim) for claim in view.open_calls]
    return plain


def _row(view: BudgetView) -> tuple[object, ...]:
    return (
        view.budget_id,
        view.status,
        _number(view.spent.usd),
        _number(view.limits.money),
        _number(view.spent.tokens),
        _number(view.limits.tokens),
        view.calls,
        view.open_count,
        view.lineage[1] if len(view.lineage) > 1 else "",
    )


def _number(value: Decimal | int | None) -> str:
    return _NONE if value is None else f"{Decimal(value):,f}"


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"
