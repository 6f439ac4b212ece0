"""What a step of a workflow as code costs, in steps of the same workflow as data, side by side in one process.

Part of ``ours.py``, and run by it. Processor time counts, of whole runs in turns on one warm orchestrator: a neighbour that wakes up
spoils a turn, not the figure. A step as code is recorded with one fact more (``steps_planned``), and its function is asked between two.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowContext, WorkflowDefinition, workflow
from agenticflow.orchestration.planning.functions import WorkflowFunction
from benchmarks.protocol import Figures, database, expect

__all__ = ["CASES_AS_CODE"]

TURNS = 9
AnyWorkflow = WorkflowDefinition | WorkflowFunction


def chain(size: int) -> tuple[AnyWorkflow, AnyWorkflow]:
    """Return ``size`` steps one after the other, each with the result of the one before: as data and as code."""
    tasks = [
        TaskDefinition(
            f"s{number}",
            "bench",
            "tick",
            {"x": f"${{s{number - 1}}}" if number else 0},
            [f"s{number - 1}"] if number else [],
        )
        for number in range(size)
    ]

    @workflow(name="chain-as-code")
    async def as_code(ctx: WorkflowContext, input: object) -> int:
        x = 0
        for number in range(size):
            x = await ctx.agent(f"s{number}", "bench", "tick", {"x": x})
        return x

    return WorkflowDefinition(tasks, name="chain-as-data", output=f"${{s{size - 1}}}"), as_code


def fan(size: int) -> tuple[AnyWorkflow, AnyWorkflow]:
    """Return ``size`` steps at once: as data and as code."""
    tasks = [TaskDefinition(f"s{number}", "bench", "tick", {"x": number}) for number in range(size)]

    @workflow(name="fan-as-code")
    async def as_code(ctx: WorkflowContext, input: object) -> int:
        steps = [ctx.agent(f"s{number}", "bench", "tick", {"x": number}) for number in range(size)]
        return len(await ctx.gather(*steps))

    return WorkflowDefinition(tasks, name="fan-as-data", output=size), as_code


def step_as_code(size: int) -> Figures:
    """Return the medians of the processor time of a step as data and as code, in microseconds, and how many times the one the other is."""
    figures: Figures = {"seconds": 0.0}
    steps = 0
    for name, build, durable in (("chain", chain, False), ("fan", fan, False), ("durable_chain", chain, True)):
        as_data, as_code = asyncio.run(_in_turns(build, size, durable))
        figures |= {f"{name}_us_data": as_data * 1e6, f"{name}_us_code": as_code * 1e6}
        figures[f"{name}_ratio"] = as_code / as_data
        figures["seconds"] += as_code * size * TURNS
        steps += size * TURNS
    figures["per_second"] = steps / figures["seconds"]
    return figures


async def _in_turns(
    build: Callable[[int], tuple[AnyWorkflow, AnyWorkflow]], size: int, durable: bool
) -> tuple[float, float]:
    """Return the processor seconds of a step as data and as code."""
    agent = Agent("bench", {"work"}, role="benchmark", concurrency=16)

    @agent.task("tick")
    async def tick(x: int) -> int:
        return x + 1

    took: tuple[list[float], list[float]] = ([], [])
    both = build(size)
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        async with Orchestrator(store=f"sqlite:///{path}" if durable else "memory:") as orchestrator:
            orchestrator.register_agent(agent)
            for turn in range(TURNS + 1):
                for one, times in zip(both, took, strict=True):
                    started = time.process_time()
                    run = await orchestrator.start_workflow(one)
                    expect(await run.result(), size)
                    if turn:  # the first warms everything up
                        times.append(time.process_time() - started)
    return statistics.median(took[0]) / size, statistics.median(took[1]) / size


CASES_AS_CODE: Mapping[str, Callable[[int], Figures]] = {"step_as_code": step_as_code}
