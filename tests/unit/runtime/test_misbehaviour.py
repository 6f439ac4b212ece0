"""Handlers do what they want; a run always learns how they ended, and the next handler never notices."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    PermanentError,
    RetryPolicy,
    TaskDefinition,
    TaskResult,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.core.results import ErrorInfo
from tests.unit.runtime.engine import in_virtual_time, passes, running

ONCE = RetryPolicy(max_attempts=1)
NO_DELAY = RetryPolicy(initial_delay_seconds=0)


def one_task(policy: RetryPolicy | None = ONCE, **options: object) -> WorkflowDefinition:
    return WorkflowDefinition(
        [TaskDefinition("work", "agent", "do", retry_policy=policy, **options)]  # type: ignore[arg-type]  # options of TaskDefinition
    )


async def error_of(handler: Callable[[], object], policy: RetryPolicy | None = ONCE, **options: object) -> ErrorInfo:
    """Run ``handler`` as the only task; return the error its run recorded."""
    agent = Agent("agent")
    agent.task("do")(handler)
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(one_task(policy, **options))
        with pytest.raises(WorkflowExecutionError):
            async with asyncio.timeout(60):
                await handle.result()
        result: TaskResult[object] = (await handle.execution()).task_results["work"]
        assert result.error is not None
        return result.error


class Rude(BaseException):
    """Not an ``Exception``, as some test tools raise them."""


class Mute(Exception):
    """Cannot say what happened."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def exits() -> NoReturn:
    sys.exit(3)


def exits_in_a_thread() -> NoReturn:
    sys.exit(3)


async def is_rude() -> NoReturn:
    raise Rude("get lost")


def is_rude_in_a_thread() -> NoReturn:
    raise Rude("get lost")


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def cancels_its_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def awaits_something_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.sleep(10))
    other.cancel()
    await other


async def returns_a_socket() -> object:
    return {"rows": [1, asyncio.get_running_loop()]}


def forgets_to_await() -> object:
    return asyncio.sleep


async def says_nothing() -> None:
    raise Mute


async def names_a_strange_file() -> None:
    raise ValueError("cannot read caf\udce9.txt")


async def returns_a_strange_name() -> object:
    return {"name": "caf\udce9.txt"}


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (exits, "SystemExit"),
        (exits_in_a_thread, "SystemExit"),
        (is_rude, "Rude"),
        (is_rude_in_a_thread, "Rude"),
        (cancels_itself, "CancelledError"),
        (cancels_its_task, "CancelledError"),
        (awaits_something_cancelled, "CancelledError"),
        (returns_a_socket, "NotSerializable"),
        (forgets_to_await, "NotSerializable"),
        (says_nothing, "Mute"),
        (names_a_strange_file, "ValueError"),
        (returns_a_strange_name, "NotSerializable"),
    ],
)
@in_virtual_time
async def test_it_fails_the_task_and_nothing_else(handler: Callable[[], object], kind: str) -> None:
    error = await error_of(handler)
    assert error.type == kind


@in_virtual_time
async def test_an_unserialisable_result_is_named_and_not_tried_again() -> None:
    error = await error_of(returns_a_socket, RetryPolicy(max_attempts=5))
    assert "value['rows'][1]" in error.message
    assert error.attempt == 1


@in_virtual_time
async def test_a_temporary_error_is_tried_again_and_all_errors_are_kept() -> None:
    agent, attempts = Agent("agent"), list[int]()

    @agent.task("do")
    async def do() -> None:
        attempts.append(len(attempts) + 1)
        raise OSError(f"attempt {len(attempts)}")

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(one_task(NO_DELAY))
        with pytest.raises(WorkflowExecutionError) as failure:
            await handle.result()
        view = await handle.execution()
    assert attempts == [1, 2, 3]
    assert [error.message for error in view.tasks["work"].errors] == ["attempt 1", "attempt 2", "attempt 3"]
    assert [error.attempt for error in view.tasks["work"].errors] == [1, 2, 3]
    assert failure.value.failed == {"work": "OSError: attempt 3"}
    assert "in do" in view.tasks["work"].errors[0].trace


@in_virtual_time
async def test_a_permanent_error_is_not_tried_again() -> None:
    async def refuses() -> None:
        raise PermanentError("the customer is gone")

    error = await error_of(refuses, RetryPolicy(max_attempts=5))
    assert (error.attempt, error.code) == (1, "permanent")


@in_virtual_time
async def test_a_handler_that_cancels_its_task_leaves_the_worker_able_to_work() -> None:
    agent = Agent("agent")
    agent.task("spoil")(cancels_its_task)

    @agent.task("spoil_last")
    async def spoil_last() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done before it takes effect"

    @agent.task("sleep")
    async def sleep() -> str:
        await asyncio.sleep(5)
        return "slept"

    definition = WorkflowDefinition(
        [
            TaskDefinition("a", "agent", "spoil_last"),
            TaskDefinition("b", "agent", "sleep", dependencies={"a"}),
            TaskDefinition("c", "agent", "spoil", dependencies={"b"}, retry_policy=ONCE),
            TaskDefinition("d", "agent", "sleep", dependencies={"b"}),
        ],
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError) as failure:
            async with asyncio.timeout(60):
                await handle.result()
        assert set(failure.value.failed) == {"c"}
        results = (await handle.execution()).task_results
    assert results["a"].unwrap() == "done before it takes effect"
    assert results["d"].unwrap() == "slept"


@in_virtual_time
async def test_a_swallowed_interruption_counts_by_what_the_handler_returns() -> None:
    """The limit interrupts; a handler that finishes its work all the same within the grace has finished it."""
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> str:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            await asyncio.sleep(2)  # tidies up
        return "finished late"

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(one_task(timeout_seconds=5))
        assert await handle.result() == {"work": "finished late"}
        view = await handle.execution()
    assert view.completed_at is not None
    assert view.started_at is not None
    assert (view.completed_at - view.started_at).total_seconds() == pytest.approx(7, abs=0.01)


@in_virtual_time
async def test_an_async_handler_that_never_stops_is_abandoned_and_its_end_is_recorded() -> None:
    agent, release = Agent("agent", concurrency=2), asyncio.Event()
    calls: list[int] = []

    @agent.task("do")
    async def do() -> str:
        calls.append(1)
        if len(calls) == 1:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return "late"
        return "in time"

    policy = RetryPolicy(max_attempts=2, initial_delay_seconds=0)
    # the second task keeps the run open until the abandoned handler has ended
    definition = WorkflowDefinition(
        [
            TaskDefinition("work", "agent", "do", retry_policy=policy, timeout_seconds=5),
            TaskDefinition.timer("later", 18),
        ]
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(16)  # 5 of limit and 10 of grace
        assert (await handle.execution()).task_results["work"].unwrap() == "in time"
        load = orchestrator._engine.dispatcher.load() if orchestrator._engine else {}
        assert load == {"agent": (1, 0)}, "the slot stays held while the handler runs"
        release.set()
        await handle.result()
        store = orchestrator._engine.store if orchestrator._engine else None
        assert store is not None
        late = [
            e
            async for e in store.read_stream(f"workflow-{handle.workflow_id}/1")
            if e.event_type == "task_late_outcome"
        ]
    assert [(e.payload["kind"], e.payload["result"]) for e in late] == [("succeeded", "late")]


@in_virtual_time
async def test_context_variables_of_one_handler_are_invisible_to_the_next() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    agent = Agent("agent")

    @agent.task("leave")
    async def leave() -> str:
        seen = who.get()
        who.set("the first")
        return seen

    @agent.task("leave_in_thread")
    def leave_in_thread() -> str:
        seen = who.get()
        who.set("the second")
        return seen

    steps = ["leave", "leave", "leave_in_thread", "leave_in_thread", "leave"]
    definition = WorkflowDefinition(
        [
            TaskDefinition(f"t{n}", "agent", step, dependencies=[f"t{n - 1}"] if n else [])
            for n, step in enumerate(steps)
        ]
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await handle.result()
        results = (await handle.execution()).task_results
    assert {result.unwrap() for result in results.values()} == {"nobody"}
    assert who.get() == "nobody"


@pytest.mark.parametrize("handler", [cancels_itself, is_rude, exits])
@in_virtual_time
async def test_at_most_once_work_that_ends_badly_fails_and_is_not_run_again(
    handler: Callable[[], Awaitable[None]],
) -> None:
    calls: list[int] = []

    async def counted() -> None:
        calls.append(1)
        await handler()

    error = await error_of(counted, None, effect=EffectClass.AT_MOST_ONCE)
    assert calls == [1]
    assert error.type in ("CancelledError", "Rude", "SystemExit")
