"""A run is laid out anew in the middle: the fold of modifications, so nothing is decided here.

What has happened stays; what the ends so far mean for those that have not begun is counted again, by the definition as it is now.
"""

from __future__ import annotations

from collections import deque

from agenticflow.orchestration import facts as f
from agenticflow.orchestration.interventions.modification import applied, decode_modifications
from agenticflow.orchestration.interventions.taking import was_told
from agenticflow.orchestration.plan import Node, Plan, decode_plan
from agenticflow.orchestration.state import RunState, TaskStatus

__all__ = ["modified", "replaceable"]


def modified(state: RunState, fact: f.WorkflowModified, version: int, at: int) -> None:
    """The run goes on with another definition."""
    modifications = decode_modifications(state.values.resolve(bytes(fact.modifications)))
    before = state.laid_out
    plan = decode_plan(applied(before.definition, modifications).encoded())
    state.version = version
    touched = {one.task_id for one in modifications}
    for task_id in touched:
        _forget(state, task_id)
    for key in [key for key in state.kept if key.partition("[")[0] in touched]:
        del state.kept[key]
    state.generations.update(fact.generations)
    if fact.number and state.replanning is not None:
        state.replanning.due = None
    _change_plan(state, before, plan)
    _count_again(state, plan)
    for node in plan.nodes:
        if node.task.task_id not in state.tasks and not node.is_alternative:
            _start_if_met(state, node)


def replaceable(state: RunState) -> frozenset[str]:
    """Return the ids of tasks that have failed for good and may be other work from now on: nothing of them is done, or has to be undone."""
    failed = {record.key.partition("[")[0] for record in state.tasks.values() if record.status is TaskStatus.FAILED}
    kept = {key.partition("[")[0] for key in [*state.undoable, *(key for key, _ in state.lingering.values())]}
    return frozenset(
        task_id
        for task_id in failed - kept
        if task_id in state.tasks and state.tasks[task_id].status is TaskStatus.FAILED
    )


def _forget(state: RunState, task_id: str) -> None:
    """The task has not begun, or has failed with all of its items and iterations: nothing is left of it in the state."""
    record = state.tasks.pop(task_id, None)
    if record is None:
        return
    if record.status is TaskStatus.READY:
        state.ready.remove(record)
        return
    parts = [key for key in state.tasks if key.startswith(f"{task_id}[")]
    for key in (task_id, *parts):
        state.tasks.pop(key, None)
        state.suspects.pop(key, None)
        state.answered.pop(key, None)
        state.answers.pop(key, None)
    state.next_item.pop(task_id, None)


def _change_plan(state: RunState, before: Plan, plan: Plan) -> None:
    """Have everything that is named by its place in the plan named by its new one."""

    def moved(index: int) -> int | None:
        return plan.by_id.get(before.nodes[index].task.task_id)

    state.plan = plan
    state.barred = {new for old in state.barred if (new := moved(old)) is not None}
    state.to_cancel = {new: by for old, by in state.to_cancel.items() if (new := moved(old)) is not None}
    for record in state.tasks.values():
        record.node = plan.nodes[plan.by_id[record.node.task.task_id]]
    if plan.has_order:
        # Behind each other as they became ready, within the order there is now.
        waiting, state.ready = state.ready, deque()
        for record in waiting:
            state.queue(record)


def _count_again(state: RunState, plan: Plan) -> None:
    state.unmet = plan.unmet.copy()
    state.has_live_dependency = bytearray(len(plan.nodes))
    state.has_failed_dependency = bytearray(len(plan.nodes))
    state.completed = {}
    for node in plan.nodes:
        how = was_told(state, node)
        if how is None:
            continue
        for index in node.dependents:
            dependent = plan.nodes[index]
            if dependent.needs:
                state.unmet[index] -= 1
                if how is TaskStatus.COMPLETED:
                    state.completed[index] = state.completed.get(index, 0) + 1
                state.has_failed_dependency[index] |= how is TaskStatus.FAILED
            elif how is not TaskStatus.FAILED or dependent.is_settled:
                state.unmet[index] -= 1
                state.has_live_dependency[index] |= how is TaskStatus.COMPLETED


def _start_if_met(state: RunState, node: Node) -> None:
    index = node.index
    if node.needs:
        done = state.completed.get(index, 0)
        if done >= node.needs:
            state.make_ready(node)
        elif state.unmet[index] + done < node.needs and not state.has_failed_dependency[index]:
            state.make_ready(node, is_blocked=True)
    elif state.unmet[index] == 0:
        is_live = node.is_settled or state.has_live_dependency[index] or not node.depends_on
        state.make_ready(node, is_blocked=not is_live)
