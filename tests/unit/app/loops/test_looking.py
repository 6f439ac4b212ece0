"""Loops as they are looked at and kept: why a run waits, liveness, verification, retention."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.facts import KIND
from agenticflow.agents.model.parts import Role
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.orchestration.waiting import InWork, words_of
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.scripted_model import Answer


async def test_it_is_said_what_an_agent_waits_for() -> None:
    asked, called, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        called.set()
        await go_on.wait()
        return "waited"

    async def speak(request: ModelRequest) -> Answer:
        if sum(message.role is Role.ASSISTANT for message in request.messages):
            return "done"
        asked.set()
        await asyncio.sleep(0.1)
        return [call_tool("wait")] * 7

    agent = Agent("patient", instructions="x", tools=[wait], model=ScriptedModel(speak))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        (found,) = (await orchestrator.why("one")).waits
        assert isinstance(found.reason, InWork)
        assert words_of(found) == (
            "task 'run' is in work at 'patient', attempt 1: 'patient' waits for its model (turn 1 of 10)"
        )
        await asyncio.wait_for(called.wait(), 5)
        (found,) = (await orchestrator.why("one", "run")).waits
        assert "'patient' calls wait, wait, wait, wait, wait and 2 more (turn 1 of 10)" in words_of(found)
        report = await orchestrator.check_liveness()
        assert report.is_alive
        assert report.open_runs == 1
        go_on.set()
        assert (await stream.result()).output == "done"
        assert not (await orchestrator.why("one")).waits


@pytest.mark.parametrize("url", ["memory:", "sqlite"])
async def test_loops_that_are_over_are_archived_and_deleted_as_runs_are(url: str, tmp_path: Path) -> None:
    agent = Agent("clerk", instructions="x", model=ScriptedModel(lambda _: "x" * 100_000))
    async with Orchestrator(store=f"sqlite:///{tmp_path / 'a.db'}" if url == "sqlite" else url) as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("go", workflow_id="one")
        compacted = await orchestrator.compact(RetentionPolicy(archive_after_days=0))
        assert compacted.archived_runs == 2, "the run, and the loop that worked for it"
        assert (await agent.run("go", workflow_id="one")) == result, "archived conversations are read as before"
        assert (await verify_store(orchestrator.store)).is_sound
        await orchestrator.compact(RetentionPolicy(delete_after_days=0, keep_last=0))
        assert await orchestrator.store.list_runs() == []
        assert (await verify_store(orchestrator.store)).is_sound
        again = await agent.run("go", workflow_id="one")
        assert again.output == result.output


async def test_a_result_is_there_without_its_conversation_when_only_that_was_deleted() -> None:
    agent = Agent("clerk", instructions="x", model=ScriptedModel(["done", "done"]))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run("go", workflow_id="one")
        for row in await orchestrator.store.list_runs(kind=KIND):
            await orchestrator.compact(RetentionPolicy(delete_after_days=0, keep_last=1))
            assert row.name == "clerk"
        result = await agent.run("go", workflow_id="one")
    assert result.output == "done"
