"""Joins: when a task starts, and what happens to what it no longer needs."""

from __future__ import annotations

import pytest

from agenticflow.core.results import OutcomeKind
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, task


def test_a_join_of_some_starts_with_the_last_of_them_and_only_once() -> None:
    run = Run(task("a"), task("b"), task("c"), task("two", "a", "b", "c", join=2))
    run.succeed("a")
    assert "two" not in run.statuses
    run.succeed("c")
    assert "two" in run.dispatched
    run.succeed("b")
    assert not run.dispatched
    run.succeed("two")
    assert run.status == "COMPLETED"


def test_a_join_of_some_still_starts_when_one_fails_and_enough_are_left() -> None:
    run = Run(task("a", on_failure="skip"), task("b"), task("c"), task("two", "a", "b", "c", join=2))
    run.fail_for_good("a")
    run.succeed("b", "c")
    assert "two" in run.dispatched


def test_a_join_of_some_that_can_no_longer_be_met_is_skipped() -> None:
    run = Run(task("a"), task("b", when="1 == 2"), task("c", when="1 == 2"), task("two", "a", "b", "c", join=2))
    run.succeed("a")
    assert run.statuses["two"] == "SKIPPED"
    assert "too few" in run.facts(f.TaskSkipped)[-1].reason
    assert run.status == "COMPLETED"


def test_a_join_of_some_that_failures_make_impossible_never_runs() -> None:
    run = Run(task("a"), task("b"), task("two", "a", "b", join=2))
    run.fail_for_good("a")
    run.succeed("b")
    assert run.status == "FAILED"
    assert "two" not in run.statuses


def test_a_join_of_settled_starts_after_successes_failures_and_skips_alike() -> None:
    run = Run(
        task("good"), task("bad"), task("never", when="1 == 2"), task("after", "good", "bad", "never", join="settled")
    )
    run.succeed("good")
    assert "after" not in run.statuses
    run.fail_for_good("bad")
    assert "after" in run.dispatched
    run.succeed("after")
    assert run.status == "FAILED", "a failure stays one, also when somebody looks after it"


def test_a_cancelling_join_stops_what_only_led_there() -> None:
    run = Run(
        task("a"),
        task("slow"),
        task("slower"),
        task("behind", "slower"),
        task("used", "slow"),
        task("first", "a", "slow", "behind", join="any", cancel_rest=True),
    )
    slower = run.token("slower")
    run.succeed("a")
    assert "first" in run.dispatched
    assert run.stopped == [slower], "slow is needed by another, behind had not begun"
    assert run.statuses["slower"] == run.statuses["behind"] == "CANCELLED"
    assert run.statuses["slow"] == "SCHEDULED"
    run.succeed("first", "slow")
    run.succeed("used")
    assert run.status == "RUNNING", "the end waits for the handler that was told to stop"
    run.ended("slower", OutcomeKind.CANCELLED, token=slower)
    assert run.status == "COMPLETED"


def test_a_result_that_comes_after_the_cancel_is_kept_and_advances_nothing() -> None:
    run = Run(task("a"), task("b"), task("after", "b"), task("first", "a", "b", join="any", cancel_rest=True))
    token = run.token("b")
    run.succeed("a")
    assert run.stopped == [], "somebody else needs b"
    run = Run(task("a"), task("b"), task("first", "a", "b", join="any", cancel_rest=True))
    token = run.token("b")
    run.succeed("a")
    facts = run.succeed("b", value="late", token=token)
    assert [type(fact) for fact in facts] == [f.TaskLateOutcome]
    assert run.statuses["b"] == "CANCELLED"


def test_what_is_told_to_stop_and_does_not_is_given_up_after_its_grace() -> None:
    run = Run(task("a"), task("b"), task("first", "a", "b", join="any", cancel_rest=True))
    run.succeed("a")
    run.succeed("first")
    assert run.status == "RUNNING"
    run.wait(11)
    assert run.status == "COMPLETED"


@pytest.mark.parametrize("join", ["any", 1])
def test_cancelling_takes_back_timers_signals_retries_and_questions(join: str | int) -> None:
    run = Run(
        task("a"),
        TaskDefinition.timer("nap", 60),
        TaskDefinition.wait_for("call", "ring"),
        TaskDefinition.ask("may", "May I?"),
        task("flaky"),
        task("first", "a", "nap", "call", "may", "flaky", join=join, cancel_rest=True),
    )
    run.fail("flaky")
    run.succeed("a")
    assert {run.statuses[key] for key in ("nap", "call", "may", "flaky")} == {"CANCELLED"}
    run.signal("ring")
    assert run.state.next_due is None
    run.succeed("first")
    assert run.status == "COMPLETED"


def test_the_next_run_does_not_begin_what_only_led_to_a_join_that_is_done() -> None:
    run = Run(task("a"), task("b"), task("first", "a", "b", join="any", cancel_rest=True), task("end", "first"))
    run.succeed("a", "first")
    run.fail_for_good("end")
    run.wait(11)
    assert run.status == "FAILED"
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["end"]
    assert again.statuses["b"] == "CANCELLED"
