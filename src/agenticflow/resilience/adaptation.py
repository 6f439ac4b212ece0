"""How much may be in work at once while the machine, or this process, has more to do than it can: less and less, and more again. Pure.

Load comes in as figures that were read elsewhere; out goes the next limit. Under load the limit falls by a share of what is in work, so it
is felt at once; when everything is calm it rises by a small share, so it finds the place where it just holds. In between it stays.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["Adaptation", "Load"]

CALM: Final = 0.8
"""Share of each bound below which it is calm."""
MAX_LOOK_SECONDS: Final = 3_600.0


class Load(msgspec.Struct, frozen=True):
    """What is known of the load. ``None`` for what nobody can tell on this machine."""

    lag_seconds: float = 0.0
    """How late the event loop was at the worst since the last look."""
    memory_share: float | None = None
    """Of the machine's memory in use by everybody, from 0 to 1."""
    cpu_share: float | None = None
    """What the machine has to do, by cores: above 1 it is more than it can."""
    in_work: int = 0
    """Attempts in work."""
    waiting: int = 0
    """Attempts that could start, if more were let in."""
    is_stuck: bool = False
    """Whether some wait, and none of those in work has ended for a while: they may be waiting for those that wait."""


class Adaptation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lets less be in work while the event loop is late, memory runs out, or the machine has too much to do.

    It is overloaded when a bound is passed; a bound that is ``None`` is not looked at. While it is, each look lets in the share ``shrink``
    of what is in work; while everything is below four fifths of its bound, each look lets in more by the share ``grow``. There are never
    fewer than ``least``, nor more than the orchestrator's ``max_concurrency``.
    """

    max_lag_seconds: float | None = 0.2
    max_memory_share: float | None = 0.9
    max_cpu_share: float | None = 2.0
    least: int = 1
    shrink: float = 0.5
    grow: float = 0.1
    every_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_lag_seconds", "max_memory_share", "max_cpu_share"):
            bound = getattr(self, name)
            most = 1 if name == "max_memory_share" else math.inf
            if bound is not None and not (_is_number(bound) and 0 < bound <= most):
                raise _wrong(name, bound, "a number above 0" + (", at most 1" if most == 1 else "") + ", or None")
        if isinstance(self.least, bool) or not isinstance(self.least, int) or self.least < 1:
            raise _wrong("least", self.least, "a whole number of at least 1")
        if not (_is_number(self.shrink) and 0 < self.shrink < 1):
            raise _wrong("shrink", self.shrink, "a share above 0 and below 1")
        if not (_is_number(self.grow) and 0 < self.grow <= 1):
            raise _wrong("grow", self.grow, "a share above 0, at most 1")
        if not (_is_number(self.every_seconds) and 0.01 <= self.every_seconds <= MAX_LOOK_SECONDS):
            raise _wrong("every_seconds", self.every_seconds, f"seconds from 0.01 to {MAX_LOOK_SECONDS:,.0f}")

    def overload(self, load: Load) -> tuple[str, ...]:
        """Return, in words, which bounds ``load`` passes; empty when it is none."""
        found: list[str] = []
        if _passes(load.lag_seconds, self.max_lag_seconds):
            found.append(f"the event loop was late by {load.lag_seconds:.2f} s")
        if _passes(load.memory_share, self.max_memory_share):
            found.append(f"the machine has {load.memory_share:.0%} of its memory in use")
        if _passes(load.cpu_share, self.max_cpu_share):
            found.append(f"the machine has {load.cpu_share:.1f} times as much to do as it can")
        return tuple(found)

    def is_calm(self, load: Load) -> bool:
        """Whether everything is far enough below its bound to let more in."""
        pairs = (
            (load.lag_seconds, self.max_lag_seconds),
            (load.memory_share, self.max_memory_share),
            (load.cpu_share, self.max_cpu_share),
        )
        return not any(_passes(value, None if bound is None else CALM * bound) for value, bound in pairs)

    def next_limit(self, limit: int, most: int, load: Load) -> int:
        """Return how many attempts may be in work at once from now on, when ``limit`` of at most ``most`` may now."""
        least = min(self.least, most)
        if load.is_stuck:
            return max(least, min(most, limit + 1))
        if self.overload(load):
            return max(least, int(self.shrink * min(limit, load.in_work)))
        if not self.is_calm(load):
            return max(least, min(most, limit))
        return max(least, min(most, limit + max(1, int(self.grow * limit))))


def _passes(value: float | None, bound: float | None) -> bool:
    return value is not None and bound is not None and value > bound


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(name: str, given: object, hint: str) -> DefinitionError:
    return DefinitionError(f"{name} of an adaptation is {given!r:.60}", hint=f"give {hint}")
