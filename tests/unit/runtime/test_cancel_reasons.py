"""A handler that is told to stop finds the reason in its context, before the cancellation reaches it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    Orchestrator,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.core.context import CancelReason
from agenticflow.errors import TaskCancelled
from tests.unit.runtime.engine import in_virtual_time, passes, running, until
from tests.unit.runtime.tasks import single

ONCE = RetryPolicy(max_attempts=1)
Heard = list[tuple[bool, CancelReason | None]]
"""What the context said, at the beginning and when the cancellation came."""


def listener() -> tuple[Agent, Heard]:
    agent, heard = Agent("agent", concurrency=10), Heard()

    @agent.task("do")
    async def do(context: TaskContext) -> None:
        heard.append((context.is_cancelled, context.cancel_reason))
        try:
            await asyncio.Event().wait()
        finally:
            heard.append((context.is_cancelled, context.cancel_reason))

    @agent.task("soon")
    async def soon() -> None:
        await asyncio.sleep(1)

    return agent, heard


def beside(**options: Any) -> WorkflowDefinition:
    """A task that waits for its end, beside one that is done after a second."""
    work = TaskDefinition("work", "agent", "do", retry_policy=ONCE)
    return WorkflowDefinition([work, TaskDefinition("soon", "agent", "soon", **options)])


def told(reason: CancelReason) -> Heard:
    return [(False, None), (True, reason)]


async def abort(orchestrator: Orchestrator) -> None:
    await orchestrator.abort("w", "enough")


async def cancel_task(orchestrator: Orchestrator) -> None:
    await orchestrator.cancel_task("w", "work")


async def drain(orchestrator: Orchestrator) -> None:
    await orchestrator.stop(drain_seconds=1)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [(abort, CancelReason.ABORTED), (cancel_task, CancelReason.CANCELLED), (drain, CancelReason.DRAIN)],
)
def test_somebody_stops_it(stop: Callable[[Orchestrator], Awaitable[None]], reason: CancelReason) -> None:
    @in_virtual_time
    async def story() -> None:
        agent, heard = listener()
        async with running(agent) as orchestrator:
            await orchestrator.start_workflow(single(retry_policy=ONCE), workflow_id="w")
            await passes(1)
            await stop(orchestrator)
            await passes(1)
            assert heard == told(reason)

    story()


@pytest.mark.parametrize("effect", list(EffectClass))
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"timeout_seconds": 5.0}, CancelReason.TIMEOUT),
        ({"total_timeout_seconds": 5.0}, CancelReason.TIMEOUT),
        ({"stall_seconds": 5.0}, CancelReason.STALLED),
    ],
)
def test_a_limit_of_the_task_stops_it(options: dict[str, Any], reason: CancelReason, effect: EffectClass) -> None:
    @in_virtual_time
    async def story() -> None:
        agent, heard = listener()
        async with running(agent) as orchestrator:
            await orchestrator.start_workflow(single(retry_policy=ONCE, effect=effect, **options))
            await passes(10)
            assert heard == told(reason)

    story()


@in_virtual_time
async def test_the_limit_of_the_run_stops_it() -> None:
    agent, heard = listener()
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do")], timeout_seconds=5)
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
    assert heard == told(CancelReason.TIMEOUT)


@pytest.mark.parametrize("options", [{"cancels": ["work"]}, {"ends_run": True}])
def test_the_run_goes_on_or_ends_without_it(options: dict[str, Any]) -> None:
    @in_virtual_time
    async def story() -> None:
        agent, heard = listener()
        async with running(agent) as orchestrator:
            await orchestrator.start_workflow(beside(**options))
            await passes(2)
            assert heard == told(CancelReason.UNNEEDED)

    story()


@in_virtual_time
async def test_the_run_that_it_is_a_part_of_ends() -> None:
    agent, heard = listener()
    child = WorkflowDefinition([TaskDefinition("work", "agent", "do")], name="child")
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("part", workflow=child)]))
        await passes(1)
        await handle.abort("enough")
        await passes(1)
        assert heard == told(CancelReason.ABORTED)


@in_virtual_time
async def test_what_is_told_first_stays() -> None:
    agent, heard = Agent("agent"), Heard()

    @agent.task("do")
    async def do(context: TaskContext) -> None:
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append((context.is_cancelled, context.cancel_reason))

    async with running(agent) as orchestrator:
        await orchestrator.start_workflow(single(timeout_seconds=5.0, retry_policy=ONCE))
        await passes(6)
        await orchestrator.stop(drain_seconds=0)
    assert heard == [(True, CancelReason.TIMEOUT)] * 2


async def test_a_thread_sees_the_reason_too() -> None:
    agent, began, heard = Agent("agent"), threading.Event(), list[str]()

    @agent.task("do")
    def do(context: TaskContext) -> None:
        began.set()
        pause = threading.Event()
        try:
            while not pause.wait(0.002):
                context.raise_if_cancelled()
        except TaskCancelled as error:
            heard.append(str(error))

    async with running(agent) as orchestrator:
        await orchestrator.start_workflow(single(), workflow_id="w")
        await until(began.is_set)
        await orchestrator.stop(drain_seconds=0)
        await until(lambda: heard)
    assert heard == ["task 'work' of workflow 'w' was told to stop: drain"]
