"""Work that must not run twice and says itself that nobody knows what became of it: a person decides, resuming does not repeat it."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    Orchestrator,
    OutcomeUnknown,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from agenticflow.tools import tool
from tests.unit.runtime.engine import running

CALLS: list[str] = []


@tool(effect="at_most_once", timeout="1s")
async def pay() -> None:
    """Pay."""
    CALLS.append("pay")
    await asyncio.sleep(60)


@tool(effect="at_most_once")
async def cut() -> None:
    """Pay over a bad line."""
    CALLS.append("cut")
    raise ConnectionError("the line was cut")


@tool(effect="at_most_once")
async def declined() -> None:
    """Pay with a bad card."""
    CALLS.append("declined")
    raise OutcomeUnknown("the bank does not say")


@tool(effect="idempotent", timeout="1s")
async def look() -> None:
    """Look for a payment."""
    CALLS.append("look")
    await asyncio.sleep(60)


CLERK = Agent("clerk", tools=[pay, cut, declined, look])


@CLERK.task("tool")
async def with_tool(name: str, context: TaskContext) -> object:
    return (await context.invoke_tool(name)).unwrap()


@CLERK.task("group")
async def in_a_group(name: str, context: TaskContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(with_tool(name, context))


@CLERK.task("plain")
def plain() -> None:
    CALLS.append("plain")
    raise OutcomeUnknown("nobody knows")


def leave() -> None:
    raise OutcomeUnknown("nobody knows")


CLERK.task("process", run_in="process")(leave)


def one(task_type: str, tool_name: str = "", effect: str = "at_most_once") -> WorkflowDefinition:
    params = {"name": tool_name} if tool_name else {}
    kind = EffectClass(effect)
    retry = RetryPolicy(max_attempts=2, initial_delay_seconds=0.01) if kind is EffectClass.IDEMPOTENT else None
    return WorkflowDefinition([TaskDefinition("work", "clerk", task_type, params, effect=kind, retry_policy=retry)])


async def stands(orchestrator: Orchestrator, definition: WorkflowDefinition) -> str:
    """Run until nothing goes on by itself; return what is recorded about the task that is in question then."""
    CALLS.clear()
    run = await orchestrator.start_workflow(definition, workflow_id="w")
    for _ in range(1_000):
        if await run.status() in (WorkflowStatus.NEEDS_ATTENTION, WorkflowStatus.FAILED):
            break
        await asyncio.sleep(0.05)
    assert await run.status() is WorkflowStatus.NEEDS_ATTENTION
    assert (await run.execution()).waits_for == ["somebody has to say what became of task 'work'"]
    stored = [event async for event in orchestrator.store.read_stream("workflow-w/1")]
    [unknown] = [event for event in stored if event.event_type == "task_outcome_unknown"]
    return str(unknown.payload["reason"])


@pytest.mark.parametrize(
    ("definition", "reason", "calls"),
    [
        (one("tool", "pay"), "nobody can say whether it has happened", 1),
        (one("tool", "cut"), "the line was cut", 1),
        (one("tool", "declined"), "the bank does not say", 1),
        (one("group", "declined"), "the bank does not say", 1),
        (one("plain"), "nobody knows", 1),
        (one("process"), "nobody knows", 0),
    ],
    ids=["timed out", "cut", "said so", "in a group", "plain", "process"],
)
async def test_it_waits_for_a_person_and_resuming_does_not_repeat_it(
    definition: WorkflowDefinition, reason: str, calls: int
) -> None:
    async with running(CLERK) as orchestrator:
        assert reason in await stands(orchestrator, definition)
        run = await orchestrator.resume_workflow("w")
        assert len(CALLS) == calls
        await orchestrator.resolve("w", "work", "completed", value="seen")
        assert await run.result() == {"work": "seen"}
    assert len(CALLS) == calls


@pytest.mark.parametrize(
    ("definition", "error", "calls"),
    [
        (one("plain", effect="idempotent"), "OutcomeUnknown: nobody knows", 1),
        (one("tool", "look"), "ToolExecutionTimeoutError", 1),
        (one("tool", "look", effect="idempotent"), "ToolExecutionTimeoutError", 2),
    ],
    ids=["may run twice", "its tool may", "both may"],
)
async def test_nothing_is_in_question_where_nothing_must_not_happen_twice(
    definition: WorkflowDefinition, error: str, calls: int
) -> None:
    CALLS.clear()
    async with running(CLERK) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match=error):
            await (await orchestrator.start_workflow(definition)).result()
    assert len(CALLS) == calls
