"""What the calls of a loop cost: reserved in its budgets before, settled after their answers are recorded.

Without a budget nothing is asked and nothing counted but what the loop records itself. A price that nobody knows is never guessed: then
tokens are reserved, and the budget says that they are unpriced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, TypeVar

from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse, Usage
from agenticflow.app.loops.speakers import Speaker
from agenticflow.errors import BudgetExceeded, CommandRefused, ModelRateLimited, UsageError
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets

__all__ = ["Purse", "call_claims", "summary_claim", "turn_claim"]

T = TypeVar("T")
CHARS_PER_TOKEN: Final = 3
"""For what is reserved: fewer than there are, so that it is more than what is asked for."""
OUTPUT_TOKENS: Final = 4_096
"""Reserved for an answer whose length the agent does not limit."""
_NOT_BILLED: Final = (UsageError, ModelRateLimited)
"""Errors of a model that has not answered: the request was refused before."""


class Purse:
    """Spends for one run of a loop. ``lineage`` are the budgets that its calls cost, innermost first; none means no limits."""

    def __init__(self, keeper: KeepsBudgets, prices: PriceTable, lineage: Sequence[str] = (), *, own: str = "") -> None:
        self._keeper = keeper
        self._own = own
        """The budget that was opened for this loop alone."""
        self._prices = prices
        self.lineage = tuple(lineage)
        self._open: dict[Claim, None] = {}
        """Calls that may have been made, and whose cost is not settled."""

    async def within(self, budget: Budget | str | None, loop_id: str) -> Purse:
        """Return the purse of a loop that has a ``budget`` of its own, or spends of the one with that id, inside these budgets.

        Raises ``InvalidInput`` for an id that is not there.
        """
        if budget is None:
            return Purse(self._keeper, self._prices, self.lineage)
        if isinstance(budget, str):
            found = (await self._keeper.get(budget)).lineage
            return Purse(self._keeper, self._prices, (*found, *(one for one in self.lineage if one not in found)))
        view = await self._keeper.open(f"loop-{loop_id}", budget, self.lineage[0] if self.lineage else None)
        return Purse(self._keeper, self._prices, view.lineage, own=view.budget_id)

    async def model_call(
        self, speaker: Speaker, request: ModelRequest, claim: Claim, chars: int, ask: Callable[[], Awaitable[T]]
    ) -> T:
        """Ask the model when its cost is covered. Its claim stays open until it is ``settled``.

        Raises ``BudgetExceeded``, also when the time of a budget ends while it is asked; and what ``ask`` raises.
        """
        if not self.lineage:
            return await ask()
        wanted = Usage(chars // CHARS_PER_TOKEN + 1, request.max_output_tokens or OUTPUT_TOKENS)
        amounts = Amounts(usd=self._usd(speaker.model.identity, wanted), tokens=wanted.total_tokens)
        limit = await self._reserve(claim, amounts)
        try:
            async with asyncio.timeout(limit):
                return await ask()
        except TimeoutError as error:
            raise BudgetExceeded(
                f"the time of {self.lineage[0]!r} ended while {speaker.model.identity!r} was asked",
                hint="give it more seconds=",
                budget_id=self.lineage[0],
                dimension="seconds",
            ) from error
        except _NOT_BILLED:
            await self._release(claim)
            raise

    async def tool_call(self, claim: Claim, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of a tool when it is covered; see ``model_call``."""
        if not self.lineage:
            return await call()
        await self._reserve(claim, Amounts(tool_calls=1))
        return await call()

    async def settle_answer(self, claim: Claim, model: str, response: ModelResponse) -> None:
        """Say what an answer has cost, once it is recorded."""
        if claim not in self._open:
            return
        used = response.usage
        if used is not None and response.lost_usage is not None:
            used += response.lost_usage
        await self._settle(claim, self._cost(model, used))

    async def settle_call(self, claim: Claim) -> None:
        """Say that a call of a tool was made, once its result is recorded."""
        if claim in self._open:
            await self._settle(claim, Amounts(tool_calls=1))

    async def settle_rest(self) -> None:
        """Say of all calls that broke off that nobody knows what they have cost."""
        for claim in tuple(self._open):
            await self._settle(claim, None)

    async def reconcile(self, state: LoopState) -> None:
        """After a crash: settle what was recorded and not settled. What is still to be done is reserved again under the same claims."""
        for budget_id in self.lineage[:1]:
            last = state.turns - state.first_turns
            ended = {claim for call_id, claim in call_claims(state).items() if state.calls[call_id].result is not None}
            for claim in (await self._keeper.get(budget_id)).open_calls:
                if claim.owner == state.stream_id and claim.number <= last:
                    model, used = state.last_used
                    await self._settle(claim, self._cost(model, used) if claim.number == last else None)
                elif claim.owner == f"{state.stream_id}#summaries" and claim.number <= state.summaries:
                    await self._settle(claim, None)
                elif claim.owner == f"{state.stream_id}#calls" and (
                    claim.number <= state.calls_before or claim in ended
                ):
                    await self._settle(claim, Amounts(tool_calls=1))

    async def close(self) -> None:
        """The loop has its answer: nobody spends of its own budget any more."""
        if self._own:
            with suppress(CommandRefused):  # a call whose cost was never settled keeps it open, and counted
                await self._keeper.close(self._own)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _reserve(self, claim: Claim, amounts: Amounts) -> float | None:
        reservation = await self._keeper.reserve(self.lineage, claim, amounts)
        self._open[claim] = None
        return reservation.left_seconds

    async def _settle(self, claim: Claim, actual: Amounts | None) -> None:
        await self._keeper.settle(self.lineage, claim, actual)
        self._open.pop(claim, None)

    async def _release(self, claim: Claim) -> None:
        await self._keeper.release(self.lineage, claim)
        self._open.pop(claim, None)

    def _cost(self, model: str, used: Usage | None) -> Amounts | None:
        return None if used is None else Amounts(usd=self._usd(model, used), tokens=used.total_tokens)

    def _usd(self, model: str, usage: Usage) -> Decimal | None:
        cost = self._prices.cost_of(model, usage)
        return cost.amount if cost is not None and cost.currency == "USD" else None


def turn_claim(state: LoopState) -> Claim:
    """Return what the next answer of the model is claimed as: equal after a crash."""
    return Claim(state.stream_id, state.turns - state.first_turns + 1)


def summary_claim(state: LoopState) -> Claim:
    """Return what the next summary is claimed as."""
    return Claim(f"{state.stream_id}#summaries", state.summaries + 1)


def call_claims(state: LoopState) -> dict[str, Claim]:
    """Return what the calls of the last answer are claimed as, by their ids."""
    owner, before = f"{state.stream_id}#calls", state.calls_before
    return {call_id: Claim(owner, before + place + 1) for place, call_id in enumerate(state.calls)}
