"""The type checker refuses what ``rejected*.py`` marks with ``# E: code``, and nothing else there."""

from __future__ import annotations

import re
import subprocess
import sys
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


def reported(path: Path, cache: Path) -> set[tuple[int, str]]:
    """Return line and code of every error mypy finds in ``path`` with the settings of the project."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty"),
            *("--cache-dir", cache, path),
        ],
        cwd=ROOT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    found: set[tuple[int, str]] = set()
    for line in result.stdout.splitlines():
        match = re.match(r"([^:]+):(\d+): error: .*\[([\w-]+)\]$", line)
        if match and Path(match[1]).name == path.name:
            found.add((int(match[2]), match[3]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(310)
@pytest.mark.parametrize("path", sorted(HERE.glob("rejected*.py")), ids=lambda path: path.name)
def test_the_checker_refuses_what_is_marked(path: Path, tmp_path: Path) -> None:
    expected = marked(path)
    assert expected
    assert reported(path, tmp_path) == expected
