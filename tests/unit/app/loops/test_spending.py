"""Budgets of agents: their own, nested, shared, over by time; never undercounted, whatever dies."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model.parts import Role
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.errors import (
    AgenticFlowError,
    BudgetExceeded,
    ContentRefused,
    InvalidInput,
    ModelRequestRefused,
    ModelUnavailable,
    WorkflowExecutionError,
)
from agenticflow.resilience.budgets import BudgetView
from agenticflow.resilience.budgets.amounts import Budget
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool

SHORT = LoopPolicy(max_output_tokens=100)


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


async def views(orchestrator: Orchestrator) -> dict[str, BudgetView]:
    return {view.budget_id: view for view in await orchestrator.budgets.list()}


async def test_what_is_spent_is_what_the_loop_used() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    model = ScriptedModel([[call_tool("look"), call_tool("look")], "done"])
    agent = Agent("lead", instructions="x", tools=[look], budget=Budget(tokens=10_000), model=model, loop=SHORT)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("go")
        (view,) = (await views(orchestrator)).values()
    assert view.spent.tokens == result.usage.total_tokens > 0
    assert (view.spent.tool_calls, view.open_count, view.status, view.calls) == (2, 0, "CLOSED", 4)
    assert view.unpriced_calls == 2, "nobody knows what the model costs, and that is said"


@pytest.mark.parametrize(("error", "spent"), [(ModelRequestRefused("no"), 0), (ContentRefused("no"), None)])
async def test_a_request_that_was_refused_costs_nothing_and_what_may_have_been_billed_does(
    error: AgenticFlowError, spent: int | None
) -> None:
    agent = Agent("lead", instructions="x", budget=Budget(tokens=10_000), model=ScriptedModel([error]), loop=SHORT)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(type(error)):
            await agent.run("go")
        (view,) = (await views(orchestrator)).values()
    assert view.open_count == 0
    if spent is None:
        assert view.spent.tokens > 100, "as much as was reserved"
    else:
        assert view.spent.tokens == spent


@pytest.mark.parametrize(("budget", "dimension"), [(Budget(tokens=50), "tokens"), (Budget(tool_calls=1), "tool_calls")])
async def test_what_is_not_covered_is_not_done(budget: Budget, dimension: str) -> None:
    made = 0

    @tool(effect="at_most_once")
    def pay() -> str:
        """Pay."""
        nonlocal made
        made += 1
        return "paid"

    model = ScriptedModel(lambda _: [call_tool("pay"), call_tool("pay")])
    agent = Agent("lead", instructions="x", tools=[pay], budget=budget, model=model, loop=SHORT)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(BudgetExceeded) as caught:
            await agent.run("go", workflow_id="one", session="ada")
        assert caught.value.dimension == dimension
        (view,) = (await views(orchestrator)).values()
        assert (view.open_count, view.spent.tool_calls) == (0, made)
        assert made == (1 if dimension == "tool_calls" else 0)
        with pytest.raises(BudgetExceeded):
            await agent.run("go", workflow_id="one", session="ada")
        loops: Any = agent._loops()
        messages = await loops.conversation("one", "run")
        told = [part.content for one in messages if one.role is Role.TOOL for part in one.parts]
        assert all("Nobody can say" not in words for words in told), "what was not covered was not begun"


async def test_an_inner_agent_spends_of_its_own_and_of_who_asked() -> None:
    inner = Agent("inner", role="answers", budget=Budget(tokens=5_000), model=ScriptedModel(["well"] * 9), loop=SHORT)
    outer = Agent(
        "outer",
        instructions="x",
        tools=[inner.as_tool()],
        budget=Budget(tokens=20_000),
        model=ScriptedModel([call_tool("inner", prompt="a"), "done"]),
        loop=SHORT,
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(outer)
        result = await outer.run("go")
        found = await views(orchestrator)
    own = next(view for view in found.values() if len(view.lineage) == 2)
    above = found[own.lineage[1]]
    assert 0 < own.spent.tokens < above.spent.tokens
    assert above.spent.tokens == own.spent.tokens + result.usage.total_tokens
    assert {own.open_count, above.open_count} == {0}


async def test_a_budget_shared_by_its_id_and_one_that_is_not_there() -> None:
    agents = [
        Agent(f"a{number}", instructions="x", budget="team", model=ScriptedModel(lambda _: "done"), loop=SHORT)
        for number in range(3)
    ]
    async with Orchestrator(store="memory:") as orchestrator:
        for agent in agents:
            orchestrator.register_agent(agent)
        with pytest.raises((InvalidInput, WorkflowExecutionError), match="team"):
            await agents[0].run("go")
        await orchestrator.budgets.open("team", Budget(tokens=100_000))
        results = await asyncio.gather(*(agent.run("go") for agent in agents))
        view = await orchestrator.budgets.get("team")
    assert view.spent.tokens == sum(result.usage.total_tokens for result in results)
    assert (view.open_count, view.status) == (0, "OPEN")


async def test_twenty_side_by_side_stay_under_one_cap() -> None:
    at_once = 0
    cap = 2_000

    async def speak(_: ModelRequest) -> str:
        nonlocal at_once
        at_once += 1
        await asyncio.sleep(0.005)
        return "done " * 60

    inner = Agent("inner", role="answers", model=ScriptedModel(speak), loop=SHORT)
    outer = Agent(
        "outer",
        instructions="x",
        tools=[inner.as_tool()],
        budget=Budget(tokens=cap),
        loop=LoopPolicy(max_output_tokens=100, max_parallel_calls=100),
        model=ScriptedModel([[call_tool("inner", prompt=f"question {one}") for one in range(20)], "done"]),
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(outer)
        with pytest.raises(BudgetExceeded):
            await outer.run("go")
        (view,) = (await views(orchestrator)).values()
    assert 0 < at_once < 20
    assert view.spent.tokens <= cap
    assert view.open_count == 0


async def test_a_budget_of_time_ends_a_call_in_its_middle() -> None:
    agent = Agent(
        "lead", instructions="x", budget=Budget(seconds=0.1), model=ScriptedModel(lambda _: "done", first_seconds=60)
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(BudgetExceeded) as caught:
            await asyncio.wait_for(agent.run("go"), 10)
        assert caught.value.dimension == "seconds"
        (view,) = (await views(orchestrator)).values()
        assert (view.open_count, view.unmetered_calls) == (0, 1)


async def test_a_call_that_breaks_off_counts_as_what_was_reserved() -> None:
    agent = Agent(
        "lead",
        instructions="x",
        budget=Budget(tokens=10_000),
        model=ScriptedModel([ModelUnavailable("away"), "done"]),
        loop=SHORT,
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("go")
        (view,) = (await views(orchestrator)).values()
    assert view.unmetered_calls == 1
    assert view.open_count == 0
    assert view.spent.tokens > result.usage.total_tokens + 100


async def test_a_call_that_a_dead_process_may_have_made_is_counted_beside_the_one_that_is_made_again() -> None:
    asked = asyncio.Event()

    async def speak(request: ModelRequest) -> Any:
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(60)
        return "done"

    store = MemoryStore()

    def made() -> Agent:
        return Agent("lead", instructions="x", budget=Budget(tokens=10_000), model=ScriptedModel(speak), loop=SHORT)

    first, second = made(), made()
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(first)
        await first.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        (view,) = (await views(orchestrator)).values()
        reserved = view.reserved.tokens
        await orchestrator.stop(drain_seconds=0)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(second)
        result = await second.run("go", workflow_id="one")
        (view,) = (await views(orchestrator)).values()
    assert reserved > 100
    assert view.spent.tokens == reserved + result.usage.total_tokens
    assert (view.calls, view.unmetered_calls, view.open_count, view.status) == (2, 1, 0, "CLOSED")


async def test_money_is_reserved_by_what_the_models_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"scripted:dear": {"input_per_million": "1000", "output_per_million": "100000"}}')
    monkeypatch.setenv("AGENTICFLOW_MODELS__PRICES", str(prices))
    model = ScriptedModel(lambda _: "done", name="dear")
    agent = Agent("lead", instructions="x", budget=Budget(usd=Decimal(5)), model=model, loop=SHORT)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(BudgetExceeded) as caught:
            await agent.run("go")
        assert (caught.value.dimension, model.asked) == ("usd", 0)


async def test_a_timeout_of_the_model_is_not_told_as_the_end_of_the_budget() -> None:
    async def slow(_: ModelRequest) -> str:
        raise TimeoutError("the model's own")

    agent = Agent("lead", instructions="x", budget=Budget(seconds=3_600), model=ScriptedModel(slow), loop=SHORT)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(Exception, match="the model's own") as caught:
            await agent.run("go")
        assert not isinstance(caught.value, BudgetExceeded)


async def test_agents_side_by_side_wait_for_what_the_others_have_reserved() -> None:
    """Each reserves more than half of the budget and needs a small part of it."""
    at_once: list[int] = [0, 0]

    async def speak(_: ModelRequest) -> str:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.005)
        at_once[0] -= 1
        return "done"

    agents = [
        Agent(f"a{number}", instructions="x", budget="team", model=ScriptedModel(speak), loop=SHORT)
        for number in range(4)
    ]
    async with Orchestrator(store="memory:") as orchestrator:
        for agent in agents:
            orchestrator.register_agent(agent)
        await orchestrator.budgets.open("team", Budget(tokens=190))
        results = await asyncio.wait_for(asyncio.gather(*(agent.run("go") for agent in agents)), 10)
        view = await orchestrator.budgets.get("team")
    assert [result.output for result in results] == ["done"] * 4
    assert (at_once[1], view.calls, view.open_count) == (1, 4, 0)


# --- who takes over -----------------------------------------------------------------------------------------------------


def pair(lead: Any, closer: Any, *, budget: Any = None, own: Any = None) -> Agent:
    """Two agents that hand off to each other; ``own`` is the budget of the second."""
    first: list[Agent] = []
    second = Agent(
        "closer", instructions="x", model=ScriptedModel(closer), budget=own, loop=SHORT, handoffs=[lambda: first[0]]
    )
    first.append(
        Agent("lead", instructions="x", model=ScriptedModel(lead), budget=budget, loop=SHORT, handoffs=[second])
    )
    return first[0]


def there_and_back() -> tuple[list[Any], list[Any]]:
    to, back = call_tool("transfer_to_closer"), call_tool("transfer_to_lead")
    return [to, to], [back, "closed"]


async def test_who_takes_over_spends_of_its_own_budget_while_it_speaks_and_of_that_of_the_loop() -> None:
    agent = pair(*there_and_back(), budget=Budget(tokens=100_000), own=Budget(tokens=10_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("go", workflow_id="one")
        found = await views(orchestrator)
    own = next(view for name, view in found.items() if name.startswith("handoff-"))
    whole = next(view for name, view in found.items() if name.startswith("loop-"))
    assert own.budget_id.endswith("-closer")
    assert own.lineage == (own.budget_id, whole.budget_id)
    assert whole.spent.tokens == result.usage.total_tokens > own.spent.tokens > 0
    assert (own.calls, whole.calls) == (2, 4), "both of its turns, and none of the other's"
    assert {view.status for view in found.values()} == {"CLOSED"}
    assert not any(view.open_count for view in found.values())


async def test_its_budget_ends_it_and_that_of_the_first_agent_does_not_grow_for_it() -> None:
    agent = pair(*there_and_back(), own=Budget(tokens=50))
    with pytest.raises(BudgetExceeded) as caught:
        await agent.run("go")
    assert caught.value.dimension == "tokens"
    assert str(caught.value.budget_id).startswith("handoff-")
    agent = pair(*there_and_back(), budget=Budget(tokens=250), own=Budget(tokens=10_000))
    with pytest.raises(BudgetExceeded) as caught:
        await agent.run("go")
    assert str(caught.value.budget_id).startswith("loop-"), "inside that of the loop"


async def test_its_time_runs_only_while_it_speaks() -> None:
    async def slowly(request: ModelRequest) -> Any:
        if turns_in(request):
            await asyncio.sleep(0.25)
        return call_tool("transfer_to_closer")

    agent = pair(slowly, [call_tool("transfer_to_lead"), "done"], own=Budget(seconds=0.2))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        assert (await agent.run("go")).output == "done"
        (own,) = (await views(orchestrator)).values()
    assert (own.status, own.calls) == ("CLOSED", 2)


async def test_a_shared_budget_and_one_that_is_not_there() -> None:
    agent = pair(*there_and_back(), budget=Budget(tokens=100_000), own="team")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(InvalidInput, match="team"):
            await agent.run("go")
    agent = pair(*there_and_back(), budget=Budget(tokens=100_000), own="team")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.budgets.open("team", Budget(tokens=10_000))
        result = await agent.run("go")
        found = await views(orchestrator)
    assert (found["team"].calls, found["team"].status) == (2, "OPEN")
    assert sum(view.spent.tokens for view in found.values()) > result.usage.total_tokens


async def test_what_it_reserved_stays_counted_after_a_restart_in_its_budget_too() -> None:
    asked, store = asyncio.Event(), MemoryStore()

    async def speak(request: ModelRequest) -> Any:
        if not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return "done"

    def made() -> Agent:
        return pair(
            lambda _: call_tool("transfer_to_closer"), speak, budget=Budget(tokens=50_000), own=Budget(tokens=9_000)
        )

    first, second = made(), made()
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(first)
        await first.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        own = next(view for name, view in (await views(orchestrator)).items() if name.startswith("handoff-"))
        reserved = own.reserved.tokens
        await orchestrator.stop(drain_seconds=0)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(second)
        result = await second.run("go", workflow_id="one")
        found = await views(orchestrator)
    own = found[own.budget_id]
    (whole,) = (view for name, view in found.items() if name.startswith("loop-"))
    assert reserved > 100
    assert whole.spent.tokens == reserved + result.usage.total_tokens
    assert whole.spent.tokens > own.spent.tokens > reserved
    for view in found.values():
        assert (view.unmetered_calls, view.open_count, view.status) == (1, 0, "CLOSED")
