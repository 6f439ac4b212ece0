"""What calls of models cost, by a table that the program gives. Pure.

There is no built-in table: prices change without notice, and a wrong one is worse than none. A model that is not in the table, a token
whose price is not given, and a call whose usage the provider did not tell are reported, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from agenticflow.agents.model.responses import ModelResponse, Usage
from agenticflow.errors import DefinitionError
from agenticflow.resilience.budgets.amounts import Amounts

__all__ = ["Cost", "Price", "PriceTable", "Spending"]

MILLION: Final = Decimal(1_000_000)
MAX_NAMED_MODELS: Final = 1_000
OTHER_MODELS: Final = "others"
"""What all models beyond so many are counted as: an answer that was paid for is never lost to its bill."""


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Of a million tokens, in ``currency``. ``None`` means not known: a call that uses such tokens has no known cost."""

    input_per_million: Decimal
    output_per_million: Decimal
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    currency: str = "USD"
    as_of: str = ""
    """When somebody looked, for people."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__[:4]:
            amount = getattr(self, name)
            if amount is not None and not (amount.is_finite() and amount >= 0):
                raise DefinitionError(f"{name} of a price is {amount}", hint="give a number of at least 0")

    def of(self, usage: Usage) -> Decimal | None:
        """Return what ``usage`` costs; ``None`` when a price it needs is not known."""
        total = Decimal(0)
        plain_input = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
        for tokens, price in (
            (plain_input, self.input_per_million),
            (usage.output_tokens, self.output_per_million),
            (usage.cached_input_tokens, self.cached_input_per_million),
            (usage.cache_write_tokens, self.cache_write_per_million),
        ):
            if not tokens:
                continue
            if price is None:
                return None
            total += tokens * price / MILLION
        return total


class Cost(msgspec.Struct, frozen=True):
    """An amount of money."""

    amount: Decimal
    currency: str


class PriceTable:
    """Prices by model: ``openai:gpt-5``, or ``local:*`` for all whose name begins so. An exact name wins, then the longest beginning."""

    __slots__ = ("_prices",)

    def __init__(self, prices: Mapping[str, Price]) -> None:
        for name in prices:
            if ":" not in name:
                raise DefinitionError(f"{name!r} names no model", hint="write provider:model, or provider:*")
        self._prices = dict(prices)

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, object]]) -> PriceTable:
        """Return the table in ``data``, model by model with the names of ``Price``'s fields. Raises ``DefinitionError``."""
        problems: list[str] = []
        prices: dict[str, Price] = {}
        for name, row in data.items():
            try:
                plain = {key: str(item) if isinstance(item, float) else item for key, item in dict(row).items()}
                unknown = sorted(set(plain) - set(Price.__struct_fields__))
                if unknown:
                    raise ValueError(f"a price has no {', '.join(map(repr, unknown))}")
                prices[name] = msgspec.convert(plain, Price)
            except (msgspec.ValidationError, DefinitionError, TypeError, ValueError) as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise DefinitionError(f"the table of prices is wrong: {'; '.join(problems)}", problems=problems)
        return cls(prices)

    def price_of(self, model: str) -> Price | None:
        """Return the price of ``model`` (``provider:name``), ``None`` when it is not known."""
        if model in self._prices:
            return self._prices[model]
        beginnings = [name for name in self._prices if name.endswith("*") and model.startswith(name[:-1])]
        return self._prices[max(beginnings, key=len)] if beginnings else None

    def cost_of(self, model: str, usage: Usage) -> Cost | None:
        """Return what ``usage`` of ``model`` costs, ``None`` when that is not known."""
        price = self.price_of(model)
        amount = price.of(usage) if price is not None else None
        return None if price is None or amount is None else Cost(amount, price.currency)

    def amounts_of(self, model: str, usage: Usage) -> Amounts:
        """Return what a budget counts for ``usage`` of ``model``: its tokens, and dollars when the price is known, and in dollars."""
        cost = self.cost_of(model, usage)
        return Amounts(
            usd=cost.amount if cost is not None and cost.currency == "USD" else None, tokens=usage.total_tokens
        )


class Spending:
    """What calls cost together, and what of it nobody knows. Mutable and private to whoever counts."""

    __slots__ = ("amounts", "calls", "prices", "unmetered", "unpriced", "usage")

    def __init__(self, prices: PriceTable | None = None) -> None:
        self.prices = prices or PriceTable({})
        self.calls = 0
        self.usage = Usage()
        self.amounts: dict[str, Decimal] = {}
        """What is known, by currency."""
        self.unpriced: dict[str, Usage] = {}
        """By model: tokens whose price is not known."""
        self.unmetered: dict[str, int] = {}
        """By model: calls whose usage the provider did not tell."""

    @property
    def is_complete(self) -> bool:
        """Whether ``amounts`` is all there is."""
        return not self.unpriced and not self.unmetered

    def add(self, model: str, response: ModelResponse) -> None:
        """Count one answer of ``model`` (``provider:name``), with what attempts that broke off had used."""
        self.calls += 1
        if response.usage is None:
            name = _named(self.unmetered, model)
            self.unmetered[name] = self.unmetered.get(name, 0) + 1
        for usage in (response.usage, response.lost_usage):
            if usage is None:
                continue
            self.usage += usage
            cost = self.prices.cost_of(model, usage)
            if cost is not None:
                self.amounts[cost.currency] = self.amounts.get(cost.currency, Decimal(0)) + cost.amount
            elif usage.total_tokens:
                name = _named(self.unpriced, model)
                self.unpriced[name] = self.unpriced.get(name, Usage()) + usage


def _named(by_model: Mapping[str, object], model: str) -> str:
    return model if model in by_model or len(by_model) < MAX_NAMED_MODELS else OTHER_MODELS
