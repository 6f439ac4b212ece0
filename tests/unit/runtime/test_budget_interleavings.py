"""Any interleaving of reserving, settling and releasing over a tree of budgets, some of it cancelled, some by a store that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow import Orchestrator
from agenticflow.errors import BudgetExceeded
from agenticflow.resilience import Amounts, Budget, BudgetView, Claim
from agenticflow.testing.fakes import FlakyStore

CAPS = {"root": 100, "left": 60, "right": 60, "leaf": 40}
PARENTS = {"root": None, "left": "root", "right": "root", "leaf": "left"}
LINEAGES = {
    "root": ("root",),
    "left": ("left", "root"),
    "right": ("right", "root"),
    "leaf": ("leaf", "left", "root"),
}
STEP = Decimal("0.001")

calls = st.lists(
    st.tuples(
        st.sampled_from(sorted(CAPS)),
        st.integers(0, 40),  # what it may need
        st.integers(0, 40),  # what it needs, never more here
        st.sampled_from(["settle", "settle", "settle twice", "unmetered", "release", "keep", "cancel"]),
        st.integers(0, 3),  # turns of the loop before each step
    ),
    min_size=1,
    max_size=25,
)


class Spender:
    """Makes calls, and keeps its own books."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.budgets = orchestrator.budgets
        self.spent = dict.fromkeys(CAPS, 0)
        self.open = dict.fromkeys(CAPS, 0)

    async def call(self, number: int, where: str, most: int, actual: int, end: str, turns: int) -> None:
        lineage, claim = LINEAGES[where], Claim("owner", number)
        for _ in range(turns):
            await asyncio.sleep(0)
        asking = asyncio.create_task(self.budgets.reserve(lineage, claim, _amounts(most)))
        if end == "cancel":
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            asking.cancel()
        try:
            await asking
        except (BudgetExceeded, asyncio.CancelledError):
            return
        for _ in range(turns):
            await asyncio.sleep(0)
        counted = 0
        if end in {"settle", "settle twice"}:
            counted = min(actual, most)
            await self.budgets.settle(lineage, claim, _amounts(counted))
            if end == "settle twice":
                await self.budgets.settle(lineage, claim, _amounts(counted))
        elif end == "unmetered":
            counted = most
            await self.budgets.settle(lineage, claim, None)
        elif end == "keep":
            for one in lineage:
                self.open[one] += most
        else:
            await self.budgets.release(lineage, claim)
        for one in lineage:
            self.spent[one] += counted


def _amounts(count: int) -> Amounts:
    return Amounts(usd=count * STEP, tokens=count)


async def _play(asked: Sequence[tuple[str, int, int, str, int]], failing: int) -> None:
    store = FlakyStore(delay_seconds=0)
    async with Orchestrator(store=store) as orchestrator:
        for name, cap in CAPS.items():
            await orchestrator.budgets.open(name, Budget(usd=cap * STEP, tokens=cap), PARENTS[name])
        spender = Spender(orchestrator)
        over: list[BudgetView] = []
        watching = asyncio.create_task(_watch(orchestrator, over))
        if failing:
            store.fail("commit", times=1, skip=failing)
        await asyncio.gather(*(spender.call(number, *one) for number, one in enumerate(asked, 1)))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await orchestrator._running()
        assert orchestrator._engine is not None
        returning = list(orchestrator._engine.budgets._returning.values())
        if returning:
            await asyncio.wait(returning)
        assert not over, over
        for name in CAPS:
            view = await orchestrator.budgets.get(name)
            assert (view.spent.tokens, view.reserved.tokens) == (spender.spent[name], spender.open[name])
            assert view.spent.usd == spender.spent[name] * STEP
            assert view.reserved.usd == spender.open[name] * STEP


async def _watch(orchestrator: Orchestrator, over: list[BudgetView]) -> None:
    while True:
        for name, cap in CAPS.items():
            view = await orchestrator.budgets.get(name)
            if view.spent.tokens + view.reserved.tokens > cap or view.spent.usd + view.reserved.usd > cap * STEP:
                over.append(view)
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(asked=calls, failing=st.integers(0, 30))
def test_reservations_never_pass_a_cap_and_sums_are_exact(
    asked: list[tuple[str, int, int, str, int]], failing: int
) -> None:
    asyncio.run(_play(asked, failing))
