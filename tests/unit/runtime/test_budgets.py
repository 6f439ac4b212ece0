"""Keeping budgets: what is refused, what is given back when somebody is cancelled, and a store that fails for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from agenticflow.errors import BudgetExceeded, CommandRefused, InvalidInput, StoreUnavailable, TemporaryError
from agenticflow.resilience import Amounts, Budget, Claim
from agenticflow.resilience.budgets import guest
from agenticflow.runtime.coordination import budgets as room
from agenticflow.runtime.coordination import waiting
from agenticflow.storage.commits import Commit
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running, until

FIVE = Amounts(tokens=5)


def is_to(budget_id: str, event_type: str) -> Any:
    def is_it(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return commit.stream_id.startswith(f"budget-{budget_id}/") and any(
            event.event_type == event_type for event in commit.events
        )

    return is_it


@in_virtual_time
async def test_who_asks_wrongly_is_told_what_to_write() -> None:
    async with running() as orchestrator:
        budgets: Any = orchestrator.budgets
        asked: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: budgets.open("", Budget()), "no budget id"),
            (lambda: budgets.open("a", {"usd": 1}), "give Budget"),
            (lambda: budgets.open("a", Budget(), parent="nobody"), "no budget 'nobody'"),
            (lambda: budgets.change("nobody", Budget()), "no budget 'nobody'"),
            (lambda: budgets.change("nobody", 5), "give Budget"),
            (lambda: budgets.change("nobody", Budget(), only="usd"), "names no limits"),
            (lambda: budgets.change("nobody", Budget(), only=["usd", "calls"]), "give some of usd, tokens"),
            (lambda: budgets.change("nobody", Budget(), only=[]), "names no limits"),
            (lambda: budgets.change("nobody", Budget(), only=[["usd"]]), "names no limits"),
            (lambda: budgets.close("nobody"), "no budget 'nobody'"),
            (lambda: budgets.get("nobody"), "no budget 'nobody'"),
            (lambda: budgets.list(after="nobody"), "no budget 'nobody'"),
            (lambda: budgets.reserve(["nobody"], Claim("a", 1), FIVE), "no budget 'nobody'"),
            (lambda: budgets.reserve("a", Claim("a", 1), FIVE), "no lineage"),
            (lambda: budgets.reserve([], Claim("a", 1), FIVE), "no lineage"),
            (lambda: budgets.reserve(["a", "a"], Claim("a", 1), FIVE), "no lineage"),
            (lambda: budgets.reserve(["a"], "a#1", FIVE), "give Claim"),
            (lambda: budgets.settle(["a"], Claim("a", 1), 5), "give Amounts"),
        ]
        for wrong, words in asked:
            with pytest.raises(InvalidInput, match=words):
                await wrong()
        assert await budgets.list() == []


@in_virtual_time
async def test_budgets_are_inside_each_other_in_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("a", Budget())
        await budgets.open("b", Budget(), parent="a")
        await budgets.open("c", Budget())
        with pytest.raises(CommandRefused, match="part of no other, not of 'c'"):
            await budgets.open("a", Budget(), parent="c")
        with pytest.raises(InvalidInput, match="part of itself"):
            await budgets.open("a", Budget(), parent="b")
        monkeypatch.setattr(room, "MAX_NESTING", 2)
        with pytest.raises(CommandRefused, match="2 budgets are inside each other"):
            await budgets.open("d", Budget(), parent="b")
        await budgets.close("c")
        with pytest.raises(CommandRefused, match="part of no other, not of 'a'"):
            await budgets.open("c", Budget(), parent="a")
        with pytest.raises(CommandRefused, match="'c' is closed"):
            await budgets.open("d", Budget(), parent="c")


@in_virtual_time
async def test_time_is_that_of_the_tightest_budget() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(seconds=100))
        await passes(30)
        lineage = (await budgets.open("agent", Budget(seconds=90), parent="run")).lineage
        first = await budgets.reserve(lineage, Claim("a", 1), FIVE)
        assert first.left_seconds is not None
        assert round(first.left_seconds) == 70
        await passes(80)
        with pytest.raises(BudgetExceeded, match="'run' is over") as caught:
            await budgets.reserve(lineage, Claim("a", 2), FIVE)
        assert caught.value.dimension == "seconds"
        assert (await budgets.get("agent")).open_count == 1, "what was open before the refusal still is"


@in_virtual_time
async def test_who_is_cancelled_while_asking_gives_everything_back() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        lineage = (await budgets.open("agent", Budget(tokens=10), parent="run")).lineage
        store.fail("commit", only=is_to("run", "budget_reserved"), times=3)
        asking = asyncio.create_task(budgets.reserve(lineage, Claim("a", 1), FIVE))
        await until(lambda: store.failures >= 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await passes(2)
        for one in lineage:
            view = await budgets.get(one)
            assert (view.open_count, view.reserved.tokens) == (0, 0)


@in_virtual_time
async def test_who_asks_again_after_a_cancellation_keeps_what_it_gets() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        store.fail("commit", only=is_to("run", "budget_released"), times=3)
        asking = asyncio.create_task(budgets.reserve(["run"], Claim("a", 1), FIVE))
        await until(lambda: store.calls["commit"] > 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not (await budgets.reserve(["run"], Claim("a", 1), FIVE)).is_repeated
        await passes(5)
        assert (await budgets.get("run")).reserved.tokens == 5


@in_virtual_time
async def test_who_asks_again_while_that_cannot_be_given_back_is_told() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        store.fail("commit", times=1_000)
        asking = asyncio.create_task(budgets.reserve(["run"], Claim("a", 1), FIVE))
        await until(lambda: store.failures)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        room_for_it = budgets.reserve(["run"], Claim("a", 1), FIVE)
        with pytest.raises(TemporaryError):
            await room_for_it
        store.heal()
        await passes(60)
        await budgets.reserve(["run"], Claim("a", 1), FIVE)


@in_virtual_time
async def test_a_call_that_may_have_been_made_keeps_its_reservation_when_asking_again_fails() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        lineage = (await budgets.open("agent", Budget(tokens=10), parent="run")).lineage
        await budgets.reserve(lineage[:1], Claim("a", 1), FIVE)
        store.fail("commit", only=is_to("run", "budget_reserved"), times=room.TRIES)
        with pytest.raises(StoreUnavailable):
            await budgets.reserve(lineage, Claim("a", 1), FIVE)
        assert [(await budgets.get(one)).reserved.tokens for one in lineage] == [5, 0]


@in_virtual_time
async def test_a_call_that_cannot_have_been_made_is_given_back_whoever_reserved_it() -> None:
    """A life has died between two budgets; when the outer one refuses, nobody can have made the call."""
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=4))
        lineage = (await budgets.open("agent", Budget(tokens=10), parent="run")).lineage
        await budgets.reserve(lineage[:1], Claim("a", 1), FIVE)
        with pytest.raises(BudgetExceeded):
            await budgets.reserve(lineage, Claim("a", 1), FIVE)
        assert (await budgets.get("agent")).reserved.tokens == 0


@in_virtual_time
async def test_a_store_that_is_away_for_a_moment_delays_a_call_and_counts_nothing_twice() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(usd=1))
        store.fail("commit", only=is_to("run", "budget_reserved"), times=3)
        await budgets.reserve(["run"], Claim("a", 1), Amounts(usd=Decimal("0.5")))
        store.fail("commit", only=is_to("run", "budget_settled"), is_written=True)
        await budgets.settle(["run"], Claim("a", 1), Amounts(usd=Decimal("0.5")))
        view = await budgets.get("run")
        assert (view.spent.usd, view.reserved.usd, view.calls) == (Decimal("0.5"), Decimal(0), 1)


@in_virtual_time
async def test_a_store_that_stays_away_is_told_and_what_is_reserved_stays_so() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        lineage = (await budgets.open("agent", Budget(tokens=10), parent="run")).lineage
        store.fail("commit", only=is_to("run", "budget_reserved"), times=99)
        store.fail("commit", only=is_to("agent", "budget_released"), times=99)
        with pytest.raises(StoreUnavailable, match="as it was told"):
            await budgets.reserve(lineage, Claim("a", 1), FIVE)
        assert (await budgets.get("agent")).reserved.tokens == 5


@in_virtual_time
async def test_when_one_budget_cannot_be_told_the_others_are() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        lineage = (await budgets.open("agent", Budget(tokens=10), parent="run")).lineage
        await budgets.reserve(lineage, Claim("a", 1), FIVE)
        store.fail("commit", only=is_to("agent", "budget_settled"), times=room.TRIES)
        with pytest.raises(StoreUnavailable):
            await budgets.settle(lineage, Claim("a", 1), FIVE)
        assert (await budgets.get("run")).spent.tokens == 5
        await budgets.settle(lineage, Claim("a", 1), FIVE)
        assert [(await budgets.get(one)).spent.tokens for one in lineage] == [5, 5]


@in_virtual_time
async def test_the_end_of_the_engine_does_not_wait_for_ever_for_what_is_given_back() -> None:
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        store.fail("commit", times=10_000)
        asking = asyncio.create_task(budgets.reserve(["run"], Claim("a", 1), FIVE))
        await passes(0.5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@in_virtual_time
async def test_known_budgets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CACHED_BUDGETS", 1)
    async with running() as orchestrator:
        for name in "abc":
            await orchestrator.budgets.open(name, Budget(tokens=10))
            await orchestrator.budgets.reserve([name], Claim("x", 1), FIVE)
        assert [(await orchestrator.budgets.get(name)).reserved.tokens for name in "abc"] == [5, 5, 5]


@in_virtual_time
async def test_an_orchestrator_that_does_not_perform_reads_and_steers() -> None:
    store = MemoryStore()
    async with running(store=store) as orchestrator:
        await orchestrator.budgets.open("run", Budget(tokens=10))
    async with running(store=store, performs=False) as reader:
        assert (await reader.budgets.get("run")).limits == Budget(tokens=10)
        await reader.budgets.change("run", Budget(tokens=20))
        assert (await reader.check_liveness()).is_alive


@in_virtual_time
async def test_a_budget_that_died_between_two_streams_goes_on_when_somebody_spends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 3)
    store = FlakyStore()
    async with running(store=store) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=100))
        await budgets.reserve(["run"], Claim("a", 1), FIVE)
        store.fail("commit", only=is_to("run", "budget_opened"), times=room.TRIES)
        await budgets.settle(["run"], Claim("a", 1), FIVE)
        with pytest.raises(StoreUnavailable):
            await budgets.reserve(["run"], Claim("a", 2), FIVE)
        assert await kinds(store, "budget-run/2") == []
        view = await budgets.get("run")
        assert (view.status, view.spent.tokens) == ("CONTINUED", 5)
        await budgets.reserve(["run"], Claim("a", 2), FIVE)
        view = await budgets.get("run")
        assert (view.status, view.spent.tokens, view.reserved.tokens) == ("OPEN", 5, 5)


@in_virtual_time
async def test_two_who_open_a_closed_budget_at_once_open_one() -> None:
    async with running(store=FlakyStore(delay_seconds=0.01)) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        await budgets.close("run")
        await asyncio.gather(*(budgets.open("run", Budget(tokens=tokens)) for tokens in (10, 20, 30)))
        assert (await budgets.get("run")).limits.tokens in {10, 20, 30}
        assert [view.budget_id for view in await budgets.list()] == ["run"]
        assert len(await kinds(orchestrator.store, "budget-run/2")) >= 1
        assert await kinds(orchestrator.store, "budget-run/3") == []


@in_virtual_time
async def test_a_budget_is_closed_while_others_open_it() -> None:
    async with running(store=FlakyStore(delay_seconds=0.01)) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(tokens=10))
        await asyncio.gather(budgets.close("run"), *(budgets.open("run", Budget(tokens=tokens)) for tokens in (20, 30)))
        view = await budgets.get("run")
        assert view.status == "OPEN"
        assert view.limits.tokens in {20, 30}


@in_virtual_time
async def test_names_may_be_what_can_be_printed() -> None:
    async with running() as orchestrator:
        for name in ("run/orders-7", "ä" * 200, "a b#c"):
            await orchestrator.budgets.open(name, Budget(tokens=10))
            await orchestrator.budgets.reserve([name], Claim("x" * 200, 1), FIVE)
            assert (await orchestrator.budgets.get(name)).reserved.tokens == 5


# --- waiting for what others hold -----------------------------------------------------------------------------------------


async def waited(work: Awaitable[object]) -> float:
    """Return how many seconds pass until ``work`` is done."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


@in_virtual_time
async def test_a_call_waits_for_what_others_hold_and_has_it_the_moment_they_settle() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        asking = asyncio.ensure_future(waited(budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60)))
        await asyncio.sleep(7.25)
        assert not asking.done()
        assert (await budgets.get("b")).open_count == 1, "who waits holds nothing"
        await budgets.settle(lineage, Claim("other", 1), Amounts(tokens=5))
        assert await asking == pytest.approx(7.25, abs=0.01)
        view = await budgets.get("b")
        assert (view.spent.tokens, view.reserved.tokens) == (5, 5)


@in_virtual_time
async def test_who_waits_in_vain_is_told_and_what_cannot_fit_is_refused_at_once() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        outer = (await budgets.open("outer", Budget(tokens=10))).lineage
        lineage = (await budgets.open("inner", Budget(), parent="outer")).lineage
        await budgets.reserve(outer, Claim("other", 1), Amounts(tokens=8))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for tokens, seconds, wait, words in (
            (11, 0, 60, "reserved"),
            (5, 0, 0, "8 reserved"),
            (5, 60, 60, "after 60 s these"),
        ):
            with pytest.raises(BudgetExceeded, match=words) as refused:
                await budgets.reserve(lineage, Claim("a", 1), Amounts(tokens=tokens), wait_seconds=wait)
            assert (refused.value.budget_id, refused.value.dimension) == ("outer", "tokens")
            assert loop.time() - began == pytest.approx(seconds, abs=0.1)
        assert (await budgets.get("inner")).open_count == 0


@in_virtual_time
async def test_nobody_waits_beyond_the_time_of_a_budget() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10, seconds=9))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60)
        assert refused.value.dimension == "seconds"
        assert loop.time() - began == pytest.approx(9, abs=0.1)


@in_virtual_time
async def test_those_who_wait_are_served_in_their_order_as_many_as_fit() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=10))
        served: list[int] = []

        async def ask(number: int) -> None:
            await budgets.reserve(lineage, Claim(f"a{number}", 1), Amounts(tokens=4), wait_seconds=60)
            served.append(number)

        asking = [asyncio.ensure_future(ask(number)) for number in range(4)]
        await asyncio.sleep(0.5)
        await budgets.settle(lineage, Claim("other", 1), Amounts(tokens=1))
        await asyncio.sleep(0.5)
        assert served == [0, 1]
        asking[2].cancel()
        await asyncio.sleep(0)
        await budgets.release(lineage, Claim("a0", 1))
        await asyncio.sleep(0.5)
        assert served == [0, 1, 3], "who was cancelled is not in the way"
        with pytest.raises(asyncio.CancelledError):
            await asking[2]
        view = await budgets.get("b")
        assert (view.spent.tokens, view.reserved.tokens) == (1, 8)


@in_virtual_time
@pytest.mark.parametrize("change", ["allow", "redefine", "release"])
async def test_who_waits_hears_of_everything_that_happens_to_the_budget(change: str) -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        asking = asyncio.ensure_future(budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60))
        await asyncio.sleep(0.5)
        if change == "allow":
            await budgets.change("b", Budget(tokens=20))
        elif change == "redefine":
            await budgets.open("b", Budget(tokens=20))
        else:
            await budgets.release(lineage, Claim("other", 1))
        assert (await asyncio.wait_for(asking, 0.1)).amounts == FIVE


@in_virtual_time
async def test_what_another_process_settles_is_seen_after_a_moment() -> None:
    store = MemoryStore()
    async with running(store=store) as one:
        lineage = (await one.budgets.open("b", Budget(tokens=10))).lineage
        await one.budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        asking = asyncio.ensure_future(waited(one.budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60)))
        await asyncio.sleep(0.5)
        async with running(store=store) as two:
            await two.budgets.settle(lineage, Claim("other", 1), Amounts(tokens=5))
        assert 1 < await asking < 5


@in_virtual_time
async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 1)
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        first = asyncio.ensure_future(budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60))
        await asyncio.sleep(0.5)
        with pytest.raises(BudgetExceeded, match="8 reserved"):
            await budgets.reserve(lineage, Claim("b", 1), FIVE, wait_seconds=60)
        await budgets.release(lineage, Claim("other", 1))
        await first


@in_virtual_time
async def test_what_is_settled_while_a_call_is_being_refused_is_not_missed() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        for turns in range(40):
            await budgets.reserve(lineage, Claim("other", turns + 1), Amounts(tokens=8))
            asking = asyncio.ensure_future(
                waited(budgets.reserve(lineage, Claim("a", turns + 1), FIVE, wait_seconds=60))
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            await budgets.release(lineage, Claim("other", turns + 1))
            assert await asking < 1
            await budgets.release(lineage, Claim("a", turns + 1))


@in_virtual_time
async def test_who_waits_is_told_the_moment_that_others_have_spent_too_much() -> None:
    async with running() as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tokens=10))).lineage
        await budgets.reserve(lineage, Claim("other", 1), Amounts(tokens=8))
        asking = asyncio.ensure_future(budgets.reserve(lineage, Claim("a", 1), FIVE, wait_seconds=60))
        await asyncio.sleep(0.5)
        await budgets.settle(lineage, Claim("other", 1), Amounts(tokens=8))
        with pytest.raises(BudgetExceeded) as refused:
            await asyncio.wait_for(asking, 0.1)
        assert not refused.value.is_held
