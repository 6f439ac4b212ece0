"""What modifications change, in words: one line per task added or removed, one per field of a task that is another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from agenticflow.orchestration.comparison import Difference
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.interventions.modification import Modification

__all__ = ["differences"]

MAX_WORDS_CHARS: Final = 200
_HEAD: Final = ("task_id", "agent_id", "task_type", "dependencies")


def differences(definition: WorkflowDefinition, modifications: Iterable[Modification]) -> list[Difference]:
    """Return what ``modifications`` change in ``definition``, in their order."""
    before = {task.task_id: task for task in definition.tasks}
    found: list[Difference] = []
    for one in modifications:
        old = before.get(one.task_id)
        if old is None or one.task is None:
            found.append(Difference(one.task_id, "task", _words(old), _words(one.task)))
        else:
            found.extend(_fields(old, one.task))
    return found


def _fields(old: TaskDefinition, new: TaskDefinition) -> Iterator[Difference]:
    for field in msgspec.structs.fields(TaskDefinition):
        left, right = getattr(old, field.name), getattr(new, field.name)
        if left != right:
            yield Difference(old.task_id, field.name, _shown(left), _shown(right))


def _words(task: TaskDefinition | None) -> str:
    if task is None:
        return "-"
    parts = [":".join(filter(None, (task.agent_id, task.task_type)))]
    if task.dependencies:
        parts.append(f"after {', '.join(map(repr, task.dependencies))}")
    parts += [
        f"{name}={_shown(value)}"
        for name, value in ((field.name, getattr(task, field.name)) for field in msgspec.structs.fields(task))
        if name not in _HEAD and value != _DEFAULTS[name]
    ]
    return _cut(" ".join(filter(None, parts)))


_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(TaskDefinition)}


def _shown(value: object) -> str:
    return _cut(repr(msgspec.to_builtins(list(value) if isinstance(value, tuple) else value, enc_hook=repr)))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORDS_CHARS else f"{text[:MAX_WORDS_CHARS]}…"
