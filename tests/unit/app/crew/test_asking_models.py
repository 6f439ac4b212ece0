"""Agents that ask a model in a crew: with its conversation, its context and its guardrails, and described ones without a runner."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agenticflow import Agent, AgentOrchestrator, tool
from agenticflow.agents import AgentDefinition, get_agent_registry, register_agent
from agenticflow.agents.declared.definitions import AgentDefinitions
from agenticflow.agents.guardrails import Guardrail
from agenticflow.app.crew import Route, RoutingHelper
from agenticflow.errors import AgentNotFoundError, GuardrailTripwireTriggered
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.tools import ToolContext


@tool
def note(customer: str, ctx: ToolContext) -> str:
    """Note who asks."""
    ctx.context.add_discovered_item("customer", customer)
    return "noted"


async def test_a_described_agent_asks_its_model_and_goes_on_with_the_conversation() -> None:
    triage = Agent(
        "triage",
        instructions="Sort.",
        tools=[note],
        model=ScriptedModel([call_tool("note", customer="Ada"), "billing"]),
    )
    billing = AgentDefinition(
        "billing", "bills", "Bill.", model=ScriptedModel(lambda request: f"{len(request.messages)} messages, paid")
    )
    routing = RoutingHelper([Route("billing", when="${output} == 'billing'", after="triage")], first="triage")
    async with AgentOrchestrator([triage, billing], routing=routing, store="memory:") as crew:
        # its instructions, what was asked and answered before with one call, and the question again
        assert await crew.run("Is it paid?", {}, session_id="ada") == "6 messages, paid"
        items = await crew.session("ada").get_items()
        assert [item.get("type") or item["role"] for item in items] == [
            "user",
            "function_call",
            "function_call_output",
            "assistant",
            "user",
            "assistant",
        ]


async def test_a_guardrail_of_the_agent_itself_refuses_as_one_of_the_crew() -> None:
    rude = Agent(
        "rude",
        instructions="Be rude.",
        model=ScriptedModel(["go away"]),
        guardrails=[Guardrail(lambda ctx, value: ("away" not in value, "be polite"), name="polite", kinds=["output"])],
    )
    async with AgentOrchestrator([rude], store="memory:") as crew:
        with pytest.raises(GuardrailTripwireTriggered) as caught:
            await crew.run("Hello")
        assert (caught.value.guardrail, caught.value.reason) == ("polite", "be polite")


@pytest.fixture
def described() -> Iterator[AgentDefinitions]:
    registry = get_agent_registry()
    before = {one.name for one in registry}
    yield registry
    for name in {one.name for one in registry} - before:
        registry.remove(name)


async def test_without_agents_everybody_answers_who_is_described(described: AgentDefinitions) -> None:
    register_agent(AgentDefinition("a silent one", "has nothing to answer with", "Be silent."))
    async with AgentOrchestrator(store="memory:", routing=RoutingHelper(first="poet")) as crew:
        with pytest.raises(AgentNotFoundError, match="describe some that have a model"):
            await crew.run("the sea", {})
        register_agent(AgentDefinition("poet", "writes poems", "Write.", model=ScriptedModel(["a poem"])))
        assert await crew.run("the sea", {}) == "a poem"
        assert list(crew.agents) == ["poet"]


async def test_who_was_given_agents_takes_nobody_else(described: AgentDefinitions) -> None:
    register_agent(AgentDefinition("poet", "writes poems", "Write.", model=ScriptedModel(["a poem"])))
    crew = AgentOrchestrator(store="memory:")
    crew.register_agent(Agent("critic", model=ScriptedModel(["bad"])))
    assert list(crew.agents) == ["poet", "critic"], "those that were described when it was made"
    register_agent(AgentDefinition("later", "comes later", "Write.", model=ScriptedModel(["late"])))
    async with crew, AgentOrchestrator([Agent("only", model=ScriptedModel(["me"]))], store="memory:") as other:
        assert list(crew.agents) == ["poet", "critic"]
        assert list(other.agents) == ["only"]
