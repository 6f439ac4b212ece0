"""Pydantic AI: an agent with its own model for tests, in memory.

Durability class: none. Its durable runs need Temporal, DBOS, Prefect or Restate around them, which are measured as themselves or need a
server. The model is its ``FunctionModel``; instrumentation is off by default, the limit of 50 requests a run is lifted for the long run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pydantic_ai import Agent, ModelResponse, TextPart, ToolCallPart, UsageLimits
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from benchmarks.protocol import Figures, import_cost, main
from benchmarks.turns import ANSWER, INSTRUCTIONS, PROMPT, SHORT, TOOL, Script, long_run, short_runs


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def agents(turns: int, measure: Callable[[Script, Callable[[], Awaitable[Any]]], Awaitable[Figures]]) -> Figures:
    """Measure runs of ``turns``."""
    script = Script(turns)
    usage = RequestUsage(input_tokens=10, output_tokens=5)  # told, so that it does not count words

    async def speak(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = len(messages) // 2  # a request, then an answer and a request for each turn
        if script.wants_tool(turn):
            part: Any = ToolCallPart(TOOL, script.arguments(turn), tool_call_id=script.call_id(turn))
        else:
            part = TextPart(ANSWER)
        return ModelResponse(parts=[part], usage=usage)

    agent = Agent(FunctionModel(speak), instructions=INSTRUCTIONS, tools=[add])
    limits = UsageLimits(request_limit=None)

    async def run() -> str:
        return (await agent.run(PROMPT, usage_limits=limits)).output

    return await measure(script, run)


if __name__ == "__main__":
    main(
        {
            "agent_memory": lambda size: asyncio.run(agents(SHORT, partial(short_runs, size))),
            "agent_long": lambda size: asyncio.run(agents(size, long_run)),
            "import_cost": lambda size: import_cost("from pydantic_ai import Agent", size),
        }
    )
