"""What planning costs: each answer of a model is reserved in a budget before it is asked for, and settled after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any, Final

from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.model.deltas import Delta, deltas_of
from agenticflow.agents.model.parts import pack_messages
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import ModelResponse
from agenticflow.agents.spending.purse import Accounts, Purse
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.errors import CommandRefused
from agenticflow.resilience.budgets import Amounts, Budget, Claim, KeepsBudgets

__all__ = ["PaidModel", "close_budget", "paying"]

MAX_CALLS: Final = 64
"""Of the model for one answer, with all attempts and crashes."""
_MAX_OWNER_BYTES: Final = 150


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
    client = decomposer.client
    purse = Purse(Accounts(keeper, client.spending.prices), lineage)
    owner = _short(f"{context.workflow_id}/{context.run_no}#{context.task_key}")
    for claim in await purse.left_open(owner):
        if claim.owner == owner:
            await purse.settle(claim, None)
    return decomposer.through(client.through(PaidModel(client.model, purse, owner)))


async def close_budget(keeper: KeepsBudgets, context: TaskContext) -> None:
    """Say that nobody spends of the request's own budget any more."""
    with suppress(CommandRefused):  # a call whose cost was never settled keeps it open, and counted
        await keeper.close(_own_id(context))


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
        claim, left_seconds = await self._reserved(purse.wanted(self.identity, chars, request.max_output_tokens))
        try:
            response = await purse.within_time(self.identity, claim, left_seconds, lambda: self._model.respond(request))
        except Exception:
            await purse.settle_rest()
            raise
        await purse.settle_answer(claim, self.identity, response.usage, response.lost_usage)
        return response

    async def _reserved(self, amounts: Amounts) -> tuple[Claim, float | None]:
        """Reserve under the first number that was not settled: each attempt is a call of its own."""
        number = 1
        while True:
            claim = Claim(self._owner, number)
            try:
                return claim, (await self._purse.reserve(claim, amounts)).left_seconds
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
