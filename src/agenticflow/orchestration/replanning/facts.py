"""What can be true of asking for another plan. Data only; ``orchestration.repair`` gives it meaning. (An accepted one is a
``WorkflowModified``.)"""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Fact

__all__ = ["ReplanAgreed", "ReplanRefused", "ReplanRequested"]


class ReplanAgreed(Fact, frozen=True):
    """The run that has just begun asks for another plan before it fails. Recorded, so that it does not depend on who is there then."""

    event_type: ClassVar[str] = "replan_agreed"
    times: int
    """How often at most."""
    limit_seconds: float
    """How long it waits for an answer."""


class ReplanRequested(Fact, frozen=True):
    """The run would fail now: whoever plans is asked for changes first, until ``due``."""

    event_type: ClassVar[str] = "replan_requested"
    number: int
    """Which time it is, from 1."""
    failed: tuple[str, ...]
    """Keys of failed tasks, at most 100."""
    due: int


class ReplanRefused(Fact, frozen=True):
    """There is no other plan, or none that the run can go on with: it fails as it would have."""

    event_type: ClassVar[str] = "replan_refused"
    number: int
    problems: tuple[str, ...]
    decided_by: str = ""
    """Whose plan it was; empty when nobody answered in time."""
