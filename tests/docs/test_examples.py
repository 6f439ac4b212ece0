"""Each example is a program that ends well, in a folder of its own, on a store in memory."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_pages import SECONDS, name, run

EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.py") if not path.name.startswith("_"))


@pytest.mark.timeout(SECONDS + 10)
@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    result = run([example], tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    assert result.stdout, "an example shows something"


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_example_says_what_it_shows(example: Path) -> None:
    assert ast.get_docstring(ast.parse(example.read_text(encoding="utf-8")))
