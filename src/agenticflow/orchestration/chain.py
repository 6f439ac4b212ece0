"""Chains of runs: what the next run of a workflow keeps of the one before."""

from __future__ import annotations

from collections import deque

import msgspec

from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration.state import Phase, RunState, TaskStatus

__all__ = ["Carried", "carry_over"]


class Carried(msgspec.Struct, frozen=True):
    """What the next run starts with."""

    kept: dict[str, bytes]
    """Recorded results by task key, as recorded (a large one is a reference)."""
    generations: dict[str, int]


def carry_over(state: RunState, from_task: str | None = None) -> Carried:
    """Return what the run after ``state`` keeps.

    Without ``from_task`` every recorded result is kept, so the next run goes on after the last success. With it, the next run goes on
    at that task: a completed ``from_task`` is kept and never run again, what depends on it is (its generation rises,
    since that is an explicit "run again"); any other ``from_task`` is run, with what depends on it.

    Raises ``CommandRefused`` while the run is open, ``InvalidInput`` for an unknown task.
    """
    if state.phase is not Phase.ENDED:
        raise CommandRefused(
            f"workflow {state.workflow_id!r} is {state.status}, its run has not ended",
            hint="wait for its end, or abort it first",
        )
    kept = {
        key: record.value
        for key, record in state.tasks.items()
        if record.status is TaskStatus.COMPLETED and record.value is not None
    }
    generations = dict(state.generations)
    if from_task is None:
        return Carried(kept, generations)
    plan = state.laid_out
    if from_task not in plan.by_id:
        raise InvalidInput(
            f"workflow {state.workflow_id!r} has no task {from_task!r}",
            hint=f"it has {', '.join(list(plan.by_id)[:20])}",
        )
    record = state.tasks.get(from_task)
    is_completed = record is not None and record.status is TaskStatus.COMPLETED
    again: set[str] = set()
    queue = deque([plan.nodes[plan.by_id[from_task]]])
    while queue:
        node = queue.popleft()
        task_id = node.task.task_id
        if task_id in again:
            continue
        if not (is_completed and task_id == from_task):
            again.add(task_id)
        queue.extend(plan.nodes[index] for index in node.dependents if plan.nodes[index].task.task_id not in again)
    for key in [key for key in kept if state.tasks[key].node.task.task_id in again]:
        del kept[key]
        generations[key] = generations.get(key, 0) + 1
    return Carried(kept, generations)
