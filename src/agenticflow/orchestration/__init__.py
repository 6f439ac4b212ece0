"""Workflows: definitions as data, and the pure decider that runs them."""

from agenticflow.orchestration.approvals.terms import Approval, Escalation
from agenticflow.orchestration.builder import Steps, WorkflowBuilder
from agenticflow.orchestration.definition import Choice, Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import NodeStatus, TaskGraph, TaskNode
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.inbox.listing import ApprovalRequest
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus

__all__ = [
    "Approval",
    "ApprovalRequest",
    "Choice",
    "Compensation",
    "Escalation",
    "NodeStatus",
    "Steps",
    "TaskDefinition",
    "TaskGraph",
    "TaskNode",
    "TaskStatus",
    "UserIntervention",
    "WorkflowBuilder",
    "WorkflowDefinition",
    "WorkflowGuest",
    "WorkflowStatus",
]
