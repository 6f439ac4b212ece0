"""The tools of an agent: what it may call, and in whose name."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents import Agent
from agenticflow.core.context import TaskContext
from agenticflow.core.tools import Caller, Move
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.tools import ToolContext, tool


@tool
async def add(a: int, b: int = 2) -> int:
    """Add."""
    return a + b


@tool(permissions=["name:read"])
async def who(ctx: ToolContext) -> list[str]:
    """Say who asks."""
    return [ctx.agent_id, ctx.principal]


def plain(text: str) -> str:
    """Shout."""
    return text.upper()


async def test_an_agent_calls_its_own_tools_and_no_others() -> None:
    agent = Agent("analyst", tools=[add, plain])
    assert agent.tools.names() == ("add", "plain")
    assert (await agent.invoke_tool("add", {"a": 1})).value == 3
    assert (await agent.invoke_tool("plain", {"text": "x"})).value == "X"
    refused = await agent.invoke_tool("who")
    assert refused.error is not None
    assert (refused.error.code, refused.error.move) == ("tool_not_found", Move.CALLER)


async def test_several_at_once_come_in_order_with_failures_in_their_places() -> None:
    agent = Agent("analyst", tools=[add])
    results = await agent.invoke_tool_parallel([("add", {"a": 1}), ("add", {}), {"name": "add", "params": {"a": 3}}])
    assert [one.value for one in results] == [3, None, 5]
    with pytest.raises(InvalidInput):
        await agent.invoke_tool_parallel([("add", {"a": 1})], max_concurrent=0)


async def test_the_agent_calls_on_behalf_of_somebody() -> None:
    agent = Agent("analyst", tools=[who])
    assert (await agent.invoke_tool("who")).value == ["analyst", "local owner"]
    reader = Caller(principal="ada", permissions=frozenset({"name:*"}))
    assert (await agent.invoke_tool("who", caller=reader)).value == ["analyst", "ada"]
    [refused] = await agent.invoke_tool_parallel([("who", {})], caller=Caller(principal="eve"))
    assert refused.error is not None
    assert refused.error.code == "security"


async def test_an_agent_without_tools_says_how_to_give_it_some() -> None:
    agent = Agent("analyst")
    for call in (agent.invoke_tool("add"), agent.invoke_tool_parallel([])):
        with pytest.raises(DefinitionError, match="agent 'analyst' has no tools") as refusal:
            await call
        assert refusal.value.hint == "make it with Agent('analyst', tools=[…])"


@pytest.mark.parametrize("tools", ["add", [add, add], [7], [add, "add"]])
def test_tools_that_cannot_be_meant_are_refused_when_the_agent_is_made(tools: Any) -> None:
    if tools == [add, add]:
        assert Agent("analyst", tools=tools).tools.names() == ("add",), "the same one twice is no news"
        return
    with pytest.raises(DefinitionError):
        Agent("analyst", tools=tools)


def test_handlers_of_an_agent_with_tools_are_handlers_like_others() -> None:
    agent = Agent("analyst", tools=[add])

    @agent.task("work")
    async def work(context: TaskContext) -> None: ...

    handler = agent.handler_for("work")
    assert handler is not None
    assert handler.takes_context
