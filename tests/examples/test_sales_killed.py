"""The sales example in real processes: killed in the middle it goes on, and what was recorded is not done again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from agenticflow.app.wiring import open_store
from agenticflow.core.events import EventPredicate
from agenticflow.errors import AgenticFlowError
from tests.docs.pages import ROOT
from tests.e2e.command_line import LIMIT_SECONDS, until

SEGMENTS: Final = 5


class Program:
    """Starts ``python -m …`` in a folder of its own, on the store that is there by default."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if key != "AGENTICFLOW_STORE"}
        self.environment |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == code, f"{output}\n{errors}"
        return output if code == 0 else errors

    def keys(self, workflow_id: str, event_type: str) -> list[str]:
        """Return the tasks that have such an event, in order, as another process sees them; none while there is no run."""
        return asyncio.run(self._keys(f"workflow-{workflow_id}/1", event_type))

    async def _keys(self, stream_id: str, event_type: str) -> list[str]:
        try:
            store = await open_store(f"sqlite:///{self.folder}/.agenticflow/state.db", read_only=True)
        except AgenticFlowError:  # not there yet
            return []
        try:
            wanted = EventPredicate(stream_id=stream_id, event_types={event_type})
            return [str(event.payload["task_key"]) async for event in store.query_events(wanted)]
        finally:
            await store.close()


REPORT: Final = ("examples.sales_report", "--workflow-id", "sales-1", "--input", "pause_seconds=2")


@pytest.mark.proof
@pytest.mark.slow
def test_a_report_that_is_killed_goes_on_after_what_is_recorded(tmp_path: Path) -> None:
    program = Program(tmp_path)
    process = program.start(*REPORT, "--input", "output=killed")

    def measured() -> list[str]:
        return [key for key in program.keys("sales-1", "task_completed") if key.startswith("statistics[")]

    until(lambda: measured() or process.poll() is not None, "a segment is measured")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    recorded = program.keys("sales-1", "task_completed")
    assert {"look", "load"} <= set(recorded)
    assert "report" not in recorded, "it was killed in the middle"

    output = program.run(*REPORT, "--input", "output=killed")
    completed = Counter(program.keys("sales-1", "task_completed"))
    assert set(completed.values()) == {1}
    assert len([key for key in completed if key.startswith("statistics[")]) == SEGMENTS
    scheduled = Counter(program.keys("sales-1", "task_scheduled"))
    assert [key for key in recorded if scheduled[key] != 1] == [], "what was recorded was not asked for again"

    program.run("examples.sales_report", "--workflow-id", "sales-2", "--input", "output=undisturbed")
    for name in ("report.md", "report.html", "rejected.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert program.run(*REPORT, "--input", "output=killed") == output, "handed back"


def test_the_same_words_are_one_run_until_the_file_changes(tmp_path: Path) -> None:
    program = Program(tmp_path)
    table = tmp_path / "sales.csv"
    table.write_text("date,region,amount\n2026-01-01,North,5.00\n")
    words = ("examples.sales_report", "--input", "file=sales.csv")
    first = program.run(*words)
    assert "total      5.00\n" in first
    assert program.run(*words) == first
    (tmp_path / "sales-report" / "report.md").unlink()
    assert program.run(*words) == first
    assert (tmp_path / "sales-report" / "report.md").exists(), "written again"
    table.write_text("date,region,amount\n2026-01-01,North,5.00\n2026-01-02,North,0.10\n")
    second = program.run(*words)
    assert "total      5.10\n" in second
    assert second.splitlines()[-1] != first.splitlines()[-1]


def test_what_cannot_be_reported_on_is_told_and_mended_by_an_input(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / "sales.csv").write_text("date,region,amount\n03/04/2026,North,5.00\n")
    words = ("examples.sales_report", "--input", "file=sales.csv")
    errors = program.run(*words, code=1)
    assert "line 2 has '03/04/2026' (say which with --input date_order=dmy" in errors
    assert "Traceback" not in errors
    assert "total      5.00" in program.run(*words, "--input", "date_order=dmy")
    assert "write key=value" in program.run(*words, "--input", "colour=red", code=1)
    assert "cannot be read" in program.run("examples.sales_report", "--input", "file=nowhere.csv", code=1)


def test_the_command_line_runs_it_too(tmp_path: Path) -> None:
    program = Program(tmp_path)
    output = program.run("agenticflow", "run", "examples.sales_report", "--workflow-id", "s", "--quiet", "-o", "json")
    assert json.loads(output)["result"]["bad_rows"] == 16
    assert (tmp_path / "sales-report" / "report.html").exists()
    errors = program.run("agenticflow", "run", "examples.sales_report", "-i", "fil=sales.csv", "--quiet", code=3)
    assert "there is no input 'fil' (there are file, output," in errors
