"""What the calls of one task may cost: each is reserved before it is made and settled after its answer is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.responses import Usage
from agenticflow.core.context import TaskContext
from agenticflow.errors import BoundExceeded, CommandRefused
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets

__all__ = ["BudgetTerms", "Purse"]

MAX_TRIES: Final = 100
"""Of one call, by lives of processes that ended in the middle of it."""
BYTES_PER_TOKEN: Final = 3
"""Of a prompt, rather too few than too many: what is reserved is what the call may cost at most."""


class BudgetTerms(msgspec.Struct, frozen=True):
    """What a worker was given to keep to."""

    limits: Budget
    keeper: Callable[[], KeepsBudgets]
    parent: str | None
    prices: PriceTable
    max_output_tokens: int
    """Reserved for a call that names no limit of its own."""


class Purse:
    """The budget of one task, as one attempt spends of it. All attempts have the same."""

    def __init__(self, terms: BudgetTerms, context: TaskContext) -> None:
        self._terms = terms
        self._context = context
        self._keeper = terms.keeper()
        self._lineage: tuple[str, ...] = ()

    async def open(self) -> None:
        """Open the budget of the task, or find it as it stands."""
        context = self._context
        view = await self._keeper.open(
            f"{context.workflow_id}.{context.task_key}", self._terms.limits, self._terms.parent
        )
        self._lineage = view.lineage

    async def reserve(self, key: str, model: str, prompt_bytes: int, max_tokens: int | None) -> int:
        """Reserve what the call may cost at most; return the number of the try. Raises ``BudgetExceeded``.

        A try that was reserved before and has no answer may have been made, and paid for: it counts as that, and there is another.
        """
        usage = Usage(prompt_bytes // BYTES_PER_TOKEN + 1, max_tokens or self._terms.max_output_tokens)
        amounts = self._terms.prices.amounts_of(model, usage)
        for number in range(1, MAX_TRIES + 1):
            claim = Claim(self._owner(key), number)
            try:
                reservation = await self._keeper.reserve(self._lineage, claim, amounts)
            except CommandRefused:
                continue  # settled
            if not reservation.is_repeated:
                return number
            await self._keeper.settle(self._lineage, claim, None)
        raise BoundExceeded(
            f"the call {key!r} of {self._context.task_key!r} was made {MAX_TRIES} times without an answer"
        )

    async def settle(self, key: str, number: int, model: str, usage: Usage | None) -> None:
        """Say what the call has cost; ``None`` when nobody knows. Again changes nothing."""
        actual: Amounts | None = None if usage is None else self._terms.prices.amounts_of(model, usage)
        await self._keeper.settle(self._lineage, Claim(self._owner(key), number), actual)

    async def release(self, key: str, number: int) -> None:
        """Say that the call was not made, for certain."""
        await self._keeper.release(self._lineage, Claim(self._owner(key), number))

    def _owner(self, key: str) -> str:
        return f"{self._context.effect_key}/{key}"
