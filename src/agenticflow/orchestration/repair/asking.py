"""Whether a run that would fail asks for another plan first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agenticflow.core.decider import Fact
from agenticflow.orchestration.replanning.facts import ReplanRequested
from agenticflow.orchestration.state import RunState

__all__ = ["ask_for_a_plan", "is_asking"]

NANOSECONDS: Final = 1_000_000_000
MAX_NAMED: Final = 100
"""Failed tasks that a request names."""


def is_asking(state: RunState) -> bool:
    """Whether the run waits for an answer."""
    return state.replanning is not None and state.replanning.due is not None


def ask_for_a_plan(state: RunState, failed: Sequence[str], now: int) -> Fact | None:
    """Return the request that the run makes before it fails, ``None`` when it has asked often enough or for this already."""
    replanning = state.replanning
    keys = tuple(failed[:MAX_NAMED])
    if replanning is None or replanning.asked >= replanning.terms.times:
        return None
    if replanning.problems and replanning.failed == keys:
        return None
    return ReplanRequested(replanning.asked + 1, keys, now + int(replanning.terms.limit_seconds * NANOSECONDS))
