"""Validation of whole definitions, and the plan that runs share."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.errors import CorruptStore, DefinitionError
from agenticflow.orchestration import plan as plans
from agenticflow.orchestration import validation
from agenticflow.orchestration.definition import Choice, Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.plan import ChildNode, FullNode, compile_plan, decode_plan, unknown_roots
from agenticflow.orchestration.validation import validate
from agenticflow.resilience.limits import Limit
from tests.scenarios.runs import Run, definition_of, task


def problems(*tasks: TaskDefinition, **options: Any) -> list[str]:
    return validate(definition_of(tasks, **options))


def test_a_valid_definition_has_no_problems() -> None:
    assert problems(task("a"), task("b", "a", when="${a} > 1", params={"x": "${a}", "i": "${input}"})) == []


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task("a"), task("b", "a", join=2)], "task 'b' can never start: it waits for 2 of 1 dependencies"),
        ([task("a"), task("b", "a", join="any", cancel_rest=True)], "task 'b' has cancel_rest and 1 dependencies"),
        (
            [TaskDefinition("c", choices=[Choice("a", "true"), Choice("a", "false")]), task("a", "c")],
            "task 'c' chooses 'a' twice",
        ),
        ([task("a", params={"x": "${previous}"})], "task 'a' uses ${previous} but has no repeat_until"),
        ([task("a", repeat_until="${previous} > 1")], "repeat_until of task 'a' uses ${previous}, which exists only"),
        ([task("a", repeat_until="true", params={"x": "${item}"})], "task 'a' uses ${item} but has no for_each"),
        ([task("a", locks=["${b"])], "locks of task 'a': '${b' has a reference that is not closed"),
        ([task("a", limits=[Limit("${b", rate=1)])], "limits of task 'a': '${b' has a reference"),
        (
            [TaskDefinition("a", workflow=definition_of([task("b", "c")]))],
            "in the sub-workflow of task 'a': task 'b' depends on 'c', which does not exist",
        ),
        ([task("previous")], "'previous' cannot be a task id"),
    ],
)
def test_each_mistake_has_its_words(tasks: list[TaskDefinition], words: str) -> None:
    assert [found for found in problems(*tasks) if found.startswith(words)], problems(*tasks)


def test_sub_workflows_are_nested_so_deep_and_no_deeper() -> None:
    nested = definition_of([task("a")])
    for _ in range(20):
        nested = definition_of([TaskDefinition("a", workflow=nested)])
    assert validate(nested) == []
    nested = definition_of([TaskDefinition("a", workflow=nested)])
    assert "is a sub-workflow 21 deep, the limit is 20" in validate(nested)[0]


def test_what_was_found_of_sub_workflows_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_MAX_KNOWN", 2)
    monkeypatch.setattr(validation, "_known", {})
    for number in range(5):
        inner = definition_of([task(f"t{number}", "nobody")])
        assert "depends on 'nobody'" in problems(TaskDefinition("a", workflow=inner))[0]
    assert len(validation._known) == 2


def test_a_loop_may_look_at_its_own_result_and_a_fallback_at_what_came_before() -> None:
    assert problems(task("a", repeat_until="${a.x} > 1 and ${iteration} > 2", params={"x": "${previous}"})) == []
    assert problems(task("a"), task("b", "a", fallback="c"), task("c", params={"x": "${a}", "y": "${b}"})) == []


def test_every_mistake_is_found_at_once() -> None:
    found = problems(
        task("a"),
        task("a"),
        task("b", "lod"),
        task("load", params={"x": "${a.b"}),
        task("c", "a", when="${a} +"),
        task("d", "a", for_each="${a..x}"),
        task("e", params={"x": "${a}"}),
        task("f", params={"x": "${item}"}),
        task("g", "a", when="${index} > 1", for_each="${a}"),
        task("input"),
        context={"a": 1},
        output="${x",
    )
    words = [
        "two tasks are called 'a'",
        "task 'b' depends on 'lod', which does not exist; did you mean 'load'?",
        "'input' cannot be a task id: references use it",
        "'a' is a task id and a key of the context: references could mean either",
        "params of task 'load': '${a.b' has a reference that is not closed",
        "when of task 'c': the condition '${a} +' is not understood",
        "for_each of task 'd': ${a..x} is no reference",
        "task 'e' uses ${a} but does not depend on 'a'; add it to dependencies",
        "task 'f' uses ${item} but has no for_each",
        "when of task 'g' uses ${index}, which exists only inside params of a map",
        "the output: '${x' has a reference that is not closed",
    ]
    assert len(found) == len(words)
    for problem, expected in zip(found, words, strict=True):
        assert problem.startswith(expected)
    with pytest.raises(DefinitionError) as caught:
        compile_plan(definition_of([task("a"), task("a"), task("b", "x")]))
    assert len(caught.value.problems) == 2
    assert "has 2 mistakes: two tasks are called 'a'; task 'b' depends on 'x'" in str(caught.value)


def test_one_mistake_is_one() -> None:
    with pytest.raises(DefinitionError, match="has 1 mistake: there are no tasks"):
        compile_plan(WorkflowDefinition([]))


def test_a_cycle_is_shown_from_end_to_end() -> None:
    found = problems(task("a", "c"), task("b", "a"), task("c", "b"), task("a2", "nowhere"))
    assert found[0].startswith("task 'a2' depends on 'nowhere'")
    assert found[-1] in {
        f"tasks wait for each other: {cycle}" for cycle in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")
    }


def test_a_cycle_hides_no_other_mistake() -> None:
    found = problems(task("a", "b", params={"x": "${c}"}), task("b", "a", when="${a} >"), task("c"))
    assert len(found) == 3
    assert "wait for each other" in found[0]
    assert "uses ${c} but does not depend on 'c'" in found[1]
    assert found[2].startswith("when of task 'b'")


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    assert problems(task("a", "a")) == ["tasks wait for each other: a -> a"]


def test_results_of_indirect_dependencies_may_be_used() -> None:
    assert problems(task("a"), task("x"), task("b", "a", "x"), task("c", "b", "x", params={"x": "${a}"})) == []


def test_a_result_of_a_task_behind_a_missing_dependency_is_reported_once_more() -> None:
    found = problems(task("a"), task("b", "gone"), task("c", "b", params={"x": "${a}"}))
    assert [problem.partition(",")[0] for problem in found] == [
        "task 'b' depends on 'gone'",
        "task 'c' uses ${a} but does not depend on 'a'; add it to dependencies",
    ]


def test_too_many_tasks_are_refused_with_a_way_out() -> None:
    assert problems(*(task(f"t{i}") for i in range(33_334)))[0].startswith(
        "33,334 tasks pass the limit of 33,333; use for_each"
    )


def test_what_is_read_back_differently_is_refused_when_it_is_written() -> None:
    """Found by reading: such a run started, and could not be loaded by the next process."""
    wrong: Any = {1: "a key that is no text"}
    for definition in (
        definition_of([task("a", params=wrong)]),
        definition_of([task("a")], context=wrong),
        definition_of([task("a")], version=2),
    ):
        with pytest.raises(DefinitionError, match="could not be read back"):
            compile_plan(definition)


def test_what_flows_is_plain_data_in_the_first_process_too() -> None:
    """Found by reading: params with a reference in them kept their Python types until the first restart."""
    params: Any = {"tags": {"b", "a"}, "pair": (1, 2), "who": "${user}"}
    assert Run(task("a", params=params), input={"user": "ada"}).params("a") == {
        "tags": ["a", "b"],
        "pair": [1, 2],
        "who": "ada",
    }


def test_the_same_definition_has_one_plan() -> None:
    first, again = (compile_plan(definition_of([task("a"), task("b", "a")], name="one plan")) for _ in range(2))
    assert first is again
    assert decode_plan(first.encoded) is first
    assert first.content_hash == first.definition.content_hash


def test_plans_are_forgotten_and_read_again() -> None:
    first = compile_plan(definition_of([task("a")], name="forgotten"))
    for number in range(plans.CACHED_PLANS):
        compile_plan(definition_of([task("a")], name=f"other {number}"))
    again = decode_plan(first.encoded)
    assert again is not first
    assert again.encoded == first.encoded
    assert again.definition == first.definition


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", codec.encode({"tasks": 5}), codec.encode({"tasks": [{"task_id": "1a"}]}), codec.encode("x")],
)
def test_a_damaged_definition_is_a_damaged_store(data: bytes) -> None:
    with pytest.raises(CorruptStore, match="a recorded definition cannot be read"):
        decode_plan(data)


def test_references_that_the_input_does_not_answer_are_named() -> None:
    plan = compile_plan(
        definition_of(
            [
                task("a", params={"x": "${usr.name}", "all": "${context}"}, when="${go}"),
                task("m", for_each="${rows}", params={"i": "${item}", "k": "${index}"}),
            ],
            output="${res}",
        )
    )
    assert unknown_roots(plan, {"usr": {}, "go": 1, "rows": [], "res": 1}) == []
    assert unknown_roots(plan, {"user": {}, "go": 1, "rows": [], "a": 1}) == [
        "'a' is a task id and a key of the input: references could mean either",
        "task 'a' uses ${usr.name}, but 'usr' is neither a task nor a key of the input; did you mean 'user'?",
        "the output uses ${res}, but 'res' is neither a task nor a key of the input",
    ]
    assert len(unknown_roots(plan, ["no mapping"])) == 4


def test_without_an_output_only_the_tasks_ask_for_input() -> None:
    plan = compile_plan(definition_of([task("a", params={"x": "${user}"})]))
    assert unknown_roots(plan, {}) == ["task 'a' uses ${user}, but 'user' is neither a task nor a key of the input"]


def test_a_plan_knows_where_it_begins_and_ends() -> None:
    plan = compile_plan(definition_of([task("b", "a"), task("a"), task("c", "a"), task("d", "b", "c")]))
    ids = [node.task.task_id for node in plan.nodes]
    assert [ids[index] for index in plan.roots] == ["a"]
    assert [ids[index] for index in plan.sinks] == ["d"]
    assert plan.unmet == [1, 0, 1, 2]
    assert [ids[index] for index in plan.nodes[plan.by_id["a"]].dependents] == ["b", "c"]


def test_a_sub_workflow_that_many_tasks_run_is_looked_at_once_and_its_mistakes_told_for_each() -> None:
    inner = WorkflowDefinition([task("x", params={"b": 1, "a": {2, 1}})], name="inner")
    other = WorkflowDefinition([task("x")], name="other")
    plan = compile_plan(
        WorkflowDefinition(
            [TaskDefinition(name, workflow=inner) for name in "ab"] + [TaskDefinition("c", workflow=other)]
        )
    )
    one, two, three = plan.definition.tasks
    assert one.workflow is two.workflow is not three.workflow
    assert [node.workflow for node in plan.nodes] == [codec.encode(task.workflow) for task in plan.definition.tasks]
    wrong = WorkflowDefinition([task("x", "nowhere")], name="wrong")
    told = validate(WorkflowDefinition([TaskDefinition(name, workflow=wrong) for name in "ab"]))
    assert [problem.partition(":")[0] for problem in told] == [f"in the sub-workflow of task {name!r}" for name in "ab"]


def test_what_undoes_a_sub_workflow_is_laid_out_when_somebody_asks_for_it() -> None:
    child = definition_of([task("only")])
    tasks = [
        TaskDefinition("usual", workflow=child),
        TaskDefinition("waits", workflow=child, when="1 < 2"),
        TaskDefinition("left", workflow=child, on_cancel="detach"),
        TaskDefinition("mended", workflow=child, compensation=Compensation("clerk", "undo")),
    ]
    usual, waits, left, mended = compile_plan(definition_of(tasks)).nodes
    assert [type(node) for node in (usual, waits, left, mended)] == [ChildNode, FullNode, FullNode, FullNode]
    for node in (usual, waits):
        assert node.can_be_undone(is_undoable=True)
        assert not node.can_be_undone(is_undoable=False)
        assert node.compensation is None
        undo = node.undo
        assert undo is not None
        assert (undo.task.workflow, undo.task.on_cancel, undo.undo) == (child, "detach", None)
    assert left.undo is None
    assert not left.can_be_undone(is_undoable=True)
    assert mended.can_be_undone(is_undoable=False)
    assert mended.undo is mended.compensation
    assert mended.undo is not None
    assert mended.undo.task.agent_id == "clerk"


def test_a_sub_workflow_without_options_starts_as_shortly_as_a_task_does() -> None:
    child = definition_of([task("only")])
    tasks = [
        TaskDefinition("a", workflow="named"),
        TaskDefinition("b", workflow=child),
        TaskDefinition("c", workflow=child, priority=1),
        TaskDefinition("d", workflow=child, total_timeout_seconds=5),
    ]
    nodes = compile_plan(definition_of(tasks)).nodes
    assert [node.is_plain for node in nodes] == [True, True, False, False]
    assert [node.workflow for node in nodes] == [None, *[codec.encode(child)] * 3]
