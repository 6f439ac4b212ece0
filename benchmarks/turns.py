"""The work of the agent cases, equal for everybody: what the fake model says, and how its turns are timed.

A turn is one answer of the model. A run asks for a tool in each turn but the last, one call each, and ends with ``ANSWER``. Every
contestant has a fake model of its own kind that asks ``Script`` what to say, so that none of them pays for more than its own forms of it.
Standard library only: the same file is imported inside the environment of every peer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.protocol import Figures, best, expect, rate, together

__all__ = [
    "ANSWER",
    "AT_ONCE",
    "INSTRUCTIONS",
    "PROMPT",
    "SHORT",
    "TOOL",
    "Script",
    "at_once",
    "long_run",
    "short_runs",
]

SHORT = 2
"""Turns of a short run: one call of the tool, one answer."""
AT_ONCE = 100
"""Runs that go on at the same time in the durable case."""
WINDOW = 50
"""Turns at the beginning and at the end of a long run that are compared."""
WARM = 5
INSTRUCTIONS = "Add what you are given."
PROMPT = "What is one and two?"
ANSWER = "It is three."
TOOL = "add"

Run = Callable[[], Awaitable[Any]]
"""One whole run of the agent; returns its answer."""


class Script:
    """What the model says in each turn of a run of ``turns``, and at which processor second it was asked."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.asked: list[float] = []

    def wants_tool(self, turn: int) -> bool:
        """Whether the answer of this turn, counted from 0, is a call of the tool."""
        self.asked.append(time.process_time())
        return turn < self.turns - 1

    @staticmethod
    def call_id(turn: int) -> str:
        """Return the id of the call of a turn."""
        return f"call_{turn}"

    @staticmethod
    def arguments(turn: int) -> dict[str, int]:
        """Return the arguments of the call of a turn: different ones each time, as a model that repeats itself is stopped by some."""
        return {"a": turn, "b": 2}


async def short_runs(size: int, script: Script, run: Run) -> Figures:
    """Return the turns a second of ``size`` short runs: one after the other, and so many at once; the faster way counts."""

    async def one_by_one() -> Figures:
        began, worked = time.perf_counter(), time.process_time()
        for _ in range(size):
            await run()
        return _turns(size, script, began, worked)

    expect(await run(), ANSWER)
    for _ in range(WARM):
        await run()
    return best({"one by one": await one_by_one(), f"{AT_ONCE} at once": await _many(size, script, run)})


async def at_once(size: int, script: Script, run: Run) -> Figures:
    """Return the turns a second of ``size`` short runs, ``AT_ONCE`` at the same time."""
    expect(await run(), ANSWER)
    return await _many(size, script, run)


async def _many(size: int, script: Script, run: Run) -> Figures:
    """Keep so many runs going at once until ``size`` have been made."""
    left = size

    async def some(_: int) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            expect(await run(), ANSWER)

    script.asked.clear()
    began, worked = time.perf_counter(), time.process_time()
    await together(min(AT_ONCE, size), some)
    figures = _turns(size, script, began, worked)
    expect(len(script.asked), size * script.turns)
    return figures


async def long_run(script: Script, run: Run) -> Figures:
    """Return the turns a second of one run of many turns, and what a turn at its end costs in turns at its beginning.

    ``growth`` is of processor time, so that a neighbour does not look like history.
    """
    expect(await run(), ANSWER)
    script.asked.clear()
    began, worked = time.perf_counter(), time.process_time()
    expect(await run(), ANSWER)
    figures = _turns(1, script, began, worked)
    asked = script.asked
    expect(len(asked), script.turns)
    window = min(WINDOW, (script.turns - 1) // 2)
    first, last = asked[window] - asked[0], asked[-1] - asked[-1 - window]
    return {
        **figures,
        "growth": last / first,
        "first_us": first / window * 1e6,
        "last_us": last / window * 1e6,
    }


def _turns(runs: int, script: Script, began: float, worked: float) -> Figures:
    count = runs * script.turns
    return rate(count, began, processor_per_second=count / (time.process_time() - worked))
