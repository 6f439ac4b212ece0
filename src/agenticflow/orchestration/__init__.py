"""Workflows: definitions as data, and the pure decider that runs them."""

from __future__ import annotations

import typing

from agenticflow.core.late import names_of as _names_of

if typing.TYPE_CHECKING:
    from agenticflow.core.interrupts import Ask, Reply
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

_HOMES = {
    "agenticflow.core.interrupts": ("Ask", "Reply"),
    "agenticflow.orchestration.approvals.terms": ("Approval", "Escalation"),
    "agenticflow.orchestration.builder": ("Steps", "WorkflowBuilder"),
    "agenticflow.orchestration.definition": ("Choice", "Compensation", "TaskDefinition", "WorkflowDefinition"),
    "agenticflow.orchestration.graph": ("NodeStatus", "TaskGraph", "TaskNode"),
    "agenticflow.orchestration.guest": ("WorkflowGuest",),
    "agenticflow.orchestration.inbox.listing": ("ApprovalRequest",),
    "agenticflow.orchestration.interventions.intervention": ("UserIntervention",),
    "agenticflow.orchestration.planning.awaiting": ("Step",),
    "agenticflow.orchestration.planning.context": ("WorkflowContext",),
    "agenticflow.orchestration.planning.declaring": ("workflow",),
    "agenticflow.orchestration.planning.functions": ("WorkflowFunction",),
    "agenticflow.orchestration.quarantine.listing": ("TaskLetter",),
    "agenticflow.orchestration.repair.planner": ("FailedRun", "NewPlan", "Replanner"),
    "agenticflow.orchestration.state": ("TaskStatus", "WorkflowStatus"),
}

__all__ = [
    "Approval",
    "ApprovalRequest",
    "Ask",
    "Choice",
    "Compensation",
    "Escalation",
    "FailedRun",
    "NewPlan",
    "NodeStatus",
    "Replanner",
    "Reply",
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

__getattr__ = _names_of(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
