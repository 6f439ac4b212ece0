"""Runs that are a task of another run: found again, told of its end, and what their end means for it."""

from __future__ import annotations

import pytest

from agenticflow import RetryPolicy, TaskDefinition, WorkflowDefinition, WorkflowExecutionError, WorkflowStatus, worker
from tests.scenarios.lives import ONCE, Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

wait_for = TaskDefinition.wait_for
CHILD = WorkflowDefinition(
    [step("first", seconds=10), step("second", "first", gives="of the child", seconds=10)],
    name="child",
    output="${second}",
)


@worker("take_one")
async def take_one(left: int) -> int:
    return left - 1


def parent(child: WorkflowDefinition = CHILD, **options: object) -> WorkflowDefinition:
    task = TaskDefinition("child", workflow=child, **options)  # type: ignore[arg-type]  # any option of a task
    return WorkflowDefinition([task, step("after", "child", gives="${child}")], name="parent", output="${after}")


@in_virtual_time
async def test_a_child_is_found_again_and_not_started_twice() -> None:
    """Given a parent that waits for its child, when the process is killed in the middle of the child, then the child goes on where it was,
    and the parent has its result once."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(parent(), workflow_id="p")
        await passes(15)
    async with place.process() as second:
        assert await second.wait("p") == "of the child"
    assert place.done == ["p~child:first", "p~child:second", "after"]
    assert (await place.recorded("workflow-p~child/1")).count("workflow_started") == 1


@in_virtual_time
async def test_ending_a_parent_ends_its_child_also_when_the_process_dies_meanwhile() -> None:
    """Given a parent whose child works, when the parent is aborted and the process is killed in that moment, then the next process ends the
    child too, and nothing more of either begins."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(parent(), workflow_id="p")
        await passes(5)
        await first.abort("p", "no longer wanted")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError, match="no longer wanted"):
            await second.wait("p")
        with pytest.raises(WorkflowExecutionError, match="cancelled"):
            await second.wait("p~child")
    assert "p~child:second" not in place.began
    assert "after" not in place.began


@in_virtual_time
async def test_a_detached_child_outlives_its_parent_and_a_restart() -> None:
    """Given a child that is detached on cancellation, when its parent is aborted and the process is killed, then the child comes to its own
    end in the next process."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(parent(on_cancel="detach"), workflow_id="p")
        await passes(5)
        await first.abort("p")
        await passes(1)
    async with place.process() as second:
        assert await second.wait("p~child") == "of the child"
        assert (await second.get_workflow_state("p")).status is WorkflowStatus.CANCELLED


@in_virtual_time
async def test_a_child_that_failed_is_tried_again_from_where_it_failed() -> None:
    """Given a sub-workflow with two attempts, when the child fails at its second step and the process is restarted before the next attempt,
    then the child's next run keeps its first step and does the second again."""
    place = Place()
    child = WorkflowDefinition(
        [step("first"), step("second", "first", gives="at last", fails=1, retry_policy=ONCE)], output="${second}"
    )
    again = RetryPolicy(max_attempts=2, initial_delay_seconds=60, jitter=False)
    async with place.process() as first:
        await first.start_workflow(parent(child, retry_policy=again), workflow_id="p")
        await passes(30)
    async with place.process() as second:
        assert await second.wait("p") == "at last"
        assert (await second.get_execution("p~child")).run_no == 2
    assert place.began == ["p~child:first", "p~child:second", "p~child:second", "after"]


@in_virtual_time
async def test_a_child_that_fails_for_good_has_a_fallback() -> None:
    """Given a sub-workflow with a fallback, when the child fails for good and the process is killed while the fallback works, then the
    fallback runs again, and its result stands for the child's."""
    place = Place()
    child = WorkflowDefinition([step("only", fails=9, retry_policy=ONCE)])
    definition = WorkflowDefinition(
        [
            TaskDefinition("child", workflow=child, fallback="instead"),
            step("instead", gives="by hand", seconds=10),
            step("after", "child", gives="${child}"),
        ],
        output="${after}",
    )
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="p")
        await passes(5)
    async with place.process() as second:
        assert await second.wait("p") == "by hand"
    assert place.began == ["p~child:only", "instead", "instead", "after"]


@in_virtual_time
async def test_a_parent_waits_for_the_last_run_of_a_child_that_continues() -> None:
    """Given a child that goes on as a new run twice, when the process is killed between two of its runs, then the parent sees one child,
    and goes on with the result of its last run."""
    place = Place()
    child = WorkflowDefinition(
        [
            step("work", gives="${left}", seconds=10),
            TaskDefinition("less", "take_one", params={"left": "${left}"}, dependencies={"work"}),
            TaskDefinition("again", dependencies={"less"}, continue_with={"left": "${less}"}, when="${less} > 0"),
        ],
        context={"left": 3},
        output="${work}",
    )
    async with place.process(take_one) as first:
        await first.start_workflow(parent(child), workflow_id="p")
        await passes(15)
    async with place.process(take_one) as second:
        assert await second.wait("p") == 1
        assert (await second.get_execution("p~child")).run_no == 3
    assert place.done == ["p~child:work"] * 3 + ["after"]


@in_virtual_time
async def test_one_child_per_item_goes_on_beside_the_others_after_a_crash() -> None:
    """Given a map over sub-workflows, two at a time, when the process is killed while the second pair works, then children that had ended
    are kept, those in work go on, and the results are in the order of the items."""
    place = Place()
    child = WorkflowDefinition([step("only", gives="${number}", seconds=10)], output="${only}")
    each = TaskDefinition("each", workflow=child, params={"number": "${item}"}, for_each=[3, 1, 4, 1], max_parallel=2)
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition([each], output="${each}"), workflow_id="p")
        await passes(15)
        tasks = (await first.get_workflow_state("p")).tasks
        assert [statuses(tasks)[f"each[{number}]"] for number in (0, 1)] == ["COMPLETED", "COMPLETED"]
    async with place.process() as second:
        assert await second.wait("p") == [3, 1, 4, 1]
    assert sorted(place.done) == [f"p~each[{number}]:only" for number in range(4)]


@in_virtual_time
async def test_a_child_hears_signals_of_its_own_after_a_restart() -> None:
    """Given a child that waits for a signal, when the process is restarted and the signal is sent to the child's id, then the child takes
    it, and the parent, which is not asked, goes on."""
    place = Place()
    child = WorkflowDefinition([wait_for("got", "news")], output="${got}")
    async with place.process() as first:
        await first.start_workflow(parent(child), workflow_id="p")
        await passes(1)
    async with place.process() as second:
        await second.signal("p~child", "news", "good")
        assert await second.wait("p") == "good"
