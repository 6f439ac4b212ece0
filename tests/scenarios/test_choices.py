"""Choices: which way a run goes."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.errors import DefinitionError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.plan import compile_plan
from tests.scenarios.runs import Run, definition_of, task

WAYS = {"high": "${score} > 10", "middle": "${score} > 5", "low": None}


def routed(**options: Any) -> Run:
    return Run(
        task("score"),
        TaskDefinition.choice("route", WAYS, {"score"}, **options),
        task("high", "route"),
        task("middle", "route"),
        task("low", "route"),
        task("end", "high", "middle", "low"),
    )


@pytest.mark.parametrize(("score", "chosen"), [(20, "high"), (7, "middle"), (1, "low")])
def test_the_first_way_whose_condition_holds_is_taken(score: int, chosen: str) -> None:
    run = routed()
    run.succeed("score", value=score)
    assert list(run.dispatched) == [chosen]
    assert run.result("route") == chosen
    others = {"high", "middle", "low"} - {chosen}
    assert {run.statuses[key] for key in others} == {"SKIPPED"}
    assert {fact.reason for fact in run.facts(f.TaskSkipped)} == {"it was not chosen"}
    run.succeed(chosen)
    run.succeed("end")
    assert run.status == "COMPLETED"


def test_a_choice_of_many_takes_every_way_whose_condition_holds_and_the_last_only_when_none_does() -> None:
    run = routed(choose_many=True)
    run.succeed("score", value=20)
    assert list(run.dispatched) == ["high", "middle"]
    assert run.result("route") == ["high", "middle"]
    run = routed(choose_many=True)
    run.succeed("score", value=0)
    assert list(run.dispatched) == ["low"]


def test_a_choice_of_many_may_choose_nothing() -> None:
    run = Run(TaskDefinition.choice("route", {"a": "1 > 2"}, choose_many=True), task("a", "route"))
    assert run.status == "COMPLETED"
    assert run.result("route") == []


def test_a_choice_that_can_choose_nothing_has_failed() -> None:
    run = Run(task("score"), TaskDefinition.choice("route", {"a": "${score} > 10"}, {"score"}), task("a", "route"))
    run.succeed("score", value=1)
    assert run.status == "FAILED"
    assert "no condition of the choice 'route' holds" in run.errors("route")[0].message


def test_what_was_not_chosen_does_not_run_although_something_else_it_waits_for_is_done() -> None:
    run = Run(
        task("other"),
        TaskDefinition.choice("route", {"a": "1 > 2", "b": None}),
        task("a", "route", "other"),
        task("b", "route"),
    )
    run.succeed("other")
    assert run.statuses["a"] == "SKIPPED"


def test_the_next_run_keeps_what_was_chosen() -> None:
    run = routed()
    run.succeed("score", value=7)
    run.fail_for_good("middle")
    assert run.status == "FAILED"
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert list(again.dispatched) == ["middle"]
    again.succeed("middle")
    again.succeed("end")
    assert again.status == "COMPLETED"
    assert again.statuses["high"] == "SKIPPED"


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ({"a": None, "b": "1 > 2"}, "would hide them"),
        ({"a": "1 > 2", "missing": None}, "chooses 'missing', which does not exist"),
        ({"a": "1 > 2", "alone": None}, "add 'route' to the dependencies of task 'alone'"),
    ],
)
def test_choices_that_cannot_work_are_told_before_anything_runs(ways: dict[str, str | None], words: str) -> None:
    tasks = [TaskDefinition.choice("route", ways), task("a", "route"), task("b", "route"), task("alone")]
    with pytest.raises(DefinitionError, match=words):
        compile_plan(definition_of(tasks))
