"""Under load less is in work at once, of maps too; afterwards more again, and nothing stands still for ever."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace

import pytest

from agenticflow import Agent, DefinitionError, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.observability import Metrics
from agenticflow.resilience import Adaptation
from tests.unit.runtime.engine import in_virtual_time, passes, running, until
from tests.unit.runtime.tasks import single

BY_MEMORY = Adaptation(max_lag_seconds=None, max_memory_share=0.5, max_cpu_share=None)


class Machine:
    """The memory of a machine, as the monitor tells it."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.share: float | None = 0.1
        orchestrator._adapting.memory = self  # type: ignore[assignment]  # virtual load

    def look(self) -> SimpleNamespace:
        if self.share is None:
            raise OSError("the system says nothing")
        return SimpleNamespace(machine_share=self.share)


class Work:
    """Handlers that take a second each, and how many were at work at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most: list[int] = []
        self.agent = Agent("agent", concurrency=100)

        @self.agent.task("do")
        async def do(n: int = 0) -> int:
            self.now += 1
            self.most.append(self.now)
            try:
                await asyncio.sleep(1)
            finally:
                self.now -= 1
            return n


def a_map(count: int, **options: int) -> WorkflowDefinition:
    each = TaskDefinition("each", "agent", "do", {"n": "${item}"}, for_each=list(range(count)), **options)  # type: ignore[arg-type]  # of the test's own
    return WorkflowDefinition([each])


@in_virtual_time
async def test_a_map_has_less_in_work_under_load_and_more_again_afterwards() -> None:
    work, metrics = Work(), Metrics()
    async with running(work.agent, adaptation=BY_MEMORY, max_concurrency=20, telemetry=metrics) as orchestrator:
        machine = Machine(orchestrator)
        run = await orchestrator.start_workflow(a_map(500, max_parallel=16))
        await passes(1.5)
        assert (work.now, (await orchestrator.parallelism()).limit) == (16, 20)
        machine.share = 0.9
        await passes(8)
        stands = await orchestrator.parallelism()
        assert (work.now, stands.limit, stands.most, stands.in_work) == (1, 1, 20, 1)
        assert stands.waiting == 15
        assert stands.reasons == ("the machine has 90% of its memory in use",)
        assert metrics.value("tasks_in_flight_limit") == 1
        machine.share = 0.45
        await passes(3)
        assert (await orchestrator.parallelism()).limit == 1, "neither too much nor calm"
        machine.share = 0.1
        await passes(25)
        stands = await orchestrator.parallelism()
        assert (work.now, stands.limit, stands.reasons) == (16, 20, ())
        assert await run.result() == {"each": list(range(500))}
    assert metrics.value("tasks_in_flight_limit") == 0


@in_virtual_time
async def test_without_a_policy_nothing_changes_and_what_is_no_policy_is_refused() -> None:
    work = Work()
    async with running(work.agent) as orchestrator:
        Machine(orchestrator).share = 1.0
        await (await orchestrator.start_workflow(a_map(30))).result()
        assert (await orchestrator.parallelism()).limit == (await orchestrator.parallelism()).most == 1_000
    assert max(work.most) == 30
    with pytest.raises(DefinitionError, match="adaptation of an orchestrator is a int"):
        Orchestrator(adaptation=5)  # type: ignore[arg-type]  # that is the point


@in_virtual_time
async def test_a_handler_that_waits_for_another_run_is_not_kept_waiting_for_ever() -> None:
    @worker("inner")
    async def inner() -> int:
        return 7

    @worker("outer")
    async def outer(context: TaskContext) -> object:
        run = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("t", "inner")]))
        return await run.result()

    async with running(outer, inner, adaptation=BY_MEMORY, max_concurrency=20) as orchestrator:
        Machine(orchestrator).share = 0.9
        await passes(5)
        assert (await orchestrator.parallelism()).limit == 1
        run = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("t", "outer")]))
        assert await run.result() == {"t": {"t": 7}}


@in_virtual_time
async def test_a_figure_that_cannot_be_read_is_told_and_read_again(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Work().agent, adaptation=BY_MEMORY, max_concurrency=20) as orchestrator:
        machine = Machine(orchestrator)
        machine.share = 0.9
        with caplog.at_level(logging.INFO, "agenticflow.engine"):
            await passes(3)
            assert "1 attempts instead of 20 may be in work at once: the machine has 90% of its memory" in caplog.text
            machine.share = None
            await passes(3)
            assert "the load could not be looked at" in caplog.text
            machine.share = 0.1
            for _ in range(10):
                await passes(3)
            assert "as many attempts as ever, 20, may be in work at once again" in caplog.text


async def test_a_handler_that_keeps_the_event_loop_is_felt() -> None:
    ends = False
    agent = Agent("agent", concurrency=100)

    @agent.task("do")
    async def do() -> None:
        while not ends:
            time.sleep(0.05)
            await asyncio.sleep(0)

    policy = Adaptation(max_lag_seconds=0.03, max_memory_share=None, max_cpu_share=None, every_seconds=0.1)
    async with running(agent, adaptation=policy, max_concurrency=8) as orchestrator:
        runs = [await orchestrator.start_workflow(single("do")) for _ in range(3)]

        async def is_lower() -> bool:
            return (await orchestrator.parallelism()).limit < 8

        await until(is_lower)
        stands = await orchestrator.parallelism()
        assert stands.reasons == () or "the event loop was late" in stands.reasons[0]
        ends = True
        for run in runs:
            await run.result()
