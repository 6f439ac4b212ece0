"""What holds for every test: no store on disk by accident, no call of a real model, warnings are errors, seeds are printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from agenticflow.testing import forbid_model_calls

ROOT = Path(__file__).parents[1]

settings.register_profile(
    "house",
    deadline=None,  # two busy cores are not a reason to fail
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.register_profile("thorough", settings.get_profile("house"), max_examples=2_000)
forbid_model_calls()
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


@pytest.fixture(autouse=True)
def _memory_is_the_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ``Orchestrator()`` without a store must not leave a file in the working tree, nor meet another test's."""
    monkeypatch.setenv("AGENTICFLOW_STORE", "memory:")


WAS_THERE = (ROOT / ".agenticflow").exists()
"""Whether somebody ran the demo here before the tests."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    left_behind = ROOT / ".agenticflow"
    if left_behind.exists() and not WAS_THERE and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\na test wrote {left_behind}: give it a store in tmp_path, or 'memory:'")
