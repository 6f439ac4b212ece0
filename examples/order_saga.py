"""An order that is undone wherever it fails: stock is released, money is refunded, the last step first.

Six steps: validate, reserve, charge, confirm, ship, notify. The program places an order that goes through, and then one that fails at each
step in turn, and prints what was done and undone. Run it: ``python examples/order_saga.py``.
"""

from __future__ import annotations

import asyncio

from agenticflow import (
    Compensation,
    Orchestrator,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    worker,
)

STEPS = ("validate", "reserve", "charge", "confirm", "ship", "notify")
ONCE = RetryPolicy(max_attempts=1)


class Shop:
    """The outside world: what is in stock, what was paid, and a diary of everything that happened."""

    def __init__(self) -> None:
        self.stock = {"lamp": 3}
        self.balance_cents = 0
        self.diary: list[str] = []

    def note(self, what: str) -> None:
        self.diary.append(what)


shop = Shop()


def fails_here(context: TaskContext) -> None:
    """Each order says at which step it is to fail."""
    if context["fail_at"] == context.task_id:
        raise RuntimeError(f"{context.task_id} does not work today")


@worker("validate")
async def validate(article: str, cents: int, context: TaskContext) -> None:
    fails_here(context)
    shop.note("validated")


@worker("reserve")
async def reserve(article: str, context: TaskContext) -> dict[str, str]:
    fails_here(context)
    shop.stock[article] -= 1
    shop.note("reserved")
    return {"article": article}


@worker("release")
async def release(article: str) -> None:
    shop.stock[article] += 1
    shop.note("released")


@worker("charge")
async def charge(cents: int, context: TaskContext) -> dict[str, int]:
    fails_here(context)
    shop.balance_cents += cents
    shop.note("charged")
    return {"cents": cents}


@worker("refund")
async def refund(cents: int) -> None:
    shop.balance_cents -= cents
    shop.note("refunded")


@worker("confirm")
async def confirm(context: TaskContext) -> None:
    fails_here(context)
    shop.note("confirmed")


@worker("withdraw_confirmation")
async def withdraw_confirmation() -> None:
    shop.note("confirmation withdrawn")


@worker("ship")
async def ship(context: TaskContext) -> dict[str, str]:
    fails_here(context)
    shop.note("shipped")
    return {"parcel": "p-1"}


@worker("call_back")
async def call_back(parcel: str) -> None:
    shop.note(f"parcel {parcel} called back")


@worker("notify")
async def notify(context: TaskContext) -> None:
    fails_here(context)
    shop.note("notified")


WORKERS = (validate, reserve, release, charge, refund, confirm, withdraw_confirmation, ship, call_back, notify)

order = WorkflowDefinition(
    [
        TaskDefinition(
            "validate", "validate", params={"article": "${article}", "cents": "${cents}"}, retry_policy=ONCE
        ),
        TaskDefinition(
            "reserve",
            "reserve",
            params={"article": "${article}"},
            dependencies={"validate"},
            retry_policy=ONCE,
            compensation="release",
        ),
        TaskDefinition(
            "charge",
            "charge",
            params={"cents": "${cents}"},
            dependencies={"reserve"},
            retry_policy=ONCE,
            compensation=Compensation("refund", params={"cents": "${charge.cents}"}),
        ),
        TaskDefinition(
            "confirm", "confirm", dependencies={"charge"}, retry_policy=ONCE, compensation="withdraw_confirmation"
        ),
        TaskDefinition(
            "ship",
            "ship",
            dependencies={"confirm"},
            retry_policy=ONCE,
            compensation=Compensation("call_back", params={"parcel": "${ship.parcel}"}),
        ),
        TaskDefinition("notify", "notify", dependencies={"ship"}, retry_policy=ONCE),
    ],
    name="order",
)


async def place(orchestrator: Orchestrator, fail_at: str | None) -> tuple[str, list[str]]:
    """Place one order; return how it ended, and what happened on the way."""
    shop.diary.clear()
    given = {"article": "lamp", "cents": 4_900, "fail_at": fail_at}
    try:
        await orchestrator.execute_workflow(order, given, workflow_id=f"order-{fail_at or 'good'}")
    except WorkflowExecutionError as error:
        return error.status, list(shop.diary)
    return "COMPLETED", list(shop.diary)


async def main() -> dict[str, tuple[str, list[str]]]:
    """Place all orders and return what became of each."""
    ends: dict[str, tuple[str, list[str]]] = {}
    async with Orchestrator(store="memory:") as orchestrator:
        for each in WORKERS:
            orchestrator.register_worker(each)
        for fail_at in (None, *STEPS):
            ends[fail_at or "nothing"] = await place(orchestrator, fail_at)
    for name, (status, diary) in ends.items():
        print(f"fails at {name:<9} {status:<11} {', '.join(diary) or '-'}")
    # Only the order that went through has left something behind.
    print(f"in stock: {shop.stock['lamp']} of 3, paid: {shop.balance_cents / 100:.2f}")
    return ends


if __name__ == "__main__":
    asyncio.run(main())
