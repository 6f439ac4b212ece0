"""Sub-workflows: a run of another workflow as one task."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agenticflow.agents.workers import worker
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.context import TaskContext
from agenticflow.errors import InvalidInput, WorkflowExecutionError, WorkflowIdConflict
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, running, until, virtual_clock

CALLS: list[str] = []


@worker("double")
async def double(value: int) -> int:
    CALLS.append(f"double {value}")
    return value * 2


@worker("flaky")
async def flaky(context: TaskContext) -> str:
    CALLS.append(f"flaky in run {context.run_no}")
    if context.run_no == 1:
        raise ValueError("not yet")
    return "there"


@worker("sleep")
async def sleep(seconds: float) -> str:
    CALLS.append("sleep")
    await asyncio.sleep(seconds)
    return "awake"


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


INNER = WorkflowDefinition(
    [
        TaskDefinition("once", "double", params={"value": "${value}"}),
        TaskDefinition("twice", "double", params={"value": "${once}"}, dependencies={"once"}),
    ],
    name="inner",
    output="${twice}",
)
ONCE = RetryPolicy(max_attempts=1)


def outer(**options: Any) -> WorkflowDefinition:
    options = {"workflow": INNER, "params": {"value": "${start}"}, **options}
    return WorkflowDefinition(
        [
            TaskDefinition("child", **options),
            TaskDefinition("after", "double", params={"value": "${child}"}, dependencies={"child"}),
        ],
        name="outer",
    )


@in_virtual_time
async def test_the_result_of_the_child_is_that_of_the_task() -> None:
    async with running(double) as orchestrator:
        handle = await orchestrator.start_workflow(outer(), {"start": 3}, workflow_id="p")
        assert await handle.result() == {"after": 24}
        child = await orchestrator.get_execution("p~child")
        assert (child.status, child.definition.name) == (WorkflowStatus.COMPLETED, "inner")


@in_virtual_time
async def test_a_child_may_be_a_registered_workflow_and_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with running(double) as orchestrator:
        with caplog.at_level(logging.WARNING):
            handle = await orchestrator.start_workflow(outer(workflow="inner"), {"start": 1}, workflow_id="p")
            await asyncio.sleep(5)
        assert "waits for a workflow 'inner', which is not registered here" in caplog.text
        assert (await handle.execution()).waits_for == [
            "task 'child' waits for a workflow 'inner', which is not registered here"
        ]
        orchestrator.register_workflow(INNER)
        assert await handle.result() == {"after": 8}


@in_virtual_time
async def test_a_child_per_item_of_a_map_and_per_iteration_of_a_loop() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition("each", workflow=INNER, params={"value": "${item}"}, for_each=[1, 2, 3], max_parallel=2),
            TaskDefinition(
                "again", workflow=INNER, params={"value": "${previous}"}, repeat_from=1, repeat_until="${again} > 50"
            ),
        ]
    )
    async with running(double) as orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="p")
        assert await handle.result() == {"each": [4, 8, 12], "again": 64}
        assert (await orchestrator.get_execution("p~again[2]")).task_results["twice"].unwrap() == 64
        children = (await handle.execution()).children
        assert sorted(children) == [*(f"again[{n}]" for n in range(3)), *(f"each[{n}]" for n in range(3))]
        for child in children.values():
            assert (await orchestrator.get_execution(child)).status is WorkflowStatus.COMPLETED


@in_virtual_time
async def test_of_sub_workflows_only_those_that_were_asked_for_are_named() -> None:
    tasks = [TaskDefinition("child", workflow=INNER, when="${start} > 5", params={"value": 1})]
    async with running(double) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks), {"start": 1}, workflow_id="p")
        await handle.result()
        assert (await handle.execution()).children == {}


@in_virtual_time
async def test_children_may_have_children() -> None:
    middle = WorkflowDefinition(
        [TaskDefinition("deep", workflow=INNER, params={"value": "${value}"})], name="middle", output="${deep}"
    )
    async with running(double) as orchestrator:
        handle = await orchestrator.start_workflow(outer(workflow=middle), {"start": 1}, workflow_id="p")
        assert await handle.result() == {"after": 8}
        assert (await orchestrator.get_execution("p~child~deep")).status is WorkflowStatus.COMPLETED


FAILING = WorkflowDefinition(
    [
        TaskDefinition("once", "double", params={"value": 1}),
        TaskDefinition("mend", "flaky", dependencies={"once"}, retry_policy=ONCE),
    ],
    name="failing",
    output="${mend}",
)


@in_virtual_time
async def test_a_child_that_fails_fails_the_task() -> None:
    async with running(double, flaky) as orchestrator:
        handle = await orchestrator.start_workflow(outer(workflow=FAILING), {"start": 1}, workflow_id="p")
        with pytest.raises(WorkflowExecutionError, match="'mend' with ValueError"):
            await handle.result()
        assert "p~child" in str((await handle.execution()).task_results["child"].error)


@in_virtual_time
async def test_another_attempt_goes_on_with_the_child_where_it_failed() -> None:
    async with running(double, flaky) as orchestrator:
        definition = WorkflowDefinition(
            [TaskDefinition("child", workflow=FAILING, retry_policy=RetryPolicy(max_attempts=2))]
        )
        handle = await orchestrator.start_workflow(definition, workflow_id="p")
        assert await handle.result() == {"child": "there"}
    assert CALLS == ["double 1", "flaky in run 1", "flaky in run 2"], "what was done is kept"


@in_virtual_time
async def test_the_next_run_of_the_parent_goes_on_with_the_child() -> None:
    async with running(double, flaky) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("child", workflow=FAILING)])
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(definition, workflow_id="p")
        handle = await orchestrator.resume_workflow("p")
        assert await handle.result() == {"child": "there"}
    assert CALLS == ["double 1", "flaky in run 1", "flaky in run 2"]


SLEEPING = WorkflowDefinition([TaskDefinition("nap", "sleep", params={"seconds": 100})], name="sleeping")


@in_virtual_time
async def test_an_abort_of_the_parent_ends_the_child_first() -> None:
    async with running(sleep) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("child", workflow=SLEEPING)])
        handle = await orchestrator.start_workflow(definition, workflow_id="p")
        await until(lambda: CALLS)
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="cancelled: enough"):
            await handle.result()
        child = await orchestrator.get_execution("p~child")
        assert child.status is WorkflowStatus.CANCELLED
        assert child.tasks["nap"].status is TaskStatus.CANCELLED
        parent = await orchestrator.get_execution("p")
        assert parent.tasks["child"].status is TaskStatus.CANCELLED, "it was told to end: that is no failure of its own"


@in_virtual_time
async def test_a_detached_child_outlives_its_parent() -> None:
    async with running(sleep) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("child", workflow=SLEEPING, on_cancel="detach")])
        handle = await orchestrator.start_workflow(definition, workflow_id="p")
        await until(lambda: CALLS)
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="cancelled"):
            await handle.result()
        assert (await orchestrator.get_execution("p~child")).status is WorkflowStatus.RUNNING
        assert await orchestrator.wait("p~child") == {"nap": "awake"}


@in_virtual_time
async def test_a_pause_reaches_the_children() -> None:
    async with running(double, sleep) as orchestrator:
        inner = WorkflowDefinition(
            [
                TaskDefinition("nap", "sleep", params={"seconds": 5}),
                TaskDefinition("then", "double", params={"value": 1}, dependencies={"nap"}),
            ]
        )
        handle = await orchestrator.start_workflow(
            WorkflowDefinition([TaskDefinition("child", workflow=inner)]), workflow_id="p"
        )
        await until(lambda: CALLS)
        await handle.pause()
        await asyncio.sleep(60)
        assert (await orchestrator.get_execution("p~child")).status is WorkflowStatus.PAUSED
        await handle.resume()
        assert await handle.result() == {"child": {"then": 2}}


@in_virtual_time
async def test_a_total_limit_of_the_task_ends_the_child() -> None:
    async with running(sleep) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("child", workflow=SLEEPING, total_timeout_seconds=10)])
        with pytest.raises(WorkflowExecutionError, match="total limit of 10 s"):
            await orchestrator.execute_workflow(definition, workflow_id="p")
        assert (await orchestrator.get_execution("p~child")).status is WorkflowStatus.CANCELLED


@in_virtual_time
async def test_a_restart_watches_open_children_again_and_reports_those_that_ended() -> None:
    store = MemoryStore()
    definition = WorkflowDefinition(
        [
            TaskDefinition("open", workflow=SLEEPING),
            TaskDefinition("quick", workflow=INNER, params={"value": 1}),
        ]
    )
    first = Orchestrator(store=store, clock=virtual_clock())
    for performer in (double, sleep):
        first.register_worker(performer)
    await first.start_workflow(definition, workflow_id="p")
    await until(lambda: len(CALLS) == 3)
    await first.stop(drain_seconds=0)
    async with running(double, sleep, store=store) as second:
        assert await second.wait("p") == {"open": {"nap": "awake"}, "quick": 4}
    assert CALLS.count("sleep") == 2
    assert CALLS.count("double 1") == 1


@in_virtual_time
async def test_an_id_that_a_sub_workflow_may_have_is_not_given_to_another() -> None:
    async with running(double) as orchestrator:
        with pytest.raises(InvalidInput, match="could be the id of a sub-workflow: task 'child' of 'p' may have it"):
            await orchestrator.execute_workflow(INNER, {"value": 1}, workflow_id="p~child")
        await orchestrator.execute_workflow(outer(), {"start": 1}, workflow_id="p")
        with pytest.raises(InvalidInput, match="use an id without '~'"):
            await orchestrator.fork_workflow("p", new_workflow_id="q~child")
        # It is there, so it can be looked up by starting it; with another input it is somebody else's.
        with pytest.raises(WorkflowIdConflict):
            await orchestrator.start_workflow(INNER, {"value": 1}, workflow_id="p~child")


@in_virtual_time
async def test_an_id_that_somebody_else_uses_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier release let anybody use such ids."""
    async with running(double) as orchestrator:
        with monkeypatch.context() as earlier:
            earlier.setattr("agenticflow.app.engine.starting.check_new_id", lambda workflow_id: None)
            await orchestrator.execute_workflow(INNER, {"value": 1}, workflow_id="p~child")
        with pytest.raises(WorkflowExecutionError, match="somebody else started"):
            await orchestrator.execute_workflow(outer(), {"start": 1}, workflow_id="p")


@in_virtual_time
async def test_an_input_that_does_not_fit_the_child_fails_the_task_in_words() -> None:
    async with running(double) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match=r"uses \$\{value\}, but 'value' is neither"):
            await orchestrator.execute_workflow(outer(params={"other": 1}), {"start": 1}, workflow_id="p")


@in_virtual_time
async def test_large_results_of_children_travel_too() -> None:
    @worker("large")
    async def large() -> str:
        return "x" * 200_000

    inner = WorkflowDefinition([TaskDefinition("make", "large")], output="${make}")
    async with running(large) as orchestrator:
        handle = await orchestrator.start_workflow(
            WorkflowDefinition([TaskDefinition("child", workflow=inner)]), workflow_id="p"
        )
        assert await handle.result() == {"child": "x" * 200_000}


@in_virtual_time
async def test_a_child_holds_the_lock_of_its_task_until_its_end() -> None:
    definition = WorkflowDefinition([TaskDefinition("nap", "sleep", params={"seconds": 10})], name="locked")
    async with running(sleep) as orchestrator:
        both = WorkflowDefinition([TaskDefinition(name, workflow=definition, locks={"bed"}) for name in ("a", "b")])
        handle = await orchestrator.start_workflow(both, workflow_id="p")
        await asyncio.sleep(5)
        assert CALLS == ["sleep"]
        await asyncio.sleep(10)
        assert CALLS == ["sleep", "sleep"]
        assert await handle.result() == {"a": {"nap": "awake"}, "b": {"nap": "awake"}}


@in_virtual_time
async def test_a_workflow_may_run_itself_and_not_for_ever() -> None:
    counting = WorkflowDefinition(
        [
            TaskDefinition("less", "subtract", params={"value": "${value}"}),
            TaskDefinition(
                "again",
                workflow="counting",
                params={"value": "${less}"},
                dependencies={"less"},
                when="${less} > ${stop}",
            ),
        ],
        name="counting",
        context={"stop": 0},
        output="${less}",
    )

    @worker("subtract")
    async def subtract(value: int) -> int:
        CALLS.append(f"subtract {value}")
        return value - 1

    async with running(subtract, workflows=[counting]) as orchestrator:
        handle = await orchestrator.start_workflow("counting", {"value": 5}, workflow_id="w")
        await handle.result()
        assert len(CALLS) == 5
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow("counting", {"value": 500}, workflow_id="deep")
        deepest = (await orchestrator.list_workflows(limit=1))[0]
        error = (await orchestrator.get_execution(deepest.execution_id)).error
        assert "would be 51 deep, the limit is 50" in str(error)
