"""What is reserved for a call, what it has cost, and which calls cost nothing. Pure.

A price that nobody knows is never guessed: then tokens are reserved, and the budget says that they are unpriced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.responses import Usage
from agenticflow.errors import InvalidInput, ModelRateLimited, UsageError
from agenticflow.resilience.budgets.amounts import Amounts, Budget

__all__ = ["OUTPUT_TOKENS", "TOOL_CALL", "amounts_of_answer", "amounts_of_request", "budget_in", "is_not_billed"]

CHARS_PER_TOKEN: Final = 3
"""For what is reserved: fewer than there are, so that it is more than what is asked for."""
OUTPUT_TOKENS: Final = 4_096
"""Reserved for an answer whose length nobody limits."""
TOOL_CALL: Final = Amounts(tool_calls=1)


def amounts_of_request(prices: PriceTable, model: str, chars: int, max_output_tokens: int | None = None) -> Amounts:
    """Return what a request of so many characters to ``model`` (``provider:name``) may cost at most."""
    return prices.amounts_of(model, Usage(chars // CHARS_PER_TOKEN + 1, max_output_tokens or OUTPUT_TOKENS))


def amounts_of_answer(prices: PriceTable, model: str, used: Usage | None, lost: Usage | None = None) -> Amounts | None:
    """Return what an answer has cost, with what attempts that broke off had ``lost``; ``None`` when nobody told what it ``used``."""
    if used is None:
        return None
    return prices.amounts_of(model, used if lost is None else used + lost)


def is_not_billed(error: BaseException) -> bool:
    """Whether a call of a model that raised ``error`` was refused before the model answered, for certain."""
    return isinstance(error, (UsageError, ModelRateLimited))


def budget_in(given: object) -> Budget | str | None:
    """Return the budget that a task's params, or a caller, name: limits, also as a mapping, or the id of an open one.

    Raises ``InvalidInput`` for anything else, ``DefinitionError`` for limits that are wrong.
    """
    if given is None or isinstance(given, Budget) or (isinstance(given, str) and given):
        return given
    if isinstance(given, Mapping):
        return Budget.from_dict(given)
    raise InvalidInput(
        f"the budget is {given!r:.60}",
        hint='give Budget(usd=0.5), {"usd": 0.5} or the id of an open one; call it otherwise when the model shall read it',
    )
