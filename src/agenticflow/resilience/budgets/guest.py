"""A budget as a decider: who may make a call that costs something, what it did cost. One stream for each budget.

A guest of the engine that is no workflow, like the gate. A reservation is committed before the call and stands until it is settled or
released, whatever dies in between: it is never given back by itself. Asking twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import Summary, TimersDue
from agenticflow.core.guests import TasklessGuest
from agenticflow.errors import BoundExceeded, BudgetExceeded, CommandRefused, InvariantError
from agenticflow.resilience.budgets.amounts import NANOSECONDS, Amounts, Claim, Sums, plus
from agenticflow.resilience.budgets.facts import (
    BUDGET_FACTS,
    BudgetChanged,
    BudgetClosed,
    BudgetOpened,
    BudgetReleased,
    BudgetReserved,
    BudgetSettled,
    ChangeBudget,
    CloseBudget,
    OpenBudget,
    Release,
    Reserve,
    Settle,
)
from agenticflow.resilience.budgets.state import BudgetState

__all__ = ["KIND", "BudgetGuest", "is_covered", "is_hopeless", "stream_of_budget"]

KIND: Final = "budget"
MAX_OPEN: Final = 10_000
"""Calls of one budget that are open at once."""
MAX_EVENTS: Final = 20_000
"""Events of one stream of a budget; then it goes on in the next."""
CARRIED_OPEN: Final = 500
"""Open calls that fit into the first event of the next stream: with more of them a stream goes on."""
LAST_EVENTS: Final = 80_000
"""Then calls are refused until there are few enough; what is open can still be settled."""


def stream_of_budget(budget_id: str, run_no: int) -> str:
    """Return where the facts of a budget are."""
    return f"{KIND}-{budget_id}/{run_no}"


class BudgetGuest(TasklessGuest[BudgetState]):
    """Decides over the streams ``budget-<id>/<run no>``. Holds nothing."""

    kind = KIND
    codec = BUDGET_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> BudgetState:
        return BudgetState(stream_id) if snapshot is None else BudgetState.restored(stream_id, snapshot)

    def decide(self, state: BudgetState, command: Command) -> Sequence[Fact]:
        if isinstance(command, TimersDue):
            return self.advance(state, command.now)
        if state.closed_at is not None:
            return _when_closed(state, command)
        if isinstance(command, OpenBudget):
            return _open(state, command)
        if not state.opened_at:
            raise CommandRefused(f"the budget {state.budget_id!r} was never opened", hint="open it first")
        match command:
            case Reserve():
                return _reserve(state, command)
            case Settle(claim=claim, actual=actual):
                return _settle(state, claim, actual)
            case Release(claim=claim):
                return (BudgetReleased(claim),) if claim in state.claims else ()
            case ChangeBudget(limits=limits, only=only):
                if only is not None:
                    limits = msgspec.structs.replace(state.limits, **{name: getattr(limits, name) for name in only})
                return (BudgetChanged(limits),) if limits != state.limits else ()
            case CloseBudget():
                return _close(state)
            case _:
                raise InvariantError(f"a budget does not know the command {type(command).__name__}")

    def advance(self, state: BudgetState, now: int) -> Sequence[Fact]:
        is_long = state.version >= MAX_EVENTS and len(state.claims) <= CARRIED_OPEN
        return (BudgetClosed(is_continued=True),) if is_long and state.is_open else ()

    def evolve(self, state: BudgetState, fact: Fact, version: int, at: int) -> None:
        match fact:
            case BudgetReserved(claim, amounts):
                state.reserve(claim, amounts)
            case BudgetSettled(claim, amounts, is_metered):
                state.settle(claim, amounts, is_metered)
            case BudgetReleased(claim):
                state.give_back(claim)
            case BudgetOpened(limits, parent, carried):
                state.limits = state.asked = limits
                state.parent = parent
                state.opened_at = state.since = at
                if carried is not None:
                    state.take_over(carried)
            case BudgetChanged(limits, is_redefined):
                state.limits = limits
                state.asked = limits if is_redefined else state.asked
            case BudgetClosed(is_continued):
                state.closed_at, state.is_continued = at, is_continued
            case _:
                raise InvariantError(f"a budget does not know the fact {type(fact).__name__}")
        state.version = version

    # --- what the engine asks ---------------------------------------------------------------------------------------

    def summary(self, state: BudgetState) -> Summary:
        return Summary(
            execution_id=state.budget_id,
            run_no=state.run_no,
            name=state.budget_id,
            status=state.status,
            is_open=state.is_open,
            started_at=state.opened_at,
            ended_at=state.closed_at,
        )

    def snapshot(self, state: BudgetState) -> bytes:
        return state.saved()


def _when_closed(state: BudgetState, command: Command) -> Sequence[Fact]:
    """Answer what is asked again after the end. What is asked of a budget that goes on is refused: it belongs into the next stream."""
    is_told = isinstance(command, (Release, CloseBudget)) or (
        isinstance(command, Settle) and state.is_settled(command.claim)
    )
    if is_told and not state.is_continued:
        return ()
    raise CommandRefused(
        f"the budget {state.budget_id!r} is closed", hint="open it again: it goes on with what was spent"
    )


def _open(state: BudgetState, command: OpenBudget) -> Sequence[Fact]:
    carried = command.carried
    if carried is not None and state.opened_at:
        return ()  # somebody else was faster, and the budget goes on already
    before = carried.parent if carried is not None else state.parent
    if (carried is not None or state.opened_at) and command.parent != before:
        raise CommandRefused(
            f"the budget {state.budget_id!r} is a part of {_named(before)}, not of {_named(command.parent)}",
            hint="give it another id",
        )
    if state.opened_at:
        return (BudgetChanged(command.limits, is_redefined=True),) if command.limits != state.asked else ()
    opened = BudgetOpened(command.limits, command.parent, carried)
    if carried is None or command.limits != carried.asked or carried.limits == carried.asked:
        return (opened,)
    # What somebody changed stays in force while the program asks for the same as before.
    return opened, BudgetChanged(carried.limits)


def _named(budget_id: str) -> str:
    return repr(budget_id) if budget_id else "no other"


def _reserve(state: BudgetState, command: Reserve) -> Sequence[Fact]:
    claim, amounts = command.claim, command.amounts
    if claim in state.claims:
        return ()
    if state.is_settled(claim):
        raise CommandRefused(
            f"call {claim.number} of {claim.owner!r} is settled in the budget {state.budget_id!r}",
            hint="a call that is made once more has the next number",
        )
    if len(state.claims) >= MAX_OPEN:
        raise BoundExceeded(
            f"{MAX_OPEN:,} calls of the budget {state.budget_id!r} are open", hint="settle or release some of them"
        )
    if state.version >= LAST_EVENTS:
        raise BoundExceeded(
            f"the stream of the budget {state.budget_id!r} is full while more than {CARRIED_OPEN:,} calls are open",
            hint="settle or release some of them",
        )
    _check_limits(state, amounts, command.now)
    return (BudgetReserved(claim, amounts),)


def is_covered(state: BudgetState, amounts: Amounts, beside: Sums) -> bool:
    """Whether money and tokens of one call more are covered when so much more than now is reserved ``beside`` it."""
    limits, spent, reserved = state.limits, state.spent.sums, state.reserved
    return _fits(limits.money, spent.usd, plus(reserved.usd, beside.usd), amounts.usd) and _fits(
        limits.tokens, spent.tokens, reserved.tokens + beside.tokens, amounts.tokens
    )


def is_hopeless(state: BudgetState, amounts: Amounts) -> bool:
    """Whether money or tokens of the call are not covered even when all that is reserved comes to nothing."""
    limits, spent = state.limits, state.spent.sums
    return not (
        _fits(limits.money, spent.usd, 0, amounts.usd) and _fits(limits.tokens, spent.tokens, 0, amounts.tokens)
    )


def _fits(
    limit: Decimal | int | None, spent: Decimal | int, reserved: Decimal | int, asked: Decimal | int | None
) -> bool:
    """Whether what is counted and what is asked for keep to the limit. What nobody can price is held back when all is gone."""
    if limit is None:
        return True
    counted = plus(plus(Decimal(spent), Decimal(reserved)), Decimal(asked or 0))
    return counted <= limit if asked is not None else counted < limit


def _check_limits(state: BudgetState, amounts: Amounts, now: int) -> None:
    """Raise ``BudgetExceeded`` when the call may cost more than is left, or more than is left was spent already.

    Rather for what no settlement of other calls can change.
    """
    limits, spent, reserved = state.limits, state.spent.sums, state.reserved
    lacks = [
        _lack(state, "usd", limits.money, spent.usd, reserved.usd, amounts.usd),
        _lack(state, "tokens", limits.tokens, spent.tokens, reserved.tokens, amounts.tokens),
        _lack(state, "tool_calls", limits.tool_calls, spent.tool_calls, reserved.tool_calls, amounts.tool_calls),
    ]
    if state.left_ns(now) == 0:
        over = BudgetExceeded(
            f"the budget {state.budget_id!r} is over: it has been open for {state.used_ns(now) / NANOSECONDS:,.1f} s of "
            f"{limits.seconds:,.1f} s",
            hint=_hint(state.budget_id),
            budget_id=state.budget_id,
            dimension="seconds",
        )
        lacks.append(over)
    found = [lack for lack in lacks if lack is not None]
    if found:
        raise min(found, key=lambda lack: lack.is_held)


def _lack(
    state: BudgetState,
    dimension: str,
    limit: Decimal | int | None,
    spent: Decimal | int,
    reserved: Decimal | int,
    asked: Decimal | int | None,
) -> BudgetExceeded | None:
    """Return why the call is not covered in this dimension; ``None`` when it is."""
    if limit is None or _fits(limit, spent, reserved, asked):
        return None
    needs = "the price of this call is not known" if asked is None else f"this call may need {Decimal(asked):,f}"
    return BudgetExceeded(
        f"the budget {state.budget_id!r} of {Decimal(limit):,f} {dimension} does not cover this call: {Decimal(spent):,f} spent, "
        f"{Decimal(reserved):,f} reserved by {len(state.claims):,} open calls, and {needs}",
        hint=_hint(state.budget_id),
        budget_id=state.budget_id,
        dimension=dimension,
        # A tool call that is reserved comes to just that; and one that is an agent would wait for itself.
        is_held=dimension != "tool_calls" and _fits(limit, spent, 0, asked),
    )


def _hint(budget_id: str) -> str:
    return (
        f"allow more with orchestrator.budgets.change({budget_id!r}, …) or `agenticflow budgets change`, ask for less, "
        "or end the work here"
    )


def _settle(state: BudgetState, claim: Claim, actual: Amounts | None) -> Sequence[Fact]:
    reserved = state.claims.get(claim)
    if reserved is None and state.is_settled(claim):
        return ()
    # What nobody reserved was spent all the same: it is counted, not lost.
    if actual is None:
        return (BudgetSettled(claim, reserved or Amounts(), is_metered=False),)
    return (BudgetSettled(claim, actual),)


def _close(state: BudgetState) -> Sequence[Fact]:
    if state.claims:
        raise CommandRefused(
            f"{len(state.claims):,} calls of the budget {state.budget_id!r} are open",
            hint="settle those that were made, release the others, then close it",
        )
    return (BudgetClosed(),)
