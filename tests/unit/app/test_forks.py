"""Time travel: another workflow that begins where a run stood, and how the two differ."""

from __future__ import annotations

import pytest

from agenticflow.agents.workers import worker
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import EffectClass
from agenticflow.errors import CommandRefused, InvalidInput, WorkflowExecutionError, WorkflowIdConflict
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, running

CALLS: list[str] = []
ONCE = RetryPolicy(max_attempts=1)


@worker("add")
async def add(value: int, context: TaskContext) -> int:
    CALLS.append(f"{context.workflow_id}:{context.task_key}")
    return value + 1


@worker("judge")
async def judge(value: int, limit: int) -> str:
    if value > limit:
        raise ValueError(f"{value} is too much")
    return "fine"


def chain(limit: str = "${limit}") -> WorkflowDefinition:
    return WorkflowDefinition(
        [
            TaskDefinition("a", "add", params={"value": "${start}"}),
            TaskDefinition("b", "add", params={"value": "${a}"}, dependencies={"a"}),
            TaskDefinition(
                "c", "judge", params={"value": "${b}", "limit": limit}, dependencies={"b"}, retry_policy=ONCE
            ),
        ],
        name="chain",
        output="${c}",
    )


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@in_virtual_time
async def test_a_failed_run_is_forked_with_another_input_and_keeps_what_was_done() -> None:
    async with running(add, judge) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(chain(), {"start": 1, "limit": 2}, workflow_id="w")
        fork = await orchestrator.fork_workflow("w", input={"start": 1, "limit": 5}, new_workflow_id="f")
        assert await fork.result() == "fine"
        assert CALLS == ["w:a", "w:b"], "nothing was done again"
        assert (await orchestrator.get_execution("w")).status.value == "FAILED"
        differences = [str(each) for each in await orchestrator.diff_workflows("w", "f")]
        assert differences == [
            "input: {'start': 1, 'limit': 2} → {'start': 1, 'limit': 5}",
            "status: FAILED → COMPLETED",
            "task 'c': status: FAILED → COMPLETED",
            "task 'c': result: - → 'fine'",
            "task 'c': error: ValueError: 3 is too much → -",
        ]
        assert await orchestrator.diff_workflows("f", "f") == []


@in_virtual_time
async def test_a_run_is_forked_where_it_stood_at_an_event() -> None:
    store = MemoryStore()
    async with running(add, judge, store=store) as orchestrator:
        await orchestrator.execute_workflow(chain(), {"start": 1, "limit": 9}, workflow_id="w")
        events = [event.event_type async for event in store.read_stream("workflow-w/1")]
        first_done = events.index("task_completed") + 1
        fork = await orchestrator.fork_workflow("w", at_version=first_done, new_workflow_id="f")
        assert await fork.result() == "fine"
        assert CALLS == ["w:a", "w:b", "f:b"]


@in_virtual_time
async def test_a_run_is_forked_from_a_task_and_with_another_definition() -> None:
    async with running(add, judge) as orchestrator:
        await orchestrator.execute_workflow(chain(), {"start": 1, "limit": 9}, workflow_id="w")
        fork = await orchestrator.fork_workflow("w", from_task="a", new_workflow_id="f")
        await fork.result()
        assert CALLS == ["w:a", "w:b", "f:b"], "a completed from_task is kept"
        other = WorkflowDefinition(
            [
                TaskDefinition("b", "add", params={"value": 40}),
                TaskDefinition("z", "add", params={"value": "${b}"}, dependencies={"b"}),
            ],
            output="${z}",
        )
        fork = await orchestrator.fork_workflow("w", definition=other, new_workflow_id="g")
        assert await fork.result() == 4, "b is kept, a and c are not in it"


@in_virtual_time
async def test_what_cannot_be_forked_is_said() -> None:
    once = WorkflowDefinition([TaskDefinition("pay", "add", params={"value": 1}, effect=EffectClass.AT_MOST_ONCE)])
    async with running(add, judge) as orchestrator:
        await orchestrator.execute_workflow(once, workflow_id="w")
        with pytest.raises(CommandRefused, match="must not run twice"):
            await orchestrator.fork_workflow("w", at_version=2)
        with pytest.raises(InvalidInput, match="there is no version 99"):
            await orchestrator.fork_workflow("w", at_version=99)
        with pytest.raises(InvalidInput, match="no task 'nobody'"):
            await orchestrator.fork_workflow("w", from_task="nobody")
        with pytest.raises(WorkflowIdConflict, match="'w' is taken"):
            await orchestrator.fork_workflow("w", new_workflow_id="w")
        fork = await orchestrator.fork_workflow("w")
        assert fork.workflow_id.startswith("w-fork-")
        assert await fork.result() == {"pay": 2}
        assert CALLS == ["w:pay"]
