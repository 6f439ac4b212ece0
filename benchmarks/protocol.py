"""What every benchmark script speaks: ``python file CASE --size N`` runs one case and prints one line of JSON.

The line has ``case``, ``size``, ``seconds``, ``per_second`` and what else the case measures (``p50_ms``,
``bytes_per_agent`` …). Standard library only, because the same file is imported inside the environment of every peer.
Nothing here knows a framework, and nothing here decides what a figure is worth: that is ``run.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "SAID",
    "SEEN",
    "STEPS",
    "SUBSCRIBERS",
    "TALKS",
    "Figures",
    "best",
    "creation",
    "database",
    "expect",
    "import_cost",
    "latency",
    "main",
    "message",
    "rate",
    "skipped",
    "together",
]

Figures = dict[str, Any]
"""Measured values by name, ready for JSON."""

STEPS = 5
"""Steps of each workflow in the two many-workflows cases."""

SUBSCRIBERS = 1_000
"""Who hears each message of the fan-out of messages."""

SEEN = 50
"""Items of a conversation that a model sees."""

SAID = 500
"""Items of the conversation that is read."""

TALKS = 50
"""Conversations that go on at once."""


def main(cases: Mapping[str, Callable[[int], Figures]]) -> None:
    """Run the case named on the command line and print its figures. Exits with 2 for a case that is not in ``cases``."""
    parser = argparse.ArgumentParser(description="Run one benchmark case and print one line of JSON.")
    parser.add_argument("case", choices=sorted(cases))
    parser.add_argument("--size", type=int, required=True, help="how many steps, tasks, workflows, agents or starts")
    arguments = parser.parse_args()
    figures = cases[arguments.case](arguments.size)
    # Frameworks may have left something unfinished on the line; the driver reads the last line only.
    print("\n" + json.dumps({"case": arguments.case, "size": arguments.size, **figures}), flush=True)


def message(number: int) -> dict[str, str]:
    """Return an item of a conversation, of usual length."""
    return {"role": "user" if number % 2 == 0 else "assistant", "content": f"This is message {number}. " * 8}


class Conversation(Protocol):
    """What the Agents SDK wants of a session."""

    async def get_items(self) -> list[Any]: ...
    async def add_items(self, items: list[Any]) -> None: ...


async def converse(session: Conversation, turns: int) -> None:
    """Use a session as the ``Runner`` of the Agents SDK does in so many runs without tools: each reads all that was said, adds the prompt,
    and adds the answer when that is there."""
    said: list[Any] = []
    for turn in range(turns):
        said = await session.get_items()
        await session.add_items([message(2 * turn)])
        await session.add_items([message(2 * turn + 1)])
    expect(said, [message(number) for number in range(2 * (turns - 1))])


def rate(count: int, started: float, **extra: object) -> Figures:
    """Return the figures of ``count`` things done since ``started``, a reading of ``time.perf_counter``."""
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "per_second": count / seconds, **extra}


def skipped(reason: str) -> Figures:
    """Return what stands for the figures of a case that cannot be run here, and why; the driver shows the reason and judges nothing."""
    return {"skipped": reason}


def best(variants: Mapping[str, Figures]) -> Figures:
    """Return the figures of the fastest way to do the same work, with the rates of all the ways beside them."""
    name = max(variants, key=lambda key: float(variants[key]["per_second"]))
    rates = {key: round(float(figures["per_second"]), 1) for key, figures in variants.items()}
    return {**variants[name], "variant": name, "variants": rates}


def latency(samples_seconds: list[float]) -> Figures:
    """Return the percentiles in milliseconds of waits measured one after the other."""
    ordered = sorted(samples_seconds)
    total = sum(ordered)
    return {
        "seconds": total,
        "per_second": len(ordered) / total,
        "p50_ms": statistics.median(ordered) * 1e3,
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
    }


async def creation(size: int, create: Callable[[int], Awaitable[object]]) -> Figures:
    """Return the time and memory of one of ``size`` objects made by ``create(size)``, which returns what holds them.

    Called twice: once for the time alone, because counting allocations slows them down, once for the bytes. The bytes
    are those of Python's allocator that are still held when all objects exist, shared definitions included.
    """
    await create(10)
    gc.collect()
    started = time.perf_counter()
    held = await create(size)
    figures = rate(size, started)
    del held
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = await create(size)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del held
    return {**figures, "us_to_create": figures["seconds"] / size * 1e6, "bytes_per_agent": grown / size}


def import_cost(statement: str, runs: int, usable: str | None = None) -> Figures:
    """Return what ``statement`` adds to starting the interpreter: medians of fresh processes, taken alternately.

    ``usable`` imports the names that a first program needs, for a package that loads them late; without it ``statement``
    has done so already, and ``usable_ms`` is the same figure. The first round only fills the file cache and the byte-code
    cache. ``-I`` keeps the caller's environment variables and working directory out of it.
    """

    def once(code: str) -> float:
        started = time.perf_counter()
        # no timeout=: waiting with one polls in steps of up to 50 ms, which would be measured; the driver limits the whole
        subprocess.run([sys.executable, "-I", "-c", code], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    statements = ["pass", statement, *([usable] if usable else [])]
    taken: dict[str, list[float]] = {code: [] for code in statements}
    for _ in range(runs + 1):
        for code in statements:
            taken[code].append(once(code))
    bare, *loaded = (statistics.median(taken[code][1:]) for code in statements)
    seconds = loaded[0] - bare
    return {
        "seconds": seconds,
        "per_second": 1 / max(seconds, 1e-6),
        "import_ms": seconds * 1e3,
        "usable_ms": (loaded[-1] - bare) * 1e3,
        "statements": statements[1:],
    }


@contextmanager
def database(name: str) -> Iterator[Path]:
    """Give the path of a database file that does not exist yet, and remove its directory afterwards.

    ``BENCH_WORKDIR`` says where: the driver points it at the project's own disk, because the usual place for temporary
    files may be memory, where a synchronous commit costs nothing.
    """
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_WORKDIR")))
    try:
        yield directory / name
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def expect(actual: object, wanted: object) -> None:
    """Stop the benchmark when the work was not really done."""
    if actual != wanted:
        raise SystemExit(f"the work was not done: got {actual!r:.200}, wanted {wanted!r:.200}")


async def together(count: int, start: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """Run ``start(0)`` … ``start(count - 1)`` concurrently and return what they return, in order."""
    return list(await asyncio.gather(*(start(number) for number in range(count))))
