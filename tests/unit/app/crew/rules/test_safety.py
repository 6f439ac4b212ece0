"""How far a run of agents may go."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.app.crew import SafetyGuard
from agenticflow.errors import BoundExceeded, DefinitionError
from agenticflow.resilience import Rate

SECOND = 1_000_000_000


def test_agents_are_asked_so_often_in_one_run_and_no_more() -> None:
    allowance = SafetyGuard(max_agent_runs=3, max_visits=2).begin()
    assert [allowance.admit(name, 5) for name in ("a", "b", "a")] == [5, 5, 5]
    with pytest.raises(BoundExceeded, match="agents were asked 3 times in this run, and 'b' would be next"):
        allowance.admit("b", 5)


def test_one_agent_is_asked_so_often_in_one_run_and_others_may_go_on() -> None:
    guard = SafetyGuard(max_visits=2)
    allowance = guard.begin()
    for _ in range(2):
        allowance.admit("a", 0)
    with pytest.raises(BoundExceeded, match="agent 'a' was asked 2 times in this run"):
        allowance.admit("a", 0)
    assert allowance.admit("b", 0) == 0
    assert guard.begin().admit("a", 0) == 0, "another run begins anew"


def test_turns_come_as_fast_as_all_and_each_agent_may() -> None:
    guard = SafetyGuard(rate=Rate(3, per_seconds=1), agent_rates={"slow": Rate(1, per_seconds=10)})
    allowance = guard.begin()
    assert allowance.admit("slow", 0) == 0
    assert allowance.admit("slow", 0) == 10 * SECOND
    assert guard.begin().admit("a", 7) == 7
    together = guard.begin()
    assert [together.admit(f"a{n}", 0) // SECOND for n in range(5)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_agent_runs": 0}, "max_agent_runs is 0"),
        ({"max_visits": True}, "max_visits is True"),
        ({"max_visits": 5_001}, "max_visits is 5001"),
        ({"rate": 5}, "the rate is 5"),
        ({"agent_rates": {"a": None}}, "the rate of agent 'a' is None"),
    ],
)
def test_limits_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        SafetyGuard(**options)
