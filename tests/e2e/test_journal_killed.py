"""A process whose handlers write journals is killed with SIGKILL, again and again: they go on where they were."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenticflow.testing.crashes import kill_campaign
from tests.contracts.house import ROOT, plain_environment
from tests.e2e.journal_program import STEPS, TASKS


@pytest.mark.slow
def test_no_step_that_was_recorded_happens_again(tmp_path: Path) -> None:
    file, ledger = tmp_path / "state.db", tmp_path / "ledger"

    def command(is_last: bool) -> Sequence[str | Path]:
        program: list[str | Path] = [sys.executable, "-m", "tests.e2e.journal_program", file, ledger]
        return [*program, "--last"] if is_last else program

    report = kill_campaign(command, kills=8, seed=5, longest_seconds=0.7, cwd=ROOT, environment=plain_environment())
    assert report.kills == 8
    expected = {f"t{n}": [f"t{n}-{number}" for number in range(STEPS)] for n in range(TASKS)}
    assert json.loads(report.answer) == expected
    done = Counter(ledger.read_text().split())
    assert set(done) == {name for names in expected.values() for name in names}
    once = [name for name in done if int(name.rpartition("-")[2]) % 3 == 0]
    assert all(done[name] == 1 for name in once), "what must not happen twice happened once"
    # Each death may cost each task the one step that was under way.
    assert sum(done.values()) - len(done) <= report.kills * TASKS
