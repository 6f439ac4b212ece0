"""What calls cost: counted exactly where it is known, and reported where it is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agenticflow.agents.model import Cost, FinishReason, ModelResponse, Price, PriceTable, Spending, Usage
from agenticflow.agents.model.prices import MAX_NAMED_MODELS, OTHER_MODELS
from agenticflow.errors import DefinitionError
from agenticflow.resilience import Amounts

TABLE = PriceTable.from_dict(
    {
        "openai:small": {"input_per_million": 0.1, "output_per_million": "0.4", "cached_input_per_million": 0},
        "openai:*": {"input_per_million": 10, "output_per_million": 40},
        "openai:big-*": {"input_per_million": 100, "output_per_million": 400, "cache_write_per_million": 125},
        "local:*": {"input_per_million": 0, "output_per_million": 0, "currency": "EUR", "as_of": "2026-11-28"},
    }
)


def answered(usage: Usage | None, lost: Usage | None = None) -> ModelResponse:
    return ModelResponse(parts=(), finish_reason=FinishReason.STOP, usage=usage, lost_usage=lost)


@pytest.mark.parametrize(
    ("model", "usage", "amount"),
    [
        ("openai:small", Usage(3_000_000, 1_000_000), "0.7"),
        ("openai:small", Usage(3, 1), "0.0000007"),
        ("openai:small", Usage(3_000_000, 0, cached_input_tokens=2_000_000), "0.1"),
        ("openai:other", Usage(1_000_000, 1_000_000), "50"),
        ("openai:big-one", Usage(2_000_000, 0, cache_write_tokens=1_000_000), "225"),
        ("openai:big-one", Usage(), "0"),
        # a price that is needed is not given
        ("openai:big-one", Usage(10, 10, cached_input_tokens=1), None),
        ("openai:other", Usage(10, 10, cache_write_tokens=1), None),
        ("anthropic:claude", Usage(10, 10), None),
    ],
)
def test_the_cost_of_a_call_is_exact_or_not_known(model: str, usage: Usage, amount: str | None) -> None:
    cost = TABLE.cost_of(model, usage)
    assert cost == (None if amount is None else Cost(Decimal(amount), "USD"))


def test_an_exact_name_wins_then_the_longest_beginning() -> None:
    assert TABLE.price_of("openai:small") != TABLE.price_of("openai:small-2") == TABLE.price_of("openai:x")
    assert TABLE.price_of("openai:big-one") != TABLE.price_of("openai:x")
    assert TABLE.price_of("gone:x") is None


def test_spending_is_known_by_currency_and_the_rest_is_reported() -> None:
    spending = Spending(TABLE)
    spending.add("openai:other", answered(Usage(1_000_000, 0), lost=Usage(500_000, 0)))
    spending.add("local:qwen", answered(Usage(5, 5)))
    assert (spending.is_complete, spending.amounts) == (True, {"USD": Decimal(15), "EUR": Decimal(0)})
    spending.add("anthropic:claude", answered(Usage(10, 1)))
    spending.add("anthropic:claude", answered(Usage(10, 1)))
    spending.add("anthropic:claude", answered(Usage()))
    spending.add("openai:other", answered(None))
    spending.add("openai:other", answered(None))
    assert not spending.is_complete
    assert spending.unpriced == {"anthropic:claude": Usage(20, 2)}
    assert spending.unmetered == {"openai:other": 2}
    assert spending.amounts == {"USD": Decimal(15), "EUR": Decimal(0)}
    assert (spending.calls, spending.usage) == (7, Usage(1_500_025, 7))


def test_spending_without_prices_counts_tokens_and_guesses_nothing() -> None:
    spending = Spending()
    spending.add("openai:small", answered(Usage(1, 2)))
    assert (spending.usage, spending.amounts, spending.is_complete) == (Usage(1, 2), {}, False)


def test_what_is_not_known_is_bounded() -> None:
    spending = Spending()
    for number in range(MAX_NAMED_MODELS):
        spending.add(f"openai:{number}", answered(Usage(1, 1)))
    spending.add("openai:0", answered(Usage(1, 1)))
    for number in range(2):
        spending.add(f"openai:new-{number}", answered(Usage(1, 1)))
    assert len(spending.unpriced) == MAX_NAMED_MODELS + 1
    assert (spending.unpriced["openai:0"], spending.unpriced[OTHER_MODELS]) == (Usage(2, 2), Usage(2, 2))


def test_every_mistake_of_a_table_is_told() -> None:
    with pytest.raises(DefinitionError) as caught:
        PriceTable.from_dict(
            {
                "a:b": {"input_per_million": -1, "output_per_million": 1},
                "a:c": {"input_per_million": "NaN", "output_per_million": 1},
                "a:d": {"output_per_million": 1},
                "a:e": {"input_per_million": "much", "output_per_million": 1},
                "a:f": {"input_per_million": 1, "output_per_million": 1, "per_image": 3},
                "a:g": 7,  # type: ignore[dict-item]  # what a file may hold
                "a:h": {"input_per_million": 1, "output_per_million": 1},
            }
        )
    assert [problem[:3] for problem in caught.value.problems] == ["a:b", "a:c", "a:d", "a:e", "a:f", "a:g"]
    assert "'per_image'" in caught.value.problems[4]


def test_a_price_is_of_a_model_of_a_provider() -> None:
    with pytest.raises(DefinitionError, match="'gpt' names no model"):
        PriceTable({"gpt": Price(input_per_million=Decimal(1), output_per_million=Decimal(1))})


def test_what_a_budget_counts() -> None:
    prices = PriceTable(
        {
            "a:dollars": Price(input_per_million=Decimal(2), output_per_million=Decimal(10)),
            "a:euros": Price(input_per_million=Decimal(2), output_per_million=Decimal(10), currency="EUR"),
        }
    )
    assert prices.amounts_of("a:dollars", Usage(500, 100)) == Amounts(usd=Decimal("0.002"), tokens=600)
    assert prices.amounts_of("a:euros", Usage(500, 100)) == Amounts(usd=None, tokens=600)
    assert prices.amounts_of("a:unknown", Usage(500, 100)) == Amounts(usd=None, tokens=600)
