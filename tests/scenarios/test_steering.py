"""What people do to a run: pause, resume, abort."""

from __future__ import annotations

import pytest

from agenticflow.core.engine import PauseActivities, TimersDue
from agenticflow.core.results import OutcomeKind
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.testing.scenarios import given
from tests.scenarios.runs import GUEST, START, Run, once, task

STEADY = RetryPolicy(max_attempts=3, initial_delay_seconds=10, multiplier=1, jitter=False)
ADVANCING = (
    f.TaskScheduled,
    f.TimerSet,
    f.TimerFired,
    f.SignalAwaited,
    f.MapExpanded,
    f.TaskRetryScheduled,
    f.TaskSkipped,
)


def test_a_paused_run_schedules_nothing_new_and_lets_work_in_flight_end() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    assert run.status == "PAUSED"
    run.succeed("a")
    assert run.in_work == []
    assert run.status == "PAUSED"
    run.resume()
    assert run.in_work == ["b"]


def test_pausing_and_resuming_twice_is_once() -> None:
    run = Run(task("a"))
    assert len(run.pause()) == 1
    assert run.pause() == []
    assert len(run.resume()) == 1
    assert run.resume() == []


def test_a_retry_due_while_paused_waits_for_the_resume_and_asks_nobody_before() -> None:
    run = Run(task("a", retry_policy=STEADY), task("b", retry_policy=STEADY))
    run.fail("a")
    run.pause()
    assert run.due is None
    run.wait(60)
    run.fail("b")
    assert run.in_work == []
    assert run.status == "PAUSED"
    run.resume()
    assert run.due == 10
    run.wait(0)
    assert run.in_work == ["a"]
    run.wait(10)
    assert run.in_work == ["a", "b"]


def test_a_retry_is_not_repeated_by_pausing_and_resuming_often() -> None:
    run = Run(task("a", retry_policy=STEADY), TaskDefinition.timer("t", 5))
    run.fail("a")
    for _ in range(3):
        run.pause()
        run.resume()
    run.wait(60)
    assert run.record("a").attempt == 2
    assert len(run.facts(f.TaskScheduled)) == 2


def test_timers_and_signals_go_on_while_paused_but_start_nothing() -> None:
    run = Run(
        TaskDefinition.timer("t", 5), TaskDefinition.wait_for("s", "go"), task("after_t", "t"), task("after_s", "s")
    )
    run.pause()
    run.wait(5)
    run.signal("go")
    assert run.statuses == {"t": "COMPLETED", "s": "COMPLETED", "after_t": "READY", "after_s": "READY"}
    run.resume()
    assert run.in_work == ["after_t", "after_s"]


def test_a_paused_run_with_nothing_left_to_schedule_ends() -> None:
    run = Run(task("a"))
    run.pause()
    run.succeed("a")
    assert run.status == "COMPLETED"


def test_a_pause_outlives_a_restart() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    assert list(run.crash()) == ["a"]
    run.succeed("a")
    assert run.in_work == []


def test_an_abort_ends_a_run_with_nothing_in_flight_at_once() -> None:
    run = Run(TaskDefinition.timer("t", 60), TaskDefinition.wait_for("s", "go"), task("b", "t"))
    run.abort("not needed")
    assert run.status == "CANCELLED"
    assert run.statuses == {"t": "CANCELLED", "s": "CANCELLED"}
    assert run.facts(f.WorkflowCancelled)[0].reason == "not needed"
    assert run.state.next_due is None


def test_an_abort_tells_what_is_in_flight_to_stop_and_waits_for_it() -> None:
    run = Run(task("a"), task("b"), task("c", "a"))
    tokens = [run.token("a"), run.token("b")]
    run.abort()
    assert run.stopped == tokens
    assert run.status == "RUNNING"
    run.cancelled("a")
    run.cancelled("b")
    assert run.status == "CANCELLED"
    assert run.statuses == {"a": "CANCELLED", "b": "CANCELLED"}


def test_outcomes_after_an_abort_are_recorded_and_advance_nothing() -> None:
    run = Run(
        task("done", params={}),
        task("broken"),
        task("after", "done"),
        task("list"),
        task("map", "list", for_each="${list}", max_parallel=1),
    )
    run.succeed("list", value=[1, 2])
    run.abort()
    before = run.scenario.version
    run.succeed("done", value="a charge that went through late")
    run.fail("broken")
    run.succeed("map[0]")
    assert run.status == "CANCELLED"
    assert not [fact for fact in run.scenario.history[before:] if isinstance(fact, ADVANCING)]
    assert run.statuses == {
        "done": "COMPLETED",
        "broken": "FAILED",
        "list": "COMPLETED",
        "map": "CANCELLED",
        "map[0]": "COMPLETED",
    }
    assert run.result("done") == "a charge that went through late"


def test_a_map_whose_last_items_end_after_the_abort_has_its_result() -> None:
    run = Run(task("map", for_each=[1, 2]), task("after", "map"))
    run.abort()
    run.succeed("map[0]", "map[1]", value=5)
    assert run.result("map") == [5, 5]
    assert run.status == "CANCELLED"


def test_what_does_not_stop_within_the_grace_is_unknown() -> None:
    run = Run(task("a"), task("b", "a"))
    run.abort(grace=3)
    run.wait(2.9)
    assert run.state.is_open
    run.wait(0.1)
    assert run.statuses == {"a": "UNKNOWN"}
    assert run.status == "CANCELLED"
    assert run.succeed("a") == []


def test_no_grace_is_over_at_once() -> None:
    run = Run(task("a"))
    run.abort(grace=0)
    run.wait(0)
    assert run.status == "CANCELLED"


@pytest.mark.parametrize("grace", [-1.0, float("nan"), float("inf"), 1e12])
def test_an_impossible_grace_is_refused(grace: float) -> None:
    run = Run(task("a"))
    command = c.Abort(now=run.now, requested_by="somebody", grace_seconds=grace)
    run.scenario.when(command).then_refused(InvalidInput, "give 0 to 86,400")
    assert run.status == "RUNNING"


def test_the_engine_is_not_asked_again_and_again_when_the_grace_is_over_before_an_abandoned_handler() -> None:
    """Found by reading: the grace's timer stayed due until the last abandoned attempt was given up, seconds of busy waiting."""
    run = Run(task("a", retry_policy=STEADY), task("b"))
    run.time_out("a", is_abandoned=True)
    run.abort(grace=1)
    run.wait(1)
    assert run.statuses["b"] == "UNKNOWN"
    assert run.state.is_open
    assert run.due == 10
    run.wait(9)
    assert run.status == "CANCELLED"


def test_work_that_was_interrupted_by_an_abort_and_must_not_run_twice_is_in_question() -> None:
    """It was told to stop in the middle of something: nobody can say how far it came."""
    run = Run(once("pay"))
    run.started("pay")
    run.abort()
    run.cancelled("pay")
    assert run.statuses["pay"] == "UNKNOWN"
    assert run.status == "CANCELLED"


def test_work_that_must_not_run_twice_and_never_started_is_simply_cancelled() -> None:
    told, silent = Run(once("pay")), Run(once("pay"))
    for run in (told, silent):
        run.abort()
    assert told.started("pay") == []
    told.cancelled("pay")
    silent.wait(10)
    assert told.statuses == silent.statuses == {"pay": "CANCELLED"}


def test_work_in_question_resolves_itself_during_the_grace() -> None:
    run = Run(once("pay"), task("other"), task("after", "pay"))
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.abort()
    run.succeed("pay", value="it went through")
    run.cancelled("other")
    assert run.statuses == {"pay": "COMPLETED", "other": "CANCELLED"}


def test_a_run_being_cancelled_takes_no_more_wishes() -> None:
    run = Run(task("a"))
    run.abort()
    for command in (
        c.Pause(now=run.now, requested_by="x"),
        c.Resume(now=run.now, requested_by="x"),
        c.Abort(now=run.now, requested_by="x"),
        c.Signal(now=run.now, signal="s", value=b"\xc0", requested_by="x"),
        c.Resolve(now=run.now, task_key="a", decision="failed", requested_by="x"),
    ):
        run.refused(command, "is being cancelled and takes no")


def test_a_refusal_says_where_the_run_stands_in_peoples_words_and_what_is_possible() -> None:
    approve = c.Approve(now=START, task_key="a", requested_by="x")
    ended = Run(task("a"))
    ended.succeed("a")
    ended.refused(approve, "is COMPLETED and takes no approval .*--from-task")
    failed = Run(task("a"))
    failed.fail_for_good("a")
    failed.refused(approve, "is FAILED and takes no approval .*opens its next run")
    going = Run(task("a"))
    going.abort()
    going.refused(approve, "is being cancelled and takes no approval .*wait for its end")
    next_one = Run(TaskDefinition("again", continue_with=1))
    next_one.refused(approve, "is being continued in the next and takes no approval .*the next run takes it")
    next_one.ask(c.NextRunStarted(now=START))
    next_one.refused(approve, "is CONTINUED and takes no approval .*the run after it")
    undone = Run(task("a", compensation="undo"), task("b", "a"))
    undone.succeed("a")
    undone.fail_for_good("b")
    undone.refused(approve, "is being undone and takes no approval .*runs resolve w TASK")
    nothing_yet = given(GUEST, stream_id="workflow-w/1")
    nothing_yet.when(approve).then_refused(CommandRefused, "has not started and takes no approval .*start it first")


def test_total_limits_do_not_matter_during_the_grace() -> None:
    run = Run(task("a", total_timeout_seconds=5), timeout_seconds=6)
    run.abort(grace=10)
    assert run.wait(9) == []
    run.ended("a", OutcomeKind.CANCELLED)
    assert run.status == "CANCELLED"


def test_an_abort_while_paused_ends_the_run() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    run.succeed("a")
    run.abort()
    assert run.status == "CANCELLED"
    assert run.facts(f.WorkflowCancelled)


def test_a_restart_during_the_grace_ends_what_was_in_flight() -> None:
    run = Run(task("a"), once("pay"), once("queued"))
    run.started("pay")
    run.abort()
    assert run.crash() == {}
    assert run.statuses == {"a": "CANCELLED", "pay": "UNKNOWN", "queued": "CANCELLED"}
    assert run.status == "CANCELLED"


def test_wishes_come_after_the_start() -> None:
    nothing_yet = given(GUEST, stream_id="workflow-w/1")
    nothing_yet.when(c.Pause(now=1, requested_by="x")).then_refused(CommandRefused, "has not started")
    nothing_yet.when(TimersDue(now=1)).then_nothing()
    assert nothing_yet.state.status == "PENDING"


def test_a_pause_reaches_what_is_scheduled_and_has_not_started() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    assert run.effects == [PauseActivities(True)]
    assert GUEST.recover(run.state, run.now).effects[0] == PauseActivities(True), "a restart does not forget the pause"
    run.resume()
    assert run.effects[0] == PauseActivities(False)
    run.pause()
    run.abort()
    assert run.effects[-1] == PauseActivities(False), "who holds attempts back may forget them"


def test_a_run_that_ends_while_it_is_paused_holds_nothing_back() -> None:
    run = Run(task("a"))
    run.pause()
    run.succeed("a")
    assert run.status == "COMPLETED"
    assert run.effects == [PauseActivities(False)]
