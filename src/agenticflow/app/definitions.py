"""Files that describe workflows: YAML, JSON and Python, with the agents and workers that belong to them.

A file comes in; ``Loaded`` goes out: one checked definition and its performers. Every mistake found is told at once, each with its line
where the file has lines, and with what was probably meant. Handlers named in a file are imported, which runs that module; nothing else
is executed.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.app.documents import Document, read_document
from agenticflow.core.engine import EffectClass
from agenticflow.errors import AgenticFlowError, DefinitionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["Loaded", "Performing", "load", "unperformed"]

Performing = Agent | Worker[..., object]
_HANDLERS: Final = "handlers"
_SEVERAL: Final = "workflows"
_WORKFLOW_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(WorkflowDefinition))
_TASK_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(TaskDefinition))
_MEANT: Final = {
    "id": "task_id",
    "name": "task_id",
    "agent": "agent_id",
    "worker": "agent_id",
    "type": "task_type",
    "with": "params",
    "input": "params",
    "depends_on": "dependencies",
    "needs": "dependencies",
    "after": "dependencies",
    "if": "when",
    "condition": "when",
    "retry": "retry_policy",
    "retries": "retry_policy",
    "timeout": "timeout_seconds",
    "delay": "delay_seconds",
    "foreach": "for_each",
    "map": "for_each",
}
"""Names from other systems, and ours for them."""
_CHOICES: Final = {"effect": ", ".join(EffectClass), "join": "all, any"}
_TASK_IN_PROBLEM: Final = re.compile(r"\btask '([^']+)'")
_FIELD_IN_PROBLEM: Final = re.compile(r" - at `\$(?:\.([A-Za-z_]+))?.*`$")


class Loaded(msgspec.Struct, frozen=True):
    """One workflow, and who performs its tasks as far as the file says."""

    definition: WorkflowDefinition
    performers: tuple[Performing, ...]


def load(target: str) -> Loaded:
    """Load ``file.yaml``, ``file.json``, ``file.py`` or a module's dotted name; ``:name`` behind it chooses one workflow of several.

    Raises ``DefinitionError`` with every mistake found.
    """
    place, name = _split(target)
    path = Path(place)
    if path.suffix in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise _no_file(path)
        return _from_document(read_document(path), name)
    if path.suffix == ".py":
        if not path.is_file():
            raise _no_file(path)
        return _from_module(_import_file(path), name, place)
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", place) and not path.exists():
        return _from_module(_import_named(place, Path.cwd()), name, place)
    raise DefinitionError(
        f"{place!r} is no workflow file", hint="give a .yaml, .json or .py file, or the dotted name of a module"
    )


def unperformed(definition: WorkflowDefinition, performers: Iterable[Performing]) -> list[str]:
    """Return, in words, every task that none of ``performers`` has a handler for."""
    by_id = {performer.performer_id: performer for performer in performers}
    problems: list[str] = []
    for task in definition.tasks:
        if not task.agent_id:
            continue
        performer = by_id.get(task.agent_id)
        if performer is None:
            problems.append(
                f"task {task.task_id!r} is for {task.agent_id!r}, and no agent or worker of that name is there"
                f"{_close(task.agent_id, by_id)}"
            )
        elif performer.handler_for(task.task_type or "") is None:
            problems.append(
                f"task {task.task_id!r} is of type {task.task_type!r}, and {task.agent_id!r} has no handler for that"
            )
    return problems


def _split(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or Path(target).is_file():
        return target, None
    if not name or not place:
        raise DefinitionError(f"{target!r} names no workflow", hint="write FILE, or FILE:name")
    return place, name


def _no_file(path: Path) -> DefinitionError:
    folder = path.parent
    there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = get_close_matches(path.name, there, n=1)
    return DefinitionError(
        f"there is no file {str(path)!r}",
        hint=f"did you mean {str(folder / close[0])!r}?" if close else "check the spelling of the path",
    )


# --- YAML and JSON ------------------------------------------------------------------------------------------------------


def _from_document(document: Document, name: str | None) -> Loaded:
    data = document.data
    if not isinstance(data, dict):
        raise DefinitionError(
            f"{document.path.name} holds {_kind(data)}, not a workflow",
            hint="write `name:` and `tasks:` at its top level",
        )
    if _SEVERAL in data:
        index = _choose(document, data, name)
        way: tuple[str | int, ...] = (_SEVERAL, index)
        chosen = data[_SEVERAL][index]
        definition = _definition(document, chosen, way)
    else:
        chosen = {key: value for key, value in data.items() if key != _HANDLERS}
        definition = _definition(document, chosen, ())
        if name not in (None, definition.name):
            raise DefinitionError(
                f"{document.path.name} has no workflow {name!r}", hint=f"it has {definition.name!r}; leave the name out"
            )
    return Loaded(definition, _performers_for(document, data.get(_HANDLERS)))


def _choose(document: Document, data: Mapping[str, Any], name: str | None) -> int:
    several = data[_SEVERAL]
    if extra := sorted(set(data) - {_SEVERAL, _HANDLERS}):
        raise DefinitionError(
            f"{document.place(extra[0])}: {extra[0]!r} has no place beside {_SEVERAL!r}",
            hint=f"a file with {_SEVERAL!r} has nothing else but {_HANDLERS!r}",
        )
    if not isinstance(several, list) or not several or not all(isinstance(one, dict) for one in several):
        raise DefinitionError(f"{document.place(_SEVERAL)}: {_SEVERAL!r} is no list of workflows")
    names = [str(one.get("name", "workflow")) for one in several]
    if name is None and len(several) == 1:
        return 0
    if name is None or names.count(name) != 1:
        what = "several workflows" if name is None else f"no workflow {name!r}"
        raise DefinitionError(
            f"{document.path.name} has {what}",
            hint=f"choose with {document.path.name}:NAME one of {', '.join(names)}{_close(name or '', names)}",
        )
    return names.index(name)


def _definition(document: Document, data: Mapping[str, Any], way: tuple[str | int, ...]) -> WorkflowDefinition:
    problems = _unknown_keys(document, data, way, _WORKFLOW_KEYS, "a workflow")
    listed = data.get("tasks")
    tasks: list[TaskDefinition] = []
    lines: dict[str, tuple[str | int, ...]] = {}
    if not isinstance(listed, list):
        problems.append(f"{document.place(*way, 'tasks')}: `tasks` must be a list of tasks, not {_kind(listed)}")
    else:
        for index, one in enumerate(listed):
            here = (*way, "tasks", index)
            if isinstance(one, dict) and isinstance(one.get("task_id"), str):
                lines.setdefault(one["task_id"], here)
            task = _task(document, one, here, problems)
            if task is not None:
                tasks.append(task)
    definition: WorkflowDefinition | None = None
    rest = {key: value for key, value in data.items() if key in _WORKFLOW_KEYS and key != "tasks"}
    try:
        definition = msgspec.convert({**rest, "tasks": []}, WorkflowDefinition)
        definition = msgspec.structs.replace(definition, tasks=tasks)
        if not problems:
            compile_plan(definition)
            return definition
    except msgspec.ValidationError as error:
        problems.append(_told(document, way, error))
    except DefinitionError as error:
        if definition is None or not definition.tasks:
            problems.append(f"{document.place(*way)}: {error}")
        else:
            problems.extend(_with_line(document, problem, lines) for problem in error.problems)
    except AgenticFlowError as error:  # params with no form on the wire
        problems.append(_with_line(document, str(error), lines))
    raise _mistakes(document, problems)


def _task(document: Document, data: object, way: tuple[str | int, ...], problems: list[str]) -> TaskDefinition | None:
    before = len(problems)
    if not isinstance(data, dict):
        problems.append(f"{document.place(*way)}: a task is a mapping with task_id and agent_id, not {_kind(data)}")
        return None
    problems.extend(_unknown_keys(document, data, way, _TASK_KEYS, "a task"))
    if "task_id" not in data:
        problems.append(f"{document.place(*way)}: the task has no task_id")
    if isinstance(data.get("dependencies"), str):
        problems.append(
            f"{document.place(*way, 'dependencies')}: dependencies is a list; write [{data['dependencies']}]"
        )
    if len(problems) > before:
        return None
    given = dict(data)
    try:
        policy = given.pop("retry_policy", None)
        if policy is not None:
            if not isinstance(policy, dict):
                problems.append(f"{document.place(*way, 'retry_policy')}: retry_policy is {_kind(policy)}, no mapping")
                return None
            try:
                given["retry_policy"] = msgspec.to_builtins(RetryPolicy.from_dict(policy))
            except DefinitionError as error:
                problems.append(f"{document.place(*way, 'retry_policy')}: {error}")
                return None
        return msgspec.convert(given, TaskDefinition)
    except msgspec.ValidationError as error:
        problems.append(_told(document, way, error))
    except DefinitionError as error:
        named = [key for key in data if re.search(rf"\b{re.escape(key)}\b", error.message) and key != "task_id"]
        problems.append(f"{document.place(*way, *named[:1])}: {error}")
    return None


def _unknown_keys(
    document: Document, data: Mapping[str, Any], way: tuple[str | int, ...], known: Collection[str], what: str
) -> list[str]:
    problems: list[str] = []
    for key in data:
        if key in known:
            continue
        meant = _MEANT.get(key) if known is _TASK_KEYS else None
        close = [meant] if meant else get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        problems.append(f"{document.place(*way, key)}: {what} has no {key!r}; {hint}")
    return problems


def _told(document: Document, way: tuple[str | int, ...], error: msgspec.ValidationError) -> str:
    """Return msgspec's words with the line in place of its path."""
    found = _FIELD_IN_PROBLEM.search(str(error))
    field = found[1] if found is not None else None
    what = _FIELD_IN_PROBLEM.sub("", str(error)).replace("`", "")
    if field is None:
        return f"{document.place(*way)}: {what}"
    hint = "; put it in quotes" if "Expected str" in what and ("got int" in what or "got float" in what) else ""
    if field in _CHOICES:
        hint = f"; use {_CHOICES[field]}"
    return f"{document.place(*way, field)}: {field}: {what[:1].lower()}{what[1:]}{hint}"


def _with_line(document: Document, problem: str, lines: Mapping[str, tuple[str | int, ...]]) -> str:
    found = _TASK_IN_PROBLEM.search(problem)
    way = lines.get(found[1]) if found is not None else None
    return f"{document.place(*way) if way is not None else document.path.name}: {problem}"


def _mistakes(document: Document, problems: Sequence[str]) -> DefinitionError:
    count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
    return DefinitionError(f"{document.path.name} has {count}: {'; '.join(problems)}", problems=problems)


def _performers_for(document: Document, named: object) -> tuple[Performing, ...]:
    if named is None:
        return ()
    modules = [named] if isinstance(named, str) else named
    if not isinstance(modules, list) or not all(isinstance(name, str) and name for name in modules):
        raise DefinitionError(
            f"{document.place(_HANDLERS)}: handlers is {_kind(named)}, not a module",
            hint="write `handlers: my_handlers` for my_handlers.py beside this file",
        )
    found: list[Performing] = []
    for name in modules:
        where = document.place(_HANDLERS)
        if name.endswith(".py"):
            raise DefinitionError(f"{where}: {name!r} is a file", hint=f"write the module's name: {name[:-3]}")
        module = _import_named(name, document.path.resolve().parent, where=where)
        performers = _performers_in(module)
        if not performers:
            raise DefinitionError(
                f"{where}: there is neither an Agent nor a @worker at the top level of the module {name!r}"
            )
        found.extend(one for one in performers if one not in found)
    return tuple(found)


# --- Python -------------------------------------------------------------------------------------------------------------


def _from_module(module: ModuleType, name: str | None, place: str) -> Loaded:
    found: dict[str, WorkflowDefinition] = {}
    for variable, value in vars(module).items():
        if isinstance(value, WorkflowDefinition):
            if name is not None and name in (variable, value.name):
                return Loaded(value, _performers_in(module))
            if value not in found.values():
                found[variable] = value
    names = ", ".join(found) or "none"
    if name is not None:
        raise DefinitionError(f"{place} has no workflow {name!r}", hint=f"it has {names}{_close(name, found)}")
    if len(found) != 1:
        raise DefinitionError(
            f"{place} has {'several workflows' if found else 'no WorkflowDefinition at its top level'}",
            hint=f"choose with {place}:NAME one of {names}" if found else "assign one to a variable there",
        )
    return Loaded(next(iter(found.values())), _performers_in(module))


def _performers_in(module: ModuleType) -> tuple[Performing, ...]:
    found: list[Performing] = []
    for value in vars(module).values():
        if isinstance(value, (Agent, Worker)) and not any(value is one for one in found):
            found.append(value)
    return tuple(found)


def _import_file(path: Path) -> ModuleType:
    """Import the file under the name by which a spawned process finds it again."""
    path = path.resolve()
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").is_file() and folder.name:
        parts.insert(0, folder.name)
        folder = folder.parent
    if not all(part.isidentifier() for part in parts):
        raise DefinitionError(
            f"{path.name} cannot be imported: {'.'.join(parts)!r} is no module name",
            hint="use letters, digits and '_' in the name",
        )
    module = _import_named(".".join(parts), folder)
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path:
        raise DefinitionError(
            f"the name of {path.name} belongs to another module, {origin or 'a built-in one'}", hint="rename the file"
        )
    return module


def _import_named(name: str, folder: Path, *, where: str = "") -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    prefix = f"{where}: " if where else ""
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        raise DefinitionError(
            f"{prefix}{Path(error.filename or name).name} line {error.lineno}: {error.msg}"
        ) from error
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            there = [path.stem for path in folder.glob("*.py")]
            raise DefinitionError(
                f"{prefix}there is no module {name!r}{_close(name, there)}",
                hint=f"looked beside the file, in {str(folder)!r}, and among what is installed",
            ) from error
        raise _import_failed(name, prefix, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, prefix, error) from error


def _import_failed(name: str, prefix: str, error: BaseException) -> DefinitionError:
    """Say where in the user's own code the import stopped."""
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<frozen")) and "importlib" not in frame.filename
    ]
    at = f" at {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    hint = error.hint if isinstance(error, AgenticFlowError) else ""
    words = error.message if isinstance(error, AgenticFlowError) else f"{type(error).__name__}: {error}"
    return DefinitionError(f"{prefix}importing {name!r} failed{at}: {words}", hint=hint)


def _kind(value: object) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _close(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
