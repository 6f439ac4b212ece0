"""Definitions: what a task and a workflow may say, and how mistakes are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, NotSerializable
from agenticflow.orchestration.definition import DEFAULT_RETRY, Choice, TaskDefinition, WorkflowDefinition
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

make: Any = TaskDefinition
RIGHT_CALL = r'write TaskDefinition\("task_id", "agent_id", "task_type", \{"name": "value"\}, dependencies='


def test_a_task_is_written_as_in_the_documentation() -> None:
    task = TaskDefinition("report", "reporter", "create", {"rows": "${load.rows}"}, dependencies={"load"})
    assert (task.task_id, task.agent_id, task.task_type, task.dependencies) == (
        "report",
        "reporter",
        "create",
        ("load",),
    )


def test_a_worker_needs_no_task_type() -> None:
    assert TaskDefinition("a", "worker").task_type is None


@pytest.mark.parametrize("dependencies", [["b", "a", "b"], ("b", "a"), {"b": 1}.keys() | {"a"}, frozenset({"a", "b"})])
def test_dependencies_are_any_collection_and_counted_once(dependencies: Any) -> None:
    assert sorted(TaskDefinition("t", "agent", dependencies=dependencies).dependencies) == ["a", "b"]


def test_a_set_of_dependencies_has_the_same_order_in_every_process() -> None:
    assert TaskDefinition("t", "agent", dependencies={"c", "a", "b"}).dependencies == ("a", "b", "c")


@pytest.mark.parametrize(
    "call",
    [
        lambda: make("a", {"x": 1}),
        lambda: make(7, "agent"),
        lambda: make("a", "agent", {"x": 1}, "work"),
        lambda: make("a", "agent", "work", {"b"}, {"x": 1}),
        lambda: make("a", "agent", "work", ["b"]),
        lambda: make("a", "agent", "work", None, {"x": 1}),
        lambda: make("a", "agent", "work", None, 5),
        lambda: make("a", "agent", "work", None, [make("b", "agent")]),
        lambda: make("a", "agent", "work", None, {1, 2}),
        lambda: make("a"),
    ],
)
def test_another_order_of_arguments_shows_the_right_call(call: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError, match=RIGHT_CALL):
        call()


def test_a_single_dependency_as_text_is_a_mistake_that_shows_how_to_write_it() -> None:
    with pytest.raises(DefinitionError, match=r"write dependencies=\{'load'\}"):
        make("a", "agent", dependencies="load")


@pytest.mark.parametrize("task_id", ["", "a b", "1a", "a[0]", "a/b", "${a}", "x" * 201, "a\n"])
def test_task_ids_are_names(task_id: str) -> None:
    with pytest.raises(DefinitionError, match="is no task id"):
        TaskDefinition(task_id, "agent")


@pytest.mark.parametrize("task_id", ["a", "load-data", "load.rows", "_x1", "größe", "x" * 200])
def test_names_may_have_dashes_and_dots(task_id: str) -> None:
    assert TaskDefinition(task_id, "agent").task_id == task_id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_seconds": 0}, "timeout_seconds of task 'a' is 0"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"timeout_seconds": "5"}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"total_timeout_seconds": float("inf")}, "total_timeout_seconds"),
        ({"join": "some"}, "join='some' of task 'a' is unknown .use 'all', 'any', 'settled'"),
        ({"max_parallel": 0, "for_each": "${x}"}, "max_parallel of task 'a' is 0"),
        ({"max_parallel": 1.5, "for_each": "${x}"}, "max_parallel of task 'a' is 1.5"),
        ({"max_parallel": 2}, "max_parallel of task 'a' needs for_each"),
        ({"delay_seconds": 1, "signal": "s"}, "has delay_seconds and signal .it can be only one"),
        ({"delay_seconds": 1}, r"task 'a' waits \(delay_seconds\) and cannot have an agent"),
        ({"signal": "s"}, r"task 'a' waits \(signal\)"),
        ({"effect": "sometimes"}, "effect='sometimes' of task 'a' is unknown"),
        ({"effect": "at_most_once", "retry_policy": RetryPolicy(max_attempts=2)}, "cannot have 2 attempts"),
        ({"retry_policy": {"max_attempts": 0}}, "max_attempts is 0"),
        ({"retry_policy": {"attempts": 3}}, "a retry policy has no 'attempts'"),
        ({"join": 0}, "join=0 of task 'a' is unknown"),
        ({"join": True}, "join=True of task 'a' is unknown"),
        ({"delay_seconds": -1}, "delay_seconds of task 'a' is -1 .give seconds, 0 or more"),
        ({"priority": 1.5}, "priority of task 'a' is 1.5"),
        ({"enough": 0, "for_each": "${x}"}, "enough of task 'a' is 0"),
        ({"enough": 2}, "enough of task 'a' needs for_each"),
        ({"max_iterations": 20_000, "repeat_until": "true"}, "max_iterations of task 'a' is 20000"),
        ({"max_iterations": 2}, "max_iterations of task 'a' needs repeat_until"),
        ({"repeat_from": 2}, "repeat_from of task 'a' needs repeat_until"),
        ({"choose_many": True}, "choose_many of task 'a' needs choices"),
        ({"reassign_to": ["b"]}, "reassign_to of task 'a' needs on_failure"),
        ({"on_failure": "panic"}, "on_failure='panic' of task 'a' is unknown .use 'fail' or 'skip' or 'reassign'"),
        ({"on_limit": "panic"}, "on_limit='panic'"),
        ({"on_cancel": "panic"}, "on_cancel='panic'"),
        ({"choices": ["b"]}, "choices of task 'a' are"),
        ({"limits": ["b"]}, "limits of task 'a' are"),
        ({"locks": [f"l{n}" for n in range(101)]}, "task 'a' has more than 100 locks"),
        ({"locks": "stock"}, "locks of task 'a' are 'stock', not a collection of texts .write locks={'stock'}"),
        ({"cancels": {"b": 1}}, "cancels of task 'a' are .*, not a collection of task ids"),
        ({"workflow": "inner"}, "task 'a' is a sub-workflow and cannot have an agent or a type"),
        ({"approval": "May I?"}, r"task 'a' waits \(approval\) and cannot have an agent"),
        ({"choices": [Choice("b")]}, "task 'a' is a choice and cannot have an agent"),
        ({"for_each": [1], "repeat_until": "true"}, "has for_each and repeat_until .it can be only one"),
        ({"for_each": [1], "signal": "s"}, "has signal and for_each"),
        ({"cancel_rest": True}, "cancel_rest of task 'a' needs a join of some"),
        ({"stall_seconds": 0}, "stall_seconds of task 'a' is 0"),
        ({"retry_policy": 3}, r"retry_policy of task 'a' is 3 .write RetryPolicy\(max_attempts=3\)"),
        ({"when": True}, "when of task 'a' is True .a condition is text"),
        ({"repeat_until": 5}, "repeat_until of task 'a' is 5 .a condition is text"),
        ({"fallback": 5}, "fallback of task 'a' is 5 .give the id of a task"),
        ({"for_each": 5}, "for_each of task 'a' is 5 .give a list"),
        ({"for_each": {"b": 1}}, "for_each of task 'a' is {'b': 1}"),
        ({"ends_run": "yes"}, "ends_run of task 'a' is 'yes' .give True or False"),
        ({"cancel_rest": 1, "join": "any"}, "cancel_rest of task 'a' is 1"),
    ],
)
def test_impossible_options_are_named_with_the_task(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        make("a", "agent", "work", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workflow": 7}, "workflow of task 'a' is a int"),
        ({"signal": 7}, "signal of task 'a' is 7 .give its name"),
        ({"workflow": ""}, "workflow of task 'a' is a str"),
        ({"workflow": "inner", "effect": "at_most_once"}, "is a sub-workflow and cannot be at_most_once"),
        ({}, "task 'a' has no agent"),
    ],
)
def test_tasks_without_an_agent_have_something_else(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        make("a", **options)


def test_what_may_be_left_out_may_be_left_out() -> None:
    assert make("a", capabilities={"b", "a"}).capabilities == ("a", "b")
    assert make("a", workflow="inner").policy.max_attempts == 1
    assert make("a", "agent", limits=Limit("api", rate=1)).limits == (Limit("api", rate=1),)
    assert make("a", "agent", repeat_until="true").iterations == 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_parallel": 0}, "max_parallel of workflow 'workflow' is 0"),
        ({"priority": "high"}, "priority of workflow 'workflow' is 'high'"),
    ],
)
def test_impossible_options_of_a_workflow_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        WorkflowDefinition([make("a", "agent")], **options)


def test_nested_definitions_are_hashed_alike_whatever_the_order_of_their_keys() -> None:
    def outer(params: dict[str, object]) -> WorkflowDefinition:
        return WorkflowDefinition([make("a", workflow=WorkflowDefinition([make("b", "agent", params=params)]))])

    assert outer({"x": 1, "y": 2}).content_hash == outer({"y": 2, "x": 1}).content_hash


def test_work_that_must_not_run_twice_is_not_retried_by_default() -> None:
    assert TaskDefinition("a", "agent", effect=EffectClass.AT_MOST_ONCE).policy.max_attempts == 1
    assert TaskDefinition("a", "agent").policy == DEFAULT_RETRY
    assert make("a", "agent", effect="at_most_once", retry_policy=RetryPolicy(max_attempts=1)).policy.max_attempts == 1


def test_options_may_come_as_plain_data_from_a_file() -> None:
    task = make("a", "agent", effect="pure", retry_policy={"max_attempts": 5, "jitter": False})
    assert task.effect is EffectClass.PURE
    assert task.policy == RetryPolicy(max_attempts=5, jitter=False)


def test_waits_need_no_agent() -> None:
    assert TaskDefinition.timer("t", 5, {"a"}).delay_seconds == 5
    assert TaskDefinition.wait_for("s", "go", {"a"}, total_timeout_seconds=9).total_timeout_seconds == 9


@pytest.mark.parametrize("tasks", [TaskDefinition("a", "agent"), "ab", 5, None, ["a"], [{"task_id": "a"}]])
def test_a_workflow_is_a_list_of_tasks(tasks: Any) -> None:
    with pytest.raises(DefinitionError, match="TaskDefinition"):
        WorkflowDefinition(tasks)


@pytest.mark.parametrize("name", ["", "x" * 201, None, 5])
def test_a_workflow_has_a_name(name: Any) -> None:
    with pytest.raises(DefinitionError, match="is no workflow name"):
        WorkflowDefinition([TaskDefinition("a", "agent")], name=name)


@pytest.mark.parametrize("limit", [0, -1, True, "5", float("nan"), 1e10])
def test_the_limit_of_a_workflow_is_above_zero(limit: Any) -> None:
    with pytest.raises(DefinitionError, match="timeout_seconds of workflow 'workflow'"):
        WorkflowDefinition([TaskDefinition("a", "agent")], timeout_seconds=limit)


def test_equal_definitions_have_equal_hashes_and_others_have_others() -> None:
    def one(**options: Any) -> WorkflowDefinition:
        return WorkflowDefinition([TaskDefinition("a", "agent", params={"x": [1]}, **options)])

    assert one().content_hash == one().content_hash
    assert one().content_hash != one(timeout_seconds=5).content_hash
    assert len(one().content_hash) == 40


def test_sets_are_recorded_in_an_order_that_every_process_agrees_on() -> None:
    """Found by reading: a set in params gave another hash in each process, and its workflow id a conflict with itself."""
    tags: Any = {"tags": {"c", "a", "b"}, "deep": [({3, 1, 2},)], "plain": (1, 2), "mixed": frozenset({"x", 1})}
    written = WorkflowDefinition(
        [
            TaskDefinition("a", "agent", params=tags),
            make("m", "agent", for_each={"y", "x"}),
            TaskDefinition("z", "agent"),
        ],
        context={"s": {2, 1}},
        output={"o": frozenset("ba")},
    )
    data: Any = codec.decode(written.encoded())
    assert data["tasks"][0]["params"] == {
        "tags": ["a", "b", "c"],
        "deep": [[[1, 2, 3]]],
        "plain": [1, 2],
        "mixed": [1, "x"],
    }
    assert data["tasks"][1]["for_each"] == ["x", "y"]
    assert (data["context"], data["output"]) == ({"s": [1, 2]}, {"o": ["a", "b"]})
    assert written.tasks[0].params == tags


def test_a_set_of_tasks_has_the_same_order_in_every_process() -> None:
    tasks: Any = {TaskDefinition(name, "agent") for name in "cab"}
    assert [task.task_id for task in WorkflowDefinition(tasks).tasks] == ["a", "b", "c"]


def test_params_that_do_not_go_on_the_wire_are_named_with_their_task() -> None:
    definition = WorkflowDefinition(
        [TaskDefinition("fine", "agent", params={"x": 1}), TaskDefinition("bad", "agent", params={"x": [object()]})]
    )
    with pytest.raises(NotSerializable, match=r"params of task 'bad': value\['x'\]\[0\] \(a object\)"):
        definition.encoded()


def test_what_is_nested_without_end_is_refused() -> None:
    endless: Any = []
    endless.append(endless)
    with pytest.raises(NotSerializable, match="workflow 'workflow' is nested too deep"):
        WorkflowDefinition([TaskDefinition("a", "agent", params={"x": endless})]).encoded()


def test_anything_else_that_does_not_go_on_the_wire_is_refused_too() -> None:
    with pytest.raises(NotSerializable, match="has no form on the wire"):
        WorkflowDefinition([TaskDefinition("a", "agent")], context={"x": object()}).encoded()
