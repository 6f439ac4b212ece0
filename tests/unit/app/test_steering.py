"""Pausing, resuming, aborting, signals and decisions through the façade; what is refused, and what views show."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    EffectClass,
    InvalidInput,
    RetryPolicy,
    StoreUnavailable,
    TaskContext,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowHandle,
    WorkflowNotFoundError,
    WorkflowStatus,
    worker,
)
from agenticflow.errors import AgentNotFoundError
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running, until
from tests.unit.runtime.tasks import chain, parallel, single

GATE = WorkflowDefinition(
    [TaskDefinition.wait_for("gate", "open"), TaskDefinition.wait_for("second", "open", ["gate"])]
)


def slow(seconds: float = 10) -> Agent:
    agent = Agent("agent", concurrency=5)

    @agent.task("do")
    async def do(n: int = 0) -> int:
        await asyncio.sleep(seconds)
        return n

    return agent


@in_virtual_time
async def test_a_paused_run_finishes_what_is_in_work_and_starts_nothing() -> None:
    async with running(slow()) as orchestrator:
        handle = await orchestrator.start_workflow(chain(3))
        await passes(1)
        await handle.pause(reason="lunch")
        await handle.pause()
        assert await handle.status() is WorkflowStatus.PAUSED
        await passes(1_000)
        view = await handle.execution()
        assert [view.tasks[key].status for key in view.tasks] == [TaskStatus.COMPLETED, TaskStatus.READY]
        assert view.waits_for == ["the run is paused"]
        await view.resume()
        await view.resume()
        assert await handle.result() == {"t2": 2}


@in_virtual_time
async def test_an_aborted_run_starts_and_advances_nothing_more() -> None:
    store = MemoryStore()
    async with running(slow(), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(chain(3), workflow_id="w")
        await passes(1)
        view = await handle.execution()
        await view.abort("changed my mind")
        with pytest.raises(WorkflowExecutionError, match="'w' was cancelled: changed my mind") as failure:
            await handle.result()
        assert failure.value.status == "CANCELLED"
        assert await handle.status() is WorkflowStatus.CANCELLED
        for command in (handle.pause(), handle.resume(), handle.abort(), handle.signal("open")):
            with pytest.raises(CommandRefused, match="is CANCELLED and takes no"):
                await command
    assert (await kinds(store, "workflow-w/1"))[-3:] == [
        "workflow_cancel_requested",
        "task_cancelled",
        "workflow_cancelled",
    ]


@in_virtual_time
async def test_signals_are_kept_in_order_and_taken_once() -> None:
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(GATE)
        await handle.signal("open", {"by": "Ann"})
        await handle.signal("unheard", 1)
        await handle.signal("open", "Bob")
        assert await handle.result() == {"second": "Bob"}
        assert (await handle.execution()).task_results["gate"].unwrap() == {"by": "Ann"}


@in_virtual_time
async def test_a_signal_with_an_id_is_sent_once_even_after_the_end() -> None:
    store = MemoryStore()
    async with running(store=store) as orchestrator:
        handle = await orchestrator.start_workflow(GATE, workflow_id="w")
        for _ in range(3):
            await handle.signal("open", 1, signal_id="s1")
        await passes(1)
        assert (await handle.execution()).waits_for == ["task 'second' waits for the signal 'open'"]
        await handle.signal("open", 2, signal_id="s2")
        assert await handle.result() == {"second": 2}
        await handle.signal("open", 2, signal_id="s2")
        with pytest.raises(CommandRefused):
            await handle.signal("open", 3, signal_id="s3")
    assert (await kinds(store, "workflow-w/1")).count("signal_received") == 2


@in_virtual_time
async def test_a_run_that_waits_says_for_what() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition.wait_for("gate", "open"),
            TaskDefinition.timer("nap", 3_600),
            TaskDefinition(
                "work",
                "agent",
                "do",
                retry_policy=RetryPolicy(initial_delay_seconds=60, max_delay_seconds=60, jitter=False),
            ),
        ]
    )
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> None:
        raise OSError("no")

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
        assert await handle.status() is WorkflowStatus.WAITING
        waits = (await handle.execution()).waits_for
        assert waits[0] == "task 'gate' waits for the signal 'open'"
        assert waits[1].startswith("task 'nap' waits until 2023-11-14 23:13:20")
        assert waits[2].startswith("task 'work' is tried again at 2023-11-14 22:14:20")


@in_virtual_time
async def test_decisions_about_what_is_not_in_question_are_refused() -> None:
    async with running(slow(5)) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=1, effect=EffectClass.AT_MOST_ONCE))
        await passes(0.5)
        with pytest.raises(CommandRefused, match=r"'work' in workflow .* is not in question"):
            await orchestrator.resolve(handle.workflow_id, "work", "completed")
        await passes(5)
        with pytest.raises(CommandRefused) as refusal:
            await orchestrator.resolve(handle.workflow_id, "other", "completed")
        assert refusal.value.hint == "in question: work"
        with pytest.raises(InvalidInput, match="'maybe' is no decision"):
            await orchestrator.resolve(handle.workflow_id, "work", "maybe")
        await orchestrator.resolve(handle.workflow_id, "work", "completed", value={"paid": True})
        assert await handle.result() == {"work": {"paid": True}}


@pytest.mark.parametrize("name", ["", None, 7])
@in_virtual_time
async def test_a_signal_has_a_name(name: Any) -> None:
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(GATE)
        with pytest.raises(InvalidInput, match="is no name of a signal"):
            await handle.signal(name)


@in_virtual_time
async def test_what_is_not_there_is_not_found() -> None:
    async with running() as orchestrator:
        for question in (
            orchestrator.get_execution("nothing"),
            orchestrator.get_workflow_state("nothing"),
            orchestrator.wait("nothing"),
            orchestrator.pause("nothing"),
            orchestrator.signal("nothing", "open"),
        ):
            with pytest.raises(WorkflowNotFoundError, match="there is no workflow 'nothing'"):
                await question
        handle = await orchestrator.start_workflow(GATE, workflow_id="w")
        with pytest.raises(WorkflowNotFoundError, match="no run 2 of workflow 'w'"):
            await orchestrator.get_execution("w", 2)
        with pytest.raises(AgentNotFoundError, match="there are none"):
            orchestrator.get_agent("nobody")
        assert repr(handle) == "WorkflowHandle('w', run_no=1)"


@in_virtual_time
async def test_runs_are_listed_newest_first_by_status_and_page() -> None:
    async with running() as orchestrator:
        for number in range(5):
            await orchestrator.start_workflow(GATE, workflow_id=f"w{number}")
        await orchestrator.abort("w1", "no")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.wait("w1")
        rows = await orchestrator.list_workflows(limit=2)
        assert [row.execution_id for row in rows] == ["w4", "w3"]
        rows = await orchestrator.list_workflows(limit=2, after=rows[-1].stream_id)
        assert [row.execution_id for row in rows] == ["w2", "w1"]
        assert [row.execution_id for row in await orchestrator.list_workflows(status="CANCELLED")] == ["w1"]
        assert len(await orchestrator.list_workflows(is_open=True)) == 4
        assert len(await orchestrator.list_workflows(status=WorkflowStatus.WAITING)) == 4
        with pytest.raises(ValueError, match="'DONE' is not a valid WorkflowStatus"):
            await orchestrator.list_workflows(status="DONE")


@in_virtual_time
async def test_a_view_shows_the_run_as_it_stands() -> None:
    agent = Agent("agent", concurrency=5)

    @agent.task("do")
    async def do(n: int) -> int:
        if n == 1:
            raise ValueError("one")
        return n

    once = RetryPolicy(max_attempts=1)
    definition = WorkflowDefinition(
        [
            TaskDefinition("good", "agent", "do", {"n": 0}),
            TaskDefinition("bad", "agent", "do", {"n": 1}, retry_policy=once),
            TaskDefinition("skipped", "agent", "do", {"n": 2}, ["good"], when="${good} > 5"),
            TaskDefinition("never", "agent", "do", {"n": 3}, ["bad"]),
            TaskDefinition("each", "agent", "do", {"n": "${item}"}, for_each=[0, 1], retry_policy=once),
        ],
        name="mixed",
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition, {"who": "Ann"}, workflow_id="w")
        with pytest.raises(WorkflowExecutionError) as failure:
            await handle.result()
        view = await handle.execution()
    assert view.status is WorkflowStatus.FAILED
    assert view.definition == definition
    assert view.context == {"who": "Ann"}
    assert view.error is not None
    assert "'bad'" in view.error.message
    assert view.started_at is not None
    assert view.completed_at is not None
    assert view.completed_at >= view.started_at
    assert {key: task.status.value for key, task in view.tasks.items()} == {
        "good": "COMPLETED",
        "bad": "FAILED",
        "skipped": "SKIPPED",
        "each": "FAILED",
        "each[0]": "COMPLETED",
        "each[1]": "FAILED",
    }
    assert view.tasks["each"].item_count == 2
    assert {key: result.is_success() for key, result in view.task_results.items()} == {
        "good": True,
        "bad": False,
        "each": False,
    }
    assert str(view.task_results["each"].error) == "ValueError: one"
    assert view.task_graph.is_complete() or view.task_graph.has_failed_tasks()
    assert set(failure.value.failed) == {"bad", "each", "each[1]"}
    assert failure.value.remaining == ("never",)
    assert repr(view) == "WorkflowExecution('w', run_no=1, FAILED)"


@in_virtual_time
async def test_an_orchestrator_starts_by_itself_and_stops_twice() -> None:
    store = MemoryStore()
    async with running(slow(1), store=store) as orchestrator:
        await orchestrator.start()
        handle = await orchestrator.start_workflow(single())
        waiting = asyncio.ensure_future(handle.result())
        await passes(0.1)
        await orchestrator.stop(drain_seconds=0)
        await orchestrator.stop()
        with pytest.raises(StoreUnavailable, match="the engine was stopped"):
            await waiting
        assert await handle.result() == {"work": 0}, "asked again, it starts again"


@in_virtual_time
async def test_an_orchestrator_that_does_not_perform_records_commands_for_the_next() -> None:
    store = MemoryStore()
    async with running(slow(1), store=store, performs=False) as clerk:
        handle = await clerk.start_workflow(single(params={"n": 4}), workflow_id="w")
        await passes(100)
        assert await handle.status() is WorkflowStatus.RUNNING
        await clerk.start_workflow(single(), workflow_id="unwanted")
        await clerk.abort("unwanted", "no")
        assert (await clerk.get_execution("unwanted")).status is WorkflowStatus.CANCELLED
    async with running(slow(1), store=store) as orchestrator:
        assert await orchestrator.wait("w") == {"work": 4}


@in_virtual_time
async def test_a_pause_holds_back_what_queues_for_its_agent() -> None:
    started: list[int] = []
    agent = Agent("agent", concurrency=2)

    @agent.task("do")
    async def do(n: int = -1) -> int:
        started.append(n)
        await asyncio.sleep(1)
        return n

    many = WorkflowDefinition([TaskDefinition(f"t{n}", "agent", "do", {"n": n}) for n in range(10)])
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(many)
        await passes(0.5)
        assert started == [0, 1]
        await handle.pause()
        await passes(60)
        assert started == [0, 1], "what queued when the run was paused does not start"
        assert await handle.status() is WorkflowStatus.PAUSED
        other = await orchestrator.start_workflow(single())
        await passes(2)
        assert await other.status() is WorkflowStatus.COMPLETED, "other runs have the agent to themselves meanwhile"
        started.clear()
        await handle.resume()
        await handle.result()
        assert started == list(range(2, 10))


@in_virtual_time
async def test_an_aborted_run_forgets_what_its_pause_held_back() -> None:
    agent = slow()
    many = WorkflowDefinition([TaskDefinition(f"t{n}", "agent", "do", {"n": n}) for n in range(20)])
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(many)
        await passes(0.5)
        await handle.pause()
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await handle.result()
        execution = await handle.execution()
        assert {view.status for view in execution.tasks.values()} == {TaskStatus.CANCELLED}


async def test_a_pause_holds_back_what_waits_for_a_thread() -> None:
    agent, go, started = Agent("agent", concurrency=5), threading.Event(), list[int]()

    @agent.task("do")
    def do(n: int) -> int:
        started.append(n)
        go.wait(10)
        return n

    async with running(agent, max_threads=1) as orchestrator:
        handle = await orchestrator.start_workflow(parallel(3))
        await until(lambda: started)
        await handle.pause()
        go.set()
        await until(lambda: _status(handle, "t0", TaskStatus.COMPLETED))
        held = next(iter(orchestrator._engine.dispatcher._worker.paused.values()))  # type: ignore[union-attr]  # it runs
        await until(lambda: len(held) == 2)
        assert started == [0], "the thread is free, and still nothing starts"
        assert [attempt.worker for attempt in held] == [None, None], (
            "stopping must not interrupt who performs others now"
        )
        await handle.resume()
        await handle.result()
        assert sorted(started) == [0, 1, 2]


async def _status(handle: WorkflowHandle, key: str, status: TaskStatus) -> bool:
    return (await handle.execution()).tasks[key].status is status


@in_virtual_time
async def test_a_task_is_taken_out_of_a_run_that_goes_on() -> None:
    stopped: list[str] = []

    @worker("stay")
    async def stay(context: TaskContext) -> str:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            stopped.append(context.task_id)
            raise
        return "never"

    @worker("quick")
    async def quick() -> str:
        return "done"

    tasks = [
        TaskDefinition("slow", "stay"),
        TaskDefinition("fast", "quick"),
        TaskDefinition("end", "quick", dependencies={"slow", "fast"}),
    ]
    async with running(stay, quick) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks), workflow_id="w")
        await passes(1)
        await orchestrator.cancel_task("w", "slow", reason="we have that already")
        assert await handle.result() == {"end": "done"}
        assert stopped == ["slow"]
        with pytest.raises(CommandRefused):
            await orchestrator.cancel_task("w", "slow")


@pytest.mark.parametrize("task", [None, 7, ["a"], b"a"])
async def test_a_task_is_named_by_a_text(task: Any) -> None:
    async with running(slow()) as orchestrator:
        await orchestrator.start_workflow(GATE, workflow_id="w")
        for call in (
            orchestrator.cancel_task("w", task),
            orchestrator.approve("w", task),
            orchestrator.reject("w", task),
            orchestrator.resolve("w", task, "failed"),
        ):
            with pytest.raises(InvalidInput, match="is no id of a task"):
                await call


async def test_who_steers_has_a_name_and_what_is_said_says_something() -> None:
    async with running(slow()) as orchestrator:
        await orchestrator.start_workflow(GATE, workflow_id="w")
        for call in (
            orchestrator.pause("w", paused_by=" "),
            orchestrator.resume("w", resumed_by=""),
            orchestrator.abort("w", aborted_by=""),
            orchestrator.approve("w", "gate", approved_by=""),
            orchestrator.reject("w", "gate", rejected_by=""),
        ):
            with pytest.raises(InvalidInput, match="is nobody"):
                await call
        for feedback in (None, "", " \n"):
            with pytest.raises(InvalidInput, match="says nothing"):
                await orchestrator.give_feedback("w", feedback)


@pytest.mark.parametrize("version", ["x", 0, True, 1.5])
async def test_the_state_of_an_agent_is_asked_by_id_and_version(version: Any) -> None:
    async with running(slow()) as orchestrator:
        with pytest.raises(InvalidInput, match="is no version of agent 'agent'"):
            await orchestrator.get_agent_state("agent", at_version=version)
        with pytest.raises(InvalidInput, match="is no id of an agent"):
            await orchestrator.get_agent_state("")
