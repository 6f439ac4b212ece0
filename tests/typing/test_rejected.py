"""The type checker refuses what ``rejected*.py`` marks with ``# E: code``, and nothing else there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, plain_environment

HERE = Path(__file__).parent


def marked(path: Path) -> set[tuple[int, str]]:
    """Return line and code of every ``# E: code`` (several are separated by commas)."""
    found: set[tuple[int, str]] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if match := re.search(r"# E: ([\w, -]+)$", line):
            found |= {(number, code.strip()) for code in match[1].split(",")}
    return found


def reported(paths: Sequence[Path], cache: Path) -> dict[str, set[tuple[int, str]]]:
    """Return, by file, line and code of every error mypy finds with the settings of the project, in one run."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty"),
            *("--cache-dir", str(cache), *map(str, paths)),
        ],
        cwd=ROOT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    found: dict[str, set[tuple[int, str]]] = {path.name: set() for path in paths}
    for line in result.stdout.splitlines():
        match = re.match(r"([^:]+):(\d+): error: .*\[([\w-]+)\]$", line)
        if match and Path(match[1]).name in found:
            found[Path(match[1]).name].add((int(match[2]), match[3]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(310)
def test_the_checker_refuses_what_is_marked_and_nothing_else(tmp_path: Path) -> None:
    paths = sorted(HERE.glob("rejected*.py"))
    expected = {path.name: marked(path) for path in paths}
    assert all(expected.values())
    assert reported(paths, tmp_path) == expected
