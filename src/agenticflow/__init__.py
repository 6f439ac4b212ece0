"""agenticflow: durable, event-sourced workflows and agents that survive the real world.

This is the front door. Its names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import typing

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
        Worker,
        worker,
    )
    from agenticflow.app.definitions import load_workflow
    from agenticflow.app.event_bus import EventBus
    from agenticflow.app.execution import WorkflowExecution, WorkflowHandle, WorkflowState
    from agenticflow.app.orchestrator import Orchestrator
    from agenticflow.app.wiring import open_store
    from agenticflow.core.clocks import VectorClock
    from agenticflow.core.context import TaskContext
    from agenticflow.core.engine import EffectClass
    from agenticflow.core.events import AgenticEvent, EventPredicate, RecordedEvent, TimeRange
    from agenticflow.core.results import ErrorInfo, TaskResult
    from agenticflow.core.schemas import SchemaRegistry
    from agenticflow.errors import (
        AgenticFlowError,
        AgentNotFoundError,
        BoundExceeded,
        CommandRefused,
        ConcurrencyConflict,
        ConfigurationError,
        CorruptStore,
        DefinitionError,
        InvalidInput,
        NotSerializable,
        OutcomeUnknown,
        PermanentError,
        StoreOwned,
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
        TaskNode,
        TaskStatus,
        WorkflowBuilder,
        WorkflowDefinition,
        WorkflowStatus,
    )
    from agenticflow.resilience import BackPressure, Limit, RetryPolicy
    from agenticflow.runtime.resources import CircuitBreaker, circuit_breaker
    from agenticflow.runtime.shared_state import StateManager

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
        "Worker",
        "worker",
    ),
    "agenticflow.app.definitions": ("load_workflow",),
    "agenticflow.app.event_bus": ("EventBus",),
    "agenticflow.app.execution": ("WorkflowExecution", "WorkflowHandle", "WorkflowState"),
    "agenticflow.app.orchestrator": ("Orchestrator",),
    "agenticflow.app.wiring": ("open_store",),
    "agenticflow.core.clocks": ("VectorClock",),
    "agenticflow.core.context": ("TaskContext",),
    "agenticflow.core.engine": ("EffectClass",),
    "agenticflow.core.events": ("AgenticEvent", "EventPredicate", "RecordedEvent", "TimeRange"),
    "agenticflow.core.results": ("ErrorInfo", "TaskResult"),
    "agenticflow.core.schemas": ("SchemaRegistry",),
    "agenticflow.errors": (
        "AgentNotFoundError",
        "AgenticFlowError",
        "BoundExceeded",
        "CommandRefused",
        "ConcurrencyConflict",
        "ConfigurationError",
        "CorruptStore",
        "DefinitionError",
        "InvalidInput",
        "NotSerializable",
        "OutcomeUnknown",
        "PermanentError",
        "StoreOwned",
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
        "TaskNode",
        "TaskStatus",
        "WorkflowBuilder",
        "WorkflowDefinition",
        "WorkflowStatus",
    ),
    "agenticflow.resilience": ("BackPressure", "Limit", "RetryPolicy"),
    "agenticflow.runtime.resources": ("CircuitBreaker", "circuit_breaker"),
    "agenticflow.runtime.shared_state": ("StateManager",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Agent",
    "AgentContext",
    "AgentDefinition",
    "AgentNotFoundError",
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
    "ConfigurationError",
    "CorruptStore",
    "DefinitionError",
    "EffectClass",
    "ErrorInfo",
    "EventBus",
    "EventPredicate",
    "InvalidInput",
    "Limit",
    "MemoryStore",
    "NotSerializable",
    "Orchestrator",
    "OutcomeUnknown",
    "PermanentError",
    "RecordedEvent",
    "RetryPolicy",
    "SchemaRegistry",
    "StateMachine",
    "StateManager",
    "StateTransition",
    "Steps",
    "StoreOwned",
    "StoreUnavailable",
    "TaskContext",
    "TaskDefinition",
    "TaskGraph",
    "TaskNode",
    "TaskResult",
    "TaskStatus",
    "TaskTimeout",
    "TemporaryError",
    "TimeRange",
    "VectorClock",
    "Worker",
    "WorkflowBuilder",
    "WorkflowDefinition",
    "WorkflowExecution",
    "WorkflowExecutionError",
    "WorkflowHandle",
    "WorkflowIdConflict",
    "WorkflowNotFoundError",
    "WorkflowState",
    "WorkflowStatus",
    "circuit_breaker",
    "load_workflow",
    "open_store",
    "worker",
]

_install()


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'agenticflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
