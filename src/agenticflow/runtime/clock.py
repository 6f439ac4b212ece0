"""The one place that reads time and randomness. Everything else is handed a ``Clock``, an ``IdSource`` or a seed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from agenticflow.core.clocks import CounterIds, ambient

__all__ = ["SystemClock", "install", "new_seed"]


_random = random.Random(os.urandom(32))  # noqa: S311 - each from the system would cost a sub-workflow a fiftieth of its time
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


class SystemClock:
    """Wall time that never goes backwards within the process, whatever somebody does to the machine's clock."""

    __slots__ = ("_last", "_wall")

    def __init__(self, wall: Callable[[], int] = time.time_ns) -> None:
        self._wall = wall
        self._last = 0

    def now_ns(self) -> int:
        now = self._wall()
        if now < self._last:
            return self._last
        self._last = now
        return now


def new_seed() -> str:
    """Return 16 random hexadecimal digits; for delays, not for secrets."""
    return _random.getrandbits(64).to_bytes(8).hex()


def install() -> None:
    """Give hand-made events the real clock and ids that are unique per process. Called once, on import of the package."""
    ambient.clock = SystemClock()
    ambient.ids = CounterIds(os.urandom(6).hex())
