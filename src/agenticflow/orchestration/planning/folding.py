"""How the facts of planning change the state of a run: part of the fold, so nothing is decided here."""

from __future__ import annotations

from agenticflow.errors import InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.ledger import Planning
from agenticflow.orchestration.planning.growing import GrowingPlan
from agenticflow.orchestration.state import CANCELLABLE, RunState, TaskRecord, TaskStatus

__all__ = ["patch_marked", "plan_closed", "steps_planned"]


def _planning(state: RunState) -> tuple[Planning, GrowingPlan]:
    if state.planning is None or not isinstance(state.plan, GrowingPlan):
        raise InvariantError(f"run {state.stream_id!r} is not planned by a function")
    return state.planning, state.plan


def steps_planned(state: RunState, fact: f.StepsPlanned, version: int, at: int) -> None:
    """The steps are ready; those whose results the run was given have ended already."""
    planning, plan = _planning(state)
    planning.driven = fact.after
    if planning.drive is not None:
        state.made += planning.drive.recorded(steps=len(fact.steps), cancels=len(fact.cancels))
    for step in fact.steps:
        node = plan.grow(step)
        key = step.task.task_id
        if state.kept and (value := state.kept.get(key)) is not None:
            record = state.tasks[key] = TaskRecord(key, node, node.performer_id)
            record.status, record.value, record.ended_at = TaskStatus.COMPLETED, value, at
            state.settle(node, TaskStatus.COMPLETED)
        else:
            state.make_ready(node)
    for key in fact.cancels:
        record = state.tasks[key]
        if record.status in CANCELLABLE:
            state.cancel_soon((record.node.index,), "")


def patch_marked(state: RunState, fact: f.PatchMarked, version: int, at: int) -> None:
    """The run goes the new way at this change of its code."""
    planning, _ = _planning(state)
    planning.driven = fact.after
    planning.patches[fact.patch] = None
    if planning.drive is not None:
        state.made += planning.drive.recorded(patches=1)


def plan_closed(state: RunState, fact: f.PlanClosed, version: int, at: int) -> None:
    """The function has ended: nothing more is planned."""
    planning, _ = _planning(state)
    planning.driven = fact.after
    planning.closed = fact
    if planning.drive is not None:
        state.made += planning.drive.recorded()
        planning.drive.close()
        planning.drive = None
