"""Three payments of one answer that people allow one by one, while the process is killed with SIGKILL between them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from agenticflow import open_store
from tests.contracts.house import ROOT, plain_environment
from tests.e2e.asking_program import LAST
from tests.simulation.letters import problems_of_loops


def live(store: Path, ledger: Path, life: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.e2e.asking_program", str(store), str(ledger), str(life)]
    return subprocess.run(
        command, cwd=ROOT, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_answers_given_one_by_one_across_kills(tmp_path: Path) -> None:
    store, ledger = tmp_path / "state.db", tmp_path / "ledger"
    for life in range(1, LAST):
        assert live(store, ledger, life).returncode == -signal.SIGKILL, life
    last = live(store, ledger, LAST)
    assert last.returncode == 0, last.stderr
    output, told = json.loads(last.stdout)
    assert output == "done"
    assert told[2] == "eve did not allow this call: too much"
    lines = Counter(ledger.read_text().split("\n")[:-1])
    assert lines["asked 0"] == lines["asked 1"] == 1, "an answer that is recorded is not asked for again"
    for amount, words in enumerate(told[:2], 1):
        # killed in the moment after the yes: it was paid and nobody knows, or it is paid now
        assert lines[f"paid {amount}"] <= 1
        assert words == f"paid {amount}" or "Nobody can say whether it has happened" in words
    assert told[1] == "paid 2"
    assert "paid 3" not in lines

    async def look() -> list[str]:
        opened = await open_store(f"sqlite:///{store}")
        try:
            return await problems_of_loops(opened)
        finally:
            await opened.close()

    assert asyncio.run(look()) == []
