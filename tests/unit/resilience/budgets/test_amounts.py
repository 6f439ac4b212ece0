"""What a budget, an amount and a claim may be, and that money is exact whatever the program set its arithmetic to."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest

from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.resilience import Amounts, Budget, Claim, Sums
from agenticflow.resilience.budgets.amounts import check_budget_id


def test_a_float_counts_as_it_is_written() -> None:
    assert Budget(usd=0.1).money == Decimal("0.1")
    assert Budget(usd=2).money == Budget(usd=Decimal(2)).money == Decimal(2)
    assert Budget().money is None


def test_a_budget_comes_from_plain_data_and_goes_there() -> None:
    plain: dict[str, object] = {"usd": "0.10", "tokens": 5, "seconds": 1.5, "tool_calls": 0}
    budget = Budget.from_dict(plain)
    assert budget == Budget(Decimal("0.10"), 5, 1.5, 0)
    assert budget.to_dict() == plain
    assert Budget.from_dict({"usd": 0.25}).to_dict() == {"usd": "0.25"}
    assert Budget.from_dict({}).to_dict() == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"usd": "much"}, "usd='much'"),
        ({"usd": -1}, "usd=-1"),
        ({"usd": float("nan")}, "usd=nan"),
        ({"usd": Decimal("Infinity")}, "Infinity"),
        ({"usd": Decimal(10) ** 13}, "no amount"),
        ({"usd": True}, "usd=True"),
        ({"usd": []}, r"usd=\[\]"),
        ({"tokens": 1.5}, "tokens=1.5"),
        ({"tokens": True}, "tokens=True"),
        ({"tool_calls": -1}, "tool_calls=-1"),
        ({"tool_calls": 10**16}, "tool_calls="),
        ({"seconds": "1"}, "seconds='1'"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": True}, "seconds=True"),
        ({"dollars": 1}, "no 'dollars'"),
        (5, "5 is no budget"),
    ],
)
def test_a_wrong_budget_is_refused(given: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Budget.from_dict(given)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Budget.from_dict({"usd": -1, "tokens": -1, "seconds": -1, "tool_calls": -1})
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    "given", [{"usd": Decimal(-1)}, {"usd": "x"}, {"tokens": -1}, {"tool_calls": 1.0}, {"tokens": None}]
)
def test_wrong_amounts_are_refused(given: Any) -> None:
    with pytest.raises(InvalidInput):
        Amounts(**given)


def test_what_is_finer_than_can_be_counted_is_rounded_up() -> None:
    assert Amounts(usd=Decimal("0.0000000000001")).usd == Decimal("0.000000000001")
    assert Amounts(usd=Decimal(1) / 3).usd == Decimal("0.333333333334")
    assert Amounts(usd=Decimal("0.000000000001")).usd == Decimal("0.000000000001")


def test_sums_are_exact_in_every_context() -> None:
    with localcontext() as context:
        context.prec = 2
        sums = Sums().plus(Amounts(usd=Decimal("123456789.123456789"), tokens=3)).plus(Amounts(usd=None, tool_calls=1))
        assert sums == Sums(Decimal("123456789.123456789"), 3, 1)
        assert sums.minus(Amounts(usd=Decimal("0.000000789"), tokens=3)) == Sums(Decimal("123456789.123456000"), 0, 1)


@pytest.mark.parametrize("given", [("", 1), ("x" * 201, 1), ("ä" * 101, 1), (7, 1), ("x", 0), ("x", True), ("x", "1")])
def test_a_wrong_claim_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput):
        Claim(*given)


def test_a_claim_reads_well() -> None:
    assert str(Claim("agent-a/1", 7)) == "agent-a/1#7"


@pytest.mark.parametrize("given", ["", "x" * 251, "a\nb", None])
def test_a_wrong_id_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput, match="no budget id"):
        check_budget_id(given)
    check_budget_id("run/orders-7")
