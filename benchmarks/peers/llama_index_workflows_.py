"""llama-index-workflows: typed events between steps, in memory.

Durability class: none. Its runtime keeps a run's ticks in memory; ``Context.to_dict`` gives a snapshot that the caller may put
somewhere, and nothing is written by itself. So it has no durable cases, and no agents of its own (those are in llama-index-core).
``timeout=None`` spares it a timer. A step keeps its four workers: 1, 16, 64 and 256 of them are no faster with handlers like these.

A chain is one step that returns its own event until the value reaches the stop. A short workflow is measured like that and as a
line of distinct steps; the faster one counts. A fan-out is measured as a step that returns a list and one that collects it
(``list``), and with ``send_event`` and ``collect_events`` (``send``); the cost of a task grows with their number in both.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from benchmarks.protocol import STEPS, Figures, best, expect, import_cost, latency, main, rate, together

first_lines: list[float] = []
"""When the first line of a step ran, by ``time.perf_counter``."""


class Begin(StartEvent):
    """Where a chain begins and ends, or how many tasks there are."""

    value: int = 0
    stop: int = 0


class Hop(Event):
    """A value on its way."""

    value: int
    stop: int


class Item(Event):
    """One task of a fan-out."""

    value: int


class Done(Event):
    """Its result."""

    value: int


class Chain(Workflow):
    """One step that is its own successor until the value reaches the stop."""

    @step
    async def hop(self, ev: Begin | Hop) -> Hop | StopEvent:
        """Count one step."""
        first_lines.append(time.perf_counter())
        value = ev.value + 1
        return StopEvent(result=value) if value >= ev.stop else Hop(value=value, stop=ev.stop)


class Hop1(Event):
    """After the first step of a line."""

    value: int


class Hop2(Event):
    """After the second."""

    value: int


class Hop3(Event):
    """After the third."""

    value: int


class Hop4(Event):
    """After the fourth."""

    value: int


class Line(Workflow):
    """``STEPS`` distinct steps, one after the other."""

    @step
    async def s1(self, ev: Begin) -> Hop1:
        """Count one step."""
        return Hop1(value=ev.value + 1)

    @step
    async def s2(self, ev: Hop1) -> Hop2:
        """Count one step."""
        return Hop2(value=ev.value + 1)

    @step
    async def s3(self, ev: Hop2) -> Hop3:
        """Count one step."""
        return Hop3(value=ev.value + 1)

    @step
    async def s4(self, ev: Hop3) -> Hop4:
        """Count one step."""
        return Hop4(value=ev.value + 1)

    @step
    async def s5(self, ev: Hop4) -> StopEvent:
        """Count one step."""
        return StopEvent(result=ev.value + 1)


class ListFan(Workflow):
    """A list of events, a step for each, and one that collects what they return."""

    @step
    async def root(self, ev: Begin) -> list[Item]:
        """Make the tasks."""
        return [Item(value=0) for _ in range(ev.stop)]

    @step
    async def item(self, ev: Item) -> Done:
        """Do one."""
        return Done(value=ev.value + 1)

    @step
    async def join(self, done: list[Done]) -> StopEvent:
        """Add up."""
        return StopEvent(result=sum(one.value for one in done))


class SendFan(Workflow):
    """Events sent one by one, and a step that waits until it has seen as many."""

    @step
    async def root(self, ctx: Context, ev: Begin) -> Item | None:
        """Make the tasks."""
        await ctx.store.set("size", ev.stop)
        for _ in range(ev.stop):
            ctx.send_event(Item(value=0))
        return None

    @step
    async def item(self, ev: Item) -> Done:
        """Do one."""
        return Done(value=ev.value + 1)

    @step
    async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
        """Add up, when all are there."""
        found = ctx.collect_events(ev, [Done] * await ctx.store.get("size"))
        return None if found is None else StopEvent(result=sum(one.value for one in found))


async def _value(workflow: Workflow, stop: int) -> Any:
    return await workflow.run(start_event=Begin(value=0, stop=stop))


def chain_memory(size: int) -> Figures:
    """Count steps a second."""

    async def run() -> Figures:
        await _value(Chain(timeout=None), 5)
        workflow = Chain(timeout=None)
        started = time.perf_counter()
        expect(await _value(workflow, size), size)
        return rate(size, started)

    return asyncio.run(run())


def fanout_memory(size: int) -> Figures:
    """Count tasks a second."""

    async def run(kind: type[Workflow]) -> Figures:
        await _value(kind(timeout=None), 5)
        workflow = kind(timeout=None)
        started = time.perf_counter()
        expect(await _value(workflow, size), size)
        return rate(size, started)

    return best({"list": asyncio.run(run(ListFan)), "send": asyncio.run(run(SendFan))})


def workflows_memory(size: int) -> Figures:
    """Count workflows a second, all at once."""

    async def run(kind: type[Workflow]) -> Figures:
        workflow = kind(timeout=None)
        await _value(workflow, STEPS)
        started = time.perf_counter()
        expect(set(await together(size, lambda _: _value(workflow, STEPS))), {STEPS})
        return rate(size, started)

    return best({"loop": asyncio.run(run(Chain)), "line": asyncio.run(run(Line))})


def start_latency_memory(size: int) -> Figures:
    """Measure from the call to the first line of the first step."""

    async def run() -> Figures:
        workflow = Chain(timeout=None)
        first_lines.clear()
        calls: list[float] = []
        for _ in range(size + 5):
            calls.append(time.perf_counter())
            await _value(workflow, 1)
        return latency([line - called for called, line in zip(calls, first_lines, strict=True)][5:])

    return asyncio.run(run())


if __name__ == "__main__":
    main(
        {
            "chain_memory": chain_memory,
            "fanout_memory": fanout_memory,
            "workflows_memory": workflows_memory,
            "start_latency_memory": start_latency_memory,
            "import_cost": lambda size: import_cost("import workflows", size),
        }
    )
