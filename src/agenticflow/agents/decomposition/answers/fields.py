"""One task as a model wrote it, field by field: other names, texts for lists, missing parts. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.agents.decomposition.decomposition import Bounds
from agenticflow.agents.decomposition.notes import Notes
from agenticflow.errors import DefinitionError
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["Sketch", "id_from", "sketch_of"]

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "task_id", "name"),
    "type": ("type", "task_type", "action"),
    "capabilities": ("capabilities", "capability", "required_capabilities"),
    "parameters": ("parameters", "params", "arguments", "input"),
    "dependencies": ("dependencies", "depends_on", "after"),
    "retry_policy": ("retry_policy", "retry", "retries"),
    "agent": ("agent", "agent_id", "assigned_agent"),
}
"""What a field is called, and what models call it beside that."""
_POLICY: Final = frozenset(RetryPolicy.__struct_fields__)
_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_ID_CHARS: Final = 100
_MAX_DEPTH: Final = 30
_SHOWN: Final = 60


class Sketch:
    """A task whose names have not been looked up yet."""

    __slots__ = ("agent", "capabilities", "dependencies", "given_id", "parameters", "retry_policy", "type", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.given_id = ""
        self.type = ""
        self.agent = ""
        self.capabilities: tuple[str, ...] = ()
        self.dependencies: tuple[str, ...] = ()
        self.parameters: dict[str, object] = {}
        self.retry_policy: RetryPolicy | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """Everything but its id: two that are equal do the same."""
        return (self.type, self.agent, self.capabilities, self.dependencies, self.parameters, self.retry_policy)


def sketch_of(given: Mapping[str, object], number: int, bounds: Bounds, notes: Notes) -> Sketch:
    """Return the task ``number`` (from 1) as far as it can be read."""
    fields = _fields(given, f"task {number}", notes)
    given_id = _text(fields.get("id"))
    sketch = Sketch(f"task {given_id!r:.60}" if given_id else f"task {number}")
    sketch.given_id = given_id
    sketch.type = _text(fields.get("type"))
    sketch.agent = _text(fields.get("agent"))
    sketch.capabilities = _texts(fields.get("capabilities"), "capabilities", sketch, notes)
    sketch.dependencies = _texts(fields.get("dependencies"), "dependencies", sketch, notes)
    sketch.parameters = _parameters(fields.get("parameters"), sketch, bounds, notes)
    sketch.retry_policy = _policy(fields.get("retry_policy"), sketch, bounds, notes)
    if not sketch.type:
        if sketch.capabilities:
            sketch.type = sketch.capabilities[0]
            notes.repairs.append(f"{sketch.where} says no type: it is called {sketch.type!r} after its capability")
        else:
            notes.problems.append(f"{sketch.where} says neither a type nor capabilities")
    return sketch


def id_from(text: str) -> str:
    """Return ``text`` as an id that references can name: letters of ASCII, digits, ``_`` and ``-``, a letter first."""
    made = _NOT_IN_AN_ID.sub("_", text.strip()).strip("_-")[:_MAX_ID_CHARS] or "task"
    return made if made[0].isalpha() else f"t_{made}"


def _fields(given: Mapping[str, object], where: str, notes: Notes) -> dict[str, object]:
    fields: dict[str, object] = {}
    for field, names in _NAMES.items():
        said = [name for name in names if given.get(name) is not None]
        if not said:
            continue
        fields[field] = given[said[0]]
        if said[0] != field:
            notes.repairs.append(f"{where} says {field} as {said[0]!r}")
    return fields


def _text(value: object) -> str:
    """Return a name; a number is one as well."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _texts(value: object, field: str, sketch: Sketch, notes: Notes) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        notes.repairs.append(f"{sketch.where} says its {field} as a text")
        value = [name for name in map(str.strip, str(value).split(",")) if name]
    if isinstance(value, Mapping):
        notes.repairs.append(f"{sketch.where} says its {field} as a mapping: its keys were taken")
        value = list(value)
    if not isinstance(value, list) or not all(_text(_named(one)) for one in value):
        notes.problems.append(f"{sketch.where}: {field} is {value!r:.60}, not a list of names")
        return ()
    return tuple(dict.fromkeys(_text(_named(one)) for one in value))


def _named(value: object) -> object:
    """Return the name of what is written as ``{"id": "load"}``."""
    return value.get("id", value.get("name")) if isinstance(value, Mapping) else value


def _parameters(value: object, sketch: Sketch, bounds: Bounds, notes: Notes) -> dict[str, object]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            notes.problems.append(f"{sketch.where}: parameters are the text {value!r:.60}, not a mapping")
            return {}
        notes.repairs.append(f"{sketch.where} says its parameters as a text with JSON in it")
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        notes.problems.append(f"{sketch.where}: parameters are {value!r:.60}, not values by name")
        return {}
    if _is_deeper(value, _MAX_DEPTH):
        notes.problems.append(f"{sketch.where}: its parameters are nested more than {_MAX_DEPTH} deep")
        return {}
    size = len(msgspec.json.encode(value))
    if size > bounds.max_parameter_bytes:
        notes.problems.append(
            f"{sketch.where}: its parameters have {size:,} bytes, the limit is {bounds.max_parameter_bytes:,}"
        )
        return {}
    return dict(value)


def _is_deeper(value: object, limit: int) -> bool:
    if not isinstance(value, (Mapping, list)):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return limit == 0 or any(_is_deeper(one, limit - 1) for one in inner)


def _policy(value: object, sketch: Sketch, bounds: Bounds, notes: Notes) -> RetryPolicy | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        notes.repairs.append(f"{sketch.where} says its retry policy as a number of attempts")
        value = {"max_attempts": value}
    given = value if isinstance(value, Mapping) else {}
    fields = {name: one for name, one in given.items() if name in _POLICY and one is not None}
    attempts = fields.get("max_attempts")
    if isinstance(attempts, int) and attempts > bounds.max_attempts:
        notes.repairs.append(f"{sketch.where} wants {attempts} attempts and gets {bounds.max_attempts}")
        fields["max_attempts"] = bounds.max_attempts
    try:
        policy = RetryPolicy.from_dict(fields) if fields else None
    except DefinitionError:
        policy = None
    if policy is None or policy.contradiction:
        if value != {}:
            notes.repairs.append(f"{sketch.where} gets the usual retry policy: {str(value)[:_SHOWN]!r} is none")
        return None
    if len(fields) < len(given):
        notes.repairs.append(f"{sketch.where}: what is no part of a retry policy was left out of its own")
    return policy
