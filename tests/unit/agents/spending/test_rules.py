"""What is reserved for a request, what an answer has cost, and what a task may name as its budget."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending.rules import amounts_of_answer, amounts_of_request, budget_in, is_not_billed
from agenticflow.errors import (
    AgenticFlowError,
    ContentRefused,
    InvalidInput,
    ModelAccessDenied,
    ModelRateLimited,
    ModelTimeout,
)
from agenticflow.resilience.budgets import Amounts, Budget

PRICES = PriceTable.from_dict({"openai:m": {"input_per_million": 1_000, "output_per_million": 10_000}})


def test_more_is_reserved_than_a_request_has_tokens_and_an_answer_without_a_limit_may_be_long() -> None:
    assert amounts_of_request(PRICES, "openai:m", 299, 100) == Amounts(usd=Decimal("1.1"), tokens=200)
    assert amounts_of_request(PRICES, "local:m", 0) == Amounts(usd=None, tokens=4_097)


def test_an_answer_costs_what_it_used_and_what_broke_off_before_it() -> None:
    assert amounts_of_answer(PRICES, "openai:m", Usage(10, 5)) == Amounts(usd=Decimal("0.06"), tokens=15)
    assert amounts_of_answer(PRICES, "openai:m", Usage(10, 5), Usage(0, 1)) == Amounts(usd=Decimal("0.07"), tokens=16)
    assert amounts_of_answer(PRICES, "openai:m", None, Usage(0, 1)) is None


@pytest.mark.parametrize(
    ("error", "is_free"),
    [
        (ModelRateLimited("later"), True),
        (ModelAccessDenied("no"), True),
        (ModelTimeout("silence"), False),
        (ContentRefused("not that"), False),
    ],
)
def test_what_was_refused_before_it_was_answered_costs_nothing(error: AgenticFlowError, is_free: bool) -> None:
    assert is_not_billed(error) is is_free


def test_a_budget_is_limits_or_the_id_of_one() -> None:
    assert budget_in(None) is None
    assert budget_in("team") == "team"
    assert budget_in({"usd": "0.5"}) == budget_in(Budget(usd=0.5)) == Budget(usd=0.5)
    for wrong in (5, "", ["usd"]):
        with pytest.raises(InvalidInput, match="the budget is"):
            budget_in(wrong)
