"""Tools inside handlers: through the context, with the effect key of the task, and never what must not happen twice by accident."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow import Agent, EffectClass, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.core.clocks import Clock
from agenticflow.errors import WorkflowExecutionError
from agenticflow.observability import Metrics
from agenticflow.tools import ToolContext, get_tool_pipeline, tool
from tests.unit.runtime.engine import in_virtual_time, running, virtual_clock


@tool
async def key(of: str, ctx: ToolContext) -> list[str]:
    """Give the key."""
    return [ctx.effect_key, ctx.agent_id]


@tool(effect="at_most_once")
async def pay(cents: int) -> int:
    """Pay."""
    return cents


def one_task(**options: Any) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition("work", "clerk", "work", **options)], output="${work}")


async def run(agent: Agent, **options: Any) -> Any:
    async with running(agent) as orchestrator:
        return await (await orchestrator.start_workflow(one_task(**options))).result()


async def test_effect_keys_follow_from_the_task_and_what_is_asked() -> None:
    agent = Agent("clerk", tools=[key])
    attempts: list[list[Any]] = []

    @agent.task("work")
    async def work(context: TaskContext) -> list[Any]:
        same = [(await context.invoke_tool("key", {"of": "a"})).unwrap() for _ in range(2)]
        other = (await context.invoke_tool("key", {"of": "b"})).unwrap()
        meant = (await context.invoke_tool("key", {"of": "a"}, key="second")).unwrap()
        [parallel] = await context.invoke_tool_parallel([("key", {"of": "a"})])
        attempts.append([*same, other, meant, parallel.unwrap()])
        if len(attempts) == 1:
            raise ValueError("try again")
        return attempts[-1]

    found = await run(agent)
    keys = [one[0] for one in found]
    assert {one[1] for one in found} == {"clerk"}
    assert keys[0] == keys[1] == keys[4]
    assert len(set(keys)) == 3
    assert attempts[0] == attempts[1], "another attempt asks for the same effects"


async def test_what_must_not_happen_twice_is_called_by_tasks_that_must_not() -> None:
    agent = Agent("clerk", tools=[pay, key])

    @agent.task("work")
    async def work(context: TaskContext) -> list[Any]:
        single = await context.invoke_tool("pay", {"cents": 1})
        calls: list[Any] = [("key", {"of": "a"}), ("pay", {"cents": 2}), ("pay", {}), ("key", {})]
        several = await context.invoke_tool_parallel(calls, max_concurrent=2)
        return [one.value if one.error is None else one.error.code for one in (single, *several)][:1] + [
            one.error.code if one.error else "ok" for one in several
        ]

    assert await run(agent) == [
        *("effect_class", "ok", "effect_class", "effect_class", "invalid_input"),
    ]
    once = await run(agent, effect=EffectClass.AT_MOST_ONCE)
    assert once == [1, "ok", "ok", "invalid_input", "invalid_input"]


async def test_a_handler_whose_agent_has_no_tools_is_told_how_to_give_it_some() -> None:
    agent = Agent("clerk")

    @agent.task("work")
    async def work(context: TaskContext) -> None:
        await context.invoke_tool("key")

    with pytest.raises(WorkflowExecutionError) as failed:
        await run(agent)
    assert "agent 'clerk' has no tools" in failed.value.failed["work"]


async def test_a_worker_has_no_tools() -> None:
    @worker("clerk")
    async def clerk(context: TaskContext) -> bool:
        return context.tools is None

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(clerk)
        definition = WorkflowDefinition([TaskDefinition("work", "clerk")], output="${work}")
        assert await (await orchestrator.start_workflow(definition)).result() is True


@in_virtual_time
async def test_a_tool_is_given_up_when_the_attempt_is() -> None:
    ended: list[str] = []

    @tool(timeout=600)
    async def slow() -> None:
        """Take long."""
        try:
            await asyncio.sleep(500)
        finally:
            ended.append("stopped")

    agent = Agent("clerk", tools=[slow])

    @agent.task("work")
    async def work(context: TaskContext) -> None:
        (await context.invoke_tool("slow")).unwrap()

    clock: Clock = virtual_clock()
    async with Orchestrator(store="memory:", clock=clock) as orchestrator:
        orchestrator.register_agent(agent)
        started = await orchestrator.start_workflow(one_task(timeout_seconds=5))
        with pytest.raises(WorkflowExecutionError):
            await started.result()
    assert ended[0] == "stopped"
    assert asyncio.get_running_loop().time() < 60


async def test_calls_are_measured_once_however_many_engines_listen() -> None:
    metrics = Metrics()
    agent = Agent("clerk", tools=[key])
    async with Orchestrator(store="memory:", telemetry=metrics), Orchestrator(store="memory:", telemetry=metrics):
        await agent.invoke_tool("key", {"of": "a"})
        await agent.invoke_tool("key", {})
        await agent.invoke_tool("made_up_by_a_model")
    assert metrics.value("tool_call_duration", "key", "succeeded") == 1
    assert metrics.value("tool_call_duration", "key", "invalid_input") == 1
    assert metrics.value("tool_call_duration", "unknown", "tool_not_found") == 1
    await agent.invoke_tool("key", {"of": "a"})
    assert metrics.value("tool_call_duration", "key", "succeeded") == 1, "nobody listens any more"
    assert get_tool_pipeline().in_flight == 0


@in_virtual_time
async def test_a_tool_is_told_why_its_task_is_stopped() -> None:
    seen: dict[str, object] = {}

    @tool
    async def stay(of: str, ctx: ToolContext) -> None:
        """Stay until told."""
        try:
            await asyncio.sleep(3_600)
        finally:
            seen.setdefault(of, ctx.cancel_reason)  # another attempt may come after the time is up

    agent = Agent("clerk", tools=[stay], concurrency=10)

    @agent.task("work")
    async def work(context: TaskContext) -> None:
        if context.workflow_id == "several":
            await context.invoke_tool_parallel([("stay", {"of": "several"}), ("stay", {"of": "other"})])
        else:
            await context.invoke_tool("stay", {"of": context.workflow_id})

    async with running(agent) as orchestrator:
        await orchestrator.start_workflow(one_task(timeout_seconds=5), workflow_id="late")
        for name in ("one", "several", "all", "left"):
            await orchestrator.start_workflow(one_task(), workflow_id=name)
        await asyncio.sleep(1)
        await orchestrator.cancel_task("one", "work")
        await orchestrator.cancel_task("several", "work")
        await orchestrator.abort("all")
        await asyncio.sleep(10)
        await orchestrator.stop(drain_seconds=0)
    assert seen == {
        "one": "cancelled",
        "several": "cancelled",
        "other": "cancelled",
        "all": "aborted",
        "late": "timeout",
        "left": "drain",
    }
