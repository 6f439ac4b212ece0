"""What a budget allows, what a call costs, and who asks: values, with money exact to a millionth of a millionth of a dollar. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["Amounts", "Budget", "Claim", "Sums", "check_budget_id", "plus"]

NANOSECONDS: Final = 1_000_000_000
MAX_USD: Final = Decimal(1_000_000_000_000)
MAX_COUNT: Final = 10**15
MAX_SECONDS: Final = 10.0**10
MAX_ID_CHARS: Final = 250
MAX_OWNER_BYTES: Final = 200
MAX_NUMBER: Final = 10**9
_PLACES: Final = Decimal("1E-12")
# Not the context of the thread, which a program may have set to few digits: sums of the largest amounts fit exactly.
_EXACT: Final = Context(prec=64, rounding=ROUND_CEILING)
_ZERO: Final = Decimal(0)


def plus(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact sum."""
    return _EXACT.add(left, right)


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """``Budget(usd=0.5, tokens=200_000)``: what may be spent. What is left out is counted, and not limited.

    Raises ``DefinitionError`` for what is no number of at least 0.
    """

    usd: Decimal | float | None = None
    """Money. A float counts as it is written: ``0.1`` is a tenth."""
    tokens: int | None = None
    """Input and output together."""
    seconds: float | None = None
    """Time from the opening of the budget on, by the clock on the wall: also while nothing runs."""
    tool_calls: int | None = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        if self.usd is not None:
            usd = _money(self.usd)
            if usd is None:
                problems.append(f"usd={self.usd!r:.50} is no amount from 0 to {MAX_USD:,}")
            else:
                msgspec.structs.force_setattr(self, "usd", usd)
        for name in ("tokens", "tool_calls"):
            count: object = getattr(self, name)
            if count is not None and not _is_count(count):
                problems.append(f"{name}={count!r:.50} is no whole number from 0 to {MAX_COUNT:,}")
        seconds: object = self.seconds
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MAX_SECONDS
        ):
            problems.append(f"seconds={seconds!r:.50} is no number from 0 to {MAX_SECONDS:,.0f}")
        elif seconds is not None:
            msgspec.structs.force_setattr(self, "seconds", float(seconds))
        if problems:
            raise DefinitionError(f"a budget is wrong: {'; '.join(problems)}", problems=problems)

    @property
    def money(self) -> Decimal | None:
        """``usd``, exact."""
        return None if self.usd is None else Decimal(self.usd)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Budget:
        """Return the budget in ``data``, by the names of its fields; ``usd`` also as text. Raises ``DefinitionError``."""
        if not isinstance(data, Mapping):
            raise DefinitionError(f"{data!r:.50} is no budget", hint='write {"usd": 0.5, "tokens": 200000}')
        unknown = sorted(str(name) for name in set(data) - set(cls.__struct_fields__))
        if unknown:
            raise DefinitionError(
                f"a budget has no {', '.join(map(repr, unknown))}",
                hint=f"there are {', '.join(cls.__struct_fields__)}",
            )
        given: dict[str, Any] = dict(data)
        return cls(**given)

    def to_dict(self) -> dict[str, object]:
        """Return what ``from_dict`` takes, plain; money as text, so that nothing is lost."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.usd is not None:
            found["usd"] = f"{self.money:f}"
        return {name: value for name, value in found.items() if value is not None}


class Amounts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a call may cost at most, or has cost. Raises ``InvalidInput`` for what is no amount of at least 0."""

    usd: Decimal | None = _ZERO
    """``None`` when nobody knows the price: then its tokens are counted, and reported as unpriced."""
    tokens: int = 0
    tool_calls: int = 0

    def __post_init__(self) -> None:
        if self.usd is not None:
            usd = _money(self.usd)
            if usd is None:
                raise InvalidInput(
                    f"usd={self.usd!r:.50} is no amount", hint=f"give a Decimal from 0 to {MAX_USD:,}, or None"
                )
            msgspec.structs.force_setattr(self, "usd", usd)
        for name in ("tokens", "tool_calls"):
            count: object = getattr(self, name)
            if not _is_count(count):
                raise InvalidInput(f"{name}={count!r:.50} is no amount", hint=f"give 0 to {MAX_COUNT:,}")

    @property
    def known_usd(self) -> Decimal:
        """``usd`` as far as it is known."""
        return _ZERO if self.usd is None else self.usd


class Sums(msgspec.Struct, frozen=True, omit_defaults=True):
    """What many calls come to, exactly; money as far as it is known."""

    usd: Decimal = _ZERO
    tokens: int = 0
    tool_calls: int = 0

    def plus(self, amounts: Amounts) -> Sums:
        """Return the sums with one call more."""
        return Sums(
            plus(self.usd, amounts.known_usd),
            self.tokens + amounts.tokens,
            self.tool_calls + amounts.tool_calls,
        )

    def minus(self, amounts: Amounts) -> Sums:
        """Return the sums with one call less."""
        return Sums(
            _EXACT.subtract(self.usd, amounts.known_usd),
            self.tokens - amounts.tokens,
            self.tool_calls - amounts.tool_calls,
        )


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """One call that wants something from a budget: who makes it, and the how-many-th of theirs it is.

    ``owner`` is whoever decides about its calls one after the other and finds them again after a crash: the stream of an execution.
    Numbers rise; a number is never used for another call. Raises ``InvalidInput``.
    """

    owner: str
    number: int

    def __post_init__(self) -> None:
        owner: object = self.owner
        if not isinstance(owner, str) or not 1 <= len(owner.encode("utf-8", "replace")) <= MAX_OWNER_BYTES:
            raise InvalidInput(f"{owner!r:.80} owns no calls", hint=f"give 1 to {MAX_OWNER_BYTES} bytes of text")
        number: object = self.number
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_NUMBER:
            raise InvalidInput(f"{number!r:.50} numbers no call", hint=f"give 1 to {MAX_NUMBER:,}")

    def __str__(self) -> str:
        return f"{self.owner}#{self.number}"


def check_budget_id(budget_id: object) -> None:
    """Raise ``InvalidInput`` for what no budget can be called."""
    if not isinstance(budget_id, str) or not 1 <= len(budget_id) <= MAX_ID_CHARS or not budget_id.isprintable():
        raise InvalidInput(f"{budget_id!r:.80} is no budget id", hint=f"use 1 to {MAX_ID_CHARS} printable characters")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _money(value: object) -> Decimal | None:
    """Return ``value`` exactly, what is finer than can be counted rounded up; ``None`` for what is no amount."""
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, float, str)):
        return None
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        return None
    exponent = amount.as_tuple().exponent
    is_fine = isinstance(exponent, int) and exponent >= -12
    return amount if is_fine else _EXACT.quantize(amount, _PLACES)
