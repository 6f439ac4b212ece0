"""Agents that work on one query together: who comes next, what they share, what guards them, and how far they may go."""

from agenticflow.app.crew.orchestrator import AgentOrchestrator, AgentRunner
from agenticflow.app.crew.planning import Planner, PlanningService
from agenticflow.app.crew.rules.context import QueryContext
from agenticflow.app.crew.rules.routing import Route, RoutingHelper
from agenticflow.app.crew.rules.safety import SafetyGuard
from agenticflow.app.crew.sessions import CrewSession, DraftSession

__all__ = [
    "AgentOrchestrator",
    "AgentRunner",
    "CrewSession",
    "DraftSession",
    "Planner",
    "PlanningService",
    "QueryContext",
    "Route",
    "RoutingHelper",
    "SafetyGuard",
]
