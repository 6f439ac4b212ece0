"""Task graphs for users and views."""

from __future__ import annotations

import pytest

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import CommandRefused, DefinitionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import NodeStatus, TaskGraph, find_cycle


def diamond() -> TaskGraph:
    graph = TaskGraph()
    graph.add_task("a")
    graph.add_task("b", ["a"])
    graph.add_task("c", {"a"})
    graph.add_task("d", ("b", "c"))
    return graph


def test_a_task_is_ready_when_all_it_waits_for_is_completed() -> None:
    graph = diamond()
    assert graph.get_ready_tasks() == ["a"]
    assert graph.mark_completed("a", 5) == ["b", "c"]
    assert graph.nodes["a"].result == 5
    assert graph.mark_completed("b") == []
    assert graph.mark_completed("c") == ["d"]
    assert not graph.is_complete()
    graph.mark_completed("d")
    assert graph.is_complete()
    assert not graph.has_failed_tasks()
    assert graph.get_ready_tasks() == []


def test_a_running_task_is_not_ready() -> None:
    graph = diamond()
    graph.mark_running("a")
    assert graph.get_ready_tasks() == []
    with pytest.raises(CommandRefused, match="'a' is RUNNING with 0 unmet dependencies, it cannot start"):
        graph.mark_running("a")
    with pytest.raises(CommandRefused, match="'d' is PENDING with 2 unmet dependencies"):
        graph.mark_running("d")
    graph.mark_completed("a")


def test_a_skipped_task_counts_as_met() -> None:
    graph = diamond()
    assert graph.mark_skipped("a") == ["b", "c"]
    assert graph.nodes["a"].status is NodeStatus.SKIPPED


def test_what_depends_on_a_failed_task_does_not_become_ready() -> None:
    graph = diamond()
    graph.mark_failed("a", RuntimeError("broken"))
    assert graph.get_ready_tasks() == []
    assert graph.has_failed_tasks()
    assert not graph.is_complete()
    assert graph.nodes["a"].error is not None
    assert graph.nodes["a"].error.message == "broken"


def test_a_recorded_error_may_be_given() -> None:
    graph = diamond()
    error = ErrorInfo("Broken", "x")
    graph.mark_failed("a", error)
    assert graph.nodes["a"].error is error


def test_a_task_ends_once() -> None:
    graph = diamond()
    graph.mark_completed("a")
    for mark in (
        graph.mark_completed,
        graph.mark_skipped,
        lambda task_id: graph.mark_failed(task_id, ErrorInfo("E", "")),
    ):
        with pytest.raises(CommandRefused, match="'a' is COMPLETED already"):
            mark("a")


def test_completing_ahead_of_time_does_not_make_a_task_ready_later() -> None:
    graph = diamond()
    graph.mark_completed("d")
    graph.mark_completed("a")
    graph.mark_completed("b")
    assert graph.mark_completed("c") == []
    assert graph.is_complete()


def test_a_dependency_may_be_added_until_the_task_starts() -> None:
    graph = TaskGraph()
    graph.add_task("a")
    graph.add_task("b")
    graph.add_dependency("b", "a")
    graph.add_dependency("b", "a")
    assert graph.get_ready_tasks() == ["a"]
    graph.mark_completed("a")
    graph.add_task("late", ["a"])
    assert graph.get_ready_tasks() == ["b", "late"]
    graph.mark_running("b")
    with pytest.raises(DefinitionError, match="'b' is RUNNING and cannot wait for 'late' any more"):
        graph.add_dependency("b", "late")


def test_cycles_are_refused() -> None:
    graph = diamond()
    for task_id, depends_on in (("a", "d"), ("a", "a"), ("b", "d")):
        with pytest.raises(DefinitionError, match="that would be a cycle"):
            graph.add_dependency(task_id, depends_on)
    assert graph.get_ready_tasks() == ["a"]


def test_a_cycle_is_found_through_paths_that_meet_again() -> None:
    graph = diamond()
    graph.add_task("e", ["d"])
    with pytest.raises(DefinitionError, match="that would be a cycle"):
        graph.add_dependency("a", "e")


def test_a_refused_task_is_not_half_added() -> None:
    """Found by reading: the task stood there without its dependency, and was ready."""
    graph = TaskGraph()
    graph.add_task("a")
    for task_id, dependencies in (("b", ["a", "nowhere"]), ("c", ["c"])):
        with pytest.raises(DefinitionError, match="there is no task"):
            graph.add_task(task_id, dependencies)
    assert graph.get_ready_tasks() == ["a"]
    with pytest.raises(DefinitionError, match="'a' is in the graph already"):
        graph.add_task("a")


def test_unknown_tasks_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"there is no task 'x' in the graph .add it with add_task first"):
        TaskGraph().mark_completed("x")


def test_levels_depend_only_on_earlier_ones() -> None:
    assert diamond().levels() == [["a"], ["b", "c"], ["d"]]
    assert TaskGraph().levels() == []


def test_the_critical_path_is_the_chain_that_takes_longest() -> None:
    graph = diamond()
    graph.add_task("alone")
    assert graph.critical_path({"a": 1, "b": 2, "c": 5, "d": 1}) == (["a", "c", "d"], 7)
    assert graph.critical_path({"alone": 50}) == (["alone"], 50)
    assert TaskGraph().critical_path({}) == ([], 0.0)


def test_a_graph_is_made_of_a_definition_in_whatever_order_its_tasks_stand() -> None:
    definition = WorkflowDefinition([TaskDefinition("b", "x", dependencies=["a"]), TaskDefinition("a", "x")])
    graph = TaskGraph.of(definition)
    assert graph.levels() == [["a"], ["b"]]
    assert graph.get_ready_tasks() == ["a"]
    assert graph.nodes["b"].task is definition.tasks[0]
    with pytest.raises(DefinitionError, match=r"tasks wait for each other: (a -> b -> a|b -> a -> b)"):
        TaskGraph.of(
            WorkflowDefinition(
                [TaskDefinition("b", "x", dependencies=["a"]), TaskDefinition("a", "x", None, None, ["b"])]
            )
        )
    with pytest.raises(DefinitionError, match=r"there is no task 'aa' in the graph .did you mean 'a'"):
        TaskGraph.of(WorkflowDefinition([TaskDefinition("a", "x", dependencies=["aa"])]))


def test_nodes_are_shown_with_their_status() -> None:
    assert repr(diamond().nodes["a"]) == "TaskNode('a', PENDING)"


def test_the_cycle_is_found() -> None:
    assert find_cycle({"a": ["b"], "b": []}) == []
    assert sorted(find_cycle({"a": ["b"], "b": ["a"]})) in (["a", "a", "b"], ["a", "b", "b"])
