"""How well an agent is: what counts against it, for how long, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents.health import AgentHealth, HealthPolicy, Vitals, assess, counts_against
from agenticflow.core.results import Outcome, OutcomeKind, describe_error
from agenticflow.errors import DefinitionError, PermanentError, TemporaryError

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
HEALTHY, DEGRADED, UNHEALTHY = AgentHealth


def vitals(*, failures: int = 0, marked: str | None = None, silent_seconds: float | None = None) -> Vitals:
    found = Vitals()
    found.failures, found.failed_at, found.marked = failures, START, marked
    found.beat_at = None if silent_seconds is None else START - int(silent_seconds * SECOND)
    return found


def after(seconds: float) -> int:
    return START + int(seconds * SECOND)


@pytest.mark.parametrize(("failures", "health"), [(0, HEALTHY), (2, HEALTHY), (3, DEGRADED), (1_000, DEGRADED)])
def test_failures_alone_only_degrade(failures: int, health: AgentHealth) -> None:
    assert assess(vitals(failures=failures), HealthPolicy(), START).health is health


def test_a_policy_may_say_after_how_many_failures_an_agent_is_left_alone() -> None:
    policy = HealthPolicy(degraded_after_failures=2, unhealthy_after_failures=4, recovers_after_seconds=10)
    found = [assess(vitals(failures=count), policy, START) for count in range(6)]
    assert [finding.health for finding in found] == [HEALTHY, HEALTHY, DEGRADED, DEGRADED, UNHEALTHY, UNHEALTHY]
    assert (found[4].cause, found[4].reason) == ("failures", "4 failures in a row")


def test_who_was_left_alone_long_enough_is_tried_again() -> None:
    policy = HealthPolicy(unhealthy_after_failures=4, recovers_after_seconds=10)
    assert assess(vitals(failures=4), policy, after(9.999)).health is UNHEALTHY
    again = assess(vitals(failures=4), policy, after(10))
    assert (again.health, again.cause, again.reason) == (DEGRADED, "waited", "4 failures in a row, tried again")


@pytest.mark.parametrize(
    ("seconds", "health"), [(0, HEALTHY), (9.9, HEALTHY), (10, DEGRADED), (19.9, DEGRADED), (20, UNHEALTHY)]
)
def test_silence_counts_in_missed_heartbeats(seconds: float, health: AgentHealth) -> None:
    assert assess(vitals(silent_seconds=seconds), HealthPolicy(heartbeat_seconds=5), START).health is health


def test_where_no_heartbeats_are_expected_silence_means_nothing() -> None:
    assert assess(vitals(silent_seconds=1e6), HealthPolicy(), START).health is HEALTHY
    assert assess(vitals(), HealthPolicy(heartbeat_seconds=5), START).health is HEALTHY


def test_a_heartbeat_from_the_future_is_no_silence() -> None:
    assert assess(vitals(silent_seconds=-60), HealthPolicy(heartbeat_seconds=5), START).health is HEALTHY


def test_silence_of_everybody_is_an_outage_not_a_death() -> None:
    found = assess(vitals(silent_seconds=100), HealthPolicy(heartbeat_seconds=5), START, is_outage=True)
    assert (found.health, found.cause) == (DEGRADED, "outage")


def test_the_worst_finding_counts_and_a_mark_is_the_worst() -> None:
    policy = HealthPolicy(heartbeat_seconds=5)
    assert assess(vitals(failures=3, silent_seconds=20), policy, START).cause == "heartbeats"
    assert assess(vitals(failures=3, silent_seconds=0), policy, START).cause == "failures"
    marked = assess(vitals(failures=3, silent_seconds=20, marked="smoke"), policy, START)
    assert (marked.health, marked.cause, marked.reason) == (UNHEALTHY, "marked", "smoke")


@pytest.mark.parametrize(
    ("outcome", "against"),
    [
        (Outcome(OutcomeKind.SUCCEEDED), False),
        (Outcome(OutcomeKind.FAILED), True),
        (Outcome(OutcomeKind.FAILED, error=describe_error(TemporaryError("busy"))), True),
        (Outcome(OutcomeKind.FAILED, error=describe_error(ValueError("a bug"))), True),
        (Outcome(OutcomeKind.FAILED, error=describe_error(PermanentError("no such order"))), None),
        (Outcome(OutcomeKind.TIMED_OUT), True),
        (Outcome(OutcomeKind.UNKNOWN), True),
        (Outcome(OutcomeKind.CANCELLED), None),
    ],
)
def test_only_what_may_be_the_agents_fault_counts_against_it(outcome: Outcome, against: bool | None) -> None:
    assert counts_against(outcome) is against


@pytest.mark.parametrize(
    "wrong",
    [
        {"degraded_after_failures": 0},
        {"unhealthy_after_failures": 0},
        {"unhealthy_after_missed": -1},
        {"degraded_after_missed": 0},
        {"recovers_after_seconds": -1},
        {"recovers_after_seconds": float("nan")},
        {"recovers_after_seconds": float("inf")},
        {"heartbeat_seconds": 0},
        {"heartbeat_seconds": 1e-10},
        {"heartbeat_seconds": float("nan")},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="a health policy"):
        HealthPolicy(**wrong)
