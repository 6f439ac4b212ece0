"""Usage of tools that the type checker must refuse. ``# E: code`` marks each line it must complain about, and as what."""

from __future__ import annotations

from agenticflow import Agent, TaskContext, ToolResult, register_tool, tool
from agenticflow.tools import Caller, Tool, ToolCall, ToolPipeline, invoke_tool


@tool
async def add(a: int, b: int = 2) -> int:
    """Add."""
    return a + b


async def a_tool_is_called_like_its_function() -> None:
    await add("1")  # E: arg-type
    await add(1, c=3)  # E: call-arg
    text: str = await add(1)  # E: assignment


def terms_are_those_there_are() -> None:
    tool("weather")  # E: call-overload
    tool(effect="twice")  # E: call-overload
    tool(retries="often")  # E: call-overload
    tool(timeouts=3)  # E: call-overload
    tool(needs_approval="yes")  # E: call-overload
    register_tool(3)  # E: arg-type
    register_tool("add", colour="red")  # E: call-arg
    Agent("a", tools=[3])  # E: list-item


async def results_are_awaited_and_looked_into(agent: Agent, context: TaskContext, pipeline: ToolPipeline) -> None:
    agent.invoke_tool("add")  # E: unused-coroutine
    await agent.invoke_tool("add", ["a"])  # E: arg-type
    await agent.invoke_tool(add)  # E: arg-type
    await agent.invoke_tool_parallel(["add"])  # E: list-item
    value: int = (await context.invoke_tool("add")).value  # E: assignment
    await pipeline.invoke("add")  # E: arg-type
    await invoke_tool("add", caller="ada")  # E: arg-type
    Caller("ada")  # E: call-arg
    ToolCall()  # E: call-arg
    ToolResult.failure(3)  # E: arg-type


class Wrong(Tool):
    name = 3  # E: assignment

    async def execute(self, params: int) -> int:  # E: override
        return params
