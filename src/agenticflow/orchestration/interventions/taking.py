"""How a person's decision about a task changes the state: part of the fold, so nothing is decided here.

What has failed for good was counted at whatever waits for it. Before it may have another end, that is taken back.
"""

from __future__ import annotations

from collections import deque

from agenticflow.core import codec
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.endings import (
    bar_others,
    complete,
    did_not_stand_in,
    next_items,
    primary_of,
    stop_waiting,
)
from agenticflow.orchestration.plan import Node
from agenticflow.orchestration.state import RunState, TaskRecord, TaskStatus
from agenticflow.orchestration.suspicion.suspects import Suspect

__all__ = ["failed_parts", "open_stand_in", "result_given", "retry_requested", "skipped", "was_told"]


def skipped(state: RunState, fact: f.TaskSkipped, version: int, at: int) -> None:
    """The run goes on as if the condition of the task did not hold."""
    state.version = version
    record = _taken(state, fact.task_key)
    state.set_status(record, TaskStatus.SKIPPED)
    record.ended_at = at
    state.settle(record.node, TaskStatus.SKIPPED)
    if record.node.is_alternative:
        did_not_stand_in(state, record.node)


def result_given(state: RunState, fact: f.TaskResultGiven, version: int, at: int) -> None:
    """The task has its result, as if a handler had given it."""
    state.version = version
    record, value = _taken(state, fact.task_key), bytes(fact.result)
    if record.node.choices:
        chosen = codec.decode(value)
        bar_others(state, record.node, chosen if isinstance(chosen, list) else [chosen])
    complete(state, record, value, at)


def retry_requested(state: RunState, fact: f.TaskRetryRequested, version: int, at: int) -> None:
    """The task is ready again; while it waits for its next attempt, that is due now."""
    state.version = version
    record = state.tasks[fact.task_key]
    if record.status is TaskStatus.RETRYING:
        record.due = at  # the next fact schedules it, or the end of the pause does
        return
    if record.status is TaskStatus.QUARANTINED:
        _release(state, record)
        return
    parts = failed_parts(state, record)
    for part in parts or [record]:
        _take_back_failure(state, part)
        part.ended_at = 0
        part.attempts_before = part.attempt
        part.performer_id = part.node.performer_id
        state.forget_total_limit(part.key)
        if part.index is not None and part.node.until is None:
            # A map has only so many items in work at once.
            state.set_status(part, TaskStatus.PENDING)
            state.again.setdefault(part.node.task.task_id, deque()).append(part.key)
        else:
            state.set_status(part, TaskStatus.READY)
            state.queue(part)
    if record.node.for_each is not None and (container := state.tasks[record.node.task.task_id]).items is not None:
        next_items(state, container)


def _release(state: RunState, record: TaskRecord) -> None:
    """A task in quarantine runs again: with all its attempts, and with as much care as the last time."""
    limit = state.suspects[record.key].limit
    state.set_status(record, TaskStatus.READY)
    state.suspects[record.key] = Suspect(record.key, limit, is_released=True)
    record.attempts_before = record.attempt
    record.performer_id = record.node.performer_id
    state.forget_total_limit(record.key)
    state.queue(record)


def _taken(state: RunState, key: str) -> TaskRecord:
    """Return the record of the task, out of wherever it waits; made when nobody has come to it yet."""
    record = state.tasks.get(key)
    if record is None:
        plan = state.laid_out
        node = plan.nodes[plan.by_id[key]]
        if node.rest:
            state.cancel_soon(node.rest, key)
        record = state.tasks[key] = TaskRecord(key, node, node.performer_id)
        return record
    if record.status is TaskStatus.READY:
        state.ready.remove(record)
    elif record.status is TaskStatus.WAITING and record.node.task.signal is not None:
        stop_waiting(state, record)
    elif record.status is TaskStatus.PENDING:
        waiting = state.again[record.node.task.task_id]
        waiting.remove(key)
        if not waiting:
            del state.again[record.node.task.task_id]
    elif record.status is TaskStatus.FAILED:
        _take_back_failure(state, record)
    state.set_status(record, TaskStatus.READY)
    return record


# --- what a failure has told --------------------------------------------------------------------------------------------


def failed_parts(state: RunState, record: TaskRecord) -> list[TaskRecord]:
    """Return the items or iterations of a map or loop that have failed; empty for other tasks."""
    if record.index is not None:
        return []
    count = len(record.items) if record.items is not None else record.done + 1
    parts = (state.tasks.get(f"{record.key}[{index}]") for index in range(count))
    return [part for part in parts if part is not None and part.status is TaskStatus.FAILED]


def open_stand_in(state: RunState, node: Node) -> str | None:
    """Return the key of the fallback that may still give ``node``, which has failed, its result; ``None`` when there is none."""
    while node.fallback is not None:
        node = state.laid_out.nodes[node.fallback]
        record = state.tasks.get(node.task.task_id)
        if record is None or record.status in (TaskStatus.SKIPPED, TaskStatus.CANCELLED):
            return None
        if record.status is not TaskStatus.FAILED:
            return record.key
    return None


def was_told(state: RunState, node: Node) -> TaskStatus | None:
    """Return how the end of ``node`` was counted at its dependents; ``None`` when it was not, or not yet."""
    record = state.tasks.get(node.task.task_id)
    if record is None:
        return None
    if record.status is TaskStatus.COMPLETED:
        return TaskStatus.COMPLETED
    if record.status in (TaskStatus.SKIPPED, TaskStatus.CANCELLED):
        return TaskStatus.SKIPPED
    if record.status is not TaskStatus.FAILED or open_stand_in(state, node) is not None:
        return None
    return TaskStatus.SKIPPED if node.task.on_failure == "skip" else TaskStatus.FAILED


def _take_back_failure(state: RunState, record: TaskRecord) -> None:
    """The task, item or iteration that has failed for good may have another end after all."""
    if record.index is None:
        _untell(state, record.node)
        return
    container = state.tasks[record.node.task.task_id]
    if container.status is TaskStatus.FAILED:
        _untell(state, container.node)
        state.set_status(container, TaskStatus.EXPANDED)
        container.ended_at = 0
    container.failed -= 1


def _untell(state: RunState, node: Node) -> None:
    """Count the failure of ``node`` no longer at those that have not begun yet."""
    nodes = state.laid_out.nodes
    how = was_told(state, node)
    for index in node.dependents:
        dependent = nodes[index]
        if dependent.task.task_id in state.tasks:
            continue
        if dependent.needs:
            others = (nodes[other] for other in dependent.depends_on if other != node.index)
            is_below_failed = any(was_told(state, other) is TaskStatus.FAILED for other in others)
            state.has_failed_dependency[index] = is_below_failed
            state.unmet[index] += 1
        elif how is not TaskStatus.FAILED or dependent.is_settled:
            state.unmet[index] += 1
    if node.is_alternative:
        # What it stands in for was told to have failed because of this one.
        _untell(state, state.tasks[primary_of(state, node)].node)
