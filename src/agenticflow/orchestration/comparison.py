"""How two runs differ: definition, input, and what became of each task. Pure; for people who look at a fork, at a modification, or at what
went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.values import reference_in
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.state import RunState, TaskRecord

__all__ = ["Difference", "compare_runs", "compare_tasks"]

MAX_SHOWN_CHARS = 200


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not the same. ``left`` and ``right`` are in words, ``"-"`` for what is not there."""

    task_key: str
    """Empty for what belongs to the run as a whole."""
    what: str
    """``definition``, ``input``, ``status``, ``attempts``, ``result`` or ``error``; ``task`` for one that only one definition has, the
    name of the field for one that is another in each."""
    left: str
    right: str

    def __str__(self) -> str:
        where = f"task {self.task_key!r}: " if self.task_key else ""
        return f"{where}{self.what}: {self.left} → {self.right}"


def compare_runs(left: RunState, right: RunState) -> list[Difference]:
    """Return what differs, the definitions and the runs as wholes first, then task by task in the order of the left run, then what only
    the right one has.

    Results are compared as recorded: a large one by its content hash.
    """
    found: list[Difference] = []
    if left.laid_out.encoded != right.laid_out.encoded:
        names = (f"{one.laid_out.definition.name} {one.laid_out.content_hash[:12]}" for one in (left, right))
        found.append(Difference("", "definition", *names))
        mine, theirs = ({task.task_id: task for task in one.laid_out.described().tasks} for one in (left, right))
        for task_id in dict.fromkeys([*mine, *theirs]):
            found.extend(compare_tasks(mine.get(task_id), theirs.get(task_id)))
    if left.input != right.input:
        found.append(Difference("", "input", _shown(left.input), _shown(right.input)))
    if left.status != right.status:
        found.append(Difference("", "status", left.status.value, right.status.value))
    for key in dict.fromkeys([*left.tasks, *right.tasks]):
        found.extend(_of_task(key, left.tasks.get(key), right.tasks.get(key)))
    return found


def _of_task(key: str, left: TaskRecord | None, right: TaskRecord | None) -> Iterator[Difference]:
    for what, describe in (("status", _status), ("attempts", _attempts), ("result", _result), ("error", _error)):
        one, other = describe(left), describe(right)
        if one != other:
            yield Difference(key, what, one, other)


def _status(record: TaskRecord | None) -> str:
    return record.status.value if record is not None else "-"


def _attempts(record: TaskRecord | None) -> str:
    # What was kept of another run was not attempted here, which is no difference in what became of it.
    return str(record.attempt) if record is not None and record.attempt > 1 else "-"


def _result(record: TaskRecord | None) -> str:
    return _shown(record.value) if record is not None and record.value is not None else "-"


def _error(record: TaskRecord | None) -> str:
    return str(record.errors[-1])[:MAX_SHOWN_CHARS] if record is not None and record.errors else "-"


def _shown(data: bytes) -> str:
    reference = reference_in(data)
    if reference is not None:
        return f"{reference.size:,} bytes, {reference.hash[:12]}"
    words = repr(codec.decode(data))
    return words if len(words) <= MAX_SHOWN_CHARS else f"{words[:MAX_SHOWN_CHARS]}… {codec.content_hash(data)[:12]}"


# --- definitions of a task ----------------------------------------------------------------------------------------------


def compare_tasks(left: TaskDefinition | None, right: TaskDefinition | None) -> Iterator[Difference]:
    """Yield how two definitions of a task differ, field by field; the whole of one where there is no other."""
    if left is None or right is None:
        one = left or right
        if one is not None:
            yield Difference(one.task_id, "task", _task(left), _task(right))
        return
    for field in msgspec.structs.fields(TaskDefinition):
        mine, theirs = getattr(left, field.name), getattr(right, field.name)
        if mine != theirs:
            yield Difference(left.task_id, field.name, _words(mine), _words(theirs))


_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(TaskDefinition)}
_HEAD: Final = ("task_id", "agent_id", "task_type", "dependencies")


def _task(task: TaskDefinition | None) -> str:
    if task is None:
        return "-"
    parts = [":".join(filter(None, (task.agent_id, task.task_type)))]
    if task.dependencies:
        parts.append(f"after {', '.join(map(repr, task.dependencies))}")
    parts += [
        f"{name}={_words(value)}"
        for name, value in ((name, getattr(task, name)) for name in _DEFAULTS if name not in _HEAD)
        if value != _DEFAULTS[name]
    ]
    return _cut(" ".join(filter(None, parts)))


def _words(value: object) -> str:
    return _cut(repr(msgspec.to_builtins(list(value) if isinstance(value, tuple) else value, enc_hook=repr)))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
