"""Agents that ask a model: their turns, recorded, in memory and on the disk. Part of ``ours.py``, and run by it.

Every answer and every result of a tool is an event of the run, on the disk before the next turn where there is one. Nothing is tuned
but the agent's concurrency, and the turns that a long run may have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import msgspec

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model import (
    Delta,
    FinishReason,
    Model,
    ModelRequest,
    ResponseBegan,
    ResponseFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageTold,
)
from benchmarks.protocol import Figures, database
from benchmarks.turns import ANSWER, AT_ONCE, INSTRUCTIONS, PROMPT, SHORT, TOOL, Script, at_once, long_run, short_runs

__all__ = ["CASES_OF_AGENTS"]


class Fake(Model):
    """Says what the script has for it."""

    provider = "fake"
    name = "scripted"

    def __init__(self, script: Script) -> None:
        self.script = script

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        script = self.script
        turn = (len(request.messages) - 2) // 2  # instructions and prompt, then an answer and a result for each turn
        yield ResponseBegan(self.provider, self.name)
        if script.wants_tool(turn):
            arguments = msgspec.json.encode(script.arguments(turn)).decode()
            yield ToolCallDelta(0, script.call_id(turn), TOOL, arguments)
            yield UsageTold(Usage(10, 5))
            yield ResponseFinished(FinishReason.TOOL_CALLS)
        else:
            yield TextDelta(0, ANSWER)
            yield UsageTold(Usage(10, 5))
            yield ResponseFinished(FinishReason.STOP)


Measure = Callable[[Script, Callable[[], Awaitable[object]]], Awaitable[Figures]]
"""Takes the script and what makes one run."""


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def _agents(address: str, turns: int, measure: Measure) -> Figures:
    script = Script(turns)
    async with Orchestrator(store=address) as orchestrator:
        agent = orchestrator.register_agent(
            Agent(
                "adder",
                model=Fake(script),
                tools=[add],
                instructions=INSTRUCTIONS,
                loop=LoopPolicy(max_turns=turns),
                concurrency=AT_ONCE,
            )
        )

        async def run() -> object:
            return (await agent.run(PROMPT)).output

        return await measure(script, run)


def agent_runs(size: int, *, durable: bool) -> Figures:
    """Return the turns a second of ``size`` runs of two turns and one call."""
    kind = at_once if durable else short_runs
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        return asyncio.run(_agents(f"sqlite:///{path}" if durable else "memory:", SHORT, partial(kind, size)))


def agent_long(size: int) -> Figures:
    """Return the turns a second of one run of ``size`` turns, and how a turn at its end compares with one at its beginning."""
    return asyncio.run(_agents("memory:", size, long_run))


CASES_OF_AGENTS: Mapping[str, Callable[[int], Figures]] = {
    "agent_memory": partial(agent_runs, durable=False),
    "agent_durable": partial(agent_runs, durable=True),
    "agent_long": agent_long,
}
