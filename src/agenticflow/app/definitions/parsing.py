"""From a document to a definition: every mistake in it at once, each with its line and what was probably meant.

A part that is wrong is put aside and the rest is still looked at, so that one round of mending is enough; what only follows from a part put
aside is not told. Problems are texts that begin with the place, ``"orders.yaml line 7: …"``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from agenticflow.app.definitions.documents import Document, Way
from agenticflow.app.definitions.spellings import (
    APPROVAL_KEYS,
    CHOICE_KEYS,
    ESCALATION_KEYS,
    LIMIT_KEYS,
    LISTS,
    TASK_KEYS,
    UNDO_KEYS,
    WORKFLOW_KEYS,
    key_hint,
    kind_of_value,
    meant_key,
    value_hint,
)
from agenticflow.errors import AgenticFlowError, DefinitionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan, unknown_roots
from agenticflow.orchestration.reachability import unreachable
from agenticflow.orchestration.validation import contradictions, validate
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["DefinitionReader", "deep_problems"]

_FIELD_IN_PROBLEM: Final = re.compile(r" - at `\$(?:\.([A-Za-z_]+))?.*`$")
_TASK_IN_PROBLEM: Final = re.compile(r"\btask '([^']+)'")
_NAME_IN_PROBLEM: Final = re.compile(
    r"two tasks are called '([^']+)'|each other: (\S+) ->|^'([^']+)' (?:cannot be|is) a task id"
)
_INSIDE: Final = re.compile(r"in the sub-workflow of task '([^']+)': ")
_TOKEN: Final = re.compile(r"\$\{[^{}]*\}|'([^']+)'")
_OF_ITS_PLACE: Final = re.compile(r" depends on '[^']+', which does not exist")
"""What is told of a task that is wrong in itself: its dependencies stand as they are written."""
_MISSING_IN_PROBLEM: Final = re.compile(r" '([^']+)', which does not exist")
_STAND_IN: Final = "stand-in"
_WHAT_IT_IS: Final = frozenset(
    ("agent_id", "capabilities", "workflow", "choices", "delay_seconds", "signal", "approval", "continue_with")
)
"""One of these keys says what a task is."""
D = TypeVar("D")


def deep_problems(definition: WorkflowDefinition) -> list[str]:
    """Return, in words, what is wrong with a sound definition beyond its order: tasks that never run, input that sub-workflows lack."""
    problems = unreachable(definition)
    for task in definition.tasks:
        inner = task.workflow
        if not isinstance(inner, WorkflowDefinition):
            continue
        given = {**(inner.context or {}), **(task.params or {})}
        found = [*unknown_roots(compile_plan(inner), given), *deep_problems(inner)]
        problems.extend(f"in the sub-workflow of task {task.task_id!r}: {problem}" for problem in found)
    return problems


class DefinitionReader:
    """Reads one workflow out of a document. ``problems`` grow on the way; ``located`` puts places before later ones."""

    def __init__(self, document: Document) -> None:
        self.problems: list[str] = []
        self._document = document
        self.partial: WorkflowDefinition | None = None
        """What was read, with stand-ins for the tasks that are wrong."""
        self._ways: dict[tuple[str, ...], Way] = {}
        """Where each task stands, by its id and those of the sub-workflows around it."""
        self._again: dict[tuple[str, ...], Way] = {}
        """Where a task stands whose id was there before."""
        self._put_aside: set[tuple[str, ...]] = set()
        self._nameless: set[tuple[str, ...]] = set()
        """What tasks are called that can be called nothing, or not so: whoever names them is right to."""

    def read(self, data: Mapping[str, Any], way: Way, *, also: tuple[str, ...] = ()) -> WorkflowDefinition | None:
        """Return the workflow that stands at ``way``; ``None`` when there are ``problems``. ``also`` are keys allowed beside its own."""
        self.partial = definition = self._workflow(data, way, (), also)
        if definition is None:
            return None
        found = self._found_in(definition)
        if not found and not self.problems:
            found = [*deep_problems(definition), *contradictions(definition)]
        self.problems.extend(self.located(found))
        return definition if not self.problems else None

    def read_task(self, data: object, way: Way) -> TaskDefinition | None:
        """Return the task that stands at ``way``; ``None`` when there are ``problems``."""
        before = len(self.problems)
        task = self._task(data, way, ())
        return task if len(self.problems) == before else None

    def located(self, problems: list[str]) -> Iterator[str]:
        """Yield ``problems`` with their places; what is said of a part put aside is left out, but for its dependencies."""
        for problem in problems:
            path, rest = self._path(problem)
            found = _TASK_IN_PROBLEM.search(rest) or _NAME_IN_PROBLEM.search(rest)
            key = (*path, next(filter(None, found.groups()))) if found is not None else path
            missing = _MISSING_IN_PROBLEM.search(rest)
            if missing is not None and self._nameless.intersection(((*path, missing[1]), (*path, ""))):
                continue
            if key in self._put_aside and not (found is not None and _OF_ITS_PLACE.match(rest, found.end())):
                continue
            way = self._ways.get(key)
            if found is None or way is None:
                around = self._ways.get(path)
                yield f"{self._document.place(*around) if around else self._document.path.name}: {problem}"
            elif rest.startswith("two tasks"):
                yield f"{self._document.place(*self._again.get(key, way))}: {problem}"
            else:
                yield f"{self._document.place(*self._nearest(way, rest[found.end() :]))}: {problem}"

    def _found_in(self, definition: WorkflowDefinition) -> list[str]:
        try:
            definition.encoded()
        except AgenticFlowError as error:  # params with no form on the wire
            return [str(error)]
        if self._put_aside or self.problems:
            return validate(definition)
        try:
            compile_plan(definition)
        except DefinitionError as error:
            return list(error.problems)
        return []

    # --- the way to a line ----------------------------------------------------------------------------------------------

    def _path(self, problem: str) -> tuple[tuple[str, ...], str]:
        path: list[str] = []
        while (inside := _INSIDE.match(problem)) is not None:
            path.append(inside[1])
            problem = problem[inside.end() :]
        return tuple(path), problem

    def _nearest(self, way: Way, words: str) -> Way:
        """Return the way to what ``words`` quote, inside the task at ``way``; the task itself when it does not stand there."""
        data: Any = self._document.data
        for step in way:
            data = data[step]
        for found in _TOKEN.finditer(words):
            token = found[1] if found[1] is not None else found[0]
            for inner, text in _texts(data, way):
                if text == token or (found[1] is None and token in text):
                    return inner
        return way

    # --- parts ----------------------------------------------------------------------------------------------------------

    def _workflow(
        self, data: Mapping[str, Any], way: Way, path: tuple[str, ...], also: tuple[str, ...] = ()
    ) -> WorkflowDefinition | None:
        before = len(self.problems)
        self._unknown_keys(data, way, WORKFLOW_KEYS, "a workflow", also)
        listed = data.get("tasks")
        tasks: list[TaskDefinition] = []
        if not isinstance(listed, list):
            self._tell((*way, "tasks"), f"`tasks` must be a list of tasks, not {kind_of_value(listed)}")
            return None
        for index, one in enumerate(listed):
            task = self._task(one, (*way, "tasks", index), path)
            tasks.append(task or self._unreadable(one, index, path))
        rest = {key: value for key, value in data.items() if key in WORKFLOW_KEYS}
        definition, _ = self._converted({**rest, "tasks": []}, data, way, WorkflowDefinition)
        if not tasks and len(self.problems) > before:
            return None
        return msgspec.structs.replace(definition or WorkflowDefinition([]), tasks=tasks)

    def _converted(
        self, given: dict[str, Any], data: Mapping[str, Any], way: Way, kind: type[D], told: Collection[str] = ()
    ) -> tuple[D | None, bool]:
        """Return ``given`` as a ``kind``, and whether all of it: every value that is wrong is told, and the rest looked at without it.

        What is wrong inside the keys ``told`` has been. What is wrong with a key that is misspelt is told when it is written as it was
        meant.
        """
        aside = set(told)
        for one in told:
            given.pop(one, None)
        while True:
            key: str | None
            if aside and kind is TaskDefinition and not _WHAT_IT_IS.intersection(given):
                given["agent_id"] = _STAND_IN
            try:
                return msgspec.convert(given, kind), not aside
            except msgspec.ValidationError as error:
                found = _FIELD_IN_PROBLEM.search(str(error))
                key = None if found is None else found[1]
                if key in data or key is None:
                    self._tell_conversion(way, data, error)
            except DefinitionError as error:
                named = [one for one in (*given, *aside) if re.search(rf"\b{re.escape(one)}\b", error.message)]
                if aside.intersection(named):
                    return None, False  # it only follows from what was told
                key = next((one for one in named if one != "task_id"), None)
                if key is None or key in data:
                    self._tell(way if key is None else (*way, key), str(error))
            if key is None or key not in given or key == "task_id":
                return None, False
            aside.add(key)
            del given[key]

    def _task(self, data: object, way: Way, path: tuple[str, ...]) -> TaskDefinition | None:
        if not isinstance(data, dict):
            self._tell(way, f"a task is a mapping with task_id and agent_id, not {kind_of_value(data)}")
            return None
        before = len(self.problems)
        given = _as_meant(data)
        task_id = given.get("task_id")
        if "task_id" not in given:
            self._tell(way, "the task has no task_id")
        elif isinstance(task_id, str) and self._ways.setdefault((*path, task_id), way) != way:
            self._again[(*path, task_id)] = way
        self._unknown_keys(data, way, TASK_KEYS, "a task")
        unknown = len(self.problems) - before
        told: set[str] = set()
        for key in LISTS:
            if key in given and not isinstance(given[key], list):
                self._tell((*way, key), f"{key} is a list; write {_as_list(key, given[key])}")
                told.add(key)
        sound = dict(given)
        inner = self._parts(sound, way, path, told)
        if "task_id" in given:
            task, is_whole = self._converted(sound, data, way, TaskDefinition, told)
            if task is not None and is_whole and len(self.problems) == before + unknown:
                return task if inner is None else msgspec.structs.replace(task, workflow=inner)
        return self._stand_in(given, path, inner)

    def _parts(
        self, given: dict[str, Any], way: Way, path: tuple[str, ...], told: set[str]
    ) -> WorkflowDefinition | None:
        """Look at what has an inside of its own; what is taken out of ``given`` is replaced by what can be converted.

        Keys inside which something is wrong are added to ``told``.
        """

        def look(key: str, *places: tuple[Any, Way, tuple[str, ...], str]) -> None:
            for one, place, keys, what in places:
                if isinstance(one, dict) and self._unknown_keys(one, place, keys, what):
                    told.add(key)

        def each(listed: object, place: Way, keys: tuple[str, ...], what: str) -> list[tuple[Any, Way, Any, str]]:
            return [(one, (*place, i), keys, what) for i, one in enumerate(listed)] if isinstance(listed, list) else []

        policy = given.pop("retry_policy", None)
        if policy is not None and not self._policy(policy, given, (*way, "retry_policy")):
            told.add("retry_policy")
        for key, keys, what in (("choices", CHOICE_KEYS, "a choice"), ("limits", LIMIT_KEYS, "a limit")):
            look(key, *each(given.get(key), (*way, key), keys, what))
        undo = given.get("compensation")
        if isinstance(undo, dict):
            look("compensation", (undo, (*way, "compensation"), UNDO_KEYS, "a compensation"))
            given["compensation"] = undo = dict(undo)
            policy = undo.pop("retry_policy", None)
            if policy is not None and not self._policy(policy, undo, (*way, "compensation", "retry_policy")):
                told.add("compensation")
        asks = given.get("approval")
        if isinstance(asks, dict):
            steps = each(asks.get("escalation"), (*way, "approval", "escalation"), ESCALATION_KEYS, "an escalation")
            look("approval", (asks, (*way, "approval"), APPROVAL_KEYS, "an approval"), *steps)
        inner = given.get("workflow")
        if not isinstance(inner, dict):
            return None
        given["workflow"] = _STAND_IN
        return self._workflow(inner, (*way, "workflow"), (*path, str(given.get("task_id"))))

    def _policy(self, policy: object, given: dict[str, Any], way: Way) -> bool:
        """Put the policy into ``given``; return whether it is one."""
        if not isinstance(policy, dict):
            self._tell(way, f"retry_policy is {kind_of_value(policy)}, no mapping; write {{max_attempts: 3}}")
            return False
        try:
            given["retry_policy"] = msgspec.to_builtins(RetryPolicy.from_dict(policy))
        except DefinitionError as error:
            self._tell(way, str(error))
            return False
        return True

    def _stand_in(
        self, data: Mapping[str, Any], path: tuple[str, ...], inner: WorkflowDefinition | None
    ) -> TaskDefinition | None:
        """Return something in place of a task that is wrong, so that what refers to it, and what is inside it, is still looked at."""
        listed = data.get("dependencies")
        dependencies = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
        try:
            task = TaskDefinition(
                str(data.get("task_id")),
                "" if inner else _STAND_IN,
                params=data["params"] if isinstance(data.get("params"), dict) else None,
                dependencies=dependencies,
                workflow=inner,
            )
        except DefinitionError:
            return None
        if "task_id" not in data:
            return None
        self._put_aside.add((*path, task.task_id))
        return task

    def _unreadable(self, data: object, index: int, path: tuple[str, ...]) -> TaskDefinition:
        """Return something in place of a task that has no name it could be called by."""
        named = data.get("task_id") if isinstance(data, dict) else None
        self._nameless.add((*path, named if isinstance(named, str) else ""))
        params = data.get("params") if isinstance(data, dict) else None
        task_id = f"{_STAND_IN}-{index}"
        self._put_aside.add((*path, task_id))
        return TaskDefinition(task_id, _STAND_IN, params=params if isinstance(params, dict) else None)

    # --- words ----------------------------------------------------------------------------------------------------------

    def _tell(self, way: Way, words: str) -> None:
        self.problems.append(f"{self._document.place(*way)}: {words}")

    def _unknown_keys(
        self, data: Mapping[str, Any], way: Way, known: tuple[str, ...], what: str, also: tuple[str, ...] = ()
    ) -> bool:
        """Tell the keys that there are not; return whether there are any."""
        before = len(self.problems)
        for key in data:
            if key not in known and key not in also:
                self._tell((*way, key), f"{what} has no {key!r}; {key_hint(key, known, also=also)}")
        return len(self.problems) > before

    def _tell_conversion(self, way: Way, data: Mapping[str, Any], error: msgspec.ValidationError) -> None:
        """Tell msgspec's words with the line in place of its path."""
        found = _FIELD_IN_PROBLEM.search(str(error))
        field = found[1] if found is not None else None
        what = _FIELD_IN_PROBLEM.sub("", str(error)).replace("`", "")
        if field is None:
            self._tell(way, what)
            return
        hint = "; put it in quotes" if "Expected str" in what and ("got int" in what or "got float" in what) else ""
        hint = value_hint(field, data.get(field)) or hint
        self._tell((*way, field), f"{field}: {what[:1].lower()}{what[1:]}{hint}")


def _as_meant(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task with the keys that were probably meant, so that the rest of it is looked at as well."""
    given = {key: value for key, value in data.items() if key in TASK_KEYS}
    for key, value in data.items():
        meant = None if key in TASK_KEYS else meant_key(key, TASK_KEYS)
        if meant is not None and meant not in given:
            given[meant] = value
    return given


def _texts(data: object, way: Way) -> Iterator[tuple[Way, str]]:
    """Yield every text inside ``data`` with the way to it, keys as well; the tasks of a sub-workflow are their own."""
    if isinstance(data, str):
        yield way, data
    elif isinstance(data, dict):
        for key, value in data.items():
            if key == "task_id":
                continue
            yield (*way, key), key
            if key != "workflow" or isinstance(value, str):
                yield from _texts(value, (*way, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _texts(value, (*way, index))


def _as_list(key: str, value: object) -> str:
    """Return how it would be written as a list."""
    if key == "choices":
        ways = value if isinstance(value, dict) else {"task": "${score} > 0.8"}
        return "[" + ", ".join(f"{{then: {then}, when: {when!r}}}" for then, when in list(ways.items())[:3]) + "]"
    if key == "limits":
        return "[{key: api, max_concurrent: 10}]" if not isinstance(value, dict) else "a `-` before it"
    return f"[{value}]" if isinstance(value, str) else f"[{key[:-1] if key != 'dependencies' else 'task_id'}]"
