"""What flows between tasks is always the decoded value: large or small, private to whoever is given it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow import Agent, EffectClass, TaskContext, TaskDefinition, WorkflowDefinition, WorkflowExecutionError
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running
from tests.unit.runtime.tasks import single


def flow(agent: Agent, *tasks: TaskDefinition, **options: Any) -> WorkflowDefinition:
    return WorkflowDefinition(tasks, **options)


@in_virtual_time
async def test_a_result_that_one_task_changes_is_untouched_for_the_others() -> None:
    agent = Agent("agent", concurrency=3)

    @agent.task("make")
    async def make() -> dict[str, list[int]]:
        return {"rows": [1, 2]}

    @agent.task("spoil")
    async def spoil(load: dict[str, list[int]], rows: list[int], context: TaskContext) -> list[object]:
        before = [list(load["rows"]), list(rows)]
        load["rows"].append(3)
        rows.clear()
        given: Any = context["load"]
        given["rows"] = None
        return [*before]

    names = ["a", "b", "c"]
    definition = flow(
        agent,
        TaskDefinition("load", "agent", "make"),
        *(TaskDefinition(name, "agent", "spoil", {"rows": "${load.rows}"}, ["load"]) for name in names),
        TaskDefinition("after", "agent", "spoil", {"rows": "${load.rows}"}, ["load", *names]),
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await handle.result()
        results = (await handle.execution()).task_results
    assert {name: results[name].unwrap() for name in [*names, "after"]} == {
        name: [[1, 2], [1, 2]] for name in [*names, "after"]
    }
    assert results["load"].unwrap() == {"rows": [1, 2]}


@in_virtual_time
async def test_the_input_and_the_params_are_private_too() -> None:
    agent = Agent("agent", concurrency=2)

    @agent.task("do")
    async def do(context: TaskContext, params: dict[str, Any]) -> list[object]:
        given: Any = context["input_data"]
        seen: list[object] = [list(given["rows"]), list(params["mine"])]
        given["rows"].clear()
        params["mine"].clear()
        return seen

    rows = [1, 2]
    params: dict[str, object] = {"mine": [3]}
    definition = flow(agent, *(TaskDefinition(name, "agent", "do", params) for name in ("a", "b")))
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition, {"rows": rows})
        rows.append(9)
        assert await handle.result() == {"a": [[1, 2], [3]], "b": [[1, 2], [3]]}
    assert params == {"mine": [3]}


@pytest.mark.parametrize("size", [MAX_INLINE_BYTES - 3, MAX_INLINE_BYTES - 2, 300_000, 5_000_000])
@in_virtual_time
async def test_large_results_flow_on_and_are_stored_once(size: int) -> None:
    store, agent = MemoryStore(), Agent("agent", concurrency=4)

    @agent.task("make")
    async def make(size: int) -> str:
        return "x" * size

    @agent.task("take")
    async def take(load: str, part: str) -> list[int]:
        return [len(load), len(part)]

    definition = flow(
        agent,
        TaskDefinition("load", "agent", "make", {"size": "${size}"}),
        TaskDefinition("same", "agent", "make", {"size": "${size}"}),
        *(TaskDefinition(f"t{n}", "agent", "take", {"part": "${load}"}, ["load"]) for n in range(3)),
        output={"load": "${load}", "t2": "${t2}"},
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition, {"size": size})
        assert await handle.result() == {"load": "x" * size, "t2": [size, size]}
        assert (await handle.execution()).task_results["load"].unwrap() == "x" * size
    assert len(store._blobs) == (1 if size + 3 > MAX_INLINE_BYTES else 0)
    async with running(agent, store=store) as orchestrator:
        assert (await orchestrator.wait(handle.workflow_id)) == {"load": "x" * size, "t2": [size, size]}


@in_virtual_time
async def test_large_inputs_definitions_and_signals_flow_too() -> None:
    agent = Agent("agent")

    @agent.task("take")
    async def take(text: str, gate: str, extra: str) -> list[int]:
        return [len(text), len(gate), len(extra)]

    definition = flow(
        agent,
        TaskDefinition.wait_for("gate", "open"),
        TaskDefinition("work", "agent", "take", {"extra": "e" * 100_000}, ["gate"]),
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition, {"text": "t" * 200_000})
        await handle.signal("open", "g" * 300_000)
        assert await handle.result() == {"work": [200_000, 300_000, 100_000]}


@in_virtual_time
async def test_a_join_over_more_large_values_than_are_kept_at_hand_ends() -> None:
    """The host keeps 64 MiB of large values between answers; this answer alone needs more."""
    agent = Agent("agent", concurrency=4)
    store = MemoryStore()

    @agent.task("make")
    async def make(index: int) -> bytes:
        return bytes([index]) * 12_000_000

    @agent.task("join")
    async def join(parts: list[bytes]) -> int:
        return sum(map(len, parts))

    definition = flow(
        agent,
        TaskDefinition("parts", "agent", "make", {"index": "${index}"}, for_each=[0, 1, 2, 3, 4, 5]),
        TaskDefinition.timer("pause", 10, ["parts"]),
        TaskDefinition("work", "agent", "join", dependencies=["parts", "pause"]),
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(5)
    async with running(agent, store=store) as orchestrator:
        async with asyncio.timeout(60):
            assert await orchestrator.wait(handle.workflow_id) == {"work": 72_000_000}


@in_virtual_time
async def test_a_result_beyond_the_largest_is_a_failure_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.core.values.MAX_BLOB_BYTES", 100_000)
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> bytes:
        return bytes(200_000)

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        with pytest.raises(WorkflowExecutionError, match="200,005 bytes passes the limit of 100,000"):
            await handle.result()
        assert (await handle.execution()).tasks["work"].attempt == 1


@in_virtual_time
async def test_the_effect_key_is_equal_for_all_attempts() -> None:
    agent, keys = Agent("agent"), list[str]()

    @agent.task("do")
    async def do(context: TaskContext) -> str:
        keys.append(context.effect_key)
        if len(keys) < 3:
            raise OSError("again")
        return "done"

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        await handle.result()
    assert len(keys) == 3
    assert len(set(keys)) == 1


@in_virtual_time
async def test_run_again_raises_the_generation_and_the_effect_key() -> None:
    agent, keys = Agent("agent"), list[tuple[int, str]]()

    @agent.task("do")
    async def do(context: TaskContext) -> str:
        keys.append((context.generation, context.effect_key))
        await asyncio.sleep(5 if len(keys) == 1 else 0)
        return "done"

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=1, effect=EffectClass.AT_MOST_ONCE))
        await passes(3)
        await orchestrator.resolve(handle.workflow_id, "work", "run_again")
        assert await handle.result() == {"work": "done"}
    assert [generation for generation, _ in keys] == [0, 1]
    assert keys[0][1] != keys[1][1]


@in_virtual_time
async def test_references_that_lead_nowhere_fail_the_task_for_good() -> None:
    agent = Agent("agent")

    @agent.task("make")
    async def make() -> dict[str, int]:
        return {"rows": 1}

    @agent.task("take")
    async def take(x: int) -> int:
        return x

    definition = flow(
        agent,
        TaskDefinition("load", "agent", "make"),
        TaskDefinition("work", "agent", "take", {"x": "${load.row}"}, ["load"]),
    )
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError, match="it has no 'row'"):
            await handle.result()
        assert len((await handle.execution()).tasks["work"].errors) == 1
