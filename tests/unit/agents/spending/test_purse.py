"""One purse: whose timeout it was, and calls of a journal that are tried again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agenticflow import Orchestrator
from agenticflow.agents.model.prices import PriceTable
from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending import journalled
from agenticflow.agents.spending.journalled import AskedModel, purse_for
from agenticflow.agents.spending.purse import Accounts, Purse
from agenticflow.agents.spending.rules import TOOL_CALL
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import Ask, Interrupted
from agenticflow.core.journal import Entry
from agenticflow.errors import BoundExceeded, BudgetExceeded, CommandRefused, DefinitionError, StoreUnavailable
from agenticflow.resilience.budgets import Budget, Claim
from agenticflow.testing.fakes import FlakyStore, MemoryJournals
from tests.unit.core.test_context import context

ASKED = AskedModel(model="local:m", chars=30, max_output_tokens=10, used=lambda value: Usage(5, 5))
RESERVED = 30 // 3 + 1 + 10


class Desk:
    """What attempts of one task have: its journal, and the budgets of an orchestrator."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.budgets = orchestrator.budgets
        self._journals = MemoryJournals()
        self._accounts = Accounts(orchestrator.budgets, PriceTable({}))

    def accounts(self) -> Any:
        return self._accounts

    def entries_of(self, task: TaskContext) -> dict[str, Entry]:
        return self._journals.entries[task.effect_key]

    def attempt(self) -> TaskContext:
        task = context()
        task.journals, task.accounts = self._journals, self
        return task


async def asked_in(task: TaskContext, make: Callable[[], Awaitable[object]], *, is_tool: bool = False) -> object:
    """Make the call ``k`` in a run of its own that spends from the budget ``b``."""
    async with purse_for(task, "b", None) as purse:
        assert purse is not None
        if is_tool:
            return await purse.call("k", make, {"effect": "at_most_once"})
        return await purse.ask("k", ASKED, make, {})


async def say(value: object = "hello") -> object:
    return value


async def _long(task: TaskContext) -> object:
    async with purse_for(task, "b", None) as purse:
        assert purse is not None
        return await purse.call("u" * 200, say, {"effect": "at_most_once"})


async def cut() -> object:
    raise ConnectionError("cut")


async def test_a_timeout_of_the_model_is_not_the_end_of_the_budgets_time() -> None:
    async def slow() -> object:
        raise TimeoutError("the model's own")

    async with Orchestrator(store="memory:") as orchestrator:
        lineage = (await orchestrator.budgets.open("b", Budget(seconds=3_600))).lineage
        purse = Purse(Accounts(orchestrator.budgets, PriceTable({})), lineage)
        with pytest.raises(TimeoutError, match="own"):
            await purse.model_call("local:m", Claim("a", 1), 10, None, slow)
        await orchestrator.budgets.change(
            "b", Budget(seconds=(await orchestrator.budgets.get("b")).seconds_used + 0.03)
        )
        with pytest.raises(BudgetExceeded) as over:
            await purse.model_call("local:m", Claim("a", 2), 10, None, lambda: asyncio.sleep(60))
        assert over.value.dimension == "seconds"
        await purse.settle_rest()
        view = await orchestrator.budgets.get("b")
        assert (view.open_count, view.unmetered_calls) == (0, 2)


async def test_what_an_earlier_life_reserved_counts_and_the_call_is_another_one() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        desk = Desk(orchestrator)
        await orchestrator.budgets.open("b", Budget(tokens=1_000))
        task = desk.attempt()
        await orchestrator.budgets.reserve(["b"], Claim(f"{task.effect_key}/k", 1), TOOL_CALL)
        assert await asked_in(task, say) == "hello"
        view = await orchestrator.budgets.get("b")
        assert (view.calls, view.unmetered_calls, view.open_count, view.spent.tokens) == (2, 1, 0, 10)
        assert await asked_in(desk.attempt(), cut) == "hello", "it is in the journal"
        assert (await orchestrator.budgets.get("b")).spent == view.spent


async def test_an_answer_that_was_recorded_and_not_settled_is_settled_for_what_it_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        desk = Desk(orchestrator)
        await orchestrator.budgets.open("b", Budget(tokens=1_000))

        async def died(*_: object) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(Purse, "settle", died)
            with pytest.raises(asyncio.CancelledError):
                await asked_in(desk.attempt(), say)
        assert (await orchestrator.budgets.get("b")).reserved.tokens == RESERVED
        await asked_in(desk.attempt(), cut)
        view = await orchestrator.budgets.get("b")
        assert (view.spent.tokens, view.open_count, view.unmetered_calls) == (10, 0, 0)


async def test_a_call_is_tried_so_often_and_a_closed_budget_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalled, "MAX_TRIES", 2)
    async with Orchestrator(store="memory:") as orchestrator:
        desk = Desk(orchestrator)
        await orchestrator.budgets.open("b", Budget(tokens=1_000))
        async with purse_for(desk.attempt(), "b", None) as purse:
            assert purse is not None
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    await purse.ask("k", ASKED, cut, {})
            with pytest.raises(BoundExceeded, match="2 times"):
                await purse.ask("k", ASKED, cut, {})
            await orchestrator.budgets.close("b")
            with pytest.raises(CommandRefused, match="closed"):
                await purse.ask("other", ASKED, say, {})


async def test_a_tool_that_asks_a_person_is_not_counted_until_it_is_called_again() -> None:
    async def ask() -> object:
        raise Interrupted.of([Ask.of("may I?", key="a")], task_key="t")

    async with Orchestrator(store="memory:") as orchestrator:
        desk = Desk(orchestrator)
        await orchestrator.budgets.open("b", Budget(tool_calls=1))
        with pytest.raises(Interrupted):
            await asked_in(desk.attempt(), ask, is_tool=True)
        assert await asked_in(desk.attempt(), say, is_tool=True) == "hello"
        task = desk.attempt()
        with pytest.raises(BudgetExceeded):
            await _long(task)
        assert [entry.is_over for entry in desk.entries_of(task).values()] == [True], "nothing says that it was begun"
        view = await orchestrator.budgets.get("b")
        assert (view.spent.tool_calls, view.open_count) == (1, 0)


async def test_without_an_engine_a_budget_is_refused_and_no_budget_is_no_purse() -> None:
    async with purse_for(context(), None, None) as purse:
        assert purse is None
    with pytest.raises(DefinitionError, match="nobody keeps budgets here"):
        async with purse_for(context(), {"tokens": 5}, None):
            pytest.fail("it has no budget to spend from")


async def test_what_a_loop_makes_of_a_refusal_does_not_count_and_its_budgets_stay_open() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        desk = Desk(orchestrator)

        async def shrugging(*, raises: bool) -> None:
            async with purse_for(desk.attempt(), {"tokens": 5}, Budget(tokens=500)) as purse:
                assert purse is not None
                with pytest.raises(BudgetExceeded):
                    await purse.ask("k", ASKED, say, {})
                with pytest.raises(BudgetExceeded):
                    await purse.call("small", say, {})
                if raises:
                    raise RuntimeError("it made something else of it")

        for raises in (True, False):
            with pytest.raises(BudgetExceeded, match="5 tokens"):
                await shrugging(raises=raises)
        assert [view.status for view in await orchestrator.budgets.list()] == ["OPEN", "OPEN"]


async def test_what_another_has_left_open_is_counted_and_the_next_call_is_another() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        budgets = orchestrator.budgets
        lineage = (await budgets.open("b", Budget(tool_calls=3))).lineage
        await budgets.reserve(lineage, Claim("a", 1), TOOL_CALL)
        purse = Purse(Accounts(budgets, PriceTable({})), lineage)
        assert await purse.reserve_next("a", TOOL_CALL, 5) == (Claim("a", 2), None)
        view = await budgets.get("b")
        assert (view.spent.tool_calls, view.unmetered_calls, view.open_calls) == (1, 1, (Claim("a", 2),))
        await purse.settle(Claim("a", 2), TOOL_CALL)
        with pytest.raises(BoundExceeded, match="2 times without an answer"):
            await purse.reserve_next("a", TOOL_CALL, 2)


@pytest.mark.parametrize("look", ["is_usable", "out_of_time", "by_id", "opened"])
async def test_a_store_that_is_away_for_a_moment_delays_every_look_at_a_budget(look: str) -> None:
    store = FlakyStore()
    async with Orchestrator(store=store) as orchestrator:
        outer = (await orchestrator.budgets.open("outer", Budget(seconds=60))).lineage
        lineage = (await orchestrator.budgets.open("b", Budget(seconds=3_600), parent="outer")).lineage
    asked = 0

    async def steadily(ask: Callable[[], Awaitable[Any]], /) -> Any:
        nonlocal asked
        while True:
            asked += 1
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0)

    async with Orchestrator(store=store) as orchestrator:  # one that has read nothing yet
        purse = Purse(Accounts(orchestrator.budgets, PriceTable({}), steadily=steadily), lineage)
        await orchestrator.start()
        store.fail("get_run", times=2)
        match look:
            case "is_usable":
                assert await purse.is_usable()
            case "out_of_time":
                assert await purse._out_of_time() == "outer"
            case "by_id":
                assert (await Purse(purse.accounts, outer).within("b", "one")).lineage == lineage
            case _:
                inner = await purse.within(Budget(tokens=5), "one")
                assert inner.lineage == ("loop-one", *lineage)
                assert inner.steadily is steadily, "it waits as the one around it does"
        assert store.failures == 2
        assert asked > 2
