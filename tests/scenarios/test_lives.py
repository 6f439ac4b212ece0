"""The place the durable scenarios live in keeps its word: what was killed is gone."""

from __future__ import annotations

import asyncio

from agenticflow import WorkflowDefinition
from tests.scenarios.lives import Place, passes, step
from tests.unit.runtime.engine import in_virtual_time

SLOW = WorkflowDefinition([step("a"), step("b", "a", seconds=10), step("c", "b")])


@in_virtual_time
async def test_nothing_of_a_killed_process_reaches_the_store_or_goes_on() -> None:
    place = Place()
    async with place.process() as doomed:
        await doomed.start_workflow(SLOW, workflow_id="w")
        await passes(5)
        recorded = await place.recorded("workflow-w/1")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await passes(100)
    assert await place.recorded("workflow-w/1") == recorded
    assert (place.began, place.done) == (["a", "b"], ["a"])


@in_virtual_time
async def test_a_process_that_is_stopped_records_what_ends_meanwhile_and_one_that_is_killed_does_not() -> None:
    place = Place()
    soon = WorkflowDefinition([step("a", seconds=5.5)])
    async with place.process(ends="stopped") as first:
        await first.start_workflow(soon, workflow_id="stopped")
        await passes(5)
    async with place.process() as second:
        await second.start_workflow(soon, workflow_id="killed")
        await passes(5)
    assert "task_completed" in await place.recorded("workflow-stopped/1")
    assert (await place.recorded("workflow-killed/1"))[-1] == "task_started"
