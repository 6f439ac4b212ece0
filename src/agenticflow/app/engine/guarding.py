"""The guards behind the port of ``core.guards``: the limiters and breakers of this process, by name."""

from __future__ import annotations

from functools import partial
from typing import Final

from agenticflow.core.guards import Leave
from agenticflow.runtime.resources.breakers import CircuitBreaker
from agenticflow.runtime.resources.limiters import RateLimiter

__all__ = ["PROCESS_GUARDS", "ProcessGuards"]


class ProcessGuards:
    """Those that ``list_limiters`` and ``list_breakers`` show."""

    async def turn(self, name: str, rate: int, per_seconds: float, *, timeout_seconds: float) -> None:
        await RateLimiter(name, rate, per_seconds).acquire(timeout_seconds)

    def enter(
        self, name: str, failure_threshold: int, window_seconds: float, recovery_seconds: float, max_probes: int
    ) -> Leave:
        breaker = CircuitBreaker(
            name, failure_threshold, recovery_seconds, window_seconds=window_seconds, max_probes=max_probes
        )
        shared = breaker._shared
        return partial(shared.leave, shared.enter())


PROCESS_GUARDS: Final = ProcessGuards()
