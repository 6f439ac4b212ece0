"""What is recorded of a budget, and what may be asked of it. A budget goes on in the next stream when one is long enough, or was closed."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.resilience.budgets.amounts import Amounts, Budget, Claim, Sums

__all__ = [
    "BUDGET_FACTS",
    "BudgetChanged",
    "BudgetClosed",
    "BudgetOpened",
    "BudgetReleased",
    "BudgetReserved",
    "BudgetSettled",
    "Carried",
    "ChangeBudget",
    "CloseBudget",
    "Mark",
    "OpenBudget",
    "Release",
    "Reserve",
    "Settle",
    "Spent",
]

_STREAM: Final = "budget-<budget id>/<run no>"


class Mark(msgspec.Struct, array_like=True):
    """Which calls of an owner are settled: all numbers up to ``upto``, and those in ``beyond``, rising."""

    owner: str
    upto: int
    beyond: list[int]


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all settled calls have cost together, and what of it nobody knows."""

    sums: Sums = Sums()
    calls: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    """Tokens whose price nobody knows."""
    unmetered_calls: int = 0
    """Calls whose usage nobody told: they count as what was reserved for them."""


class Carried(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the next stream of a budget takes over from the one before."""

    asked: Budget
    limits: Budget
    parent: str
    spent: Spent
    elapsed_ns: int
    """Time in which it was open."""
    since: int | None = None
    """From when on it is open; ``None``: from its opening."""
    open: tuple[tuple[Claim, Amounts], ...] = ()
    marks: tuple[Mark, ...] = ()


class BudgetOpened(Fact, frozen=True):
    """Somebody opened a budget; what is spent of it is spent of its ``parent`` too. ``carried`` is from the stream before."""

    event_type: ClassVar[str] = "budget_opened"
    stream: ClassVar[str] = _STREAM
    limits: Budget
    parent: str = ""
    carried: Carried | None = None


class BudgetChanged(Fact, frozen=True):
    """Its limits are others from now on: somebody changed them, or, with ``is_redefined``, the program opens it with others."""

    event_type: ClassVar[str] = "budget_changed"
    stream: ClassVar[str] = _STREAM
    limits: Budget
    is_redefined: bool = False


class BudgetReserved(Fact, frozen=True):
    """A call may be made, and may cost as much as this."""

    event_type: ClassVar[str] = "budget_reserved"
    stream: ClassVar[str] = _STREAM
    claim: Claim
    amounts: Amounts


class BudgetSettled(Fact, frozen=True):
    """What a call has cost, its reservation is over. With ``is_metered`` false nobody knows: it counts as what was reserved."""

    event_type: ClassVar[str] = "budget_settled"
    stream: ClassVar[str] = _STREAM
    claim: Claim
    amounts: Amounts
    is_metered: bool = True


class BudgetReleased(Fact, frozen=True):
    """A call was not made, its reservation is over."""

    event_type: ClassVar[str] = "budget_released"
    stream: ClassVar[str] = _STREAM
    claim: Claim


class BudgetClosed(Fact, frozen=True):
    """Terminal: nobody needs it now, or, with ``is_continued``, this stream is long enough and the budget goes on in the next."""

    event_type: ClassVar[str] = "budget_closed"
    stream: ClassVar[str] = _STREAM
    is_continued: bool = False


BUDGET_FACTS: Final = FactCodec(
    [BudgetOpened, BudgetChanged, BudgetReserved, BudgetSettled, BudgetReleased, BudgetClosed]
)


class OpenBudget(Command, frozen=True, kw_only=True):
    """Have a budget of ``limits``. One that is open already stays as it is, unless the program asked for other limits before."""

    limits: Budget
    parent: str = ""
    carried: Carried | None = None


class ChangeBudget(Command, frozen=True, kw_only=True):
    """Have other limits, whatever the program asks for: all of ``limits``, or those that are named in ``only``."""

    limits: Budget
    only: tuple[str, ...] | None = None


class Reserve(Command, frozen=True, kw_only=True):
    """Ask whether a call may be made that costs ``amounts`` at most. Asked again it is answered, not counted again."""

    claim: Claim
    amounts: Amounts


class Settle(Command, frozen=True, kw_only=True):
    """Say what a call has cost; ``None``: nobody knows. The second time it changes nothing."""

    claim: Claim
    actual: Amounts | None


class Release(Command, frozen=True, kw_only=True):
    """Say that a call was not made. The second time it changes nothing."""

    claim: Claim


class CloseBudget(Command, frozen=True, kw_only=True):
    """Say that nobody needs it now. Refused while calls are open."""
