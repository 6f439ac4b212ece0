"""An event loop whose time jumps: an hour of waiting takes as long as the work in between.

Whenever nothing is ready the loop's time moves to the next timer at once, so retries, time limits, grace and timers of days are tested
in milliseconds, in the order in which they would happen. ``VirtualClock`` tells the same time as nanoseconds since the epoch; give it
to whatever takes a ``Clock``. When nothing is ready and no timer is set, nothing can ever happen again: that is a
``VirtualDeadlock``, which names what every task waits for. The engine's watch over open runs is nothing anybody waits for: it looks now
and then, and neither keeps time going nor hides a deadlock.

Only the loop's own time is virtual. While a thread started through ``run_in_executor`` works, time stands still and the loop really
waits for it; other threads, processes and sockets have no place here.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from heapq import heappop, heappush
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from agenticflow.runtime.timers import Tick

__all__ = ["EPOCH_NS", "VirtualClock", "VirtualDeadlock", "VirtualLoop", "run_virtual", "waiting_tasks"]

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
EPOCH_NS: Final = 1_700_000_000_000_000_000
"""When virtual time begins, unless told otherwise: 2023-11-14 22:13:20 UTC."""
_MAX_STANDSTILL: Final = 200
"""So many turns of the loop without waiting are work; from then on each costs a nanosecond.

A float cannot tell two moments of a late hour a nanosecond apart, so a timer set for "one nanosecond from now" would ring at
the same moment for ever."""
_LOOK_AGAIN_SECONDS: Final = 0.05
_MAX_BACKGROUND_TURNS: Final = 10
"""So often in a row time jumps to background work, the engine's own watch; then to the next thing somebody waits for, over days if need
be. When there is none, nothing can ever happen again."""


class VirtualDeadlock(RuntimeError):
    """Nothing is ready and no timer is set, but something is still awaited. The message names every waiting task."""


class VirtualClock:
    """Tells the time of a ``VirtualLoop`` as nanoseconds since the epoch. Never goes backwards."""

    __slots__ = ("_loop", "_start_ns")

    def __init__(self, loop: VirtualLoop, start_ns: int = EPOCH_NS) -> None:
        self._loop = loop
        self._start_ns = start_ns

    def now_ns(self) -> int:
        return self._start_ns + self._loop.elapsed_ns

    @property
    def elapsed_seconds(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._loop.elapsed_ns / 1_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never waits for a timer. ``clock`` tells its time."""

    def __init__(self, start_ns: int = EPOCH_NS) -> None:
        self.elapsed_ns = 0
        """How far time has moved, in nanoseconds."""
        self._jobs = 0
        self._background: list[tuple[float, int, Tick, asyncio.TimerHandle]] = []
        self._ticks = 0
        super().__init__(_JumpingSelector(self))
        self.clock = VirtualClock(self, start_ns)

    def time(self) -> float:
        return self.elapsed_ns / 1_000_000_000

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer as every loop does. Background work has a place of its own, so that it changes nobody's order."""
        if not isinstance(callback, Tick):
            return super().call_at(when, callback, *args, context=context)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._ticks += 1
        heappush(self._background, (when, self._ticks, callback, handle))
        return handle

    def ring_background(self, before: float | None) -> bool:
        """Move time to the earliest background work before the moment ``before``, and have it done; ``False`` when there is none."""
        while self._background:
            when, _, tick, handle = self._background[0]
            if before is not None and when > before and not handle.cancelled():
                return False
            heappop(self._background)
            if not handle.cancelled():
                self.elapsed_ns = max(self.elapsed_ns, round(when * 1_000_000_000))
                self.call_soon(tick)
                return True
        return False

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Arguments]], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        """Run in a thread as every loop does; time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_ended)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads; they are joined in a thread of their own."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jobs -= 1

    def _job_ended(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    @property
    def has_jobs(self) -> bool:
        """Whether a thread works for this loop."""
        return self._jobs > 0

    def waiting(self) -> list[str]:
        """Return, in words, what every unfinished task waits for."""
        return waiting_tasks(self)


def waiting_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return, in words, what every unfinished task of the loop waits for."""
    found: list[str] = []
    for task in asyncio.all_tasks(loop):
        frames = task.get_stack(limit=1)
        at = f"{frames[0].f_code.co_qualname}, line {frames[0].f_lineno}" if frames else "nowhere yet"
        found.append(f"{task.get_name()} at {at}")
    return sorted(found)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for input without waiting, and moves the loop's time instead of sleeping."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._standstill = 0
        self._background_turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop
        if timeout is not None and timeout <= 0:
            self._standstill += 1
            if self._standstill > _MAX_STANDSTILL:
                loop.elapsed_ns += 1
            return super().select(0)
        self._standstill = 0
        if ready := super().select(0):
            return ready
        if loop.has_jobs:
            return super().select(_LOOK_AGAIN_SECONDS)
        before = None if timeout is None else loop.time() + timeout
        if self._background_turns < _MAX_BACKGROUND_TURNS and loop.ring_background(before):
            self._background_turns += 1
            return []
        self._background_turns = 0
        if timeout is None:
            tasks = "; ".join(loop.waiting()) or "no task"
            raise VirtualDeadlock(f"nothing is ready and no timer is set after {loop.time():g} s; waiting: {tasks}")
        loop.elapsed_ns += max(1, round(timeout * 1_000_000_000))
        return []


def run_virtual(main: Coroutine[Any, Any, T], *, start_ns: int = EPOCH_NS) -> T:
    """Run ``main`` in a new ``VirtualLoop`` to its end and return its result; the twin of ``asyncio.run``.

    Inside, ``asyncio.get_running_loop().clock`` is the clock to hand on. Raises ``VirtualDeadlock`` when it can never end.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_ns)) as runner:
        return runner.run(main)
