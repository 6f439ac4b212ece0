"""A process in which an agent of the OpenAI Agents SDK works is killed with SIGKILL, again and again: it goes on where it was."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenticflow.testing.crashes import kill_campaign
from tests.contracts.house import ROOT, plain_environment
from tests.e2e.sdk_program import TURNS


@pytest.mark.slow
def test_no_answer_is_paid_twice_that_was_recorded(tmp_path: Path) -> None:
    file, ledger = tmp_path / "state.db", tmp_path / "ledger"

    def command(is_last: bool) -> Sequence[str | Path]:
        program: list[str | Path] = [sys.executable, "-m", "tests.e2e.sdk_program", file, ledger]
        return [*program, "--last"] if is_last else program

    report = kill_campaign(command, kills=5, seed=3, longest_seconds=1.0, cwd=ROOT, environment=plain_environment())
    assert report.kills == 5
    assert json.loads(report.answer) == {"work": "done"}
    done = Counter(ledger.read_text().split())
    expected = {f"{what}-{n}" for what in ("look", "send", "model") for n in range(TURNS)}
    # a mail whose intent was recorded right before a death is never sent: nobody knows whether it was
    assert {*expected, f"model-{TURNS}"} - set(done) <= {f"send-{n}" for n in range(TURNS)}
    assert all(done[f"send-{n}"] <= 1 for n in range(TURNS))
    # each death may cost the answer, or the look, that was under way
    assert sum(done.values()) - len(done) <= report.kills
