"""The order that is undone wherever it fails: what it leaves behind is what the order that went through left behind."""

from __future__ import annotations

from examples import order_saga
from examples.order_saga import STEPS, Shop, main


async def test_whatever_step_fails_the_shop_is_as_if_the_order_had_not_been() -> None:
    order_saga.shop = Shop()
    ends = await main()
    assert ends["nothing"] == ("COMPLETED", ["validated", "reserved", "charged", "confirmed", "shipped", "notified"])
    assert set(ends) == {"nothing", *STEPS}
    assert {name for name, (status, _) in ends.items() if status == "COMPENSATED"} == set(STEPS[2:])
    assert (order_saga.shop.stock["lamp"], order_saga.shop.balance_cents) == (2, 4_900)
    for status, diary in ends.values():
        if status == "COMPENSATED":
            undone = [
                what for what in diary if what in ("refunded", "released") or "withdrawn" in what or "back" in what
            ]
            assert undone[-1] == "released", "the first thing done is the last undone"
            assert diary[-len(undone) :] == undone
