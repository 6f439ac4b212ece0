"""How far a run of agents may go: so many steps, so many visits, so fast. Pure: moments come in, and go out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.errors import BoundExceeded, DefinitionError
from agenticflow.resilience.limiter import Rate, RateWindow

__all__ = ["Allowance", "SafetyGuard"]

MOST: Final = 5_000


class SafetyGuard(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one run: ``SafetyGuard(max_visits=3, rate=Rate(10, per_seconds=60))``.

    A loop that passes a limit ends with ``BoundExceeded``; an agent that would be asked too early is asked later. For limits over all runs
    give ``run_agent(…, limits=[Limit("openai", rate=5)])``.
    """

    max_agent_runs: int = 100
    """How often agents are asked in one run, all together."""
    max_visits: int = 25
    """How often one agent is asked in one run."""
    rate: Rate | None = None
    """How fast agents are asked, all together."""
    agent_rates: Mapping[str, Rate] = {}
    """How fast one agent is asked, by its name."""

    def __post_init__(self) -> None:
        for name in ("max_agent_runs", "max_visits"):
            limit = getattr(self, name)
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
                raise DefinitionError(f"{name} is {limit!r}", hint=f"give a whole number from 1 to {MOST:,}")
        for name, rate in {"": self.rate, **self.agent_rates}.items():
            if not isinstance(rate, Rate) and (name or rate is not None):
                raise DefinitionError(
                    f"the rate of agent {name!r} is {rate!r:.60}" if name else f"the rate is {rate!r:.60}",
                    hint="give Rate(10, per_seconds=60), from agenticflow.resilience",
                )

    def begin(self) -> Allowance:
        """Return what one run may do, all of it still to come."""
        return Allowance(self)


class Allowance:
    """What is left to one run. Mutable and private to it."""

    __slots__ = ("_guard", "_visits", "_windows")

    def __init__(self, guard: SafetyGuard) -> None:
        self._guard = guard
        self._visits: Counter[str] = Counter()
        self._windows = {name: RateWindow(rate) for name, rate in guard.agent_rates.items()}
        if guard.rate is not None:
            self._windows[""] = RateWindow(guard.rate)

    def admit(self, name: str, now: int) -> int:
        """Count a visit of agent ``name`` and return the moment at which it may begin, ``now`` or later, in nanoseconds.

        Raises ``BoundExceeded`` when there may be no more; then nothing is counted.
        """
        guard = self._guard
        if self._visits.total() >= guard.max_agent_runs:
            raise BoundExceeded(
                f"agents were asked {guard.max_agent_runs:,} times in this run, and {name!r} would be next",
                hint="look for the loop in execute() or its routes, or allow more: SafetyGuard(max_agent_runs=…)",
            )
        if self._visits[name] >= guard.max_visits:
            raise BoundExceeded(
                f"agent {name!r} was asked {guard.max_visits:,} times in this run, and would be again",
                hint="look for the loop in execute() or its routes, or allow more: SafetyGuard(max_visits=…)",
            )
        self._visits[name] += 1
        windows = [self._windows[key] for key in ("", name) if key in self._windows]
        moment = max((window.next_free(now) for window in windows), default=now)
        for window in windows:
            window.take(moment)
        return moment
