"""Failures: independent branches finish, then the run fails and says what failed and what never ran."""

from __future__ import annotations

from agenticflow.core.engine import TellPerformer
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, task


def test_independent_branches_finish_before_the_run_fails() -> None:
    run = Run(task("bad"), task("good"), task("after_good", "good"), task("after_bad", "bad"))
    run.fail_for_good("bad")
    assert run.status == "RUNNING"
    run.succeed("good")
    run.succeed("after_good")
    assert run.status == "FAILED"
    assert run.statuses == {"bad": "FAILED", "good": "COMPLETED", "after_good": "COMPLETED"}


def test_a_failed_run_names_what_failed_and_what_never_ran() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b"), task("d"))
    run.fail_for_good("a")
    run.succeed("d")
    problem = run.facts(f.WorkflowFailed)[0]
    assert problem.failed == ["a"]
    assert problem.remaining == ["b", "c"]
    assert problem.error.message == "1 task failed, the first: 'a' with Broken: for good"
    assert problem.error.at == run.now


def test_several_failures_are_all_named() -> None:
    run = Run(task("a"), task("b"))
    run.fail_for_good("b")
    run.fail_for_good("a")
    problem = run.facts(f.WorkflowFailed)[0]
    assert problem.failed == ["a", "b"]
    assert problem.error.message.startswith("2 tasks failed, the first: 'a'")


def test_a_join_of_all_below_a_failed_task_never_runs() -> None:
    run = Run(task("a"), task("b"), task("join", "a", "b"))
    run.fail_for_good("a")
    run.succeed("b")
    assert run.status == "FAILED"
    assert "join" not in run.statuses


def test_long_lists_of_failures_are_cut() -> None:
    run = Run(*(task(f"t{i}") for i in range(150)), *(task(f"u{i}", f"t{i}") for i in range(150)))
    for i in range(150):
        run.fail_for_good(f"t{i}")
    problem = run.facts(f.WorkflowFailed)[0]
    assert len(problem.failed) == len(problem.remaining) == 100


def test_a_timer_beside_a_failure_is_waited_for() -> None:
    run = Run(task("a"), TaskDefinition.timer("t", 60))
    run.fail_for_good("a")
    assert run.status == "WAITING"
    run.wait(60)
    assert run.status == "FAILED"


def test_the_performer_is_told_of_a_failure_for_good_and_not_of_one_that_is_tried_again() -> None:
    run = Run(task("a"))
    run.fail("a")
    assert run.effects == []
    run.wait(60)
    run.fail_for_good("a")
    assert run.effects == [TellPerformer("agent", "task_failed")]


def test_an_ended_run_hears_nothing_any_more() -> None:
    run = Run(task("a"))
    run.fail_for_good("a")
    assert run.succeed("a") == []
    assert run.timers() == []
    assert run.started("a") == []
    assert run.state.next_due is None
    run.refused(c.Pause(now=run.now, requested_by="x"), "run 1 of workflow 'w' is FAILED and takes no pause .*next run")


def test_the_last_success_is_known() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b"))
    assert run.state.last_success is None
    run.succeed("a")
    run.succeed("b")
    run.fail_for_good("c")
    assert run.state.last_success == "b"


def test_a_run_starts_once() -> None:
    run = Run(task("a"))
    start = run.facts(f.WorkflowStarted)[0]
    run.refused(
        c.StartRun(
            now=run.now,
            workflow_id="w",
            run_no=1,
            definition=bytes(start.definition),
            input=b"\xc0",
            seed="",
            fingerprint="",
            requested_by="",
        ),
        "has started already",
    )


def test_a_result_that_cannot_be_made_fails_the_run_and_not_whoever_asks_for_it() -> None:
    run = Run(task("a"), output={"total": "${a.sum}"})
    run.succeed("a", value={"total": 3})
    assert run.status == "FAILED"
    problem = run.facts(f.WorkflowFailed)[0]
    assert problem.error.message.startswith("the output: ${a.sum} leads nowhere")
    assert (problem.failed, problem.remaining) == ([], [])
    fine = Run(task("a"), output={"total": "${a.sum}"})
    fine.succeed("a", value={"sum": 3})
    assert fine.status == "COMPLETED"
