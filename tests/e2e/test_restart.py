"""A restart takes up everything that was open. How fast, ``python -m benchmarks.restart`` says; here only that it happens counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.restart import measure

pytestmark = pytest.mark.proof

Record = Callable[[str, object], None]


def test_open_executions_are_taken_up_after_a_kill(tmp_path: Path) -> None:
    figures = measure(tmp_path, 120)
    assert (figures["resumed"], figures["finished_right"]) == (120, 120)


@pytest.mark.crash
def test_a_thousand_open_executions_are_taken_up_after_a_kill(tmp_path: Path, record_property: Record) -> None:
    figures = measure(tmp_path, 1_000)
    seconds = figures["dispatched_seconds"]
    record_property("crash", f"restart with 1,000 open executions: {seconds} s|1000 runs|1|-|0")
    assert (figures["resumed"], figures["finished_right"]) == (1_000, 1_000)
