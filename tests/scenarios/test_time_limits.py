"""Time limits: of an attempt, of a task with all its attempts, of the whole run. Each is a recorded moment."""

from __future__ import annotations

from agenticflow.core.results import OutcomeKind
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import SECOND, Run, once, seconds, task

STEADY = RetryPolicy(max_attempts=3, initial_delay_seconds=10, multiplier=1, jitter=False)


def test_an_attempt_that_passes_its_limit_is_tried_again() -> None:
    run = Run(task("a", timeout_seconds=5, retry_policy=STEADY))
    run.time_out("a")
    assert run.statuses["a"] == "RETRYING"
    assert run.errors("a")[0].code == "timeout"


def test_the_limit_of_an_attempt_is_a_moment_that_a_restart_does_not_move() -> None:
    run = Run(task("a", timeout_seconds=60))
    run.started("a", limit=60)
    run.sleep(45)
    again = run.crash()["a"]
    assert seconds(again.deadline) == 60
    assert again.attempt == 1


def test_an_attempt_whose_limit_passed_while_nobody_looked_has_failed() -> None:
    run = Run(task("a", timeout_seconds=60, retry_policy=STEADY))
    run.started("a", limit=60)
    run.sleep(60)
    assert run.crash() == {}
    assert run.statuses["a"] == "RETRYING"
    assert "passed its limit of 60 s while its process was down" in run.errors("a")[0].message


def test_an_attempt_that_was_never_seen_running_starts_afresh_after_a_restart() -> None:
    run = Run(task("a", timeout_seconds=60))
    run.sleep(3600)
    assert run.crash()["a"].deadline is None


def test_the_next_attempt_has_a_limit_of_its_own() -> None:
    run = Run(task("a", timeout_seconds=60, retry_policy=STEADY))
    run.started("a", limit=60)
    run.fail("a")
    run.wait(10)
    assert run.dispatched["a"].deadline is None


def test_the_total_limit_ends_a_running_task_and_tells_its_handler_to_stop() -> None:
    run = Run(task("a", total_timeout_seconds=30), task("b", "a"))
    token = run.token("a")
    run.wait(30)
    assert run.statuses["a"] == "FAILED"
    assert run.stopped == [token]
    assert run.status == "RUNNING"  # its handler still runs, the end of the run waits for it
    run.cancelled("a")
    assert run.status == "FAILED"
    assert run.facts(f.TaskLateOutcome)[0].kind is OutcomeKind.CANCELLED


def test_the_total_limit_counts_from_the_first_scheduling_through_all_attempts() -> None:
    run = Run(task("a", total_timeout_seconds=25, retry_policy=STEADY))
    run.fail("a")
    run.wait(10)
    run.fail("a")
    run.wait(10)
    assert run.record("a").attempt == 3
    run.wait(5)
    assert run.statuses["a"] == "FAILED"
    assert "it was not done within its total limit of 25 s" in run.errors("a")[-1].message


def test_a_task_waiting_for_its_retry_fails_when_its_total_limit_passes() -> None:
    run = Run(task("a", total_timeout_seconds=5, retry_policy=STEADY))
    run.fail("a")
    run.wait(5)
    assert run.status == "FAILED"


def test_nothing_is_tried_again_after_the_total_limit_though_the_retry_was_due_before() -> None:
    """Both were due while nobody looked: no attempt is scheduled only to be stopped."""
    run = Run(task("a", total_timeout_seconds=15, retry_policy=STEADY))
    run.fail("a")
    run.sleep(100)
    assert [type(fact) for fact in run.timers()] == [f.TaskFailed, f.WorkflowFailed]


def test_a_task_done_in_time_does_not_hear_of_its_limit_any_more() -> None:
    run = Run(task("a", total_timeout_seconds=5), TaskDefinition.timer("long", 100))
    run.succeed("a")
    assert run.wait(50) == []
    assert run.due == 100


def test_a_limit_that_no_longer_matters_is_not_heard_of_behind_an_earlier_timer() -> None:
    run = Run(task("a", total_timeout_seconds=10), TaskDefinition.timer("t", 5), task("b"))
    run.succeed("a")
    run.sleep(20)
    assert run.timers() == [f.TimerFired("t")]


def test_work_that_must_not_run_twice_is_in_question_when_its_total_limit_passes_while_it_runs() -> None:
    run = Run(once("pay", total_timeout_seconds=30))
    run.started("pay")
    run.wait(30)
    assert run.status == "NEEDS_ATTENTION"
    assert "total limit of 30 s passed" in run.facts(f.TaskOutcomeUnknown)[0].reason


def test_work_that_must_not_run_twice_has_simply_failed_when_it_never_started() -> None:
    """Its intent was never recorded, so it has certainly not happened: nobody has to ask."""
    run = Run(once("pay", total_timeout_seconds=30))
    token = run.token("pay")
    run.wait(30)
    assert run.statuses["pay"] == "FAILED"
    assert run.stopped == [token]
    assert run.started("pay") == []
    run.cancelled("pay")
    assert run.status == "FAILED"


def test_the_limit_of_the_run_stops_everything_and_fails_it() -> None:
    run = Run(task("a"), task("b", "a"), TaskDefinition.timer("t", 500), timeout_seconds=60)
    token = run.token("a")
    run.wait(60)
    assert run.stopped == [token]
    assert run.statuses == {"a": "SCHEDULED", "t": "CANCELLED"}
    run.cancelled("a")
    assert run.status == "FAILED"
    problem = run.facts(f.WorkflowFailed)[0]
    assert problem.error.code == "timeout"
    assert problem.error.message == "the workflow's limit of 60 s passed"
    assert problem.error.at == run.now
    assert problem.remaining == ["b", "t"]


def test_the_limit_of_the_run_is_a_moment_that_a_restart_does_not_move() -> None:
    run = Run(TaskDefinition.timer("t", 500), timeout_seconds=60)
    run.sleep(59)
    run.crash()
    assert run.due == 60


def test_nothing_else_happens_when_the_limit_of_the_run_passed_while_nobody_looked() -> None:
    run = Run(
        task("a", retry_policy=STEADY),
        TaskDefinition.timer("t", 20),
        task("after", "t"),
        timeout_seconds=60,
    )
    run.fail("a")
    run.sleep(600)
    assert [type(fact) for fact in run.timers()] == [f.WorkflowCancelRequested, f.WorkflowFailed]
    assert run.effects == []


def test_the_limit_of_the_run_counts_while_it_is_paused() -> None:
    run = Run(task("a"), task("b", "a"), timeout_seconds=60)
    run.pause()
    run.succeed("a")
    run.wait(60)
    assert run.status == "FAILED"


def test_an_abandoned_attempt_does_not_hold_up_the_next_one() -> None:
    run = Run(task("a", timeout_seconds=5, retry_policy=STEADY))
    run.time_out("a", is_abandoned=True)
    run.wait(10)
    assert run.in_work == ["a"]


def test_what_an_abandoned_attempt_brings_after_all_is_recorded_and_changes_nothing() -> None:
    run = Run(task("a", timeout_seconds=5, retry_policy=STEADY), task("b", "a"))
    old = run.token("a")
    run.time_out("a", is_abandoned=True)
    run.wait(5)
    facts = run.succeed("a", value="too late", token=old)
    assert [(type(fact)) for fact in facts] == [f.TaskLateOutcome]
    assert run.statuses["a"] == "RETRYING"
    assert run.succeed("a", value="again", token=old) == []


def test_the_end_of_a_run_waits_for_abandoned_attempts_until_their_grace_is_over() -> None:
    run = Run(task("a", timeout_seconds=5, retry_policy=RetryPolicy(max_attempts=1)))
    run.time_out("a", is_abandoned=True)
    assert (run.statuses["a"], run.status) == ("FAILED", "RUNNING")
    run.wait(9.9)
    assert run.state.is_open
    run.wait(0.1)
    assert run.status == "FAILED"
    assert run.facts(f.TaskLateOutcome)[0].kind is OutcomeKind.UNKNOWN


def test_being_abandoned_again_is_no_news() -> None:
    run = Run(task("a", timeout_seconds=5, retry_policy=STEADY))
    old = run.token("a")
    run.time_out("a", is_abandoned=True)
    assert run.time_out("a", is_abandoned=True, token=old) == []


def test_the_end_of_an_abandoned_attempt_ends_the_wait_for_it() -> None:
    run = Run(task("a", retry_policy=RetryPolicy(max_attempts=1)))
    run.time_out("a", is_abandoned=True)
    run.fail("a")
    assert run.status == "FAILED"
    assert run.facts(f.TaskLateOutcome)[0].kind is OutcomeKind.FAILED


def test_a_late_success_keeps_its_result_for_those_who_have_to_undo_it() -> None:
    run = Run(task("a", retry_policy=RetryPolicy(max_attempts=1)))
    run.time_out("a", is_abandoned=True)
    run.succeed("a", value={"charge": 7})
    assert bytes(run.facts(f.TaskLateOutcome)[0].result) == b"\x81\xa6charge\x07"


def test_time_is_kept_in_whole_nanoseconds() -> None:
    run = Run(TaskDefinition.timer("t", 0.1))
    assert run.facts(f.TimerSet)[0].due - run.now == SECOND // 10


def test_the_total_limit_goes_with_a_task_to_the_next_agent() -> None:
    run = Run(
        task(
            "move", on_failure="reassign", reassign_to=["second"], total_timeout_seconds=60, retry_policy=RetryPolicy(1)
        )
    )
    run.fail("move")
    assert run.due == 60
    run.wait(60)
    assert run.errors("move")[-1].type == "TaskTimeout"
