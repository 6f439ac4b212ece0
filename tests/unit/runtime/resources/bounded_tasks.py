"""Bounded functions at the top level of a module, where processes find them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from agenticflow import worker
from agenticflow.errors import PermanentError
from agenticflow.runtime.resources import resource_bounded
from tests.unit.runtime.tasks import start_another, start_another_and_hang

__all__ = ["MANY_BYTES"]

MANY_BYTES = 300_000_000


@resource_bounded(max_memory="100MB")
def take(size: int) -> int:
    """Have ``size`` bytes at once."""
    return len(bytearray(size))


@resource_bounded(max_cpu_time="300ms")
def compute(seconds: float, *, stubborn: bool = False) -> str:
    """Use so much processor time, or a little more."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        try:
            sum(range(1_000))
        except Exception:
            if not stubborn:
                raise
    return "done"


@resource_bounded(max_cpu_time="200ms", timeout="20s")
def refuse_to_stop() -> None:
    """Hear nothing: only the kernel ends this."""
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    while True:
        sum(range(1_000))


@resource_bounded(max_memory="100MB", max_cpu_time="10s")
def again(depth: int) -> int:
    """Call itself, inside the same bounds."""
    return 0 if depth == 0 else 1 + again(depth - 1)


@resource_bounded(timeout="30s")
def nested(size: int) -> int:
    """Call a function that has bounds of its own."""
    return take(size)


def call_take(size: int) -> int:
    """A handler without bounds that calls one that has some."""
    return take(size)


@resource_bounded(timeout="300ms")
def hang(marker: str) -> None:
    """Never end."""
    Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


@resource_bounded(max_cpu_time="300ms")
def compute_beside_another(marker: str) -> None:
    """Start a process that goes on, and use processor time until interrupted."""
    start_another(marker)
    while True:
        sum(range(1_000))


@resource_bounded(timeout="2s")
def hang_beside_another(marker: str) -> None:
    """Start a process that goes on, and never end."""
    start_another_and_hang(marker)


@resource_bounded(timeout="30s")
def fail(kind: str) -> None:
    """Fail in one of several ways."""
    errors: dict[str, BaseException] = {
        "built in": LookupError("no such row"),
        "ours": PermanentError("declined"),
        "of several words": UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        "foreign": _Foreign("strange"),
        "exit": SystemExit(3),
    }
    raise errors[kind]


class _Foreign(Exception):
    pass


@resource_bounded(timeout="30s")
def die() -> None:
    """End the process."""
    os._exit(7)


@resource_bounded(timeout="30s")
def where(first: int, second: int = 2, **rest: object) -> dict[str, object]:
    """Tell where this runs, and with what."""
    return {"pid": os.getpid(), "first": first, "second": second, "rest": rest}


@resource_bounded(max_memory="100MB", timeout="4s", max_concurrent=1)
async def take_later(size: int, seconds: float = 0) -> dict[str, int]:
    """An async one: in a process with a loop of its own."""
    await asyncio.sleep(seconds)
    return {"size": len(bytearray(size)), "pid": os.getpid()}


@worker("bounded_worker")
@resource_bounded(max_memory="100MB")
def bounded_worker(size: int) -> int:
    """A worker made of a bounded function."""
    return len(bytearray(size))
