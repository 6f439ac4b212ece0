"""What an agent is: identity, capabilities, handlers, state; and what many of them are together: a registry with health."""

from agenticflow.agents.agent import Agent
from agenticflow.agents.capabilities import (
    Candidate,
    CapabilityMatch,
    CapabilityMatcher,
    CapabilityRegistry,
    MatchWeights,
)
from agenticflow.agents.health import AgentHealth, AgentLife, AgentStatus, HealthPolicy
from agenticflow.agents.memory import MemoryBounds, MemoryEntry, MemoryStore, WorkingMemory
from agenticflow.agents.model import LLMClient, Model, ModelRequest, ModelResponse
from agenticflow.agents.registry import AgentRegistry
from agenticflow.agents.states import AgentState, StateMachine, StateTransition
from agenticflow.agents.workers import Worker, worker

__all__ = [
    "Agent",
    "AgentHealth",
    "AgentLife",
    "AgentRegistry",
    "AgentState",
    "AgentStatus",
    "Candidate",
    "CapabilityMatch",
    "CapabilityMatcher",
    "CapabilityRegistry",
    "HealthPolicy",
    "LLMClient",
    "MatchWeights",
    "MemoryBounds",
    "MemoryEntry",
    "MemoryStore",
    "Model",
    "ModelRequest",
    "ModelResponse",
    "StateMachine",
    "StateTransition",
    "Worker",
    "WorkingMemory",
    "worker",
]
