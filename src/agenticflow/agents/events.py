"""What an agent's stream ``agent-<id>`` holds: its lifecycle, its health, and its changes of state. Everything else about an agent is
derived from the work that was assigned to it.

These are observations: recorded soon after they happened, without an expected version, outside any run's decision.
"""

from __future__ import annotations

from typing import ClassVar, Final

from agenticflow.core.decider import Fact

__all__ = [
    "AGENT_EVENTS",
    "NAMED_CHANGES",
    "AgentDraining",
    "AgentHealthChanged",
    "AgentStarted",
    "AgentStateChanged",
    "AgentStopped",
    "ErrorResolved",
    "ResumeAgent",
    "SuspendAgent",
    "TaskAssigned",
    "stream_of_agent",
]


class AgentStateChanged(Fact, frozen=True, omit_defaults=True):
    """An agent moved from one state to another."""

    event_type: ClassVar[str] = "agent_state_changed"
    stream: ClassVar[str] = "agent-<agent id>"
    from_state: str
    to_state: str
    cause: str
    """The event that moved it."""
    in_flight: int = 0


class TaskAssigned(AgentStateChanged, frozen=True, omit_defaults=True):
    """An agent that had no work, or another state than PROCESSING, begins to work."""

    event_type: ClassVar[str] = "task_assigned"


class ErrorResolved(AgentStateChanged, frozen=True, omit_defaults=True):
    """Whatever had brought an agent into ERROR is mended."""

    event_type: ClassVar[str] = "error_resolved"


class SuspendAgent(AgentStateChanged, frozen=True, omit_defaults=True):
    """An agent was suspended: it takes no further work."""

    event_type: ClassVar[str] = "suspend_agent"


class ResumeAgent(AgentStateChanged, frozen=True, omit_defaults=True):
    """A suspended agent takes work again."""

    event_type: ClassVar[str] = "resume_agent"


NAMED_CHANGES: Final[dict[str, type[AgentStateChanged]]] = {
    change.event_type: change for change in (TaskAssigned, ErrorResolved, SuspendAgent, ResumeAgent)
}
"""Changes of state that are recorded under the name of what caused them, so that one can subscribe to them by it."""


class AgentHealthChanged(Fact, frozen=True, omit_defaults=True):
    """An agent became healthier or less healthy."""

    event_type: ClassVar[str] = "agent_health_changed"
    stream: ClassVar[str] = "agent-<agent id>"
    from_health: str
    to_health: str
    cause: str
    """``failures``, ``heartbeats``, ``outage``, ``marked``, ``waited`` or ``recovered``."""
    reason: str = ""
    """In words."""
    failures: int = 0
    """Failures in a row."""


class AgentStarted(Fact, frozen=True, omit_defaults=True):
    """An agent that was stopped, or was on its way there, takes work again."""

    event_type: ClassVar[str] = "agent_started"
    stream: ClassVar[str] = "agent-<agent id>"
    reason: str = ""


class AgentDraining(Fact, frozen=True, omit_defaults=True):
    """An agent takes no new work and stops when what it has in work has ended."""

    event_type: ClassVar[str] = "agent_draining"
    stream: ClassVar[str] = "agent-<agent id>"
    in_flight: int = 0
    reason: str = ""


class AgentStopped(Fact, frozen=True, omit_defaults=True):
    """An agent takes no work."""

    event_type: ClassVar[str] = "agent_stopped"
    stream: ClassVar[str] = "agent-<agent id>"
    in_flight: int = 0
    """Attempts that still ran; they are not interrupted."""
    reason: str = ""


AGENT_EVENTS: Final[tuple[type[Fact], ...]] = (
    AgentStateChanged,
    TaskAssigned,
    ErrorResolved,
    SuspendAgent,
    ResumeAgent,
    AgentHealthChanged,
    AgentStarted,
    AgentDraining,
    AgentStopped,
)
"""Everything an agent's stream may hold."""


def stream_of_agent(agent_id: str) -> str:
    """Return where the agent's events are."""
    return f"agent-{agent_id}"
