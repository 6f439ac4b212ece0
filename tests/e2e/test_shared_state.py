"""A process that modifies shared state is killed with SIGKILL, again and again: nothing answered is lost, nothing asked happens twice."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenticflow import StateManager, open_store
from agenticflow.testing.crashes import kill_campaign
from tests.contracts.house import ROOT, plain_environment


@pytest.mark.slow
async def test_no_modification_is_lost_or_repeated_by_kills(tmp_path: Path) -> None:
    file, ledger = tmp_path / "state.db", tmp_path / "ledger"

    def command(is_last: bool) -> Sequence[str | Path]:
        program: list[str | Path] = [sys.executable, "-m", "tests.e2e.sharing_program", file, ledger]
        return [*program, "--last"] if is_last else program

    report = kill_campaign(command, kills=8, seed=11, cwd=ROOT, environment=plain_environment())
    asked = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("asked "))
    counts, version = json.loads(report.answer)
    assert report.kills == 8
    assert counts == dict(asked)
    assert version == sum(asked.values()) > 0
    store = await open_store(f"sqlite:///{file}")
    steps = [change.version async for change in StateManager(store).history("team", "counts")]
    assert steps == list(range(1, version + 1))
    await store.close()
