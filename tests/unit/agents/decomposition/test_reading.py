"""A model's words as a decomposition: found, mended where that is safe, refused with reasons where it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agenticflow.agents.decomposition import Bounds, Decomposition, Strategy, read_answer
from agenticflow.errors import InvalidInput
from agenticflow.resilience import RetryPolicy


def task(**fields: Any) -> dict[str, Any]:
    return {"id": "load", "type": "load", "capabilities": ["sql"], **fields}


def plan(*tasks: object, **fields: Any) -> dict[str, Any]:
    return {"strategy": "sequential", "tasks": list(tasks), **fields}


def read(answer: object, **options: Any) -> Decomposition:
    reading = read_answer(answer, **options)
    assert reading.decomposition is not None, reading.problems
    return reading.decomposition


def problems(answer: object, **options: Any) -> str:
    reading = read_answer(answer, **options)
    assert reading.decomposition is None
    return "; ".join(reading.problems)


def repairs(answer: object, **options: Any) -> str:
    reading = read_answer(answer, **options)
    assert reading.decomposition is not None, reading.problems
    return "; ".join(reading.repairs)


# --- finding it -----------------------------------------------------------------------------------------------------------


def test_the_same_plan_said_twice_is_one() -> None:
    said = json.dumps(plan(task()))
    assert read(f"First: {said} and once more: {said}").ids == ("load",)


def test_python_words_in_json_are_mended_and_words_in_texts_are_not() -> None:
    said = '{"strategy": "parallel", "tasks": [{"type": "load", "parameters": {"a": None, "b": "None, ] // x"}}]}'
    assert read(said).tasks[0].parameters == {"a": None, "b": "None, ] // x"}
    assert "slips in its JSON" in repairs(said)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("x" * 300_000, "it is longer than 200,000 characters"),
        ("   ", "it is empty"),
        ('{"tasks": [{"type": "a", "note": "no end', "breaks off"),
        ('Here: {"tasks": [{"type": "a"}', "breaks off"),
        ('{"answer": 42}', "there is JSON in it, but no tasks"),
        ('a "quoted, } word", no plan', "there is no JSON in it"),
        (7, "it holds no tasks: it is a int"),
        (None, "it holds no tasks: it is a null"),
        ({"plan": {"steps": "none"}}, "tasks is 'none', not a list"),
        ([1, 2], "it holds no tasks: it is a list"),
        ([], "it holds no tasks"),
        ([{"strange": 1}], "it holds no tasks"),
        (plan(), "it has no tasks"),
        (plan(5), "task 1 is 5, not a mapping"),
        ({"plan": 3}, "it holds no tasks: it is a mapping"),
    ],
)
def test_what_holds_no_plan_is_told(answer: object, why: str) -> None:
    assert why in problems(answer)


def test_tasks_under_other_names_and_as_a_mapping() -> None:
    assert "its tasks are called 'steps'" in repairs({"strategy": "parallel", "steps": [task()]})
    mapped = {"strategy": "parallel", "tasks": {"a": {"type": "load"}, "b": {"type": "load", "dependencies": ["a"]}}}
    assert read(mapped).ids == ("a", "b")
    assert "the keys were taken as their ids" in repairs(mapped)
    assert "task 1 is 3, not a mapping" in problems({"tasks": {"a": 3}})


def test_too_many_tasks_are_refused_before_they_are_read() -> None:
    assert problems(plan(*[task()] * 4), bounds=Bounds(max_tasks=3)) == "it has 4 tasks, the limit is 3"


def test_the_reason_is_kept_short() -> None:
    assert read(plan(task(), reason="  because\n it  is " + "x" * 2_000)).reason.startswith("because it is xxx")
    assert len(read(plan(task(), reason="y" * 2_000)).reason) == 1_000
    assert read(plan(task(), reason=7)).reason == ""


# --- fields ---------------------------------------------------------------------------------------------------------------


def test_parameters_in_a_text() -> None:
    assert read(plan(task(parameters='{"a": 1}'))).tasks[0].parameters == {"a": 1}
    assert "parameters are the text 'a=1'" in problems(plan(task(parameters="a=1")))
    assert "not values by name" in problems(plan(task(parameters="[1]")))
    assert "not values by name" in problems(plan(task(parameters={"": 1})))
    assert read(plan(task(parameters=None))).tasks[0].parameters == {}


def test_parameters_have_bounds() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert "nested more than 30 deep" in problems(plan(task(parameters={"a": deep})))
    assert "limit is 10" in problems(plan(task(parameters={"a": "x" * 20})), bounds=Bounds(max_parameter_bytes=10))


@pytest.mark.parametrize(
    ("given", "policy", "note"),
    [
        (None, None, ""),
        (3, RetryPolicy(max_attempts=3), "as a number of attempts"),
        ({}, None, ""),
        ({"max_attempts": 2}, RetryPolicy(max_attempts=2), ""),
        ({"max_attempts": 99}, RetryPolicy(max_attempts=5), "wants 99 attempts and gets 5"),
        ({"max_attempts": 2, "hope": 1}, RetryPolicy(max_attempts=2), "no part of a retry policy"),
        ({"max_attempts": "two"}, None, "gets the usual retry policy"),
        ({"hope": 1}, None, "gets the usual retry policy"),
        ("often", None, "gets the usual retry policy"),
        ({"initial_delay_seconds": 90, "max_delay_seconds": 5}, None, "gets the usual retry policy"),
    ],
)
def test_retry_policies(given: object, policy: RetryPolicy | None, note: str) -> None:
    reading = read_answer(plan(task(retry_policy=given)))
    assert reading.decomposition is not None
    assert reading.decomposition.tasks[0].retry_policy == policy
    assert note in "; ".join(reading.repairs)
    assert bool(note) == bool(reading.repairs)


def test_lists_of_names_in_other_shapes() -> None:
    tasks = [task(id="a"), task(id="b"), task(id="c", dependencies=[{"id": "a"}, {"name": "b"}])]
    assert read(plan(*tasks)).tasks[2].dependencies == ("a", "b")
    assert read(plan(task(), task(id="b", dependencies={"load": "x"}))).tasks[1].dependencies == ("load",)
    assert read(plan(task(capabilities="sql, charts"))).tasks[0].capabilities == ("sql", "charts")
    assert read(plan(task(), task(id="b", dependencies=""))).tasks[1].dependencies == ()
    assert read(plan(task(id=1), task(id=2, dependencies=[1]))).ids == ("t_1", "t_2")
    assert "dependencies is 1.5, not a list of names" in problems(plan(task(dependencies=1.5)))
    assert "dependencies is True, not a list of names" in problems(plan(task(dependencies=True)))
    assert "capabilities is [None], not a list of names" in problems(plan(task(capabilities=[None])))


def test_a_missing_type() -> None:
    assert read(plan({"capabilities": ["sql"]})).tasks[0].type == "sql"
    assert problems(plan({"id": "x"})) == "task 'x' says neither a type nor capabilities"
    assert "task 1 says neither" in problems(plan({"parameters": {}}))


# --- names ----------------------------------------------------------------------------------------------------------------


def test_ids_are_made_where_there_are_none_and_mended_where_they_are_none() -> None:
    same = {"type": "load", "capabilities": ["sql"]}
    tasks = [
        same | {"parameters": {"n": 1}},
        same | {"parameters": {"n": 2}},
        task(id="1. load data!"),
        {"type": "query"},
    ]
    tasks += [task(id="数据"), task(id="!!"), task(id="a.b")]
    assert read(plan(*tasks)).ids == ("load", "load_2", "t_1_load_data", "query_2", "task", "task_2", "a_b")
    assert "is called 't_7': its own name cannot be an id, or is taken" in repairs(plan(task(id="7")))
    assert "'query' is called like something that references name already" in problems(plan(task(id="query")))


def test_dependencies_are_found_by_id_nearly_so_and_by_type() -> None:
    tasks = [task(id="load-data"), task(id="x", type="clean"), task(id="y", type="clean", parameters={"n": 1})]
    asking = task(id="z", type="end", dependencies=["Load data", "clean"])
    found = read(plan(*tasks, asking)).tasks[-1]
    assert found.dependencies == ("load-data", "x", "y")
    assert "depends on 'clean': 'x' and 'y' was taken" in repairs(plan(*tasks, asking))


def test_an_id_that_was_mended_is_found_by_both_names() -> None:
    asking = task(id="z", type="end", dependencies=["load!", "LOAD"])
    assert read(plan(task(id="load!"), asking)).tasks[-1].dependencies == ("load",)


def test_references_by_other_names_are_mended_too() -> None:
    tasks = [task(id="1"), task(id="Load it", type="rows")]
    said = {"a": "${1} ${1.x} ${load-it[0].y} ${rows}", "b": ["${query} ${context.x} ${t_1} $${1} ${nothing}", 2]}
    (*_, made) = read(plan(*tasks, task(id="z", type="end", parameters=said))).tasks
    assert made.parameters == {
        "a": "${t_1} ${t_1.x} ${Load_it[0].y} ${Load_it}",
        "b": ["${query} ${context.x} ${t_1} $${1} ${nothing}", 2],
    }
    assert "refers to 'rows': 'Load_it' was taken" in repairs(plan(*tasks, task(id="z", type="end", parameters=said)))
    pointed = [
        task(id="a.b"),
        task(id="数据", type="x"),
        task(id="z", type="end", parameters={"a": "${a.b} ${数据.n} ${ a.b }"}),
    ]
    assert read(plan(*pointed)).tasks[-1].parameters == {"a": "${a_b} ${task.n} ${a_b}"}
    both = [task(id="a", type="rows"), task(id="b", type="rows")]
    assert read(plan(*both, task(id="z", parameters={"a": "${rows}"}))).tasks[-1].parameters == {"a": "${rows}"}


def test_two_ids_that_are_nearly_the_same_are_not_guessed_between() -> None:
    tasks = [task(id="a-b"), task(id="a_b"), task(id="z", type="end", dependencies=["a b"])]
    assert "depends on 'a b', which does not exist; did you mean 'a" in problems(plan(*tasks))


def test_a_task_that_is_there_twice_under_two_ids_is_meant() -> None:
    assert read(plan(task(id="a"), task(id="b"))).ids == ("a", "b")
    assert "2 different tasks are called 'a'" in problems(plan(task(id="a"), task(id="a", type="other")))


def test_what_is_done_may_be_depended_on_and_not_be_planned_again() -> None:
    asking = task(id="z", dependencies=["rows"])
    assert read(plan(asking), done=["rows"]).tasks[0].dependencies == ("rows",)
    assert "references name already" in problems(plan(task(id="rows")), context_keys=["rows"])
    assert read(plan({"type": "rows"}), context_keys=["rows"]).ids == ("rows_2",)
    assert "is called like a task that is done" in problems(plan(task(id="rows")), done=["rows"])


# --- the strategy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "strategy"),
    [("Parallel", "parallel"), ("map-reduce", "hierarchical"), ("pipe", "pipeline"), ("serial", "sequential")],
)
def test_words_for_strategies(given: str, strategy: str) -> None:
    assert read(plan(task(), strategy=given)).strategy == strategy


def test_an_unknown_strategy_follows_from_the_dependencies() -> None:
    assert read(plan(task(), task(id="b"), strategy="chaos")).strategy is Strategy.SEQUENTIAL
    assert read(plan(task(), task(id="b", dependencies=["load"]), strategy=None)).strategy is Strategy.PARALLEL


@pytest.mark.parametrize(
    "wrong",
    [{"max_tasks": 0}, {"max_tasks": True}, {"max_attempts": 1_000}, {"max_parallel": "2"}, {"task_timeout_seconds": 0},
     {"task_timeout_seconds": "1"}],
)  # fmt: skip
def test_bounds_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Bounds(**wrong)
