"""The tables of the page of scenarios, from the tests themselves: ``python -m tests.docs.durable_scenarios`` (``make names``)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final, NamedTuple

from tests.docs.pages import ROOT
from tests.docs.written_parts import names_of_parts, with_part

__all__ = ["FOLDER", "PAGE", "Rule", "rules", "table"]

PAGE: Final = ROOT / "docs" / "reference" / "durable-scenarios.md"
FOLDER: Final = ROOT / "tests" / "scenarios" / "durable"


class Rule(NamedTuple):
    """One scenario: the name of its test, and what it says."""

    test: str
    words: str


def rules(theme: str) -> list[Rule]:
    """Return the scenarios of a theme, in the order of its file."""
    tree = ast.parse((FOLDER / f"test_{theme}.py").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, (ast.AsyncFunctionDef, ast.FunctionDef))]
    return [
        Rule(node.name, " ".join((ast.get_docstring(node) or "").split()))
        for node in found
        if node.name.startswith("test_")
    ]


def table(theme: str) -> str:
    """Return the table of a theme: what holds, and the test that proves it."""
    rows = [f"| {rule.words} | `{rule.test}` |" for rule in rules(theme)]
    return "\n".join(["| rule | test |", "|---|---|", *rows])


def write(path: Path = PAGE) -> None:
    text = path.read_text(encoding="utf-8")
    for theme in names_of_parts(text):
        text = with_part(text, theme, table(theme))
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
