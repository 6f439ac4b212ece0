"""A Prefect flow as a task of ours: its run is an attempt, its failures are ours to name, its cancellation is honoured."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.exceptions import CrashedRun, MissingResult, PausedRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Failed

from agenticflow import (
    DefinitionError,
    InvalidInput,
    Orchestrator,
    PermanentError,
    RetryPolicy,
    TaskDefinition,
    TaskTimeout,
    TemporaryError,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.errors import TaskCancelled
from agenticflow.integrations.frameworks.prefect import ONCE_PER_EFFECT, prefect_worker, task_context
from agenticflow.integrations.frameworks.prefect.failures import mapped
from tests.frameworks.prefect.shown import flow_runs


async def run(
    worker: Any, params: dict[str, Any] | None = None, *, workflow_id: str | None = None, **options: Any
) -> Any:
    """Perform one task with the worker; return its result."""
    only = TaskDefinition("only", worker.name, params=params or {}, **options)
    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(worker)
        handle = await engine.start_workflow(
            WorkflowDefinition([only], output="${only}"), {"secret": "s3cret"}, workflow_id=workflow_id
        )
        return await handle.result()


async def failure_of(worker: Any, params: dict[str, Any] | None = None, **options: Any) -> str:
    with pytest.raises(WorkflowExecutionError) as failed:
        await run(worker, params, **options)
    return failed.value.failed["only"]


ONCE = RetryPolicy(max_attempts=1)


@task
def double(number: int) -> int:
    return number * 2


@task
def whose() -> tuple[str, str]:
    return task_context().workflow_id, threading.current_thread().name


@prefect_worker("async")
@flow
async def on_the_loop(numbers: list[int], more: int = 1) -> dict[str, Any]:
    doubled = [double.submit(number) for number in numbers]
    workflow_id, thread = whose.submit().result()
    assert thread != threading.current_thread().name
    return {"sum": sum(each.result() for each in doubled) + more, "task": task_context().task_key, "of": workflow_id}


@prefect_worker("plain")
@flow
def in_a_thread(numbers: list[int], more: int = 1) -> dict[str, Any]:
    doubled = double.map(numbers)
    return {"sum": sum(doubled.result()) + more, "task": task_context().task_key, "of": whose()[0]}


@pytest.mark.parametrize("worker", [on_the_loop, in_a_thread], ids=lambda worker: worker.name)
async def test_a_flow_performs_a_task(worker: Any) -> None:
    """Its parameters are the task's params, its result is the task's; the context reaches it and its tasks, and no server."""
    workflow_id = f"w-{uuid4().hex[:8]}"
    assert await run(worker, {"numbers": [1, 2]}, workflow_id=workflow_id) == {
        "sum": 7,
        "task": "only",
        "of": workflow_id,
    }
    (shown,) = await flow_runs(f"workflow:{workflow_id}", "task:only")
    assert shown.state_name == "Completed"
    assert shown.parameters == {"numbers": [1, 2], "more": 1}


async def test_a_parameter_that_does_not_fit_fails_at_once() -> None:
    assert "takes no 'numbers'" in await failure_of(strict, {"count": 1, "numbers": 1})
    assert "the parameter 'count'" in await failure_of(strict, {"count": "many"})


@prefect_worker("strict")
@flow
async def strict(count: int) -> int:
    return count


class Tried:
    def __init__(self) -> None:
        self.count = 0


async def test_what_a_flow_raises_is_the_outcome_of_the_attempt() -> None:
    tried = Tried()

    @prefect_worker("flaky")
    @flow
    async def flaky() -> int:
        tried.count += 1
        if tried.count < 3:
            raise ValueError("not yet")
        return tried.count

    assert await run(flaky, retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=0.01)) == 3

    @prefect_worker("final")
    @flow
    def final() -> None:
        tried.count += 1
        raise PermanentError("never")

    tried.count = 0
    assert "PermanentError: never" in await failure_of(final, retry_policy=RetryPolicy(max_attempts=3))
    assert tried.count == 1, "the flow says that another attempt makes no sense"


@prefect_worker("returning")
@flow
def returning(state: str) -> Any:
    return {"failed": Failed(message="no stock"), "cancelled": Cancelled(message="called off")}[state]


@prefect_worker("late")
@flow(timeout_seconds=0.1)
async def late() -> None:
    await asyncio.sleep(60)


async def test_states_of_prefects_become_our_errors() -> None:
    assert "TemporaryError: the flow 'returning' did not come to a result" in await failure_of(
        returning, {"state": "failed"}, retry_policy=ONCE
    )
    assert "TaskCancelled: the flow 'returning' was cancelled in Prefect: called off" in await failure_of(
        returning, {"state": "cancelled"}
    )
    assert "TaskTimeout: the flow 'late' was not done within its own timeout_seconds" in await failure_of(
        late, retry_policy=ONCE
    )


async def test_a_server_out_of_reach_is_worth_another_try() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert "TemporaryError: the server that the flow 'strict' reports to is out of reach" in await failure_of(
            strict, {"count": 1}, retry_policy=ONCE
        )


def test_every_error_of_prefects_has_one_of_ours() -> None:
    from prefect.exceptions import ParameterTypeError, Pause
    from prefect.flow_engine import FlowRunTimeoutError

    assert isinstance(mapped("f", ParameterTypeError("n")), InvalidInput)
    assert isinstance(mapped("f", FlowRunTimeoutError("n")), TaskTimeout)
    assert isinstance(mapped("f", Pause("n")), PermanentError)
    assert isinstance(mapped("f", PausedRun("n")), PermanentError)
    assert isinstance(mapped("f", CrashedRun("n")), TemporaryError)
    assert isinstance(mapped("f", MissingResult("n")), TemporaryError)
    assert not isinstance(mapped("f", TaskCancelled("n")), TemporaryError)
    assert mapped("f", RuntimeError("mine")) is None
    assert mapped("f", TaskCancelled("mine")) is None


@pytest.mark.parametrize("how", ["abort", "time limit"])
async def test_an_async_flow_is_interrupted_and_shown_as_cancelled(how: str) -> None:
    begun = asyncio.Event()
    ended: list[str] = []

    @prefect_worker("slow")
    @flow
    async def slow() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    workflow_id = f"w-{uuid4().hex[:8]}"
    limit = 2.0 if how == "time limit" else 60.0
    only = TaskDefinition("only", "slow", timeout_seconds=limit, retry_policy=ONCE)
    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(slow)
        handle = await engine.start_workflow(WorkflowDefinition([only]), workflow_id=workflow_id)
        await begun.wait()
        if how == "abort":
            await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough" if how == "abort" else "TaskTimeout"):
            await handle.result()
    assert ended == ["cleaned up"]
    (shown,) = await flow_runs(f"workflow:{workflow_id}")
    reason = "aborted" if how == "abort" else "timeout"
    assert (shown.state_name, shown.state.message) == ("Cancelled", f"its task was told to stop: {reason}")


async def test_a_plain_flow_sees_that_it_shall_stop() -> None:
    begun = threading.Event()

    @prefect_worker("looking")
    @flow
    def looking() -> str:
        begun.set()
        while True:
            task_context().raise_if_cancelled()
            time.sleep(0.01)

    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(looking)
        handle = await engine.start_workflow(WorkflowDefinition([TaskDefinition("only", "looking")]))
        await asyncio.to_thread(begun.wait, 30)
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await handle.result()


# --- caching --------------------------------------------------------------------------------------------------------------

CALLS: list[str] = []


class Connection:
    """Has no form on the wire."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@task(cache_policy=ONCE_PER_EFFECT, result_serializer="json")
def fetch(key: str) -> str:
    CALLS.append(f"fetch {key}")
    return key.upper()


@task(cache_policy=ONCE_PER_EFFECT, result_serializer="json")
def query(connection: Connection, key: str) -> str:
    CALLS.append(f"query {key}")
    return key.upper()


@task(cache_policy=ONCE_PER_EFFECT - "connection", result_serializer="json")
def look_up(connection: Connection, key: str) -> str:
    CALLS.append(f"look up {key}")
    return key.upper()


@prefect_worker("caching")
@flow
def caching(fails: bool = True) -> list[str]:
    connection = Connection()
    got = [fetch("a"), fetch("b"), query(connection, "c"), look_up(connection, "d")]
    if fails and task_context().attempt == 1:
        raise ValueError("after all of them")
    return got


async def test_another_attempt_finds_what_the_tasks_of_the_first_one_stored(caplog: pytest.LogCaptureFixture) -> None:
    """A call with a parameter that cannot be told from another is made again, and nobody complains about it."""
    CALLS.clear()
    policy = RetryPolicy(max_attempts=2, initial_delay_seconds=0.01)
    assert await run(caching, workflow_id=f"w-{uuid4().hex[:8]}", retry_policy=policy) == ["A", "B", "C", "D"]
    assert sorted(CALLS) == ["fetch a", "fetch b", "look up d", "query c", "query c"]
    assert "computing cache key" not in caplog.text


async def test_another_task_of_ours_finds_nothing() -> None:
    for _ in range(2):
        CALLS.clear()
        await run(caching, {"fails": False}, workflow_id=f"w-{uuid4().hex[:8]}")
        assert sorted(CALLS) == ["fetch a", "fetch b", "look up d", "query c"]


def test_outside_a_task_of_ours_nothing_is_cached() -> None:
    @flow
    def alone() -> list[str]:
        return [fetch("x"), fetch("x")]

    CALLS.clear()
    assert alone() == ["X", "X"]
    assert CALLS == ["fetch x", "fetch x"]
    with pytest.raises(TypeError, match="by its name"):
        ONCE_PER_EFFECT - 7


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_worker_says_why() -> None:
    with pytest.raises(DefinitionError, match="put @prefect_worker above @flow"):
        prefect_worker("function")(lambda: None)

    @flow
    def with_context(context: Any) -> None:
        """Would send it to Prefect's server."""

    with pytest.raises(DefinitionError, match=r"call task_context\(\) inside the flow"):
        prefect_worker("context")(with_context)

    @flow
    def yielding() -> Any:
        yield 1

    with pytest.raises(DefinitionError, match="let it return a list"):
        prefect_worker("yields")(yielding)
    with pytest.raises(DefinitionError, match="not a name"):
        prefect_worker("")(with_context_less)
    with pytest.raises(DefinitionError, match="got the flow 'with-context-less', not a name"):
        prefect_worker(with_context_less)


@flow
def with_context_less(number: int) -> int:
    return number


def test_it_may_be_called_by_itself() -> None:
    assert prefect_worker("alone")(with_context_less)(number=3) == 3
    with pytest.raises(DefinitionError, match="no task of a workflow is performed here"):
        task_context()
