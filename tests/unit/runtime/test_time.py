"""Limits, delays and grace: recorded as moments, never early, and not restarted by a restart. All in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running, virtual_clock
from tests.unit.runtime.tasks import single

ONCE = RetryPolicy(max_attempts=1)
HOUR = 3_600.0
DAY = 24 * HOUR


def sleeper(seconds: float, starts: list[float] | None = None) -> Agent:
    agent = Agent("agent", concurrency=10)

    @agent.task("do")
    async def do() -> str:
        if starts is not None:
            starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)
        return "slept"

    return agent


def elapsed() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_an_attempt_ends_at_its_limit_and_is_tried_again() -> None:
    starts: list[float] = []
    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=HOUR, multiplier=2, max_delay_seconds=DAY, jitter=False)
    async with running(sleeper(2 * DAY, starts)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=DAY, retry_policy=policy))
        with pytest.raises(WorkflowExecutionError, match="TaskTimeout"):
            await handle.result()
        errors = (await handle.execution()).tasks["work"].errors
    assert starts == pytest.approx([0, DAY + HOUR, 2 * DAY + 3 * HOUR], abs=0.01)
    assert elapsed() == pytest.approx(3 * DAY + 3 * HOUR, abs=0.1)
    assert [error.code for error in errors] == ["timeout"] * 3


@in_virtual_time
async def test_work_within_its_limit_is_left_alone() -> None:
    async with running(sleeper(DAY - 1)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=DAY))
        assert await handle.result() == {"work": "slept"}


@in_virtual_time
async def test_without_a_limit_work_may_take_for_ever() -> None:
    async with running(sleeper(300 * DAY)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=None))
        assert await handle.result() == {"work": "slept"}


@in_virtual_time
async def test_the_total_limit_counts_attempts_and_the_pauses_between_them() -> None:
    starts: list[float] = []
    policy = RetryPolicy(
        max_attempts=1_000, initial_delay_seconds=HOUR, multiplier=1, max_delay_seconds=HOUR, jitter=False
    )
    definition = single(timeout_seconds=HOUR, total_timeout_seconds=9.5 * HOUR, retry_policy=policy)
    async with running(sleeper(DAY, starts)) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError, match="within its total limit of 34200 s"):
            await handle.result()
    assert len(starts) == 5
    assert elapsed() == pytest.approx(9.5 * HOUR, abs=11)


@in_virtual_time
async def test_the_workflows_limit_ends_everything() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition("work", "agent", "do", timeout_seconds=None),
            TaskDefinition.wait_for("gate", "open"),
            TaskDefinition("after", "agent", "do", dependencies=["work"]),
        ],
        timeout_seconds=HOUR,
    )
    async with running(sleeper(DAY)) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError, match="the workflow's limit of 3600 s passed") as failure:
            await handle.result()
        assert await handle.status() is WorkflowStatus.FAILED
    assert elapsed() == pytest.approx(HOUR, abs=0.1)
    assert "after" in failure.value.remaining


@in_virtual_time
async def test_timers_of_days_ring_in_order_and_never_early() -> None:
    order: list[tuple[int, float]] = []
    agent = Agent("agent", concurrency=50)

    @agent.task("do")
    async def do(n: int) -> None:
        order.append((n, elapsed()))

    hours = [48, 3, 500, 1, 24, 24]
    definition = WorkflowDefinition(
        [
            task
            for n, hour in enumerate(hours)
            for task in (
                TaskDefinition.timer(f"wait{n}", hour * HOUR),
                TaskDefinition(f"t{n}", "agent", "do", {"n": n}, dependencies=[f"wait{n}"]),
            )
        ]
    )
    async with running(agent) as orchestrator:
        await orchestrator.execute_workflow(definition)
    assert [hours[n] for n, _ in order] == sorted(hours)
    for n, at in order:
        assert hours[n] * HOUR <= at < hours[n] * HOUR + 0.1


@in_virtual_time
async def test_a_restart_does_not_restart_a_timer_nor_a_limit() -> None:
    store = MemoryStore()
    definition = WorkflowDefinition(
        [
            TaskDefinition.timer("wait", 10 * HOUR),
            TaskDefinition("work", "agent", "do", timeout_seconds=8 * HOUR, retry_policy=ONCE),
        ]
    )
    async with running(sleeper(DAY), store=store) as orchestrator:
        await orchestrator.start_workflow(definition, workflow_id="w")
        await passes(2 * HOUR)
        await orchestrator.stop(drain_seconds=0)
    await passes(3 * HOUR)
    async with running(sleeper(DAY), store=store) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.wait("w")
        tasks = (await orchestrator.get_workflow_state("w")).tasks
    assert tasks["wait"].status is TaskStatus.COMPLETED
    assert tasks["work"].ended_at is not None
    assert tasks["work"].scheduled_at is not None
    assert (tasks["work"].ended_at - tasks["work"].scheduled_at).total_seconds() == pytest.approx(8 * HOUR, abs=0.1)
    assert elapsed() == pytest.approx(10 * HOUR, abs=0.1)


@in_virtual_time
async def test_a_limit_that_passed_while_nobody_ran_is_over_at_the_restart() -> None:
    store, starts = MemoryStore(), list[float]()
    definition = single(timeout_seconds=8 * HOUR, retry_policy=ONCE)
    async with running(sleeper(DAY, starts), store=store) as orchestrator:
        await orchestrator.start_workflow(definition, workflow_id="w")
        await passes(2 * HOUR)
        await orchestrator.stop(drain_seconds=0)
    await passes(3 * DAY)
    async with running(sleeper(DAY, starts), store=store) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="while its process was down"):
            await orchestrator.wait("w")
    assert len(starts) == 1


@in_virtual_time
async def test_a_retry_that_was_due_while_nobody_ran_comes_at_once() -> None:
    store, calls = MemoryStore(), list[float]()
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> str:
        calls.append(elapsed())
        if len(calls) == 1:
            raise OSError("not yet")
        return "done"

    policy = RetryPolicy(initial_delay_seconds=HOUR, max_delay_seconds=HOUR, jitter=False)
    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(single(retry_policy=policy), workflow_id="w")
        await passes(60)
    await passes(DAY)
    async with running(agent, store=store) as orchestrator:
        assert await orchestrator.wait("w") == {"work": "done"}
    assert calls == pytest.approx([0, DAY + 60], abs=1)


@in_virtual_time
async def test_a_handler_knows_its_deadline() -> None:
    agent = Agent("agent")

    @agent.task("do")
    async def do(context: TaskContext) -> float:
        assert context.deadline is not None
        return (context.deadline - virtual_clock().now_ns()) / 1e9

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=HOUR))
        assert await handle.result() == {"work": pytest.approx(HOUR, abs=0.001)}


@in_virtual_time
async def test_at_most_once_work_at_its_limit_is_unknown_not_failed() -> None:
    async with running(sleeper(DAY)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=60, effect=EffectClass.AT_MOST_ONCE))
        await passes(2 * HOUR)
        assert await handle.status() is WorkflowStatus.NEEDS_ATTENTION
        await orchestrator.resolve(handle.workflow_id, "work", "failed", reason="the bank says no")
        with pytest.raises(WorkflowExecutionError, match="the bank says no"):
            await handle.result()


@in_virtual_time
async def test_pausing_lets_limits_and_timers_go_on_but_starts_nothing() -> None:
    starts: list[float] = []
    definition = WorkflowDefinition(
        [TaskDefinition.timer("wait", HOUR), TaskDefinition("work", "agent", "do", dependencies=["wait"])]
    )
    async with running(sleeper(1, starts)) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await handle.pause(reason="lunch")
        await passes(5 * HOUR)
        state = await orchestrator.get_workflow_state(handle.workflow_id)
        assert (state.status, state.tasks["wait"].status) == (WorkflowStatus.PAUSED, TaskStatus.COMPLETED)
        assert "the run is paused" in (await handle.execution()).waits_for
        assert starts == []
        await handle.resume()
        await handle.result()
    assert starts == pytest.approx([5 * HOUR], abs=0.1)


@in_virtual_time
async def test_grace_is_waited_for_no_longer_than_it_lasts() -> None:
    agent, release = Agent("agent"), asyncio.Event()

    @agent.task("do")
    async def do() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        await passes(1)
        await handle.abort("enough", grace_seconds=60)
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await handle.result()
        assert elapsed() == pytest.approx(61, abs=0.1)
        assert (await handle.execution()).tasks["work"].status is TaskStatus.UNKNOWN
        release.set()


@in_virtual_time
async def test_an_abort_that_is_obeyed_ends_at_once() -> None:
    async with running(sleeper(DAY)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=None))
        await passes(1)
        await handle.abort("enough", grace_seconds=HOUR)
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await handle.result()
        assert elapsed() == pytest.approx(1, abs=0.1)
        assert await handle.status() is WorkflowStatus.CANCELLED
