"""``agenticflow workflows …``: check and draw definitions. Nothing runs; handlers are imported where they are checked."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agenticflow.app.definitions import Loaded, Performers, load_workflow, load_workflows, needed_input, workflow_schema
from agenticflow.cli.exits import Exit
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.diagrams import kind_of
from agenticflow.orchestration.graph import TaskGraph

__all__ = ["graph", "schema", "validate"]

_LINE: Final = re.compile(r"(?P<file>.+?) line (?P<line>\d+): (?P<words>.*)", re.DOTALL)


# --- validate -----------------------------------------------------------------------------------------------------------


def validate(targets: Sequence[str], *, checks_handlers: bool, form: Format) -> int:
    """Check every target; print what is sound and every mistake. Exit code 2 when there is one."""
    demand = Performers.IF_NAMED if checks_handlers else Performers.IGNORED
    told: list[dict[str, Any]] = []
    for target in targets:
        try:
            told.append({"file": target, "valid": True, "workflows": list(map(_sound, load_workflows(target, demand)))})
        except DefinitionError as error:
            hint = f" ({error.hint})" if error.hint and len(error.problems) == 1 else ""
            problems = [_problem(target, problem + hint) for problem in error.problems]
            told.append({"file": target, "valid": False, "problems": problems})
    mistakes = sum(len(one.get("problems", ())) for one in told)
    if form is Format.JSON:
        print_json(told)
    else:
        for one in told:
            _print(one)
        if mistakes:
            wrong = sum(not one["valid"] for one in told)
            note(f"{mistakes} mistake{'s' if mistakes > 1 else ''} in {wrong} file{'s' if wrong > 1 else ''}")
    return Exit.USAGE if mistakes else Exit.OK


def _sound(loaded: Loaded) -> dict[str, Any]:
    definition = loaded.definition
    return {
        "name": definition.name,
        "version": definition.version,
        "tasks": len(definition.tasks),
        "levels": len(TaskGraph.of(definition).levels()),
        "is_code": loaded.function is not None,
        "handlers_checked": bool(loaded.performers),
        "needs_input": needed_input(definition, loaded.performers),
        "content_hash": definition.content_hash,
    }


def _problem(target: str, problem: str) -> dict[str, Any]:
    found = _LINE.match(problem)
    if found is None:
        return {"file": target, "line": None, "message": problem}
    # A problem names the file alone; what somebody can jump to is the path that was given.
    paths = [path for path in (target, target.rpartition(":")[0]) if Path(path).name == found["file"]]
    return {"file": paths[0] if paths else found["file"], "line": int(found["line"]), "message": found["words"]}


def _print(told: Mapping[str, Any]) -> None:
    for problem in told.get("problems", ()):
        line = f":{problem['line']}" if problem["line"] is not None else ""
        print(printable(f"{problem['file']}{line}: {problem['message']}"))
    for one in told.get("workflows", ()):
        needs = f"; needs the input {', '.join(one['needs_input'])}" if one["needs_input"] else ""
        unchecked = "" if one["handlers_checked"] else "; handlers not checked"
        plural = "s" if one["tasks"] > 1 else ""
        holds = "as code: its steps are told by its runs" if one["is_code"] else f"{one['tasks']} task{plural}"
        print(printable(f"{told['file']}: ok: {one['name']}, {holds}{needs}{unchecked}"))


# --- graph --------------------------------------------------------------------------------------------------------------


def graph(target: str, *, mermaid: bool, levels: bool, durations: str | None, direction: str, form: Format) -> int:
    """Print the graph of one workflow: as a flowchart, as levels, or its critical path."""
    if mermaid + levels + (durations is not None) > 1:
        raise InvalidInput("--mermaid, --levels and --critical-path do not go together", hint="choose one of them")
    loaded = load_workflow(target, Performers.IGNORED)
    definition = loaded.definition
    if loaded.function is not None:
        raise InvalidInput(
            f"{definition.name!r} is a workflow as code: which steps it has, its runs tell",
            hint="`agenticflow runs graph ID` draws those of a run, `agenticflow run` begins one",
        )
    drawn = TaskGraph.of(definition)
    if durations is not None:
        return _critical_path(drawn, _durations(durations, drawn.nodes), form)
    if form is Format.JSON:
        tasks = [_task_json(task) for task in definition.tasks]
        print_json({"name": definition.name, "tasks": tasks, "levels": drawn.levels(), "mermaid": drawn.to_mermaid()})
    elif levels:
        rows = [(number, ", ".join(names)) for number, names in enumerate(drawn.levels(), 1)]
        print_table(("LEVEL", "TASKS"), rows, right={"LEVEL"})
    else:
        sys.stdout.write(drawn.to_mermaid(direction=direction.upper()))
    return Exit.OK


def _task_json(task: TaskDefinition) -> dict[str, Any]:
    return {"task_id": task.task_id, "kind": kind_of(task), "dependencies": list(task.dependencies)}


def _critical_path(drawn: TaskGraph, durations: Mapping[str, float], form: Format) -> int:
    path, length = drawn.critical_path(durations)
    if form is Format.JSON:
        print_json({"path": path, "seconds": length})
        return Exit.OK
    print_table(("TASK", "SECONDS"), [(name, f"{durations.get(name, 0):g}") for name in path], right={"SECONDS"})
    print(f"{length:g} seconds, however many work at it")
    return Exit.OK


def _durations(text: str, known: Iterable[str]) -> dict[str, float]:
    """Return seconds by task from ``load=3,report=5``, from JSON, or from a file with JSON."""
    given: object
    if text.startswith(("@", "{")):
        try:
            given = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the durations cannot be read: {error}", hint=_DURATIONS) from error
    else:
        given = dict(pair.partition("=")[::2] for pair in text.split(",") if pair)
    if not isinstance(given, dict):
        raise InvalidInput("the durations are no mapping of tasks to seconds", hint=_DURATIONS)
    names = set(known)
    found: dict[str, float] = {}
    for name, value in given.items():
        if name.strip() not in names:
            raise InvalidInput(f"there is no task {name!r}", hint=f"there are {', '.join(sorted(names))}")
        try:
            found[name.strip()] = float(value)
        except (TypeError, ValueError):
            raise InvalidInput(f"{value!r} for task {name!r} is no number of seconds", hint=_DURATIONS) from None
        if not 0 <= found[name.strip()] < float("inf"):
            raise InvalidInput(f"{value!r} for task {name!r} is no number of seconds", hint=_DURATIONS)
    return found


_DURATIONS: Final = "write --critical-path load=3,report=5, or @durations.json"


def schema() -> int:
    """Print the JSON Schema of workflow files."""
    print_json(workflow_schema())
    return Exit.OK
