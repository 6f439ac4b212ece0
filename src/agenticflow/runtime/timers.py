"""When each execution wants to be told the time: one heap, one timer of the event loop, never early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from agenticflow.core.clocks import Clock
from agenticflow.core.measures import Measures

__all__ = ["Tick", "Timers"]

MAX_SLEEP_SECONDS: Final = 60.0
"""Wall clocks are set forward now and then: look at least this often."""
FIRST_PATIENCE_SECONDS: Final = 0.000_1
LAST_PATIENCE_SECONDS: Final = 1.0
"""A wall clock that was set back stands still for the process until it has caught up: look less and less often."""


class Timers:
    """At most one moment per stream; setting another replaces it."""

    def __init__(self, clock: Clock, due: Callable[[str], None]) -> None:
        self._clock = clock
        self._due = due
        self._moments: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = 0
        self._is_look = False
        """Whether it rings only to look at the clock."""
        self._patience_seconds = 0.0
        """How long to wait at least, after it has rung for something that was not due."""
        self.measures: Measures | None = None

    def set(self, stream_id: str, moment: int | None) -> None:
        """Call ``due(stream_id)`` once at or after ``moment`` (nanoseconds since the epoch), or not at all."""
        known = self._moments.get(stream_id)
        if moment == known:
            return
        if moment is None:
            del self._moments[stream_id]
            return
        self._moments[stream_id] = moment
        heappush(self._heap, (moment, stream_id))
        if len(self._heap) > 2 * len(self._moments) + 100:
            self._heap = [(at, stream) for stream, at in self._moments.items()]
            heapify(self._heap)
        if self._handle is None or moment < self._handle_at:
            self._arm()

    def moment_of(self, stream_id: str) -> int | None:
        """Return what is set for the stream; ``None`` when nothing is."""
        return self._moments.get(stream_id)

    def stop(self) -> None:
        """Forget everything."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._moments.clear()
        self._heap.clear()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        while self._heap and self._moments.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        if self._heap:
            moment = self._heap[0][0]
            delay = (moment - self._clock.now_ns()) / 1_000_000_000
            self._handle_at = moment
            self._is_look = delay > MAX_SLEEP_SECONDS
            self._handle = asyncio.get_running_loop().call_later(
                max(self._patience_seconds, min(delay, MAX_SLEEP_SECONDS)), self._ring
            )

    def _ring(self) -> None:
        self._handle = None
        now = self._clock.now_ns()
        if now < self._handle_at and not self._is_look:
            self._patience_seconds = min(max(FIRST_PATIENCE_SECONDS, 2 * self._patience_seconds), LAST_PATIENCE_SECONDS)
        else:
            self._patience_seconds = 0.0
        while self._heap and self._heap[0][0] <= now:
            moment, stream_id = heappop(self._heap)
            if self._moments.get(stream_id) == moment:
                del self._moments[stream_id]
                if self.measures is not None:
                    self.measures.timer_rang(now - moment)
                self._due(stream_id)
        self._arm()


class Tick:
    """Resolves a future later. Background work: nobody waits for it, so a clock that jumps (``testing``) need not."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def __call__(self) -> None:
        if not self._future.done():
            self._future.set_result(None)
