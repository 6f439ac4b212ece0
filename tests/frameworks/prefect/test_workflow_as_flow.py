"""A workflow of ours as a Prefect flow: ours is the truth, Prefect starts it and shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, get_client
from prefect.exceptions import CancelledRun
from prefect.states import Cancelling

from agenticflow import (
    DefinitionError,
    Orchestrator,
    PermanentError,
    TaskContext,
    TaskDefinition,
    WorkflowContext,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowIdConflict,
    WorkflowStatus,
    worker,
    workflow,
)
from agenticflow.integrations.frameworks.prefect import mirror, prefect_flow
from tests.frameworks.prefect.shown import flow_run_of, task_runs


class Shop:
    """Performs the tasks, counts them, and fails as often as it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits = asyncio.Event()

    async def orchestrator(self, store: str = "memory:") -> Orchestrator:
        engine = Orchestrator(store=store)

        @worker("load")
        async def load(rows: list[int]) -> list[int]:
            self.calls.append("load")
            return rows

        @worker("double")
        async def double(item: int) -> int:
            self.calls.append(f"double {item}")
            return item * 2

        @worker("total")
        async def total(doubled: list[int], context: TaskContext) -> int:
            self.calls.append("total")
            self.waits.set()
            await self.gate.wait()
            if self.failures:
                self.failures -= 1
                raise PermanentError("the till is shut")
            return sum(doubled)

        for each in (load, double, total):
            engine.register_worker(each)
        return engine


def sum_up() -> WorkflowDefinition:
    """A name of its own each time, by which Prefect's runs are found."""
    return WorkflowDefinition(
        [
            TaskDefinition("load", "load", params={"rows": "${input.rows}"}),
            TaskDefinition("double", "double", params={"item": "${item}"}, for_each="${load}", dependencies=["load"]),
            TaskDefinition("rare", "load", params={"rows": []}, when="${input.rows} == 0", dependencies=["load"]),
            TaskDefinition("total", "total", params={"doubled": "${double}"}, dependencies=["double"]),
        ],
        name=f"sum-up-{uuid4().hex[:8]}",
        output="${total}",
    )


async def test_a_flow_run_returns_the_result_and_shows_each_task() -> None:
    shop, definition = Shop(), sum_up()
    async with await shop.orchestrator() as engine:
        assert await prefect_flow(definition, engine)({"rows": [1, 2]}) == 6
    run = await flow_run_of(definition.name, "Completed")
    shown = await task_runs(
        run.id,
        {
            "load": "Completed",
            "double[0]": "Completed",
            "double[1]": "Completed",
            "rare": "Skipped",
            "total": "Completed",
        },
    )
    before = {str(each.id) for each in shown["total"].task_inputs["wait_for"]}
    assert before == {str(shown["double[0]"].id), str(shown["double[1]"].id)}
    assert run.parameters == {"input": {"rows": [1, 2]}, "workflow_id": ""}


async def test_a_failure_fails_the_flow_run_and_another_one_takes_up_the_workflow() -> None:
    """What was done stays done."""
    shop, definition = Shop(), sum_up()
    shop.failures = 1
    async with await shop.orchestrator() as engine:
        flow = prefect_flow(definition, engine)
        with pytest.raises(WorkflowExecutionError, match="the till is shut"):
            await flow({"rows": [1, 2]}, workflow_id="w")
        run = await flow_run_of(definition.name, "Failed")
        shown = await task_runs(
            run.id,
            {
                "load": "Completed",
                "double[0]": "Completed",
                "double[1]": "Completed",
                "rare": "Skipped",
                "total": "Failed",
            },
        )
        assert shown["total"].state.message == "PermanentError: the till is shut"
        assert await flow({"rows": [1, 2]}, workflow_id="w") == 6
        assert shop.calls.count("load") == 1
        assert shop.calls.count("total") == 2
        assert await flow({"rows": [1, 2]}, workflow_id="w") == 6, "a finished one hands back its result"
        assert shop.calls.count("total") == 2
        with pytest.raises(WorkflowIdConflict):
            await flow({"rows": [3]}, workflow_id="w")


async def test_a_retry_of_prefects_goes_on_after_the_last_success() -> None:
    shop, definition = Shop(), sum_up()
    shop.failures = 2
    async with await shop.orchestrator() as engine:
        flow = prefect_flow(definition, engine).with_options(retries=2)
        assert await flow({"rows": [4]}) == 8
        assert shop.calls == ["load", "double 4", "total", "total", "total"]
        rows = await engine.list_workflows()
        assert [(row.run_no, row.status) for row in rows] == [(3, "COMPLETED"), (2, "FAILED"), (1, "FAILED")]


async def test_a_cancelled_workflow_cancels_its_flow_run() -> None:
    shop, definition = Shop(), sum_up()
    shop.gate.clear()
    async with await shop.orchestrator() as engine:
        flowing = asyncio.create_task(prefect_flow(definition, engine)({"rows": [1]}, workflow_id="w"))
        await shop.waits.wait()
        await engine.abort("w", "enough")
        with pytest.raises(CancelledRun, match="enough"):
            await flowing
    run = await flow_run_of(definition.name, "Cancelled")
    await task_runs(run.id, {"load": "Completed", "double[0]": "Completed", "rare": "Skipped", "total": "Cancelled"})


async def test_a_flow_of_ones_own_around_it_is_cancelled_with_all_that_it_runs() -> None:
    """Prefect serves flows by the name of their function: so this is how a workflow is served."""
    shop, definition, name = Shop(), sum_up(), f"nightly-{uuid4().hex[:8]}"
    shop.gate.clear()
    async with await shop.orchestrator() as engine:

        @flow(name=name)
        async def nightly(rows: list[int]) -> int:
            return int(await prefect_flow(definition, engine)({"rows": rows}, workflow_id="w"))

        flowing = asyncio.create_task(nightly([1]))
        await shop.waits.wait()
        outer = await flow_run_of(name, "Running")
        async with get_client() as client:
            await client.set_flow_run_state(outer.id, Cancelling(), force=True)
        flowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flowing
        with pytest.raises(WorkflowExecutionError, match="its flow run was cancelled in Prefect"):
            await engine.wait("w")


@pytest.mark.parametrize("is_cancelled_there", [True, False])
async def test_only_who_cancels_the_flow_run_in_prefect_aborts_the_workflow(is_cancelled_there: bool) -> None:
    """A flow that is interrupted for another reason, with its process say, leaves the run to whoever comes next."""
    shop, definition = Shop(), sum_up()
    shop.gate.clear()
    async with await shop.orchestrator() as engine:
        flow = prefect_flow(definition, engine)
        flowing = asyncio.create_task(flow({"rows": [1]}, workflow_id="w"))
        await shop.waits.wait()
        if is_cancelled_there:
            run = await flow_run_of(definition.name, "Running")
            async with get_client() as client:
                await client.set_flow_run_state(run.id, Cancelling(), force=True)
        flowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flowing
        if is_cancelled_there:
            with pytest.raises(WorkflowExecutionError, match="its flow run was cancelled in Prefect"):
                await engine.wait("w")
        else:
            assert (await engine.get_execution("w")).status is WorkflowStatus.RUNNING
            shop.gate.set()
            assert await flow({"rows": [1]}, workflow_id="w") == 2
            assert shop.calls.count("total") == 1


async def test_a_flow_opens_its_own_orchestrator_where_nobody_has_one(tmp_path: Any) -> None:
    """What a flow that Prefect serves needs: each of its runs is a process."""
    shop, definition = Shop(), sum_up()
    opened: list[str] = []

    @asynccontextmanager
    async def engine() -> AsyncIterator[Orchestrator]:
        opened.append("open")
        async with await shop.orchestrator(f"sqlite:///{tmp_path}/state.db") as found:
            yield found

    flow = prefect_flow(definition, engine, name="served", description="Sums up")
    assert (flow.name, flow.description) == ("served", "Sums up")
    assert await flow({"rows": [5]}, workflow_id="w") == 10
    assert await flow({"rows": [5]}, workflow_id="w") == 10
    assert opened == ["open", "open"]
    assert shop.calls.count("total") == 1


async def test_an_orchestrator_that_was_not_started_is_started() -> None:
    engine = await Shop().orchestrator()
    try:
        assert await prefect_flow(sum_up(), engine)({"rows": [1]}) == 2
    finally:
        await engine.stop()


async def test_more_tasks_than_are_shown_are_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_SHOWN", 3)
    shop, definition = Shop(), sum_up()
    async with await shop.orchestrator() as engine:
        assert await prefect_flow(definition, engine)({"rows": [1] * 20}) == 40
    run = await flow_run_of(definition.name, "Completed")
    await task_runs(run.id, {"load": "Completed", "rare": "Skipped", "double[0]": "Completed"})


async def test_steps_of_a_workflow_as_code_are_shown_too() -> None:
    shop, name = Shop(), f"code-{uuid4().hex[:8]}"

    @workflow(name=name)
    async def count(ctx: WorkflowContext, input: dict[str, list[int]]) -> Any:
        loaded = await ctx.task("first", "load", {"rows": input["rows"]})
        return await ctx.task("second", "double", {"item": len(loaded)})

    async with await shop.orchestrator() as engine:
        engine.register_workflow(count)
        assert await prefect_flow(name, engine)({"rows": [7, 8]}) == 4
    run = await flow_run_of(name, "Completed")
    await task_runs(run.id, {"first": "Completed", "second": "Completed"})


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(DefinitionError, match="as the workflow"):
        prefect_flow(7, Orchestrator(store="memory:"))  # type: ignore[arg-type]  # what a newcomer gives
    with pytest.raises(DefinitionError, match="a function that opens one"):
        prefect_flow("orders", "sqlite:///state.db")  # type: ignore[arg-type]  # what a newcomer gives
