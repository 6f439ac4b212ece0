"""In which order tasks start: sequence, parallel split, joins, conditions, and what is skipped."""

from __future__ import annotations

import pytest

from agenticflow.core.engine import RunActivity
from agenticflow.orchestration import facts as f
from tests.scenarios.runs import Run, once, task


def test_a_task_starts_when_the_one_before_is_done() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b"))
    for key in "abc":
        assert run.in_work == [key]
        run.succeed(key)
    assert run.status == "COMPLETED"


def test_what_becomes_ready_is_scheduled_in_the_commit_that_made_it_ready() -> None:
    run = Run(task("a"), task("b", "a"))
    facts = run.succeed("a", value=1)
    assert [type(fact) for fact in facts] == [f.TaskCompleted, f.TaskScheduled]
    assert list(run.dispatched) == ["b"]


def test_a_split_starts_all_branches_at_once() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "a"), task("d", "a"))
    run.succeed("a")
    assert run.in_work == ["b", "c", "d"]


def test_a_task_waits_for_its_own_dependencies_and_for_nothing_else() -> None:
    """No superstep barrier: the slow branch does not hold the quick one."""
    run = Run(task("quick"), task("slow"), task("after_quick", "quick"))
    run.succeed("quick")
    assert run.in_work == ["slow", "after_quick"]


def test_a_join_of_all_starts_after_the_last_of_its_dependencies() -> None:
    run = Run(task("a"), task("b"), task("join", "a", "b"))
    run.succeed("b")
    assert "join" not in run.statuses
    run.succeed("a")
    assert run.in_work == ["join"]


def test_a_join_of_any_starts_once_with_the_first_of_its_dependencies() -> None:
    run = Run(task("a"), task("b"), task("join", "a", "b", join="any"))
    run.succeed("b")
    assert run.in_work == ["a", "join"]
    run.succeed("join", "a")
    assert [fact.task_key for fact in run.facts(f.TaskScheduled)].count("join") == 1
    assert run.status == "COMPLETED"


def test_a_join_of_any_starts_although_another_dependency_failed() -> None:
    run = Run(task("a"), task("b"), task("join", "a", "b", join="any"))
    run.fail_for_good("a")
    assert "join" not in run.statuses
    run.succeed("b")
    assert run.in_work == ["join"]


def test_a_join_of_any_never_runs_when_nothing_before_it_completes() -> None:
    run = Run(task("a"), task("b", when="false"), task("join", "a", "b", join="any"))
    run.fail_for_good("a")
    assert run.status == "FAILED"
    assert run.facts(f.WorkflowFailed)[0].remaining == ["join"]


def test_a_join_of_any_hanging_only_on_skipped_tasks_is_skipped() -> None:
    run = Run(task("a", when="false"), task("b", when="false"), task("join", "a", "b", join="any"), task("c", "join"))
    assert run.statuses == dict.fromkeys(("a", "b", "join", "c"), "SKIPPED")
    assert run.status == "COMPLETED"


def test_the_order_in_which_any_is_met_does_not_matter() -> None:
    run = Run(task("a"), task("skipped", when="false"), task("join", "skipped", "a", join="any"))
    assert run.statuses["skipped"] == "SKIPPED"
    assert "join" not in run.statuses
    run.succeed("a")
    assert run.in_work == ["join"]


def test_any_of_a_single_dependency_is_all_of_it() -> None:
    run = Run(task("a", when="false"), task("b", "a", join="any"))
    assert run.statuses == {"a": "SKIPPED", "b": "SKIPPED"}


@pytest.mark.parametrize(("score", "expected"), [(0.9, "publish"), (0.2, "revise")])
def test_a_condition_decides_which_branch_runs(score: float, expected: str) -> None:
    run = Run(
        task("judge"),
        task("publish", "judge", when="${judge.score} > 0.5"),
        task("revise", "judge", when="not ${judge.score} > 0.5"),
    )
    run.succeed("judge", value={"score": score})
    assert run.in_work == [expected]
    run.succeed(expected)
    assert run.status == "COMPLETED"
    assert list(run.statuses.values()).count("SKIPPED") == 1


def test_a_skipped_dependency_counts_as_met() -> None:
    run = Run(task("a"), task("optional", "a", when="${a}"), task("end", "a", "optional"))
    run.succeed("a", value=False)
    assert run.statuses["optional"] == "SKIPPED"
    assert run.in_work == ["end"]


def test_what_hangs_only_on_skipped_tasks_is_skipped_all_the_way_down() -> None:
    run = Run(task("a", when="false"), task("b", "a"), task("c", "b"), task("d", "c", "a"))
    assert set(run.statuses.values()) == {"SKIPPED"}
    assert run.status == "COMPLETED"
    assert run.output == {}


def test_the_history_says_why_a_task_was_skipped() -> None:
    run = Run(task("a", when="${input.go}"), task("b", "a"), input={"go": False})
    reasons = {fact.task_key: fact.reason for fact in run.facts(f.TaskSkipped)}
    assert reasons == {
        "a": "its condition does not hold: ${input.go}",
        "b": "everything it depends on was skipped",
    }


def test_the_result_of_a_skipped_task_is_null_to_those_who_ask() -> None:
    run = Run(task("a", when="false"), task("b"), task("c", "a", "b", when="${a} == null", params={"from": "${a}"}))
    run.succeed("b")
    assert run.params("c") == {"from": None}


def test_a_condition_that_cannot_be_decided_fails_its_task_with_words_that_say_why() -> None:
    run = Run(task("a"), task("b", "a", when="${a.missing} > 1"), task("c", "a", when="${a.text} > 1"))
    run.succeed("a", value={"text": "x"})
    assert run.status == "FAILED"
    (b,), (c,) = run.errors("b"), run.errors("c")
    assert "has no 'missing'" in b.message
    assert "cannot be decided: 'x' > 1" in c.message
    assert b.is_permanent
    assert b.code == "invalid_input"


def test_params_are_filled_with_results_input_and_keys_of_the_input() -> None:
    params = {"rows": "${load.rows}", "all": "${input}", "who": "for ${user}", "first": "${load.rows[0]}"}
    run = Run(task("load"), task("use", "load", params=params), input={"user": "ada"})
    run.succeed("load", value={"rows": [3, 4]})
    assert run.params("use") == {"rows": [3, 4], "all": {"user": "ada"}, "who": "for ada", "first": 3}


def test_each_attempt_gets_params_of_its_own() -> None:
    run = Run(task("a", params={"rows": [1]}), task("b", params={"rows": [1], "x": "${input.x}"}), input={"x": [2]})
    for key in ("a", "b"):
        rows = run.params(key)["rows"]
        assert isinstance(rows, list)
        rows.append("spoiled by a handler")
        assert run.params(key)["rows"] == [1]


def test_the_output_is_what_the_last_tasks_returned() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "a"))
    run.succeed("a", value=1)
    run.succeed("b", value=2)
    run.succeed("c", value=3)
    assert run.output == {"b": 2, "c": 3}


def test_the_output_template_says_what_the_run_returns() -> None:
    run = Run(task("a"), task("b", "a"), output={"sum": "${a.n}", "by": "${user}"}, input={"user": "ada"})
    run.succeed("a", value={"n": 5})
    run.succeed("b")
    assert run.output == {"sum": 5, "by": "ada"}


def test_only_so_many_attempts_are_in_flight_and_the_others_follow() -> None:
    run = Run(task("list"), task("each", "list", for_each="${list}"))
    run.succeed("list", value=list(range(8_193)))
    assert run.state.in_flight == 8_192
    assert "each[8192]" not in run.in_work
    run.succeed("each[17]")
    assert run.state.in_flight == 8_192
    assert "each[8192]" in run.in_work


def test_the_work_order_says_all_a_worker_needs() -> None:
    run = Run(once("pay", timeout_seconds=7))
    assert run.dispatched["pay"] == RunActivity(
        "pay", 2, 1, "agent", "work", run.definition.tasks[0].effect, 7, None, 0
    )
