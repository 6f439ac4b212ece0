"""Calls of tools: side by side and bounded, every one of them with exactly one result, whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.loop.results import AgentResult
from agenticflow.agents.model.parts import Role, ToolCallPart, ToolResultPart
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.session import AgentSession
from agenticflow.errors import MaxTurnsExceeded
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.tools import ToolContext
from agenticflow.tools.execution.pipeline import get_tool_pipeline


def results_in(result: AgentResult) -> dict[str, tuple[str, bool]]:
    """Return what the model was told of each call, by its id, and see that a provider takes it."""
    ModelRequest(messages=tuple(result.messages)).check()
    parts = [part for one in result.messages for part in one.parts if isinstance(part, ToolResultPart)]
    assert len({part.call_id for part in parts}) == len(parts)
    return {part.call_id: (part.content, part.is_error) for part in parts}


def calls(*parts: ToolCallPart) -> ScriptedModel:
    return ScriptedModel([list(parts), "done"])


def named(call_id: str, name: str, **arguments: object) -> ToolCallPart:
    return ToolCallPart(call_id, name, arguments)


async def test_calls_are_made_side_by_side_and_never_more_than_allowed() -> None:
    at_work, most = 0, 0

    @tool
    async def wait(number: int) -> int:
        """Wait a moment."""
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.01)
        at_work -= 1
        return number

    async def most_at_once(allowed: int) -> int:
        nonlocal most
        most = 0
        agent = Agent(
            "busy",
            instructions="x",
            tools=[wait],
            loop=LoopPolicy(max_parallel_calls=allowed),
            model=calls(*(named(f"c{one}", "wait", number=one) for one in range(8))),
        )
        told = results_in(await agent.run("go"))
        assert told == {f"c{one}": (str(one), False) for one in range(8)}
        return most

    assert await most_at_once(3) == 3
    assert await most_at_once(100) == 8


async def test_every_ending_of_a_call_is_told_to_the_model() -> None:
    @tool
    def fine() -> str:
        """Be fine."""
        return "fine"

    @tool
    def breaks() -> str:
        """Break."""
        raise ValueError("no such thing")

    @tool(timeout=0.02)
    async def slow() -> str:
        """Take too long."""
        await asyncio.sleep(60)
        return "too late"

    @tool(permissions=["money:pay"])
    def forbidden() -> str:
        """Pay."""
        return "paid"

    @tool
    async def vanishes() -> str:
        """Cancel itself."""
        raise asyncio.CancelledError

    agent = Agent(
        "busy",
        instructions="x",
        tools=[fine, breaks, slow, forbidden, vanishes],
        model=calls(
            named("fine", "fine"),
            named("breaks", "breaks"),
            named("slow", "slow"),
            named("forbidden", "forbidden"),
            named("vanishes", "vanishes"),
            named("wrong", "fine", number=5),
            named("unknown", "nothing"),
            ToolCallPart("malformed", "fine", malformed='{"a":'),
        ),
    )
    told = results_in(await agent.run("go"))
    assert list(told) == ["fine", "breaks", "slow", "forbidden", "vanishes", "wrong", "unknown", "malformed"]
    assert told["fine"] == ("fine", False)
    assert all(is_error for name, (_, is_error) in told.items() if name not in ("fine", "forbidden"))
    for name, words in {
        "breaks": "no such thing",
        "slow": "0.02",
        "wrong": "number",
        "unknown": "there is no tool 'nothing'; there are: breaks, fine",
        "malformed": "are no JSON object",
    }.items():
        assert words in told[name][0], told[name]


async def test_equal_ids_and_those_of_earlier_answers_are_told_apart() -> None:
    seen: list[str] = []

    @tool
    def look(at: str, ctx: ToolContext) -> str:
        """Look."""
        seen.append(ctx.effect_key)
        return f"saw {at}"

    model = ScriptedModel(
        [
            [named("call_0", "look", at="a"), named("call_0", "look", at="b")],
            named("call_0", "look", at="c"),
            "done",
        ]
    )
    result = await Agent("busy", instructions="x", tools=[look], model=model).run("go")
    assert [content for content, _ in results_in(result).values()] == ["saw a", "saw b", "saw c"]
    assert len(set(seen)) == 3


async def test_ids_of_the_conversation_before_are_not_used_again() -> None:
    seen: list[str] = []

    @tool
    def look(ctx: ToolContext) -> str:
        """Look."""
        seen.append(ctx.effect_key)
        return "fine"

    def speak(request: ModelRequest) -> Any:
        return named("call_0", "look") if request.messages[-1].role is Role.USER else "done"

    agent = Agent("busy", instructions="x", tools=[look], model=ScriptedModel(speak))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        for _ in range(3):
            await agent.run("go", session="ada")
        items = await AgentSession("ada", store=orchestrator.store).get_items()
    ids = [item["call_id"] for item in items if item.get("type") == "function_call"]
    assert len(set(ids)) == 3 == len(set(seen))


async def test_several_handoffs_at_once_are_one_and_the_others_are_told() -> None:
    first = Agent("first", role="a", model=ScriptedModel(["I am first"]))
    second = Agent("second", role="b", model=ScriptedModel(["I am second"]))

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    agent = Agent(
        "lead",
        instructions="x",
        tools=[look],
        handoffs=[first, second],
        model=calls(
            named("2", "transfer_to_second"),
            named("1", "transfer_to_first"),
            named("look", "look"),
            named("x", "transfer_to_third"),
        ),
    )
    result = await agent.run("go")
    assert (result.agent, result.output) == ("second", "I am second")
    told = results_in(result)
    assert "'second' goes on" in told["2"][0]
    assert told["1"] == ("you hand off to one agent at a time: the first one goes on", True)
    assert told["look"] == ("seen", False)
    assert "transfer_to_first, transfer_to_second" in told["x"][0]


async def test_agents_that_hand_back_and_forth_end_with_their_turns() -> None:
    back = Agent("ping", role="ping", model=ScriptedModel(["never asked: the first of this name is"]))
    pong = Agent("pong", role="pong", model=ScriptedModel(lambda _: call_tool("transfer_to_ping")), handoffs=[back])
    ping = Agent(
        "ping", instructions="x", model=ScriptedModel(lambda _: call_tool("transfer_to_pong")), handoffs=[pong]
    )
    with pytest.raises(MaxTurnsExceeded, match="taken 10 turns"):
        await ping.run("go")


async def test_the_pipeline_is_told_of_who_calls() -> None:
    seen: list[tuple[str, str]] = []
    end = get_tool_pipeline().listen(lambda use: seen.append((use.caller.agent_id, use.call.name)))

    @tool
    def look(ctx: ToolContext) -> str:
        """Look."""
        return str(ctx.context)

    try:
        agent = Agent("busy", instructions="x", tools=[look], model=calls(named("1", "look")))
        result = await agent.run("go", context={"user": "ada"})
    finally:
        end()
    assert seen == [("busy", "look")]
    assert "ada" in results_in(result)["1"][0]


async def test_a_large_result_and_a_large_prompt_stand_apart_and_are_read_again() -> None:
    @tool
    def read() -> str:
        """Read a lot."""
        return "x" * 200_000

    agent = Agent("reader", instructions="x", tools=[read], model=ScriptedModel([call_tool("read"), "y" * 150_000]))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("z" * 100_000, workflow_id="large", session="ada")
        assert len(result.output) == 150_000
        again = await agent.run("z" * 100_000, workflow_id="large", session="ada")
        assert again == result
        assert len(await AgentSession("ada", store=orchestrator.store).get_items()) == 4


async def test_arguments_that_are_large_stand_apart_too() -> None:
    @tool
    def count(text: str) -> int:
        """Count."""
        return len(text)

    agent = Agent("writer", instructions="x", tools=[count], model=calls(named("1", "count", text="x" * 200_000)))
    assert results_in(await agent.run("go"))["1"] == ("200000", False)
