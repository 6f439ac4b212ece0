"""Programs with a durable subscription are killed in the middle, again and again: every order is dealt with, none is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.proof

LIVES = 5


def test_no_event_is_lost_however_often_the_program_is_killed(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.txt"
    command = [sys.executable, "-m", "tests.e2e.billing_program", f"sqlite:///{tmp_path}/shop.db", str(ledger)]
    for life in range(LIVES):
        published_before = len(_of(ledger, "published"))
        with subprocess.Popen(command, cwd=ROOT) as program:
            # killed after so many orders, each life somewhat later, so that it happens in other places
            while len(_of(ledger, "published")) < published_before + 400 + 137 * life:
                assert program.poll() is None, "it ended by itself"
            program.kill()
    subprocess.run([*command, "--last"], cwd=ROOT, check=True, timeout=60)
    published, invoiced, dead = (_of(ledger, kind) for kind in ("published", "invoiced", "dead"))
    assert len(published) > 100
    assert set(published) - set(invoiced) - set(dead) == set(), "lost"
    assert all(order.endswith("7") for order in dead)
    assert not set(invoiced) & set(dead)
    assert len(invoiced) < 2 * len(set(invoiced)), "what was dealt with is repeated only around a kill"


def _lines(ledger: Path) -> list[str]:
    return ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []


def _of(ledger: Path, kind: str) -> list[str]:
    return [line.partition(" ")[2] for line in _lines(ledger) if line.startswith(f"{kind} ")]
