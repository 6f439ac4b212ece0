"""How often and how long a run asks for another plan, and where it stands with that: part of a run's state; only the fold changes it."""

from __future__ import annotations

import msgspec

__all__ = ["ReplanTerms", "Replanning"]


class ReplanTerms(msgspec.Struct, frozen=True, array_like=True):
    """Agreed when a run starts."""

    times: int
    limit_seconds: float


class Replanning(msgspec.Struct):
    """What a run has asked so far."""

    terms: ReplanTerms
    asked: int = 0
    failed: tuple[str, ...] = ()
    """Keys of the tasks it asked for last."""
    since: int = 0
    due: int | None = None
    """Until when it waits for an answer; ``None`` when it does not."""
    problems: tuple[str, ...] = ()
    """Why the last plan was refused; for the same failure nobody is asked again."""
