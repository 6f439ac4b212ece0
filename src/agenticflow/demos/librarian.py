"""An agent that knows the standard library of this Python: it looks modules up with tools, and answers. Its model is scripted: no key.

``agenticflow demo agent`` asks it something, ``agenticflow chat agenticflow.demos.librarian`` talks with it.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from pathlib import Path
from typing import Final

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.testing.scripted_model import Answer, ScriptedModel, call_tool
from agenticflow.tools.tool import tool

__all__ = ["QUESTION", "librarian"]

QUESTION: Final = "Which is the largest of json, asyncio and email?"
MAX_FILES: Final = 500
MAX_ASKED: Final = 5
_WORDS: Final = re.compile(r"[a-z_][a-z0-9_]*")


@tool(effect="pure", timeout="30s")
def measure_module(name: str) -> dict[str, object]:
    """Count the files, lines and functions of a module of the standard library, and say what it is for."""
    home = Path(sysconfig.get_paths()["stdlib"])
    place = home / name
    files = sorted(place.rglob("*.py"))[:MAX_FILES] if place.is_dir() else [home / f"{name}.py"]
    if name not in sys.stdlib_module_names or not all(file.is_file() for file in files) or not files:
        return {"module": name, "is_there": False}
    lines = functions = 0
    purpose = ""
    for file in files:
        source = file.read_text(encoding="utf-8", errors="replace")
        tree = ast.parse(source)
        lines += source.count("\n")
        functions += sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
        if not purpose and file.stem in ("__init__", name):
            purpose = (ast.get_docstring(tree) or "").partition("\n")[0]
    return {
        "module": name,
        "is_there": True,
        "files": len(files),
        "lines": lines,
        "functions": functions,
        "is": purpose,
    }


def _spoken(request: ModelRequest) -> Answer:
    """What a model would say, by rules: measure what is named, then answer from what was found."""
    asked = next(message.text for message in reversed(request.messages) if message.role == "user")
    last = request.messages[-1]
    if not last.results:
        words = _WORDS.findall(asked.lower())
        named = list(dict.fromkeys(word for word in words if word in sys.stdlib_module_names))
        if not named:
            return "Name some modules of the standard library, and I measure them: json, asyncio, email …"
        return [call_tool("measure_module", name=name) for name in named[:MAX_ASKED]]
    measured = [msgspec.json.decode(one.content, type=dict[str, object]) for one in last.results if not one.is_error]
    there = sorted((one for one in measured if one.get("is_there")), key=lambda one: -int(str(one["lines"])))
    if not there:
        return "None of these is a module that I can read here."
    lines = [f"{one['module']}: {one['lines']} lines, {one['functions']} functions. {one['is']}" for one in there]
    head = f"{there[0]['module']} is the largest.\n" if len(there) > 1 else ""
    return head + "\n".join(lines)


librarian = Agent(
    "librarian",
    role="knows the standard library",
    instructions="Measure modules before you speak of them.",
    model=ScriptedModel(_spoken, name="librarian", piece_chars=24, piece_seconds=0.01),
    tools=[measure_module],
)
