"""Threads for plain functions: tools, and what makes instructions.

None can be ended from outside: one that goes on after its time is given up, counted, and keeps its place.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from agenticflow.core.plain import called
from agenticflow.errors import ResourceExhausted

__all__ = ["Job", "Threads"]

MAX_WAITING: Final = 1_000
WAIT_SECONDS: Final = 30.0


class Job:
    """A call in a thread. ``future`` is its end."""

    __slots__ = ("future", "has_begun", "has_ended", "is_abandoned", "is_refused")

    def __init__(self) -> None:
        self.future: asyncio.Future[object]
        self.is_refused = False
        self.has_begun = False
        self.is_abandoned = False
        self.has_ended = False


class Threads:
    """At most ``max_threads`` at once; at most 1,000 calls wait for one, in order, each for at most 30 s."""

    def __init__(self, max_threads: int, what: str = "tools") -> None:
        self.max_threads = max_threads
        self._what = what
        self.abandoned = 0
        """Given up and still running."""
        self._waiting = 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def start(self, call: Callable[[], object], wait_seconds: float = WAIT_SECONDS) -> Job:
        """Return when a thread has begun with ``call``. Raises ``ResourceExhausted`` when none became free."""
        loop = asyncio.get_running_loop()
        if self._waiting >= MAX_WAITING:
            raise ResourceExhausted(
                f"{self._waiting:,} {self._what} wait for a thread already", hint="start less at once"
            )
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.max_threads, thread_name_prefix=f"agenticflow-{self._what}")
        began: asyncio.Future[None] = loop.create_future()
        job = Job()

        def work() -> object:
            with self._lock:
                if job.is_refused:
                    return None
                job.has_begun = True
            try:
                loop.call_soon_threadsafe(_set, began)
                return called(call)
            finally:
                with self._lock:
                    job.has_ended = True
                    self.abandoned -= job.is_abandoned

        job.future = loop.run_in_executor(self._pool, contextvars.copy_context().run, work)
        self._waiting += 1
        try:
            await asyncio.wait((began,), timeout=wait_seconds)
            if self._refuse(job):
                raise ResourceExhausted(
                    f"none of {self.max_threads} threads for {self._what} became free within {wait_seconds:g} s; "
                    f"{self.abandoned} run {self._what} that do not end",
                    hint=f"start less at once, make {self._what} async, or have them come to an end",
                )
        except asyncio.CancelledError:
            if not self._refuse(job):
                self.abandon(job)
            raise
        finally:
            self._waiting -= 1
        return job

    def _refuse(self, job: Job) -> bool:
        """Have a call that has not begun never begin; ``False`` when it has begun."""
        with self._lock:
            job.is_refused = not job.has_begun
        if job.is_refused:
            job.future.cancel()
        return job.is_refused

    def abandon(self, job: Job) -> None:
        """Give up a call: its place stays held until it ends by itself."""
        with self._lock:
            if not job.has_ended and not job.is_abandoned:
                job.is_abandoned = True
                self.abandoned += 1
        job.future.add_done_callback(_look_away)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _look_away(future: asyncio.Future[object]) -> None:
    """Nobody waits for it any more; what it raises is not news."""
    if not future.cancelled():
        future.exception()
