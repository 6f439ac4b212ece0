"""Microsoft agent-framework (its core package): graph workflows in supersteps, workflows as functions, and agents, in memory.

Durability class: none here. Its checkpoint storages are a dictionary and files that are written without a sync to the disk, so what it
has reported as done may be gone after a power cut: no durable cases. Without checkpoint storage, its fastest setting; spans are off by
default. A workflow object runs once at a time, so many workflows are many objects, built before the clock starts.

A chain is measured as a graph of one executor that sends to itself until the value reaches the stop (``graph``), and as a function that
awaits a step as often (``function``); a short workflow also as a line of distinct executors (``line``). A fan-out is an executor
that sends so many messages, one that answers each, and one that adds up (``graph``), or a function that gathers its steps
(``function``). The fastest way counts.

Agents ask a chat client of its base class with its layer for function calls; nothing else is between them, and the limit of 40 round trips
is raised for the long run.
"""

from __future__ import annotations

import asyncio
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Never

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    Content,
    Executor,
    FunctionInvocationLayer,
    Message,
    UsageDetails,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    step,
    tool,
    workflow,
)

from benchmarks.protocol import STEPS, Figures, best, expect, import_cost, latency, main, rate, together
from benchmarks.turns import ANSWER, INSTRUCTIONS, PROMPT, SHORT, TOOL, Script, long_run, short_runs

# workflows as functions are marked experimental
warnings.simplefilter("ignore")

MOST_GATHERED = 1_000
"""Above this a function does not gather steps here: the cost of each grows with their number, 1,000 a second at 1,000, 280 at 4,000."""
first_lines: list[float] = []
"""When the first line of an executor ran, by ``time.perf_counter``."""


@dataclass
class Hop:
    """A value on its way, and where to stop."""

    value: int
    stop: int


@dataclass
class Fan:
    """How many tasks there are."""

    size: int


@dataclass
class Item:
    """One task."""

    value: int


@dataclass
class Done:
    """Its result."""

    value: int


class Counter(Executor):
    """Its own successor until the value reaches the stop."""

    @handler
    async def hop(self, message: Hop, ctx: WorkflowContext[Hop, int]) -> None:
        """Count one step."""
        first_lines.append(time.perf_counter())
        value = message.value + 1
        if value >= message.stop:
            await ctx.yield_output(value)
        else:
            await ctx.send_message(Hop(value, message.stop))


class Link(Executor):
    """One step of a line; the last has nobody to send to and gives the result."""

    @handler
    async def hop(self, message: Hop, ctx: WorkflowContext[Hop]) -> None:
        """Count one step."""
        await ctx.send_message(Hop(message.value + 1, message.stop))


class LastLink(Executor):
    """The end of a line."""

    @handler
    async def hop(self, message: Hop, ctx: WorkflowContext[Never, int]) -> None:
        """Count one step."""
        await ctx.yield_output(message.value + 1)


class Root(Executor):
    """Makes the tasks."""

    @handler
    async def fan(self, message: Fan, ctx: WorkflowContext[Item]) -> None:
        """Send one message for each."""
        for _ in range(message.size):
            await ctx.send_message(Item(0))


class Worker(Executor):
    """Does one task."""

    @handler
    async def item(self, message: Item, ctx: WorkflowContext[Done]) -> None:
        """Answer with the next value."""
        await ctx.send_message(Done(message.value + 1))


class Join(Executor):
    """Adds up."""

    def __init__(self, size: int) -> None:
        super().__init__(id="join")
        self._left, self._total = size, 0

    @handler
    async def done(self, message: Done, ctx: WorkflowContext[Never, int]) -> None:
        """Give the sum when all are there."""
        self._left -= 1
        self._total += message.value
        if not self._left:
            await ctx.yield_output(self._total)


def _graph_chain(size: int) -> Any:
    counter = Counter(id="counter")
    return WorkflowBuilder(max_iterations=size + 10, start_executor=counter).add_edge(counter, counter).build()


def _graph_line() -> Any:
    links: list[Executor] = [*(Link(id=f"s{number}") for number in range(STEPS - 1)), LastLink(id="last")]
    builder = WorkflowBuilder(start_executor=links[0])
    for before, after in pairwise(links):
        builder.add_edge(before, after)
    return builder.build()


def _graph_fan(size: int) -> Any:
    root, worker, join = Root(id="root"), Worker(id="worker"), Join(size)
    return WorkflowBuilder(start_executor=root).add_edge(root, worker).add_edge(worker, join).build()


@step
async def count(value: int) -> int:
    """Count one step."""
    return value + 1


@workflow
async def function_chain(hop: Hop) -> int:
    """Await a step as often as the value says."""
    value = hop.value
    while value < hop.stop:
        value = await count(value)
    return value


@workflow
async def function_fan(fan: Fan) -> int:
    """Gather as many steps."""
    return sum(await asyncio.gather(*(count(0) for _ in range(fan.size))))


async def _output(built: Any, message: object) -> Any:
    outputs = (await built.run(message)).get_outputs()
    return outputs[-1] if outputs else None


async def _once(build: Callable[[int], Any], message: Callable[[int], object], size: int) -> Figures:
    """Time one run of ``size``, after a short one."""
    await _output(build(5), message(5))
    built = build(size)
    started = time.perf_counter()
    expect(await _output(built, message(size)), size)
    return rate(size, started)


def chain_memory(size: int) -> Figures:
    """Count steps a second."""
    builds = {"graph": _graph_chain, "function": lambda _: function_chain.build()}
    return best({name: asyncio.run(_once(build, lambda stop: Hop(0, stop), size)) for name, build in builds.items()})


def fanout_memory(size: int) -> Figures:
    """Count tasks a second."""
    builds: dict[str, Callable[[int], Any]] = {"graph": _graph_fan}
    if size <= MOST_GATHERED:
        builds["function"] = lambda _: function_fan.build()
    return best({name: asyncio.run(_once(build, Fan, size)) for name, build in builds.items()})


def workflows_memory(size: int) -> Figures:
    """Count workflows a second, all at once."""

    async def run(build: Callable[[], Any]) -> Figures:
        await _output(build(), Hop(0, STEPS))
        built = [build() for _ in range(size)]
        started = time.perf_counter()
        expect(set(await together(size, lambda number: _output(built[number], Hop(0, STEPS)))), {STEPS})
        return rate(size, started)

    ways = {"graph": lambda: _graph_chain(STEPS), "line": _graph_line, "function": function_chain.build}
    return best({name: asyncio.run(run(build)) for name, build in ways.items()})


def start_latency_memory(size: int) -> Figures:
    """Measure from the call to the first line of the first executor, or of the function; the faster one counts."""

    async def run(built: Any) -> Figures:
        first_lines.clear()
        calls: list[float] = []
        for _ in range(size + 5):
            calls.append(time.perf_counter())
            await _output(built, Hop(0, 1))
        return latency([line - called for called, line in zip(calls, first_lines, strict=True)][5:])

    @workflow
    async def noted(hop: Hop) -> int:
        first_lines.append(time.perf_counter())
        return hop.stop

    return best({"graph": asyncio.run(run(_graph_chain(1))), "function": asyncio.run(run(noted.build()))})


class Fake(FunctionInvocationLayer, BaseChatClient):
    """Says what the script has for it."""

    def __init__(self, script: Script) -> None:
        super().__init__(function_invocation_configuration={"max_iterations": script.turns})
        self.script = script

    async def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> ChatResponse:
        script = self.script
        turn = len(messages) // 2  # the prompt, then an answer and a result for each turn
        if script.wants_tool(turn):
            content = Content.from_function_call(script.call_id(turn), TOOL, arguments=script.arguments(turn))
        else:
            content = Content.from_text(ANSWER)
        usage = UsageDetails(input_token_count=10, output_token_count=5, total_token_count=15)
        return ChatResponse(messages=[Message(role="assistant", contents=[content])], usage_details=usage)


@tool(approval_mode="never_require")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def agents(turns: int, measure: Callable[[Script, Callable[[], Awaitable[Any]]], Awaitable[Figures]]) -> Figures:
    """Measure runs of ``turns``."""
    script = Script(turns)
    agent = Agent(Fake(script), instructions=INSTRUCTIONS, tools=[add])

    async def run() -> str:
        return (await agent.run(PROMPT)).text

    return await measure(script, run)


if __name__ == "__main__":
    main(
        {
            "chain_memory": chain_memory,
            "fanout_memory": fanout_memory,
            "workflows_memory": workflows_memory,
            "start_latency_memory": start_latency_memory,
            "agent_memory": lambda size: asyncio.run(agents(SHORT, partial(short_runs, size))),
            "agent_long": lambda size: asyncio.run(agents(size, long_run)),
            "import_cost": lambda size: import_cost(
                "import agent_framework", size, "from agent_framework import Executor, WorkflowBuilder, WorkflowContext"
            ),
        }
    )
