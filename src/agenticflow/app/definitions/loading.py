"""Files that describe workflows: YAML, JSON and Python, with the agents and workers that belong to them.

A file comes in; ``Loaded`` goes out: checked definitions and their performers. Every mistake found is told at once, each with its line, and
with what was probably meant. Handlers named in a file are imported, which runs that module; nothing else is executed.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.app.definitions.documents import Way
from agenticflow.app.definitions.modules import import_file, import_named, lines_of, performers_in, workflows_in
from agenticflow.app.definitions.parsing import DefinitionReader, deep_problems
from agenticflow.app.definitions.performers import Performing, unperformed
from agenticflow.app.definitions.spellings import close, kind_of_value
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.planning.functions import WorkflowFunction

__all__ = ["Loaded", "Performers", "load_workflow", "load_workflows"]

_HANDLERS: Final = "handlers"
_SEVERAL: Final = "workflows"
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_NO_PERFORMERS: Final = "name the module that has them with `handlers:`, or define them in the same Python file"
_LINE_IN_PROBLEM: Final = re.compile(r"^[^:]* line (\d+): ")
_TASK_IN_PROBLEM: Final = re.compile(r"\btask '([^']+)'")


class Performers(enum.Enum):
    """Whether the agents and workers of a file have to be able to perform it."""

    DEMANDED = enum.auto()
    """It runs here: all of them have to be there."""
    IF_NAMED = enum.auto()
    """When the file names any."""
    IGNORED = enum.auto()
    """It runs elsewhere."""


class Registry(Protocol):
    """The part of an orchestrator that a loaded file is made known to."""

    def register_agent(self, agent: Agent) -> Agent: ...
    def register_worker(self, worker: Worker[..., Any]) -> None: ...
    def register_workflow(self, workflow: WorkflowDefinition | WorkflowFunction) -> None: ...


class Loaded(msgspec.Struct, frozen=True):
    """One workflow, and who performs its tasks as far as the file says."""

    definition: WorkflowDefinition
    performers: tuple[Performing, ...]
    others: tuple[WorkflowDefinition | WorkflowFunction, ...] = ()
    """The other workflows of the file: sub-workflows may name them."""
    place: str = ""
    """The file, for people."""
    function: WorkflowFunction | None = None
    """Of a workflow as code: then ``definition`` is what its runs are pinned to."""

    @property
    def workflows(self) -> tuple[WorkflowDefinition | WorkflowFunction, ...]:
        """Return those that sub-workflows may name: the others, and this one itself when none of them has its name.

        Functions are all there, in every version; this one is the last, which is the one its name means.
        """
        if self.function is not None:
            return (*self.others, self.function)
        is_alone = all(other.name != self.definition.name for other in self.others)
        return (*self.others, self.definition) if is_alone else self.others

    def register_with(self, orchestrator: Registry) -> None:
        """Make the performers, and the workflows of the file by their names, known to ``orchestrator``: one may name itself."""
        for performer in self.performers:
            if isinstance(performer, Agent):
                orchestrator.register_agent(performer)
            else:
                orchestrator.register_worker(performer)
        for definition in self.workflows:
            orchestrator.register_workflow(definition)


def load_workflow(
    target: str | PathLike[str], performers: Performers = Performers.IF_NAMED, *, given: object = None
) -> Loaded:
    """Load ``file.yaml``, ``file.json``, ``file.py`` or a module's dotted name; ``:name`` behind it chooses one workflow of several.

    ``given`` is the workflow input, as far as it is known: then the handlers' parameters are compared with it as well.
    Raises ``DefinitionError`` with every mistake found.
    """
    place, name = _split(_text_of(target))
    if Path(place).suffix in _SUFFIXES:
        return _DocumentFile(_demanded_file(place), performers, given).one(name)
    return _ModuleFile(_module(place), place, performers, given).one(name)


def load_workflows(target: str | PathLike[str], performers: Performers = Performers.IF_NAMED) -> list[Loaded]:
    """Load every workflow of a file; ``FILE:name`` only that one. Raises ``DefinitionError`` with every mistake found in any."""
    place, name = _split(_text_of(target))
    if name is not None:
        return [load_workflow(target, performers)]
    if Path(place).suffix in _SUFFIXES:
        return _DocumentFile(_demanded_file(place), performers, None).all()
    return _ModuleFile(_module(place), place, performers, None).all()


def _text_of(target: object) -> str:
    if not isinstance(target, (str, PathLike)):
        raise DefinitionError(f"{target!r:.80} is no workflow file", hint='write load_workflow("orders.yaml")')
    return str(fspath(target))


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix == ".py":
        return import_file(_demanded_file(place))
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", place) and not path.exists():
        return import_named(place, Path.cwd())
    raise DefinitionError(
        f"{place!r} is no workflow file", hint="give a .yaml, .json or .py file, or the dotted name of a module"
    )


def _split(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or Path(target).is_file():
        return target, None
    if not name or not place:
        raise DefinitionError(f"{target!r} names no workflow", hint="write FILE, or FILE:name")
    return place, name


def _demanded_file(place: str) -> Path:
    path = Path(place)
    if path.is_file():
        return path
    if path.is_dir():
        raise DefinitionError(f"{str(path)!r} is a folder", hint="name the file in it")
    folder = path.parent
    there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = get_close_matches(path.name, there, n=1)
    raise DefinitionError(
        f"there is no file {str(path)!r}",
        hint=f"did you mean {str(folder / near[0])!r}?" if near else "check the spelling of the path",
    )


def _mistakes(place: str, problems: Sequence[str], *, hint: str = "") -> DefinitionError:
    count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
    return DefinitionError(f"{place} has {count}: {'; '.join(problems)}", problems=problems, hint=hint)


def _line_of(problem: str) -> int:
    found = _LINE_IN_PROBLEM.search(problem)
    return int(found[1]) if found is not None else 0


def _is_checked(demand: Performers, performers: Sequence[Performing]) -> bool:
    return demand is Performers.DEMANDED or (demand is Performers.IF_NAMED and bool(performers))


# --- YAML and JSON ------------------------------------------------------------------------------------------------------


class _DocumentFile:
    """One YAML or JSON file, with one workflow at its top level or several under ``workflows``."""

    def __init__(self, path: Path, demand: Performers, given: object) -> None:
        from agenticflow.app.definitions.reading import read_document  # late: Python files need no parser of YAML

        self._document = read_document(path)
        self._name = path.name
        self._demand = demand
        self._given = given
        self._data = self._demanded_mapping()

    def one(self, name: str | None) -> Loaded:
        """Return the workflow called ``name``, or the only one. The others have to be sound as well: it may name them."""
        if _SEVERAL in self._data:
            index = self._choose(name)
            return self._loaded()[index]
        [loaded] = self._loaded()
        if name not in (None, loaded.definition.name):
            raise DefinitionError(
                f"{self._name} has no workflow {name!r}", hint=f"it has {loaded.definition.name!r}; leave the name out"
            )
        return loaded

    def all(self) -> list[Loaded]:
        """Return every workflow of the file."""
        return self._loaded()

    def _demanded_mapping(self) -> dict[str, Any]:
        data = self._document.data
        if not isinstance(data, dict):
            raise DefinitionError(
                f"{self._name} holds {kind_of_value(data)}, not a workflow",
                hint="write `name:` and `tasks:` at its top level",
            )
        return data

    def _loaded(self) -> list[Loaded]:
        readers: list[DefinitionReader] = []
        definitions: list[WorkflowDefinition | None] = []
        for way, data in self._places():
            reader = DefinitionReader(self._document)
            definitions.append(reader.read(data, way, also=() if way else (_HANDLERS,)))
            readers.append(reader)
        problems = [problem for reader in readers for problem in reader.problems]
        performers: tuple[Performing, ...] = ()
        try:
            performers = self._performers()
        except DefinitionError as error:
            problems.extend(error.problems if error.hint == "" else [f"{error.problems[0]} ({error.hint})"])
        is_checked = _is_checked(self._demand, performers)
        hint = ""
        parts = [reader.partial for reader in readers]
        names = {part.name for part in parts if part is not None}
        for reader, part in zip(readers, parts, strict=True):
            if is_checked and part is not None:
                found = unperformed(part, performers, workflows=None if None in parts else names, given=self._given)
                problems.extend(reader.located(found))
                hint = _NO_PERFORMERS if found and not performers else hint
        if problems:
            problems = sorted(dict.fromkeys(problems), key=_line_of)
            raise _mistakes(self._name, problems, hint=hint)
        sound = [definition for definition in definitions if definition is not None]
        return [
            Loaded(one, performers, tuple(other for other in sound if other is not one), self._name) for one in sound
        ]

    def _places(self) -> list[tuple[Way, Mapping[str, Any]]]:
        if _SEVERAL not in self._data:
            return [((), self._data)]
        return [((_SEVERAL, index), one) for index, one in enumerate(self._several())]

    def _several(self) -> list[dict[str, Any]]:
        document, several = self._document, self._data[_SEVERAL]
        if extra := sorted(set(self._data) - {_SEVERAL, _HANDLERS}):
            raise DefinitionError(
                f"{document.place(extra[0])}: {extra[0]!r} has no place beside {_SEVERAL!r}",
                hint=f"a file with {_SEVERAL!r} has nothing else but {_HANDLERS!r}",
            )
        if not isinstance(several, list) or not several or not all(isinstance(one, dict) for one in several):
            raise DefinitionError(f"{document.place(_SEVERAL)}: {_SEVERAL!r} is no list of workflows")
        names = [str(one.get("name", "workflow")) for one in several]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise DefinitionError(
                    f"{document.place(_SEVERAL, index, 'name')}: two workflows are called {name!r}",
                    hint="give each its own name",
                )
        return several

    def _choose(self, name: str | None) -> int:
        names = [str(one.get("name", "workflow")) for one in self._several()]
        if name is None and len(names) == 1:
            return 0
        if name is None or name not in names:
            what = "several workflows" if name is None else f"no workflow {name!r}"
            raise DefinitionError(
                f"{self._name} has {what}",
                hint=f"choose with {self._name}:NAME one of {', '.join(names)}{close(name or '', names)}",
            )
        return names.index(name)

    def _performers(self) -> tuple[Performing, ...]:
        named, document = self._data.get(_HANDLERS), self._document
        if named is None or self._demand is Performers.IGNORED:
            return ()
        modules = [named] if isinstance(named, str) else named
        if not isinstance(modules, list) or not all(isinstance(name, str) and name for name in modules):
            raise DefinitionError(
                f"{document.place(_HANDLERS)}: handlers is {kind_of_value(named)}, not a module",
                hint="write `handlers: my_handlers` for my_handlers.py beside this file",
            )
        found: list[Performing] = []
        for index, name in enumerate(modules):
            where = document.place(_HANDLERS, *([index] if isinstance(named, list) else []))
            if name.endswith(".py"):
                raise DefinitionError(f"{where}: {name!r} is a file", hint=f"write the module's name: {name[:-3]}")
            module = import_named(name, document.path.resolve().parent, where=where)
            performers = performers_in(module)
            if not performers:
                raise DefinitionError(
                    f"{where}: there is neither an Agent nor a @worker at the top level of the module {name!r}"
                )
            found.extend(one for one in performers if one not in found)
        return tuple(found)


# --- Python -------------------------------------------------------------------------------------------------------------


class _ModuleFile:
    """One module, with definitions at its top level."""

    def __init__(self, module: ModuleType, place: str, demand: Performers, given: object) -> None:
        self._module = module
        self._place = place
        self._demand = demand
        self._given = given
        self._found = workflows_in(module)

    def one(self, name: str | None) -> Loaded:
        """Return the workflow that is called ``name``, or whose variable is, or the only one."""
        names = ", ".join(self._found) or "none"
        if name is not None:
            exact = self._found.get(name)  # of several versions of a function the variable says which
            chosen = [exact] if exact is not None else [one for one in self._found.values() if one.name == name]
            # A definition may stand under two variables; the second is found here.
            other = getattr(self._module, name, None)
            if not chosen and isinstance(other, (WorkflowDefinition, WorkflowFunction)):
                chosen = [other]
            if not chosen:
                raise DefinitionError(
                    f"{self._place} has no workflow {name!r}", hint=f"it has {names}{close(name, self._found)}"
                )
            return self._checked(chosen[0])
        if len(self._found) != 1:
            raise DefinitionError(
                f"{self._place} has {'several workflows' if self._found else 'no workflow at its top level'}",
                hint=f"choose with {self._place}:NAME one of {names}"
                if self._found
                else "assign one to a variable there",
            )
        return self._checked(next(iter(self._found.values())))

    def all(self) -> list[Loaded]:
        """Return every workflow of the module."""
        if not self._found:
            raise DefinitionError(
                f"{self._place} has no workflow at its top level", hint="assign one to a variable there"
            )
        problems: list[str] = []
        loaded: list[Loaded] = []
        for workflow in self._found.values():
            try:
                loaded.append(self._checked(workflow))
            except DefinitionError as error:
                problems.extend(error.problems)
        if problems:
            raise _mistakes(self._place, problems)
        return loaded

    def _checked(self, workflow: WorkflowDefinition | WorkflowFunction) -> Loaded:
        function = workflow if isinstance(workflow, WorkflowFunction) else None
        definition = workflow if isinstance(workflow, WorkflowDefinition) else workflow.definition
        performers = performers_in(self._module)
        others = tuple(one for one in self._found.values() if one is not workflow)
        hint = ""
        try:
            compile_plan(definition)
            problems = deep_problems(definition)
        except DefinitionError as error:
            problems = list(error.problems)
        if not problems and _is_checked(self._demand, performers):
            names = {definition.name, *(one.name for one in others)}
            problems = unperformed(definition, performers, workflows=names, given=self._given)
            hint = "" if performers else _NO_PERFORMERS
        if problems:
            raise _mistakes(self._place, self._located(problems), hint=hint)
        return Loaded(definition, performers, others, Path(self._place).name, function)

    def _located(self, problems: Sequence[str]) -> list[str]:
        subjects = [_subject(problem) for problem in problems]
        lines = lines_of(self._module, filter(None, subjects))
        name = Path(self._place).name
        return [
            f"{name} line {lines[subject]}: {problem}" if subject in lines else f"{name}: {problem}"
            for subject, problem in zip(subjects, problems, strict=True)
        ]


def _subject(problem: str) -> str:
    """Return the id of the task a problem is about: the innermost, when it is inside a sub-workflow."""
    names = _TASK_IN_PROBLEM.findall(problem)
    inside = problem.count("in the sub-workflow of task ")
    return names[min(inside, len(names) - 1)] if names else ""
