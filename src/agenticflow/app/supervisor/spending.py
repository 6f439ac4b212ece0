"""What a request costs: each answer of the model that plans is reserved before it is asked for, and settled after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.model.deltas import Delta, deltas_of
from agenticflow.agents.model.parts import pack_messages
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse
from agenticflow.agents.spending.purse import Accounts, Purse, Steadily, once
from agenticflow.app.budgets.budgets import Budgets
from agenticflow.app.budgets.runs import budget_of_run
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.results import TaskResult
from agenticflow.errors import BudgetExceeded, CommandRefused, InvalidInput
from agenticflow.resilience.budgets import KeepsBudgets

__all__ = ["PaidModel", "check_paid", "close_budget", "paying"]

MAX_CALLS: Final = 64
"""Of the model for one answer, with all attempts and crashes."""
_MAX_OWNER_BYTES: Final = 150


async def paying(decomposer: TaskDecomposer, budgets: Budgets, context: TaskContext) -> TaskDecomposer:
    """Return the decomposer with its next answer paid out of what the request may cost. Raises ``InvalidInput`` for a budget not there."""
    client = decomposer.client
    steadily: Steadily = once if context.accounts is None else context.accounts.accounts().steadily
    lineage = await steadily(lambda: budgets.lineage_of(context.workflow_id))
    if not lineage:
        return decomposer
    purse = Purse(Accounts(budgets, client.spending.prices, steadily=steadily), lineage)
    owner = _short(f"{context.workflow_id}/{context.run_no}#{context.task_key}")
    return decomposer.through(client.through(PaidModel(client.model, purse, owner)))


def check_paid(lineage: Sequence[str], results: Mapping[str, TaskResult[Any]], context: TaskContext) -> None:
    """Raise ``BudgetExceeded`` when a task of a plan has failed for what the whole request may cost: another plan costs more, not less.

    A task may also have failed for a budget of its own, or of its agent: then another plan can go another way.
    """
    for name, result in results.items():
        error = result.error
        if error is None or error.code != BudgetExceeded.code:
            continue
        budget_id = error.told.get("budget_id", "")
        if budget_id in lineage:
            raise BudgetExceeded(
                f"task {name!r} of the plan cannot be paid: {error.message}",
                hint=f"allow more with orchestrator.budgets.change({budget_id!r}, …), then resume_workflow({context.workflow_id!r})",
                budget_id=budget_id,
            )


async def close_budget(keeper: KeepsBudgets, context: TaskContext) -> dict[str, Any] | None:
    """Say that nobody spends of the request's own budget any more; return what was spent of it, ``None`` for nothing."""
    budget_id = budget_of_run(context.workflow_id)
    try:
        view = await keeper.get(budget_id)
    except InvalidInput:  # it is opened with the first call that costs something
        return None
    with suppress(CommandRefused):  # a call whose cost was never settled keeps it open, and counted
        await keeper.close(budget_id)
    spent: dict[str, Any] = msgspec.to_builtins(view.spent)
    return spent


class PaidModel(Model):
    """A model that is asked once, when its cost is covered."""

    def __init__(self, model: Model, purse: Purse, owner: str) -> None:
        self.provider = model.provider
        self.name = model.name
        self.abilities = model.abilities
        self._model = model
        self._purse = purse
        self._owner = owner

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        for delta in deltas_of(await self.respond(request)):
            yield delta

    async def respond(self, request: ModelRequest) -> ModelResponse:
        purse = self._purse
        chars = len(pack_messages(request.messages))
        amounts = purse.wanted(self.identity, chars, request.max_output_tokens)
        claim, left_seconds = await purse.reserve_next(self._owner, amounts, MAX_CALLS)
        try:
            response = await purse.within_time(self.identity, claim, left_seconds, lambda: self._model.respond(request))
        except Exception:
            await purse.settle_rest()
            raise
        await purse.settle_answer(claim, self.identity, response.usage, response.lost_usage)
        return response


def _short(name: str) -> str:
    """Return ``name``, or its beginning with a hash of the whole: ids of nested workflows grow."""
    size = len(name.encode())
    return name if size <= _MAX_OWNER_BYTES else f"{name[:30]}~{codec.content_hash(name.encode())}"
