"""What planning costs: each answer of a model is reserved in a budget before it is asked for, and settled after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.model.deltas import Delta, deltas_of
from agenticflow.agents.model.parts import pack_messages
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse, Usage
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.errors import BudgetExceeded, CommandRefused, ModelRateLimited, UsageError
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets

__all__ = ["PaidModel", "close_budget", "paying"]

CHARS_PER_TOKEN: Final = 3
"""For what is reserved: fewer than there are, so that it is more than what is asked for."""
OUTPUT_TOKENS: Final = 4_096
"""Reserved for an answer."""
MAX_CALLS: Final = 64
"""Of the model for one answer, with all attempts and crashes."""
_MAX_OWNER_BYTES: Final = 150
_NOT_BILLED: Final = (UsageError, ModelRateLimited)
"""Errors of a model that has not answered: the request was refused before."""


async def paying(
    decomposer: TaskDecomposer, keeper: KeepsBudgets, budget: Mapping[str, Any] | str, context: TaskContext
) -> TaskDecomposer:
    """Return the decomposer with its next answer paid out of ``budget``: the id of one, or the limits of one for this request alone.

    An attempt before this one that broke off may have been paid for: nobody knows, and it is counted so. Raises ``InvalidInput`` for an id
    that is not there.
    """
    if isinstance(budget, str):
        lineage = (await keeper.get(budget)).lineage
    else:
        lineage = (await keeper.open(_own_id(context), Budget.from_dict(budget))).lineage
    owner = _short(f"{context.workflow_id}/{context.run_no}#{context.task_key}")
    for claim in (await keeper.get(lineage[0])).open_calls:
        if claim.owner == owner:
            await keeper.settle(lineage, claim, None)
    client = decomposer.client
    paid = PaidModel(client.model, keeper, lineage, owner, client.spending.prices)
    return decomposer.through(client.through(paid))


async def close_budget(keeper: KeepsBudgets, context: TaskContext) -> None:
    """Say that nobody spends of the request's own budget any more."""
    with suppress(CommandRefused):  # a call whose cost was never settled keeps it open, and counted
        await keeper.close(_own_id(context))


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
            raise BudgetExceeded(
                f"the time of {self._lineage[0]!r} ended while {self.identity!r} was asked",
                hint="give it more seconds=",
                budget_id=self._lineage[0],
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
        """Reserve under the first number that was not settled: each attempt is a call of its own."""
        number = 1
        while True:
            claim = Claim(self._owner, number)
            try:
                return claim, (await self._keeper.reserve(self._lineage, claim, amounts)).left_seconds
            except CommandRefused:
                if number == MAX_CALLS:
                    raise
                number += 1


def _own_id(context: TaskContext) -> str:
    return _short(f"request-{context.workflow_id}")


def _short(name: str) -> str:
    """Return ``name``, or its beginning with a hash of the whole: ids of nested workflows grow."""
    size = len(name.encode())
    return name if size <= _MAX_OWNER_BYTES else f"{name[:30]}~{codec.content_hash(name.encode())}"
