"""Bulkheads: at most so many inside at once, and a bounded line of those who wait, so that one slow service cannot take everything with it.

Seats are handed from who leaves to who has waited longest, under a lock, so that nobody overtakes and a seat is never lost between a
time limit, a cancellation and its hand-over. A bulkhead may be used from several event loops of one process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Final

import msgspec

from agenticflow.errors import CommandRefused, DefinitionError, ResourceExhausted

__all__ = ["Bulkhead", "BulkheadStatus"]

MAX_CONCURRENT: Final = 100_000
MAX_WAITING: Final = 1_000
WAIT_SECONDS: Final = 30.0


class BulkheadStatus(msgspec.Struct, frozen=True):
    """How a bulkhead stands, as data."""

    name: str
    max_concurrent: int
    in_use: int
    waiting: int
    refused: int
    """Who was turned away: too many waited, or their time was up."""


class _Waiter:
    __slots__ = ("error", "future", "has_seat")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.has_seat = False
        self.error: str = ""
        """Why it will never have one."""

    def wake(self) -> bool:
        """Let it look; ``False`` when its loop is gone, and with it whoever waited."""
        try:
            self.future.get_loop().call_soon_threadsafe(_set, self.future)
        except RuntimeError:
            return False
        return True


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Bulkhead:
    """``async with Bulkhead("reports", max_concurrent=4): …`` is inside with at most three others.

    At most ``max_waiting`` wait, each for at most ``wait_seconds``, in order; more, or longer, is ``ResourceExhausted``.
    """

    __slots__ = (
        "_in_use",
        "_is_closed",
        "_line",
        "_lock",
        "_refused",
        "max_concurrent",
        "max_waiting",
        "name",
        "wait_seconds",
    )

    def __init__(
        self,
        name: str,
        max_concurrent: int = 10,
        *,
        max_waiting: int = MAX_WAITING,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        for field, number, least in (("max_concurrent", max_concurrent, 1), ("max_waiting", max_waiting, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= MAX_CONCURRENT:
                raise DefinitionError(
                    f"{field} of {name!r} is {number!r}",
                    hint=f"give a whole number from {least} to {MAX_CONCURRENT:,}",
                )
        self.name = name
        self.max_concurrent = max_concurrent
        self.max_waiting = max_waiting
        self.wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._in_use = 0
        self._refused = 0
        self._is_closed = False
        self._line: deque[_Waiter] = deque()

    async def acquire(self, wait_seconds: float | None = None) -> None:
        """Return with a seat, which ``release`` gives back. Waits at most ``wait_seconds``, by default those of the bulkhead."""
        with self._lock:
            self._check_open()
            if self._in_use < self.max_concurrent and not self._line:
                self._in_use += 1
                return
            if len(self._line) >= self.max_waiting:
                self._refused += 1
                raise ResourceExhausted(
                    f"all {self.max_concurrent} places of {self.name!r} are taken, and {len(self._line)} wait already",
                    hint="start less at once, or allow more",
                )
            waiter = _Waiter(asyncio.get_running_loop().create_future())
            self._line.append(waiter)
        limit = self.wait_seconds if wait_seconds is None else wait_seconds
        try:
            async with asyncio.timeout(limit):
                await waiter.future
        except TimeoutError as error:
            if not self._stop_waiting(waiter):
                return  # it got its seat at the last moment
            with self._lock:
                self._refused += 1
            raise ResourceExhausted(
                f"none of the {self.max_concurrent} places of {self.name!r} became free within {limit:g} s",
                hint="wait longer, start less at once, or allow more",
            ) from error
        except BaseException:
            if not self._stop_waiting(waiter):
                self.release()
            raise
        if not waiter.has_seat:
            raise CommandRefused(waiter.error)

    def release(self) -> None:
        """Give a seat back: to who has waited longest, if somebody waits."""
        with self._lock:
            while self._line:
                waiter = self._line.popleft()
                waiter.has_seat = True
                if waiter.wake():
                    return
            self._in_use -= 1

    def close(self) -> None:
        """Let nobody in any more, and turn away those who wait. Who is inside stays until it leaves."""
        with self._lock:
            self._is_closed = True
            while self._line:
                waiter = self._line.popleft()
                waiter.error = f"{self.name!r} was closed while waiting for it"
                waiter.wake()

    def status(self) -> BulkheadStatus:
        """Return how it stands."""
        with self._lock:
            return BulkheadStatus(
                self.name, self.max_concurrent, in_use=self._in_use, waiting=len(self._line), refused=self._refused
            )

    def _check_open(self) -> None:
        if self._is_closed:
            raise CommandRefused(f"{self.name!r} is closed", hint="make another one")

    def _stop_waiting(self, waiter: _Waiter) -> bool:
        """Take it out of the line; ``False`` when it has a seat already."""
        with self._lock:
            if waiter in self._line:
                self._line.remove(waiter)
            return not waiter.has_seat

    async def __aenter__(self) -> Bulkhead:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Bulkhead({self.name!r}, {self._in_use} of {self.max_concurrent})"
