"""A process that talks is killed with SIGKILL, again and again: nothing answered is lost or said twice, and pairs stay together."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenticflow.testing.crashes import kill_campaign
from tests.contracts.house import ROOT, plain_environment


@pytest.mark.slow
def test_nothing_that_was_said_is_lost_or_repeated_by_kills(tmp_path: Path) -> None:
    file, ledger = tmp_path / "state.db", tmp_path / "ledger"

    def command(is_last: bool) -> Sequence[str | Path]:
        program: list[str | Path] = [sys.executable, "-m", "tests.e2e.talking_program", file, ledger]
        return [*program, "--last"] if is_last else program

    report = kill_campaign(command, kills=6, seed=23, cwd=ROOT, environment=plain_environment())
    assert report.kills == 6
    asked = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("asked "))
    said = [text.split() for text in json.loads(report.answer)]
    # the window is bounded: of a long talk the end is seen
    for hand, count in asked.items():
        steps = [int(step) for name, step, part in said if name == hand and part == "question"]
        assert steps == list(range(count - len(steps) + 1, count + 1))
    assert sum(asked.values()) * 2 == len(said) or len(said) == 10_000
    assert all(said[at][:2] == said[at + 1][:2] for at in range(0, len(said), 2))
