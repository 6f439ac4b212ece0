"""Sessions of agents that ask models: said once, also after failures and restarts, and clean for every provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from agenticflow import Agent, AgentOrchestrator, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.guardrails import Guardrail
from agenticflow.agents.loop.items import messages_of
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model.parts import Role, ToolCallPart
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.session import AgentSession
from agenticflow.errors import ModelUnavailable, WorkflowExecutionError
from agenticflow.testing import ScriptedModel, call_tool
from tests.simulation.letters import refusals


@tool
def look(at: str = "it") -> str:
    """Look."""
    return f"{at} is fine"


async def kept(orchestrator: Any, session_id: str = "ada") -> list[str]:
    items = await AgentSession(session_id, store=orchestrator.store).get_items()
    return [item.get("type") or f"{item['role']}: {item['content']}" for item in items]


async def test_a_conversation_goes_on_and_every_provider_takes_it() -> None:
    broken = ToolCallPart("x", "look", malformed='{"at": ')
    script: list[Any] = [
        [call_tool("look"), call_tool("nothing"), broken],
        "one",
        "two",
        [call_tool("look", at="that")],
        "",
        "four",
    ]
    agent = Agent("chat", instructions="x", tools=[look], model=ScriptedModel(script))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        for number in range(4):
            await agent.run(f"question {number}", session="ada")
            items = await AgentSession("ada", store=orchestrator.store).get_items()
            assert list(refusals(messages_of(items))) == []
        assert sum(line.startswith("user") for line in await kept(orchestrator)) == 4


async def test_a_foreign_history_is_gone_on_with() -> None:
    model = ScriptedModel(["fine"])
    agent = Agent("chat", instructions="x", model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        session = AgentSession("ada", store=orchestrator.store)
        await session.add_items(
            [
                {"role": "user", "content": "hello"},
                {
                    "type": "function_call",
                    "id": "f1",
                    "call_id": "c1",
                    "name": "see",
                    "arguments": "{}",
                    "status": "completed",
                },
                {
                    "type": "function_call",
                    "id": "f2",
                    "call_id": "c2",
                    "name": "see",
                    "arguments": "{}",
                    "status": "completed",
                },
                {"type": "function_call_output", "call_id": "c1", "output": "seen"},
            ]
        )
        assert (await agent.run("and?", session=session)).output == "fine"
    asked = model.requests[0].messages
    assert [message.role for message in asked] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL, Role.USER]


async def test_what_a_guardrail_refused_is_kept_once_somebody_has_the_run_resumed_and_it_passes() -> None:
    is_strict = True
    rail = Guardrail(lambda _, value: (not is_strict, "too strict"), name="strict", kinds=["output"])
    agent = Agent("chat", instructions="x", model=ScriptedModel(["one", "two"]), guardrails=[rail])
    plan = WorkflowDefinition([TaskDefinition("ask", "chat", "ask", params={"prompt": "go", "session_id": "ada"})])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(plan, workflow_id="one")
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        assert await kept(orchestrator) == []
        is_strict = False
        handle = await orchestrator.resume_workflow("one")
        assert await handle.result() == {"ask": "two"}
        assert await kept(orchestrator) == ["user: go", "assistant: one", "assistant: two"]


class Notebook:
    """A conversation of another library: two methods and a name."""

    session_id = "notebook"

    def __init__(self) -> None:
        self.items: list[Any] = []

    async def get_items(self, limit: int | None = None) -> list[Any]:
        return list(self.items)

    async def add_items(self, items: Iterable[Any]) -> None:
        self.items += items


async def test_a_conversation_of_another_library_is_added_to_once_the_agent_has_answered() -> None:
    notebook = Notebook()
    model = ScriptedModel([call_tool("look"), ModelUnavailable("away"), "one", "two"])
    agent = Agent("chat", instructions="x", tools=[look], model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        assert (await agent.run("first", session=notebook)).output == "one"
        assert (await agent.run("second", session=notebook)).output == "two"
    words = [item.get("type") or item["content"] for item in notebook.items]
    assert words == ["first", "function_call", "function_call_output", "one", "second", "two"]


async def test_a_crew_keeps_the_whole_conversation_of_an_agent_that_was_tried_again() -> None:
    model = ScriptedModel([call_tool("look"), ModelUnavailable("away"), "one"])
    agent = Agent("chat", instructions="x", tools=[look], model=model)
    async with AgentOrchestrator([agent], store="memory:") as crew:
        assert await crew.run("first", {}, session_id="ada") == "one"
        items = await crew.session("ada").get_items()
    words = [item.get("type") or item["content"] for item in items]
    assert words == ["first", "function_call", "function_call_output", "one"]


async def test_several_at_once_in_one_conversation_each_say_all_of_theirs_together() -> None:
    model = ScriptedModel(lambda request: f"answer to {request.messages[-1].text}", first_seconds=0.01)
    agent = Agent("chat", instructions="x", model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await asyncio.gather(*(agent.run(f"q{number}", session="ada") for number in range(10)))
        lines = await kept(orchestrator)
    assert len(lines) == 20
    for number in range(10):
        assert lines[lines.index(f"user: q{number}") + 1] == f"assistant: answer to q{number}"


async def test_after_a_summary_the_conversation_is_one_that_providers_take() -> None:
    def speak(request: ModelRequest) -> Any:
        if request.messages[0].text.startswith("You are given the beginning"):
            return "they looked at many things"
        turn = sum(message.role is Role.ASSISTANT for message in request.messages)
        return call_tool("look", at=f"thing {model.asked}") if model.asked < 15 or turn < 1 else "done"

    model = ScriptedModel(speak)
    agent = Agent(
        "chat", instructions="x", tools=[look], model=model, loop=LoopPolicy(max_turns=50, compact_after_tokens=120)
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run("look at everything", session="ada")
        await agent.run("go on", session="ada")
        items = await AgentSession("ada", store=orchestrator.store).get_items()
        assert list(refusals(messages_of(items))) == []
