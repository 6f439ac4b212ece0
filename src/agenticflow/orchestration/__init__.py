"""Workflows: definitions as data, and the pure decider that runs them."""

from agenticflow.orchestration.approvals.terms import Approval, Escalation
from agenticflow.orchestration.builder import Steps, WorkflowBuilder
from agenticflow.orchestration.definition import Choice, Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import NodeStatus, TaskGraph, TaskNode
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.inbox.listing import ApprovalRequest
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.orchestration.planning.awaiting import Step
from agenticflow.orchestration.planning.context import WorkflowContext
from agenticflow.orchestration.planning.declaring import workflow
from agenticflow.orchestration.planning.functions import WorkflowFunction
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
    "Step",
    "Steps",
    "TaskDefinition",
    "TaskGraph",
    "TaskLetter",
    "TaskNode",
    "TaskStatus",
    "UserIntervention",
    "WorkflowBuilder",
    "WorkflowContext",
    "WorkflowDefinition",
    "WorkflowFunction",
    "WorkflowGuest",
    "WorkflowStatus",
    "workflow",
]
