"""What the run that undoes a completed one is given of it."""

from __future__ import annotations

import msgspec

from agenticflow.orchestration.chain import Carried
from agenticflow.orchestration.facts import Course, PlannedStep
from agenticflow.orchestration.planning.growing import GrowingPlan
from agenticflow.orchestration.state import RunState, TaskStatus

__all__ = ["ToUndo", "to_undo"]


class ToUndo(msgspec.Struct, frozen=True):
    """What a run did, for the run that undoes it."""

    carried: Carried
    course: Course
    steps: tuple[PlannedStep, ...]
    """Of a workflow as code: the steps that are undone, with their params."""


def to_undo(state: RunState) -> ToUndo:
    """Return what there is to undo of a run that has ended, and what its compensations may refer to."""
    wanted = {key.partition("[")[0] for key in state.undoable}
    # What undoes a step of a workflow as code has its params; what a graph's compensation refers to may be any result.
    plan = state.laid_out
    is_planned = isinstance(plan, GrowingPlan)
    kept = {
        key: record.value
        for key, record in state.tasks.items()
        if record.status is TaskStatus.COMPLETED
        and record.value is not None
        and (not is_planned or key.partition("[")[0] in wanted)
    }
    # Late ones have ended otherwise, as far as the run is concerned.
    kept |= {key: value for key in state.undoable if (value := state.tasks[key].value) is not None}
    items = {
        task_id: elements
        for task_id in sorted(wanted)
        if (record := state.tasks.get(task_id)) is not None and (elements := record.items) is not None
    }
    steps = tuple(step for step in plan.steps if step.task.task_id in wanted) if isinstance(plan, GrowingPlan) else ()
    signals = {name: list(values) for name, values in state.signals.items() if values}
    return ToUndo(
        Carried(kept, dict(state.generations), signals, list(state.feedback)),
        Course(list(state.undoable), items),
        steps,
    )
