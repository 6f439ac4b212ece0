"""A rate as state: at most so many turns within any stretch of time, handed out in the order in which they are asked for. Pure.

A sliding window over the moments of the last turns, not a bucket that fills: a bucket of ten lets nineteen through within a second that
begins when it is full, and services that count windows notice. A turn is a moment, now or later; whoever got a later one waits until then.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["Rate", "RateWindow"]

NANOSECONDS: Final = 1_000_000_000
MAX_RATE: Final = 100_000
"""Turns within a window: so many moments are remembered."""
MAX_WINDOW_SECONDS: Final = 86_400.0


class Rate(msgspec.Struct, frozen=True):
    """At most ``rate`` turns in any ``per_seconds``."""

    rate: int
    per_seconds: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int) or not 1 <= self.rate <= MAX_RATE:
            raise DefinitionError(
                f"the rate of a limiter is {self.rate!r}", hint=f"give a whole number from 1 to {MAX_RATE:,}"
            )
        seconds = self.per_seconds
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_WINDOW_SECONDS:
            raise DefinitionError(
                f"per_seconds of a limiter is {seconds!r}",
                hint=f"give seconds above 0, at most {MAX_WINDOW_SECONDS:,.0f}",
            )


class RateWindow:
    """Turns under ``rate``, by moments in nanoseconds. Mutable and private to whoever holds it."""

    __slots__ = ("_freed", "_moments", "_window", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._window = int(rate.per_seconds * NANOSECONDS)
        self._moments: deque[int] = deque(maxlen=rate.rate)
        """Of the last turns, in order; some may still be to come."""
        self._freed: list[int] = []
        """Turns to come that were given back."""

    def next_free(self, now: int) -> int:
        """Return the moment of the next turn, ``now`` or later."""
        while self._freed and self._freed[0] < now:
            del self._freed[0]
        if self._freed:
            return self._freed[0]
        moments = self._moments
        moment = max(now, moments[-1]) if moments else now
        if len(moments) == self.rate.rate:
            moment = max(moment, moments[0] + self._window)
        return moment

    def take(self, now: int, latest: int | None = None) -> int | None:
        """Take the next turn and return its moment; ``None``, and nothing is taken, when it would be after ``latest``."""
        moment = self.next_free(now)
        if latest is not None and moment > latest:
            return None
        if self._freed:
            del self._freed[0]
        else:
            self._moments.append(moment)
        return moment

    def give_back(self, moment: int, now: int) -> None:
        """Give back a turn to come that nobody wants any more; the next one to ask gets it. One that has passed is lost."""
        if moment >= now:
            insort(self._freed, moment)
