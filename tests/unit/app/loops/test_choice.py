"""A forced call, as models see it: in the first turn, of the run that says so, after a restart as before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model.requests import ModelRequest, ToolChoice
from agenticflow.errors import (
    DefinitionError,
    InvalidInput,
    ModelOutputInvalid,
    ModelUnavailable,
    WorkflowExecutionError,
)
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool

FORCED, AUTO = (ToolChoice.REQUIRED, "look"), (ToolChoice.AUTO, "")


@tool
def look() -> str:
    """Look."""
    return "seen"


@tool
def peek() -> str:
    """Peek."""
    return "seen"


@dataclass
class Verdict:
    is_fine: bool


def choices(model: ScriptedModel) -> list[tuple[ToolChoice, str]]:
    return [(request.tool_choice, request.forced_tool) for request in model.requests]


def agent_with(script: Any, choice: str = "auto", **more: Any) -> tuple[Agent, ScriptedModel]:
    model = ScriptedModel(script)
    return Agent("lead", instructions="x", tools=[look], model=model, tool_choice=choice, **more), model


async def test_it_is_forced_once_and_the_form_is_asked_for_then() -> None:
    agent, model = agent_with([call_tool("look"), '{"is_fine": true}'], "look", output_type=Verdict)
    assert (await agent.run("go")).output == Verdict(True)
    assert choices(model) == [FORCED, AUTO]
    assert [request.output is not None for request in model.requests] == [False, True]


async def test_words_instead_are_given_back() -> None:
    agent, model = agent_with(["well", call_tool("look"), "seen"], "look")
    assert (await agent.run("go")).output == "seen"
    assert choices(model) == [FORCED, FORCED, AUTO]
    agent, model = agent_with(lambda _: "well", "required", loop=LoopPolicy(max_repairs=1))
    with pytest.raises(ModelOutputInvalid, match="has to call a tool"):
        await agent.run("go")
    assert model.asked == 2


async def test_one_run_says_it_for_itself() -> None:
    agent, model = agent_with([call_tool("look"), "one", "two"])
    assert (await agent.run("go", tool_choice="look")).output == "one"
    assert (await agent.run("go", tool_choice="none")).output == "two"
    assert choices(model) == [FORCED, AUTO, (ToolChoice.NONE, "")]


async def test_what_it_does_not_have_is_told_before_anything_is_recorded() -> None:
    agent, model = agent_with([])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(DefinitionError, match="did you mean 'look'"):
            await agent.run("go", tool_choice="loook")
        wrong: Any = 7
        with pytest.raises(InvalidInput, match="tool_choice is 7"):
            await agent.run("go", tool_choice=wrong)
        assert not await orchestrator.store.list_runs()
    assert not model.asked


async def test_a_task_says_it_by_a_param() -> None:
    agent, model = agent_with([call_tool("look"), "done"])
    plan = WorkflowDefinition(
        [TaskDefinition("ask", "lead", "ask", params={"prompt": "go", "tool_choice": "look"})], name="plan"
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        assert await (await orchestrator.start_workflow(plan)).result() == {"ask": "done"}
        wrong = WorkflowDefinition(
            [TaskDefinition("ask", "lead", "ask", params={"prompt": "go", "tool_choice": "zzz"})], name="wrong"
        )
        with pytest.raises(WorkflowExecutionError, match="which is no tool of the agent"):
            await (await orchestrator.start_workflow(wrong)).result()
    assert choices(model) == [FORCED, AUTO]


async def test_a_handoff_may_be_forced_and_the_other_one_has_a_choice_of_its_own() -> None:
    closer, closing = agent_with([call_tool("look"), "closed"], "required")
    closer = closer.clone("closer")
    first = ScriptedModel([call_tool("transfer_to_closer")])
    lead = Agent("first", instructions="x", model=first, handoffs=[lambda: closer], tool_choice="transfer_to_closer")
    assert (await lead.run("go")).output == "closed"
    assert choices(first) == [(ToolChoice.REQUIRED, "transfer_to_closer")]
    assert choices(closing) == [(ToolChoice.REQUIRED, ""), AUTO]
    wrong = Agent("first", instructions="x", model=first, handoffs=[lambda: closer], tool_choice="transfer_to_nobody")
    with pytest.raises(DefinitionError, match="transfer_to_nobody', which is no tool"):
        await wrong.run("go")


async def stopped_while_asking() -> tuple[MemoryStore, ScriptedModel]:
    """Return a store whose engine stopped while an agent that has to look first waited for its model."""
    store, asked = MemoryStore(), asyncio.Event()

    async def hang(request: ModelRequest) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    agent, model = agent_with(hang, "look")
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        await orchestrator.stop(drain_seconds=0)
    return store, model


async def test_a_restart_asks_as_it_was_recorded() -> None:
    store, before = await stopped_while_asking()
    again, after = agent_with([call_tool("look"), "done"])  # the program says "auto" now
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(again)
        assert (await again.run("go", workflow_id="one")).output == "done"
    assert choices(before) == [FORCED]
    assert choices(after) == [FORCED, AUTO]


async def test_another_attempt_does_not_force_what_was_called() -> None:
    agent, model = agent_with([call_tool("look"), ModelUnavailable("it is away"), "done"], "look")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        assert (await agent.run("go")).output == "done"
    assert choices(model) == [FORCED, AUTO, AUTO]


async def test_a_recorded_choice_of_a_tool_that_is_gone_says_so() -> None:
    store, _ = await stopped_while_asking()
    bare = Agent("lead", instructions="x", model=ScriptedModel([]), tools=[peek])
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(bare)
        with pytest.raises(DefinitionError, match="'look', which is no tool of the agent: there are peek"):
            await bare.run("go", workflow_id="one")
