"""How runs begin, over the ends of the processes that began them."""

from __future__ import annotations

import pytest

from agenticflow import WorkflowDefinition, WorkflowIdConflict, WorkflowStatus
from tests.scenarios.lives import Place, passes, step
from tests.unit.runtime.engine import in_virtual_time

TWO = WorkflowDefinition([step("a", seconds=5), step("b", "a", gives="done", seconds=5)], name="two", output="${b}")


@in_virtual_time
async def test_a_start_that_was_not_answered_may_be_asked_again() -> None:
    """Given a start whose process died before the caller had an answer, when the caller starts it again under the same id, then it is the
    same run, and what was done is not done again."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(TWO, {"order": 1}, workflow_id="w")
        await passes(7)
    async with place.process() as second:
        run = await second.start_workflow(TWO, {"order": 1}, workflow_id="w")
        assert await run.result() == "done"
    assert run.run_no == 1
    assert place.done == ["a", "b"]


@in_virtual_time
async def test_a_finished_run_answers_a_later_start_with_its_result() -> None:
    """Given a run that was completed by a process that is gone, when it is started again under its id, then its result is handed back, and
    nothing runs."""
    place = Place()
    async with place.process(ends="stopped") as first:
        await first.execute_workflow(TWO, {"order": 1}, workflow_id="w")
    async with place.process() as second:
        again = await second.start_workflow(TWO, {"order": 1}, workflow_id="w")
        assert await again.result() == "done"
    assert place.began == ["a", "b"]


@in_virtual_time
async def test_an_id_that_is_taken_is_refused_and_leaves_the_run_alone() -> None:
    """Given an open run of a process that was killed, when somebody starts another input under its id, then that is refused as a conflict,
    and the run goes on with the input it had."""
    place = Place()
    echo = WorkflowDefinition([step("a", gives="${order}", seconds=5)], name="echo", output="${a}")
    async with place.process() as first:
        await first.start_workflow(echo, {"order": 1}, workflow_id="w")
    async with place.process() as second:
        with pytest.raises(WorkflowIdConflict):
            await second.start_workflow(echo, {"order": 2}, workflow_id="w")
        assert await second.wait("w") == 1


@in_virtual_time
async def test_a_run_is_started_before_anybody_can_perform_it() -> None:
    """Given a run whose worker is not deployed yet, when a later process brings the worker, then the run, which said what it waited for,
    begins there."""
    place = Place()
    async with place.process(works=False) as first:
        run = await first.start_workflow(TWO, workflow_id="w")
        await passes(3_600)
        assert (await run.execution()).waits_for == [
            "task 'a' waits for an agent or worker 'work', which is not registered here"
        ]
    async with place.process() as second:
        assert await second.wait("w") == "done"


@in_virtual_time
async def test_a_process_that_performs_nothing_leaves_runs_to_the_next_owner() -> None:
    """Given a process that only records, when it starts a run and ends, then no handler was called there, and the next owner performs it
    without being asked."""
    place = Place()
    async with place.process(ends="stopped", performs=False) as recorder:
        await recorder.start_workflow(TWO, workflow_id="w")
        await passes(60)
        assert place.began == []
    async with place.process() as owner:
        assert await owner.wait("w") == "done"
        assert (await owner.get_workflow_state("w")).status is WorkflowStatus.COMPLETED
