"""Choreography: agents that react to events and emit new ones, without a workflow that says so."""

from agenticflow.agents.choreography.facts import AgentReacted, ReactionLimitReached
from agenticflow.agents.choreography.reactions import Reaction, ReactionContext
from agenticflow.agents.choreography.trace import CausalTrace, TracedEvent, trace_causes

__all__ = [
    "AgentReacted",
    "CausalTrace",
    "Reaction",
    "ReactionContext",
    "ReactionLimitReached",
    "TracedEvent",
    "trace_causes",
]
