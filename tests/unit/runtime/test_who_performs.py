"""Who performs a task: the agent it names, one that can do it, or another when its own has failed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agenticflow.agents.agent import Agent
from agenticflow.core.context import TaskContext
from agenticflow.errors import WorkflowExecutionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy
from tests.unit.runtime.engine import in_virtual_time, running


def reader(agent_id: str, *capabilities: str, fails: bool = False, concurrency: int = 1) -> Agent:
    agent = Agent(agent_id, capabilities or ("reading",), concurrency=concurrency)

    @agent.task("read")
    async def read(context: TaskContext) -> str:
        await asyncio.sleep(1)
        if fails:
            raise ValueError(f"{agent_id} cannot")
        return context.agent_id

    return agent


def reads(count: int = 1, **options: Any) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition(f"t{n}", task_type="read", **options) for n in range(count)])


@in_virtual_time
async def test_the_least_busy_of_those_that_can_is_taken() -> None:
    blind = reader("blind", "listening")
    async with running(reader("a"), reader("b", "reading", "writing", concurrency=2), blind) as orchestrator:
        handle = await orchestrator.start_workflow(reads(6, capabilities={"reading"}))
        result: Any = await handle.result()
        done = list(result.values())
        assert (done.count("a"), done.count("b"), done.count("blind")) == (2, 4, 0)


@in_virtual_time
async def test_a_task_nobody_can_do_waits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with running(reader("a")) as orchestrator:
        with caplog.at_level(logging.WARNING):
            handle = await orchestrator.start_workflow(reads(capabilities={"reading", "latin"}))
            await asyncio.sleep(2)
        assert "waits for an agent that can latin, reading and has a handler for 'read'" in caplog.text
        orchestrator.register_agent(reader("c", "reading", "latin"))
        assert await handle.result() == {"t0": "c"}


@in_virtual_time
async def test_another_agent_with_the_same_capabilities_gets_the_next_attempt() -> None:
    twice = RetryPolicy(max_attempts=2, jitter=False)
    async with running(reader("a", fails=True), reader("b"), reader("c", "other")) as orchestrator:
        handle = await orchestrator.start_workflow(reads(agent_id="a", on_failure="reassign", retry_policy=twice))
        assert await handle.result() == {"t0": "b"}
        with pytest.raises(WorkflowExecutionError, match="a cannot"):
            await orchestrator.execute_workflow(reads(agent_id="a", retry_policy=twice))


@in_virtual_time
async def test_the_agents_named_are_asked_in_turn() -> None:
    once = RetryPolicy(max_attempts=1)
    agents = (reader("a", fails=True), reader("b", "other", fails=True), reader("c", "third"))
    async with running(*agents) as orchestrator:
        handle = await orchestrator.start_workflow(
            reads(agent_id="a", on_failure="reassign", reassign_to=["b", "c"], retry_policy=once)
        )
        assert await handle.result() == {"t0": "c"}


@in_virtual_time
async def test_the_agent_named_gets_it_also_when_the_first_could_do_it_too() -> None:
    once = RetryPolicy(max_attempts=1)
    async with running(reader("desk", fails=True), reader("spare")) as orchestrator:
        handle = await orchestrator.start_workflow(
            reads(agent_id="desk", on_failure="reassign", reassign_to=["spare"], retry_policy=once)
        )
        assert await handle.result() == {"t0": "spare"}


@in_virtual_time
async def test_what_waits_for_an_agent_waits_in_the_order_of_priority() -> None:
    order: list[str] = []
    agent = Agent("a", {"reading"})

    @agent.task("read")
    async def read(context: TaskContext) -> None:
        order.append(context.task_id)
        await asyncio.sleep(1)

    tasks = [
        TaskDefinition(name, "a", "read", priority=priority)
        for name, priority in (("first", 0), ("low", 0), ("high", 9), ("middle", 4))
    ]
    async with running(agent) as orchestrator:
        handles = [await orchestrator.start_workflow(WorkflowDefinition([task])) for task in tasks]
        for handle in handles:
            await handle.result()
    assert order == ["first", "high", "middle", "low"]
