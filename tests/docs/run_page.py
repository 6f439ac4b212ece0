"""Run every block of one page, in order, as a reader would: ``python -m tests.docs.run_page PAGE`` in an empty folder.

- ``python``: all blocks of a page share one namespace, ``__name__`` is ``"__main__"``, ``await`` is allowed at the top;
  a block that starts its own event loop (``asyncio.run``) may do so.
- any language with ``title="file"``: the block is also written to that file first.
- ``console``: lines ``$ agenticflow …`` and ``$ python …`` run; exit code 0 is expected, or what ``# exit 3`` at the
  end of the line says. ``$ make …`` must name a target. Other programs must be on a short list and do not run.
- ``<!-- setup: … -->`` runs like a python block without being shown.

Blocks in other languages without a title are text. The first failure ends the page, with the line in the page.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Final

from tests.docs.pages import ROOT, Block, blocks

RUNS: Final = {"agenticflow", "python"}
MAY_STAND: Final = {"cat", "cd", "curl", "docker", "git", "ls", "uv"}
COMMAND_SECONDS: Final = 120


class PageFailed(Exception):
    """A block does not do what the page says."""


class Page:
    """The state that the blocks of one page share: a namespace, an event loop, a folder (the current one)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module = types.ModuleType("__main__")
        self.runner = asyncio.Runner()
        sys.modules["__main__"] = self.module
        sys.path.insert(0, "")

    def run(self) -> int:
        """Run all blocks; return how many there were to run."""
        count = 0
        with self.runner:
            for block in blocks(self.path.read_text(encoding="utf-8")):
                if block.title:
                    target = Path(block.title)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(block.code, encoding="utf-8")
                if block.language in {"python", "setup"}:
                    self.run_python(block)
                elif block.language == "console":
                    self.run_console(block)
                else:
                    continue
                count += 1
        return count

    def run_python(self, block: Block) -> None:
        filename = f"<{self.path.name} line {block.line}>"
        # tracebacks and inspect.getsource() find the text here
        lines = block.code.splitlines(keepends=True)
        linecache.cache[filename] = (len(block.code), None, lines, filename)
        try:
            code = compile(block.code, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(self.awaited(code))
            else:
                exec(code, vars(self.module))
        except SystemExit as end:
            if end.code not in (None, 0):
                raise PageFailed(f"line {block.line}: the program ended with {end.code!r}") from end

    async def awaited(self, code: types.CodeType) -> None:
        function: Any = types.FunctionType(code, vars(self.module))
        await function()

    def run_console(self, block: Block) -> None:
        logical = block.code.replace("\\\n", " ")
        for line in logical.splitlines():
            if line.startswith("$ "):
                self.run_command(line.removeprefix("$ "), block)

    def run_command(self, line: str, block: Block) -> None:
        command, _, remark = line.partition(" # ")
        words = shlex.split(command, comments=True)
        environment: dict[str, str] = {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        program = words[0] if words else ""
        if program == "make":
            self.check_targets(words[1:], block)
            return
        if program not in RUNS:
            if program not in MAY_STAND:
                raise PageFailed(f"block in line {block.line}: {program!r} neither runs nor may it stand there: {line}")
            return
        expected = re.search(r"\bexit (\d+)", remark)
        words[0] = str(Path(sys.executable).parent / program)
        result = subprocess.run(
            words,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != (int(expected[1]) if expected else 0):
            shown = f"{result.stdout}\n{result.stderr}"
            raise PageFailed(f"block in line {block.line}: $ {line}\nended with {result.returncode}\n{shown}")

    def check_targets(self, words: list[str], block: Block) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for word in words:
            if "=" not in word and not re.search(rf"^{re.escape(word)}:", makefile, flags=re.MULTILINE):
                raise PageFailed(f"block in line {block.line}: the Makefile has no target {word!r}")


if __name__ == "__main__":
    try:
        print(f"{Page(Path(sys.argv[1])).run()} blocks ran")
    except PageFailed as failure:
        sys.exit(f"{sys.argv[1]}: {failure}")
