"""What ours is compared with itself in: the cost of a loop, a condition, a sub-workflow, a lock, a breaker and a tool, a real
graph, the look at every open run, and the inbox.

Part of ``ours.py``, and run by it. The first four give how much one of them costs beyond the step that is in it, in plain steps of
the same run: 0 would be free, 1 makes such a step twice as dear. A loop's share is that of one iteration. A breaker's and a tool's are in
microseconds, and the graph is near its lower bound.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from agenticflow import Agent, CircuitBreaker, Orchestrator, TaskDefinition, WorkflowDefinition, circuit_breaker
from agenticflow.app.wiring import open_store
from agenticflow.orchestration import Approval
from agenticflow.resilience import BreakerPolicy, Rate
from agenticflow.tools import ToolCall, ToolRegistry, get_tool_pipeline, tool
from benchmarks.import_graph import import_graph, lower_bound
from benchmarks.protocol import Figures, database, expect, skipped

__all__ = ["CASES_ALONE"]

TURNS = 3
LOOKS = 7
SLICES = 50
SEATS = 64
"""Enough that the longest chain is the lower bound."""


class Ticking:
    """One agent that counts its calls, or waits as long as it is told."""

    def __init__(self, concurrency: int = 16) -> None:
        self.ticks = 0
        self.agent = Agent("bench", {"work"}, role="benchmark", concurrency=concurrency)

        @self.agent.task("tick")
        async def tick() -> dict[str, int]:
            self.ticks += 1
            return {"n": self.ticks}

        @self.agent.task("sleep")
        async def sleep(milliseconds: int) -> int:
            self.ticks += 1
            await asyncio.sleep(milliseconds / 1_000)
            return milliseconds


def task(number: int, **options: Any) -> TaskDefinition:
    """Return one step of a chain."""
    before = {f"s{number - 1}"} if number else set()
    return TaskDefinition(f"s{number}", "bench", "tick", dependencies=before, **options)


def plain(size: int) -> WorkflowDefinition:
    """Return a chain of ``size`` steps, which all others are compared with."""
    return WorkflowDefinition([task(number) for number in range(size)], name="plain")


def loop(size: int) -> WorkflowDefinition:
    """Return one task that is repeated ``size`` times."""
    return WorkflowDefinition([task(0, repeat_until=f"${{s0.n}} >= {size}", max_iterations=size)], name="loop")


def condition(size: int) -> WorkflowDefinition:
    """Return the chain, each step but the first under a condition that holds."""
    tasks = [task(number, when=f"${{s{number - 1}.n}} > 0" if number else None) for number in range(size)]
    return WorkflowDefinition(tasks, name="condition")


def sub_workflow(size: int) -> WorkflowDefinition:
    """Return a chain of sub-workflows, each of one step."""
    child = WorkflowDefinition([TaskDefinition("only", "bench", "tick")], name="child")
    tasks = []
    for number in range(size):
        before = {f"s{number - 1}"} if number else set()
        options: dict[str, Any] = {"workflow": child, "params": {}, "dependencies": before}
        tasks.append(TaskDefinition(f"s{number}", **options))
    return WorkflowDefinition(tasks, name="parent")


def lock(size: int) -> WorkflowDefinition:
    """Return the chain, each step holding the same lock."""
    return WorkflowDefinition([task(number, locks=("press",)) for number in range(size)], name="lock")


NEEDS = {"loop": "repeat_until", "condition": "when", "sub_workflow": "workflow", "lock": "locks"}
"""The field of a task that each of them is written with."""
KINDS: Mapping[str, Callable[[int], WorkflowDefinition]] = {
    "loop": loop,
    "condition": condition,
    "sub_workflow": sub_workflow,
    "lock": lock,
}


def extra_cost(name: str, size: int) -> Figures:
    """Return what one ``name`` costs beyond its step, in plain steps, in memory and on the disk; medians of turns with the plain chain."""
    if NEEDS[name] not in TaskDefinition.__struct_fields__:
        return skipped(f"tasks have no {NEEDS[name]!r} yet")
    figures: Figures = {"seconds": 0.0}
    for where, durable in (("memory", False), ("durable", True)):
        plains, others = [], []
        for _ in range(TURNS):
            plains.append(asyncio.run(timed(plain, size, durable)))
            others.append(asyncio.run(timed(KINDS[name], size, durable)))
        each_plain, each_other = statistics.median(plains) / size, statistics.median(others) / size
        figures |= {f"{where}_us_plain": each_plain * 1e6, f"{where}_us": each_other * 1e6}
        figures[f"{where}_extra"] = each_other / each_plain - 1
        figures["seconds"] += statistics.median(others)
    figures["per_second"] = 2 * size / figures["seconds"]
    return figures


async def timed(build: Callable[[int], WorkflowDefinition], size: int, durable: bool) -> float:
    """Return the seconds of one run of ``build(size)`` on a new store, after a short one."""
    bench = Ticking()
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        orchestrator = Orchestrator(store=f"sqlite:///{path}" if durable else "memory:")
        orchestrator.register_agent(bench.agent)
        async with orchestrator:
            await orchestrator.execute_workflow(build(5))
            bench.ticks = 0
            definition = build(size)
            started = time.perf_counter()
            await orchestrator.execute_workflow(definition)
            seconds = time.perf_counter() - started
    expect(bench.ticks, size)
    return seconds


def critical_path(size: int) -> Figures:
    """Return how many times its lower bound a real graph of ``size`` modules takes whose tasks sleep as long as they are said to take."""
    graph = import_graph(size)
    tasks = [
        TaskDefinition(name, "bench", "sleep", {"milliseconds": graph.durations_ms[name]}, needs)
        for name, needs in graph.dependencies.items()
    ]
    definition = WorkflowDefinition(tasks, name="imports", output=len(tasks))
    bound = lower_bound(graph, SEATS) / 1_000
    figures: Figures = {"seconds": 0.0, "bound_seconds": bound, "nodes": len(tasks)}
    for where, durable in (("memory", False), ("durable", True)):
        seconds = asyncio.run(performed(definition, durable))
        figures["seconds"] += seconds
        figures[f"{where}_ratio"] = seconds / bound
    figures["per_second"] = 2 * len(tasks) / figures["seconds"]
    return figures


async def performed(definition: WorkflowDefinition, durable: bool) -> float:
    """Return the seconds of one run."""
    bench = Ticking(concurrency=SEATS)
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        orchestrator = Orchestrator(store=f"sqlite:///{path}" if durable else "memory:")
        orchestrator.register_agent(bench.agent)
        async with orchestrator:
            await orchestrator.execute_workflow(plain(5))
            bench.ticks = 0
            started = time.perf_counter()
            await orchestrator.execute_workflow(definition)
            seconds = time.perf_counter() - started
    expect(bench.ticks, len(definition.tasks))
    return seconds


def liveness(size: int) -> Figures:
    """Return what the query takes over ``size`` open runs: a third in work, a third before a timer, a third before a signal."""
    figures: Figures = {"seconds": 0.0}
    for where, durable in (("memory", False), ("durable", True)):
        milliseconds = asyncio.run(looked_at(size, durable))
        figures[f"{where}_ms"] = statistics.median(milliseconds)
        figures["seconds"] += statistics.median(milliseconds) / 1_000
    figures["per_second"] = 2 * size / figures["seconds"]
    return figures


async def looked_at(size: int, durable: bool) -> list[float]:
    """Return the milliseconds of each look at ``size`` open runs whose states are in memory."""
    bench = Ticking(concurrency=SEATS)
    kinds = [
        WorkflowDefinition([TaskDefinition("only", "bench", "sleep", {"milliseconds": 3_600_000})], name="works"),
        WorkflowDefinition([TaskDefinition.timer("nap", 3_600)], name="naps"),
        WorkflowDefinition([TaskDefinition.wait_for("gate", "open")], name="waits"),
    ]
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        orchestrator = Orchestrator(store=f"sqlite:///{path}" if durable else "memory:")
        orchestrator.register_agent(bench.agent)
        await orchestrator.start()
        for first in range(0, size, 500):
            numbers = range(first, min(first + 500, size))
            await asyncio.gather(*(orchestrator.start_workflow(kinds[number % 3]) for number in numbers))
        milliseconds = []
        for _ in range(LOOKS):
            started = time.perf_counter()
            report = await orchestrator.check_liveness()
            milliseconds.append((time.perf_counter() - started) * 1_000)
            expect((report.open_runs, report.breaches), (size, ()))
        await orchestrator.stop(drain_seconds=0)
    return milliseconds


def inbox(size: int) -> Figures:
    """Return what the first page of the inbox takes when ``size`` approvals are open: of all, of one person, and by who only reads."""
    figures: Figures = {"seconds": 0.0}
    for where, durable in (("memory", False), ("durable", True)):
        for name, milliseconds in asyncio.run(first_pages(size, durable)).items():
            median = statistics.median(milliseconds)
            figures[name if name == "opened_ms" else f"{where}_{name}"] = median
            figures["seconds"] += median / 1_000
    figures["per_second"] = 1 / figures["seconds"]
    return figures


async def first_pages(size: int, durable: bool) -> dict[str, list[float]]:
    """Return the milliseconds of each look at the first page."""
    people = [f"person-{number}" for number in range(10)]
    asks = [
        WorkflowDefinition(
            [TaskDefinition.ask("may", Approval("Pay ${n}?", assignees=[person], arguments={"amount": "${n}"}))],
            context={"n": 0},
            name=person,
        )
        for person in people
    ]
    found: dict[str, list[float]] = {"ms": [], "person_ms": []}
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        async with Orchestrator(store=f"sqlite:///{path}" if durable else "memory:") as orchestrator:
            for first in range(0, size, 500):
                numbers = range(first, min(first + 500, size))
                await asyncio.gather(*(orchestrator.start_workflow(asks[n % 10], {"n": n}) for n in numbers))
            for _ in range(LOOKS):
                for name, person in (("ms", None), ("person_ms", people[3])):
                    started = time.perf_counter()
                    page = await orchestrator.approvals.list(person, limit=50)
                    found[name].append((time.perf_counter() - started) * 1_000)
                    expect(len(page), 50)
            for _ in range(LOOKS if durable else 0):
                started = time.perf_counter()
                store = await open_store(f"sqlite:///{path}", read_only=True)
                beside = Orchestrator(store=store, performs=False)
                expect(len(await beside.approvals.list(limit=50)), 50)
                found.setdefault("opened_ms", []).append((time.perf_counter() - started) * 1_000)
                await beside.stop()
                await store.close()
    return found


def breaker(size: int) -> Figures:
    """Return what a call behind a closed breaker costs beyond the call, in microseconds, for each way of standing behind one."""
    return asyncio.run(_breaker(size))


async def _breaker(size: int) -> Figures:
    async def bare() -> None: ...

    def bare_plain() -> None: ...

    async def inside() -> None:
        async with held:
            await bare()

    async def inside_new() -> None:
        async with CircuitBreaker("bench"):
            await bare()

    held = CircuitBreaker("bench")
    decorated, decorated_plain = circuit_breaker("bench")(bare), circuit_breaker("bench")(bare_plain)
    calls = {"bare": bare, "async_with": inside, "new": inside_new, "decorated": decorated}
    plain_calls = {"bare_plain": bare_plain, "plain": decorated_plain}
    best = dict.fromkeys((*calls, *plain_calls), float("inf"))
    some = size // SLICES
    # Short slices, all kinds in turn: a neighbour that wakes up spoils one of them, not the figure.
    for _ in range(SLICES):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(some):
                await call()
            best[name] = min(best[name], (time.perf_counter() - started) / some)
        for name, function in plain_calls.items():
            started = time.perf_counter()
            for _ in range(some):
                function()
            best[name] = min(best[name], (time.perf_counter() - started) / some)
    expect(held.status().succeeded, 4 * SLICES * some)
    seconds = sum(best.values()) * size
    return {
        "seconds": seconds,
        "per_second": len(best) * size / seconds,
        "async_with_us": (best["async_with"] - best["bare"]) * 1e6,
        "new_us": (best["new"] - best["bare"]) * 1e6,
        "decorated_us": (best["decorated"] - best["bare"]) * 1e6,
        "plain_us": (best["plain"] - best["bare_plain"]) * 1e6,
    }


def tools(size: int) -> Figures:
    """Return what a call of a tool costs of ours, in microseconds: beyond the bare function, or beyond the same in a thread."""
    return asyncio.run(_tools(size))


async def _tools(size: int) -> Figures:
    async def look(city: str, days: int = 1) -> dict[str, int]:
        return {"days": days}

    def look_plain(city: str, days: int = 1) -> dict[str, int]:
        return {"days": days}

    made = ToolRegistry.of(
        [
            tool(name="async", description="Look.")(look),
            tool(name="guarded", rate_limit=Rate(100_000, 0.1), circuit_breaker=BreakerPolicy(), description="Look.")(
                look
            ),
            tool(name="thread", description="Look.")(look_plain),
        ]
    )
    pipeline = get_tool_pipeline()
    params = {"city": "Oslo", "days": 3}

    async def call(name: str, given: Mapping[str, object] = params) -> None:
        await pipeline.invoke(ToolCall(name, given), tools=made)

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "bare": lambda: look("Oslo", 3),
        "bare_thread": lambda: asyncio.to_thread(look_plain, "Oslo", 3),
        "async": lambda: call("async"),
        "guarded": lambda: call("guarded"),
        "thread": lambda: call("thread"),
        "refused": lambda: call("async", {"city": 3}),
    }
    expect((await pipeline.invoke(ToolCall("guarded", params), tools=made)).value, {"days": 3})
    best = dict.fromkeys(ways, float("inf"))
    some = max(1, size // SLICES)
    for _ in range(SLICES):
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(some):
                await way()
            best[name] = min(best[name], (time.perf_counter() - started) / some)
    seconds = sum(best.values()) * size
    return {
        "seconds": seconds,
        "per_second": len(best) * size / seconds,
        "async_us": (best["async"] - best["bare"]) * 1e6,
        "guarded_us": (best["guarded"] - best["bare"]) * 1e6,
        "thread_us": (best["thread"] - best["bare_thread"]) * 1e6,
        "refused_us": best["refused"] * 1e6,
    }


CASES_ALONE: Mapping[str, Callable[[int], Figures]] = {
    **{name: partial(extra_cost, name) for name in KINDS},
    "critical_path": critical_path,
    "liveness": liveness,
    "inbox": inbox,
    "breaker": breaker,
    "tools": tools,
}
