"""Recorded moments: they pass while nobody lives, they never begin anew, and what came due is due at the next start."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import RetryPolicy, TaskDefinition, WorkflowDefinition, WorkflowExecutionError, WorkflowStatus
from tests.scenarios.lives import Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

timer, wait_for = TaskDefinition.timer, TaskDefinition.wait_for
HOUR = 3_600


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_timer_goes_on_while_nobody_lives() -> None:
    """Given a timer of an hour, when the process is killed after forty minutes and the next one starts ten minutes later, then it rings an
    hour after it was set, not an hour after the start."""
    place = Place()
    later = WorkflowDefinition([timer("hour", HOUR), step("call", "hour")])
    async with place.process() as first:
        await first.start_workflow(later, workflow_id="w")
        await passes(40 * 60)
    await passes(10 * 60)
    async with place.process() as second:
        await second.wait("w")
    assert place.times["call"] == pytest.approx(HOUR, abs=1)


@in_virtual_time
async def test_a_timer_that_came_due_while_nobody_lived_rings_at_the_next_start() -> None:
    """Given timers of one and of two hours, when nobody lives from the first minute to the ninetieth, then the first rings at that start,
    and the second half an hour later."""
    place = Place()
    both = WorkflowDefinition([timer("one", HOUR), timer("two", 2 * HOUR), step("a", "one"), step("b", "two")])
    async with place.process() as first:
        await first.start_workflow(both, workflow_id="w")
        await passes(60)
    await passes(89 * 60)
    async with place.process() as second:
        await second.wait("w")
    assert place.times == pytest.approx({"a": 1.5 * HOUR, "b": 2 * HOUR}, abs=1)


@in_virtual_time
async def test_a_retry_is_due_at_its_recorded_moment_and_counts_on() -> None:
    """Given a task that failed twice and waits a minute for its last attempt, when the process is killed and starts again at once, then the
    third attempt begins at its moment, and it is the last."""
    place = Place()
    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=60, multiplier=1, jitter=False)
    definition = WorkflowDefinition([step("call", fails=9, retry_policy=policy)])
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(90)
    assert place.began == ["call", "call"]
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError, match="not there yet"):
            await second.wait("w")
    assert place.began == ["call"] * 3
    assert place.times["call"] == pytest.approx(120, abs=1)


@in_virtual_time
async def test_the_time_limit_of_a_run_counts_the_time_nobody_lived() -> None:
    """Given a run with a limit of an hour that waits for a signal, when nobody lives until the hour has passed, then it has failed at the
    next start, and what should have followed never ran."""
    place = Place()
    limited = WorkflowDefinition([wait_for("paid", "payment"), step("ship", "paid")], timeout_seconds=HOUR)
    async with place.process() as first:
        await first.start_workflow(limited, workflow_id="w")
    await passes(2 * HOUR)
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError, match="3600"):
            await second.wait("w")
    assert place.began == []


@in_virtual_time
async def test_the_limit_of_a_task_goes_over_all_its_attempts_and_a_restart() -> None:
    """Given a task that may take ten minutes with all its attempts, when a restart comes between two of them, then it fails ten minutes
    after it was first scheduled, whatever attempts it had left."""
    place = Place()
    policy = RetryPolicy(max_attempts=100, initial_delay_seconds=50, multiplier=1, jitter=False)
    task = step("call", fails=99, retry_policy=policy, total_timeout_seconds=600)
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition([task]), workflow_id="w")
        await passes(300)
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("w")
        assert now() == pytest.approx(600, abs=1)
    assert len(place.began) == 12, "one every fifty seconds, and none after the limit"


@in_virtual_time
async def test_a_timer_of_a_paused_run_passes_and_what_follows_waits() -> None:
    """Given a paused run with a timer, when its moment passes and the process is restarted, then what follows does not run until somebody
    resumes the run, and then at once."""
    place = Place()
    later = WorkflowDefinition([timer("hour", HOUR), step("call", "hour")])
    async with place.process() as first:
        run = await first.start_workflow(later, workflow_id="w")
        await run.pause()
    async with place.process() as second:
        await passes(3 * HOUR)
        assert place.began == []
        await second.resume("w")
        await second.wait("w")
    assert place.times["call"] == pytest.approx(3 * HOUR, abs=1)


@in_virtual_time
async def test_a_loop_that_polls_keeps_its_rhythm_over_a_restart() -> None:
    """Given a loop that asks every ten minutes until there is an answer, when the process is killed between two rounds, then the next round
    comes at its moment with the result of the round before, and no round is asked twice."""
    place = Place()
    poll = step("poll", gives="${iteration}", repeat_until="${poll} == 2", repeat_delay_seconds=600)
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition([poll], output="${poll}"), workflow_id="w")
        await passes(700)
    async with place.process() as second:
        state = await second.get_workflow_state("w")
        assert state.status is WorkflowStatus.WAITING
        assert statuses(state.tasks)["poll[1]"] == "COMPLETED"
        assert await second.wait("w") == 2
    assert place.began == ["poll[0]", "poll[1]", "poll[2]"]
    assert place.times == pytest.approx({"poll[0]": 0, "poll[1]": 600, "poll[2]": 1_200}, abs=1)
