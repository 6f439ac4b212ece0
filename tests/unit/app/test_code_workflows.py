"""Workflows as code with the whole engine around them: registering, versions, restarts, children, what a run says when it stands still."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from agenticflow.agents.workers import worker
from agenticflow.app.cassettes import record_cassette
from agenticflow.app.definitions import load_workflow, load_workflows
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import (
    CommandRefused,
    DefinitionError,
    InvalidInput,
    PermanentError,
    StepFailed,
    WorkflowExecutionError,
    WorkflowIdConflict,
    WorkflowNotFoundError,
)
from agenticflow.orchestration import UserIntervention, WorkflowContext, workflow
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.waiting import NeedsCode
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import replay_cassette
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running, until

Ctx = WorkflowContext


@worker("double")
async def double(value: int) -> int:
    return value * 2


@worker("slow")
async def slow(value: int) -> int:
    await asyncio.sleep(60)
    return value + 1


@worker("large")
async def large(size: int) -> str:
    return "x" * size


@workflow
async def order(ctx: Ctx, given: dict[str, Any]) -> object:
    first = await ctx.task("first", "double", {"value": given["value"]})
    return await ctx.task("second", "slow", {"value": first})


@in_virtual_time
async def test_a_function_is_started_as_itself_or_by_its_name() -> None:
    async with running(double, slow) as orchestrator:
        with pytest.raises(WorkflowNotFoundError, match="no workflow 'order' is registered"):
            await orchestrator.start_workflow("order", {"value": 1})
        handle = await orchestrator.start_workflow(order, {"value": 1})
        assert await handle.result() == 3
        orchestrator.register_workflow(order)
        assert await (await orchestrator.start_workflow("order", {"value": 2})).result() == 5
        assert await orchestrator.execute_workflow(order, {"value": 3}, workflow_id="third") == "third"


async def test_what_is_no_workflow_is_told() -> None:
    async def plain(ctx: Ctx, given: Any) -> object:
        return None

    async with running(double) as orchestrator:
        with pytest.raises(DefinitionError, match="not a function"):
            await orchestrator.start_workflow(plain, {})  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(DefinitionError, match="register_workflow got a function"):
            orchestrator.register_workflow(plain)  # type: ignore[arg-type]  # wrong on purpose


@in_virtual_time
async def test_after_a_restart_it_goes_on_where_it_was() -> None:
    store = MemoryStore()
    async with running(double, slow, store=store) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
        await until(lambda: _is_planned(orchestrator, "second"))
    async with running(double, slow, store=store, workflows=[order]) as orchestrator:
        assert await orchestrator.wait("o") == 9
    assert (await kinds(store, stream_of("o", 1))).count("steps_planned") == 2


async def _is_planned(orchestrator: Orchestrator, key: str) -> bool:
    return key in (await orchestrator.get_workflow_state("o")).tasks


@in_virtual_time
async def test_a_run_whose_function_is_not_known_says_so_and_goes_on_when_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    async with running(double, store=store) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
        await until(lambda: _is_planned(orchestrator, "second"))
    caplog.set_level(logging.WARNING, "agenticflow.engine")
    async with running(double, slow, store=store) as orchestrator:
        execution = await orchestrator.get_execution("o")
        words = "its function, version '1' of the workflow 'order', is not registered: no version of it is known here"
        assert any(words in wait for wait in execution.waits_for)
        assert any(words in record.getMessage() for record in caplog.records)
        (reason,) = [wait.reason for wait in (await orchestrator.why("o")).waits if isinstance(wait.reason, NeedsCode)]
        assert words in reason.words
        await passes(100)  # the step that was recorded goes on meanwhile
        assert (await orchestrator.check_liveness()).breaches == ()
        orchestrator.register_workflow(order)
        assert await orchestrator.wait("o") == 9
        assert (await orchestrator.get_execution("o")).waits_for == []


def _changed() -> WorkflowFunction:
    @workflow(name="order")
    async def order(ctx: Ctx, given: dict[str, Any]) -> object:
        return await ctx.task("first", "double", {"value": 100})

    return order


@in_virtual_time
async def test_a_function_that_does_something_else_stops_the_run_until_the_right_one_is_there() -> None:
    store = MemoryStore()
    async with running(double, store=store) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
        await until(lambda: _is_planned(orchestrator, "second"))
    async with running(double, store=store, workflows=[_changed()]) as orchestrator:
        (said,) = (await orchestrator.get_execution("o")).waits_for[-1:]
        assert "asked for with {'value': 100}, at test_code_workflows.py:" in said
        assert (await orchestrator.check_liveness()).breaches == ()
        with pytest.raises(DefinitionError, match="there is another version '1' of workflow 'order'"):
            orchestrator.register_workflow(order)
    async with running(double, slow, store=store, workflows=[order]) as orchestrator:
        assert await orchestrator.wait("o") == 9


@in_virtual_time
async def test_a_run_that_stands_still_can_be_aborted() -> None:
    store = MemoryStore()
    async with running(double, store=store) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
        await until(lambda: _is_planned(orchestrator, "second"))
    async with running(double, store=store, workflows=[_changed()]) as orchestrator:
        await orchestrator.abort("o", "not wanted")
        with pytest.raises(WorkflowExecutionError, match="was cancelled: not wanted"):
            await orchestrator.wait("o")
        assert (await orchestrator.get_execution("o")).waits_for == []


@in_virtual_time
async def test_runs_stay_on_their_version_and_new_ones_begin_with_the_last() -> None:
    @workflow(name="order", version="2")
    async def second(ctx: Ctx, given: dict[str, Any]) -> object:
        return "from version 2"

    store = MemoryStore()
    async with running(double, slow, store=store) as orchestrator:
        orchestrator.register_workflow(order)
        await orchestrator.start_workflow("order", {"value": 4}, workflow_id="o")
        orchestrator.register_workflow(second)
        assert await (await orchestrator.start_workflow("order", {})).result() == "from version 2"
        assert await orchestrator.wait("o") == 9


@in_virtual_time
async def test_the_same_id_is_the_same_run_also_after_the_code_was_mended() -> None:
    async with running(double, slow) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
        mended = WorkflowFunction(order.function, _changed().definition)
        with pytest.raises(DefinitionError, match="another version '1'"):
            await orchestrator.start_workflow(mended, {"value": 4}, workflow_id="o")
        with pytest.raises(WorkflowIdConflict):
            await orchestrator.start_workflow(order, {"value": 5}, workflow_id="o")
    store = MemoryStore()
    async with running(double, slow, store=store) as orchestrator:
        await orchestrator.start_workflow(order, {"value": 4}, workflow_id="o")
    async with running(double, slow, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(mended, {"value": 4}, workflow_id="o")
        assert await handle.result() == 9


@in_virtual_time
async def test_a_child_that_is_named_by_its_function_is_known_and_found_again() -> None:
    @workflow
    async def inner(ctx: Ctx, given: dict[str, Any]) -> object:
        return await ctx.task("in", "slow", {"value": given["value"]})

    @workflow
    async def outer(ctx: Ctx, given: dict[str, Any]) -> object:
        data = WorkflowDefinition([TaskDefinition("d", "double", params={"value": "${value}"})], output="${d}")
        return await ctx.gather(ctx.child("code", inner, {"value": 1}), ctx.child("data", data, {"value": 2}))

    store = MemoryStore()
    async with running(double, slow, store=store) as orchestrator:
        await orchestrator.start_workflow(outer, {}, workflow_id="o")
        await passes(1)
    async with running(double, slow, store=store, workflows=[outer]) as orchestrator:
        assert await orchestrator.wait("o") == [2, 4]


@in_virtual_time
async def test_it_continues_as_new_and_the_last_run_gives_the_result() -> None:
    @workflow
    async def count(ctx: Ctx, given: dict[str, Any]) -> object:
        total = given["total"] + await ctx.task("double", "double", {"value": given["left"]})
        if given["left"] > 1:
            ctx.continue_as_new({"left": given["left"] - 1, "total": total})
        return total, ctx.run_no

    async with running(double) as orchestrator:
        handle = await orchestrator.start_workflow(count, {"left": 4, "total": 0}, workflow_id="o")
        assert await handle.result() == [20, 4]


@in_virtual_time
async def test_a_failed_run_is_resumed_with_what_was_done() -> None:
    tries: list[int] = []

    @worker("sometimes")
    async def sometimes() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise InvalidInput("not now")
        return "now"

    @workflow
    async def trying(ctx: Ctx, given: Any) -> object:
        return [await ctx.task("sure", "double", {"value": 1}), await ctx.task("sometimes", "sometimes")]

    async with running(double, sometimes) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="step 'sometimes' failed: InvalidInput: not now"):
            await orchestrator.execute_workflow(trying, {}, workflow_id="o")
        handle = await orchestrator.resume_workflow("o")
        assert await handle.result() == [2, "now"]
        state = await orchestrator.get_workflow_state("o")
        assert (state.run_no, state.tasks["sure"].attempt) == (2, 0)
        forked = await orchestrator.fork_workflow("o", from_task="sure")
        assert await forked.result() == [2, "now"]
        assert len(tries) == 3


async def test_large_values_go_in_and_out_on_disk(tmp_path: Path) -> None:
    @workflow
    async def heavy(ctx: Ctx, given: Any) -> object:
        text = await ctx.task("large", "large", {"size": 200_000})
        again = await ctx.task("echo", "echo", {"text": text + "!"})
        return {"text": again, "length": len(text)}

    @worker("echo")
    async def echo(text: str) -> str:
        return text

    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with Orchestrator(store=url) as orchestrator:
        orchestrator.register_worker(large)
        orchestrator.register_worker(echo)
        handle = await orchestrator.start_workflow(heavy, {}, workflow_id="o")
        result = await handle.result()
        assert isinstance(result, dict)
        assert (len(result["text"]), result["length"]) == (200_001, 200_000)
    async with Orchestrator(store=url) as orchestrator:
        assert await orchestrator.wait("o") == result
        assert (await orchestrator.get_execution("o")).definition.tasks[1].params is None, "it is stored apart"


@in_virtual_time
async def test_people_step_in_as_into_any_run() -> None:
    async with running(double, slow) as orchestrator:
        handle = await orchestrator.start_workflow(order, {"value": 1}, workflow_id="o")
        await until(lambda: _is_planned(orchestrator, "second"))
        with pytest.raises(DefinitionError, match="its function plans its tasks"):
            await orchestrator.intervene("o", UserIntervention("modify", "ada", modifications=[{"remove": "second"}]))
        await orchestrator.cancel_task("o", "second")
        with pytest.raises(WorkflowExecutionError, match="step 'second' failed: TaskCancelled"):
            await handle.result()
        with pytest.raises(CommandRefused):
            await orchestrator.skip_task("o", "second")


@in_virtual_time
async def test_its_execution_shows_the_steps_there_are() -> None:
    async with running(double, slow) as orchestrator:
        await orchestrator.execute_workflow(order, {"value": 1}, workflow_id="o")
        execution = await orchestrator.get_execution("o")
        assert [(task.task_id, task.agent_id, task.params) for task in execution.definition.tasks] == [
            ("first", "double", {"value": 1}),
            ("second", "slow", {"value": 2}),
        ]
        assert execution.task_results["second"].unwrap() == 3
        assert execution.definition.code == order.definition.code


@in_virtual_time
async def test_a_run_is_decided_again_by_the_code_of_today() -> None:
    store = MemoryStore()
    async with running(double, slow, store=store) as orchestrator:
        await orchestrator.execute_workflow(order, {"value": 1}, workflow_id="o")
    cassette = (await record_cassette(store, "o", 1, release="test")).to_json().encode()
    same = await asyncio.to_thread(replay_cassette, cassette, order)
    assert same.is_same, str(same)
    drifted = await asyncio.to_thread(replay_cassette, cassette, _changed())
    assert not drifted.is_same
    assert "'value': 100" in str(drifted) or '"value": 100' in str(drifted)
    with pytest.raises(InvalidInput, match="a workflow as code"):
        replay_cassette(cassette)
    with pytest.raises(InvalidInput, match="a workflow as code"):
        replay_cassette(cassette, WorkflowDefinition([TaskDefinition("a", "double")]))


SHOP = """
from agenticflow import WorkflowContext, WorkflowDefinition, TaskDefinition, worker, workflow

@worker("double")
async def double(value: int) -> int:
    return value * 2

@workflow(name="order")
async def order_1(ctx: WorkflowContext, given):
    return await ctx.task("a", "double", {"value": 1})

@workflow(name="order", version="2")
async def order(ctx: WorkflowContext, given):
    return await ctx.task("a", "double", {"value": 2})

as_data = WorkflowDefinition([TaskDefinition("d", "double", params={"value": 3})], name="data")
"""


async def test_a_file_may_hold_functions_in_several_versions(tmp_path: Path) -> None:
    path = tmp_path / "shop_with_code.py"
    path.write_text(SHOP)
    assert {loaded.definition.name for loaded in load_workflows(path)} == {"order", "data"}
    loaded = load_workflow(f"{path}:order")
    assert (loaded.definition.version, loaded.function is not None) == ("2", True)
    assert load_workflow(f"{path}:order_1").definition.version == "1"
    with pytest.raises(DefinitionError, match="has several workflows"):
        load_workflow(path)
    async with running() as orchestrator:
        loaded.register_with(orchestrator)
        assert await (await orchestrator.start_workflow(loaded.definition, {})).result() == 4


async def test_a_function_can_ask_what_the_run_before_has_left() -> None:
    """Another way was taken after ``slow`` had failed: resumed, the function does not try that once more."""
    told: list[tuple[int, bool]] = []
    fails = {"slow", "other"}

    @worker("try")
    async def attempt(way: str) -> str:
        if way in fails:
            raise PermanentError(f"{way} does not work")
        return way

    @workflow
    async def ways(ctx: Ctx, given: Any) -> object:
        told.append((ctx.run_no, ctx.is_kept("given-up")))
        if not ctx.is_kept("given-up"):
            try:
                return await ctx.task("slow", "try", {"way": "slow"})
            except StepFailed:
                await ctx.task("given-up", "try", {"way": "noted"})
        return await ctx.task("other", "try", {"way": "other"})

    async with running() as orchestrator:
        orchestrator.register_worker(attempt)
        with pytest.raises(WorkflowExecutionError, match="other does not work"):
            await orchestrator.execute_workflow(ways, workflow_id="w")
        fails.clear()
        handle = await orchestrator.resume_workflow("w")
        assert await handle.result() == "other"
        assert set(told) == {(1, False), (2, True)}
        assert "slow" not in (await orchestrator.get_execution("w")).tasks
