"""What a request costs: each answer of the model that plans is reserved before it is asked for, and settled after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.model.deltas import Delta, deltas_of
from agenticflow.agents.model.parts import pack_messages
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse, Usage
from agenticflow.app.budgets.budgets import Budgets
from agenticflow.app.budgets.runs import budget_of_run, out_of_time
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.results import TaskResult
from agenticflow.errors import BudgetExceeded, CommandRefused, InvalidInput, ModelRateLimited, UsageError
from agenticflow.resilience.budgets import Amounts, Claim, KeepsBudgets

__all__ = ["PaidModel", "check_paid", "close_budget", "paying"]

CHARS_PER_TOKEN: Final = 3
"""For what is reserved: fewer than there are, so that it is more than what is asked for."""
OUTPUT_TOKENS: Final = 4_096
"""Reserved for an answer."""
MAX_CALLS: Final = 64
"""Of the model for one answer, with all attempts and crashes."""
_MAX_OWNER_BYTES: Final = 150
_NOT_BILLED: Final = (UsageError, ModelRateLimited)
"""Errors of a model that has not answered: the request was refused before."""


async def paying(decomposer: TaskDecomposer, budgets: Budgets, context: TaskContext) -> TaskDecomposer:
    """Return the decomposer with its next answer paid out of what the request may cost. Raises ``InvalidInput`` for a budget not there."""
    lineage = await budgets.lineage_of(context.workflow_id)
    if not lineage:
        return decomposer
    owner = _short(f"{context.workflow_id}/{context.run_no}#{context.task_key}")
    client = decomposer.client
    return decomposer.through(client.through(PaidModel(client.model, budgets, lineage, owner, client.spending.prices)))


def check_paid(lineage: Sequence[str], results: Mapping[str, TaskResult[Any]], context: TaskContext) -> None:
    """Raise ``BudgetExceeded`` when a task of a plan has failed for what the whole request may cost: another plan costs more, not less.

    A task may also have failed for a budget of its own, or of its agent: then another plan can go another way.
    """
    for name, result in results.items():
        error = result.error
        if error is None or error.code != BudgetExceeded.code:
            continue
        # What was recorded of the error is its words, and they name the budget.
        budget_id = next((one for one in lineage if repr(one) in error.message), None)
        if budget_id is not None:
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

    def __init__(
        self, model: Model, keeper: KeepsBudgets, lineage: Sequence[str], owner: str, prices: PriceTable
    ) -> None:
        self.provider = model.provider
        self.name = model.name
        self.abilities = model.abilities
        self._model = model
        self._keeper = keeper
        self._lineage = lineage
        self._owner = owner
        self._prices = prices

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        for delta in deltas_of(await self.respond(request)):
            yield delta

    async def respond(self, request: ModelRequest) -> ModelResponse:
        chars = len(pack_messages(request.messages))
        wanted = Usage(chars // CHARS_PER_TOKEN + 1, request.max_output_tokens or OUTPUT_TOKENS)
        claim, left_seconds = await self._reserved(self._prices.amounts_of(self.identity, wanted))
        try:
            async with asyncio.timeout(left_seconds):
                response = await self._model.respond(request)
        except TimeoutError as error:
            await self._keeper.settle(self._lineage, claim, None)
            budget_id = await out_of_time(self._keeper, self._lineage)
            raise BudgetExceeded(
                f"the time of {budget_id!r} ended while {self.identity!r} was asked",
                hint="give it more seconds=",
                budget_id=budget_id,
                dimension="seconds",
            ) from error
        except _NOT_BILLED:
            await self._keeper.release(self._lineage, claim)
            raise
        except Exception:
            await self._keeper.settle(self._lineage, claim, None)
            raise
        used = response.usage
        if used is not None and response.lost_usage is not None:
            used += response.lost_usage
        cost = None if used is None else self._prices.amounts_of(self.identity, used)
        await self._keeper.settle(self._lineage, claim, cost)
        return response

    async def _reserved(self, amounts: Amounts) -> tuple[Claim, float | None]:
        """Reserve under the first number that nobody has used: each attempt is a call of its own.

        One that was reserved before may have been made by an attempt that broke off, and paid for: nobody knows, and it is counted so.
        """
        number = 1
        while True:
            claim = Claim(self._owner, number)
            try:
                reservation = await self._keeper.reserve(self._lineage, claim, amounts)
            except CommandRefused:
                if number == MAX_CALLS:
                    raise
            else:
                if not reservation.is_repeated:
                    return claim, reservation.left_seconds
                await self._keeper.settle(self._lineage, claim, None)
            number += 1


def _short(name: str) -> str:
    """Return ``name``, or its beginning with a hash of the whole: ids of nested workflows grow."""
    size = len(name.encode())
    return name if size <= _MAX_OWNER_BYTES else f"{name[:30]}~{codec.content_hash(name.encode())}"
