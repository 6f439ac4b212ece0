"""LangGraph: a state graph with the SQLite checkpoint saver, or with none.

Durability class: ``durability="sync"`` writes each superstep's checkpoint before the next one starts; the saver sets WAL
itself, and the connection handed to it says ``synchronous=FULL`` explicitly. So a step that is reported done is on the disk,
as with ours.

In memory it runs with ``InMemorySaver``, its own recording in memory, because ours records too there; the rate without
any checkpointer is printed beside it as ``unrecorded`` and does not count.

Best form for each case, as measured with the pinned version:

- a long chain is one node with a conditional edge back to itself. Distinct nodes for a thousand steps are slower for
  LangGraph (half as fast), because each checkpoint carries a version per channel; for the five steps of a short workflow
  distinct nodes are faster;
- coroutines with ``AsyncSqliteSaver`` (aiosqlite: a hop to a thread per statement) against plain functions with
  ``SqliteSaver``: both are measured, the faster one counts, both are in the JSON;
- fan-out is ``Send``, with a reducer that gives all results to the join.
"""

from __future__ import annotations

import asyncio
import operator
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["LANGSMITH_TRACING"] = "false"

import aiosqlite
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from benchmarks.protocol import STEPS, Figures, best, database, expect, import_cost, latency, main, rate, together


class Count(TypedDict):
    """State of a chain: the value, and where to stop."""

    value: int
    stop: int


class Fan(TypedDict):
    """State of a fan-out: how many, and what came back."""

    size: int
    results: Annotated[list[int], operator.add]
    total: int


def _config(thread: object, size: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(thread)}, "recursion_limit": size + 10}


def _durability(saver: object) -> dict[str, Any]:
    return {} if saver is None else {"durability": "sync"}


@asynccontextmanager
async def _async_saver(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with aiosqlite.connect(path) as connection:
        await connection.execute("pragma synchronous=full")
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        yield saver


@contextmanager
def _saver(path: Path) -> Iterator[SqliteSaver]:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma synchronous=full")
    saver = SqliteSaver(connection)
    saver.setup()
    yield saver
    connection.close()


def _step(state: Count) -> dict[str, Any]:
    return {"value": state["value"] + 1}


async def _astep(state: Count) -> dict[str, Any]:
    return {"value": state["value"] + 1}


def _chain(saver: Any, step: Any) -> Any:
    """Return a graph that runs ``step`` until the value reaches the stop."""
    builder = StateGraph(Count)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges(
        "step", lambda state: "step" if state["value"] < state["stop"] else END, ["step", END]
    )
    return builder.compile(checkpointer=saver)


def _line(saver: Any, step: Any) -> Any:
    """Return a graph of ``STEPS`` distinct nodes, one after the other."""
    builder = StateGraph(Count)
    for number in range(STEPS):
        builder.add_node(f"s{number}", step)
        builder.add_edge(f"s{number - 1}" if number else START, f"s{number}")
    builder.add_edge(f"s{STEPS - 1}", END)
    return builder.compile(checkpointer=saver)


async def _arun_chain(saver: Any, size: int) -> Figures:
    graph = _chain(saver, _astep)
    await graph.ainvoke({"value": 0, "stop": 5}, _config("warm", 5), **_durability(saver))
    started = time.perf_counter()
    result = await graph.ainvoke({"value": 0, "stop": size}, _config("chain", size), **_durability(saver))
    expect(result["value"], size)
    return rate(size, started)


def _run_chain(saver: Any, size: int) -> Figures:
    graph = _chain(saver, _step)
    graph.invoke({"value": 0, "stop": 5}, _config("warm", 5), **_durability(saver))
    started = time.perf_counter()
    result = graph.invoke({"value": 0, "stop": size}, _config("chain", size), **_durability(saver))
    expect(result["value"], size)
    return rate(size, started)


def _fan_out(saver: Any, coroutines: bool) -> Any:
    """Return a graph of one root, as many items as the input says, and a join of all of them."""

    def root(state: Fan) -> dict[str, Any]:
        return {"size": state["size"]}

    def item(state: dict[str, int]) -> dict[str, Any]:
        return {"results": [state["value"] + 1]}

    def join(state: Fan) -> dict[str, Any]:
        return {"total": sum(state["results"])}

    async def aroot(state: Fan) -> dict[str, Any]:
        return root(state)

    async def aitem(state: dict[str, int]) -> dict[str, Any]:
        return item(state)

    async def ajoin(state: Fan) -> dict[str, Any]:
        return join(state)

    builder = StateGraph(Fan)
    builder.add_node("root", aroot if coroutines else root)
    builder.add_node("item", aitem if coroutines else item)
    builder.add_node("join", ajoin if coroutines else join)
    builder.add_edge(START, "root")
    builder.add_conditional_edges(
        "root", lambda state: [Send("item", {"value": 0}) for _ in range(state["size"])], ["item"]
    )
    builder.add_edge("item", "join")
    builder.add_edge("join", END)
    return builder.compile(checkpointer=saver)


async def _arun_fan_out(saver: Any, size: int) -> Figures:
    graph = _fan_out(saver, coroutines=True)
    await graph.ainvoke({"size": 5, "results": []}, _config("warm", 5), **_durability(saver))
    started = time.perf_counter()
    result = await graph.ainvoke({"size": size, "results": []}, _config("fan", size), **_durability(saver))
    expect(result["total"], size)
    return rate(size, started)


def _run_fan_out(saver: Any, size: int) -> Figures:
    graph = _fan_out(saver, coroutines=False)
    graph.invoke({"size": 5, "results": []}, _config("warm", 5), **_durability(saver))
    started = time.perf_counter()
    result = graph.invoke({"size": size, "results": []}, _config("fan", size), **_durability(saver))
    expect(result["total"], size)
    return rate(size, started)


async def _arun_workflows(saver: Any, size: int) -> Figures:
    graph = _line(saver, _astep)

    async def one(number: int) -> Any:
        return await graph.ainvoke({"value": 0, "stop": STEPS}, _config(number, STEPS), **_durability(saver))

    await one(-1)
    started = time.perf_counter()
    results = await together(size, one)
    expect({result["value"] for result in results}, {STEPS})
    return rate(size, started)


def _run_workflows(saver: Any, size: int) -> Figures:
    """One after the other: threads only wait for the saver's lock and are slower."""
    graph = _line(saver, _step)
    graph.invoke({"value": 0, "stop": STEPS}, _config("warm", STEPS), **_durability(saver))
    started = time.perf_counter()
    for number in range(size):
        result = graph.invoke({"value": 0, "stop": STEPS}, _config(number, STEPS), **_durability(saver))
        expect(result["value"], STEPS)
    return rate(size, started)


async def _arun_starts(saver: Any, size: int) -> Figures:
    waits: list[float] = []
    started = 0.0

    async def step(state: Count) -> dict[str, Any]:
        waits.append(time.perf_counter() - started)
        return {"value": state["value"] + 1}

    graph = _chain(saver, step)
    for number in range(size + 5):
        started = time.perf_counter()
        await graph.ainvoke({"value": 0, "stop": 1}, _config(number, 1), **_durability(saver))
    return latency(waits[5:])


def _run_starts(saver: Any, size: int) -> Figures:
    waits: list[float] = []
    started = 0.0

    def step(state: Count) -> dict[str, Any]:
        waits.append(time.perf_counter() - started)
        return {"value": state["value"] + 1}

    graph = _chain(saver, step)
    for number in range(size + 5):
        started = time.perf_counter()
        graph.invoke({"value": 0, "stop": 1}, _config(number, 1), **_durability(saver))
    return latency(waits[5:])


def _durable(arun: Any, run: Any, size: int) -> Figures:
    """Measure both ways, each on a database of its own, and let the faster one count."""

    async def coroutines(path: Path) -> Figures:
        async with _async_saver(path) as saver:
            return await arun(saver, size)

    with database("langgraph.db") as path:
        by_coroutines = asyncio.run(coroutines(path))
    with database("langgraph.db") as path, _saver(path) as saver:
        by_functions = run(saver, size)
    return best({"async": by_coroutines, "sync": by_functions})


def _memory(arun: Any, run: Any, size: int) -> Figures:
    """Measure both ways with the in-memory saver; what counts is the faster one. Without a saver only for the record."""
    unrecorded = asyncio.run(arun(None, size))
    figures = best({"async": asyncio.run(arun(InMemorySaver(), size)), "sync": run(InMemorySaver(), size)})
    return {**figures, "unrecorded_per_second": unrecorded["per_second"]}


if __name__ == "__main__":
    main(
        {
            "chain_durable": lambda size: _durable(_arun_chain, _run_chain, size),
            "chain_memory": lambda size: _memory(_arun_chain, _run_chain, size),
            "fanout_durable": lambda size: _durable(_arun_fan_out, _run_fan_out, size),
            "fanout_memory": lambda size: _memory(_arun_fan_out, _run_fan_out, size),
            "workflows_durable": lambda size: _durable(_arun_workflows, _run_workflows, size),
            "workflows_memory": lambda size: _memory(_arun_workflows, _run_workflows, size),
            "start_latency_durable": lambda size: _durable(_arun_starts, _run_starts, size),
            "start_latency_memory": lambda size: _memory(_arun_starts, _run_starts, size),
            "import_cost": lambda size: import_cost("from langgraph.graph import StateGraph", size),
        }
    )
