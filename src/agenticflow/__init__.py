"""agenticflow: durable, event-sourced workflows and agents that survive the real world.

This is the front door. Its names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import typing

from agenticflow.core.late import fill as _fill
from agenticflow.core.late import names_of as _names_of
from agenticflow.runtime.clock import install as _install

if typing.TYPE_CHECKING:
    from agenticflow.agents import (
        Agent,
        AgentContext,
        AgentDefinition,
        AgentRegistry,
        AgentSession,
        AgentState,
        CapabilityMatcher,
        MemoryStore,
        StateMachine,
        StateTransition,
        worker,
    )
    from agenticflow.app.crew import AgentOrchestrator
    from agenticflow.app.definitions import load_workflow
    from agenticflow.app.event_bus import EventBus
    from agenticflow.app.execution import WorkflowExecution, WorkflowHandle, WorkflowState
    from agenticflow.app.orchestrator import Orchestrator
    from agenticflow.app.wiring import open_store
    from agenticflow.core.context import TaskContext
    from agenticflow.core.engine import EffectClass
    from agenticflow.core.events import AgenticEvent
    from agenticflow.core.results import TaskResult
    from agenticflow.core.schemas import SchemaRegistry
    from agenticflow.errors import (
        AgenticFlowError,
        AgentNotFoundError,
        BoundExceeded,
        CommandRefused,
        ConcurrencyConflict,
        DefinitionError,
        InvalidInput,
        OutcomeUnknown,
        PermanentError,
        StepFailed,
        StoreUnavailable,
        TaskTimeout,
        TemporaryError,
        WorkflowExecutionError,
        WorkflowIdConflict,
        WorkflowNotFoundError,
    )
    from agenticflow.orchestration import (
        Compensation,
        Steps,
        TaskDefinition,
        TaskGraph,
        TaskStatus,
        WorkflowBuilder,
        WorkflowContext,
        WorkflowDefinition,
        WorkflowStatus,
        workflow,
    )
    from agenticflow.resilience import BackPressure, Limit, RetryPolicy
    from agenticflow.runtime.resources import CircuitBreaker, circuit_breaker
    from agenticflow.runtime.shared_state import StateManager
    from agenticflow.tools import ToolResult, get_tool_registry, register_tool, tool

__version__ = "0.2.0"

_HOMES = {
    "agenticflow.agents": (
        "Agent",
        "AgentContext",
        "AgentDefinition",
        "AgentRegistry",
        "AgentSession",
        "AgentState",
        "CapabilityMatcher",
        "MemoryStore",
        "StateMachine",
        "StateTransition",
        "worker",
    ),
    "agenticflow.app.crew": ("AgentOrchestrator",),
    "agenticflow.app.definitions": ("load_workflow",),
    "agenticflow.app.event_bus": ("EventBus",),
    "agenticflow.app.execution": ("WorkflowExecution", "WorkflowHandle", "WorkflowState"),
    "agenticflow.app.orchestrator": ("Orchestrator",),
    "agenticflow.app.wiring": ("open_store",),
    "agenticflow.core.context": ("TaskContext",),
    "agenticflow.core.engine": ("EffectClass",),
    "agenticflow.core.events": ("AgenticEvent",),
    "agenticflow.core.results": ("TaskResult",),
    "agenticflow.core.schemas": ("SchemaRegistry",),
    "agenticflow.errors": (
        "AgentNotFoundError",
        "AgenticFlowError",
        "BoundExceeded",
        "CommandRefused",
        "ConcurrencyConflict",
        "DefinitionError",
        "InvalidInput",
        "OutcomeUnknown",
        "PermanentError",
        "StepFailed",
        "StoreUnavailable",
        "TaskTimeout",
        "TemporaryError",
        "WorkflowExecutionError",
        "WorkflowIdConflict",
        "WorkflowNotFoundError",
    ),
    "agenticflow.orchestration": (
        "Compensation",
        "Steps",
        "TaskDefinition",
        "TaskGraph",
        "TaskStatus",
        "WorkflowBuilder",
        "WorkflowContext",
        "WorkflowDefinition",
        "WorkflowStatus",
        "workflow",
    ),
    "agenticflow.resilience": ("BackPressure", "Limit", "RetryPolicy"),
    "agenticflow.runtime.resources": ("CircuitBreaker", "circuit_breaker"),
    "agenticflow.runtime.shared_state": ("StateManager",),
    "agenticflow.tools": ("ToolResult", "get_tool_registry", "register_tool", "tool"),
}

__all__ = [
    "Agent",
    "AgentContext",
    "AgentDefinition",
    "AgentNotFoundError",
    "AgentOrchestrator",
    "AgentRegistry",
    "AgentSession",
    "AgentState",
    "AgenticEvent",
    "AgenticFlowError",
    "BackPressure",
    "BoundExceeded",
    "CapabilityMatcher",
    "CircuitBreaker",
    "CommandRefused",
    "Compensation",
    "ConcurrencyConflict",
    "DefinitionError",
    "EffectClass",
    "EventBus",
    "InvalidInput",
    "Limit",
    "MemoryStore",
    "Orchestrator",
    "OutcomeUnknown",
    "PermanentError",
    "RetryPolicy",
    "SchemaRegistry",
    "StateMachine",
    "StateManager",
    "StateTransition",
    "StepFailed",
    "Steps",
    "StoreUnavailable",
    "TaskContext",
    "TaskDefinition",
    "TaskGraph",
    "TaskResult",
    "TaskStatus",
    "TaskTimeout",
    "TemporaryError",
    "ToolResult",
    "WorkflowBuilder",
    "WorkflowContext",
    "WorkflowDefinition",
    "WorkflowExecution",
    "WorkflowExecutionError",
    "WorkflowHandle",
    "WorkflowIdConflict",
    "WorkflowNotFoundError",
    "WorkflowState",
    "WorkflowStatus",
    "circuit_breaker",
    "get_tool_registry",
    "load_workflow",
    "open_store",
    "register_tool",
    "tool",
    "worker",
    "workflow",
]

_install()
# floors that cannot import each other meet here
_fill("tools", lambda: importlib.import_module("agenticflow.tools").get_tool_pipeline())
_fill("models", lambda: importlib.import_module("agenticflow.app.models").model_from)
_fill("guards", lambda: importlib.import_module("agenticflow.app.tools.guarding").PROCESS_GUARDS)
_fill("descriptions", lambda: importlib.import_module("agenticflow.agents.declared.describing").describe)
_fill("agents", lambda: importlib.import_module("agenticflow.app.standalone").STANDALONE)

__getattr__ = _names_of(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
