"""OpenAI Agents SDK: its ``SQLiteSession``, one row per item.

Durability class: a file in WAL mode, which it chooses itself, with ``synchronous=FULL`` (SQLite's default, left as it is): an item that
was added is on the disk, as with ours. The in-memory cases use its database in memory. It keeps every item and reads the last ones
with ``limit=``; ours keeps every item as an event and reads its window.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents import SQLiteSession

from benchmarks.protocol import (
    SAID,
    SEEN,
    TALKS,
    Figures,
    database,
    expect,
    import_cost,
    main,
    message,
    rate,
    together,
)


async def _add(size: int, path: str) -> Figures:
    session = SQLiteSession("bench", path)
    await session.add_items([message(0)])
    await session.clear_session()
    started = time.perf_counter()
    for number in range(size):
        await session.add_items([message(number)])
    figures = rate(size, started)
    expect(await session.get_items(limit=SEEN), [message(number) for number in range(size)][-SEEN:])
    session.close()
    return figures


async def _read(size: int, path: str) -> Figures:
    session = SQLiteSession("bench", path)
    await session.add_items([message(number) for number in range(SAID)])
    wanted = [message(number) for number in range(SAID)][-SEEN:]
    expect(await session.get_items(limit=SEEN), wanted)
    items: list[dict[str, str]] = []
    started = time.perf_counter()
    for _ in range(size):
        items = await session.get_items(limit=SEEN)
    figures = rate(size, started)
    expect(items, wanted)
    session.close()
    return figures


async def _many(size: int, path: str) -> Figures:
    sessions = [SQLiteSession(f"bench-{number}", path) for number in range(TALKS)]
    await together(TALKS, lambda number: sessions[number].add_items([message(0)]))

    async def talk(number: int) -> None:
        for count in range(size // TALKS):
            await sessions[number].add_items([message(count)])

    started = time.perf_counter()
    await together(TALKS, talk)
    figures = rate(size // TALKS * TALKS, started)
    wanted = [message(0), *(message(count) for count in range(size // TALKS))][-SEEN:]
    for session in sessions:
        expect(await session.get_items(limit=SEEN), wanted)
        session.close()
    return figures


if __name__ == "__main__":
    runs = {"session_add": _add, "session_read": _read, "session_many": _many}

    def measured(name: str, durable: bool, size: int) -> Figures:
        """Run a case on a new database file, or in memory."""
        with ExitStack() as stack:
            path = str(stack.enter_context(database("sessions.db"))) if durable else ":memory:"
            return asyncio.run(runs[name](size, path))

    main(
        {
            "session_add_durable": lambda size: measured("session_add", True, size),
            "session_add_memory": lambda size: measured("session_add", False, size),
            "session_read_durable": lambda size: measured("session_read", True, size),
            "session_read_memory": lambda size: measured("session_read", False, size),
            "session_many_durable": lambda size: measured("session_many", True, size),
            "session_many_memory": lambda size: measured("session_many", False, size),
            "import_cost": lambda size: import_cost("import agents", size),
        }
    )
