"""What somebody who read nothing but the documentation ran into: each was wrong once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from agenticflow import Agent, AgentSession, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents import LoopPolicy
from agenticflow.agents.asked.agent_tool import AgentTool
from agenticflow.agents.loop.results import ToolCalled
from agenticflow.agents.model import Model, ModelRequest
from agenticflow.app.loops.place import MAX_DEPTH
from agenticflow.errors import (
    BudgetExceeded,
    DefinitionError,
    InvalidInput,
    MaxTurnsExceeded,
    WorkflowExecutionError,
)
from agenticflow.resilience import Budget
from agenticflow.storage.memory.store import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool

LIMIT_SECONDS = 20


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing at {place}"


def restless(request: ModelRequest) -> Any:
    """A model that never comes to an end, and never asks for the same twice."""
    return call_tool("look", place=str(len(request.messages)))


def guide(**options: Any) -> Agent:
    return Agent("guide", **{"instructions": "Look.", "model": ScriptedModel(restless), "tools": [look], **options})


# --- what one run may spend ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [Budget(tool_calls=2), {"tool_calls": 2}])
async def test_a_run_has_a_budget_of_its_own(budget: Any) -> None:
    with pytest.raises(BudgetExceeded, match="of 2 tool_calls does not cover this call: 2 spent") as refused:
        await guide().run("Go.", budget=budget)
    assert refused.value.budget_id.startswith("task-")


async def test_the_budget_of_a_run_is_inside_that_of_the_agent() -> None:
    with pytest.raises(BudgetExceeded, match="of 1 tool_calls"):
        await guide(budget=Budget(tool_calls=1)).run("Go.", budget=Budget(tool_calls=5))


async def test_tasks_have_budgets_as_data_and_share_open_ones() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(guide())
        await orchestrator.budgets.open("all", Budget(tool_calls=3))
        plan = WorkflowDefinition(
            [
                TaskDefinition("own", "guide", "go", {"prompt": "Go.", "budget": {"tool_calls": 1, "usd": "0.5"}}),
                TaskDefinition("shared", "guide", "go", {"prompt": "Go.", "budget": "all"}),
            ],
            name="two",
        )
        with pytest.raises(WorkflowExecutionError) as failed:
            await (await orchestrator.start_workflow(plan, {})).result()
        assert "BudgetExceeded" in failed.value.failed["own"]
        assert "BudgetExceeded" in failed.value.failed["shared"]
        assert (await orchestrator.budgets.get("all")).spent.tool_calls == 3
        [own] = [one for one in await orchestrator.budgets.list() if one.budget_id != "all"]
        assert (own.status, own.limits.usd) == ("OPEN", Decimal("0.5"))  # somebody may allow more


async def test_a_run_that_may_spend_more_goes_on() -> None:
    answers: list[Any] = [call_tool("look", place="here"), call_tool("look", place="there"), "Nothing."]
    async with Orchestrator(store="memory:") as orchestrator:
        agent = orchestrator.register_agent(guide(model=ScriptedModel(answers)))
        with pytest.raises(BudgetExceeded) as refused:
            await agent.run("Go.", budget=Budget(tool_calls=1), workflow_id="w")
        await orchestrator.budgets.change(refused.value.budget_id, Budget(tool_calls=2))
        handle = await orchestrator.resume_workflow("w")
        assert await asyncio.wait_for(handle.result(), LIMIT_SECONDS) == {"run": "Nothing."}
        assert (await orchestrator.budgets.get(refused.value.budget_id)).status == "CLOSED"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 5}, "the budget is 5"),
        ({"budget": ""}, "the budget is ''"),
        ({"max_turns": 0}, "max_turns is 0"),
        ({"max_turns": True}, "max_turns is True"),
        ({"max_turns": "3"}, "max_turns is '3'"),
    ],
)
async def test_wrong_limits_of_a_run_are_told_before_anything_begins(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await guide().run("Go.", **options)


async def test_a_run_takes_fewer_turns_than_its_agent_may() -> None:
    with pytest.raises(MaxTurnsExceeded, match="has taken 3 turns"):
        await guide(loop=LoopPolicy(max_turns=50)).run("Go.", max_turns=3)


# --- agents that know each other ----------------------------------------------------------------------------------------


async def test_agents_hand_off_to_each_other_by_functions() -> None:
    first = Agent(
        "first", role="asks", model=ScriptedModel([call_tool("transfer_to_second"), "Ah."]), handoffs=[lambda: second]
    )
    second: Agent = Agent(
        "second", role="answers", model=ScriptedModel([call_tool("transfer_to_first")]), handoffs=[first]
    )
    result = await first.run("Well?")
    assert (result.agent, result.output) == ("first", "Ah.")


async def test_two_agents_that_a_model_could_not_tell_apart_are_refused() -> None:
    twins = [Agent("a b", role="one", model=ScriptedModel([])), Agent("a_b", role="other", model=ScriptedModel([]))]
    with pytest.raises(DefinitionError, match="would hand off to 'a b' and to 'a_b' by the same name"):
        await guide(handoffs=twins).run("Go.")


async def test_an_agent_that_is_a_tool_of_itself_comes_to_an_end() -> None:
    def again(request: ModelRequest) -> Any:
        results = request.messages[-1].results
        return results[0].content if results else call_tool("me", prompt="again")

    me = AgentTool(None, "me", "asks itself")  # type: ignore[arg-type]  # it is told below whom it asks
    agent = Agent("agent", role="asks itself", model=ScriptedModel(again), tools=[me])
    me.agent = agent
    result = await asyncio.wait_for(agent.run("Go."), LIMIT_SECONDS)
    assert f"would be asked inside of {MAX_DEPTH} agents" in result.output


async def test_a_clone_differs_in_what_is_said() -> None:
    agent = guide(loop=LoopPolicy(max_turns=7), budget=Budget(tool_calls=1))
    other = agent.clone("other", model=ScriptedModel(["Hm."]), role="says hm", concurrency=2, capabilities={"hm"})
    assert (other.agent_id, other.role, other.get_capabilities()) == ("other", "says hm", frozenset({"hm"}))
    assert other.definition is not None
    assert agent.definition is not None
    assert (other.definition.loop, other.definition.tools) == (agent.definition.loop, (look,))
    assert (await other.run("Go.")).output == "Hm."
    assert agent.agent_id == "guide"
    with pytest.raises(DefinitionError, match="asks no model"):
        Agent("plain").clone("other")


# --- wrong input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["tools", "handoffs", "guardrails"])
def test_a_text_is_no_list_of_letters(what: str) -> None:
    with pytest.raises(DefinitionError, match=rf"{what} of agent 'guide' is 'look' \(write {what}=\['look'\]\)"):
        guide(**{what: "look"})


def test_a_budget_that_is_none_is_told_when_the_agent_is_made() -> None:
    with pytest.raises(DefinitionError, match="the budget is 5: give Budget"):
        guide(budget=5)


async def test_instructions_are_a_function_of_the_context_alone_too() -> None:
    agent = Agent(
        "a",
        instructions=lambda context: f"In {context['city']}.",
        model=ScriptedModel(lambda request: request.messages[0].text),
    )
    assert (await agent.run("?", context={"city": "Graz"})).output == "In Graz."


async def test_instructions_that_are_no_text_are_refused_in_words() -> None:
    async def later(context: Any, definition: Any) -> Any:
        return 5

    with pytest.raises(WorkflowExecutionError, match="returned a int, not a text"):
        await guide(instructions=later).run("Go.")


class Babbling(Model):
    """Streams what is no delta."""

    provider = name = "babbling"

    async def stream(self, request: ModelRequest) -> Any:
        yield 5


async def test_what_is_no_delta_is_told() -> None:
    with pytest.raises(DefinitionError, match="a model streamed 5, which is no delta of an answer"):
        await guide(model=Babbling()).run("Go.")


async def test_a_script_that_answers_nothing_is_told() -> None:
    silent: Any = ScriptedModel(lambda request: None)  # type: ignore[arg-type,return-value]  # what is wrong is what is tried
    with pytest.raises(InvalidInput, match="has the answer None"):
        await guide(model=silent).run("Go.")


@tool
def leave() -> str:
    """Leave."""
    raise SystemExit(3)


async def test_a_tool_that_exits_ends_its_call_alone() -> None:
    agent = guide(model=ScriptedModel([call_tool("leave"), "Stayed."]), tools=[leave])
    result = await agent.run("Go.")
    assert result.output == "Stayed."
    assert "SystemExit: 3" in result.messages[2].results[0].content


# --- after a crash --------------------------------------------------------------------------------------------------------


async def test_agents_are_run_also_when_a_run_of_before_was_taken_up_first() -> None:
    store = MemoryStore()
    stuck = asyncio.Event()

    async def waits(request: ModelRequest) -> str:
        await stuck.wait()
        return "late"

    first = Orchestrator(store=store)
    agent = first.register_agent(Agent("a", instructions="?", model=ScriptedModel(waits)))
    await agent.run_stream("Go.", workflow_id="w")
    await first.stop(drain_seconds=0)
    stuck.set()
    async with Orchestrator(store=store) as second:
        again = second.register_agent(Agent("a", instructions="?", model=ScriptedModel(lambda request: "done")))
        await asyncio.wait_for(
            (await second.start_workflow(WorkflowDefinition([TaskDefinition("t", "a", "t")], name="n"), {})).result(),
            LIMIT_SECONDS,
        )
        assert (await asyncio.wait_for(again.run("And now?"), LIMIT_SECONDS)).output == "done"


async def test_a_session_in_a_closed_store_is_told_and_not_waited_for() -> None:
    closed = MemoryStore()
    session = AgentSession("ada", store=closed)
    await closed.close()
    async with Orchestrator(store="memory:") as orchestrator:
        agent = orchestrator.register_agent(guide(model=ScriptedModel(["Hello."])))
        with pytest.raises(WorkflowExecutionError, match="the memory store is closed"):
            await asyncio.wait_for(agent.run("Hello?", session=session), LIMIT_SECONDS)


@tool
async def wait() -> str:
    """Wait."""
    await asyncio.sleep(600)
    return "at last"


class Slow(AgentSession):
    """Keeps what is said after a while."""

    async def add_items(self, items: Iterable[Any], *, command_id: str | None = None) -> None:
        await asyncio.sleep(0.3)
        await super().add_items(items, command_id=command_id)


async def test_what_was_said_before_somebody_stopped_it_is_there_once_the_end_is_told() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        agent = orchestrator.register_agent(guide(model=ScriptedModel([call_tool("wait")]), tools=[wait]))
        session = Slow("ada", store=orchestrator.store)
        stream = await agent.run_stream("Wait.", session=session, workflow_id="w")
        async for update in stream:
            if isinstance(update, ToolCalled):
                break
        await orchestrator.abort("w", "enough")
        with pytest.raises(WorkflowExecutionError):
            await asyncio.wait_for(stream.result(), LIMIT_SECONDS)
        items = await session.get_items()
        assert [item.get("role") or item["type"] for item in items] == ["user", "function_call", "function_call_output"]
