"""A process whose agents answer together is killed with SIGKILL, again and again: every answer is given, and nothing is said twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenticflow.testing.crashes import kill_campaign
from tests.contracts.house import ROOT, plain_environment
from tests.e2e.crew_program import QUERIES


@pytest.mark.slow
def test_no_answer_is_lost_and_nothing_is_said_twice(tmp_path: Path) -> None:
    file, ledger = tmp_path / "state.db", tmp_path / "ledger"

    def command(is_last: bool) -> Sequence[str | Path]:
        program: list[str | Path] = [sys.executable, "-m", "tests.e2e.crew_program", file, ledger]
        return [*program, "--last"] if is_last else program

    report = kill_campaign(command, kills=8, seed=5, cwd=ROOT, environment=plain_environment())
    assert report.kills == 8
    answers = json.loads(report.answer)
    assert len(answers) == QUERIES
    for name, (answer, said) in answers.items():
        query = f"about {name}"
        assert answer == ["3 lines", [query, "last"]]
        assert said == [query, str(len(query)), f"I have {len(query)}"]
    keys: dict[tuple[str, str], set[str]] = {}
    for line in ledger.read_text().splitlines():
        agent, name, effect_key = line.split()
        keys.setdefault((agent, name), set()).add(effect_key)
    assert len(keys) == 2 * QUERIES
    assert all(len(found) == 1 for found in keys.values()), "whoever is asked again has the same effect key"
