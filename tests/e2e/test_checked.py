"""A process is killed in the middle of work that must not happen twice: after the restart its check function says what became of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command_line import LIMIT_SECONDS, CommandLine

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dies", ["before", "after"])
def test_what_was_in_the_middle_when_its_process_was_killed_happens_exactly_once(cli: CommandLine, dies: str) -> None:
    books = cli.folder / "books"

    def live(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.e2e.booking_program", str(cli.store), str(books), how]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)

    assert live(dies).returncode == -signal.SIGKILL
    words, _ = cli.run("debug", "why", "b-1")
    assert "task 'book'" in words
    second = live("never")
    assert (second.returncode, second.stdout) == (0, "{'book': 0}\n"), second.stderr
    assert len(books.read_text(encoding="utf-8").split()) == 1
    events, _ = cli.run("runs", "events", "b-1", "-o", "json")
    assert events.count('"task_outcome_unknown"') == 1
    assert events.count('"task_rerun_requested"') == (dies == "before")
    assert "check of book" in events
