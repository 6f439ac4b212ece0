"""What the calls of a loop cost: reserved in its budgets before, settled after their answers are recorded.

Without a budget nothing is asked and nothing counted but what the loop records itself. A price that nobody knows is never guessed: then
tokens are reserved, and the budget says that they are unpriced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, Protocol, TypeVar

from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse, Usage
from agenticflow.app.budgets.runs import out_of_time
from agenticflow.app.loops.speakers import Speaker
from agenticflow.errors import (
    AgenticFlowError,
    BudgetExceeded,
    CommandRefused,
    ConcurrencyConflict,
    ModelRateLimited,
    OutcomeUnknown,
    TemporaryError,
    UsageError,
)
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets

__all__ = ["Claims", "Purse", "Steadily"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
CHARS_PER_TOKEN: Final = 3
"""For what is reserved: fewer than there are, so that it is more than what is asked for."""
OUTPUT_TOKENS: Final = 4_096
"""Reserved for an answer whose length the agent does not limit."""
_CALLS: Final = "#calls"
_SUMMARIES: Final = "#summaries"
_NOT_BILLED: Final = (UsageError, ModelRateLimited)
"""Errors of a model that has not answered: the request was refused before."""


class Steadily(Protocol):
    """Asks the store again while it is away."""

    async def __call__(self, ask: Callable[[], Awaitable[T]], /) -> T: ...


async def _once(ask: Callable[[], Awaitable[T]], /) -> T:
    return await ask()


class Claims:
    """What the calls of a loop are claimed as by one of those who drive it: what another one reserved is another call.

    The one before may have made a call that nobody recorded. It has cost what was reserved for it, and is never taken for the one that
    is made now.
    """

    __slots__ = ("_owner",)

    def __init__(self, stream_id: str, taken_up_at: int) -> None:
        """``taken_up_at`` is the version of the stream at which it was taken up: nobody else has the same."""
        self._owner = f"{stream_id}@{taken_up_at}"

    def turn(self, state: LoopState) -> Claim:
        """Return what the next answer of the model is claimed as."""
        return Claim(self._owner, state.turns - state.first_turns + 1)

    def summary(self, state: LoopState) -> Claim:
        """Return what the next summary is claimed as."""
        return Claim(f"{self._owner}{_SUMMARIES}", state.summaries + 1)

    def calls(self, state: LoopState) -> dict[str, Claim]:
        """Return what the calls of the last answer are claimed as, by their ids."""
        owner, before = f"{self._owner}{_CALLS}", state.calls_before
        return {call_id: Claim(owner, before + place + 1) for place, call_id in enumerate(state.calls)}


class Purse:
    """Spends for one run of a loop. ``lineage`` are the budgets that its calls cost, innermost first; none means no limits."""

    def __init__(
        self, keeper: KeepsBudgets, prices: PriceTable, lineage: Sequence[str] = (), *, own: Sequence[str] = ()
    ) -> None:
        self._keeper = keeper
        self._own = tuple(own)
        """The budgets that were opened for this loop alone, innermost first."""
        self._prices = prices
        self.lineage = tuple(lineage)
        self._open: dict[Claim, None] = {}
        """Calls that may have been made, and whose cost is not settled."""
        self.steadily: Steadily = _once
        """How its budgets are asked."""

    async def for_task(self, task: Budget | str | None, agent: Budget | str | None, loop_id: str) -> Purse:
        """Return the purse of a loop whose task may spend what ``task`` says, and its agent what ``agent`` says: each call costs both."""
        outer = await self.within(task, loop_id, kind="task")
        inner = await outer.within(agent, loop_id)
        return Purse(self._keeper, self._prices, inner.lineage, own=(*inner._own, *outer._own))

    async def within(self, budget: Budget | str | None, loop_id: str, *, kind: str = "loop") -> Purse:
        """Return the purse of a loop that has a ``budget`` of its own, or spends of the one with that id, inside these budgets.

        Raises ``InvalidInput`` for an id that is not there.
        """
        if budget is None:
            return Purse(self._keeper, self._prices, self.lineage)
        if isinstance(budget, str):
            found = (await self._keeper.get(budget)).lineage
            return Purse(self._keeper, self._prices, (*found, *(one for one in self.lineage if one not in found)))
        view = await self._keeper.open(f"{kind}-{loop_id}", budget, self.lineage[0] if self.lineage else None)
        # The lineage of a budget that was named may be another than ours: what we are inside of, it need not be.
        lineage = (*view.lineage, *(one for one in self.lineage if one not in view.lineage))
        return Purse(self._keeper, self._prices, lineage, own=(view.budget_id,))

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
            budget_id = await out_of_time(self._keeper, self.lineage)
            raise BudgetExceeded(
                f"the time of {budget_id!r} ended while {speaker.model.identity!r} was asked",
                hint="give it more seconds=",
                budget_id=budget_id,
                dimension="seconds",
            ) from error
        except _NOT_BILLED:
            await self._release(claim)
            raise

    async def cover_call(self, claim: Claim) -> None:
        """Reserve a call of a tool, before anything says that it is made. Raises ``BudgetExceeded``."""
        if self.lineage:
            await self._reserve(claim, Amounts(tool_calls=1))

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
        """After a crash: settle what others who drove the loop have reserved. What nobody recorded may have been made: it has cost that."""
        for budget_id in self.lineage:
            view = await self.steadily(partial(self._keeper.get, budget_id))
            for claim in view.open_calls:
                if claim.owner.startswith(f"{state.stream_id}@"):
                    await self._settle(claim, self._recorded(state, claim))

    def _recorded(self, state: LoopState, claim: Claim) -> Amounts | None:
        """Return what a call has cost as far as the loop has a record of it."""
        if claim.owner.endswith(_CALLS):
            place = claim.number - state.calls_before
            open_now = list(state.calls.values())
            has_ended = place <= 0 or (place <= len(open_now) and open_now[place - 1].result is not None)
            return Amounts(tool_calls=1) if has_ended else None
        if claim.owner.endswith(_SUMMARIES) or claim.number != state.turns - state.first_turns:
            return None
        model, used = state.last_used
        return self._cost(model, used)

    async def close(self) -> None:
        """Nobody spends of the loop's own budgets now: they go on with what was spent when they are opened again."""
        for budget_id in self._own:
            try:
                await self.steadily(partial(self._keeper.close, budget_id))
            except CommandRefused as refusal:  # a call whose cost was never settled keeps it open, and counted
                log.debug("the budget %s stays open: %s", budget_id, refusal)
            except AgenticFlowError as error:
                log.warning("the budget %s is not closed now: %s", budget_id, error)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _reserve(self, claim: Claim, amounts: Amounts) -> float | None:
        reservation = await self.steadily(lambda: self._keeper.reserve(self.lineage, claim, amounts))
        self._open[claim] = None
        return reservation.left_seconds

    async def _settle(self, claim: Claim, actual: Amounts | None) -> None:
        """What cannot be settled now stays counted as it was reserved, and is settled by whoever takes the loop up."""
        try:
            await self.steadily(lambda: self._keeper.settle(self.lineage, claim, actual))
        except (TemporaryError, OutcomeUnknown, ConcurrencyConflict) as error:
            log.warning("%s stays reserved in %s: %s", claim, ", ".join(self.lineage), error)
            return
        self._open.pop(claim, None)

    async def _release(self, claim: Claim) -> None:
        await self.steadily(lambda: self._keeper.release(self.lineage, claim))
        self._open.pop(claim, None)

    def _cost(self, model: str, used: Usage | None) -> Amounts | None:
        return None if used is None else Amounts(usd=self._usd(model, used), tokens=used.total_tokens)

    def _usd(self, model: str, usage: Usage) -> Decimal | None:
        cost = self._prices.cost_of(model, usage)
        return cost.amount if cost is not None and cost.currency == "USD" else None
