"""Work that must not run twice: the intent is recorded first, and what nobody knows is asked, never tried again."""

from __future__ import annotations

import pytest

from agenticflow.core import codec
from agenticflow.core.engine import ActivityFinished, ActivityStarted, CheckActivity, OutcomeChecked
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind, describe_error
from agenticflow.errors import CommandRefused, OutcomeUnknown
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import GUEST, Run, once, task


def in_question(**options: object) -> Run:
    """A payment that started and whose process then died."""
    run = Run(once("pay", **options), task("ship", "pay"))
    run.started("pay")
    run.crash()
    return run


def test_the_intent_is_recorded_once_and_only_for_the_current_attempt() -> None:
    run = Run(once("pay"))
    assert len(run.started("pay", limit=60)) == 1
    assert run.started("pay", limit=60) == []
    assert run.statuses["pay"] == "RUNNING"


def test_a_stale_attempt_may_not_start() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.time_out("pay")
    run.resolve("pay", "run_again")
    old = run.facts(f.TaskStarted)[0].token
    assert run.token("pay") != old
    assert run.ask(ActivityStarted(now=run.now, task_key="pay", token=old)) == []
    assert run.succeed("pay", token=old) == []
    assert run.statuses["pay"] == "SCHEDULED"


def test_what_was_only_scheduled_is_free_to_run_after_a_crash() -> None:
    run = Run(once("pay"))
    assert list(run.crash()) == ["pay"]


def test_what_had_started_is_in_question_after_a_crash_and_not_run_again() -> None:
    run = in_question()
    assert run.crash() == {}
    assert run.statuses == {"pay": "UNKNOWN"}
    assert run.status == "NEEDS_ATTENTION"
    assert run.wait(1_000_000) == []
    assert run.facts(f.TaskOutcomeUnknown)[0].reason == "its process ended while it ran"


def test_what_passed_its_limit_is_in_question_and_its_handler_told_to_stop() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.time_out("pay")
    assert run.statuses["pay"] == "UNKNOWN"
    assert run.stopped == [run.token("pay")]


def test_an_error_is_an_answer_and_the_default_is_no_second_attempt() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.fail("pay", ConnectionError("card refused"))
    assert run.status == "FAILED"


def test_the_rest_of_the_run_goes_on_while_a_task_is_in_question() -> None:
    run = Run(once("pay"), task("other"), TaskDefinition.timer("t", 5), task("ship", "pay"))
    run.started("pay")
    run.time_out("pay")
    assert run.status == "RUNNING"
    run.succeed("other")
    assert run.status == "WAITING"
    run.wait(5)
    assert run.status == "NEEDS_ATTENTION"


def test_a_late_report_of_success_resolves_it() -> None:
    run = Run(once("pay"), task("ship", "pay"))
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.succeed("pay", value="receipt")
    assert run.in_work == ["ship"]
    assert run.result("pay") == "receipt"


def test_a_late_report_of_failure_resolves_it_and_is_kept_like_any_error() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.sleep(3)
    run.fail("pay", RuntimeError("card refused"))
    assert run.status == "FAILED"
    (error,) = run.errors("pay")
    assert (error.message, error.attempt, error.at) == ("card refused", 1, run.now)


@pytest.mark.parametrize(
    "kind", [OutcomeKind.TIMED_OUT, OutcomeKind.CANCELLED, OutcomeKind.UNKNOWN, OutcomeKind.FAILED]
)
def test_a_late_report_that_knows_nothing_leaves_the_question_open(kind: OutcomeKind) -> None:
    run = in_question()
    assert run.ended("pay", kind) == []
    assert run.status == "NEEDS_ATTENTION"


def test_an_interrupted_handler_leaves_a_question() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.cancelled("pay")
    assert run.facts(f.TaskOutcomeUnknown)[0].reason == "it was interrupted while it ran"


def test_a_person_says_it_happened() -> None:
    run = in_question()
    run.resolve("pay", "completed", value={"receipt": 7})
    assert run.in_work == ["ship"]
    assert run.result("pay") == {"receipt": 7}
    assert run.facts(f.TaskCompleted)[0].decided_by == "somebody"
    assert run.succeed("pay", value="late") == []


def test_a_person_says_it_did_not_happen() -> None:
    run = in_question()
    run.resolve("pay", "failed", reason="the bank knows nothing of it")
    assert run.status == "FAILED"
    assert run.facts(f.TaskFailed)[0].decided_by == "somebody"
    assert run.errors("pay")[0] == ErrorInfo("ResolvedAsFailed", "the bank knows nothing of it", attempt=1, at=run.now)


def test_saying_nothing_more_is_enough_to_fail_it() -> None:
    run = in_question()
    run.resolve("pay", "failed")
    assert run.errors("pay")[0].message == "decided by a person"


def test_a_person_lets_it_run_again_under_a_new_generation() -> None:
    run = in_question()
    run.resolve("pay", "run_again")
    again = run.dispatched["pay"]
    assert (again.generation, again.attempt) == (1, 1)
    run.started("pay")
    run.crash()
    run.resolve("pay", "run_again")
    assert run.dispatched["pay"].generation == 2
    run.started("pay")
    run.succeed("pay")
    assert run.in_work == ["ship"]


def test_run_again_while_paused_waits_for_the_resume() -> None:
    run = in_question()
    run.pause()
    run.resolve("pay", "run_again")
    assert run.dispatched == {}
    run.resume()
    assert run.dispatched["pay"].generation == 1


def test_a_new_generation_has_a_total_limit_of_its_own() -> None:
    """Found by reading: behind an earlier timer the old limit survived and ended the new generation."""
    run = Run(once("pay", total_timeout_seconds=100), TaskDefinition.timer("earlier", 90))
    run.started("pay")
    run.wait(50)
    run.time_out("pay")
    run.wait(20)
    run.resolve("pay", "run_again")
    run.started("pay")
    run.wait(99)
    assert run.statuses["pay"] == "RUNNING"
    run.wait(1)
    assert run.statuses["pay"] == "UNKNOWN"


def test_an_old_limit_does_not_disturb_a_new_generation_that_waits_for_the_resume() -> None:
    run = Run(once("pay", total_timeout_seconds=100), TaskDefinition.timer("earlier", 90), task("x"), task("y", "x"))
    run.started("pay")
    run.time_out("pay")
    run.pause()
    run.succeed("x")
    run.resolve("pay", "run_again")
    run.wait(200)
    assert run.statuses["pay"] == "READY"
    run.resume()
    assert set(run.in_work) == {"y", "pay"}


def test_only_what_is_in_question_can_be_resolved() -> None:
    run = in_question()
    run.refused(
        c.Resolve(now=run.now, task_key="ship", decision="failed", requested_by="x"),
        "not in question .*in question: pay",
    )
    run.resolve("pay", "completed")
    run.refused(c.Resolve(now=run.now, task_key="pay", decision="failed", requested_by="x"), "in question: none")


def aborted_in_question() -> Run:
    run = Run(once("pay"), task("ship", "pay"))
    run.started("pay")
    run.abort(grace=1)
    run.wait(1)
    assert (run.statuses["pay"], run.status) == ("UNKNOWN", "CANCELLED")
    return run


def test_the_next_run_does_not_run_it_again_by_itself() -> None:
    """Found by reading: after an abort, resume_workflow started a payment in question a second time, under the same effect key."""
    run = aborted_in_question()
    with pytest.raises(CommandRefused, match=r"'pay' of workflow 'w' happened.* from_task='pay'"):
        carry_over(run.state)
    with pytest.raises(CommandRefused, match="must not run twice"):
        carry_over(run.state, "ship")


def test_the_next_run_runs_it_when_somebody_asks_for_that_under_a_new_generation() -> None:
    run = aborted_in_question()
    again = Run(once("pay"), task("ship", "pay"), run_no=2, carried=carry_over(run.state, "pay"))
    assert again.dispatched["pay"].generation == 1


def test_harmless_work_of_unknown_outcome_is_run_by_the_next_run() -> None:
    run = Run(task("a"))
    run.abort(grace=1)
    run.wait(1)
    assert run.statuses["a"] == "UNKNOWN"
    assert carry_over(run.state).kept == {}
    assert carry_over(run.state).generations == {}


def test_a_handler_that_says_nobody_knows_leaves_a_question_in_its_own_words() -> None:
    run = Run(once("pay"), task("ship", "pay"))
    run.started("pay")
    told = describe_error(OutcomeUnknown("the bank hung up"))
    run.ask(
        ActivityFinished(
            now=run.now, task_key="pay", token=run.token("pay"), outcome=Outcome(OutcomeKind.UNKNOWN, error=told)
        )
    )
    assert run.facts(f.TaskOutcomeUnknown)[0].reason == "the bank hung up"
    assert run.status == "NEEDS_ATTENTION"


def test_whoever_performed_it_is_asked_whether_it_happened_and_again_after_a_restart() -> None:
    run = Run(once("pay"), task("ship", "pay"))
    attempt = run.dispatched["pay"]
    run.started("pay")
    run.time_out("pay")
    assert run.effects[-1] == CheckActivity(attempt)
    assert GUEST.recover(run.state, run.now).effects == [CheckActivity(attempt)]


def checked(run: Run, decision: str = "completed", token: int = 0) -> OutcomeChecked:
    return OutcomeChecked(
        now=run.now,
        task_key="pay",
        token=token or run.token("pay"),
        decision="completed" if decision == "completed" else "run_again",
        value=codec.encode("found"),
        checked_by="check of pay",
    )


def test_a_check_decides_like_a_person_and_only_about_the_attempt_it_was_asked_for() -> None:
    run = in_question()
    old = run.token("pay")
    run.ask(checked(run, "run_again"))
    assert run.dispatched["pay"].generation == 1
    run.refused(checked(run), "not in question")
    run.started("pay")
    run.crash()
    run.refused(checked(run, token=old), "not in question")
    run.ask(checked(run))
    assert run.result("pay") == "found"
    assert run.facts(f.TaskCompleted)[0].decided_by == "check of pay"


def test_what_is_being_aborted_is_left_to_a_person() -> None:
    run = Run(once("pay"), task("other"))
    run.started("pay")
    run.started("other")
    run.abort(grace=10)
    run.cancelled("pay")
    assert run.statuses["pay"] == "UNKNOWN"
    assert not [effect for effect in run.effects if isinstance(effect, CheckActivity)]
