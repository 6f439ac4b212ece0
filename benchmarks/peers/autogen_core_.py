"""autogen-core: agents that answer messages in its single-threaded runtime.

Durability class: none. The runtime keeps messages in a queue in memory; saving state is left to the caller. So it has no
durable cases. ``AUTOGEN_DISABLE_RUNTIME_TRACING`` is its own switch for a runtime without spans, its fastest setting.

It has no workflows: a chain or workflow is a caller that sends one message after the other (``send``), or agents that
publish to the next (``publish``); the faster one counts. A fan-out is sent all at once, to one agent or to an agent per
task, and joined by the caller. Messages go between two agents in both ways, and from a publisher to a thousand agents that
subscribe to its topic.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["AUTOGEN_DISABLE_RUNTIME_TRACING"] = "true"

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

from benchmarks.protocol import (
    STEPS,
    SUBSCRIBERS,
    Figures,
    best,
    creation,
    expect,
    import_cost,
    latency,
    main,
    rate,
    together,
)


@dataclass
class Item:
    """A value to count up; the answer carries the new one."""

    value: int


@dataclass
class Hop:
    """A value that travels on until no steps are left."""

    value: int
    left: int
    run: int


arrived: dict[int, asyncio.Future[int]] = {}
"""Where the last step of a published chain leaves its value, by run."""

first_lines: list[float] = []
"""When the first line of the handler ran, by ``time.perf_counter``."""


class Worker(RoutedAgent):
    """Counts up what it is sent. Two types of it pass a chain to each other, as an agent does not hear itself."""

    def __init__(self) -> None:
        super().__init__("counts up")

    @message_handler
    async def on_item(self, message: Item, ctx: MessageContext) -> Item:
        """Answer with the next value."""
        first_lines.append(time.perf_counter())
        return Item(message.value + 1)

    @message_handler
    async def on_hop(self, message: Hop, ctx: MessageContext) -> None:
        """Publish the next value to the other type, or finish."""
        if message.left == 1:
            arrived[message.run].set_result(message.value + 1)
            return
        other = "even" if self.id.type == "odd" else "odd"
        await self.publish_message(Hop(message.value + 1, message.left - 1, message.run), TopicId(other, "all"))


@dataclass
class Start:
    """Ask the other one so often; the answer is how often it answered."""

    count: int


@dataclass
class Note:
    """What everybody is to hear."""

    number: int


class Asker(RoutedAgent):
    """Asks a worker again and again, and waits for each answer."""

    def __init__(self) -> None:
        super().__init__("asks")

    @message_handler
    async def on_start(self, message: Start, ctx: MessageContext) -> Item:
        """Answer with what the other one has counted."""
        item, other = Item(0), AgentId("even", "all")
        for _ in range(message.count):
            item = await self.send_message(item, other)
        return item


class Hearer(RoutedAgent):
    """Counts what it hears."""

    heard = 0
    wanted = 0
    done: asyncio.Event

    def __init__(self) -> None:
        super().__init__("hears")

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> None:
        """Count it."""
        Hearer.heard += 1
        if Hearer.heard == Hearer.wanted:
            Hearer.done.set()


@asynccontextmanager
async def _runtime() -> AsyncIterator[SingleThreadedAgentRuntime]:
    runtime = SingleThreadedAgentRuntime()
    for kind in ("even", "odd"):
        await Worker.register(runtime, kind, Worker)
        await runtime.add_subscription(TypeSubscription(kind, kind))
    runtime.start()
    await runtime.send_message(Item(0), AgentId("even", "all"))
    try:
        yield runtime
    finally:
        await runtime.stop_when_idle()


async def _sent(runtime: SingleThreadedAgentRuntime, steps: int) -> int:
    item = Item(0)
    for _ in range(steps):
        item = await runtime.send_message(item, AgentId("even", "all"))
    return item.value


async def _published(runtime: SingleThreadedAgentRuntime, steps: int, run: int) -> int:
    arrival = arrived[run] = asyncio.get_running_loop().create_future()
    await runtime.publish_message(Hop(0, steps, run), TopicId("odd", "all"))
    return await arrival


def chain_memory(size: int) -> Figures:
    """Count steps a second."""

    async def run() -> Figures:
        async with _runtime() as runtime:
            started = time.perf_counter()
            expect(await _sent(runtime, size), size)
            sent = rate(size, started)
            started = time.perf_counter()
            expect(await _published(runtime, size, 0), size)
            return best({"send": sent, "publish": rate(size, started)})

    return asyncio.run(run())


def fanout_memory(size: int) -> Figures:
    """Count tasks a second."""

    async def run() -> Figures:
        async with _runtime() as runtime:

            async def fan_out(own_agents: bool) -> Figures:
                targets = [AgentId("even", f"key-{number}" if own_agents else "all") for number in range(size)]
                started = time.perf_counter()
                answers = await together(size, lambda number: runtime.send_message(Item(0), targets[number]))
                expect(sum(answer.value for answer in answers), size)
                return rate(size, started)

            return best({"one agent": await fan_out(False), "agent per task": await fan_out(True)})

    return asyncio.run(run())


def workflows_memory(size: int) -> Figures:
    """Count workflows a second, all at once."""

    async def run() -> Figures:
        async with _runtime() as runtime:
            started = time.perf_counter()
            expect(set(await together(size, lambda _: _sent(runtime, STEPS))), {STEPS})
            sent = rate(size, started)
            started = time.perf_counter()
            expect(set(await together(size, lambda number: _published(runtime, STEPS, number))), {STEPS})
            return best({"send": sent, "publish": rate(size, started)})

    return asyncio.run(run())


def start_latency_memory(size: int) -> Figures:
    """Measure from sending to the first line of the handler."""

    async def run() -> Figures:
        async with _runtime() as runtime:
            first_lines.clear()
            calls: list[float] = []
            for _ in range(size + 5):
                calls.append(time.perf_counter())
                await runtime.send_message(Item(0), AgentId("even", "all"))
            return latency([line - called for called, line in zip(calls, first_lines, strict=True)][5:])

    return asyncio.run(run())


def messages_ping_pong(size: int) -> Figures:
    """Count round trips a second between two agents: sent with an answer, or published there and back."""

    async def run() -> Figures:
        async with _runtime() as runtime:
            await Asker.register(runtime, "asker", Asker)
            asker = AgentId("asker", "all")
            await runtime.send_message(Start(10), asker)
            started = time.perf_counter()
            expect(await runtime.send_message(Start(size), asker), Item(size))
            sent = rate(size, started)
            started = time.perf_counter()
            expect(await _published(runtime, 2 * size, 0), 2 * size)
            return best({"send": sent, "publish": rate(size, started)})

    return asyncio.run(run())


def messages_fan_out(size: int) -> Figures:
    """Count deliveries a second from one publisher to a thousand agents, each of a type with a subscription of its own."""

    async def run() -> Figures:
        Hearer.done = asyncio.Event()
        runtime = SingleThreadedAgentRuntime()
        for number in range(SUBSCRIBERS):
            await Hearer.register(runtime, f"hearer{number}", Hearer)
            await runtime.add_subscription(TypeSubscription("news", f"hearer{number}"))
        runtime.start()

        async def publish(count: int) -> Figures:
            Hearer.heard, Hearer.wanted = 0, count * SUBSCRIBERS
            Hearer.done.clear()
            started = time.perf_counter()
            for number in range(count):
                await runtime.publish_message(Note(number), TopicId("news", "all"))
            await Hearer.done.wait()
            expect(Hearer.heard, Hearer.wanted)
            return rate(Hearer.wanted, started)

        await publish(1)
        figures = await publish(size // SUBSCRIBERS)
        await runtime.stop_when_idle()
        return figures

    return asyncio.run(run())


def idle_agents(size: int) -> Figures:
    """Measure agents that are made by the registered factory and handle messages of their class.

    Its other way, ``register_instance``, adds a subscription per agent and searches them all for each new one: 1.9 ms an
    agent at 10,000, so it does not count.
    """

    async def create(count: int) -> object:
        runtime = SingleThreadedAgentRuntime()
        await Worker.register(runtime, "worker", Worker)
        for number in range(count):
            await runtime.get("worker", f"agent-{number}", lazy=False)
        return runtime

    return asyncio.run(creation(size, create))


if __name__ == "__main__":
    main(
        {
            "chain_memory": chain_memory,
            "fanout_memory": fanout_memory,
            "workflows_memory": workflows_memory,
            "start_latency_memory": start_latency_memory,
            "messages_ping_pong": messages_ping_pong,
            "messages_fan_out": messages_fan_out,
            "idle_agents": idle_agents,
            "import_cost": lambda size: import_cost("import autogen_core", size),
        }
    )
