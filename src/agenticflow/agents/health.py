"""How an agent stands: in service or not, and how well: a small pure state machine over reports, heartbeats and what people say.

``Vitals`` holds what was observed, ``assess`` says what it means at a moment. Nothing here reads a clock; moments are nanoseconds since the
epoch and come in as arguments.

The worst finding counts. A mark by a person stays until it is taken back. Failures in a row degrade an agent; where the policy says
so, more of them make it unhealthy until ``recovers_after_seconds`` have passed: then it is tried again, and the next success or failure
decides. Missed heartbeats do the same, unless everybody is silent at once: that is an outage of whatever carries the
heartbeats, not the death of every agent.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from agenticflow.agents.states import AgentState
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.errors import DefinitionError

__all__ = [
    "HEALTHY",
    "NS",
    "AgentHealth",
    "AgentLife",
    "AgentStatus",
    "Finding",
    "HealthPolicy",
    "Vitals",
    "assess",
    "counts_against",
]

NS: Final = 1_000_000_000
FOREVER_SECONDS: Final = 1e9


class AgentHealth(enum.StrEnum):
    """How far an agent can be relied on."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    """Takes work, but others are preferred."""
    UNHEALTHY = "UNHEALTHY"
    """Gets no new work."""


class AgentLife(enum.StrEnum):
    """Whether an agent is in service."""

    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    """Takes no new work; stops when what it has in work has ended."""
    STOPPED = "STOPPED"


class AgentStatus(msgspec.Struct, frozen=True):
    """How an agent stands, as data."""

    agent_id: str
    role: str
    capabilities: frozenset[str]
    life: AgentLife
    health: AgentHealth
    state: AgentState
    in_work: int
    failures: int
    """In a row."""
    reason: str
    """Why it is not healthy, in words."""
    last_heartbeat_at: int | None


class HealthPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When an agent counts as degraded or unhealthy. By itself nothing makes an agent unhealthy: say after what."""

    degraded_after_failures: int = 3
    unhealthy_after_failures: int | None = None
    """Failures in a row; ``None``: failures only degrade."""
    recovers_after_seconds: float = 30.0
    """How long an agent that is unhealthy for its failures is left alone before it is tried again."""
    heartbeat_seconds: float | None = None
    """How often every agent is expected to say that it lives; ``None``: nobody is."""
    degraded_after_missed: int = 2
    unhealthy_after_missed: int = 4

    def __post_init__(self) -> None:
        numbers = (
            self.degraded_after_failures,
            self.unhealthy_after_failures,
            self.degraded_after_missed,
            self.unhealthy_after_missed,
        )
        if any(number is not None and number < 1 for number in numbers):
            raise DefinitionError("a health policy counts from 1", hint="leave unhealthy_after_failures out for never")
        beat = self.heartbeat_seconds
        if not 0 <= self.recovers_after_seconds < FOREVER_SECONDS or not (
            beat is None or 0.001 <= beat < FOREVER_SECONDS
        ):
            raise DefinitionError(
                "a health policy has positive times, and heartbeats at most every millisecond",
                hint="leave heartbeat_seconds out for none",
            )


class Vitals:
    """What was observed of one agent."""

    __slots__ = ("beat_at", "failed_at", "failures", "marked")

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.failed_at = 0
        self.marked: str | None = None
        """Why somebody said that it is unhealthy."""
        self.beat_at: int | None = None
        """Its last heartbeat; ``None``: none is expected."""


class Finding(msgspec.Struct, frozen=True):
    """What vitals mean, and why."""

    health: AgentHealth
    cause: str = "recovered"
    reason: str = ""


HEALTHY: Final = Finding(AgentHealth.HEALTHY)


def assess(vitals: Vitals, policy: HealthPolicy, now: int, *, is_outage: bool = False) -> Finding:
    """Return the worst finding at ``now``. With ``is_outage`` silence is not held against the agent."""
    if vitals.marked is not None:
        return Finding(AgentHealth.UNHEALTHY, "marked", vitals.marked)
    failures, beats = _of_failures(vitals, policy, now), _of_heartbeats(vitals, policy, now, is_outage)
    return max((failures, beats), key=lambda finding: _ORDER[finding.health])


def counts_against(outcome: Outcome) -> bool | None:
    """Whether the end of an attempt is a failure of the agent, or a success (``False``), or says nothing (``None``): what is permanent is
    the fault of the work, not of whoever does it."""
    if outcome.kind is OutcomeKind.SUCCEEDED:
        return False
    if outcome.kind in (OutcomeKind.CANCELLED, OutcomeKind.INTERRUPTED) or (
        outcome.error is not None and outcome.error.is_permanent
    ):
        return None
    return True


_ORDER: Final = {health: number for number, health in enumerate(AgentHealth)}


def _of_failures(vitals: Vitals, policy: HealthPolicy, now: int) -> Finding:
    failures, limit = vitals.failures, policy.unhealthy_after_failures
    words = f"{failures} failures in a row"
    if limit is not None and failures >= limit:
        if now < vitals.failed_at + int(policy.recovers_after_seconds * NS):
            return Finding(AgentHealth.UNHEALTHY, "failures", words)
        return Finding(AgentHealth.DEGRADED, "waited", f"{words}, tried again")
    if failures >= policy.degraded_after_failures:
        return Finding(AgentHealth.DEGRADED, "failures", words)
    return HEALTHY


def _of_heartbeats(vitals: Vitals, policy: HealthPolicy, now: int, is_outage: bool) -> Finding:
    if policy.heartbeat_seconds is None or vitals.beat_at is None:
        return HEALTHY
    missed = max(0, now - vitals.beat_at) // int(policy.heartbeat_seconds * NS)
    words = f"{missed} heartbeats missed"
    if missed >= policy.unhealthy_after_missed:
        if is_outage:
            return Finding(AgentHealth.DEGRADED, "outage", f"{words}, and so did everybody else")
        return Finding(AgentHealth.UNHEALTHY, "heartbeats", words)
    if missed >= policy.degraded_after_missed:
        return Finding(AgentHealth.DEGRADED, "heartbeats", words)
    return HEALTHY
