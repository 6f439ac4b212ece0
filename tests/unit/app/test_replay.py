"""Replay: how a run, an agent and the whole log stood at any moment."""

from __future__ import annotations

import pytest

from agenticflow.agents.agent import Agent
from agenticflow.agents.states import AgentState
from agenticflow.core.events import AgenticEvent, EventPredicate, RecordedEvent
from agenticflow.errors import CorruptStore, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.runtime.replay import project, state_at
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, running


def writer() -> Agent:
    agent = Agent("writer", {"writing"})

    @agent.task("write")
    async def write(letters: int) -> str:
        return "x" * letters

    return agent


CHAIN = WorkflowDefinition(
    [
        TaskDefinition("first", "writer", "write", {"letters": 70_000}),
        TaskDefinition("second", "writer", "write", {"letters": 2}, {"first"}, when="len(${first}) > 5"),
    ]
)


@in_virtual_time
async def test_a_run_is_seen_as_it_stood_after_each_of_its_events() -> None:
    async with running(writer()) as orchestrator:
        await orchestrator.execute_workflow(CHAIN, workflow_id="w")
        last = await orchestrator.get_workflow_state("w")
        seen = [await orchestrator.get_workflow_state("w", at_version=v) for v in range(1, last.version + 1)]
        assert [state.version for state in seen] == list(range(1, last.version + 1))
        assert [state.last_success for state in seen] == [None, None, "first", "first", "second", "second"]
        assert (seen[0].status, seen[-1].status) == (WorkflowStatus.RUNNING, WorkflowStatus.COMPLETED)
        past = await orchestrator.get_execution("w", at_version=3)
        assert past.task_results["first"].unwrap() == "x" * 70_000
        assert past.tasks["second"].status is TaskStatus.READY
        with pytest.raises(InvalidInput, match="has 6 events, there is no version 7"):
            await orchestrator.get_workflow_state("w", at_version=7)
        with pytest.raises(InvalidInput, match="0 is no version"):
            await orchestrator.get_execution("w", at_version=0)


@in_virtual_time
async def test_an_agent_is_seen_as_its_stream_has_it() -> None:
    async with running(agent := writer()) as orchestrator:
        assert await orchestrator.get_agent_state("writer") is AgentState.IDLE
        await orchestrator.execute_workflow(CHAIN)
        agent.suspend()
        await orchestrator.stop()
        assert await orchestrator.get_agent_state("writer") is AgentState.SUSPENDED
        assert await orchestrator.get_agent_state("writer", at_version=1) is AgentState.PROCESSING


@in_virtual_time
async def test_a_view_is_folded_from_the_log_and_says_how_far_it_is_complete() -> None:
    store = MemoryStore()
    for number in range(1_200):
        await store.append("order-1", [AgenticEvent("paid", {"cents": number})])
    await store.append("order-1", [AgenticEvent("other")])

    def add(total: int, event: RecordedEvent) -> int:
        return total + int(str(event.payload["cents"]))

    paid = EventPredicate(event_types={"paid"})
    total, position = await project(store, 0, add, predicate=paid)
    assert (total, position) == (sum(range(1_200)), await store.last_position())
    assert await project(store, 0, add, predicate=paid) == (total, position)
    first = [event async for event in store.read_all(limit=2)]
    assert await project(store, 0, add, predicate=paid, upto_position=first[-1].position) == (1, first[-1].position)


@in_virtual_time
async def test_what_is_not_there_is_said() -> None:
    store = FlakyStore()
    with pytest.raises(WorkflowNotFoundError):
        await state_at(store, WorkflowGuest(), "workflow-w/1")
    async with running(writer(), store=store) as orchestrator:
        await orchestrator.execute_workflow(CHAIN, workflow_id="w")
        assert (await state_at(store, WorkflowGuest(), "workflow-w/1")).outcome is WorkflowStatus.COMPLETED
        blobs = store._blobs
        blobs.clear()
        with pytest.raises(CorruptStore, match="is gone"):
            await orchestrator.get_execution("w", at_version=3)
