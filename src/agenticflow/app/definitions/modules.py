"""Python modules as places where definitions, agents and workers are found.

Importing runs the module: that is what it is for. What goes wrong there is told with the line in the user's own code.
"""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.app.definitions.performers import Performing
from agenticflow.app.definitions.spellings import close
from agenticflow.errors import AgenticFlowError, DefinitionError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction

__all__ = ["import_file", "import_named", "lines_of", "performers_in", "workflows_in"]


def performers_in(module: ModuleType) -> tuple[Performing, ...]:
    """Return the agents and workers at the top level of ``module``, each once."""
    found: list[Performing] = []
    for value in vars(module).values():
        if isinstance(value, (Agent, Worker)) and not any(value is one for one in found):
            found.append(value)
    return tuple(found)


def workflows_in(module: ModuleType) -> dict[str, WorkflowDefinition | WorkflowFunction]:
    """Return the definitions and workflow functions at the top level of ``module`` by the names of their variables, each once."""
    found: dict[str, WorkflowDefinition | WorkflowFunction] = {}
    for variable, value in vars(module).items():
        if isinstance(value, (WorkflowDefinition, WorkflowFunction)) and value not in found.values():
            found[variable] = value
    return found


def lines_of(module: ModuleType, names: Iterable[str]) -> dict[str, int]:
    """Return the line where each of ``names`` first stands as a text in a call: where a task of that id is made, most likely."""
    wanted, found = set(names), dict[str, int]()
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py" or not path.is_file():
        return found
    calls = (node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call))
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value in wanted:
                found.setdefault(argument.value, argument.lineno)
    return found


def import_file(path: Path) -> ModuleType:
    """Import the file under the name by which a spawned process finds it again. Raises ``DefinitionError``."""
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
    module = import_named(".".join(parts), folder)
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path:
        raise DefinitionError(
            f"the name of {path.name} belongs to another module, {origin or 'a built-in one'}", hint="rename the file"
        )
    return module


def import_named(name: str, folder: Path, *, where: str = "") -> ModuleType:
    """Import the module ``name``, looking in ``folder`` first. Raises ``DefinitionError``, its place ``where`` in front."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    prefix = f"{where}: " if where else ""
    if not all(part.isidentifier() for part in name.split(".")):
        raise DefinitionError(
            f"{prefix}{name!r} is no name of a module", hint="write it as after `import`: `package.module`"
        )
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
                f"{prefix}there is no module {name!r}{close(name, there)}",
                hint=f"looked beside the file, in {str(folder)!r}, and among what is installed",
            ) from error
        raise _import_failed(name, prefix, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, prefix, error) from error


def _import_failed(name: str, prefix: str, error: BaseException) -> DefinitionError:
    """Say where in the user's own code the import stopped."""
    ours = str(Path(__file__).parents[2])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<frozen")) and "importlib" not in frame.filename
    ]
    at = f" at {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    hint = error.hint if isinstance(error, AgenticFlowError) else ""
    words = error.message if isinstance(error, AgenticFlowError) else f"{type(error).__name__}: {error}"
    return DefinitionError(f"{prefix}importing {name!r} failed{at}: {words}", hint=hint)
