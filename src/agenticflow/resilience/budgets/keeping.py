"""Budgets from the side of those who spend: the port. ``runtime.coordination.budgets`` stands behind it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol

import msgspec

from agenticflow.resilience.budgets.amounts import NANOSECONDS, Amounts, Budget, Claim, Sums, plus
from agenticflow.resilience.budgets.state import BudgetState

__all__ = ["BudgetView", "KeepsBudgets", "Reservation", "view_of"]

MAX_SHOWN: Final = 100


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands."""

    budget_id: str
    status: str
    """``OPEN`` or ``CLOSED``; ``CONTINUED`` for the moment between two streams."""
    limits: Budget
    """What is in force."""
    spent: Sums
    """Of all settled calls; ``usd`` as far as it is known."""
    reserved: Sums
    """Of all open calls: what they may cost at most."""
    left: Budget
    """What may still be reserved; ``None`` where there is no limit."""
    seconds_used: float
    calls: int
    """How many are settled."""
    open_calls: Sequence[Claim]
    """Whose reservations stand, the first 100."""
    open_count: int
    unpriced_calls: int
    unpriced_tokens: int
    """Tokens whose price nobody knows: no part of ``spent.usd``, unless a price had been reserved."""
    unmetered_calls: int
    """Calls whose usage nobody told: they count as what was reserved for them."""
    lineage: tuple[str, ...]
    """The budget itself, then what it is a part of, one after the other."""
    opened_at: int
    closed_at: int | None

    @property
    def is_complete(self) -> bool:
        """Whether ``spent`` is all there is, and exact."""
        return not self.unpriced_calls and not self.unmetered_calls


def view_of(state: BudgetState, lineage: tuple[str, ...], now: int) -> BudgetView:
    """Return what ``state`` shows at the moment ``now``."""
    spent = state.spent
    return BudgetView(
        budget_id=state.budget_id,
        status=state.status,
        limits=state.limits,
        spent=spent.sums,
        reserved=state.reserved,
        left=_left(state, now),
        seconds_used=state.used_ns(now) / NANOSECONDS,
        calls=spent.calls,
        open_calls=tuple(islice(state.claims, MAX_SHOWN)),
        open_count=len(state.claims),
        unpriced_calls=spent.unpriced_calls,
        unpriced_tokens=spent.unpriced_tokens,
        unmetered_calls=spent.unmetered_calls,
        lineage=lineage,
        opened_at=state.opened_at,
        closed_at=state.closed_at,
    )


def _left(state: BudgetState, now: int) -> Budget:
    limits, spent, reserved = state.limits, state.spent.sums, state.reserved
    counted = plus(spent.usd, reserved.usd)
    left_ns = state.left_ns(now)
    return Budget(
        usd=None if limits.money is None else max(plus(limits.money, counted.copy_negate()), Decimal(0)),
        tokens=None if limits.tokens is None else max(limits.tokens - spent.tokens - reserved.tokens, 0),
        seconds=None if left_ns is None else left_ns / NANOSECONDS,
        tool_calls=None
        if limits.tool_calls is None
        else max(limits.tool_calls - spent.tool_calls - reserved.tool_calls, 0),
    )


class Reservation(msgspec.Struct, frozen=True):
    """What was committed in a budget and all it is a part of: the call may be made."""

    claim: Claim
    amounts: Amounts
    is_repeated: bool
    """Whether it was reserved before: then the call may have been made, by an earlier life of the process."""
    left_seconds: float | None
    """How long the call may take by the tightest of the budgets; ``None`` without a limit of time."""


class KeepsBudgets(Protocol):
    """Opens budgets, and keeps account. Every answer is durable. All of it may be asked again after a crash, and changes nothing then."""

    async def open(self, budget_id: str, budget: Budget, parent: str | None = None) -> BudgetView:
        """Open a budget, or find it as it stands; what is spent of it is spent of ``parent`` too.

        One that was changed by somebody keeps these limits as long as it is opened with the ``budget`` it was opened with before; another
        ``budget`` takes effect. One that was closed goes on with what was spent.

        Raises ``InvalidInput`` for an id that is none and a parent that is not there, ``CommandRefused`` for another parent than before,
        a parent that is closed, and too many inside each other.
        """

    async def reserve(
        self, lineage: Sequence[str], claim: Claim, amounts: Amounts, *, wait_seconds: float = 0
    ) -> Reservation:
        """Reserve ``amounts`` in every budget of ``lineage``, innermost first; return once all of it is durable. Then make the call.

        A call that one of them would cover if what is reserved in it came to nothing waits for that, holding nothing, up to
        ``wait_seconds`` and never beyond the time of a budget. One that does not fit at all is refused at once.

        Raises ``BudgetExceeded`` when one of them does not cover it, ``CommandRefused`` for a call that is settled, ``BoundExceeded``.
        What it has reserved is given back then, and also when it is cancelled; what was reserved before by a call that may have been made
        is not.
        """

    async def settle(self, lineage: Sequence[str], claim: Claim, actual: Amounts | None) -> None:
        """Say what the call has cost. ``None`` when nobody knows, also whether it was made: it counts as what was reserved.

        More than was reserved is recorded as well; then later calls are refused. To be called after the answer is recorded.
        """

    async def release(self, lineage: Sequence[str], claim: Claim) -> None:
        """Say that the call was not made, for certain: it costs nothing."""

    async def change(self, budget_id: str, budget: Budget, *, only: Collection[str] | None = None) -> BudgetView:
        """Give a budget other limits, whatever the program asks for: all of ``budget``, or those named in ``only``, whatever else is
        changed at the same time. Raises ``InvalidInput``, ``CommandRefused`` when it is closed."""

    async def close(self, budget_id: str) -> BudgetView:
        """Say that nobody needs it now: retention may let go of it. Raises ``InvalidInput``, ``CommandRefused`` while calls are open."""

    async def open_calls(self, budget_id: str, owners: str) -> Sequence[Claim]:
        """Return the open calls whose owner begins with ``owners``: what a crash has left of whoever spends. All of them, where a view
        shows the first hundred. Raises ``InvalidInput`` when there is no such budget."""

    async def get(self, budget_id: str) -> BudgetView:
        """Return a budget as it stands. Raises ``InvalidInput`` when there is none of that id."""
