"""How references are looked up in the state of a run: results by task id, the input, items of a map, iterations of a loop. Pure."""

from __future__ import annotations

from collections.abc import Callable

from agenticflow.core import codec
from agenticflow.orchestration.state import RunState, TaskRecord

__all__ = ["lookup", "lookup_after"]


def _result_before(state: RunState, record: TaskRecord) -> object:
    """Return what ``${previous}`` is in an iteration of a loop: the result of the one before, at first what the loop starts from."""
    if record.index:
        before = state.tasks[f"{record.node.task.task_id}[{record.index - 1}]"].value
        return codec.decode(state.values.resolve(before or codec.NULL))
    start = record.node.repeat_from
    return None if start is None else start.resolve(lookup(state))


def lookup(state: RunState, record: TaskRecord | None = None) -> Callable[[str], object]:
    """Return how references of a task are looked up: items of its map, iterations of its loop, results by task id, the input, its
    keys."""
    by_id = state.laid_out.by_id

    def find(root: str) -> object:
        if record is not None and record.undoes is not None and root == record.node.task.task_id:
            done = state.tasks[record.undoes].value
            return codec.decode(state.values.resolve(done or codec.NULL))
        if record is not None and record.index is not None:
            if state.laid_out.nodes[record.node.index].until is not None:
                if root == "previous":
                    return _result_before(state, record)
                if root == "iteration":
                    return record.index
            elif root == "item":
                items = state.tasks[record.node.task.task_id].items or []
                return codec.decode(items[record.index])
            elif root == "index":
                return record.index
        if root in by_id:
            data = state.result_of(root)
            return None if data is None else codec.decode(data)
        given = codec.decode(state.values.resolve(state.input))
        if root in ("input", "context"):
            return given
        if isinstance(given, dict) and root in given:
            return given[root]
        raise KeyError(root)

    return find


def lookup_after(state: RunState, record: TaskRecord) -> Callable[[str], object]:
    """Return how the condition of the loop ``record`` is looked up after an iteration: with its own result, and how many there were."""
    find = lookup(state)
    own = record.node.task.task_id

    def find_after(root: str) -> object:
        if root == own:
            last = state.tasks[f"{own}[{record.done - 1}]"].value
            return codec.decode(state.values.resolve(last or codec.NULL))
        return record.done if root == "iteration" else find(root)

    return find_after
