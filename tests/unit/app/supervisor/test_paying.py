"""What a request may cost: planning, agents with their tools, and plans that replace others, all out of one budget."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents import LLMClient
from agenticflow.agents.decomposition import TaskDecomposer
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model import PriceTable
from agenticflow.errors import InvalidInput, WorkflowExecutionError
from agenticflow.resilience import Budget
from agenticflow.testing import ScriptedModel, call_tool
from tests.unit.app.supervisor.office import Office, planned, task
from tests.unit.runtime.engine import in_virtual_time

THINK = "Load the sales, then do some thinking"
LOAD = task("rows", "load", "sql", table="sales")
PLAN = planned(LOAD, task("text", "summary", "thinking", "rows"))


def thinker(*answers: Any, agent_id: str = "thinker", **options: Any) -> Agent:
    """Return an agent that asks a model, and looks something up when its script says so."""

    @tool
    def look() -> str:
        """Look something up."""
        return "seen"

    script: Any = answers or [lambda request: "thought"]
    model = ScriptedModel(script[0] if callable(script[0]) else list(script))
    terms = {"loop": LoopPolicy(max_output_tokens=100), **options}
    return Agent(agent_id, {"thinking"}, instructions="Think.", model=model, tools=[look], **terms)


def asked_of(agent: Agent) -> int:
    definition = agent.definition
    assert definition is not None
    return int(definition.model.asked)


@in_virtual_time
async def test_planning_agents_and_their_tools_spend_of_the_budget_of_a_request() -> None:
    office = Office("No.", PLAN, budget=Budget(tokens=90_000, tool_calls=2))
    office.orchestrator.register_agent(thinker([call_tool("look"), call_tool("look")], "thought"))
    async with office as supervisor:
        result = await supervisor.handle_user_query(THINK, workflow_id="w")
        view = await supervisor.orchestrator.budgets.get("workflow-w")
    assert result.output == "thought"
    assert (view.calls, view.spent.tool_calls, view.open_count, view.status) == (6, 2, 0, "CLOSED")
    assert result.spent == view.spent
    decomposer = supervisor.decomposer
    assert decomposer is not None
    assert view.spent.tokens > decomposer.client.spending.usage.total_tokens > 0


@in_virtual_time
async def test_a_simple_request_is_paid_too_and_one_that_costs_nothing_says_so() -> None:
    office = Office(budget=Budget(tokens=90_000))
    office.orchestrator.register_agent(thinker())
    async with office as supervisor:
        thought = await supervisor.handle_user_query("Some thinking", workflow_id="w")
        assert thought.spent is not None
        assert thought.spent.tokens > 0
        assert (await supervisor.handle_user_query("Some writing")).spent is None
        assert [view.budget_id for view in await supervisor.orchestrator.budgets.list()] == ["workflow-w"]


@in_virtual_time
async def test_an_agent_that_cannot_be_paid_ends_the_request_until_more_is_allowed() -> None:
    """More planning cannot help when the money is gone: nobody is asked for another plan, and what is done is kept."""
    office = Office(PLAN, budget=Budget(tokens=90_000, tool_calls=1))
    agent = thinker(call_tool("look"), call_tool("look"), "thought")
    office.orchestrator.register_agent(agent)
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError) as caught:
            await supervisor.handle_user_query(THINK, workflow_id="w")
        told = caught.value.message
        assert "BudgetExceeded: task 'text' of the plan cannot be paid: the budget 'workflow-w' of 1 tool_calls" in told
        assert "budgets.change('workflow-w', …), then resume_workflow('w')" in told
        assert (office.model.asked, asked_of(agent), office.calls["load sales"]) == (1, 2, 1)
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tool_calls=5))
        handle = await supervisor.orchestrator.resume_workflow("w")
        output: Any = await handle.result()
        assert (output["output"], output["plans"], output["spent"]["tool_calls"]) == ("thought", 1, 1)
        assert (office.model.asked, office.calls["load sales"]) == (1, 1)


@in_virtual_time
async def test_after_more_was_allowed_another_failure_is_planned_again() -> None:
    other = planned(task("again", "run", "writing", query="instead"))
    office = Office(PLAN, other, budget=Budget(tokens=90_000, tool_calls=1))
    office.orchestrator.register_agent(thinker(*[call_tool("look")] * 3, loop=LoopPolicy(max_turns=3)))
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="cannot be paid"):
            await supervisor.handle_user_query(THINK, workflow_id="w")
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tool_calls=5))
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert (output["output"], output["plans"]) == ("<instead>", 2)
        assert "MaxTurnsExceeded" in (await supervisor.plans("w"))[-1].reason


@in_virtual_time
async def test_an_agent_whose_own_money_is_gone_is_planned_around() -> None:
    other = planned(task("again", "run", "writing", query="instead"))
    office = Office(PLAN, other, budget=Budget(tokens=90_000))
    office.orchestrator.register_agent(thinker(budget=Budget(tokens=1)))
    async with office as supervisor:
        result = await supervisor.handle_user_query(THINK, workflow_id="w")
        assert (result.output, result.plans) == ("<instead>", 2)
        assert "BudgetExceeded: the budget 'loop-" in (await supervisor.plans("w"))[-1].reason


@in_virtual_time
async def test_the_money_is_gone_before_another_plan_is_made() -> None:
    """A first plan fails for something else, and the next answer of the model cannot be paid."""
    other = planned(task("text", "summary", "thinking", query="instead"))
    office = Office(PLAN, other, budget=Budget(tokens=9))
    office.broken.add("sales")
    async with office as supervisor:
        office.orchestrator.register_agent(thinker())
        with pytest.raises(WorkflowExecutionError, match=r"'ask-2' failed: BudgetExceeded: the budget 'workflow-w'"):
            await supervisor.handle_user_query(THINK, workflow_id="w", budget=Budget(tokens=5_000))
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tokens=90_000))
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert (output["output"], output["plans"], office.calls["load sales"]) == ("thought", 2, 1)


@in_virtual_time
async def test_a_query_has_a_budget_of_its_own_or_one_that_is_shared() -> None:
    prices = PriceTable.from_dict({"scripted:*": {"input_per_million": 1, "output_per_million": 1}})
    decomposer = TaskDecomposer(LLMClient(ScriptedModel([PLAN] * 3), prices=prices))
    office = Office(decomposer=decomposer)
    office.orchestrator.register_agent(thinker())
    async with office as supervisor:
        budgets = supervisor.orchestrator.budgets
        free = await supervisor.handle_user_query(THINK)
        assert (free.spent, await budgets.list()) == (None, [])
        own = await supervisor.handle_user_query(THINK, workflow_id="w", budget=Budget(usd=1))
        assert own.spent is not None
        assert Decimal(0) < own.spent.usd < 1
        assert not (await budgets.get("workflow-w")).is_complete, "nobody knows what the agent's model costs"
        await budgets.open("team", Budget(tokens=90_000))
        shared = await supervisor.handle_user_query(THINK, workflow_id="v", budget="team")
        assert (shared.spent, (await budgets.get("team")).calls) == (None, 2)
        with pytest.raises(InvalidInput, match="there is no budget 'nowhere'"):
            await supervisor.start(THINK, budget="nowhere")
        for wrong in (5, "", {"usd": 1}):
            with pytest.raises(InvalidInput, match="the budget is"):
                await supervisor.start(THINK, budget=wrong)  # type: ignore[arg-type]  # the mistake


@in_virtual_time
async def test_a_request_inside_a_workflow_spends_of_that() -> None:
    office = Office(PLAN, budget=Budget(tokens=90_000))
    office.orchestrator.register_agent(thinker())
    async with office as supervisor:
        params = supervisor.input_of(THINK)
        whole = WorkflowDefinition(
            [TaskDefinition("ask", workflow="office", params=params)], name="whole", budget=Budget(tokens=100)
        )
        with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 100 tokens does not cover"):
            await supervisor.orchestrator.execute_workflow(whole, workflow_id="w")
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tokens=80_000))
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert output["ask"]["output"] == "thought"
        view = await supervisor.orchestrator.budgets.get("workflow-w~ask")
        assert (view.lineage, view.calls) == (("workflow-w~ask", "workflow-w"), 2)


async def test_another_process_goes_on_with_the_same_money(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'state.db'}"
    first = Office(PLAN, budget=Budget(tokens=90_000, tool_calls=1), store=store)
    first.orchestrator.register_agent(thinker(call_tool("look"), call_tool("look")))
    async with first as supervisor:
        with pytest.raises(WorkflowExecutionError, match="cannot be paid"):
            await supervisor.handle_user_query(THINK, workflow_id="w")
    second = Office(budget=Budget(tokens=1), store=store)
    second.orchestrator.register_agent(thinker("thought"))
    async with second as supervisor:
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tool_calls=9))
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert (output["output"], output["spent"]["tool_calls"]) == ("thought", 1)
