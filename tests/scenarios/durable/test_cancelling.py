"""Ends that somebody asked for: recorded first, carried out whoever lives, and nothing that was done is thrown away."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    CommandRefused,
    RetryPolicy,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from tests.scenarios.lives import Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

timer, wait_for = TaskDefinition.timer, TaskDefinition.wait_for


@in_virtual_time
async def test_an_abort_is_carried_out_by_the_next_process() -> None:
    """Given a run that works, when it is aborted and the process is killed before the handler has stopped, then the next process ends the
    run as cancelled, and runs nothing of it."""
    place = Place()
    definition = WorkflowDefinition([step("a", seconds=100, cleans_up=5), step("b", "a")])
    async with place.process() as first:
        run = await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        await run.abort("enough")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await second.wait("w")
    assert place.began == ["a"]


@in_virtual_time
async def test_what_ends_within_the_grace_is_recorded_and_leads_nowhere() -> None:
    """Given a handler that needs five seconds to come to its end, when its run is aborted with ten seconds of grace, then its result is
    kept, what depends on it never begins, and the next run of the workflow begins after it."""
    place = Place()
    definition = WorkflowDefinition(
        [step("a", seconds=100, cleans_up=5, gives="kept"), step("b", "a", gives="${a}")], output="${b}"
    )
    async with place.process() as first:
        run = await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        await run.abort(grace_seconds=10)
        with pytest.raises(WorkflowExecutionError):
            await run.result()
        assert (await run.execution()).task_results["a"].value == "kept"
    assert place.began == ["a"]
    async with place.process() as second:
        next_run = await second.resume_workflow("w")
        assert await next_run.result() == "kept"
    assert place.began == ["a", "b"]


@in_virtual_time
async def test_the_loser_of_a_race_is_not_tried_again_after_a_restart() -> None:
    """Given two providers of which the first to answer wins, when the other waits for its next attempt as the winner answers and the
    process is restarted, then the other is cancelled and never called again."""
    place = Place()
    policy = RetryPolicy(max_attempts=5, initial_delay_seconds=60, jitter=False)
    race = WorkflowDefinition(
        [
            step("unsure", fails=9, retry_policy=policy),
            step("sure", seconds=30, gives="this one"),
            step("use", "unsure", "sure", join="any", cancel_rest=True, gives="${sure}", seconds=100),
        ],
        output="${use}",
    )
    async with place.process() as first:
        await first.start_workflow(race, workflow_id="w")
        await passes(40)
    async with place.process() as second:
        assert await second.wait("w") == "this one"
        assert statuses((await second.get_workflow_state("w")).tasks)["unsure"] == "CANCELLED"
    assert place.began.count("unsure") == 1


@in_virtual_time
async def test_a_cancelled_task_leaves_the_queue_of_its_lock() -> None:
    """Given three runs that want one lock, when the second is aborted while it queues and the process is killed, then the third has the
    lock after the first, and nothing waits for the one that is gone."""
    place = Place()
    locked = WorkflowDefinition([step("till", seconds=60, locks={"till"})], name="locked")
    async with place.process() as first:
        for name in ("a", "b", "c"):
            await first.start_workflow(locked, {"who": name}, workflow_id=name)
            await passes(1)
        await first.abort("b", grace_seconds=1)
    async with place.process() as second:
        async with asyncio.timeout(300):
            await second.wait("a")
            await second.wait("c")
        assert (await second.get_workflow_state("b")).status is WorkflowStatus.CANCELLED
        report = await second.check_liveness()
        assert not report.breaches
    assert len(place.done) == 2


@in_virtual_time
async def test_a_task_is_cancelled_by_hand_and_the_run_goes_on_without_it() -> None:
    """Given a run one of whose branches hangs, when somebody cancels that task and the process is killed at once, then the next process
    does not run it again, and the run comes to its end without it."""
    place = Place()
    definition = WorkflowDefinition([step("hangs", seconds=9_999), step("goes", seconds=1), step("both", "hangs", "goes", gives="through")],
                                    output="${both}")  # fmt: skip
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(5)
        await first.cancel_task("w", "hangs", reason="the other side is down", cancelled_by="ada")
    async with place.process() as second:
        assert await second.wait("w") == "through"
    assert place.began == ["hangs", "goes", "both"]


@in_virtual_time
async def test_stopping_a_process_is_no_cancellation() -> None:
    """Given a run in the middle of a step, when its process is stopped in good order, then the run is not cancelled: the step is run again
    by the next process, as the same work under the same effect key."""
    place = Place()
    definition = WorkflowDefinition([step("a", seconds=100, gives="done")], output="${a}")
    async with place.process(ends="stopped") as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(50)
    async with place.process() as second:
        assert await second.wait("w") == "done"
    assert place.began == ["a", "a"]
    assert len(set(place.effect_keys["a"])) == 1


@in_virtual_time
async def test_an_abort_during_a_pause_is_an_abort() -> None:
    """Given a run that was paused while one of its steps worked, when it is aborted and the process is restarted, then it is cancelled and
    not paused, and a resume is refused because it has ended."""
    place = Place()
    definition = WorkflowDefinition([step("a", seconds=10), step("b", "a")])
    async with place.process() as first:
        run = await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        await run.pause()
        await passes(20)
        await run.abort("given up")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError, match="given up"):
            await second.wait("w")
        with pytest.raises(CommandRefused, match="is CANCELLED"):
            await second.resume("w")
    assert place.done == ["a"]
