"""The raw limit: the same commits and events written by a bare loop, in the project's own environment.

No framework, no recovery, no definitions: a coroutine per step, two event rows per step (scheduled, completed), encoded
with msgspec as ours are. Durable cases: apsw, WAL, ``synchronous=FULL``, so every commit is on the disk when it returns.

Chain and start: one commit a step. ``inline`` commits on the loop itself, ``thread`` hands each commit to one writer
thread as a program must that does other things meanwhile; the faster one counts. Fan-out and workflows: what is ready is
committed together, a thousand steps a commit, which is the limit of group commit. Messages: a bounded ``asyncio.Queue`` and a task
for each receiver.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import apsw
import msgspec

from benchmarks.protocol import (
    STEPS,
    SUBSCRIBERS,
    Figures,
    best,
    creation,
    database,
    expect,
    import_cost,
    latency,
    main,
    rate,
)

Row = tuple[str, int, str, bytes]
GROUP = 1_000

_encode = msgspec.json.Encoder().encode
_INSERT = "insert into events (stream, version, type, payload) values (?, ?, ?, ?)"


class Recorded(msgspec.Struct):
    """A small event, about as large as an engine's."""

    task: str
    at: int
    value: int


def rows(stream: str, number: int, value: int) -> list[Row]:
    """Return the two events of one step."""
    task = f"s{number}"
    return [
        (stream, 2 * number, "task_scheduled", _encode(Recorded(task, number, value))),
        (stream, 2 * number + 1, "task_completed", _encode(Recorded(task, number, value + 1))),
    ]


async def step(value: int) -> int:
    """Do what a step of every contestant does: next to nothing."""
    return value + 1


def opened(path: Path) -> apsw.Connection:
    """Return a connection to a new event table."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute(
        "create table events (position integer primary key, stream text not null, version integer not null,"
        " type text not null, payload blob not null)"
    )
    connection.execute("create unique index events_by_stream on events (stream, version)")
    return connection


def commit(connection: apsw.Connection, batch: list[Row]) -> None:
    """Write one batch in one transaction."""
    connection.execute("begin immediate")
    connection.executemany(_INSERT, batch)
    connection.execute("commit")


def chain_durable(size: int) -> Figures:
    """Count steps a second with one commit a step."""

    async def inline(connection: apsw.Connection) -> Figures:
        value, started = 0, time.perf_counter()
        for number in range(size):
            value = await asyncio.create_task(step(value))
            commit(connection, rows("chain", number, value))
        expect(value, size)
        return rate(size, started)

    async def thread(connection: apsw.Connection) -> Figures:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as writer:
            value, started = 0, time.perf_counter()
            for number in range(size):
                value = await asyncio.create_task(step(value))
                await loop.run_in_executor(writer, commit, connection, rows("chain", number, value))
            expect(value, size)
            return rate(size, started)

    figures: dict[str, Figures] = {}
    for way in (inline, thread):
        with database("bare.db") as path:
            figures[way.__name__] = asyncio.run(way(opened(path)))
    return best(figures)


def chain_memory(size: int) -> Figures:
    """Count steps a second with the events encoded and kept in a list."""

    async def run() -> Figures:
        log: list[Row] = []
        value, started = 0, time.perf_counter()
        for number in range(size):
            value = await asyncio.create_task(step(value))
            log += rows("chain", number, value)
        expect((value, len(log)), (size, 2 * size))
        return rate(size, started)

    return asyncio.run(run())


async def _fan_out(size: int, record: Callable[[list[Row]], None]) -> Figures:
    """Run the tasks of a fan-out, recording a group at a time, then the join."""
    started = time.perf_counter()
    results: list[int] = []
    for low in range(0, size, GROUP):
        numbers = range(low, min(low + GROUP, size))
        values = await asyncio.gather(*(asyncio.create_task(step(0)) for _ in numbers))
        record([row for number, value in zip(numbers, values, strict=True) for row in rows("fan", number, value)])
        results += values
    record(rows("fan", size, await step(sum(results))))
    expect(len(results), size)
    return rate(size, started)


def fanout_durable(size: int) -> Figures:
    """Count tasks a second with one commit for a thousand of them."""
    with database("bare.db") as path:
        connection = opened(path)
        return asyncio.run(_fan_out(size, lambda batch: commit(connection, batch)))


def fanout_memory(size: int) -> Figures:
    """Count tasks a second with the events kept in a list."""
    log: list[Row] = []
    return asyncio.run(_fan_out(size, log.extend))


async def _workflows(size: int, record: Callable[[list[Row]], None]) -> Figures:
    """Take ``size`` workflows forward one step at a time, each step of all of them recorded in groups."""
    started = time.perf_counter()
    values = [0] * size
    for number in range(STEPS):
        for low in range(0, size, GROUP):
            numbers = range(low, min(low + GROUP, size))
            done = await asyncio.gather(*(asyncio.create_task(step(values[workflow])) for workflow in numbers))
            values[low : low + len(done)] = done
            pairs = zip(numbers, done, strict=True)
            record([row for workflow, value in pairs for row in rows(f"w{workflow}", number, value)])
    expect(set(values), {STEPS})
    return rate(size, started)


def workflows_durable(size: int) -> Figures:
    """Count workflows a second when all that are ready share one commit."""
    with database("bare.db") as path:
        connection = opened(path)
        return asyncio.run(_workflows(size, lambda batch: commit(connection, batch)))


def workflows_memory(size: int) -> Figures:
    """Count workflows a second with the events kept in a list."""
    log: list[Row] = []
    return asyncio.run(_workflows(size, log.extend))


async def _starts(size: int, record: Callable[[list[Row]], None]) -> Figures:
    """Measure from the call to the first line of the step, with one commit of the start between them."""
    waits: list[float] = []
    started = 0.0

    async def first() -> None:
        waits.append(time.perf_counter() - started)

    for number in range(size):
        started = time.perf_counter()
        record(rows(f"w{number}", 0, 0))
        await asyncio.create_task(first())
    return latency(waits)


def start_latency_durable(size: int) -> Figures:
    """Measure the wait for one commit and one new coroutine."""
    with database("bare.db") as path:
        connection = opened(path)
        return asyncio.run(_starts(size, lambda batch: commit(connection, batch)))


def start_latency_memory(size: int) -> Figures:
    """Measure the wait for one new coroutine."""
    log: list[Row] = []
    return asyncio.run(_starts(size, log.extend))


class _Agent:
    """The least an agent can be: a name, what it can do, and its handlers."""

    __slots__ = ("agent_id", "capabilities", "handlers")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.capabilities = {"work"}
        self.handlers = {"step": step}


def messages_ping_pong(size: int) -> Figures:
    """Pass a number to and fro between two tasks through two queues."""

    async def run() -> Figures:
        there: asyncio.Queue[int] = asyncio.Queue(1_000)
        back: asyncio.Queue[int] = asyncio.Queue(1_000)

        async def answer() -> None:
            while number := await there.get():
                await back.put(number)

        answering = asyncio.create_task(answer())
        started = time.perf_counter()
        answers = 0
        for number in range(1, size + 1):
            await there.put(number)
            answers += await back.get() == number
        figures = rate(size, started)
        await there.put(0)
        await answering
        expect(answers, size)
        return figures

    return asyncio.run(run())


def messages_fan_out(size: int) -> Figures:
    """Put every number into the queue of each of a thousand tasks."""

    async def run() -> Figures:
        queues: list[asyncio.Queue[int]] = [asyncio.Queue(1_000) for _ in range(SUBSCRIBERS)]

        async def hear(queue: asyncio.Queue[int]) -> int:
            heard = 0
            while await queue.get():
                heard += 1
            return heard

        hearing = [asyncio.create_task(hear(queue)) for queue in queues]
        await asyncio.sleep(0)
        started = time.perf_counter()
        for number in [*range(1, size // SUBSCRIBERS + 1), 0]:
            for queue in queues:
                await queue.put(number)
        heard = sum(await asyncio.gather(*hearing))
        figures = rate(size, started)
        expect(heard, size)
        return figures

    return asyncio.run(run())


def idle_agents(size: int) -> Figures:
    """Measure plain objects in a dict."""

    async def create(count: int) -> object:
        return {f"agent-{number}": _Agent(f"agent-{number}") for number in range(count)}

    return asyncio.run(creation(size, create))


def import_costs(size: int) -> Figures:
    """Measure what the event loop, the codec and the SQLite driver cost alone."""
    return import_cost("import asyncio, msgspec, apsw", size)


if __name__ == "__main__":
    main(
        {
            "chain_durable": chain_durable,
            "chain_memory": chain_memory,
            "fanout_durable": fanout_durable,
            "fanout_memory": fanout_memory,
            "workflows_durable": workflows_durable,
            "workflows_memory": workflows_memory,
            "start_latency_durable": start_latency_durable,
            "start_latency_memory": start_latency_memory,
            "messages_ping_pong": messages_ping_pong,
            "messages_fan_out": messages_fan_out,
            "idle_agents": idle_agents,
            "import_cost": import_costs,
        }
    )
