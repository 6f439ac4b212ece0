"""What is said of two runs that are not the same."""

from __future__ import annotations

from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.orchestration.comparison import Difference, compare_runs, compare_tasks
from tests.scenarios.runs import Run, task


def test_equal_runs_do_not_differ() -> None:
    assert compare_runs(Run(task("a")).state, Run(task("a")).state) == []


def test_definition_tasks_attempts_and_results_are_told_apart() -> None:
    left, right = Run(task("a"), task("b")), Run(task("a"), task("c"))
    left.fail("a", ConnectionError("no"))
    left.wait(60)
    left.succeed("a", value="x" * 300)
    right.succeed("a", value="y")
    found = compare_runs(left.state, right.state)
    assert [(each.task_key, each.what) for each in found] == [
        ("", "definition"),
        ("b", "task"),
        ("c", "task"),
        ("a", "attempts"),
        ("a", "result"),
        ("a", "error"),
        ("b", "status"),
        ("c", "status"),
    ]
    assert "…" in found[4].left
    assert (found[6].left, found[6].right) == ("SCHEDULED", "-")


def test_large_results_are_compared_by_their_hash() -> None:
    left, right = Run(task("a")), Run(task("a"))
    for run, letter in ((left, "x"), (right, "y")):
        run.succeed("a", value=1)
        run.record("a").value, _ = store_form(codec.encode(letter * 70_000))
    (difference,) = compare_runs(left.state, right.state)
    assert difference.what == "result"
    assert "70,005 bytes" in difference.left
    assert isinstance(difference, Difference)


def test_a_task_that_neither_definition_has_is_the_same_in_both() -> None:
    assert list(compare_tasks(None, None)) == []
