"""What the contract tests look at: the rules in ``[tool.house]`` and every source file, parsed once."""

from __future__ import annotations

import ast
import io
import os
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SRC: Final = ROOT / "src"
PACKAGE: Final = SRC / "agenticflow"
BIN: Final = Path(sys.executable).parent

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RULES: Final[dict[str, Any]] = PROJECT["tool"]["house"]


@dataclass(frozen=True)
class Source:
    """One Python file. ``name`` is the dotted module name below ``src``, or the path for files outside it."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def name(self) -> str:
        if not self.path.is_relative_to(SRC):
            return self.path.relative_to(ROOT).as_posix()
        parts = self.path.relative_to(SRC).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def line_count(self) -> int:
        return len(self.text.splitlines())

    @cached_property
    def comments(self) -> tuple[tuple[int, str], ...]:
        """Line number and text of every comment."""
        if "#" not in self.text:
            return ()
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return tuple((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Yield every function as ``module:qualified.name`` and its node, also nested ones."""
        todo: list[tuple[str, ast.AST]] = [("", self.tree)]
        while todo:
            scope, node = todo.pop()
            for child in ast.iter_child_nodes(node):
                inside = scope
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inside = f"{scope}.{child.name}" if scope else child.name
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{self.name}:{inside}", child
                todo.append((inside, child))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


def _python_files(folder: Path) -> tuple[Source, ...]:
    return tuple(Source(path) for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


@cache
def sources() -> tuple[Source, ...]:
    """Return every module of the package."""
    return _python_files(PACKAGE)


@cache
def sources_of_tests() -> tuple[Source, ...]:
    """Return every Python file of the tests."""
    return _python_files(ROOT / "tests")


def rooms() -> list[str]:
    """Return the doors: the package itself, and every room directly below it."""
    found = ["agenticflow"]
    for path in sorted(PACKAGE.iterdir()):
        if (path / "__init__.py").exists():
            found.append(f"agenticflow.{path.name}")
        elif path.suffix == ".py" and not path.name.startswith("_"):
            found.append(f"agenticflow.{path.stem}")
    return found


def module_exists(name: str) -> bool:
    """Tell whether ``agenticflow.<name>`` is a module or a package by now."""
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def plain_environment(**more: str) -> dict[str, str]:
    """Return an environment for a child process that is not measured by coverage and has no settings of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE_", "COV_", "AGENTICFLOW_"))}
    return kept | more
