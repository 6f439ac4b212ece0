"""What each task is given: references that lead somewhere, words for an agent that takes any request, checked against its handler. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.decomposition import Strategy
from agenticflow.agents.decomposition.notes import Notes
from agenticflow.agents.decomposition.plans.doers import ANY_TASK, word_parameter
from agenticflow.agents.decomposition.plans.matching import Assigned
from agenticflow.agents.decomposition.plans.ordering import Waits, waits_for
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.references import Reference, compile_template, literal

__all__ = ["GIVEN", "References", "parameters_for", "reads"]

_WHOLE: Final = frozenset({"context", "input"})
"""Names of the input of a workflow as a whole."""
GIVEN: Final = _WHOLE | {"query"}
"""What references may name beside tasks: the request, and what came with it."""


class References:
    """What references of a plan may name: its ``tasks``, those that are ``done``, and the request with what came with it."""

    __slots__ = ("_given", "_is_all", "_notes", "_tasks", "_waits")

    def __init__(
        self,
        tasks: Collection[str],
        done: Collection[str],
        context_keys: Collection[str] | None,
        waits: Waits,
        notes: Notes,
    ) -> None:
        """``context_keys`` may not be known."""
        self._tasks = tasks
        self._given = {*done, *GIVEN, *(context_keys or ())}
        self._is_all = context_keys is not None
        self._waits = waits
        self._notes = notes

    def mended(self, value: object, task_id: str) -> Any:
        """Return ``value`` with references that lead somewhere. A task that is referred to is waited for; what is no reference to anything
        here, words of the request say, stays words."""
        if isinstance(value, Mapping):
            return {key: self.mended(one, task_id) for key, one in value.items()}
        if isinstance(value, list):
            return [self.mended(one, task_id) for one in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            references = compile_template(value).references
        except DefinitionError:
            return self._words(value, task_id)
        if not all(self._is_known(one.root) and one.root != task_id for one in references):
            return self._words(value, task_id)
        for reference in references:
            self._check(reference, task_id)
        return value

    def _is_known(self, root: str) -> bool:
        return root in self._tasks or root in self._given

    def _words(self, value: str, task_id: str) -> object:
        self._notes.repairs.append(f"task {task_id!r}: {value!r:.60} refers to nothing here, and stays words")
        return literal(value)

    def _check(self, reference: Reference, task_id: str) -> None:
        root, path = reference.root, reference.path
        if root in self._tasks and not waits_for(self._waits, task_id, root):
            self._waits[task_id].append(root)
            self._notes.repairs.append(f"task {task_id!r} uses the result of {root!r}, and waits for it now")
        if root in _WHOLE and path and self._is_all and path[0] not in self._given - _WHOLE:
            there = ", ".join(map(repr, sorted(self._given - _WHOLE)))
            self._notes.problems.append(f"task {task_id!r} uses {reference}; what came with the request is {there}")


def parameters_for(
    one: Assigned,
    strategy: Strategy,
    waits: Sequence[str],
    given: Collection[str],
    notes: Notes,
    *,
    is_alone: bool,
) -> dict[str, object]:
    """Return what the handler is given; what it would refuse, or lack, is a problem.

    ``given`` are the names in the input of the workflow, which fill what nothing else does; in a pipeline one thing more is filled, from
    the stage before. A task that ``is_alone`` is the whole request.
    """
    parameters = dict(one.task.parameters)
    handler = one.doer.handlers[one.handler_type]
    words = word_parameter(handler) if one.handler_type == ANY_TASK else None
    if words is not None:
        named = handler.parameter_names - {"query", "prompt"}
        kept = {name: value for name, value in parameters.items() if name in named}
        rest = {name: value for name, value in parameters.items() if name not in named}
        if not is_alone or rest:
            kept[words] = in_words(one.task.type, rest, waits)
        elif words != "query":
            kept[words] = "${query}"
        parameters = kept
    missing = sorted(handler.unfilled({*parameters, *waits, *given, "query"}))
    if strategy is Strategy.PIPELINE and len(missing) == 1 and len(waits) == 1:
        parameters[missing[0]] = f"${{{waits[0]}}}"
        missing = []
    where = f"task {one.task.id!r}: {one.doer.agent_id}.{one.handler_type}"
    notes.problems += [f"{where} needs the parameter {name!r}" for name in missing]
    fixed = {name: value for name, value in parameters.items() if not reads(value)}
    unknown = handler.misfits(fixed, parameters.keys() - fixed.keys())
    notes.problems += [f"task {one.task.id!r}: {problem}" for problem in unknown]
    return parameters


def in_words(task_type: str, parameters: Mapping[str, object], waits: Sequence[str]) -> str:
    """Return a task as a request in words, with the results that it waits for, and what it is part of."""
    more = dict(parameters)
    asked = next((more.pop(name) for name in ("query", "prompt") if isinstance(more.get(name), str)), None)
    lines = [str(asked)] if asked is not None else [str(literal(task_type))] if task_type != ANY_TASK else []
    lines += [f"{literal(name)}: {_worded(value)}" for name, value in more.items()]
    said = reads(dict(parameters))
    lines += [f"{name}: ${{{name}}}" for name in waits if name not in said]
    if asked is None:
        lines.append("this is part of the request: ${query}")
    return "\n".join(lines)


def _worded(value: object) -> str:
    """Return ``value`` nearly as JSON: texts stand as they are, because there may be references in them."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(key)}: {_worded(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_worded, value))}]"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def reads(value: object) -> frozenset[str]:
    """Return the names that references in ``value`` begin with. There are only such as can be read."""
    return frozenset(reference.root for reference in compile_template(value).references)
