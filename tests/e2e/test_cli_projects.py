"""Projects made by ``init`` run at once, are sound, and pass their own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.house import plain_environment

SECONDS = 100


def do(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run Python in ``folder`` as somebody would who has just made the project."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=plain_environment(NO_COLOR="1", PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == code, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize(
    ("template", "words"),
    [("basic", "14 words, most of them: the (3)"), ("enterprise", '"parcel": "P-A-1001-2"'), ("examples", "25")],
)
def test_a_project_runs_at_once(tmp_path: Path, template: str, words: str) -> None:
    folder = tmp_path / "shop"
    do(tmp_path, "-m", "agenticflow", "init", "shop", "--template", template)
    assert words in do(folder, "-m", "agenticflow", "run", "workflow.yaml", "-q")
    files = sorted(path.name for path in folder.glob("*.yaml"))
    told = do(folder, "-m", "agenticflow", "workflows", "validate", *files)
    assert len(told.splitlines()) >= len(files)
    assert "not checked" not in told
    for path in files:
        assert (folder / path).read_text().startswith("# yaml-language-server: $schema=workflow.schema.json\n")
    # Plugins of ours are not theirs.
    do(
        folder,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:xdist",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
    )


def test_the_large_order_of_the_enterprise_waits_for_a_person(tmp_path: Path) -> None:
    def agenticflow(*arguments: str, code: int = 0) -> str:
        return do(tmp_path, "-m", "agenticflow", *arguments, code=code)

    agenticflow("init", "--template", "enterprise", "--name", "shop")
    run = ("run", "workflow.yaml", "--input-json", "@large_order.json", "--workflow-id", "large", "-q")
    agenticflow(*run, "--no-wait", code=6)
    agenticflow("runs", "approve", "large", "approve_order", "--by", "ada")
    assert "P-A-1002-2" in agenticflow(*run)
    assert "approve_order" in agenticflow("runs", "timeline", "large")


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    """What the script of ``completion`` asks for."""
    asked = {"_AGENTICFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "agenticflow work", "COMP_CWORD": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "agenticflow"],
        cwd=tmp_path,
        env=os.environ | asked,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.stdout.split() == ["workflows"]
    assert result.stderr == ""
