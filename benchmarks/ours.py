"""agenticflow itself, through the front door, in the project's own environment.

Durability class: ``sqlite:`` in its default mode, every acknowledged commit synchronously on the disk; ``memory:`` runs the
same engine and records the same events without a file. Nothing is tuned for the benchmark except the agent's concurrency,
which a fan-out needs.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agenticflow import Agent, AgenticEvent, EventBus, Orchestrator, TaskDefinition, WorkflowDefinition, open_store
from agenticflow.agents import AgentSession
from benchmarks.ours_agents import CASES_OF_AGENTS
from benchmarks.ours_alone import CASES_ALONE
from benchmarks.ours_as_code import CASES_AS_CODE
from benchmarks.ours_lasting import CASES_LASTING
from benchmarks.ours_planning import CASES_PLANNING
from benchmarks.protocol import (
    SAID,
    SEEN,
    STEPS,
    SUBSCRIBERS,
    TALKS,
    Figures,
    converse,
    creation,
    database,
    expect,
    import_cost,
    latency,
    main,
    message,
    rate,
    together,
)

SMALL = 100
"""Tasks of the small graph that ``scaling`` compares with."""

SMALL_RUNS = 20
"""Runs of the small graph; their median is taken, as one run of it is too short to measure."""

LARGE_RUNS = 5
"""Runs of the large graph; their median is taken as well."""


FIRST_PROGRAM = "from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition"
"""What a first program imports; the package alone loads its names when they are first used."""


class Bench:
    """One agent whose handlers do next to nothing, and what they have seen."""

    def __init__(self, concurrency: int) -> None:
        self.value = 0
        self.total = 0
        self.first_lines: list[float] = []
        self.agent = Agent("bench", {"work"}, role="benchmark", concurrency=concurrency)

        @self.agent.task("step")
        async def step(x: int) -> int:
            self.first_lines.append(time.perf_counter())
            self.value = x + 1
            return self.value

        @self.agent.task("join")
        async def join(context: Mapping[str, int]) -> int:
            self.total = sum(context[task_id] for task_id in context if task_id.startswith("item"))
            return self.total


def chain(size: int) -> WorkflowDefinition:
    """Return ``size`` distinct tasks, each taking the result of the one before."""
    tasks = [TaskDefinition("s0", "bench", "step", {"x": 0})]
    for number in range(1, size):
        before = f"s{number - 1}"
        tasks.append(TaskDefinition(f"s{number}", "bench", "step", {"x": f"${{{before}}}"}, dependencies={before}))
    return WorkflowDefinition(tasks, name=f"chain-{size}")


def fan_out(size: int) -> WorkflowDefinition:
    """Return one task, ``size`` tasks after it, and one that adds up the results of all of them."""
    items = [f"item_{number}" for number in range(size)]
    return WorkflowDefinition(
        [
            TaskDefinition("root", "bench", "step", {"x": 0}),
            *(TaskDefinition(item, "bench", "step", {"x": 0}, dependencies={"root"}) for item in items),
            TaskDefinition("join", "bench", "join", dependencies=items),
        ],
        name=f"fan-out-{size}",
    )


def store(durable: bool, path: Path) -> str:
    """Return the store's address."""
    return f"sqlite:///{path}" if durable else "memory:"


async def _chain(size: int, address: str) -> Figures:
    bench = Bench(concurrency=16)
    definition, warm = chain(size), chain(5)
    orchestrator = Orchestrator(store=address)
    orchestrator.register_agent(bench.agent)
    async with orchestrator:
        await orchestrator.execute_workflow(warm, {})
        bench.first_lines.clear()
        started = time.perf_counter()
        await orchestrator.execute_workflow(definition, {})
        figures = rate(size, started)
    expect((bench.value, len(bench.first_lines)), (size, size))
    quarter = max(1, size // 4)
    lines = bench.first_lines
    first, last = lines[quarter] - lines[0], lines[-1] - lines[-1 - quarter]
    return {**figures, "age_ratio": last / first}


async def _fan_out(size: int, address: str) -> Figures:
    bench = Bench(concurrency=size)
    definition, warm = fan_out(size), fan_out(5)
    orchestrator = Orchestrator(store=address)
    orchestrator.register_agent(bench.agent)
    async with orchestrator:
        await orchestrator.execute_workflow(warm, {})
        started = time.perf_counter()
        await orchestrator.execute_workflow(definition, {})
        figures = rate(size, started)
    expect(bench.total, size)
    return figures


async def _workflows(size: int, address: str) -> Figures:
    bench = Bench(concurrency=size)
    definition = chain(STEPS)
    orchestrator = Orchestrator(store=address)
    orchestrator.register_agent(bench.agent)
    async with orchestrator:
        await orchestrator.execute_workflow(definition, {}, workflow_id="warm")
        bench.first_lines.clear()
        started = time.perf_counter()
        await together(size, lambda number: orchestrator.execute_workflow(definition, {}, workflow_id=f"w{number}"))
        figures = rate(size, started)
    expect(len(bench.first_lines), size * STEPS)
    return figures


async def _starts(size: int, address: str) -> Figures:
    bench = Bench(concurrency=16)
    definition = chain(1)
    calls: list[float] = []
    orchestrator = Orchestrator(store=address)
    orchestrator.register_agent(bench.agent)
    async with orchestrator:
        for number in range(size + 5):
            calls.append(time.perf_counter())
            handle = await orchestrator.start_workflow(definition, {}, workflow_id=f"w{number}")
            await handle.result()
    return latency([line - called for called, line in zip(calls, bench.first_lines, strict=True)][5:])


async def _ping_pong(size: int) -> Figures:
    """Let two handlers answer each other over a bus without a store: a published event there, one back."""
    bus, done = EventBus(), asyncio.Event()
    left = 0

    async def ask() -> None:
        await bus.publish(AgenticEvent("asked", {"left": left}))

    async def on_asked(event: AgenticEvent) -> None:
        await bus.publish(AgenticEvent("answered", {"left": event.payload["left"]}))

    async def on_answered(event: AgenticEvent) -> None:
        nonlocal left
        left -= 1
        await ask() if left else done.set()

    await bus.subscribe("asked", on_asked)
    await bus.subscribe("answered", on_answered)
    figures: Figures = {}
    for count in (10, size):
        left = count
        done.clear()
        started = time.perf_counter()
        await ask()
        await done.wait()
        figures = rate(count, started)
    expect([counts.delivered for counts in bus.statistics()], [size + 10, size + 10])
    await bus.stop()
    return figures


async def _message_fan_out(size: int) -> Figures:
    """Publish to a thousand subscribers of a bus without a store, as fast as it takes the events."""
    bus, done = EventBus(), asyncio.Event()
    heard, wanted = 0, SUBSCRIBERS

    async def hear(event: AgenticEvent) -> None:
        nonlocal heard
        heard += 1
        if heard == wanted:
            done.set()

    for _ in range(SUBSCRIBERS):
        await bus.subscribe("announced", hear)
    await bus.publish(AgenticEvent("announced"))
    await done.wait()
    heard, wanted = 0, size
    done.clear()
    started = time.perf_counter()
    for number in range(size // SUBSCRIBERS):
        await bus.publish(AgenticEvent("announced", {"number": number}))
    await done.wait()
    figures = rate(size, started)
    expect(heard, size)
    await bus.stop()
    return figures


async def _idle_agents(size: int) -> Figures:
    """Make agents with one handler each and register them, as the peers' agents are made and registered."""

    async def step(x: int) -> int:
        return x

    async def create(count: int) -> object:
        orchestrator = Orchestrator(store="memory:")
        for number in range(count):
            agent = Agent(f"agent-{number}", {"work"})
            agent.task("step")(step)
            orchestrator.register_agent(agent)
        return orchestrator

    return await creation(size, create)


async def _session_add(size: int, address: str) -> Figures:
    """Add messages to one conversation, one after the other."""
    opened = await open_store(address)
    session = AgentSession("bench", SEEN, store=opened)
    await session.add_items([message(0)])
    await session.clear_session()
    started = time.perf_counter()
    for number in range(size):
        await session.add_items([message(number)])
    figures = rate(size, started)
    expect(await session.get_items(), [message(number) for number in range(size)][-SEEN:])
    await opened.close()
    return figures


async def _session_read(size: int, address: str) -> Figures:
    """Read the last items of a long conversation again and again."""
    opened = await open_store(address)
    session = AgentSession("bench", SEEN, store=opened)
    await session.add_items([message(number) for number in range(SAID)])
    wanted = [message(number) for number in range(SAID)][-SEEN:]
    expect(await session.get_items(limit=SEEN), wanted)
    items: list[dict[str, str]] = []
    started = time.perf_counter()
    for _ in range(size):
        items = await session.get_items(limit=SEEN)
    figures = rate(size, started)
    expect(items, wanted)
    await opened.close()
    return figures


async def _session_many(size: int, address: str) -> Figures:
    """Add messages to many conversations that go on at once, each one message after the other."""
    opened = await open_store(address)
    sessions = [AgentSession(f"bench-{number}", SEEN, store=opened) for number in range(TALKS)]
    await together(TALKS, lambda number: sessions[number].add_items([message(0)]))

    async def talk(number: int) -> None:
        for count in range(size // TALKS):
            await sessions[number].add_items([message(count)])

    started = time.perf_counter()
    await together(TALKS, talk)
    figures = rate(size // TALKS * TALKS, started)
    wanted = [message(0), *(message(count) for count in range(size // TALKS))][-SEEN:]
    for session in sessions:
        expect(await session.get_items(), wanted)
    await opened.close()
    return figures


async def _session_turns(size: int, address: str) -> Figures:
    """Hold one conversation, as the Agents SDK does."""
    opened = await open_store(address)
    await converse(AgentSession("warm", 2 * size, store=opened), 2)
    session = AgentSession("bench", 2 * size, store=opened)
    started = time.perf_counter()
    await converse(session, size)
    figures = rate(size, started)
    await opened.close()
    return figures


async def _session_talks(size: int, address: str) -> Figures:
    """Hold many conversations at once, as the Agents SDK does."""
    opened = await open_store(address)
    turns = size // TALKS
    sessions = [AgentSession(f"bench-{number}", 2 * turns, store=opened) for number in range(TALKS)]
    started = time.perf_counter()
    await together(TALKS, lambda number: converse(sessions[number], turns))
    figures = rate(turns * TALKS, started)
    await opened.close()
    return figures


def scaling(size: int) -> Figures:
    """Return the cost of a step of a large run over that of a small one, and of a late step over an early one.

    ``chain_ratio`` and ``fanout_ratio``: microseconds a task with ``size`` tasks over those with a hundred. ``age_ratio``: the
    last quarter of the large chain over its first. ``ratio`` is the worst of the three.
    """
    graphs = {"chain": _chain, "fanout": _fan_out}
    figures: Figures = {"seconds": 0.0}
    for name, run in graphs.items():
        small = [asyncio.run(run(SMALL, "memory:")) for _ in range(SMALL_RUNS)]
        large = [asyncio.run(run(size, "memory:")) for _ in range(LARGE_RUNS)]
        us_small = statistics.median(taken["seconds"] for taken in small) / SMALL * 1e6
        us_large = statistics.median(taken["seconds"] for taken in large) / size * 1e6
        figures["seconds"] += us_large * size / 1e6
        figures |= {f"{name}_us_small": us_small, f"{name}_us_large": us_large, f"{name}_ratio": us_large / us_small}
        if "age_ratio" in large[0]:
            figures["age_ratio"] = statistics.median(taken["age_ratio"] for taken in large)
    figures["per_second"] = 2 * size / figures["seconds"]
    figures["ratio"] = max(figures["chain_ratio"], figures["fanout_ratio"], figures["age_ratio"])
    return figures


if __name__ == "__main__":
    runs = {"chain": _chain, "fanout": _fan_out, "workflows": _workflows, "start_latency": _starts}
    runs |= {"session_add": _session_add, "session_read": _session_read, "session_many": _session_many}
    runs |= {"session_turns": _session_turns, "session_talks": _session_talks}

    def measured(name: str, durable: bool, size: int) -> Figures:
        """Run a case on a new database, or on none."""
        with database("agenticflow.db") if durable else nullcontext(Path()) as path:
            return asyncio.run(runs[name](size, store(durable, path)))

    main(
        {
            "chain_durable": lambda size: measured("chain", True, size),
            "chain_memory": lambda size: measured("chain", False, size),
            "fanout_durable": lambda size: measured("fanout", True, size),
            "fanout_memory": lambda size: measured("fanout", False, size),
            "workflows_durable": lambda size: measured("workflows", True, size),
            "workflows_memory": lambda size: measured("workflows", False, size),
            "start_latency_durable": lambda size: measured("start_latency", True, size),
            "start_latency_memory": lambda size: measured("start_latency", False, size),
            "session_add_durable": lambda size: measured("session_add", True, size),
            "session_add_memory": lambda size: measured("session_add", False, size),
            "session_read_durable": lambda size: measured("session_read", True, size),
            "session_read_memory": lambda size: measured("session_read", False, size),
            "session_many_durable": lambda size: measured("session_many", True, size),
            "session_many_memory": lambda size: measured("session_many", False, size),
            "session_turns_durable": lambda size: measured("session_turns", True, size),
            "session_turns_memory": lambda size: measured("session_turns", False, size),
            "session_talks_durable": lambda size: measured("session_talks", True, size),
            "session_talks_memory": lambda size: measured("session_talks", False, size),
            "messages_ping_pong": lambda size: asyncio.run(_ping_pong(size)),
            "messages_fan_out": lambda size: asyncio.run(_message_fan_out(size)),
            "idle_agents": lambda size: asyncio.run(_idle_agents(size)),
            "import_cost": lambda size: import_cost("import agenticflow", size, FIRST_PROGRAM),
            "scaling": scaling,
            **CASES_OF_AGENTS,
            **CASES_ALONE,
            **CASES_AS_CODE,
            **CASES_LASTING,
            **CASES_PLANNING,
        }
    )
