"""Workflows as code killed at every point, and under simulated schedules: the promises are those of every run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agenticflow.testing import simulate
from agenticflow.testing.crashes import crash_search
from tests.simulation.code_cases import case

pytestmark = pytest.mark.proof


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=40, seed=7)
    assert not report.violations, report
    assert report.points > 150
    assert report.kills >= report.points


def test_killed_at_every_point_of_a_run_that_is_undone() -> None:
    report = crash_search(partial(case, breaks=True), every=2, double_kills=10, seed=3)
    assert not report.violations, report


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=12)
    assert not report.violations, report


def test_under_simulated_schedules() -> None:
    report = simulate(case, schedules=150)
    assert not report.violations, report
