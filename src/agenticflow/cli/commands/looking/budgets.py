"""``agenticflow budgets …``: look at budgets, and change them, beside whoever owns the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from agenticflow.app.commands.budgets import (
    ChangeBudget,
    CloseBudget,
    OpenBudget,
    ReleaseCall,
    SettleCall,
    budget_answer,
)
from agenticflow.app.commands.operation import Operation
from agenticflow.cli.access import Delivered, deliver, reading
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.errors import InvalidInput
from agenticflow.resilience import Budget, BudgetView

__all__ = ["change", "close", "listing", "open_", "release", "settle", "show"]

_NONE = "–"


def listing(*, store: str | None, limit: int, form: Format) -> int:
    """List budgets, those opened last first."""
    views = run_async(_views(store, limit))
    if form is Format.JSON:
        print_json([budget_answer(view) for view in views])
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
        print_json(budget_answer(view))
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
        print(printable(f"open: {claim}, call {claim.number} of {claim.owner}"))
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


# --- changing -----------------------------------------------------------------------------------------------------------


def open_(budget_id: str, parent: str | None, *, store: str | None, form: Format, **limits: str | None) -> int:
    """Open a budget, or find it as it stands."""
    operation = OpenBudget(budget_id=budget_id, parent=parent, **_limits(limits))
    return _say(run_async(deliver(store, operation, makes_store=True)), form)


def change(budget_id: str, *, store: str | None, form: Format, **limits: str | None) -> int:
    """Give a budget other limits; those that are not given stay."""
    given = _limits(limits)
    if not given:
        raise InvalidInput("no limit is given", hint="give some of --usd, --tokens, --seconds, --tool-calls")
    return _steer(ChangeBudget(budget_id=budget_id, only=list(given), **given), budget_id, store, form)


def close(budget_id: str, *, store: str | None, form: Format) -> int:
    """Say that nobody needs it now."""
    return _steer(CloseBudget(budget_id=budget_id), budget_id, store, form)


def settle(
    budget_id: str, call: str, *, usd: str | None, tokens: int, tool_calls: int, store: str | None, form: Format
) -> int:
    """Say what a call has cost; that nobody knows when no amount is given."""
    owner, number = _call(call)
    operation = SettleCall(
        budget_id=budget_id,
        owner=owner,
        number=number,
        is_known=usd is not None or tokens > 0 or tool_calls > 0,
        usd=None if usd is None else Budget(usd=_amount("usd", usd)).money,
        tokens=tokens,
        tool_calls=tool_calls,
    )
    return _steer(operation, budget_id, store, form)


def release(budget_id: str, call: str, *, store: str | None, form: Format) -> int:
    """Say that a call was not made."""
    owner, number = _call(call)
    return _steer(ReleaseCall(budget_id=budget_id, owner=owner, number=number), budget_id, store, form)


def _limits(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the limits that are given, ``None`` for one that is lifted."""
    given: dict[str, Any] = {}
    for name, text in texts.items():
        if text is not None:
            amount = None if text == "none" else _amount(name, text)
            given[name] = str(amount) if name == "usd" and amount is not None else amount
    return given


def _amount(name: str, text: str) -> Any:
    kind: Callable[[str], object] = {"usd": Decimal, "seconds": float}.get(name, int)
    try:
        amount: Any = kind(text)
    except (ValueError, ArithmeticError) as error:
        raise InvalidInput(f"--{name.replace('_', '-')} {text!r} is no number", hint="write 5, or none") from error
    Budget(**{name: amount})  # raises for what no budget may be
    return amount


def _call(text: str) -> tuple[str, int]:
    owner, _, number = text.rpartition("#")
    if not owner or not number.isdecimal() or len(number) > 10:
        raise InvalidInput(f"{text!r} is no call", hint="write it as `budgets show` does: OWNER#NUMBER")
    return owner, int(number)


def _steer(operation: Operation, budget_id: str, store: str | None, form: Format) -> int:
    return _say(run_async(_delivered(operation, budget_id, store)), form)


async def _delivered(operation: Operation, budget_id: str, store: str | None) -> Delivered:
    try:
        return await deliver(store, operation)
    except InvalidInput:
        await _view(store, budget_id)  # says so when there is none
        raise


def _say(delivered: Delivered, form: Format) -> int:
    answer = delivered.answer
    if form is Format.JSON:
        print_json(answer)
        return Exit.OK
    limits = answer["limits"]
    left = ", ".join(f"{name.replace('_', ' ')} {answer['left'][name]} of {limits[name]}" for name in limits)
    print(printable(f"{answer['budget_id']}: {answer['status']}, {f'left: {left}' if left else 'no limits'}"))
    return Exit.OK


# --- words --------------------------------------------------------------------------------------------------------------


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
