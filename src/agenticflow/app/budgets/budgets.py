"""``orchestrator.budgets``: open budgets, spend of them, look at them, change them.

Whoever makes calls that cost something is given this as ``KeepsBudgets``. Works in every process: reading needs no owner of the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from agenticflow.app.budgets.runs import RunBudgets
from agenticflow.core.ids import check_id
from agenticflow.resilience.budgets import Amounts, Budget, BudgetView, Claim, KeepsBudgets, Reservation
from agenticflow.runtime.coordination.budgets import BudgetKeeper
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["Budgets", "Keeping"]


class Keeping(Protocol):
    """What is needed of a running engine."""

    host: Host
    store: Store
    budgets: BudgetKeeper


class Budgets(KeepsBudgets):
    """The budgets of one store. ``engine`` gives the running engine. What the methods promise is said at ``KeepsBudgets``."""

    def __init__(self, engine: Callable[[], Awaitable[Keeping]]) -> None:
        self._engine = engine

    # --- spending ---------------------------------------------------------------------------------------------------

    async def open(self, budget_id: str, budget: Budget, parent: str | None = None) -> BudgetView:
        """Open a budget, or find it as it stands; what is spent of it is spent of ``parent`` too."""
        return await (await self._engine()).budgets.open(budget_id, budget, parent)

    async def reserve(
        self, lineage: Sequence[str], claim: Claim, amounts: Amounts, *, wait_seconds: float = 0
    ) -> Reservation:
        """Reserve ``amounts`` in every budget of ``lineage``. Raises ``BudgetExceeded`` when one of them does not cover it; when it would
        without what other calls have reserved, after waiting for these up to ``wait_seconds``."""
        return await (await self._engine()).budgets.reserve(lineage, claim, amounts, wait_seconds=wait_seconds)

    async def settle(self, lineage: Sequence[str], claim: Claim, actual: Amounts | None) -> None:
        """Say what the call has cost; ``None`` when nobody knows."""
        await (await self._engine()).budgets.settle(lineage, claim, actual)

    async def release(self, lineage: Sequence[str], claim: Claim) -> None:
        """Say that the call was not made, for certain."""
        await (await self._engine()).budgets.release(lineage, claim)

    async def open_calls(self, budget_id: str, owners: str) -> Sequence[Claim]:
        """Return the open calls whose owner begins with ``owners``."""
        return await (await self._engine()).budgets.open_calls(budget_id, owners)

    async def lineage_of(self, workflow_id: str) -> tuple[str, ...]:
        """Return the budgets that each call of a workflow costs, the innermost first: its own, then those of what it is a part of.

        For handlers that make calls themselves: give it to ``reserve`` and ``settle``. Empty when nothing limits it. Raises
        ``WorkflowNotFoundError``, and ``InvalidInput`` when it names a budget that is not there.
        """
        check_id(workflow_id, "a workflow")
        engine = await self._engine()
        return await RunBudgets(engine.host, engine.store, engine.budgets).newest(workflow_id)

    # --- looking and steering ---------------------------------------------------------------------------------------

    async def get(self, budget_id: str) -> BudgetView:
        """Return a budget as it stands. Raises ``InvalidInput`` when there is none of that id."""
        return await (await self._engine()).budgets.get(budget_id)

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[BudgetView]:
        """Return up to ``limit`` budgets, those opened last first; ``after`` is the id of the last one of the page before.

        Raises ``InvalidInput`` for a limit outside 1 to 1,000 and an ``after`` that is not there.
        """
        return await (await self._engine()).budgets.list(after=after, limit=limit)

    async def change(self, budget_id: str, budget: Budget, *, only: Collection[str] | None = None) -> BudgetView:
        """Give a budget other limits, whatever the program asks for: for who wants work to go on that ended with ``BudgetExceeded``.

        All of them are those of ``budget``; with ``only=("tokens",)`` those named, and the others stay.
        """
        return await (await self._engine()).budgets.change(budget_id, budget, only=only)

    async def close(self, budget_id: str) -> BudgetView:
        """Say that nobody needs it now: retention may let go of it. Raises ``CommandRefused`` while calls are open."""
        return await (await self._engine()).budgets.close(budget_id)
