"""DBOS Transact: steps of a workflow recorded in a SQLite system database.

Durability class: DBOS commits the output of every step before the workflow goes on. Its default for SQLite is the rollback
journal; here the file is put into WAL before DBOS opens it, which is durable with ``synchronous=FULL`` (SQLite's default, left
as it is) and about a third faster for DBOS. So a step that is reported done is on the disk, as with ours.

Both of its styles are measured, coroutines and plain functions; the faster one counts and both are in the JSON. DBOS has no
mode without a database, so it has no in-memory cases, and no agents.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbos import DBOS

from benchmarks.protocol import STEPS, Figures, best, database, expect, import_cost, latency, main, rate, together

first_lines: list[float] = []
"""When the first line of a step ran, by ``time.perf_counter``."""


@DBOS.step()
def step(value: int) -> int:
    """One step of a chain."""
    return value + 1


@DBOS.step()
async def astep(value: int) -> int:
    """One step of a chain."""
    return value + 1


@DBOS.step()
def mark() -> None:
    """Note the time."""
    first_lines.append(time.perf_counter())


@DBOS.step()
async def amark() -> None:
    """Note the time."""
    first_lines.append(time.perf_counter())


@DBOS.workflow()
def chain(size: int) -> int:
    """Steps one after the other, plain functions."""
    value = 0
    for _ in range(size):
        value = step(value)
    return value


@DBOS.workflow()
async def achain(size: int) -> int:
    """Steps one after the other, coroutines."""
    value = 0
    for _ in range(size):
        value = await astep(value)
    return value


@DBOS.workflow()
async def fan_out(size: int) -> int:
    """All steps at once, then their sum: DBOS's documented way, started in a fixed order."""
    return await astep(sum(await asyncio.gather(*[astep(0) for _ in range(size)])) - 1)


@DBOS.workflow()
def short() -> None:
    """A workflow of one step that notes the time."""
    mark()


@DBOS.workflow()
async def ashort() -> None:
    """A workflow of one step that notes the time."""
    await amark()


@contextmanager
def _launched() -> Iterator[None]:
    with database("dbos.db") as path:
        connection = sqlite3.connect(path)
        connection.execute("pragma journal_mode=wal")
        connection.close()
        DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})
        DBOS.launch()
        try:
            yield
        finally:
            DBOS.destroy()


def chain_durable(size: int) -> Figures:
    """Count steps a second."""

    async def coroutines() -> Figures:
        await achain(5)
        started = time.perf_counter()
        expect(await achain(size), size)
        return rate(size, started)

    with _launched():
        by_coroutines = asyncio.run(coroutines())
        chain(5)
        started = time.perf_counter()
        expect(chain(size), size)
        return best({"async": by_coroutines, "sync": rate(size, started)})


def fanout_durable(size: int) -> Figures:
    """Count tasks a second."""

    async def run() -> Figures:
        await fan_out(5)
        started = time.perf_counter()
        expect(await fan_out(size), size)
        return rate(size, started)

    with _launched():
        return asyncio.run(run())


def workflows_durable(size: int) -> Figures:
    """Count workflows a second: coroutines all at once, plain functions one after the other (faster than its threads)."""

    async def coroutines() -> Figures:
        await achain(STEPS)
        started = time.perf_counter()
        expect(set(await together(size, lambda _: achain(STEPS))), {STEPS})
        return rate(size, started)

    with _launched():
        by_coroutines = asyncio.run(coroutines())
        chain(STEPS)
        started = time.perf_counter()
        for _ in range(size):
            expect(chain(STEPS), STEPS)
        return best({"async": by_coroutines, "sync": rate(size, started)})


def start_latency_durable(size: int) -> Figures:
    """Measure from the call that starts a workflow to the first line of its first step."""

    def waits(call: Callable[[], object]) -> Figures:
        first_lines.clear()
        calls: list[float] = []
        for _ in range(size + 5):
            calls.append(time.perf_counter())
            call()
        return latency([line - called for called, line in zip(calls, first_lines, strict=True)][5:])

    async def coroutines() -> Figures:
        first_lines.clear()
        calls: list[float] = []
        for _ in range(size + 5):
            calls.append(time.perf_counter())
            await ashort()
        return latency([line - called for called, line in zip(calls, first_lines, strict=True)][5:])

    with _launched():
        return best({"async": asyncio.run(coroutines()), "sync": waits(short)})


if __name__ == "__main__":
    main(
        {
            "chain_durable": chain_durable,
            "fanout_durable": fanout_durable,
            "workflows_durable": workflows_durable,
            "start_latency_durable": start_latency_durable,
            "import_cost": lambda size: import_cost("import dbos", size),
        }
    )
