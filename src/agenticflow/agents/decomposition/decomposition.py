"""What a request comes to: a strategy, and tasks with what they need and wait for. Data, as a model is asked for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["ANSWER_SCHEMA", "Bounds", "Decomposition", "PlannedTask", "Strategy", "plain_form"]

MOST_TASKS: Final = 500
MOST_ATTEMPTS: Final = 100


class Strategy(enum.StrEnum):
    """How the tasks belong together; it orders tasks that do not say what they wait for."""

    SEQUENTIAL = "sequential"
    """One after the other, as listed."""
    PARALLEL = "parallel"
    """All at once."""
    HIERARCHICAL = "hierarchical"
    """The first prepares, those between work side by side, the last brings together."""
    PIPELINE = "pipeline"
    """One after the other, each working on what the one before has made."""


class PlannedTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task of a decomposition."""

    type: str
    """What is done: the type that the agent's handler is registered for."""
    capabilities: tuple[str, ...] = ()
    """What whoever does it has to be able to do."""
    parameters: Mapping[str, object] = msgspec.field(default_factory=dict)
    """May refer to results of tasks before it, and to the request: ``${load.rows}``, ``${query}``."""
    dependencies: tuple[str, ...] = ()
    """Ids of the tasks whose results it needs."""
    retry_policy: RetryPolicy | None = None
    id: str = ""
    """What others call it by; left out, its type."""
    agent: str = ""
    """Who does it; left out, the best that has the capabilities."""


class Decomposition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request, taken apart. Ids are there and differ."""

    strategy: Strategy
    tasks: tuple[PlannedTask, ...]
    reason: str = ""
    """Why so, in the words of whoever made it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the tasks, in order."""
        return tuple(task.id for task in self.tasks)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How large a plan may be. Raises ``InvalidInput`` for what makes no sense."""

    max_tasks: int = 50
    max_parallel: int = 16
    """How many of its tasks are in work at once."""
    max_attempts: int = 5
    """Of one task; a retry policy that wants more is cut."""
    max_parameter_bytes: int = 65_536
    """Of the parameters of one task, as JSON."""
    max_answer_chars: int = 200_000
    """Of a model's words."""
    task_timeout_seconds: float = 300.0
    """Of one attempt of a task."""

    def __post_init__(self) -> None:
        for name, most in (
            ("max_tasks", MOST_TASKS),
            ("max_parallel", MOST_TASKS),
            ("max_attempts", MOST_ATTEMPTS),
            ("max_parameter_bytes", 1_048_576),
            ("max_answer_chars", 10_000_000),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InvalidInput(f"{name} of a plan is {value!r:.60}", hint=f"give a whole number from 1 to {most:,}")
        limit = self.task_timeout_seconds
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit <= 86_400:
            raise InvalidInput(f"task_timeout_seconds of a plan is {limit!r:.60}", hint="give up to 86,400 seconds")


def plain_form(made: Decomposition | PlannedTask) -> dict[str, object]:
    """Return it as plain data, in the form that is read again. Raises ``DefinitionError`` for parameters that are no JSON."""
    try:
        plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(made))
    except (TypeError, ValueError, RecursionError) as error:
        raise DefinitionError(f"the parameters of a task are no JSON: {error}", hint="give plain data") from error
    return plain


_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
ANSWER_SCHEMA: Final[Mapping[str, object]] = {
    "title": "decomposition",
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": "why the request is taken apart like this, in one sentence"},
        "strategy": {"type": "string", "enum": [one.value for one in Strategy]},
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "a short name, used once: letters, digits and _"},
                    "type": {"type": "string", "description": "one of the task types of the agent that is to do it"},
                    "capabilities": {**_TEXTS, "description": "what that agent has to be able to do"},
                    "parameters": {"type": "object", "description": 'what it is given; "${id}" is a result'},
                    "dependencies": {**_TEXTS, "description": "ids of the tasks whose results it needs"},
                    "retry_policy": {
                        "type": "object",
                        "properties": {
                            "max_attempts": {"type": "integer"},
                            "initial_delay_seconds": {"type": "number"},
                        },
                    },
                },
                "required": ["id", "type", "capabilities", "parameters", "dependencies"],
            },
        },
    },
    "required": ["strategy", "tasks"],
}
"""The form that a model is asked for."""
