"""The order as a function: wherever it fails, the shop is as if the order had not been; two days of patience pass in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from examples import order_as_code
from examples.order_as_code import ARTICLES, STEPS, Shop, main

TWO_DAYS = 2 * 86_400.0
DONE = ["validated", "lamp reserved", "desk reserved", "charged to gold", "confirmed", "shipped"]
UNDONE = ["parcel p-1 called back", "confirmation withdrawn", "refunded", "desk released", "lamp released"]
LEFT_AT = {"reserve": (2, 4), "charge": (3, 3), "confirm": (4, 2), "ship": (5, 1), "collect": (6, 0)}
"""How much was done before it failed there, and where undoing began."""


async def placed() -> tuple[dict[str, tuple[str, list[str]]], float]:
    """Place all orders; return what became of each, and how many seconds that took."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    began = loop.time()
    order_as_code.shop = Shop()
    ends = await main(TWO_DAYS, clock=loop.clock)
    return ends, loop.time() - began


def test_whatever_step_fails_the_shop_is_as_if_the_order_had_not_been() -> None:
    ends, seconds = run_virtual(placed())
    assert set(ends) == {"nothing", *STEPS}
    assert ends["nothing"] == ("COMPLETED", DONE)
    assert ends["validate"] == ("FAILED", [])
    for step, (done, undone_from) in LEFT_AT.items():
        assert ends[step] == ("COMPENSATED", DONE[:done] + UNDONE[undone_from:]), step
    assert order_as_code.shop.stock == dict.fromkeys(ARTICLES, 2)
    assert order_as_code.shop.balance_cents == 4_900
    assert TWO_DAYS <= seconds < TWO_DAYS + 60, "only the order that nobody collects waits for its deadline"


def test_the_program_says_why_each_order_failed(capsys: pytest.CaptureFixture[str]) -> None:
    run_virtual(placed())
    shown = capsys.readouterr().out
    assert "'card': 'gold', 'parcel': 'p-1', 'by': 'Ada'" in shown
    assert "no card takes it: expired, gold" in shown
    assert "step 'reserve-desk' failed" in shown
    assert "nobody has collected it in time" in shown
