"""Work of an agent that is not well goes to another with the same capabilities, and waits when there is none."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agenticflow.agents.agent import Agent
from agenticflow.agents.health import HealthPolicy
from agenticflow.agents.registry import AgentRegistry
from agenticflow.core.context import TaskContext
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy
from tests.unit.runtime.engine import in_virtual_time, running, virtual_clock


def reader(agent_id: str, capability: str = "reading", *, fails: bool = False) -> Agent:
    agent = Agent(agent_id, {capability})

    @agent.task("read")
    async def read(context: TaskContext) -> str:
        await asyncio.sleep(10)
        if fails:
            raise ConnectionError("it is broken")
        return context.agent_id

    return agent


def reads(count: int) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition(f"t{n}", "a", "read") for n in range(count)])


@in_virtual_time
async def test_what_queues_for_an_agent_moves_when_it_falls_ill_and_what_it_has_in_work_stays() -> None:
    async with running(reader("a"), reader("b"), reader("c", "writing")) as orchestrator:
        handle = await orchestrator.start_workflow(reads(3))
        await asyncio.sleep(1)
        orchestrator.agents.mark_unhealthy("a", "its disk is full")
        assert await handle.result() == {"t0": "a", "t1": "b", "t2": "b"}


@in_virtual_time
async def test_new_work_of_an_ill_agent_goes_to_another_at_once() -> None:
    async with running(reader("a"), reader("b")) as orchestrator:
        orchestrator.agents.mark_unhealthy("a", "its disk is full")
        handle = await orchestrator.start_workflow(reads(1))
        assert await handle.result() == {"t0": "b"}
        orchestrator.agents.mark_healthy("a")
        handle = await orchestrator.start_workflow(reads(1))
        assert await handle.result() == {"t0": "a"}


@in_virtual_time
async def test_work_nobody_is_well_enough_for_waits_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running(reader("a"), reader("c", "writing")) as orchestrator:
        handle = await orchestrator.start_workflow(reads(2))
        await asyncio.sleep(1)
        with caplog.at_level(logging.WARNING):
            orchestrator.agents.mark_unhealthy("a", "its disk is full")
            await asyncio.sleep(30)
        words = "task 't1' waits for 'a' to be well again, or for another with the same capabilities"
        assert caplog.text.count(words) == 1
        assert (await handle.execution()).waits_for == [words]
        orchestrator.agents.mark_healthy("a")
        assert await handle.result() == {"t0": "a", "t1": "a"}


@in_virtual_time
async def test_an_agent_that_fails_again_and_again_gets_no_more_work_until_it_is_tried_again() -> None:
    policy = HealthPolicy(unhealthy_after_failures=2)
    again = RetryPolicy(max_attempts=3, initial_delay_seconds=1, jitter=False)
    agents = AgentRegistry(clock=virtual_clock(), policy=policy)
    async with running(reader("a", fails=True), reader("b"), agents=agents) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition("t", "a", "read", retry_policy=again)])
        handle = await orchestrator.start_workflow(definition)
        assert await handle.result() == {"t": "b"}, "the third attempt is another's"


@in_virtual_time
async def test_who_waits_for_an_agent_that_is_not_well_may_be_told_to_stop() -> None:
    async with running(reader("a")) as orchestrator:
        orchestrator.agents.mark_unhealthy("a", "its disk is full")
        handle = await orchestrator.start_workflow(reads(1))
        await asyncio.sleep(5)
        await handle.abort("enough")
        await asyncio.sleep(1)
        assert (await handle.status()).value == "CANCELLED"


@in_virtual_time
async def test_a_stopped_orchestrator_listens_no_more() -> None:
    agents = AgentRegistry(clock=virtual_clock())
    async with running(reader("a"), agents=agents):
        assert agents._listeners
    assert not agents._listeners
    agents.mark_unhealthy("a", "nobody cares")
