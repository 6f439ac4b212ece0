"""What planning costs, model time aside: judging an answer of twelve steps, and from a request to the first task of its plan.

Part of ``ours.py``, and run by it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from agenticflow import Agent, Orchestrator
from agenticflow.agents import LLMClient
from agenticflow.agents.decomposition import TaskDecomposer
from agenticflow.app.supervisor import SupervisorAgent
from agenticflow.testing import ScriptedModel
from benchmarks.decompositions import TWELVE, judge, staff
from benchmarks.protocol import Figures, database, expect

__all__ = ["CASES_PLANNING"]

SAID = json.dumps({**TWELVE, "strategy": "fan-out"}).replace('"sql"', '"SQL"')
SLIPS = f"Here it is:\n```json\n{SAID}\n```\nShall I go on?"
"""The twelve steps between words, in a fence, with capabilities spelt otherwise and another word for the strategy."""
REQUESTS = 9


def planning(size: int) -> Figures:
    """Return what it takes to parse, repair, assign, validate and optimise an answer, and what a request waits for its plan."""
    doers = staff()
    expect(judge(SLIPS, doers)[0], "repaired")
    taken: list[float] = []
    for _ in range(size):
        started = time.perf_counter()
        judge(SLIPS, doers)
        taken.append(time.perf_counter() - started)
    with database("planning.db") as path:
        waited = asyncio.run(_requests(path))
    seconds = sum(taken)
    return {
        "seconds": seconds,
        "per_second": size / seconds,
        "judged_ms": statistics.median(taken) * 1e3,
        "planned_ms": statistics.median(waited) * 1e3,
    }


async def _requests(path: Path) -> list[float]:
    """Return of each request how long it took, on the disk, until the first task of its plan began."""
    began = asyncio.Event()
    agents = [
        Agent(name, capabilities, concurrency=16)
        for name, capabilities in (("analyst", {"sql", "statistics"}), ("artist", {"charts"}), ("writer", {"writing"}))
    ]
    analyst, artist, writer = agents

    @analyst.task("load")
    async def load(table: str) -> list[int]:
        began.set()
        return [len(table)]

    @analyst.task("statistics")
    async def statistics_of(rows: list[int]) -> int:
        return sum(rows)

    @artist.task("chart")
    async def chart(rows: list[int]) -> str:
        return "#" * len(rows)

    @writer.task("run")
    async def run(query: str) -> str:
        return query

    waited: list[float] = []
    model = ScriptedModel(lambda request: SLIPS)
    async with Orchestrator(store=f"sqlite:///{path}") as orchestrator:
        for agent in agents:
            orchestrator.register_agent(agent)
        supervisor = SupervisorAgent("bench", orchestrator, decomposer=TaskDecomposer(LLMClient(model)))
        for _ in range(REQUESTS):
            began.clear()
            started = time.perf_counter()
            handle = await supervisor.start("Load four quarters, add up and draw each, then write a report")
            await began.wait()
            waited.append(time.perf_counter() - started)
            await handle.result()
    expect(model.asked, REQUESTS)
    return waited


CASES_PLANNING: Mapping[str, Callable[[int], Figures]] = {"planning": planning}
