"""Functions that make instructions, as they are called: an async one on the event loop, a plain one in a thread, so that it may block.

Whoever waits has a limit. A thread that goes on after that is given up, counted, and keeps its place.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agenticflow.core.plain import is_async
from agenticflow.tools.execution.threads import Threads

__all__ = ["instructed", "instructed_in_time"]

MAX_THREADS: Final = 32
"""For plain functions that make instructions: at once, in this process."""
_threads: Final = Threads(MAX_THREADS, "instructions")


def instructed(function: Callable[..., object], context: Any, definition: object) -> object:
    """Call ``function`` with the context, and with the definition when it takes two."""
    try:
        inspect.signature(function).bind(context, definition)
    except TypeError:
        return function(context)
    except ValueError:  # it does not tell what it takes
        return function(context, definition)
    return function(context, definition)


async def instructed_in_time(
    function: Callable[..., object], context: Any, definition: object, limit: asyncio.Timeout
) -> object:
    """The same, and return what an async one makes. Raises ``TimeoutError`` when ``limit`` expires, ``ResourceExhausted`` when no thread
    becomes free before."""
    call = partial(instructed, function, context, definition)
    async with limit:
        made = call() if is_async(function) else await _in_thread(call)
        return await made if inspect.isawaitable(made) else made


async def _in_thread(call: Callable[[], object]) -> object:
    job = await _threads.start(call)
    try:
        await asyncio.wait((job.future,))
    except asyncio.CancelledError:
        _threads.abandon(job)  # nobody can end a thread; what it still makes is not wanted
        raise
    return job.future.result()
