"""``@resource_bounded``: enforced where it can be, refused where it cannot, in the event loop, by hand and as a handler."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, RetryPolicy, TaskContext, TaskDefinition, WorkflowDefinition, WorkflowExecutionError
from agenticflow.core.binding import Handler, RunsIn
from agenticflow.errors import (
    DefinitionError,
    InvalidInput,
    OutcomeUnknown,
    PermanentError,
    ResourceExhausted,
    ResourceLimitExceeded,
    TaskTimeout,
    TemporaryError,
    UsageError,
)
from agenticflow.runtime.resources import bounded, circuit_breaker, resource_bounded
from tests.unit.runtime import test_processes
from tests.unit.runtime.engine import in_virtual_time, running, until
from tests.unit.runtime.resources import bounded_tasks as tasks
from tests.unit.runtime.tasks import single
from tests.unit.runtime.test_processes import all_gone, is_alive

pytestmark = pytest.mark.timeout(60)
pids = test_processes.marker


# --- on the event loop --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_async_function_is_held_to_its_time() -> None:
    @resource_bounded(timeout="60s")
    async def work(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    assert await work(59) == "done"
    with pytest.raises(TaskTimeout, match=r"work' was not done within its bound of 60 s"):
        await work(61)


@in_virtual_time
async def test_its_own_time_limits_are_its_own() -> None:
    @resource_bounded(timeout="60s")
    async def work() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(2)

    with pytest.raises(TimeoutError):
        await work()


@in_virtual_time
async def test_an_async_function_is_held_to_so_many_calls_at_once() -> None:
    inside, most = 0, 0

    @resource_bounded(max_concurrent=2, timeout="10s")
    async def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(9)
        inside -= 1

    ends = await asyncio.gather(*(work() for _ in range(9)), return_exceptions=True)
    assert most == 2
    assert [type(end) for end in ends].count(ResourceExhausted) == 1, "the ninth waited thirty seconds for its place"


# --- in a process, by hand ----------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_the_next_call_is_not_the_worse_for_it() -> None:
    assert tasks.take(10_000_000) == 10_000_000
    with pytest.raises(
        ResourceLimitExceeded, match=r"'take' needed more than its bound of 100,000,000 bytes of memory"
    ):
        tasks.take(tasks.MANY_BYTES)
    assert tasks.take(50_000_000) == 50_000_000


def test_processor_time_is_bounded_whatever_the_function_catches() -> None:
    assert tasks.compute(0.01) == "done"
    for stubborn in (False, True):
        with pytest.raises(
            ResourceLimitExceeded, match=r"'compute' used more than its bound of 0.3 s of processor time"
        ):
            tasks.compute(30, stubborn=stubborn)
    assert tasks.compute(0.01) == "done"


def test_the_kernel_ends_what_does_not_let_itself_be_interrupted() -> None:
    with pytest.raises(OutcomeUnknown, match="exit code -24, because it went on after its processor time was used up"):
        tasks.refuse_to_stop()


def test_time_is_bounded(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(TaskTimeout, match=r"'hang' was not done within its bound of 0.3 s, and was killed"):
        tasks.hang(str(marker))
    if marker.exists():  # on a very busy machine its time is up before it has begun
        asyncio.run(until(lambda: not is_alive(int(marker.read_text()))))


@pytest.mark.parametrize(
    ("function", "error"),
    [(tasks.compute_beside_another, ResourceLimitExceeded), (tasks.hang_beside_another, TaskTimeout)],
)
async def test_what_a_call_has_started_ends_at_its_bounds(
    function: Callable[[str], None], error: type[Exception], pids: Path
) -> None:
    with pytest.raises(error):
        await asyncio.to_thread(function, str(pids))
    await until(lambda: all_gone(pids))


def test_values_go_there_by_name_and_come_back_as_data() -> None:
    found = tasks.where(1, third=3)
    assert found == {"pid": found["pid"], "first": 1, "second": 2, "rest": {"third": 3}}
    assert found["pid"] != os.getpid()
    with pytest.raises(InvalidInput, match="'where' cannot be called like that: missing a required argument: 'first'"):
        tasks.where()  # type: ignore[call-arg]  # that is what is tried out


def test_errors_there_are_errors_here() -> None:
    with pytest.raises(LookupError, match="no such row"):
        tasks.fail("built in")
    with pytest.raises(PermanentError, match="declined"):
        tasks.fail("ours")
    with pytest.raises(TemporaryError, match="'fail' failed in its process: UnicodeDecodeError: 'utf-8' codec"):
        tasks.fail("of several words")
    with pytest.raises(TemporaryError, match="'fail' failed in its process: _Foreign: strange"):
        tasks.fail("foreign")
    with pytest.raises(TemporaryError, match="'fail' failed in its process: SystemExit: 3"):
        tasks.fail("exit")
    with pytest.raises(OutcomeUnknown, match="'die': the process of the handler ended with exit code 7"):
        tasks.die()


def test_bounds_inside_bounds_are_those_of_the_call_or_refused() -> None:
    assert tasks.again(5) == 5
    with pytest.raises(UsageError, match="'take' was called inside the process of another call, where its own bounds"):
        tasks.nested(7)


def test_calls_from_many_threads_share_the_processes() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(tasks.where, range(24)))
    assert [answer["first"] for answer in found] == list(range(24))
    assert len({answer["pid"] for answer in found}) <= bounded._POOL.processes.limit


async def test_an_async_one_runs_in_a_process_too_and_is_killed_when_cancelled() -> None:
    found = await tasks.take_later(1_000)
    assert (found["size"], found["pid"] != os.getpid()) == (1_000, True)
    with pytest.raises(ResourceLimitExceeded):
        await tasks.take_later(tasks.MANY_BYTES)
    with pytest.raises(TaskTimeout):
        await tasks.take_later(1, seconds=50)
    call = asyncio.create_task(tasks.take_later(1, seconds=50))
    await until(lambda: bounded._POOL.seats.status().in_use == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert bounded._POOL.seats.status().in_use == 0


async def test_a_plain_one_is_not_called_on_the_event_loop() -> None:
    with pytest.raises(UsageError, match="was called on the event loop"):
        tasks.take(1)
    assert await asyncio.to_thread(tasks.take, 7) == 7


# --- as a handler -------------------------------------------------------------------------------------------------------


async def error_of(function: Callable[..., object], params: dict[str, object]) -> Any:
    agent = Agent("agent")
    agent.task("do")(function)
    definition = single(params=params, retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=0))
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        return (await handle.execution()).task_results["work"].error


async def test_a_handler_is_held_to_its_bounds_by_the_engine(tmp_path: Path) -> None:
    error = await error_of(tasks.take, {"size": tasks.MANY_BYTES})
    assert (error.type, error.code, error.attempt) == ("ResourceLimitExceeded", "resource_limit_exceeded", 1)
    error = await error_of(tasks.compute, {"seconds": 30.0})
    assert (error.type, error.attempt) == ("ResourceLimitExceeded", 1)
    error = await error_of(tasks.hang, {"marker": str(tmp_path / "marker")})
    assert (error.type, error.attempt) == ("TaskTimeout", 3)


async def test_a_process_of_another_handler_does_not_run_it_unbounded() -> None:
    agent = Agent("agent")
    agent.task("do", run_in="process")(tasks.call_take)
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"size": tasks.MANY_BYTES}))
        with pytest.raises(WorkflowExecutionError, match="inside the process of another call"):
            await handle.result()


async def test_within_its_bounds_a_handler_is_like_any_other() -> None:
    agent = Agent("agent")
    agent.task("take")(tasks.take)
    agent.task("later")(tasks.take_later)
    definition = WorkflowDefinition(
        [
            TaskDefinition("plain", "agent", "take", {"size": 7}),
            TaskDefinition("async", "agent", "later", {"size": 8}),
            TaskDefinition("worker", "bounded_worker", params={"size": 9}),
        ]
    )
    async with running(agent, tasks.bounded_worker) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        result: Any = await handle.result()
    assert (result["plain"], result["async"]["size"], result["worker"]) == (7, 8, 9)


def test_a_bounded_handler_runs_in_a_process_by_itself_and_in_no_thread() -> None:
    assert Handler(tasks.take, name="take").runs_in is RunsIn.PROCESS
    assert Handler(tasks.take, name="take", run_in="process").runs_in is RunsIn.PROCESS
    assert Handler(tasks.take_later, name="later").runs_in is RunsIn.LOOP
    assert Handler(circuit_breaker("bounded")(tasks.take), name="take").runs_in is RunsIn.PROCESS
    with pytest.raises(DefinitionError, match="the handler 'take' has bounds that cannot be enforced in a thread"):
        Handler(tasks.take, name="take", run_in="thread")


# --- what cannot be enforced --------------------------------------------------------------------------------------------


def numbers() -> Any:
    yield 1


def local() -> Callable[[], None]:
    def inside() -> None: ...

    return inside


def in_order(first: int, /) -> None: ...


async def later() -> None: ...


async def with_context(context: TaskContext) -> None: ...


@pytest.mark.parametrize(
    ("bounds", "function", "words"),
    [
        ({"max_memory": "1GB"}, numbers, "'numbers' is a generator or no function"),
        ({"max_memory": "1GB"}, local(), "runs in a process of its own and must be importable by name"),
        ({"max_memory": "1GB"}, in_order, "has the parameter 'first: int', which has no name to fill it by|no name"),
        ({"max_memory": "1GB"}, with_context, "runs in a process of its own and cannot take the context there"),
        ({"max_concurrent": 3}, in_order, "max_concurrent of 'in_order' cannot be enforced: it is no async function"),
        ({"timeout": "1s"}, tasks.take, "'take' has bounds already"),
        ({"max_memory": "much"}, later, "max_memory is 'much'"),
        ({}, later, "these bounds bound nothing"),
    ],
)
def test_what_cannot_be_enforced_is_refused_at_definition(
    bounds: dict[str, Any], function: Callable[..., object], words: str
) -> None:
    with pytest.raises(DefinitionError, match=words):
        resource_bounded(**bounds)(function)


def test_where_no_kernel_enforces_it_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "can_enforce", lambda: False)
    with pytest.raises(DefinitionError, match="max_memory and max_cpu_time of 'later' cannot be enforced on "):
        resource_bounded(max_cpu_time=1)(later)
    assert resource_bounded(timeout=1)(later) is not later
