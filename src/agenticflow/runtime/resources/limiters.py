"""Rate limiters of this process: at most so many calls within a time, in the order in which they ask, shared by all users of a name.

``resilience.limiter`` hands out turns; here one waits for them. For limits over all runs and processes of a store, which survive a restart,
tasks have ``limits=[Limit(…)]``; a limiter is for what a program calls by itself.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Final

import msgspec

from agenticflow.core.clocks import Clock, ambient
from agenticflow.errors import BoundExceeded, DefinitionError, ResourceExhausted
from agenticflow.resilience.limiter import Rate, RateWindow

__all__ = ["LimiterStatus", "RateLimiter", "list_limiters"]

NANOSECONDS: Final = 1_000_000_000
MAX_LIMITERS: Final = 10_000
MAX_NAME_CHARS: Final = 200
MAX_WAITING: Final = 1_000
WAIT_SECONDS: Final = 60.0


class LimiterStatus(msgspec.Struct, frozen=True):
    """How a limiter stands, as data."""

    name: str
    rate: int
    per_seconds: float
    waiting: int
    taken: int
    refused: int


class _Shared:
    """What all users of one name share."""

    __slots__ = ("clock", "lock", "max_waiting", "name", "refused", "taken", "waiting", "window")

    def __init__(self, name: str, rate: Rate, max_waiting: int, clock: Clock | None) -> None:
        self.name = name
        self.window = RateWindow(rate)
        self.max_waiting = max_waiting
        self.clock = clock
        self.lock = threading.Lock()
        self.waiting = self.taken = self.refused = 0

    def now(self) -> int:
        return (self.clock or ambient.clock).now_ns()

    def take(self, timeout_seconds: float) -> tuple[int, int]:
        """Return now and the moment of the turn; who has to wait is counted as waiting."""
        with self.lock:
            now = self.now()
            if self.waiting >= self.max_waiting and self.window.next_free(now) > now:
                self.refused += 1
                raise ResourceExhausted(
                    f"{self.waiting:,} wait for the rate limiter {self.name!r} already", hint="start less at once"
                )
            moment = self.window.take(now, now + int(timeout_seconds * NANOSECONDS))
            if moment is None:
                self.refused += 1
                wait = (self.window.next_free(now) - now) / NANOSECONDS
                raise ResourceExhausted(
                    f"the rate limiter {self.name!r} has no turn within {timeout_seconds:g} s",
                    hint=f"its next one is in {wait:.3g} s",
                    retry_after_seconds=wait,
                )
            self.taken += 1
            self.waiting += moment > now
            return now, moment

    def waited(self, moment: int, *, is_wanted: bool) -> None:
        with self.lock:
            self.waiting -= 1
            if not is_wanted:
                self.taken -= 1
                self.window.give_back(moment, self.now())


_SHARED: Final[dict[str, _Shared]] = {}
_REGISTRY_LOCK: Final = threading.Lock()


class RateLimiter:
    """``RateLimiter("openai", rate=60, per_seconds=60)``: at most ``rate`` turns in any ``per_seconds``, for everybody who uses the name.

    ``await limiter.acquire()`` or ``async with limiter:`` waits for a turn, which is used up by having it: nothing is given back. At most
    ``max_waiting`` wait, in order. Asking for a name with other numbers is a ``DefinitionError``.
    """

    __slots__ = ("_shared", "name")

    def __init__(
        self,
        name: str,
        rate: int = 10,
        per_seconds: float = 1.0,
        *,
        max_waiting: int = MAX_WAITING,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._shared = _shared(name, Rate(rate, per_seconds), max_waiting, clock)

    async def acquire(self, timeout_seconds: float = WAIT_SECONDS) -> float:
        """Return the seconds it took to get a turn.

        Raises ``ResourceExhausted`` at once when it would take more than ``timeout_seconds``, or too many wait already. Cancelled, the
        turn goes to the next one who asks.
        """
        shared = self._shared
        began, moment = shared.take(timeout_seconds)
        if moment == began:
            return 0.0
        is_wanted = False
        try:
            # A turn is a moment of the clock, and a loop may wake a little before it.
            while (now := shared.now()) < moment:  # noqa: ASYNC110 - nobody sets an event when time has passed
                await asyncio.sleep((moment - now) / NANOSECONDS)
            is_wanted = True
        finally:
            shared.waited(moment, is_wanted=is_wanted)
        return (moment - began) / NANOSECONDS

    def try_acquire(self) -> bool:
        """Take a turn if there is one now, and say whether; never waits."""
        try:
            self._shared.take(0.0)
        except ResourceExhausted:
            return False
        return True

    def status(self) -> LimiterStatus:
        """Return how it stands, with its counts."""
        return _status(self._shared)

    async def __aenter__(self) -> RateLimiter:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A turn is used up by having it."""

    def __repr__(self) -> str:
        rate = self._shared.window.rate
        return f"RateLimiter({self.name!r}, rate={rate.rate}, per_seconds={rate.per_seconds:g})"


def list_limiters() -> tuple[LimiterStatus, ...]:
    """Return how every limiter of this process stands, in order of name."""
    with _REGISTRY_LOCK:
        shared = sorted(_SHARED.items())
    return tuple(_status(one) for _, one in shared)


def _status(shared: _Shared) -> LimiterStatus:
    with shared.lock:
        rate = shared.window.rate
        return LimiterStatus(
            shared.name, rate.rate, rate.per_seconds, shared.waiting, taken=shared.taken, refused=shared.refused
        )


def _shared(name: str, rate: Rate, max_waiting: int, clock: Clock | None) -> _Shared:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise DefinitionError(
            f"{name!r:.60} is no name of a rate limiter", hint=f"give a text of 1 to {MAX_NAME_CHARS} characters"
        )
    if isinstance(max_waiting, bool) or not isinstance(max_waiting, int) or max_waiting < 0:
        raise DefinitionError(
            f"max_waiting of the rate limiter {name!r} is {max_waiting!r}", hint="give a whole number of at least 0"
        )
    with _REGISTRY_LOCK:
        found = _SHARED.get(name)
        if found is None:
            if len(_SHARED) >= MAX_LIMITERS:
                raise BoundExceeded(
                    f"this process has {MAX_LIMITERS:,} rate limiters already",
                    hint="name them after services, not after customers or runs",
                )
            found = _SHARED[name] = _Shared(name, rate, max_waiting, clock)
    if (found.window.rate, found.max_waiting) != (rate, max_waiting):
        known = found.window.rate
        raise DefinitionError(
            f"the rate limiter {name!r} is there already, with {known.rate} per {known.per_seconds:g} s, {found.max_waiting} waiting",
            hint="write it once and import it, or give it the same numbers everywhere",
        )
    return found
