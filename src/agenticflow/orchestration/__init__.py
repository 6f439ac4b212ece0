"""Workflows: definitions as data, and the pure decider that runs them."""

from agenticflow.orchestration.approvals.terms import Approval, Escalation
from agenticflow.orchestration.builder import Steps, WorkflowBuilder
from agenticflow.orchestration.definition import Choice, Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import NodeStatus, TaskGraph, TaskNode
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.inbox.listing import ApprovalRequest
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.orchestration.quarantine.listing import TaskLetter
from agenticflow.orchestration.repair.planner import FailedRun, NewPlan, Replanner
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus

__all__ = [
    "Approval",
    "ApprovalRequest",
    "Choice",
    "Compensation",
    "Escalation",
    "FailedRun",
    "NewPlan",
    "NodeStatus",
    "Replanner",
    "Steps",
    "TaskDefinition",
    "TaskGraph",
    "TaskLetter",
    "TaskNode",
    "TaskStatus",
    "UserIntervention",
    "WorkflowBuilder",
    "WorkflowDefinition",
    "WorkflowGuest",
    "WorkflowStatus",
]
