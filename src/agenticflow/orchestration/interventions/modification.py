"""Modifications of a definition whose run goes on, as data: what they look like, how they are read, and the definition they give. Pure.

``[{"add": task}, {"replace": task}, {"remove": "task_id"}]``: the same in programs, in files, in commands and in the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition

__all__ = ["KINDS", "Modification", "applied", "decode_modifications", "encode_modifications", "modifications_of"]

KINDS: Final = ("add", "remove", "replace")
MAX_MODIFICATIONS: Final = 1_000
_TASK: Final = msgspec.inspect.type_info(TaskDefinition)
_FORM: Final = 'write [{"add": task}, {"replace": task}, {"remove": "task_id"}]'


class Modification(msgspec.Struct, frozen=True):
    """One task added, removed, or replaced by another definition with its id."""

    kind: str
    task_id: str
    task: TaskDefinition | None = None
    """``None`` for one that is removed."""


def modifications_of(given: object) -> list[Modification]:
    """Return what somebody wrote. Tasks are ``TaskDefinition`` or plain data.

    Raises ``InvalidInput`` for what is no list of them, ``DefinitionError`` with every task that is described wrongly.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence) or not given:
        raise InvalidInput(f"the modifications are {given!r:.80}", hint=_FORM)
    if len(given) > MAX_MODIFICATIONS:
        raise InvalidInput(
            f"{len(given):,} modifications pass the limit of {MAX_MODIFICATIONS:,}", hint="make them in several calls"
        )
    found: list[Modification] = []
    problems: list[str] = []
    for number, one in enumerate(given, 1):
        try:
            found.append(_modification(one))
        except (AgenticFlowError, msgspec.ValidationError) as error:
            problems.append(f"modification {number}: {error}")
    if problems:
        raise DefinitionError("; ".join(problems), problems=problems)
    return found


def _modification(given: object) -> Modification:
    if not isinstance(given, Mapping) or len(given) != 1 or (kind := next(iter(given))) not in KINDS:
        raise InvalidInput(f"{given!r:.80} is none", hint=_FORM)
    what = given[kind]
    if kind == "remove":
        if not isinstance(what, str):
            raise InvalidInput(f"it removes {what!r:.80}", hint="name the task by its id")
        return Modification(kind, what)
    if isinstance(what, TaskDefinition):
        return Modification(kind, what.task_id, what)
    if strange := list(_strange_keys(what, _TASK, "")):
        raise InvalidInput("; ".join(strange))
    task = msgspec.convert(what, TaskDefinition)
    return Modification(kind, task.task_id, task)


def _strange_keys(given: object, kind: msgspec.inspect.Type, where: str) -> Iterator[str]:
    """Say which keys of plain data, at every level, a ``kind`` does not have: a slip there would be passed over in silence."""
    for one in kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,):
        match one:
            case msgspec.inspect.StructType() if isinstance(given, Mapping):
                fields = {field.encode_name: field.type for field in one.fields}
                for key, value in given.items():
                    path = f"{where}.{key}" if where else f"{key}"
                    if key in fields:
                        yield from _strange_keys(value, fields[key], path)
                        continue
                    near = get_close_matches(str(key), fields, n=1)
                    yield f"there is no key {path!r}; " + (
                        f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
                    )
            case msgspec.inspect.CollectionType() if isinstance(given, (list, tuple)):
                for number, value in enumerate(given):
                    yield from _strange_keys(value, one.item_type, f"{where}[{number}]")
            case _:
                continue  # plain values, and what is anybody's own: params


def encode_modifications(modifications: Sequence[Modification]) -> bytes:
    """Return them on the wire. Raises ``NotSerializable`` naming the task, ``DefinitionError`` for what cannot be read back."""
    tasks = [one.task for one in modifications if one.task is not None]
    # As a definition writes them: sets have another order in each process.
    encoded = WorkflowDefinition(tasks).encoded()
    try:
        ordered = iter(msgspec.msgpack.decode(encoded, type=WorkflowDefinition).tasks)
    except msgspec.ValidationError as error:
        raise DefinitionError(
            f"the modifications could not be read back: {error}", hint="keys of params are texts; names and signals too"
        ) from error
    return codec.encode([{one.kind: one.task_id if one.task is None else next(ordered)} for one in modifications])


def decode_modifications(data: bytes) -> list[Modification]:
    """Return what ``encode_modifications`` wrote."""
    plain = msgspec.msgpack.decode(data, type=list[dict[str, TaskDefinition | str]])
    return [
        Modification(kind, what) if isinstance(what, str) else Modification(kind, what.task_id, what)
        for one in plain
        for kind, what in one.items()
    ]


def applied(definition: WorkflowDefinition, modifications: Iterable[Modification]) -> WorkflowDefinition:
    """Return ``definition`` with the ``modifications``: a replaced task stays where it stands, added ones come last."""
    tasks = {task.task_id: task for task in definition.tasks}
    for one in modifications:
        if one.task is None:
            tasks.pop(one.task_id, None)
        else:
            tasks[one.task_id] = one.task
    return msgspec.structs.replace(definition, tasks=list(tasks.values()))
