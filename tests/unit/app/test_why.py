"""What the process that runs a store adds to why a run waits: who has an attempt in hand, and what it does with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow.agents import Agent
from agenticflow.app.commands.door import carry_out
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.waiting import (
    HandedOut,
    InQueue,
    InWork,
    Lost,
    NeedsPermit,
    NotRegistered,
    Paused,
    Reason,
    SubWorkflow,
    Wait,
    words_of,
)
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running, virtual_clock


def sleeper(concurrency: int = 8) -> Agent:
    agent = Agent("agent", {"work"}, concurrency=concurrency)

    @agent.task("do")
    async def do() -> None:
        await asyncio.sleep(100)

    return agent


def work(task_id: str, **options: Any) -> TaskDefinition:
    return TaskDefinition(task_id, "agent", "do", **options)


async def reasons(orchestrator: Orchestrator, workflow_id: str = "w") -> dict[str, Reason]:
    return {wait.task_key: wait.reason for wait in (await orchestrator.why(workflow_id)).waits}


@in_virtual_time
async def test_an_agent_with_enough_to_do_has_a_queue() -> None:
    async with running(sleeper(1)) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([work(name) for name in "abc"]), workflow_id="w")
        await passes(1)
        assert await reasons(orchestrator) == {
            "a": InWork("agent", 1),
            "b": InQueue("agent", 0, 1),
            "c": InQueue("agent", 1, 1),
        }


@in_virtual_time
async def test_a_lock_names_who_holds_it() -> None:
    async with running(sleeper()) as orchestrator:
        locked = WorkflowDefinition([work("a", locks=("press",))])
        for name in ("first", "second", "third"):
            await orchestrator.start_workflow(locked, workflow_id=name)
            await passes(1)
        assert await reasons(orchestrator, "first") == {"a": InWork("agent", 1)}
        assert await reasons(orchestrator, "second") == {"a": NeedsPermit("press", ("workflow-first/1",), 0)}
        assert await reasons(orchestrator, "third") == {"a": NeedsPermit("press", ("workflow-first/1",), 1)}


@in_virtual_time
async def test_an_agent_or_workflow_that_is_not_there_is_named() -> None:
    tasks = [TaskDefinition("a", "stranger", "do"), TaskDefinition("b", workflow="unheard of")]
    async with running() as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition(tasks), workflow_id="w")
        await passes(5)
        assert await reasons(orchestrator) == {
            "a": NotRegistered("task 'a' waits for an agent or worker 'stranger', which is not registered here"),
            "b": NotRegistered("task 'b' waits for a workflow 'unheard of', which is not registered here"),
        }
        assert (await orchestrator.get_execution("w")).waits_for == [
            words_of(wait) for wait in (await orchestrator.why("w")).waits
        ]


@in_virtual_time
async def test_a_sub_workflow_is_followed_to_what_can_be_done() -> None:
    innermost = WorkflowDefinition([TaskDefinition.wait_for("gate", "open")], name="innermost")
    inner = WorkflowDefinition([TaskDefinition("deeper", workflow=innermost)], name="inner")
    async with running() as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("sub", workflow=inner)]), workflow_id="w")
        await passes(1)
        [wait] = (await orchestrator.why("w")).waits
        assert isinstance(wait.reason, SubWorkflow)
        assert words_of(wait) == (
            "task 'sub' waits for the end of workflow 'w~sub', where task 'deeper' waits for the end of workflow "
            "'w~sub~deeper', where task 'gate' waits for the signal 'open'"
        )


@in_virtual_time
async def test_an_attempt_that_nobody_has_is_said_to_be_lost() -> None:
    async with running(sleeper()) as orchestrator:
        engine = orchestrator._engine
        assert engine is not None
        engine.host.perform_with(lambda stream_id, effect: None)  # every effect is lost on its way
        tasks = [work("a"), TaskDefinition("sub", workflow=WorkflowDefinition([work("b")], name="child"))]
        await orchestrator.start_workflow(WorkflowDefinition(tasks), workflow_id="w")
        assert await reasons(orchestrator) == {"a": Lost(), "sub": Lost()}


@in_virtual_time
async def test_who_only_reads_knows_the_history_and_no_more() -> None:
    store = MemoryStore()
    async with running(sleeper(), store=store) as orchestrator:
        tasks = [work("a"), TaskDefinition("sub", workflow=WorkflowDefinition([work("b")], name="child"))]
        await orchestrator.start_workflow(WorkflowDefinition(tasks), workflow_id="w")
        await orchestrator.pause("w")
        await passes(0.1)
    async with running(store=store, performs=False) as reader:
        found = await reader.why("w")
        assert (found.is_performed, found.status) == (False, "PAUSED")
        assert found.waits[0].reason == Paused()
        assert found.waits[1].reason == HandedOut("agent", 1)
        assert isinstance(found.waits[2].reason, SubWorkflow)


@in_virtual_time
async def test_a_sub_workflow_that_was_never_started_is_named_all_the_same() -> None:
    store = MemoryStore()
    async with running(store=store, performs=False) as reader:
        child = WorkflowDefinition([work("b")], name="child")
        await reader.start_workflow(WorkflowDefinition([TaskDefinition("sub", workflow=child)]), workflow_id="w")
        assert await reasons(reader) == {"sub": SubWorkflow("w~sub")}


@in_virtual_time
async def test_what_is_not_there_is_refused() -> None:
    async with running() as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition.timer("nap", 5)]), workflow_id="w")
        with pytest.raises(InvalidInput, match="has no task 'x'"):
            await orchestrator.why("w", "x")
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.why("v")


@in_virtual_time
async def test_another_process_gets_a_bounded_answer() -> None:
    async with running(sleeper(300)) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([work("m", for_each=list(range(250)))]), workflow_id="w")
        await passes(1)
        told = await carry_out(orchestrator, "why", {"workflow_id": "w"})
        waits = told["waits"]
        assert isinstance(waits, list)
        assert (len(waits), told["more"]) == (200, 50)
        assert waits[7]["reason"] == {"type": "in_work", "performer_id": "agent", "attempt": 1}
        alive = await carry_out(orchestrator, "liveness", {})
        assert alive == {"open_runs": 1, "is_performed": True, "breaches": [], "more": 0}


@in_virtual_time
async def test_a_pause_and_a_cancellation_say_since_when() -> None:
    async with running(sleeper()) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([work("a")]), workflow_id="w")
        began = virtual_clock().now_ns()
        await passes(5)
        await orchestrator.pause("w")
        await passes(5)
        assert (await orchestrator.why("w")).waits[0] == Wait("", Paused(), began + 5_000_000_000)
        await orchestrator.abort("w", grace_seconds=60)
        wait = (await orchestrator.why("w")).waits[0]
        assert wait.since is not None
        assert abs(wait.since - began - 10_000_000_000) < 1_000_000
        assert words_of(wait) == "the run was told to stop"
        assert (await orchestrator.why("w", "a")).waits[0].since == wait.since
