"""Whoever looks at agents in a workflow of somebody else: from now until the end, task by task."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, WorkflowHandle, tool
from agenticflow.agents import StreamingHelper
from agenticflow.agents.loop.results import Spoken, ToolCalled, ToolReturned, TurnBegan
from agenticflow.agents.model.deltas import TextDelta
from agenticflow.errors import PermanentError, StoreUnavailable, WorkflowExecutionError
from agenticflow.testing import ScriptedModel, call_tool

BOTH = WorkflowDefinition(
    [TaskDefinition(name, "guide", "say", {"prompt": name}) for name in ("tea", "milk")], name="both"
)


@tool
def look(what: str) -> str:
    """Look at something."""
    return f"{what} is fine"


def guide() -> Agent:
    def speak(request: Any) -> Any:
        last = request.messages[-1]
        return f"so {last.results[0].content}" if last.results else call_tool("look", what=last.text)

    return Agent("guide", instructions="x", tools=[look], model=ScriptedModel(speak, piece_chars=4))


async def seen_of(handle: WorkflowHandle) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = defaultdict(list)
    async for update in handle.updates():
        match update:
            case TurnBegan(turn=turn):
                seen[update.task].append(f"turn {turn}")
            case Spoken(delta=TextDelta(text=text)):
                seen[update.task].append(text)
            case ToolCalled(name=name) | ToolReturned(name=name):
                seen[update.task].append(name)
            case _:
                continue
    return dict(seen)


async def test_agents_of_a_workflow_are_seen_piece_by_piece_and_told_apart_by_their_tasks() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(guide())
        handle = await orchestrator.start_workflow(BOTH)
        first, second = await asyncio.gather(seen_of(handle), seen_of(handle))
        assert first == second, "several may look"
        assert first["tea"] == ["turn 1", "look", "look", "turn 2", "so t", "ea i", "s fi", "ne"]
        assert "".join(first["milk"][4:]) == "so milk is fine"
        assert await handle.result() == {"tea": "so tea is fine", "milk": "so milk is fine"}
        assert await seen_of(handle) == {}, "it is over"


async def test_a_helper_follows_a_whole_workflow() -> None:
    events: list[Any] = []
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(guide())
        handle = await orchestrator.start_workflow(BOTH)
        await StreamingHelper(event_callback=events.append).follow(handle.updates())
    assert {event["type"] for event in events} == {"agent_start", "tool_call", "tool_result", "token"}


async def test_who_leaves_early_is_forgotten_and_the_run_goes_on() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        agent = guide()
        orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(BOTH)
        loops: Any = agent._loops()
        async for _ in (updates := aiter(handle.updates())):
            assert loops.get().updates.are_wanted(handle.workflow_id)
            break
        await updates.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert not loops.get().updates.are_wanted(handle.workflow_id)
        assert len(await handle.result()) == 2  # type: ignore[arg-type]  # it is a mapping


async def test_a_run_that_fails_ends_what_is_seen_of_it() -> None:
    broken = Agent("guide", instructions="x", model=ScriptedModel([PermanentError("no")]))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(broken)
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("a", "guide", "say")]))
        assert await seen_of(handle) == {"a": ["turn 1"]}
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
    with pytest.raises(StoreUnavailable, match="is not started"):
        handle.updates()


async def test_an_orchestrator_that_stops_ends_what_is_seen() -> None:
    stuck = Agent("guide", instructions="x", model=ScriptedModel(["a"], first_seconds=60))
    orchestrator = Orchestrator(store="memory:")
    orchestrator.register_agent(stuck)
    handle = await orchestrator.start_workflow(BOTH)
    looking = asyncio.ensure_future(seen_of(handle))
    await asyncio.sleep(0.01)
    await orchestrator.stop(drain_seconds=0)
    assert set(await looking) <= {"tea", "milk"}
