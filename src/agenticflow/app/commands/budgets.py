"""Operations on budgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from agenticflow.app.commands.operation import Operation, Steered
from agenticflow.resilience.budgets import Amounts, Budget, BudgetView, Claim

__all__ = ["ChangeBudget", "CloseBudget", "OpenBudget", "ReleaseCall", "SettleCall", "budget_answer"]


class _Limits(Operation, frozen=True, kw_only=True):
    budget_id: str
    usd: str | None = None
    tokens: int | None = None
    seconds: float | None = None
    tool_calls: int | None = None

    def budget(self) -> Budget:
        return Budget.from_dict({name: getattr(self, name) for name in Budget.__struct_fields__})


class OpenBudget(_Limits, frozen=True, kw_only=True):
    """Open a budget, or find it as it stands."""

    name: ClassVar[str] = "open_budget"
    parent: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return budget_answer(await orchestrator.budgets.open(self.budget_id, self.budget(), self.parent))


class ChangeBudget(_Limits, frozen=True, kw_only=True):
    """Give a budget other limits, of those named in ``only``; one that is ``None`` is lifted."""

    name: ClassVar[str] = "change_budget"
    only: list[str]

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return budget_answer(await orchestrator.budgets.change(self.budget_id, self.budget(), only=self.only))


class CloseBudget(Operation, frozen=True, kw_only=True):
    """Say that nobody needs a budget now."""

    name: ClassVar[str] = "close_budget"
    budget_id: str

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return budget_answer(await orchestrator.budgets.close(self.budget_id))


class _CallOperation(Operation, frozen=True, kw_only=True):
    budget_id: str
    owner: str
    number: int


class SettleCall(_CallOperation, frozen=True, kw_only=True):
    """Say what a call has cost, in a budget and all it is a part of. With ``is_known`` false nobody knows."""

    name: ClassVar[str] = "settle_call"
    is_known: bool = False
    usd: Decimal | None = None
    tokens: int = 0
    tool_calls: int = 0

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        actual = Amounts(usd=self.usd, tokens=self.tokens, tool_calls=self.tool_calls) if self.is_known else None
        budgets = orchestrator.budgets
        await budgets.settle((await budgets.get(self.budget_id)).lineage, Claim(self.owner, self.number), actual)
        return budget_answer(await budgets.get(self.budget_id))


class ReleaseCall(_CallOperation, frozen=True, kw_only=True):
    """Say that a call was not made, in a budget and all it is a part of."""

    name: ClassVar[str] = "release_call"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        budgets = orchestrator.budgets
        await budgets.release((await budgets.get(self.budget_id)).lineage, Claim(self.owner, self.number))
        return budget_answer(await budgets.get(self.budget_id))


def budget_answer(view: BudgetView) -> dict[str, object]:
    """Return a budget as plain data; money as text, so that nothing is lost."""
    plain: dict[str, Any] = msgspec.to_builtins(view)
    for name in ("limits", "left"):
        plain[name] = getattr(view, name).to_dict()
    for name in ("spent", "reserved"):
        sums = getattr(view, name)
        plain[name] = {"usd": f"{sums.usd:f}", "tokens": sums.tokens, "tool_calls": sums.tool_calls}
    plain["open_calls"] = [str(claim) for claim in view.open_calls]
    return plain
