"""What the end of a task, an item or an iteration means for the state: who may start, what stands in, what is undone next.

Called by the fold (``orchestration.evolve``), so nothing is decided here either. What has ended is counted at whatever waits for it.
"""

from __future__ import annotations

from collections.abc import Collection

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import InvariantError
from agenticflow.orchestration.plan import Node
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskRecord, TaskStatus, undo_key
from agenticflow.orchestration.statuses import COMPLETED

__all__ = [
    "bar_others",
    "complete",
    "did_not_stand_in",
    "end_container",
    "end_map_if_over",
    "fail",
    "keep_error",
    "match_signals",
    "next_items",
    "next_undo",
    "primary_of",
    "stop_waiting",
    "take_ready",
]


def take_ready(state: RunState, key: str) -> TaskRecord:
    """Take out what starts now, or will not: it has to be its turn. Raises ``InvariantError`` when it is not."""
    ready = state.ready
    if ready and ready[0].key == key:
        return ready.popleft()
    # With priorities or places what this very decision made ready may have gone before the rest of it.
    for record in ready if state.laid_out.has_order else ():
        if record.key == key:
            ready.remove(record)
            return record
    raise InvariantError(f"task {key!r} of run {state.stream_id!r} was started before its turn")


def complete(state: RunState, record: TaskRecord, value: bytes, at: int, *, is_undoable: bool = False) -> None:
    """The task, item or iteration ``record`` has its result; ``is_undoable`` when its sub-workflow says that it can undo something."""
    if record.status not in IN_FLIGHT:
        if record.status is TaskStatus.WAITING and record.node.task.signal is not None:
            _deliver(state, record.node.task.signal, record.key)
        elif record.status is TaskStatus.READY and record.node.continue_with is not None:
            take_ready(state, record.key)
    state.set_status(record, COMPLETED)
    record.value = value
    record.ended_at = at
    if record.undoes is not None:
        next_undo(state)
        return
    state.last_success = record.key
    if record.node.can_be_undone(is_undoable):
        state.undoable.append(record.key)
        if state.phase is Phase.COMPENSATING and not (state.ready or state.active):
            next_undo(state)
    if record.index is not None:
        _item_ended(state, record, at)
        return
    state.settle(record.node, COMPLETED)
    if record.node.is_alternative:
        _stand_in(state, record, at)


def bar_others(state: RunState, node: Node, chosen: Collection[object]) -> None:
    """The choice ``node`` has chosen the tasks ``chosen``: the others it could have chosen will not run."""
    nodes = state.laid_out.nodes
    state.barred.update(index for index, _ in node.choices if nodes[index].task.task_id not in chosen)


def primary_of(state: RunState, alternative: Node) -> str:
    """Return the key of the task that the fallback ``alternative`` stands in for."""
    plan = state.laid_out
    return plan.nodes[plan.alternatives[alternative.index]].task.task_id


def _stand_in(state: RunState, record: TaskRecord, at: int) -> None:
    """A fallback is completed: its result is that of the task it stands in for."""
    primary = state.tasks[primary_of(state, record.node)]
    state.set_status(primary, TaskStatus.COMPLETED)
    primary.value = record.value
    primary.ended_at = at
    state.settle(primary.node, TaskStatus.COMPLETED)
    if primary.node.is_alternative:
        _stand_in(state, primary, at)


def did_not_stand_in(state: RunState, alternative: Node) -> None:
    """A fallback has ended without a result: the task it stands in for stays failed, and its dependents are told."""
    primary = state.tasks.get(primary_of(state, alternative))  # a fallback may be cancelled before anybody comes to it
    if primary is not None and primary.status is TaskStatus.FAILED:
        _tell_failure(state, primary.node)


def _item_ended(state: RunState, record: TaskRecord, at: int) -> None:
    """An item of a map or an iteration of a loop has its end: the next may start, and after the last one the whole has its own."""
    container = state.tasks[record.node.task.task_id]
    is_completed = record.status is TaskStatus.COMPLETED
    if is_completed:
        container.done += 1
    else:
        container.failed += 1
    if state.phase in (Phase.CANCELLING, Phase.COMPENSATING):
        # Too late to advance anything, but what is complete has its result.
        if record.node.until is None and container.done + container.failed == len(container.items or ()):
            needed = record.node.task.enough or len(container.items or ())
            state.set_status(container, TaskStatus.COMPLETED if container.done >= needed else TaskStatus.FAILED)
        return
    if container.status is not TaskStatus.EXPANDED:
        return
    if record.node.until is not None:
        if is_completed:
            state.undecided[container.key] = None
        else:
            end_container(state, container, TaskStatus.FAILED, at)
        return
    end_map_if_over(state, container, at)
    if container.status is TaskStatus.EXPANDED:
        before = container.done
        next_items(state, container)
        if container.done > before:  # what was kept may have been the last
            end_map_if_over(state, container, at)


def end_map_if_over(state: RunState, container: TaskRecord, at: int) -> None:
    """The map has its end when it has enough, can no longer have it, or all its items have ended."""
    count = len(container.items or ())
    enough = container.node.task.enough
    if enough is None:
        if container.done + container.failed == count:
            end_container(state, container, TaskStatus.FAILED if container.failed else TaskStatus.COMPLETED, at)
    elif container.done >= enough or count - container.failed < enough:
        is_enough = container.done >= enough
        end_container(state, container, TaskStatus.COMPLETED if is_enough else TaskStatus.FAILED, at)
        if state.open_items(container):
            state.surplus[container.key] = None


def end_container(state: RunState, container: TaskRecord, status: TaskStatus, at: int) -> None:
    """A map or a loop has its end."""
    state.set_status(container, status)
    container.ended_at = at
    if status is TaskStatus.COMPLETED:
        state.last_success = container.key
        state.settle(container.node, status)
        if container.node.is_alternative:
            _stand_in(state, container, at)
    else:
        _failed_for_good(state, container)


def _failed_for_good(state: RunState, record: TaskRecord) -> None:
    """A task has failed: its fallback takes its place, or its dependents are told."""
    node = record.node
    if state.phase in (Phase.CANCELLING, Phase.COMPENSATING):
        return
    if node.fallback is not None:
        alternative = state.laid_out.nodes[node.fallback]
        if alternative.task.task_id not in state.tasks:
            state.make_ready(alternative)
            return
    _tell_failure(state, node)


def _tell_failure(state: RunState, node: Node) -> None:
    state.settle(node, TaskStatus.SKIPPED if node.task.on_failure == "skip" else TaskStatus.FAILED)
    if node.is_alternative:
        did_not_stand_in(state, node)


def next_items(state: RunState, container: TaskRecord) -> None:
    """Make items ready as far as ``max_parallel`` allows, those that are tried again first; kept ones are completed on the way."""
    items = container.items or []
    limit = container.node.task.max_parallel or len(items)
    index = state.next_item[container.key]
    if state.again and (again := state.again.get(container.key)):
        while again and index - container.done - container.failed - len(again) < limit:
            record = state.tasks[again.popleft()]
            state.set_status(record, TaskStatus.READY)
            state.queue(record)
        if again:
            return
        del state.again[container.key]
    while index < len(items) and index - container.done - container.failed < limit:
        record = TaskRecord(f"{container.key}[{index}]", container.node, container.node.performer_id, index)
        state.tasks[record.key] = record
        index += 1
        if (value := state.kept.get(record.key)) is not None:
            record.status, record.value = TaskStatus.COMPLETED, value
            container.done += 1
        else:
            state.queue(record)
    state.next_item[container.key] = index


def fail(state: RunState, record: TaskRecord, error: ErrorInfo, at: int) -> None:
    """The task, item or iteration ``record`` has failed for good."""
    state.set_status(record, TaskStatus.FAILED)
    keep_error(record, error)
    record.ended_at = at
    if record.undoes is not None:
        next_undo(state)
    elif record.index is None:
        _failed_for_good(state, record)
    else:
        _item_ended(state, record, at)


def keep_error(record: TaskRecord, error: ErrorInfo) -> None:
    """Keep why an attempt failed."""
    if record.errors is None:
        record.errors = []
    record.errors.append(error)


def match_signals(state: RunState, name: str) -> None:
    """Note whether a signal of this name can be handed to somebody who waits for it."""
    if state.signals.get(name) and state.waiting.get(name):
        state.deliverable[name] = None
    else:
        state.deliverable.pop(name, None)


def _deliver(state: RunState, name: str, key: str) -> None:
    """The oldest signal of this name went to the task that has waited longest."""
    state.signals[name].popleft()
    state.waiting[name].remove(key)
    match_signals(state, name)


def stop_waiting(state: RunState, record: TaskRecord) -> None:
    """The task ``record`` takes no signal any more."""
    name = record.node.task.signal or ""
    state.waiting[name].remove(record.key)
    match_signals(state, name)


def next_undo(state: RunState) -> None:
    """Make ready what undoes the last that is not undone yet."""
    key = state.next_to_undo()
    if key is None:
        return
    done = state.tasks[key]
    undo = done.node.undo
    if undo is None:
        raise InvariantError(f"nothing undoes task {key!r} of run {state.stream_id!r}")
    record = state.tasks[undo_key(key)] = TaskRecord(undo_key(key), undo, undo.performer_id, done.index)
    record.undoes = key
    state.ready.append(record)
