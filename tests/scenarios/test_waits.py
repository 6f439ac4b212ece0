"""Timers and signals: tasks that wait, and need nobody to perform them."""

from __future__ import annotations

from agenticflow.core.engine import TimersDue
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import SECOND, START, Run, task

wait_for = TaskDefinition.wait_for
timer = TaskDefinition.timer


def test_a_timer_completes_at_its_moment_and_not_before() -> None:
    run = Run(timer("pause", 60), task("after", "pause"))
    assert run.status == "WAITING"
    assert run.due == 60
    run.wait(59.999)
    assert run.facts(f.TimerFired) == []
    run.wait(0.001)
    assert run.in_work == ["after"]
    assert run.result("pause") is None


def test_a_timer_runs_from_the_moment_its_dependencies_were_met() -> None:
    run = Run(task("a"), timer("pause", 60, {"a"}))
    run.sleep(100)
    run.succeed("a")
    assert run.due == 160


def test_a_restart_does_not_restart_a_timer() -> None:
    run = Run(timer("pause", 60))
    run.sleep(45)
    assert run.crash() == {}
    assert run.due == 60


def test_timers_missed_while_nobody_looked_fire_together_earliest_first() -> None:
    run = Run(timer("b", 20), timer("a", 10), timer("later", 100))
    run.sleep(50)
    assert [fact.task_key for fact in run.timers() if isinstance(fact, f.TimerFired)] == ["a", "b"]
    assert run.due == 100


def test_a_look_too_early_changes_nothing() -> None:
    run = Run(timer("a", 10))
    run.scenario.when(TimersDue(now=START + 10 * SECOND - 1)).then_nothing()
    run.scenario.when(TimersDue(now=START + 10 * SECOND)).then(f.TimerFired("a"), f.WorkflowCompleted())
    run.scenario.when(TimersDue(now=START + 11 * SECOND)).then_nothing()


def test_a_timer_of_no_time_is_due_at_once() -> None:
    run = Run(timer("a", 0))
    run.wait(0)
    assert run.status == "COMPLETED"


def test_a_signal_completes_the_task_that_waits_for_it_with_what_it_carries() -> None:
    run = Run(wait_for("approval", "approved"), task("ship", "approval", params={"by": "${approval.by}"}))
    assert run.status == "WAITING"
    run.signal("approved", {"by": "ada"})
    assert run.params("ship") == {"by": "ada"}


def test_a_signal_that_comes_early_is_kept_until_somebody_waits_for_it() -> None:
    run = Run(task("a"), wait_for("approval", "approved", {"a"}))
    run.signal("approved", "yes")
    run.succeed("a")
    assert run.status == "COMPLETED"
    assert run.result("approval") == "yes"


def test_signals_are_taken_once_and_in_the_order_of_arrival() -> None:
    run = Run(task("a"), wait_for("one", "s", {"a"}), wait_for("two", "s", {"one"}), wait_for("three", "s", {"two"}))
    run.signal("s", 1)
    run.signal("s", 2)
    run.succeed("a")
    assert (run.result("one"), run.result("two")) == (1, 2)
    assert run.statuses["three"] == "WAITING"
    run.signal("s", 3)
    assert run.result("three") == 3


def test_of_two_waiters_the_one_that_has_waited_longer_is_served_first() -> None:
    run = Run(wait_for("first", "s"), task("a"), wait_for("second", "s", {"a"}))
    run.succeed("a")
    run.signal("s", 1)
    assert run.statuses["second"] == "WAITING"
    run.signal("s", 2)
    assert (run.result("first"), run.result("second")) == (1, 2)


def test_signals_of_other_names_do_not_disturb() -> None:
    run = Run(wait_for("a", "wanted"))
    run.signal("other")
    assert run.status == "WAITING"


def test_two_signals_at_hand_are_delivered_in_one_commit() -> None:
    run = Run(task("start"), wait_for("a", "x", {"start"}), wait_for("b", "y", {"start"}))
    run.signal("y", "Y")
    run.signal("x", "X")
    run.succeed("start")
    assert run.status == "COMPLETED"
    assert run.output == {"a": "X", "b": "Y"}


def test_a_signal_that_does_not_come_in_time_fails_its_task() -> None:
    run = Run(wait_for("approval", "approved", total_timeout_seconds=3600), task("ship", "approval"))
    run.wait(3600)
    assert run.status == "FAILED"
    error = run.errors("approval")[0]
    assert error.code == "timeout"
    assert "signal 'approved' did not come within its total limit of 3600 s" in error.message


def test_a_waiter_whose_time_is_up_leaves_its_signal_to_the_next() -> None:
    run = Run(wait_for("hasty", "s", total_timeout_seconds=10), wait_for("patient", "s"))
    run.wait(10)
    run.signal("s", "for the patient one")
    assert run.result("patient") == "for the patient one"


def test_a_signal_in_time_ends_the_limit_of_the_wait() -> None:
    run = Run(wait_for("approval", "s", total_timeout_seconds=10), timer("long", 100))
    run.signal("s")
    run.wait(50)
    assert run.statuses["approval"] == "COMPLETED"


def test_waits_take_conditions_like_any_task() -> None:
    run = Run(task("a"), timer("nap", 5, {"a"}, when="${a} > 1"), wait_for("s", "go", {"a"}, when="${a} > 1"))
    run.succeed("a", value=1)
    assert run.status == "COMPLETED"
