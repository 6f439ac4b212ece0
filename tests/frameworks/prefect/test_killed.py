"""A process that is killed in the middle of a flow: what was done in it is not done again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, SRC, plain_environment


def live(folder: Path, server: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.frameworks.prefect.killed_program", str(folder)],
        cwd=ROOT,
        env=plain_environment(PYTHONPATH=str(SRC), PREFECT_API_URL=server),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.timeout(220)
def test_a_killed_flow_goes_on_where_it_was(tmp_path: Path, prefect_server: str) -> None:
    """Neither the task of ours before it, nor the task of Prefect's that had stored its result, happens twice."""
    first = live(tmp_path, prefect_server)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert (tmp_path / "done.txt").read_text().splitlines() == ["choose", "buy lamp"]
    second = live(tmp_path, prefect_server)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1] == "lamp bought and packed"
    assert (tmp_path / "done.txt").read_text().splitlines() == ["choose", "buy lamp", "pack lamp bought"]
