"""The forty requests of ``benchmarks/decompositions.py``: what becomes of each answer of a model, and why."""

from __future__ import annotations

from collections import Counter

import pytest

from agenticflow.agents.decomposition import Doer
from benchmarks.decompositions import REQUESTS, TWELVE, Request, judge, staff, table
from tests.docs.decompositions import PAGE, PART
from tests.docs.written_parts import part


@pytest.fixture(scope="module")
def doers() -> list[Doer]:
    return staff()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.name)
def test_the_verdict_and_its_reason(request_: Request, doers: list[Doer]) -> None:
    verdict, reading, planned = judge(request_.answer, doers)
    words = (*reading.repairs, *reading.problems, *planned.repairs, *planned.problems)
    assert verdict == request_.verdict, words
    assert any(request_.why in word for word in words) or not request_.why, words
    assert (planned.plan is None) == (verdict == "rejected")


def test_the_report_counts_them() -> None:
    assert Counter(one.verdict for one in REQUESTS) == {"accepted": 10, "repaired": 17, "rejected": 13}
    assert table()[-1] == (
        "40 requests: 10 accepted, 17 repaired, 13 rejected, of which 7 came to a plan when the answer was given back."
    )


def test_the_page_shows_them() -> None:
    assert part(PAGE.read_text(encoding="utf-8"), PART) == "\n".join(table()), "run `make names`"


def test_the_same_answer_comes_to_the_same_plan(doers: list[Doer]) -> None:
    for request in REQUESTS:
        assert judge(request.answer, doers) == judge(request.answer, doers)


def test_twelve_steps_are_as_wide_as_they_may_be(doers: list[Doer]) -> None:
    _, _, planned = judge(TWELVE, doers)
    plan = planned.plan
    assert plan is not None
    assert (plan.depth, plan.width) == (4, 4)
    assert set(plan.left_out) == {
        *(f"load_{n} -> draw_{n}" for n in range(3)),
        *(f"sums_{n} -> text" for n in range(3)),
    }
