"""Sagas over the ends of processes: what was done is undone, the last first, each once – or somebody is asked."""

from __future__ import annotations

import pytest

from agenticflow import (
    CommandRefused,
    Compensation,
    RetryPolicy,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from tests.scenarios.lives import ONCE, Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

SLOW_UNDO = Compensation("work", params={"seconds": 10})


def trip(*, last: TaskDefinition | None = None, undo: Compensation = SLOW_UNDO) -> WorkflowDefinition:
    """Flight, hotel and car, each with what undoes it; then something that fails."""
    return WorkflowDefinition(
        [
            step("flight", compensation=undo),
            step("hotel", "flight", compensation=undo),
            step("car", "hotel", compensation=undo),
            last or step("pay", "car", fails=9, retry_policy=ONCE),
        ],
        name="trip",
    )


@in_virtual_time
async def test_a_crash_in_the_middle_of_undoing_goes_on_with_what_is_left() -> None:
    """Given a trip that is being undone, when the process is killed during the second of three compensations, then the next process does
    not repeat the first, and goes on with the second and the third, in this order."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(trip(), workflow_id="w")
        await passes(15)
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError) as caught:
            await second.wait("w")
        assert caught.value.status == "COMPENSATED"
    assert place.done == ["flight", "hotel", "car", "undo:car", "undo:hotel", "undo:flight"]
    assert place.began.count("undo:car") == 1


@in_virtual_time
async def test_an_abort_while_it_is_undone_is_refused_and_undoing_goes_on() -> None:
    """Given a trip that is being undone, when somebody aborts it, then that is refused, and after a restart all of it is undone all the
    same: no compensation is skipped."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(trip(), workflow_id="w")
        await passes(15)
        with pytest.raises(CommandRefused, match="is being undone"):
            await first.abort("w", "never mind")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("w")
    assert place.done[3:] == ["undo:car", "undo:hotel", "undo:flight"]


@in_virtual_time
async def test_an_aborted_run_is_undone_by_the_next_process() -> None:
    """Given a trip that waits for its payment, when it is aborted and the process is killed before anything was undone, then the next
    process undoes what was completed, the last first."""
    place = Place()
    waits = TaskDefinition.wait_for("pay", "payment", {"car"})
    async with place.process() as first:
        run = await first.start_workflow(trip(last=waits), workflow_id="w")
        await passes(5)
        await run.abort("changed my mind")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("w")
        assert (await second.get_workflow_state("w")).status is WorkflowStatus.COMPENSATED
    assert place.done[3:] == ["undo:car", "undo:hotel", "undo:flight"]


@in_virtual_time
async def test_a_compensation_that_fails_for_good_waits_for_a_person() -> None:
    """Given a compensation that fails at all its attempts, when the process is restarted, then the run still asks for a person and nothing
    before it is undone; when the person says it was undone by hand, then the rest is undone."""
    place = Place()
    place.failures["undo:hotel"] = 9
    undo = Compensation("work", retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=1, jitter=False))
    async with place.process() as first:
        await first.start_workflow(trip(undo=undo), workflow_id="w")
        await passes(60)
    async with place.process() as second:
        await passes(60)
        assert (await second.get_workflow_state("w")).status is WorkflowStatus.NEEDS_ATTENTION
        assert place.began.count("undo:hotel") == 2
        assert "undo:flight" not in place.began
        await second.resolve("w", "undo:hotel", "completed", reason="by telephone")
        with pytest.raises(WorkflowExecutionError):
            await second.wait("w")
    assert place.done[3:] == ["undo:car", "undo:flight"]


@in_virtual_time
async def test_a_compensation_is_retried_over_a_restart_as_the_same_work() -> None:
    """Given a compensation that fails once and waits for its next attempt, when the process is restarted meanwhile, then it is tried again
    at its moment under the same effect key, before anything else is undone."""
    place = Place()
    place.failures["undo:car"] = 1
    undo = Compensation("work", retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=60, jitter=False))
    async with place.process() as first:
        await first.start_workflow(trip(undo=undo), workflow_id="w")
        await passes(30)
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("w")
    assert place.began[4:] == ["undo:car", "undo:car", "undo:hotel", "undo:flight"]
    assert len(set(place.effect_keys["undo:car"])) == 1
    assert place.times["undo:car"] == pytest.approx(60, abs=1)


@in_virtual_time
async def test_what_went_through_after_the_abort_is_undone_too() -> None:
    """Given a booking in work when its run is aborted, when it goes through within the grace all the same, then it is undone with the rest,
    before what was completed earlier."""
    place = Place()
    late = step("car", "hotel", seconds=100, cleans_up=5, compensation="work")
    definition = WorkflowDefinition(
        [step("flight", compensation="work"), step("hotel", "flight", compensation="work"), late]
    )
    async with place.process() as first:
        run = await first.start_workflow(definition, workflow_id="w")
        await passes(5)
        await run.abort(grace_seconds=30)
        await passes(2)
        assert place.done == ["flight", "hotel"]
        with pytest.raises(WorkflowExecutionError):
            await run.result()
    assert place.done[:3] == ["flight", "hotel", "car"]
    assert place.began[3:] == ["undo:car", "undo:hotel", "undo:flight"]


@in_virtual_time
async def test_a_child_that_was_completed_is_undone_as_one_task() -> None:
    """Given a parent with a completed sub-workflow and a failing step, when the process is killed before the parent is undone, then the
    next process undoes the sub-workflow by what the parent says, with the child's result at hand."""
    place = Place()
    child = WorkflowDefinition([step("book", gives="booking 7")], output="${book}")
    definition = WorkflowDefinition(
        [
            TaskDefinition("travel", workflow=child, compensation=Compensation("work", params={"gives": "${travel}"})),
            step("pay", "travel", seconds=30, fails=9, retry_policy=ONCE),
        ]
    )
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="p")
        await passes(15)
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("p")
        tasks = (await second.get_workflow_state("p")).tasks
        assert statuses(tasks)["undo:travel"] == "COMPLETED"
    assert place.began == ["p~travel:book", "pay", "pay", "undo:travel"]
