"""Tasks that can never run are named, with the reason; what may run is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.reachability import unreachable


def task(task_id: str, *after: str, **options: Any) -> TaskDefinition:
    return TaskDefinition(task_id, "x", "work", None, after, **options)


def choice(task_id: str, ways: dict[str, str | None], *after: str, **options: Any) -> TaskDefinition:
    return TaskDefinition.choice(task_id, ways, after, **options)


def found(*tasks: TaskDefinition) -> dict[str, str]:
    problems = unreachable(WorkflowDefinition(tasks))
    split = [problem.removeprefix("task ").split(" can never run: ") for problem in problems]
    return {task_id.strip("'"): why for task_id, why in split}


def test_a_condition_that_never_holds_takes_along_what_depends_on_it_alone() -> None:
    assert found(task("a", when="1 > 2"), task("b", "a"), task("c"), task("d", "b", "c"), task("e", "a", "b")) == {
        "a": "its condition '1 > 2' never holds",
        "b": "it depends on 'a', which never runs",
        "e": "it depends on 'a' and 'b', which never run",
    }
    assert found(task("a", when="2 > 1"), task("b", when="${a} > 2")) == {}


def test_what_only_the_run_knows_and_what_is_told_elsewhere_is_left_alone() -> None:
    assert found(task("a", when="${x} is 3"), task("b", "nowhere"), task("c", "a", join="settled")) == {}


def test_a_way_behind_one_that_is_always_open_is_never_taken() -> None:
    ways = choice("route", {"a": "${x}", "b": "1 < 2", "c": "2 < 3", "d": None})
    tasks = [task(name, "route") for name in "abcd"]
    assert found(ways, *tasks) == {
        "c": "choice 'route' comes to 'b' first, and that way is always open",
        "d": "choice 'route' comes to 'b' first, and that way is always open",
    }
    many = choice("route", {"a": "1 < 2", "b": "2 < 1", "c": "${x}"}, choose_many=True)
    assert found(many, *tasks[:3]) == {"b": "the condition '2 < 1' of choice 'route' never holds"}


def test_a_way_that_its_target_does_not_know_of_is_told_elsewhere() -> None:
    assert found(choice("route", {"a": "2 < 1"}), task("a")) == {}


@pytest.mark.parametrize(
    ("primary", "why"),
    [
        (TaskDefinition.timer("p", 5, fallback="f"), "it is the fallback of the timer 'p', which never fails"),
        (
            TaskDefinition.wait_for("p", "go", fallback="f"),
            "it is the fallback of task 'p', which waits for a signal without a time limit",
        ),
        (TaskDefinition.wait_for("p", "go", fallback="f", total_timeout_seconds=5), None),
        (task("p", fallback="f"), None),
    ],
)
def test_the_fallback_of_what_never_fails_is_nobodys(primary: TaskDefinition, why: str | None) -> None:
    assert found(primary, task("f")) == ({} if why is None else {"f": why})


def test_the_fallback_of_what_never_runs_does_not_either() -> None:
    assert found(task("p", fallback="f", when="false"), task("f"))["f"] == (
        "it is the fallback of task 'p', which never runs"
    )


def test_nothing_follows_a_task_that_ends_the_run_unless_it_may_be_skipped() -> None:
    assert found(task("a", ends_run=True), task("b", "a")) == {"b": "it depends on 'a', whose end ends the run"}
    assert found(task("a", ends_run=True), task("b", "a", join="settled")) == {}
    assert found(task("a", ends_run=True, when="${x}"), task("b", "a")) == {}
    assert found(task("a", ends_run=True, on_failure="skip"), task("b", "a")) == {}
    skipped = task("s", when="${x}")
    assert found(skipped, task("a", "s", ends_run=True), task("t"), task("b", "a", "t")) == {}
    assert found(task("f", ends_run=True), task("a", fallback="f"), task("b", "f")) == {}
    assert list(found(task("s"), skipped_with("s"), task("b", "a"))) == ["b"]


def skipped_with(name: str) -> TaskDefinition:
    return task("a", name, ends_run=True)


def test_nothing_follows_a_task_that_begins_the_next_run() -> None:
    again = TaskDefinition("again", continue_with={})
    assert found(again, task("b", "again")) == {"b": "it depends on 'again', whose end ends the run"}


def test_a_task_that_may_be_cancelled_counts_as_met() -> None:
    assert found(task("c", cancels=["a"]), task("a", ends_run=True), task("b", "a")) == {}
    rest = task("j", "x", "y", join="any", cancel_rest=True)
    assert found(task("x"), task("y"), rest, task("a", ends_run=True), task("b", "a")) == {}


def test_a_task_is_not_cancelled_by_what_it_waits_for() -> None:
    assert found(task("a", cancels=["b"]), task("b", "a")) == {"b": "it depends on 'a', which cancels it"}
    assert found(task("a", cancels=["b"], when="${x}"), task("b", "a")) == {}


def test_ways_out_of_one_choice_exclude_each_other_for_a_join() -> None:
    route = choice("route", {"a": "${x}", "b": None})
    a, b = task("a", "route"), task("b", "route")
    assert found(route, a, b, task("j", "a", "b", join=2)) == {
        "j": "it waits for 2 of its dependencies, and at most 1 of them can be completed in one run"
    }
    assert found(route, a, b, task("j", "a", "b", join="any")) == {}
    assert found(route, a, b, task("o"), task("j", "a", "b", "o", join=2)) == {}
    many = choice("route", {"a": "${x}", "b": "${y}"}, choose_many=True)
    assert found(many, a, b, task("j", "a", "b", join=2)) == {}
    assert list(found(task("e", ends_run=True), task("n", when="false"), task("j", "e", "n", join="any"))) == ["n", "j"]


def test_optional_is_worked_out_once_for_each_task() -> None:
    tasks = [task("s"), task("a", "s", ends_run=True), task("b", "a"), task("c", "a")]
    assert list(found(*tasks)) == ["b", "c"]
