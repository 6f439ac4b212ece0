"""What people do to one task of a run: go on without it, try it now, give it its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.core.results import OutcomeKind
from agenticflow.errors import InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.waiting import NoRoom, waits_of
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, once, task

STEADY = RetryPolicy(max_attempts=2, initial_delay_seconds=600, multiplier=1, jitter=False)
NO_RETRY = RetryPolicy(max_attempts=1)


def skip(key: str) -> Command:
    return c.SkipTask(now=0, task_key=key, requested_by="ada")


def retry(key: str) -> Command:
    return c.RetryTask(now=0, task_key=key, requested_by="ada")


def give(key: str, value: object = 1) -> Command:
    return c.SetResult(now=0, task_key=key, value=codec.encode(value), requested_by="ada")


ALL = (skip, retry, give)


def held_open(*tasks: TaskDefinition, **options: Any) -> Run:
    """A run with one task beside the others that goes on, so that a failure does not end it."""
    return Run(*tasks, task("beside"), **options)


# --- skip ---------------------------------------------------------------------------------------------------------------


def test_a_task_nobody_has_come_to_is_skipped_and_what_depends_on_it_follows_the_join_rules() -> None:
    run = Run(
        task("a"),
        task("b", "a"),
        task("only", "b"),
        task("both", "a", "b"),
        task("settled", "b", join="settled"),
        task("any", "a", "b", join="any"),
    )
    [fact] = run.skip("b", by="ada", reason="not this month")[:1]
    assert fact == f.TaskSkipped("b", "not this month", "ada")
    run.succeed("a")
    assert run.statuses["only"] == "SKIPPED"
    assert sorted(run.in_work) == ["any", "both", "settled"]


def test_a_skip_without_a_reason_says_who_did_it() -> None:
    run = Run(task("a"), task("b", "a"))
    run.skip("b", by="ada")
    assert run.facts(f.TaskSkipped)[0].reason == "ada skipped it"


def test_what_is_ready_and_held_back_by_a_pause_is_skipped() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b", join="settled"))
    run.pause()
    run.succeed("a")
    run.skip("b")
    assert run.statuses == {"a": "COMPLETED", "b": "SKIPPED", "c": "READY"}
    run.resume()
    assert run.in_work == ["c"]


def test_waits_are_skipped_and_what_they_waited_for_comes_too_late() -> None:
    run = Run(
        TaskDefinition.timer("t", 60),
        TaskDefinition.wait_for("s", "go"),
        TaskDefinition.wait_for("s2", "go"),
        TaskDefinition.ask("q", "May I?"),
        task("end", "t", "s", "q", join="settled"),
    )
    for key in ("t", "s", "q"):
        run.skip(key)
    assert run.in_work == ["end"]
    run.signal("go", 5)
    assert run.result("s2") == 5, "the signal goes to who still waits for it"
    assert run.wait(100) == []
    run.succeed("end")
    assert run.status == "COMPLETED"


def test_a_task_between_two_attempts_is_skipped() -> None:
    run = Run(task("a", retry_policy=STEADY), task("b", "a", join="settled"))
    run.fail("a")
    run.skip("a")
    assert run.in_work == ["b"]
    assert run.wait(1_000) == []
    run.succeed("b")
    assert run.status == "COMPLETED"


def test_what_has_failed_for_good_is_skipped_while_the_run_goes_on_and_the_run_succeeds() -> None:
    run = held_open(task("a", retry_policy=NO_RETRY), task("only", "a"), task("both", "a", "beside"))
    run.fail("a")
    run.skip("a")
    assert run.statuses["only"] == "SKIPPED"
    run.succeed("beside", "both")
    assert run.status == "COMPLETED"


def test_a_failure_that_some_had_counted_is_counted_no_longer() -> None:
    """Two of three were needed and one had failed: skipped, it is one less, and two are still within reach."""
    run = Run(
        task("a", retry_policy=NO_RETRY),
        task("b"),
        task("d"),
        task("two", "a", "b", "d", join=2),
        task("notice", "a", "b", join="settled"),
        task("one", "a", "b", join=2),
    )
    run.fail("a")
    run.skip("a")
    run.succeed("b")
    assert run.statuses["one"] == "SKIPPED", "two of two are out of reach, and nothing has failed"
    run.succeed("d")
    assert sorted(run.in_work) == ["notice", "two"]
    run.succeed("notice", "two")
    assert run.status == "COMPLETED"


def test_nothing_but_failures_counts_as_one() -> None:
    run = Run(
        task("a", retry_policy=NO_RETRY),
        task("done"),
        task("not_wanted"),
        task("open"),
        task("later", "open"),
        task("three", "a", "done", "not_wanted", "open", "later", join=4),
    )
    run.fail("a")
    run.succeed("done")
    run.cancel_task("not_wanted")
    run.skip("a")
    assert run.statuses["three"] == "SKIPPED", "four of three are out of reach, and nothing has failed"


def test_what_has_a_fallback_nobody_wants_is_tried_again() -> None:
    run = held_open(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead"), task("end", "a"))
    run.fail("a")
    run.cancel_task("instead")
    run.retry("a")
    run.succeed("a", "end", "beside")
    run.wait(10)
    assert run.status == "COMPLETED"


def test_other_failures_still_count() -> None:
    run = held_open(
        task("a", retry_policy=NO_RETRY), task("b", retry_policy=NO_RETRY), task("two", "a", "b", "beside", join=2)
    )
    run.fail("a")
    run.fail("b")
    run.skip("a")
    run.succeed("beside")
    assert run.status == "FAILED"
    assert "two" not in run.statuses


def test_a_failed_map_is_skipped_with_the_items_that_failed() -> None:
    run = held_open(task("each", for_each=[1, 2], retry_policy=NO_RETRY), task("end", "each", join="settled"))
    run.fail("each[0]")
    run.succeed("each[1]")
    run.skip("each")
    run.succeed("beside", "end")
    assert run.status == "COMPLETED"


def test_skipping_what_nobody_knows_goes_on_and_a_late_success_is_undone_with_the_rest() -> None:
    run = Run(once("pay", compensation="refund"), task("ship", "pay", join="settled", retry_policy=NO_RETRY))
    run.started("pay")
    run.time_out("pay")
    token = run.token("pay")
    run.skip("pay", reason="the bank will tell")
    assert run.in_work == ["ship"]
    run.ended("pay", OutcomeKind.FAILED, token=token)
    assert run.facts(f.TaskLateOutcome) == []
    run.succeed("pay", token=token, value="paid after all")
    assert len(run.facts(f.TaskLateOutcome)) == 1
    run.succeed("pay", token=token, value="paid after all")
    assert len(run.facts(f.TaskLateOutcome)) == 1
    run.fail("ship")
    assert run.in_work == ["undo:pay"]


def test_a_skipped_choice_chooses_nothing() -> None:
    run = Run(
        task("a"),
        TaskDefinition.choice("route", {"x": "true", "y": None}, {"a"}),
        task("x", "route"),
        task("y", "route"),
    )
    run.skip("route")
    run.succeed("a")
    assert run.statuses == {"a": "COMPLETED", "route": "SKIPPED", "x": "SKIPPED", "y": "SKIPPED"}
    assert run.status == "COMPLETED"


def test_a_skipped_task_needs_no_fallback_and_a_skipped_fallback_does_not_stand_in() -> None:
    run = Run(task("a"), task("b", "a", fallback="instead"), task("instead"))
    run.skip("b")
    run.succeed("a")
    assert run.statuses["instead"] == "SKIPPED"
    assert run.status == "COMPLETED"
    run = Run(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead"))
    run.skip("instead")
    run.fail("a")
    assert run.status == "FAILED"


def test_a_fallback_that_is_skipped_in_the_middle_leaves_the_failure() -> None:
    run = Run(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead", retry_policy=STEADY))
    run.fail("a")
    run.fail("instead")
    run.skip("instead")
    assert run.status == "FAILED"


def test_what_is_skipped_by_hand_is_run_by_the_next_run() -> None:
    run = Run(task("a"), task("b", "a"), task("end", "a", retry_policy=NO_RETRY))
    run.skip("b")
    run.succeed("a", value=1)
    run.fail("end")
    assert set(carry_over(run.state).kept) == {"a"}


# --- retry --------------------------------------------------------------------------------------------------------------


def test_a_retry_that_is_due_later_is_made_now_as_the_same_work() -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a")
    facts = run.retry("a", reason="the network is back")
    assert facts == [f.TaskRetryRequested("a", "ada", "the network is back"), f.TaskScheduled("a", 2)]
    [effect] = run.dispatched.values()
    assert (effect.attempt, effect.generation) == (2, 0)
    run.fail("a")
    assert run.status == "FAILED", "the policy's two attempts are made"


def test_a_retry_asked_for_during_a_pause_is_made_at_its_end() -> None:
    run = Run(task("a", retry_policy=STEADY))
    run.fail("a")
    run.pause()
    assert run.retry("a") == [f.TaskRetryRequested("a", "ada")]
    assert run.wait(10) == []
    run.resume()
    run.wait(0)
    assert run.in_work == ["a"]


def test_what_has_failed_for_good_is_tried_again_with_all_its_attempts_as_the_same_work() -> None:
    run = held_open(task("a", retry_policy=NO_RETRY), task("b", "a", "beside"))
    run.fail("a")
    run.retry("a")
    assert run.dispatched["a"].attempt == 2
    assert run.dispatched["a"].generation == 0
    run.succeed("beside", "a")
    assert run.in_work == ["b"]
    run.succeed("b")
    assert run.status == "COMPLETED"


def test_work_that_must_not_run_twice_and_says_it_has_not_happened_is_tried_again_when_somebody_asks() -> None:
    run = held_open(once("pay"))
    run.started("pay")
    run.fail("pay", ConnectionError("card refused"))
    assert run.statuses["pay"] == "FAILED"
    run.retry("pay")
    assert (run.dispatched["pay"].attempt, run.dispatched["pay"].generation) == (2, 0)
    assert len(run.started("pay")) == 1, "its intent is recorded again"
    run.crash()
    assert run.statuses["pay"] == "UNKNOWN"


def test_a_second_failure_for_good_fails_the_run_again() -> None:
    run = held_open(task("a", retry_policy=STEADY), task("b", "a", join="settled"), task("two", "a", "beside", join=2))
    for _ in range(2):
        run.fail("a")
        run.wait(600)
    assert "b" in run.in_work, "who looks after failures has begun, and does not begin again"
    run.retry("a")
    run.fail("a")
    assert run.statuses["a"] == "RETRYING"
    run.wait(600)
    run.fail("a")
    run.succeed("b", "beside")
    assert run.status == "FAILED"


def test_the_limit_of_the_whole_task_begins_anew_and_so_do_its_agents() -> None:
    run = held_open(
        task("a", retry_policy=NO_RETRY, total_timeout_seconds=50, on_failure="reassign", reassign_to=["second"])
    )
    run.fail("a")
    assert run.record("a").performer_id == "second"
    run.wait(20)
    run.fail("a")
    assert run.statuses["a"] == "FAILED"
    run.retry("a")
    assert run.record("a").performer_id == "agent"
    run.wait(49)
    assert "a" in run.in_work
    run.wait(1)
    assert run.statuses["a"] == "FAILED"


def test_a_question_that_was_rejected_is_asked_again() -> None:
    run = held_open(
        TaskDefinition.ask("q", "May I?", total_timeout_seconds=10),
        TaskDefinition.wait_for("s", "go", total_timeout_seconds=5),
    )
    run.reject("q")
    run.wait(5)
    run.retry("q")
    run.retry("s")
    assert (run.statuses["q"], run.statuses["s"]) == ("WAITING", "WAITING")
    run.wait(5)
    assert (run.statuses["q"], run.statuses["s"]) == ("WAITING", "FAILED")
    run.approve("q")
    assert run.statuses["q"] == "COMPLETED"


def test_an_item_is_tried_again_and_the_map_goes_on_to_its_end() -> None:
    run = held_open(task("each", for_each=[1, 2], retry_policy=NO_RETRY), task("end", "each"))
    run.fail("each[0]")
    run.retry("each[0]")
    run.succeed("each[0]", "each[1]", value=7)
    assert run.in_work == ["beside", "end"]


def test_a_failed_map_tries_again_what_failed_of_it_as_much_at_once_as_it_may() -> None:
    run = held_open(task("each", for_each=[1, 2, 3, 4], max_parallel=2, retry_policy=NO_RETRY), task("end", "each"))
    run.succeed("each[0]", value=1)
    for index in (1, 2, 3):
        run.fail(f"each[{index}]")
    assert run.statuses["each"] == "FAILED"
    run.retry("each")
    assert run.in_work == ["beside", "each[1]", "each[2]"]
    assert run.statuses["each[3]"] == "PENDING"
    assert [wait.reason for wait in waits_of(run.state) if wait.task_key == "each"] == [NoRoom(2)]
    run.refused(retry("each[3]"), "has not started")
    run.succeed("each[1]", value=1)
    assert "each[3]" in run.in_work
    run.succeed("each[2]", "each[3]", value=1)
    assert run.result("each") == [1, 1, 1, 1]
    assert run.in_work == ["beside", "end"]


def test_an_item_that_waits_to_be_tried_again_takes_a_result() -> None:
    run = held_open(task("each", for_each=[1, 2, 3], max_parallel=1, retry_policy=NO_RETRY))
    for index in range(3):
        run.fail(f"each[{index}]")
    run.retry("each")
    run.set_result("each[1]", 5)
    run.set_result("each[2]", 5)
    assert run.state.again == {}
    run.succeed("each[0]", value=5)
    assert run.result("each") == [5, 5, 5]


def test_a_map_that_never_had_a_list_looks_again() -> None:
    run = held_open(task("list"), task("each", "list", for_each="${list}"))
    run.succeed("list", value="no list")
    assert run.statuses["each"] == "FAILED"
    run.retry("each")
    assert run.statuses["each"] == "FAILED"
    assert len(run.facts(f.TaskFailed)) == 2


def test_a_failed_iteration_is_tried_again_by_its_own_name_or_its_loops() -> None:
    for key in ("loop", "loop[1]"):
        run = held_open(task("loop", repeat_until="${loop} > 1", retry_policy=NO_RETRY), task("end", "loop"))
        run.succeed("loop[0]", value=1)
        run.fail("loop[1]")
        assert run.statuses["loop"] == "FAILED"
        run.retry(key)
        run.succeed("loop[1]", value=2)
        assert run.in_work == ["beside", "end"]


def test_a_sub_workflow_goes_on_in_the_next_run_of_its_chain() -> None:
    run = held_open(TaskDefinition("child", workflow=WorkflowDefinition([task("inner")])))
    before = run.record("child").attempt
    run.fail("child")
    run.retry("child")
    child = run.children["child"]
    assert (child.attempt, child.execution_id) == (before + 1, "w~child")


def test_a_fallback_that_failed_too_is_tried_again_and_stands_in_after_all() -> None:
    run = held_open(
        task("a", fallback="instead", retry_policy=NO_RETRY),
        task("instead", retry_policy=NO_RETRY, fallback="last"),
        task("last", retry_policy=NO_RETRY),
        task("end", "a"),
        task("two", "a", "beside", join=2),
    )
    for key in ("a", "instead", "last"):
        run.fail(key)
    run.retry("last")
    run.succeed("last", value="saved")
    assert run.result("a") == "saved"
    run.succeed("beside")
    run.succeed("end", "two")
    assert run.status == "COMPLETED"


def test_the_failure_of_what_a_fallback_stands_in_for_is_taken_back_with_its_own() -> None:
    run = held_open(
        task("a", fallback="instead", retry_policy=NO_RETRY),
        task("instead", retry_policy=NO_RETRY),
        task("both", "a", "beside", join="settled"),
        task("two", "a", "instead", "beside", join=3),
    )
    run.fail("a")
    run.fail("instead")
    run.retry("instead")
    run.succeed("instead")
    assert run.in_work == ["beside"], "it waits for the other, and is counted once"
    run.succeed("beside")
    assert run.in_work == ["both", "two"]


def test_what_has_a_fallback_that_failed_is_tried_again_itself() -> None:
    run = held_open(
        task("a", fallback="instead", retry_policy=NO_RETRY), task("instead", retry_policy=NO_RETRY), task("end", "a")
    )
    run.fail("a")
    run.fail("instead")
    run.retry("a")
    run.refused(retry("instead"), "no longer needs it")
    run.fail("a")
    run.retry("a")
    run.succeed("a")
    run.succeed("end", "beside")
    assert run.status == "COMPLETED"


# --- give a result ------------------------------------------------------------------------------------------------------


def test_a_person_gives_the_result_of_a_task_nobody_has_come_to() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b", params={"x": "${b}"}))
    run.set_result("b", 42, reason="done by hand")
    assert [(fact.decided_by, fact.reason) for fact in run.facts(f.TaskResultGiven)] == [("ada", "done by hand")]
    assert run.in_work == ["a", "c"]
    assert run.params("c") == {"x": 42}
    run.succeed("a")
    assert run.in_work == ["c"], "what has its result does not start when its turn comes"
    run.fail_for_good("c")
    assert carry_over(run.state).kept["b"] == codec.encode(42), "the next run keeps it"


@pytest.mark.parametrize(
    "wait", [TaskDefinition.timer("x", 60), TaskDefinition.wait_for("x", "go"), task("x", "first")]
)
def test_what_waits_takes_a_result(wait: TaskDefinition) -> None:
    run = Run(task("first"), wait, task("end", "x"))
    run.set_result("x", 3)
    assert "end" in run.in_work
    assert run.result("x") == 3
    assert run.wait(100) == []


def test_a_result_given_to_a_wait_takes_no_signal_away() -> None:
    run = Run(TaskDefinition.wait_for("x", "go"), TaskDefinition.wait_for("y", "go"))
    run.set_result("x", 3)
    run.signal("go", 9)
    assert (run.result("x"), run.result("y")) == (3, 9)


def test_results_for_what_failed_waits_for_a_retry_or_is_in_question() -> None:
    run = held_open(
        task("a", retry_policy=NO_RETRY),
        task("r", retry_policy=STEADY),
        once("pay", compensation="refund"),
        task("end", "a", "r", "pay"),
    )
    run.fail("a")
    run.fail("r")
    run.started("pay")
    run.crash()
    for key in ("a", "r", "pay"):
        run.set_result(key, key)
    assert run.in_work == ["beside", "end"]
    run.succeed("beside")
    run.fail_for_good("end")
    assert run.in_work == ["undo:pay"], "what somebody says is done is undone like the rest"


def test_items_and_iterations_take_results() -> None:
    run = held_open(
        task("each", for_each=[1, 2], retry_policy=NO_RETRY),
        task("loop", repeat_until="${loop} > 1", repeat_delay_seconds=10, retry_policy=NO_RETRY),
    )
    run.fail("each[0]")
    run.set_result("each[0]", 5)
    run.succeed("each[1]", value=6)
    assert run.result("each") == [5, 6]
    run.succeed("loop[0]", value=1)
    run.set_result("loop[1]", 2)
    assert run.result("loop") == 2


def test_a_failed_map_takes_a_result_as_a_whole() -> None:
    run = held_open(task("each", for_each=[1, 2], enough=2, retry_policy=NO_RETRY), task("end", "each"))
    run.fail("each[0]")
    run.refused(retry("each"), "has failed as a whole")
    run.refused(give("each[0]"), "which has ended")
    run.set_result("each", ["by", "hand"])
    assert run.result("each") == ["by", "hand"]
    assert "end" in run.in_work


def test_a_result_for_a_choice_is_what_it_chooses() -> None:
    one = TaskDefinition.choice("route", {"x": "true", "y": None}, {"a"})
    run = Run(task("a"), one, task("x", "route"), task("y", "route"))
    run.scenario.when(give("route", "z")).then_refused(InvalidInput, "takes one of 'x', 'y'")
    run.set_result("route", "y")
    assert run.statuses == {"a": "SCHEDULED", "route": "COMPLETED", "x": "SKIPPED", "y": "SCHEDULED"}
    many = TaskDefinition.choice("route", {"x": "true", "y": "true"}, {"a"}, choose_many=True)
    run = Run(task("a"), many, task("x", "route"), task("y", "route"))
    run.scenario.when(give("route", "x")).then_refused(InvalidInput, "a list of some of")
    run.set_result("route", ["x"])
    assert run.statuses["y"] == "SKIPPED"


def test_a_result_for_a_join_of_some_cancels_what_only_led_there() -> None:
    run = Run(task("a"), task("b"), task("first", "a", "b", join="any", cancel_rest=True))
    run.set_result("first", 1)
    assert run.statuses == {"a": "CANCELLED", "b": "CANCELLED", "first": "COMPLETED"}


def test_the_task_whose_end_ends_the_run_ends_it_with_a_given_result_too() -> None:
    run = Run(task("a"), task("end", "a", ends_run=True))
    run.set_result("end", 1)
    run.cancelled("a")
    assert run.status == "COMPLETED"


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ALL)
def test_what_is_in_work_is_left_alone(ask: Callable[[str], Command]) -> None:
    run = Run(task("a"), task("each", for_each=[1]))
    run.refused(ask("a"), r"is in work \(wait for its end, or `agenticflow runs cancel-task w a` goes on without it\)")
    run.refused(ask("each"), r"has begun \(name one of its parts, each\[0\] say")


@pytest.mark.parametrize("ask", ALL)
def test_what_has_ended_stays_as_it_is(ask: Callable[[str], Command]) -> None:
    run = Run(task("a"), task("b", "a", when="${a} == 1"), task("c"), task("rest"))
    run.succeed("a", value=2)
    run.cancel_task("c")
    run.refused(ask("a"), "has its result .*resume with from_task")
    run.refused(ask("b"), "is skipped, and what follows it was told")
    run.refused(ask("c"), "is cancelled, and what follows it was told")


@pytest.mark.parametrize("ask", ALL)
def test_an_unknown_task_is_named_with_those_there_are(ask: Callable[[str], Command]) -> None:
    run = Run(task("a"), task("each", "a", for_each=[1]))
    run.scenario.when(ask("b")).then_refused(InvalidInput, "has no task 'b' .*it has a, each")
    run.refused(ask("each[0]"), "is not there, or not yet")


@pytest.mark.parametrize("ask", ALL)
def test_a_failure_somebody_stands_in_for_is_theirs(ask: Callable[[str], Command]) -> None:
    run = Run(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead", retry_policy=STEADY))
    run.fail("a")
    run.refused(ask("a"), "has failed, and 'instead' stands in for it")


def test_what_cannot_be_skipped() -> None:
    run = held_open(
        task("each", for_each=[1, 2], retry_policy=STEADY), task("extra", on_failure="skip", retry_policy=NO_RETRY)
    )
    run.fail("each[0]")
    run.fail("extra")
    run.refused(skip("each[0]"), "is a part of task 'each'")
    run.refused(skip("extra"), "counts as skipped already")


def test_what_cannot_be_tried_again() -> None:
    run = held_open(
        task("later", "beside"),
        TaskDefinition.ask("q", "May I?"),
        once("pay"),
        task("loop", repeat_until="false", max_iterations=1),
    )
    run.started("pay")
    run.time_out("pay")
    run.succeed("loop[0]")
    run.refused(retry("later"), "has not started")
    run.refused(retry("q"), "waits, nothing of it has failed")
    run.refused(retry("pay"), "may have happened.*run_again")
    run.refused(retry("loop"), "has failed as a whole")


def test_what_takes_no_result() -> None:
    run = held_open(
        TaskDefinition.ask("q", "May I?"),
        TaskDefinition("next", dependencies={"beside"}, continue_with={"n": 1}),
        task("a", fallback="instead"),
        task("instead"),
    )
    run.refused(give("q"), r"asks a person \(approve or reject it\)")
    run.refused(give("next"), "begins the next run")
    run.refused(give("instead"), r"is the fallback of 'a', which has not failed \(give 'a' the result")


def test_a_fallback_that_is_about_to_be_skipped_does_not_stand_in_for_what_succeeded() -> None:
    """Found by random interventions: held back by a pause, it took a result, and what it stands in for was counted twice."""
    run = Run(task("a", fallback="instead"), task("instead"), task("end", "a", "beside"), task("beside"))
    run.pause()
    run.succeed("a", value=1)
    assert run.statuses["instead"] == "READY"
    run.refused(give("instead"), "is the fallback of 'a', which has not failed")
    run.resume()
    assert "end" not in run.in_work


@pytest.mark.parametrize("ask", ALL)
def test_a_run_that_has_ended_or_is_about_to_takes_none_of_it(ask: Callable[[str], Command]) -> None:
    run = Run(task("a"))
    run.abort()
    run.refused(ask("a"), "is being cancelled and takes no")
    run.cancelled("a")
    run.refused(ask("a"), "is CANCELLED and takes no .*opens its next run")
