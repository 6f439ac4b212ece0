"""CPU-bound handlers run in spawned processes: reused, killed on time, and their death is an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    RetryPolicy,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from agenticflow.runtime.activities import processes
from tests.unit.runtime import tasks
from tests.unit.runtime.engine import running, until
from tests.unit.runtime.tasks import chain, single

pytestmark = pytest.mark.timeout(60)
ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(max_attempts=2, initial_delay_seconds=0)


def in_process(function: Callable[..., object], *, concurrency: int = 1) -> Agent:
    agent = Agent("agent", concurrency=concurrency)
    agent.task("do", run_in="process")(function)
    return agent


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] if os.path.isdir("/proc") else ""
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


async def result_of(function: Callable[..., object], params: dict[str, object] | None = None, **options: Any) -> Any:
    async with running(in_process(function)) as orchestrator:
        handle = await orchestrator.start_workflow(single(params=params, **options))
        result = await handle.result()
        assert isinstance(result, dict)
        return result["work"]


async def failure_of(function: Callable[..., object], params: dict[str, object] | None = None, **options: Any) -> Any:
    async with running(in_process(function)) as orchestrator:
        handle = await orchestrator.start_workflow(single(params=params, **{"retry_policy": ONCE, **options}))
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        return (await handle.execution()).task_results["work"].error


async def test_a_process_is_another_one_and_is_used_again() -> None:
    agent = in_process(tasks.process_id)
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(chain(3))
        await handle.result()
        results = (await handle.execution()).task_results
    pids = {result.unwrap() for result in results.values()}
    assert len(pids) == 1
    assert os.getpid() not in pids
    (pid,) = pids
    assert isinstance(pid, int)
    await until(lambda: not is_alive(pid))


async def test_values_of_every_kind_go_there_and_come_back() -> None:
    assert await result_of(tasks.double, {"number": 21}) == 42
    assert len(await result_of(tasks.large, {"size": 300_000})) == 300_000


async def test_a_result_by_name_reaches_it_beside_all_params() -> None:
    agent = in_process(tasks.with_rest)

    @agent.task("load")
    async def load() -> int:
        return 7

    definition = WorkflowDefinition(
        [
            TaskDefinition("load", "agent", "load"),
            TaskDefinition("work", "agent", "do", {"a": 1}, dependencies=["load"], retry_policy=ONCE),
        ]
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        assert await handle.result() == {"work": {"load": 7, "params": {"a": 1}}}


async def test_a_worker_runs_there_too() -> None:
    definition = WorkflowDefinition([TaskDefinition("work", "tripler", params={"number": 14})])
    async with running(tasks.triple) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        assert await handle.result() == {"work": 42}


async def test_errors_there_are_errors_here() -> None:
    error = await failure_of(tasks.fail, {"words": "no such row"})
    assert (error.type, error.message) == ("LookupError", "no such row")
    assert "in fail" in error.trace
    error = await failure_of(tasks.refuse, retry_policy=RetryPolicy(max_attempts=5))
    assert (error.code, error.attempt) == ("permanent", 1)
    assert (await failure_of(tasks.leave)).type == "SystemExit"
    error = await failure_of(tasks.double, {"number": "two"}, retry_policy=RetryPolicy(max_attempts=5))
    assert (error.type, error.attempt) == ("InvalidInput", 1)
    error = await failure_of(tasks.not_serializable, retry_policy=RetryPolicy(max_attempts=5))
    assert (error.type, error.attempt) == ("NotSerializable", 1)
    assert "value['here']" in error.message


async def test_a_process_that_dies_is_another_attempt_for_work_that_may_run_again(tmp_path: Path) -> None:
    result = await result_of(tasks.die, {"marker": str(tmp_path / "marker")}, retry_policy=AT_ONCE)
    assert result == "survived"


async def test_a_process_that_dies_too_often_is_an_error_that_says_so() -> None:
    error = await failure_of(tasks.die_always)
    assert (error.type, error.message) == ("ProcessDied", "the process of the handler ended with exit code 7")


async def test_a_process_that_dies_leaves_at_most_once_work_unknown(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    async with running(in_process(tasks.die)) as orchestrator:
        handle = await orchestrator.start_workflow(
            single(params={"marker": str(marker)}, effect=EffectClass.AT_MOST_ONCE)
        )

        async def is_unknown() -> bool:
            return await handle.status() is WorkflowStatus.NEEDS_ATTENTION

        await until(is_unknown)
        assert (await handle.execution()).tasks["work"].status is TaskStatus.UNKNOWN
        await orchestrator.resolve(handle.workflow_id, "work", "completed", value="charged by hand")
        assert await handle.result() == {"work": "charged by hand"}


@pytest.mark.parametrize("function", [tasks.hang, tasks.hang_deaf])
async def test_a_process_is_killed_when_its_time_is_up(
    function: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KILL_AFTER_SECONDS", 0.2)
    marker = tmp_path / "marker"
    async with running(in_process(function)) as orchestrator:
        handle = await orchestrator.start_workflow(
            single(params={"marker": str(marker)}, timeout_seconds=1.0, retry_policy=ONCE)
        )
        with pytest.raises(WorkflowExecutionError) as failure:
            await asyncio.wait_for(handle.result(), 20)
    assert "TaskTimeout" in failure.value.failed["work"]
    if marker.exists():  # on a very busy machine its time is up before it has begun
        await until(lambda: not is_alive(int(marker.read_text())))


async def test_a_process_is_killed_when_its_run_is_aborted(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    async with running(in_process(tasks.hang)) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"marker": str(marker)}))
        await until(lambda: marker.exists() and marker.read_text())
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await asyncio.wait_for(handle.result(), 10)
    await until(lambda: not is_alive(int(marker.read_text())))


async def test_stopping_the_engine_ends_its_processes(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    async with running(in_process(tasks.hang)) as orchestrator:
        await orchestrator.start_workflow(single(params={"marker": str(marker)}))
        await until(lambda: marker.exists() and marker.read_text())
        await orchestrator.stop(drain_seconds=0.05)
    await until(lambda: not is_alive(int(marker.read_text())))


# --- what handlers start themselves -----------------------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """Where a handler writes its process and the one it has started. None of them outlives the test."""
    path = tmp_path / "marker"
    yield path
    for pid in started_in(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def started_in(marker: Path) -> list[int]:
    return [int(pid) for pid in marker.read_text().split()] if marker.exists() else []


def all_gone(marker: Path) -> bool:
    return len(started_in(marker)) == 2 and not any(map(is_alive, started_in(marker)))


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_what_a_handler_has_started_ends_with_an_abort(
    is_deaf: bool, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KILL_AFTER_SECONDS", 0.2)
    async with running(in_process(tasks.start_another_and_hang)) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"marker": str(marker), "is_deaf": is_deaf}))
        await until(marker.exists)
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await asyncio.wait_for(handle.result(), 10)
        await until(lambda: all_gone(marker))


async def test_what_a_handler_has_started_ends_with_its_time_limit(marker: Path) -> None:
    async with running(in_process(tasks.start_another_and_hang)) as orchestrator:
        definition = single(params={"marker": str(marker)}, timeout_seconds=2.0, retry_policy=ONCE)
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError, match="TaskTimeout"):
            await asyncio.wait_for(handle.result(), 20)
        await until(lambda: not marker.exists() or all_gone(marker))


async def test_what_a_handler_has_started_ends_when_its_process_dies(marker: Path) -> None:
    error = await failure_of(tasks.start_another_and_die, {"marker": str(marker)})
    assert error.message == "the process of the handler ended with exit code 7"
    await until(lambda: all_gone(marker))


async def test_what_a_handler_has_started_ends_when_the_engine_stops(marker: Path) -> None:
    async with running(in_process(tasks.start_another_and_hang)) as orchestrator:
        await orchestrator.start_workflow(single(params={"marker": str(marker)}))
        await until(marker.exists)
    await until(lambda: all_gone(marker))


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_what_a_handler_has_left_behind_lives_until_the_engine_stops(
    is_deaf: bool, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KILL_AFTER_SECONDS", 0.2)
    async with running(in_process(tasks.start_another)) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"marker": str(marker), "is_deaf": is_deaf}))
        result = await handle.result()
        assert isinstance(result, dict)
        assert is_alive(result["work"])
    await until(lambda: all_gone(marker))


LIFE = """
import asyncio, sys
from tests.unit.runtime import tasks
from tests.unit.runtime.engine import running
from tests.unit.runtime.test_processes import in_process

async def live():
    async with running(in_process(getattr(tasks, sys.argv[1]))) as orchestrator:
        await orchestrator.start_workflow(tasks.single(params={"marker": sys.argv[2]}))
        await asyncio.sleep(60)

asyncio.run(live())
"""


@pytest.mark.parametrize("handler", ["start_another_and_hang", "start_another"])
async def test_what_a_handler_has_started_ends_when_the_engine_is_killed(handler: str, marker: Path) -> None:
    engine = subprocess.Popen([sys.executable, "-c", LIFE, handler, str(marker)])
    try:
        await until(marker.exists, seconds=30)
    finally:
        engine.kill()
        engine.wait()
    await until(lambda: all_gone(marker))
