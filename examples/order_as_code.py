"""An order as a function: articles are reserved side by side, cards tried one after the other, and whatever fails is undone.

The workflow is Python: a loop over the customer's cards, ``try`` and ``except``, a wait with a deadline. Each step is recorded under its
key, so a crash repeats none that has ended. The program places an order that goes through with the second card, one that fails at each
step in turn, and one that nobody collects in time, and prints what was done and undone. Run it: ``python examples/order_as_code.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from agenticflow import (
    Compensation,
    Orchestrator,
    PermanentError,
    StepFailed,
    TaskContext,
    WorkflowContext,
    WorkflowExecutionError,
    worker,
    workflow,
)

STEPS = ("validate", "reserve", "charge", "confirm", "ship", "collect")
ARTICLES = ("lamp", "desk")


class CardDeclined(PermanentError):
    """The bank says no: the same card will not be better in a second."""


class Shop:
    """The outside world: what is in stock, what was paid, and a diary of everything that happened."""

    def __init__(self) -> None:
        self.stock = Counter({"lamp": 3, "desk": 3})
        self.balance_cents = 0
        self.diary: list[str] = []

    def note(self, what: str) -> None:
        self.diary.append(what)


shop = Shop()


def fails_here(step: str, context: TaskContext) -> None:
    """Each order says at which step it is to fail."""
    if context["fail_at"] == step:
        raise PermanentError(f"{step} does not work today")


@worker("validate")
async def validate(articles: list[str], cents: int, context: TaskContext) -> None:
    fails_here("validate", context)
    shop.note("validated")


@worker("reserve")
async def reserve(article: str, context: TaskContext) -> None:
    if article == ARTICLES[-1]:  # the one before it has to be given back
        fails_here("reserve", context)
    shop.stock[article] -= 1
    shop.note(f"{article} reserved")


@worker("release")
async def release(article: str) -> None:
    shop.stock[article] += 1
    shop.note(f"{article} released")


@worker("charge")
async def charge(card: str, cents: int, context: TaskContext) -> dict[str, object]:
    if card == "expired" or context["fail_at"] == "charge":
        raise CardDeclined(f"the card {card!r} is declined")
    shop.balance_cents += cents
    shop.note(f"charged to {card}")
    return {"card": card, "cents": cents}


@worker("refund")
async def refund(cents: int) -> None:
    shop.balance_cents -= cents
    shop.note("refunded")


@worker("confirm")
async def confirm(context: TaskContext) -> None:
    fails_here("confirm", context)
    shop.note("confirmed")


@worker("withdraw")
async def withdraw() -> None:
    shop.note("confirmation withdrawn")


@worker("ship")
async def ship(context: TaskContext) -> dict[str, str]:
    fails_here("ship", context)
    shop.note("shipped")
    return {"parcel": "p-1"}


@worker("call_back")
async def call_back(parcel: str) -> None:
    shop.note(f"parcel {parcel} called back")


WORKERS = (validate, reserve, release, charge, refund, confirm, withdraw, ship, call_back)


async def pay(ctx: WorkflowContext, cards: list[str], cents: int) -> str:
    """Return the first card that takes it. Steps may be asked for anywhere: what counts is their key."""
    declined = []
    for number, card in enumerate(cards, 1):
        key = f"charge-{number}"
        undo = Compensation("refund", params={"cents": cents})
        try:
            await ctx.task(key, "charge", {"card": card, "cents": cents}, compensation=undo)
        except StepFailed as failed:
            if failed.kind != "CardDeclined":
                raise
            declined.append(card)
        else:
            return card
    raise PermanentError(f"no card takes it: {', '.join(declined)}")


@workflow
async def order(ctx: WorkflowContext, input: dict[str, Any]) -> dict[str, str]:
    """Take an order to its end, or raise: then what was done is undone, the last step first."""
    articles, cents = input["articles"], input["cents"]
    await ctx.task("validate", "validate", {"articles": articles, "cents": cents})
    await ctx.gather(
        *(ctx.task(f"reserve-{one}", "reserve", {"article": one}, compensation="release") for one in articles)
    )
    card = await pay(ctx, input["cards"], cents)
    await ctx.task("confirm", "confirm", compensation="withdraw")
    called_back = Compensation("call_back", params={"parcel": "${ship.parcel}"})
    parcel = await ctx.task("ship", "ship", compensation=called_back)
    collected, late = ctx.signal("collected"), ctx.sleep("late", input["patience_seconds"])
    if await ctx.first(collected, late) is late:
        raise PermanentError("nobody has collected it in time")
    return {"card": card, "parcel": parcel["parcel"], "by": collected.result()}


async def place(orchestrator: Orchestrator, fail_at: str | None, patience_seconds: float) -> tuple[str, list[str]]:
    """Place one order; return how it ended, and what happened on the way."""
    shop.diary.clear()
    given = {
        "articles": ARTICLES,
        "cents": 4_900,
        "cards": ["expired", "gold"],
        "fail_at": fail_at,
        "patience_seconds": patience_seconds,
    }
    run = await orchestrator.start_workflow(order, given, workflow_id=f"order-{fail_at or 'good'}")
    if fail_at is None:
        await run.signal("collected", "Ada")  # before anybody waits for it: it is kept
    try:
        print(f"the good order gives {await run.result()}")
    except WorkflowExecutionError as error:
        print(f"{error.workflow_id}: {error.message.partition(': ')[2]}")
        return error.status, list(shop.diary)
    return "COMPLETED", list(shop.diary)


async def main(patience_seconds: float = 0.2, **options: Any) -> dict[str, tuple[str, list[str]]]:
    """Place all orders and return what became of each."""
    ends: dict[str, tuple[str, list[str]]] = {}
    async with Orchestrator(store="memory:", **options) as orchestrator:
        for each in WORKERS:
            orchestrator.register_worker(each)
        for fail_at in (None, *STEPS):
            ends[fail_at or "nothing"] = await place(orchestrator, fail_at, patience_seconds)
    for name, (status, diary) in ends.items():
        print(f"fails at {name:<9} {status:<11} {', '.join(diary) or '-'}")
    # Only the order that went through has left something behind.
    print(f"in stock: {dict(shop.stock)}, paid: {shop.balance_cents / 100:.2f}")
    return ends


if __name__ == "__main__":
    asyncio.run(main())
