"""What an agent is: identity, capabilities, handlers, state; what many of them are together: a registry with health; and what they work
with: memory, sessions, context, guardrails, descriptions, plans."""

from __future__ import annotations

import typing

from agenticflow.core.late import names_of as _names_of

if typing.TYPE_CHECKING:
    from agenticflow.agents.agent import Agent
    from agenticflow.agents.asked.model_tool import ModelTool
    from agenticflow.agents.capabilities import (
        Candidate,
        CapabilityMatch,
        CapabilityMatcher,
        CapabilityRegistry,
        MatchWeights,
    )
    from agenticflow.agents.context import AgentContext
    from agenticflow.agents.declared import AgentDefinition, get_agent_registry, register_agent
    from agenticflow.agents.decomposition import TaskDecomposer, WorkflowTemplate, WorkflowTemplateRegistry
    from agenticflow.agents.health import AgentHealth, AgentLife, AgentStatus, HealthPolicy
    from agenticflow.agents.loop.policy import LoopPolicy
    from agenticflow.agents.loop.results import AgentResult
    from agenticflow.agents.loop.streaming import StreamingHelper
    from agenticflow.agents.memory import (
        Embedder,
        HashingEmbedder,
        MemoryBounds,
        MemoryEntry,
        MemoryMatch,
        MemoryStore,
        WorkingMemory,
    )
    from agenticflow.agents.model import LLMClient, Model, ModelRequest, ModelResponse
    from agenticflow.agents.registry import AgentRegistry
    from agenticflow.agents.session import AgentSession, SessionInfo
    from agenticflow.agents.states import AgentState, StateMachine, StateTransition
    from agenticflow.agents.workers import Worker, worker
    from agenticflow.core.results import NOT_HAPPENED, Happened

_HOMES = {
    "agenticflow.agents.agent": ("Agent",),
    "agenticflow.agents.asked.model_tool": ("ModelTool",),
    "agenticflow.agents.capabilities": (
        "Candidate",
        "CapabilityMatch",
        "CapabilityMatcher",
        "CapabilityRegistry",
        "MatchWeights",
    ),
    "agenticflow.agents.context": ("AgentContext",),
    "agenticflow.agents.declared": ("AgentDefinition", "get_agent_registry", "register_agent"),
    "agenticflow.agents.decomposition": ("TaskDecomposer", "WorkflowTemplate", "WorkflowTemplateRegistry"),
    "agenticflow.agents.health": ("AgentHealth", "AgentLife", "AgentStatus", "HealthPolicy"),
    "agenticflow.agents.loop.policy": ("LoopPolicy",),
    "agenticflow.agents.loop.results": ("AgentResult",),
    "agenticflow.agents.loop.streaming": ("StreamingHelper",),
    "agenticflow.agents.memory": (
        "Embedder",
        "HashingEmbedder",
        "MemoryBounds",
        "MemoryEntry",
        "MemoryMatch",
        "MemoryStore",
        "WorkingMemory",
    ),
    "agenticflow.agents.model": ("LLMClient", "Model", "ModelRequest", "ModelResponse"),
    "agenticflow.agents.registry": ("AgentRegistry",),
    "agenticflow.agents.session": ("AgentSession", "SessionInfo"),
    "agenticflow.agents.states": ("AgentState", "StateMachine", "StateTransition"),
    "agenticflow.agents.workers": ("Worker", "worker"),
    "agenticflow.core.results": ("NOT_HAPPENED", "Happened"),
}

__all__ = [
    "NOT_HAPPENED",
    "Agent",
    "AgentContext",
    "AgentDefinition",
    "AgentHealth",
    "AgentLife",
    "AgentRegistry",
    "AgentResult",
    "AgentSession",
    "AgentState",
    "AgentStatus",
    "Candidate",
    "CapabilityMatch",
    "CapabilityMatcher",
    "CapabilityRegistry",
    "Embedder",
    "Happened",
    "HashingEmbedder",
    "HealthPolicy",
    "LLMClient",
    "LoopPolicy",
    "MatchWeights",
    "MemoryBounds",
    "MemoryEntry",
    "MemoryMatch",
    "MemoryStore",
    "Model",
    "ModelRequest",
    "ModelResponse",
    "ModelTool",
    "SessionInfo",
    "StateMachine",
    "StateTransition",
    "StreamingHelper",
    "TaskDecomposer",
    "Worker",
    "WorkflowTemplate",
    "WorkflowTemplateRegistry",
    "WorkingMemory",
    "get_agent_registry",
    "register_agent",
    "worker",
]

__getattr__ = _names_of(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
