"""pydantic-graph: typed graphs in memory.

Durability class: none. The pinned version records nothing, neither on disk nor in memory, so it has no durable cases, and
it does less in the others than ours. ``auto_instrument=False`` switches its spans off, its fastest setting. It has no
agents (those are in pydantic-ai).

A chain is measured as a line of distinct steps and as one node class that returns itself; the faster one counts. A
fan-out is its ``map`` edge with a summing join.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pydantic_graph import BaseNode, End, GraphBuilder, GraphRunContext, StepContext, reduce_sum

from benchmarks.protocol import STEPS, Figures, best, expect, import_cost, latency, main, rate, together


@dataclass
class Hop(BaseNode[None, None, int]):
    """A node that is its own successor until the value reaches the stop."""

    value: int
    stop: int

    async def run(self, ctx: GraphRunContext[None, None]) -> Hop | End[int]:
        """Count one step."""
        value = self.value + 1
        return End(value) if value >= self.stop else Hop(value, self.stop)


def _hops() -> Any:
    builder = GraphBuilder(input_type=Hop, output_type=int, auto_instrument=False)
    builder.add(builder.edge_from(builder.start_node).to(Hop), builder.node(Hop))
    return builder.build()


def _line(size: int) -> Any:
    builder = GraphBuilder(input_type=int, output_type=int, auto_instrument=False)

    async def step(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs + 1

    previous: Any = builder.start_node
    for number in range(size):
        node = builder.step(step, node_id=f"s{number}")
        builder.add_edge(previous, node)
        previous = node
    builder.add_edge(previous, builder.end_node)
    return builder.build()


def chain_memory(size: int) -> Figures:
    """Count steps a second."""

    async def hops() -> Figures:
        graph = _hops()
        await graph.run(inputs=Hop(0, 5))
        started = time.perf_counter()
        expect(await graph.run(inputs=Hop(0, size)), size)
        return rate(size, started)

    async def line() -> Figures:
        graph = _line(size)
        await _line(5).run(inputs=0)
        started = time.perf_counter()
        expect(await graph.run(inputs=0), size)
        return rate(size, started)

    return best({"node": asyncio.run(hops()), "line": asyncio.run(line())})


def fanout_memory(size: int) -> Figures:
    """Count tasks a second."""
    builder = GraphBuilder(input_type=int, output_type=int, auto_instrument=False)

    @builder.step
    async def root(ctx: StepContext[None, None, int]) -> list[int]:
        return [0] * ctx.inputs

    @builder.step
    async def item(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs + 1

    join = builder.join(reduce_sum, initial=0)
    builder.add(
        builder.edge_from(builder.start_node).to(root),
        builder.edge_from(root).map().to(item),
        builder.edge_from(item).to(join),
        builder.edge_from(join).to(builder.end_node),
    )
    graph = builder.build()

    async def run() -> Figures:
        await graph.run(inputs=5)
        started = time.perf_counter()
        expect(await graph.run(inputs=size), size)
        return rate(size, started)

    return asyncio.run(run())


def workflows_memory(size: int) -> Figures:
    """Count workflows a second, all at once."""

    async def hops() -> Figures:
        graph = _hops()
        await graph.run(inputs=Hop(0, STEPS))
        started = time.perf_counter()
        expect(set(await together(size, lambda _: graph.run(inputs=Hop(0, STEPS)))), {STEPS})
        return rate(size, started)

    async def line() -> Figures:
        graph = _line(STEPS)
        await graph.run(inputs=0)
        started = time.perf_counter()
        expect(set(await together(size, lambda _: graph.run(inputs=0))), {STEPS})
        return rate(size, started)

    return best({"node": asyncio.run(hops()), "line": asyncio.run(line())})


def start_latency_memory(size: int) -> Figures:
    """Measure from the call to the first line of the first step."""
    waits: list[float] = []
    started = 0.0
    builder = GraphBuilder(input_type=int, output_type=int, auto_instrument=False)

    @builder.step
    async def step(ctx: StepContext[None, None, int]) -> int:
        waits.append(time.perf_counter() - started)
        return ctx.inputs + 1

    builder.add_edge(builder.start_node, step)
    builder.add_edge(step, builder.end_node)
    graph = builder.build()

    async def run() -> Figures:
        nonlocal started
        for _ in range(size + 5):
            started = time.perf_counter()
            await graph.run(inputs=0)
        return latency(waits[5:])

    return asyncio.run(run())


if __name__ == "__main__":
    main(
        {
            "chain_memory": chain_memory,
            "fanout_memory": fanout_memory,
            "workflows_memory": workflows_memory,
            "start_latency_memory": start_latency_memory,
            "import_cost": lambda size: import_cost("import pydantic_graph", size),
        }
    )
