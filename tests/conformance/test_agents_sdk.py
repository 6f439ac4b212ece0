"""The OpenAI Agents SDK's ``Runner`` takes our sessions, in the environment that the benchmark builds for it: ``make bench``, or
``python benchmarks/run.py --peers openai-agents --only session_read_memory --quick``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, SRC, plain_environment

PYTHON = ROOT / ".venvs" / "bench-openai-agents" / "bin" / "python"
PROGRAM = ROOT / "benchmarks" / "peers" / "openai_agents_contract_.py"


@pytest.mark.skipif(not PYTHON.exists(), reason="the environment of the Agents SDK has not been built")
def test_the_runner_of_the_agents_sdk_takes_our_sessions(tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, PROGRAM, tmp_path],
        cwd=tmp_path,
        env=plain_environment(PYTHONPATH=str(SRC)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "everything holds"
