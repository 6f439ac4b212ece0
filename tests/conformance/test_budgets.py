"""Budgets over every store: what children spend together, what a refusal gives back, and what a restart finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from agenticflow import Orchestrator
from agenticflow.errors import BudgetExceeded, CommandRefused, InvalidInput
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.resilience import Amounts, Budget, Claim, Sums
from agenticflow.resilience.budgets import guest
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.storage.store import Store


class World:
    """A store, and the programs that live on it one after the other."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._memory = MemoryStore()

    @asynccontextmanager
    async def life(self) -> AsyncIterator[Orchestrator]:
        store: Store = self._memory if self._file is None else await SQLiteStore.open(self._file, durability="normal")
        async with Orchestrator(store=store) as orchestrator:
            yield orchestrator
        if self._file is not None:
            await store.close()


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(None if request.param == "memory" else tmp_path / "state.db")


def cents(count: int, tokens: int = 0) -> Amounts:
    return Amounts(usd=Decimal(count) / 100, tokens=tokens)


async def test_twenty_children_at_once_stay_under_one_cap(world: World) -> None:
    """Each asks for ten cents at most until it is refused, and spends nine: together never more than the dollar."""
    made: list[str] = []
    refusals: list[tuple[str, str]] = []
    highest = Decimal(0)

    async def child(orchestrator: Orchestrator, name: str) -> None:
        nonlocal highest
        lineage = (await orchestrator.budgets.open(name, Budget(usd=0.5), parent="run")).lineage
        for number in range(1, 100):
            try:
                await orchestrator.budgets.reserve(lineage, Claim(name, number), cents(10))
            except BudgetExceeded as error:
                refusals.append((error.budget_id, error.dimension))
                return
            made.append(name)
            seen = await orchestrator.budgets.get("run")
            highest = max(highest, seen.spent.usd + seen.reserved.usd)
            await orchestrator.budgets.settle(lineage, Claim(name, number), cents(9))

    async with world.life() as orchestrator:
        await orchestrator.budgets.open("run", Budget(usd=1))
        await asyncio.gather(*(child(orchestrator, f"child-{number}") for number in range(20)))
        assert len(refusals) == 20
        assert set(refusals) <= {("run", "usd"), *((f"child-{number}", "usd") for number in range(20))}
        run = await orchestrator.budgets.get("run")
        children = [await orchestrator.budgets.get(f"child-{number}") for number in range(20)]
        assert (run.spent.usd, run.reserved.usd, run.calls) == (Decimal("0.09") * len(made), Decimal(0), len(made))
        assert Decimal("0.90") < run.spent.usd <= highest <= 1
        assert sum(one.spent.usd for one in children) == run.spent.usd
        assert {one.reserved.usd for one in children} == {0}, "what was refused further out was given back"


async def test_a_restart_finds_what_was_spent_and_what_is_open(world: World) -> None:
    async with world.life() as first:
        await first.budgets.open("run", Budget(usd=1))
        lineage = (await first.budgets.open("agent", Budget(usd=1), parent="run")).lineage
        assert lineage == ("agent", "run")
        await first.budgets.reserve(lineage, Claim("a", 1), cents(30, 300))
        await first.budgets.settle(lineage, Claim("a", 1), cents(20, 200))
        reservation = await first.budgets.reserve(lineage, Claim("a", 2), cents(40, 400))
        assert (reservation.is_repeated, reservation.left_seconds) == (False, None)
    async with world.life() as second:
        view = await second.budgets.open("agent", Budget(usd=1), parent="run")
        assert (view.spent, view.reserved) == (Sums(Decimal("0.2"), 200), Sums(Decimal("0.4"), 400))
        assert list(view.open_calls) == [Claim("a", 2)]
        # Nobody knows whether that call was made: it stays counted, and its owner finds it.
        with pytest.raises(BudgetExceeded, match="reserved by 1 open calls"):
            await second.budgets.reserve(lineage, Claim("b", 1), cents(50))
        assert (await second.budgets.reserve(lineage, Claim("a", 2), cents(40, 400))).is_repeated
        await second.budgets.settle(lineage, Claim("a", 2), None)
        await second.budgets.settle(lineage, Claim("a", 2), None)
        for budget_id in lineage:
            view = await second.budgets.get(budget_id)
            assert (view.spent, view.reserved.usd) == (Sums(Decimal("0.6"), 600), Decimal(0))
            assert (view.unmetered_calls, view.is_complete) == (1, False)
        with pytest.raises(CommandRefused, match="the next number"):
            await second.budgets.reserve(lineage, Claim("a", 2), cents(1))


async def test_a_reservation_of_half_a_lineage_is_completed_by_who_asks_again(world: World) -> None:
    async with world.life() as first:
        await first.budgets.open("run", Budget(usd=1))
        lineage = (await first.budgets.open("agent", Budget(usd=1), parent="run")).lineage
        await first.budgets.reserve(lineage[:1], Claim("a", 1), cents(10))  # as if it had died in between
    async with world.life() as second:
        assert not (await second.budgets.reserve(lineage, Claim("a", 1), cents(10))).is_repeated
        assert [(await second.budgets.get(one)).reserved.usd for one in lineage] == [Decimal("0.1")] * 2


async def test_somebody_allows_more_and_that_stays_over_a_restart(world: World) -> None:
    async with world.life() as first:
        await first.budgets.open("run", Budget(tokens=10))
        with pytest.raises(BudgetExceeded, match=r"budgets\.change"):
            await first.budgets.reserve(["run"], Claim("a", 1), Amounts(tokens=11))
        await first.budgets.change("run", Budget(tokens=20))
    async with world.life() as second:
        assert (await second.budgets.open("run", Budget(tokens=10))).limits == Budget(tokens=20)
        await second.budgets.reserve(["run"], Claim("a", 1), Amounts(tokens=11))
        assert (await second.budgets.open("run", Budget(tokens=12))).limits == Budget(tokens=12)


async def test_a_long_budget_goes_on_in_the_next_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 10)
    async with world.life() as first:
        await first.budgets.open("run", Budget(tokens=1_000))

        async def spend(owner: str) -> None:
            for number in range(1, 21):
                await first.budgets.reserve(["run"], Claim(owner, number), Amounts(tokens=2))
                await first.budgets.settle(["run"], Claim(owner, number), Amounts(tokens=1))
                await first.budgets.settle(["run"], Claim(owner, number), Amounts(tokens=1))

        await asyncio.gather(*(spend(owner) for owner in "abc"))
        view = await first.budgets.get("run")
        assert (view.spent, view.calls, view.reserved) == (Sums(tokens=60), 60, Sums())
    async with world.life() as second:
        assert (await second.budgets.get("run")).spent.tokens == 60
        assert [view.budget_id for view in await second.budgets.list()] == ["run"]
        row = await second.store.get_run("run", kind="budget")
        assert row is not None
        assert row.run_no >= 10


async def test_a_closed_budget_is_let_go_of_and_an_open_one_is_kept(world: World) -> None:
    async with world.life() as first:
        for name in ("over", "kept", "again"):
            await first.budgets.open(name, Budget(tokens=10))
            await first.budgets.settle([name], Claim("a", 1), Amounts(tokens=3))
        child = await first.budgets.open("child", Budget(), parent="over")
        for name in ("over", "again"):
            assert (await first.budgets.close(name)).status == "CLOSED"
            assert (await first.budgets.close(name)).status == "CLOSED"
        with pytest.raises(CommandRefused, match="open it again"):
            await first.budgets.reserve(["again"], Claim("a", 2), Amounts(tokens=1))
        view = await first.budgets.open("again", Budget(tokens=10))
        assert (view.status, view.spent.tokens, view.left.tokens) == ("OPEN", 3, 7)
        await first.compact(RetentionPolicy(delete_after_days=0))
        with pytest.raises(InvalidInput, match="no budget 'over'"):
            await first.budgets.get("over")
        # A part of it stays a part of it: its cap does not fall away with it.
        assert (await first.budgets.get("child")).lineage == child.lineage == ("child", "over")
        with pytest.raises(InvalidInput, match="no budget 'over'"):
            await first.budgets.reserve(child.lineage, Claim("a", 1), Amounts(tokens=1))
        assert (await first.budgets.get("child")).open_count == 0
        assert len(await first.budgets.list()) == 3
        assert (await first.budgets.open("over", Budget(tokens=10))).spent.tokens == 0
        await first.budgets.close("over")
        await first.compact(RetentionPolicy(delete_after_days=0))
    async with world.life() as second:
        assert (await second.budgets.get("kept")).spent.tokens == 3
        assert (await second.budgets.get("again")).spent.tokens == 3
        with pytest.raises(InvalidInput, match="no budget 'over'"):
            await second.budgets.get("over")


async def test_budgets_are_listed_page_by_page(world: World) -> None:
    async with world.life() as orchestrator:
        for number in range(5):
            await orchestrator.budgets.open(f"b{number}", Budget())
        await orchestrator.budgets.close("b3")
        await orchestrator.budgets.open("b3", Budget())
        seen: list[str] = []
        after = None
        while page := await orchestrator.budgets.list(after=after, limit=2):
            seen += [view.budget_id for view in page]
            after = seen[-1]
        assert sorted(seen) == ["b0", "b1", "b2", "b3", "b4"]
        for limit in (0, 1_001, True):
            with pytest.raises(InvalidInput, match="give 1 to 1,000"):
                await orchestrator.budgets.list(limit=limit)


async def test_a_call_waits_for_what_others_hold_and_a_restart_finds_every_open_one(world: World) -> None:
    async with world.life() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("wide", Budget())).lineage
        claims = [Claim(f"{'a' if number % 2 else 'b'}/{number}", 1) for number in range(240)]
        await asyncio.gather(*(budgets.reserve(lineage, claim, cents(1)) for claim in claims))
    async with world.life() as orchestrator:
        budgets = orchestrator.budgets
        found = await budgets.open_calls("wide", "a/")
        assert set(found) == set(claims[1::2]), "all of them, where a view shows a hundred"
        await asyncio.gather(*(budgets.release(["wide"], claim) for claim in claims if claim.owner != "a/1"))
        await budgets.change("wide", Budget(usd=0.015))
        asking = asyncio.ensure_future(budgets.reserve(["wide"], Claim("c", 1), cents(1), wait_seconds=30))
        await asyncio.sleep(0.01)
        assert not asking.done()
        await budgets.settle(["wide"], Claim("a/1", 1), Amounts(usd=Decimal("0.005")))
        assert not (await asyncio.wait_for(asking, 5)).is_repeated
        with pytest.raises(InvalidInput, match="no budget"):
            await budgets.open_calls("nobody", "a")
