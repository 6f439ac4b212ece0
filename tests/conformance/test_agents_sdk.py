"""The OpenAI Agents SDK's ``Runner`` takes our sessions as it takes its own: the same is shown to a model, kept, taken back and limited."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.contracts.house import ROOT, SRC, plain_environment

PROGRAM = ROOT / "benchmarks" / "peers" / "openai_agents_contract_.py"


def test_the_runner_of_the_agents_sdk_takes_our_sessions(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path],
        cwd=tmp_path,
        env=plain_environment(PYTHONPATH=str(SRC)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "everything holds"
