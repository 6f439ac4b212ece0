"""How a run that undoes another takes over what that one did: part of the fold, so nothing is decided here."""

from __future__ import annotations

import msgspec

from agenticflow.core import codec
from agenticflow.errors import CorruptStore
from agenticflow.orchestration.facts import CompensationStarted, Course
from agenticflow.orchestration.state import RunState, TaskRecord, TaskStatus

__all__ = ["course_of", "lay_out"]


def course_of(state: RunState, fact: CompensationStarted) -> Course | None:
    """Return what the run before did that this one undoes, ``None`` when it undoes its own.

    Raises ``BlobMissing`` and ``CorruptStore``.
    """
    data = bytes(fact.undoing)
    if data == codec.NULL:
        return None
    try:
        return msgspec.msgpack.decode(state.values.resolve(data), type=Course)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptStore(f"what run {state.stream_id!r} undoes cannot be read: {error}") from error


def lay_out(state: RunState, course: Course, at: int) -> None:
    """What the run before had completed is completed, and what of it can be undone is to be undone."""
    plan = state.laid_out
    state.tasks = {}  # none of its own has begun
    values: dict[str, bytes | None] = {**dict.fromkeys(course.items), **state.kept}
    for key, value in values.items():
        task_id, _, index = key.partition("[")
        node = plan.nodes[plan.by_id[task_id]]
        record = TaskRecord(key, node, node.performer_id, int(index.rstrip("]")) if index else None)
        record.status, record.value, record.ended_at = TaskStatus.COMPLETED, value, at
        record.items = course.items.get(key)
        state.tasks[key] = record
    state.undoable = list(course.order)
    state.kept = {}
