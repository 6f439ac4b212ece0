"""The JSON Schema of the file format, for editors: completion, descriptions and mistakes while typing.

It is made of the definitions themselves: fields and types by msgspec, descriptions from the texts below the fields in the source. What only
the whole file can say (names, order, references) ``agenticflow workflows validate`` checks. Draft 7, which every editor reads.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from agenticflow.core.engine import EffectClass
from agenticflow.core.interrupts import MAX_PEOPLE
from agenticflow.orchestration.approvals.terms import Approval, Escalation
from agenticflow.orchestration.definition import (
    MAX_ID_CHARS,
    MAX_ITERATIONS,
    Choice,
    Compensation,
    TaskDefinition,
    WorkflowDefinition,
)
from agenticflow.resilience.budgets.amounts import MAX_COUNT, MAX_SECONDS, Budget
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["SCHEMA_FILE", "workflow_schema"]

SCHEMA_FILE: Final = "workflow.schema.json"
_STRUCTS: Final = (
    *(WorkflowDefinition, TaskDefinition, Choice, Compensation, Limit, RetryPolicy),
    *(Approval, Escalation, Budget),
)
_REQUIRED: Final = {
    "WorkflowDefinition": ["tasks"],
    "TaskDefinition": ["task_id"],
    "Choice": ["then"],
    "Compensation": ["agent_id"],
    "Limit": ["key"],
    "Approval": ["question"],
    "Escalation": ["after_seconds", "to"],
}
_HEAD: Final = {
    "task_id": "What the task is called: unique in its workflow, letters, digits, '_', '-' and '.'.",
    "agent_id": "The agent or worker that performs it.",
    "task_type": "Which of the agent's handlers; left out for a worker, which has one job.",
    "params": 'What the handler gets, by parameter name. "${task.key}" refers to a result, "${key}" to the workflow input.',
    "dependencies": "Tasks that it waits for.",
    "retry_policy": "How often it is tried, and how long is waited in between.",
    "timeout_seconds": "Limit of one attempt.",
    "tasks": "The tasks, in any order: what waits for what is said by their dependencies.",
    "name": "What the workflow is called.",
    "version": "A text of your own.",
    "effect": "What may happen when an attempt is cut short: pure (run again), idempotent (again with the same effect key), at_most_once.",
    "question": 'What is asked; it may hold references: "Publish ${draft.title}?".',
    "after_seconds": "How long after the question.",
    "to": "Who may answer from then on, beside those who could before.",
    "then": "The task that is taken.",
    "when": "Condition; left out for the way that is taken when no other is.",
    "key": 'What is limited; it may hold references: "mail-${customer}".',
    "max_concurrent": "How many attempts with this key are in work at once.",
    "rate": "How many attempts with this key start in any per_seconds.",
    "per_seconds": "The length of time that rate is about.",
    "max_attempts": "Attempts in all, the first one included.",
    "initial_delay_seconds": "The longest delay before the second attempt.",
    "multiplier": "How much longer each delay may be than the one before.",
    "max_delay_seconds": "No delay is longer.",
    "jitter": "Whether delays are drawn evenly between zero and their longest.",
    "retryable_errors": "Names of exceptions worth another attempt; left out: all.",
    "permanent_errors": "Names of exceptions that are never tried again.",
    "tool_calls": "How many calls of tools.",
}
"""Of fields that have no text below them."""
_SECONDS: Final = {"exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000_000}
_DELAY: Final = {"minimum": 0, "exclusiveMaximum": 1_000_000_000}
_COUNT: Final = {"minimum": 1, "maximum": 1_000_000}
_BOUNDS: Final[Mapping[str, Mapping[str, object]]] = {
    "task_id": {"minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": r"^[^\W\d][\w.-]*$"},
    "name": {"minLength": 1, "maxLength": MAX_ID_CHARS},
    "key": {"minLength": 1, "maxLength": MAX_ID_CHARS},
    "timeout_seconds": _SECONDS,
    "total_timeout_seconds": _SECONDS,
    "stall_seconds": _SECONDS,
    "per_seconds": {"exclusiveMinimum": 0, "maximum": 86_400},
    "delay_seconds": _DELAY,
    "repeat_delay_seconds": _DELAY,
    "initial_delay_seconds": _DELAY,
    "max_delay_seconds": _DELAY,
    "multiplier": {"minimum": 1},
    "max_attempts": {"minimum": 1, "maximum": 1_000},
    "max_parallel": _COUNT,
    "enough": _COUNT,
    "max_concurrent": {"minimum": 1},
    "rate": {"minimum": 1},
    "join": {"minimum": 1},
    "max_iterations": {"minimum": 1, "maximum": MAX_ITERATIONS},
    "question": {"minLength": 1},
    "quorum": {"minimum": 1, "maximum": MAX_PEOPLE},
    "deadline_seconds": _SECONDS,
    "after_seconds": _SECONDS,
    "tokens": {"minimum": 0, "maximum": MAX_COUNT},
    "tool_calls": {"minimum": 0, "maximum": MAX_COUNT},
    "seconds": {"minimum": 0, "maximum": MAX_SECONDS},
}
_EFFECT: Final = {"enum": [effect.value for effect in EffectClass], "default": EffectClass.IDEMPOTENT.value}
"""Written out: a reference beside a description would hide it."""
_PERFORMED: Final = (
    "agent_id",
    "capabilities",
    "workflow",
    "delay_seconds",
    "signal",
    "approval",
    "choices",
    "continue_with",
)
"""A task has to have one of these."""
_HANDLERS: Final = {
    "description": "The module beside the file, or the list of modules, where the agents and workers are: my_agents for my_agents.py.",
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}}],
}


def workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow file: one workflow, or several under ``workflows``."""
    _, parts = msgspec.json.schema_components(
        [WorkflowDefinition], schema_hook=_anything, ref_template="#/definitions/{name}"
    )
    definitions = {struct.__name__: _completed(struct, parts[struct.__name__]) for struct in _STRUCTS}
    whole = definitions["WorkflowDefinition"]
    del whole["properties"]["code"]  # files hold no functions
    one = {**whole, "title": "a workflow", "properties": {**whole["properties"], "handlers": _HANDLERS}}
    several = {
        "title": "several workflows",
        "type": "object",
        "properties": {
            "workflows": {
                "description": "Chosen by name: agenticflow run FILE:NAME. They may be sub-workflows of each other by name.",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/definitions/WorkflowDefinition"},
            },
            "handlers": _HANDLERS,
        },
        "required": ["workflows"],
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "agenticflow workflow",
        "description": "A workflow in a YAML or JSON file: `agenticflow run FILE`, `agenticflow workflows validate FILE`.",
        "if": {"type": "object", "required": ["workflows"]},
        "then": several,
        "else": one,
        "definitions": dict(sorted(definitions.items())),
    }


def _anything(kind: type) -> dict[str, Any]:
    """Values of tasks may be whatever JSON can say."""
    return {"title": "any value"}


def _completed(struct: type[msgspec.Struct], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one struct with descriptions and bounds, refusing unknown keys."""
    texts = dict(_texts_of(struct))
    properties: dict[str, Any] = {}
    for name, schema in part["properties"].items():
        bounded = _bounded(_EFFECT if name == "effect" else schema, _BOUNDS.get(name, {}))
        described = texts.get(name) or _HEAD.get(name, "")
        properties[name] = {"description": described, **bounded} if described else bounded
    completed: dict[str, Any] = {
        "title": struct.__name__,
        "description": (inspect.getdoc(struct) or "").partition("\n\n")[0].replace("``", ""),
        "type": "object",
        "properties": properties,
        "required": _REQUIRED.get(struct.__name__, []),
        "additionalProperties": False,
    }
    if struct is TaskDefinition:
        completed["anyOf"] = [{"required": [name]} for name in _PERFORMED]
    return completed


def _bounded(schema: Mapping[str, Any], bounds: Mapping[str, object]) -> dict[str, Any]:
    """Return ``schema`` with ``bounds`` where its numbers and texts are, and without defaults that say nothing to a reader."""
    found = {key: value for key, value in schema.items() if key != "default" or value not in (None, [], (), "")}
    if not bounds:
        return found
    if "anyOf" in found:
        return {**found, "anyOf": [_bounded(option, bounds) for option in found["anyOf"]]}
    return {**found, **bounds} if found.get("type") in ("number", "integer", "string") else found


def _texts_of(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Yield each field of a struct with the text below it in the source, in one line; nothing where there is no source."""
    for part in reversed(struct.__mro__):
        if not issubclass(part, msgspec.Struct) or part is msgspec.Struct:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(part))
        except OSError:  # installed without sources: the schema works without descriptions
            continue
        [tree] = ast.parse(source).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for statement, following in pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                yield (
                    statement.target.id,
                    " ".join(following.value.value.replace("``None``", "null").replace("``", "").split()),
                )
