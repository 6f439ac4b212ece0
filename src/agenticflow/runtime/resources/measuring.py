"""Ties breakers, limiters and pools to whoever listens: what they count anyway is asked for when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agenticflow.core.measures import ResourceMeasures
from agenticflow.core.telemetry import Telemetry, Watches
from agenticflow.resilience.breaker import BreakerState
from agenticflow.runtime.resources.breakers import list_breakers
from agenticflow.runtime.resources.limiters import list_limiters
from agenticflow.runtime.resources.pools import list_pools

__all__ = ["measure_resources"]

LEVELS: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class _Watch:
    """Fills one listener."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._measures = ResourceMeasures(telemetry)
        self._counted: dict[tuple[str, ...], tuple[str, int]] = {}
        self._end = telemetry.before_look(self._refresh)

    def end(self) -> None:
        self._refresh()
        self._end()

    def _refresh(self) -> None:
        measures = self._measures
        for breaker in list_breakers():
            measures.breaker_state.set(LEVELS[breaker.state], breaker.name)
            since = str(breaker.resets)
            measures.breaker_opened.add(self._more(breaker.opened, "opened", breaker.name, since=since), breaker.name)
            for outcome in ("succeeded", "failed", "ignored", "refused"):
                more = self._more(getattr(breaker, outcome), "calls", breaker.name, outcome, since=since)
                measures.breaker_calls.add(more, breaker.name, outcome)
        for limiter in list_limiters():
            measures.limiter_waiting.set(limiter.waiting, limiter.name)
            more = self._more(limiter.refused, "limited", limiter.name)
            measures.limiter_refused.add(more, limiter.name)
        for pool in list_pools():
            for state in ("in_use", "idle", "waiting"):
                measures.pool.set(getattr(pool, state), pool.name, state)

    def _more(self, count: int, *key: str, since: str = "") -> int:
        """Return by how much a count has grown since the last look; ``since`` is another one when it began from nothing meanwhile."""
        stretch, before = self._counted.get(key, ("", 0))
        self._counted[key] = since, count
        return count - before if stretch == since else count


_WATCHES: Final = Watches()


def measure_resources(telemetry: Telemetry) -> Callable[[], None]:
    """Let ``telemetry`` know of the breakers, limiters and pools of this process; return what ends that. Asking twice counts once."""
    return _WATCHES.join(telemetry, lambda: _Watch(telemetry).end)
