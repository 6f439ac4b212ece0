"""Plain functions run in threads: beside the loop, asked to stop, and abandoned when they do not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

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
from agenticflow.runtime.activities import worker
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import kinds, running, until
from tests.unit.runtime.tasks import parallel, single

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of a second of grace, so that nobody has to wait for it."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.1)
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("agenticflow-handler"):
            thread.join(2)


async def test_plain_functions_run_beside_the_loop() -> None:
    agent, names = Agent("agent", concurrency=4), set[str]()
    together = threading.Barrier(4)

    @agent.task("do")
    def do(n: int) -> int:
        names.add(threading.current_thread().name)
        together.wait(10)  # only passes when four run at once
        return n

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(parallel(4))
        assert await handle.result() == {f"t{n}": n for n in range(4)}
    assert threading.main_thread().name not in names
    assert len(names) == 4


async def test_there_are_no_more_threads_than_asked_for() -> None:
    agent, names = Agent("agent", concurrency=20), set[str]()

    @agent.task("do")
    def do(n: int) -> None:
        names.add(threading.current_thread().name)
        time.sleep(0.005)

    async with running(agent, max_threads=2) as orchestrator:
        await orchestrator.execute_workflow(parallel(20))
    assert len(names) == 2


async def test_waiting_for_a_thread_does_not_use_up_the_time_limit() -> None:
    agent = Agent("agent", concurrency=10)

    @agent.task("do")
    def do(n: int) -> int:
        time.sleep(0.1)
        return n

    async with running(agent, max_threads=1) as orchestrator:
        handle = await orchestrator.start_workflow(parallel(6, timeout_seconds=0.3, retry_policy=ONCE))
        assert len(await asyncio.wait_for(handle.result(), 10)) == 6  # type: ignore[arg-type]  # a dict of results


async def test_a_thread_is_asked_to_stop_when_its_time_is_up() -> None:
    agent, asked = Agent("agent"), threading.Event()

    @agent.task("do")
    def do(context: TaskContext) -> None:
        assert context.deadline is not None
        for _ in range(1_000):
            if context.is_cancelled:
                asked.set()
            context.raise_if_cancelled()
            time.sleep(0.005)

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=0.05, retry_policy=ONCE))
        with pytest.raises(WorkflowExecutionError) as failure:
            await handle.result()
    assert asked.is_set()
    assert failure.value.failed == {
        "work": "TaskTimeout: task 'work' was not done within its limit of 0.05 s per attempt"
    }


async def test_an_abandoned_thread_keeps_its_slot_and_its_late_outcome_is_recorded() -> None:
    store = MemoryStore()
    agent, release, calls = Agent("agent", concurrency=2), threading.Event(), list[int]()

    @agent.task("do")
    def do() -> str:
        calls.append(1)
        if len(calls) == 1:
            release.wait(10)
            return "late"
        return "in time"

    policy = RetryPolicy(max_attempts=2, initial_delay_seconds=0)
    definition = WorkflowDefinition(
        [
            TaskDefinition("work", "agent", "do", timeout_seconds=0.05, retry_policy=policy),
            TaskDefinition.wait_for("gate", "open"),
        ]
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition)

        async def is_done() -> bool:
            return (await orchestrator.get_workflow_state(handle.workflow_id)).tasks[
                "work"
            ].status is TaskStatus.COMPLETED

        await until(is_done)
        assert orchestrator._engine is not None
        assert orchestrator._engine.dispatcher.load() == {"agent": (1, 0)}
        release.set()
        stream = f"workflow-{handle.workflow_id}/1"

        async def is_recorded() -> bool:
            return "task_late_outcome" in await kinds(store, stream)

        await until(is_recorded)
        assert orchestrator._engine.dispatcher.load() == {"agent": (0, 0)}
        await handle.signal("open")
        assert await handle.result() == {"work": "in time", "gate": None}
    types = await kinds(store, stream)
    assert types.count("task_completed") == 2
    assert types.count("task_retry_scheduled") == 1


async def test_at_most_once_work_that_outlives_its_grace_is_unknown_until_it_tells() -> None:
    agent, release, calls = Agent("agent"), threading.Event(), list[int]()

    @agent.task("do")
    def do() -> str:
        calls.append(1)
        release.wait(10)
        return "charged"

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=0.05, effect=EffectClass.AT_MOST_ONCE))

        async def is_unknown() -> bool:
            return await handle.status() is WorkflowStatus.NEEDS_ATTENTION

        await until(is_unknown)
        assert (await handle.execution()).waits_for == ["somebody has to say what became of task 'work'"]
        release.set()
        assert await asyncio.wait_for(handle.result(), 10) == {"work": "charged"}
    assert calls == [1]


async def test_a_thread_told_to_stop_by_an_abort_ends_the_run_when_it_does() -> None:
    agent, began = Agent("agent"), threading.Event()

    @agent.task("do")
    def do(context: TaskContext) -> None:
        began.set()
        while True:
            context.raise_if_cancelled()
            time.sleep(0.002)

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        await asyncio.to_thread(began.wait, 5)
        await handle.abort("enough", grace_seconds=30)
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await asyncio.wait_for(handle.result(), 5)
        assert (await handle.execution()).tasks["work"].status is TaskStatus.CANCELLED


async def test_a_thread_that_outlives_the_grace_of_an_abort_does_not_hold_it_up() -> None:
    agent, began, release = Agent("agent"), threading.Event(), threading.Event()

    @agent.task("do")
    def do() -> None:
        began.set()
        release.wait(10)

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        await asyncio.to_thread(began.wait, 5)
        await handle.abort("enough", grace_seconds=0.05)
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await asyncio.wait_for(handle.result(), 5)
        assert (await handle.execution()).tasks["work"].status is TaskStatus.UNKNOWN
        release.set()


async def test_stopping_waits_for_threads_as_long_as_it_was_told() -> None:
    store, agent, began = MemoryStore(), Agent("agent"), threading.Event()

    @agent.task("do")
    def do() -> str:
        began.set()
        time.sleep(0.15)
        return "done"

    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(single(), workflow_id="w")
        await asyncio.to_thread(began.wait, 5)
        await orchestrator.stop(drain_seconds=5)
    assert handle.workflow_id == "w"
    assert (await kinds(store, "workflow-w/1"))[-1] == "workflow_completed"


async def test_a_thread_that_does_not_end_does_not_keep_the_engine_from_stopping() -> None:
    store, agent, began, release = MemoryStore(), Agent("agent"), threading.Event(), threading.Event()

    @agent.task("do")
    def do() -> None:
        began.set()
        release.wait(10)

    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(single(), workflow_id="w")
        await asyncio.to_thread(began.wait, 5)
        started = asyncio.get_running_loop().time()
        await orchestrator.stop(drain_seconds=0.05)
        assert asyncio.get_running_loop().time() - started < 3
    release.set()
    assert "task_completed" not in await kinds(store, "workflow-w/1")
