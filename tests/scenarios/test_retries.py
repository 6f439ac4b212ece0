"""Retries: which failures are tried again, when, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core.results import ErrorInfo, OutcomeKind
from agenticflow.errors import CircuitOpen, InvalidInput, PermanentError, TemporaryError
from agenticflow.orchestration import facts as f
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, seconds, task

STEADY = RetryPolicy(max_attempts=3, initial_delay_seconds=2, multiplier=3, jitter=False)


def policy_of(**options: Any) -> RetryPolicy:
    """Exception classes may be given where their names are recorded."""
    return RetryPolicy(**options)


def test_a_failed_attempt_is_tried_again_after_its_delay() -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a")
    assert (run.statuses["a"], run.status, run.due) == ("RETRYING", "WAITING", 2)
    run.wait(1.999)
    assert run.in_work == []
    run.wait(0.001)
    assert run.in_work == ["a"]
    assert run.dispatched["a"].attempt == 2


def test_delays_grow_and_the_last_attempt_fails_the_task() -> None:
    run = Run(task("a", retry_policy=STEADY))
    delays: list[float] = []
    while run.statuses["a"] != "FAILED":
        run.fail("a")
        if (retry := run.facts(f.TaskRetryScheduled)[len(delays) :]) != []:
            delays.append((retry[0].retry_at - run.now) / 1e9)
            run.wait(100)
    assert delays == [2, 6]
    assert len(run.facts(f.TaskScheduled)) == 3
    assert run.status == "FAILED"


def test_delays_never_pass_their_maximum() -> None:
    policy = RetryPolicy(max_attempts=50, initial_delay_seconds=1, multiplier=10, max_delay_seconds=5, jitter=False)
    run = Run(task("a", retry_policy=policy))
    for _ in range(10):
        run.fail("a")
        run.wait(5)
    assert run.in_work == ["a"]


def test_with_jitter_the_delay_lies_between_nothing_and_the_full_delay_and_comes_from_the_recorded_seed() -> None:
    def delays(seed: str) -> list[float | None]:
        policy = RetryPolicy(max_attempts=9, initial_delay_seconds=8, multiplier=1)
        run = Run(task("a", retry_policy=policy), task("b", retry_policy=policy), seed=seed)
        for _ in range(8):
            run.fail("a")
            run.fail("b")
            run.wait(8)
        return [seconds(fact.retry_at) for fact in run.facts(f.TaskRetryScheduled)]

    first = delays("one")
    assert len(set(first)) == 16
    assert delays("one") == first
    assert delays("two") != first
    assert all(0 <= (delay or 0) - 8 * (index // 2) <= 8 for index, delay in enumerate(first))


@pytest.mark.parametrize(
    ("wished", "due"),
    [
        (90.0, 90),
        (1.0, 2),
        (1e9, 3_600),
        (None, 2),
        (float("inf"), 2),
        (float("nan"), 2),
        (-5, 2),
        (True, 2),
        ("90", 2),
    ],
)
def test_who_wants_to_be_left_alone_is_not_asked_sooner(wished: Any, due: float) -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a", CircuitOpen("it is open", retry_after_seconds=wished))
    assert run.due == due
    run.wait(due - 0.001)
    assert run.in_work == []
    run.wait(0.001)
    assert run.in_work == ["a"]


def test_every_error_is_kept_with_its_attempt_and_its_moment() -> None:
    run = Run(task("a", retry_policy=STEADY))
    for text in ("first", "second", "third"):
        run.fail("a", RuntimeError(text))
        run.wait(6)
    errors = run.errors("a")
    assert [(error.message, error.attempt, seconds(error.at)) for error in errors] == [
        ("first", 1, 0),
        ("second", 2, 6),
        ("third", 3, 12),
    ]


@pytest.mark.parametrize("error", [PermanentError("never"), InvalidInput("wrong")])
def test_errors_that_say_so_are_not_tried_again(error: Exception) -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a", error)
    assert run.statuses["a"] == "FAILED"


def test_only_the_named_errors_are_worth_another_try() -> None:
    policy = policy_of(retryable_errors=(ConnectionError,), permanent_errors=(ConnectionRefusedError,))
    run = Run(*(task(name, retry_policy=policy) for name in ("reset", "refused", "other")))
    run.fail("reset", ConnectionResetError("a subclass counts"))
    run.fail("refused", ConnectionRefusedError("named as permanent"))
    run.fail("other", ValueError("not named"))
    assert run.statuses == {"reset": "RETRYING", "refused": "FAILED", "other": "FAILED"}


def test_a_success_after_failures_is_a_success() -> None:
    run = Run(task("a"), task("b", "a"))
    run.fail("a", TemporaryError("busy"))
    run.wait(60)
    run.succeed("a", value=1)
    assert run.in_work == ["b"]
    assert len(run.errors("a")) == 1


def test_the_default_is_three_attempts() -> None:
    run = Run(task("a"))
    for _ in range(3):
        assert run.in_work == ["a"]
        run.fail("a")
        run.wait(60)
    assert run.status == "FAILED"


def test_a_restart_while_waiting_for_a_retry_keeps_its_moment() -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a")
    run.sleep(1.5)
    assert run.crash() == {}
    assert run.due == 2


def test_an_attempt_whose_end_nobody_knows_is_tried_again_when_that_is_harmless() -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.ended("a", OutcomeKind.UNKNOWN)
    assert run.statuses["a"] == "RETRYING"
    assert run.errors("a")[0].message == "the attempt was unknown"


def test_results_of_a_superseded_attempt_change_nothing() -> None:
    run = Run(task("a", retry_policy=STEADY), task("b", "a"))
    old = run.token("a")
    run.fail("a")
    assert run.succeed("a", token=old) == []
    run.wait(2)
    assert run.token("a") != old
    assert run.succeed("a", token=old) == []
    assert run.fail("a", token=old) == []
    assert run.in_work == ["a"]
    run.succeed("a")
    assert run.fail("a") == []
    assert run.succeed("a") == []


def test_reports_about_tasks_nobody_knows_change_nothing() -> None:
    run = Run(task("a"))
    assert run.succeed("stranger", token=7) == []


def test_a_policy_may_name_what_a_time_limit_is() -> None:
    """Live and after a restart alike: the error of a passed limit is a TaskTimeout and a TemporaryError."""
    policy = policy_of(retryable_errors=(TemporaryError,))
    live, restarted = (Run(task("a", retry_policy=policy, timeout_seconds=5)) for _ in range(2))
    live.time_out("a")
    restarted.started("a", limit=5)
    restarted.sleep(6)
    restarted.crash()
    assert live.statuses["a"] == restarted.statuses["a"] == "RETRYING"


def test_an_error_without_a_class_hierarchy_goes_by_its_name() -> None:
    policy = RetryPolicy(retryable_errors=("Busy",))
    run = Run(task("a", retry_policy=policy), task("b", retry_policy=policy))
    run.ended("a", OutcomeKind.FAILED, error=ErrorInfo("Busy", "from elsewhere"))
    run.ended("b", OutcomeKind.FAILED, error=ErrorInfo("Broken", "from elsewhere"))
    assert run.statuses == {"a": "RETRYING", "b": "FAILED"}
