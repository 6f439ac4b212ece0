"""The purse of a loop: its calls are reserved in its budgets before they are made, and settled after their answers are recorded.

Without a budget nothing is asked and nothing is counted. Whose loop it is, and where it records, is not known here: who spends names its
calls, and says when their answers are recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending.rules import TOOL_CALL, amounts_of_answer, amounts_of_request, is_not_billed
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    BudgetExceeded,
    CommandRefused,
    ConcurrencyConflict,
    OutcomeUnknown,
    TemporaryError,
)
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets, Reservation

__all__ = ["Accounts", "Purse", "Steadily", "once"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
WAIT_SECONDS: Final = 60.0
"""How long a call that would fit without what others have reserved waits for them to settle."""


class Steadily(Protocol):
    """Asks the store again while it is away."""

    async def __call__(self, ask: Callable[[], Awaitable[T]], /) -> T: ...


async def once(ask: Callable[[], Awaitable[T]], /) -> T:
    """Ask, and leave it at that."""
    return await ask()


async def _no_budget(workflow_id: str, run_no: int) -> tuple[str, ...]:
    return ()


class Accounts:
    """What all purses of an orchestrator have in common."""

    __slots__ = ("in_use", "keeper", "lineage_of", "opening", "prices", "steadily")

    def __init__(
        self,
        keeper: KeepsBudgets,
        prices: PriceTable,
        lineage_of: Callable[[str, int], Awaitable[tuple[str, ...]]] = _no_budget,
        steadily: Steadily = once,
    ) -> None:
        """``lineage_of`` returns the budgets that each call of a run costs, by its workflow id and number, innermost first; ``steadily``
        is how the store is asked that keeps them."""
        self.keeper = keeper
        self.steadily = steadily
        self.prices = prices
        self.lineage_of = lineage_of
        self.in_use: Counter[str] = Counter()
        """Budgets of tasks that several loops of one handler spend from, and how many do."""
        self.opening = asyncio.Lock()
        """Held by who opens or closes one of these: none is closed that somebody opens in this moment."""

    async def of_run(self, workflow_id: str, run_no: int) -> Purse:
        """Return the purse of what a run may spend. Raises ``InvalidInput`` when it names a budget that is not there."""
        return Purse(self, await self.steadily(partial(self.lineage_of, workflow_id, run_no)))


class Purse:
    """Spends for one loop. ``lineage`` are the budgets that its calls cost, innermost first; none means no limits."""

    def __init__(self, accounts: Accounts, lineage: Sequence[str] = (), *, own: Sequence[str] = ()) -> None:
        self.accounts = accounts
        self.lineage = tuple(lineage)
        self.own = tuple(own)
        """The budgets that were opened for this loop alone, innermost first."""
        self._open: dict[Claim, None] = {}
        """Calls that may have been made, and whose cost is not settled."""
        self.steadily = accounts.steadily
        """How its budgets are asked."""

    async def for_task(self, task: Budget | str | None, own: Budget | str | None, loop_id: str) -> Purse:
        """Return the purse of a loop whose task may spend what ``task`` says, and its agent what ``own`` says: each call costs both."""
        outer = await self.within(task, loop_id, kind="task")
        inner = await outer.within(own, loop_id)
        return Purse(self.accounts, inner.lineage, own=(*inner.own, *outer.own))

    async def within(self, budget: Budget | str | None, loop_id: str, *, kind: str = "loop") -> Purse:
        """Return the purse of a loop that has a ``budget`` of its own, or spends of the one with that id, inside these budgets.

        Raises ``InvalidInput`` for an id that is not there.
        """
        if budget is None:
            return Purse(self.accounts, self.lineage)
        keeper = self.accounts.keeper
        if isinstance(budget, str):
            found = (await self.steadily(partial(keeper.get, budget))).lineage
            return Purse(self.accounts, (*found, *(one for one in self.lineage if one not in found)))
        parent = self.lineage[0] if self.lineage else None
        view = await self.steadily(partial(keeper.open, f"{kind}-{loop_id}", budget, parent))
        # The lineage of a budget that was named may be another than ours: what we are inside of, it need not be.
        lineage = (*view.lineage, *(one for one in self.lineage if one not in view.lineage))
        return Purse(self.accounts, lineage, own=(view.budget_id,))

    # --- calls ------------------------------------------------------------------------------------------------------

    async def model_call(
        self, model: str, claim: Claim, chars: int, max_output_tokens: int | None, ask: Callable[[], Awaitable[T]]
    ) -> T:
        """Ask ``model`` when its cost is covered. Its claim stays open until it is settled.

        Raises ``BudgetExceeded``, also when the time of a budget ends while it is asked; and what ``ask`` raises.
        """
        if not self.lineage:
            return await ask()
        reservation = await self.reserve(claim, self.wanted(model, chars, max_output_tokens))
        return await self.within_time(model, claim, reservation.left_seconds, ask)

    def wanted(self, model: str, chars: int, max_output_tokens: int | None) -> Amounts:
        """Return what a request may cost at most."""
        return amounts_of_request(self.accounts.prices, model, chars, max_output_tokens)

    async def within_time(
        self,
        model: str,
        claim: Claim,
        limit: float | None,
        ask: Callable[[], Awaitable[T]],
        is_refused: Callable[[Exception], bool] = is_not_billed,
    ) -> T:
        """Ask, for at most ``limit`` seconds, what is reserved as ``claim``; a request that was refused, says the error, is released."""
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await ask()
        except TimeoutError as error:
            if not timer.expired():
                raise  # the model's own
            budget_id = await self._out_of_time()
            raise BudgetExceeded(
                f"the time of {budget_id!r} ended while {model!r} was asked",
                hint="give it more seconds=",
                budget_id=budget_id,
                dimension="seconds",
            ) from error
        except Exception as error:
            if is_refused(error):
                await self.release(claim)
            raise

    async def cover_call(self, claim: Claim) -> None:
        """Reserve a call of a tool, before anything says that it is made. Raises ``BudgetExceeded``."""
        if self.lineage:
            await self.reserve(claim, TOOL_CALL)

    async def settle_answer(self, claim: Claim, model: str, used: Usage | None, lost: Usage | None = None) -> None:
        """Say what an answer has cost, once it is recorded."""
        if claim in self._open:
            await self.settle(claim, self.cost(model, used, lost))

    async def settle_call(self, claim: Claim) -> None:
        """Say that a call of a tool was made, once its result is recorded."""
        if claim in self._open:
            await self.settle(claim, TOOL_CALL)

    def cost(self, model: str, used: Usage | None, lost: Usage | None = None) -> Amounts | None:
        """Return what an answer has cost; ``None`` when nobody told."""
        return amounts_of_answer(self.accounts.prices, model, used, lost)

    # --- one claim --------------------------------------------------------------------------------------------------

    def is_open(self, claim: Claim) -> bool:
        """Whether it was reserved here, and is not settled."""
        return claim in self._open

    async def reserve(self, claim: Claim, amounts: Amounts) -> Reservation:
        """Reserve it. What does not fit beside other calls that are open waits a while for these. Raises ``BudgetExceeded``."""
        reservation = await self.steadily(
            lambda: self.accounts.keeper.reserve(self.lineage, claim, amounts, wait_seconds=WAIT_SECONDS)
        )
        self._open[claim] = None
        return reservation

    async def reserve_next(self, owner: str, amounts: Amounts, most: int) -> tuple[Claim, float | None]:
        """Reserve under the first number of ``owner`` that nobody has used; return the claim, and how many seconds the call may take.

        One that is open was reserved by who broke off: that call may have been made, and is settled as what nobody knows. Raises
        ``BudgetExceeded``, and ``BoundExceeded`` after ``most`` numbers.
        """
        for number in range(1, most + 1):
            claim = Claim(owner, number)
            try:
                reservation = await self.reserve(claim, amounts)
            except CommandRefused:
                if await self.is_usable():
                    continue  # it is settled
                raise
            if not reservation.is_repeated:
                return claim, reservation.left_seconds
            await self.settle(claim, None)
        raise BoundExceeded(
            f"the call {owner!r} was made {most} times without an answer", hint="see why its processes end there"
        )

    async def settle(self, claim: Claim, actual: Amounts | None) -> None:
        """Say what it has cost; ``None``: nobody knows.

        What cannot be settled now stays counted as it was reserved, and is settled by whoever takes the loop up.
        """
        try:
            await self.steadily(lambda: self.accounts.keeper.settle(self.lineage, claim, actual))
        except (TemporaryError, OutcomeUnknown, ConcurrencyConflict) as error:
            log.warning("%s stays reserved in %s: %s", claim, ", ".join(self.lineage), error)
            return
        self._open.pop(claim, None)

    async def release(self, claim: Claim) -> None:
        """Say that the call was not made, for certain."""
        await self.steadily(lambda: self.accounts.keeper.release(self.lineage, claim))
        self._open.pop(claim, None)

    async def _out_of_time(self) -> str:
        """Return which budget has the least time left: a call that took too long took too long for that one."""
        left: list[tuple[float, str]] = []
        for budget_id in self.lineage:
            seconds = (await self.steadily(partial(self.accounts.keeper.get, budget_id))).left.seconds
            left += [] if seconds is None else [(seconds, budget_id)]
        return min(left, default=(0.0, self.lineage[0]))[1]

    # --- ends -------------------------------------------------------------------------------------------------------

    async def settle_rest(self) -> None:
        """Say of all calls that broke off that nobody knows what they have cost."""
        for claim in tuple(self._open):
            await self.settle(claim, None)

    async def left_open(self, owners: str) -> list[Claim]:
        """Return the open calls whose owner begins with ``owners``, in whichever of the budgets."""
        found: dict[Claim, None] = {}
        for budget_id in self.lineage:
            claims = await self.steadily(partial(self.accounts.keeper.open_calls, budget_id, owners))
            found.update(dict.fromkeys(claims))
        return list(found)

    async def is_usable(self) -> bool:
        """Whether none of the budgets is closed."""
        views = [await self.steadily(partial(self.accounts.keeper.get, budget_id)) for budget_id in self.lineage]
        return all(view.closed_at is None for view in views)

    async def close(self, budget_ids: Sequence[str] | None = None) -> None:
        """Nobody spends of the loop's own budgets now: they go on with what was spent when they are opened again."""
        for budget_id in self.own if budget_ids is None else budget_ids:
            try:
                await self.steadily(partial(self.accounts.keeper.close, budget_id))
            except CommandRefused as refusal:  # a call whose cost was never settled keeps it open, and counted
                log.debug("the budget %s stays open: %s", budget_id, refusal)
            except AgenticFlowError as error:
                log.warning("the budget %s is not closed now: %s", budget_id, error)
