"""Reports of progress: seen while the work runs, and a limit on the silence between them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agenticflow.agents.workers import worker
from agenticflow.core.context import Progress, TaskContext
from agenticflow.core.engine import EffectClass
from agenticflow.errors import InvalidInput, WorkflowExecutionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.state import TaskStatus
from agenticflow.resilience.retry import RetryPolicy
from tests.unit.runtime.engine import in_virtual_time, running

ONCE = RetryPolicy(max_attempts=1)


def alone(**options: Any) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition("t", "work", retry_policy=ONCE, **options)])


@in_virtual_time
async def test_work_that_reports_may_take_as_long_as_it_likes() -> None:
    @worker("work")
    async def work(context: TaskContext) -> str:
        for part in range(10):
            await asyncio.sleep(8)
            context.report_progress(part / 10, f"part {part}")
        return "done"

    async with running(work) as orchestrator:
        handle = await orchestrator.start_workflow(alone(stall_seconds=10))
        await asyncio.sleep(20)
        seen = (await handle.execution()).tasks["t"].progress
        assert seen == Progress(0.1, "part 1", 1)
        assert await handle.result() == {"t": "done"}
        assert (await handle.execution()).tasks["t"].progress is None


@in_virtual_time
async def test_work_that_says_nothing_for_too_long_is_stopped() -> None:
    @worker("work")
    async def work(context: TaskContext) -> None:
        context.report_progress()
        await asyncio.sleep(3_600)

    async with running(work) as orchestrator:
        began = asyncio.get_running_loop().time()
        with pytest.raises(WorkflowExecutionError, match="reported no progress for 10 s"):
            await orchestrator.execute_workflow(alone(stall_seconds=10, timeout_seconds=None), workflow_id="w")
        assert 10 <= asyncio.get_running_loop().time() - began <= 13
        (error,) = (await orchestrator.get_execution("w")).tasks["t"].errors
        assert (error.type, error.code) == ("TaskStalled", "stalled")


@in_virtual_time
async def test_silence_is_worth_another_attempt() -> None:
    @worker("work")
    async def work(context: TaskContext) -> int:
        if context.attempt == 1:
            await asyncio.sleep(3_600)
        return context.attempt

    async with running(work) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("t", "work", stall_seconds=5)])
        handle = await orchestrator.start_workflow(definition)
        assert await handle.result() == {"t": 2}


@in_virtual_time
async def test_at_most_once_work_that_fell_silent_is_a_question() -> None:
    @worker("work")
    async def work() -> None:
        await asyncio.sleep(3_600)

    async with running(work) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("t", "work", stall_seconds=5, effect=EffectClass.AT_MOST_ONCE)])
        handle = await orchestrator.start_workflow(definition)
        await asyncio.sleep(30)
        assert (await handle.execution()).tasks["t"].status is TaskStatus.UNKNOWN


async def test_threads_report_too() -> None:
    seen, go_on = threading.Event(), threading.Event()

    @worker("work")
    def work(context: TaskContext) -> None:
        context.report_progress(0.5, "half")
        seen.set()
        go_on.wait(10)

    async with running(work) as orchestrator:
        handle = await orchestrator.start_workflow(alone(stall_seconds=60))
        await asyncio.to_thread(seen.wait, 10)
        assert (await handle.execution()).tasks["t"].progress == Progress(0.5, "half", 0)
        go_on.set()
        await handle.result()


@in_virtual_time
async def test_a_report_that_is_no_part_of_the_whole_is_a_mistake_of_the_handler() -> None:
    @worker("work")
    async def work(context: TaskContext) -> None:
        with pytest.raises(InvalidInput, match="report a part from 0 to 1"):
            context.report_progress(50)

    async with running(work) as orchestrator:
        await orchestrator.execute_workflow(alone())
