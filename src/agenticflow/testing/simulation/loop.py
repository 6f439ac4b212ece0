"""An event loop of our own making: one thread, virtual time, several processes, and a seed that says who goes next.

Whatever is scheduled belongs to the process in whose context it was scheduled (``PROCESS``). What belongs to a process that has died
never runs: its coroutines stay where they are, as after ``kill -9``, and none of their ``finally`` blocks has a say until the loop is
closed. Of everything that is ready one is chosen by chance, so each seed is another interleaving, and the same one every time. Time
moves only when nothing is ready. There are no sockets and no threads: what is meant for a thread is done at one moment, a little later.
"""

from __future__ import annotations

import asyncio
import contextvars
import random  # noqa: TID251 - the order follows from the caller's seed
from asyncio.events import _set_running_loop
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from agenticflow.testing.virtual_time import EPOCH_NS

__all__ = ["PROCESS", "Killed", "Mortal", "SimulatedLoop", "Standstill"]

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
NANOSECONDS: Final = 1_000_000_000
THREAD_SECONDS: Final = 0.003
"""How late the work of a thread is done, at most."""
MAX_STEPS: Final = 200_000
"""Steps of one schedule; more are taken for a loop without end."""


class Killed(KeyboardInterrupt):
    """The process ends here. Of this kind because no handler of errors takes it."""


class Standstill(RuntimeError):
    """What is awaited will not come: nothing is left to do, or nothing that brings it about within the limit."""


class Mortal:
    """What callbacks belong to."""

    is_dead = False


PROCESS: Final[contextvars.ContextVar[Mortal | None]] = contextvars.ContextVar("agenticflow_process", default=None)
"""Whose code runs; ``None`` is the outside world."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks of several processes. ``disorder`` is how often chance says who goes next, from 0 (who was first) to 1."""

    def __init__(self, chance: random.Random | None = None, *, disorder: float = 1.0) -> None:
        self._is_over = False
        self._is_running = False
        super().__init__()
        self.elapsed_ns = 0
        self.steps = 0
        self.problems: list[str] = []
        """Errors that nobody waits for."""
        self._chance = chance
        self._disorder = 0.0 if chance is None else disorder
        self._runnable: list[tuple[Mortal | None, asyncio.Handle]] = []
        self._timers: list[tuple[int, int, Mortal | None, asyncio.TimerHandle]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []
        """Every task there was: one that nobody holds any more would be closed by the interpreter, and its ``finally`` blocks would run."""

    # --- time ---------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.elapsed_ns / NANOSECONDS

    def now_ns(self) -> int:
        """Return the true time, nanoseconds since the epoch: the loop is a ``Clock``."""
        return EPOCH_NS + self.elapsed_ns

    # --- scheduling ---------------------------------------------------------------------------------------------------

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        context = context or contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._runnable.append((context.get(PROCESS), handle))
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        # A float cannot tell two late moments a nanosecond apart; a delay must not be none.
        wait = max(1, round(delay * NANOSECONDS)) if delay > 0 else 0
        return self._set(self.elapsed_ns + wait, callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        now = self.elapsed_ns
        return self._set(
            now if when <= self.time() else max(now + 1, round(when * NANOSECONDS)), callback, args, context
        )

    def _set(
        self, at: int, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> asyncio.TimerHandle:
        context = context or contextvars.copy_context()
        handle = asyncio.TimerHandle(at / NANOSECONDS, callback, args, self, context)
        self._count += 1
        heappush(self._timers, (at, self._count, context.get(PROCESS), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its moment comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Arguments]], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        """Have ``func`` done at one moment, a little later: there are no threads here."""
        future: asyncio.Future[T] = self.create_future()
        delay = 0.0 if self._chance is None else self._chance.random() * THREAD_SECONDS
        self.call_later(delay, self._work, future, func, args)
        return future

    def _work(self, future: asyncio.Future[T], func: Callable[..., T], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        try:
            result = func(*args)
        except StopIteration as error:
            future.set_exception(RuntimeError(f"{func!r} raised {error!r}"))
        except Exception as error:  # noqa: BLE001 - whoever awaits it is told
            future.set_exception(error)
        else:
            future.set_result(result)

    # --- running ------------------------------------------------------------------------------------------------------

    def run_until(self, is_over: Callable[[], bool], *, limit_seconds: float) -> None:
        """Run until ``is_over()``. Raises ``Standstill`` when nothing is left to do before, or ``limit_seconds`` of time have passed."""
        limit = self.elapsed_ns + round(limit_seconds * NANOSECONDS)
        _set_running_loop(self)
        self._is_running = True
        try:
            while not is_over():
                if self._runnable:
                    self._step()
                    continue
                at = self._next_moment()
                if at is None:
                    raise Standstill("nothing is left to do")
                if at > limit:
                    self.elapsed_ns = limit
                    raise Standstill(f"{limit_seconds:g} s have passed")
                self.elapsed_ns = max(self.elapsed_ns, at)
                while self._timers and self._timers[0][0] <= self.elapsed_ns:
                    _, _, owner, handle = heappop(self._timers)
                    if not handle.cancelled():
                        self._runnable.append((owner, handle))
        finally:
            self._is_running = False
            _set_running_loop(None)

    def _next_moment(self) -> int | None:
        while self._timers:
            at, _, owner, handle = self._timers[0]
            if not handle.cancelled() and (owner is None or not owner.is_dead):
                return at
            heappop(self._timers)
        return None

    def _step(self) -> None:
        ready, chance = self._runnable, self._chance
        place = 0
        if len(ready) > 1 and chance is not None and chance.random() < self._disorder:
            place = int(chance.random() * len(ready))
        owner, handle = ready.pop(place)
        if handle.cancelled() or (owner is not None and owner.is_dead):
            return
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Standstill(f"{MAX_STEPS:,} steps were made")
        with suppress(Killed):  # the process is marked dead: nothing of it comes up again
            handle._run()

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        self.run_until(task.done, limit_seconds=1e6)
        return task.result()

    def close(self) -> None:
        """End what is suspended, the dead too. Nothing that happens on the way out counts any more."""
        self._is_over = True
        _set_running_loop(self)
        try:
            for task in self._tasks:
                coroutine = None if task.done() else task.get_coro()
                if coroutine is not None:
                    with suppress(BaseException):  # the schedule is over: nobody is left to be told
                        coroutine.close()
        finally:
            _set_running_loop(None)
        self._tasks.clear()
        self._runnable.clear()
        self._timers.clear()
        super().close()

    # --- what every loop is asked -------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        return self._is_running

    def is_closed(self) -> bool:
        return self._is_over

    def get_debug(self) -> bool:
        return False

    def stop(self) -> None:
        """Nobody stops it from the inside: it runs until what it was run for is over."""

    def call_exception_handler(self, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        owner = PROCESS.get()
        if self._is_over or isinstance(error, Killed) or (owner is not None and owner.is_dead):
            return
        self.problems.append(f"{context.get('message', '')} {error!r}")

    def default_exception_handler(self, context: Mapping[str, Any]) -> None:
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        """Their finalizers run when they are forgotten."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There are no threads."""
