"""Instructions that are made when they are needed: once, recorded, the same after a restart; also those of who takes over."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.errors import PermanentError, WorkflowExecutionError
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual


def told(model: ScriptedModel) -> list[str]:
    return [request.messages[0].text for request in model.requests]


async def test_a_restart_tells_what_was_told_and_asks_nobody_for_it() -> None:
    store, asked, made = MemoryStore(), asyncio.Event(), 0

    async def instruct(context: Any) -> str:
        nonlocal made
        await asyncio.sleep(0)
        made += 1
        return f"No. {made} for {context['user']}"

    async def hang(request: ModelRequest) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    before, after = ScriptedModel(hang), ScriptedModel(["done"])
    agent = Agent("lead", instructions=instruct, model=before)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run_stream("go", context={"user": "ada"}, workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        await orchestrator.stop(drain_seconds=0)
    again = agent.clone("lead", model=after)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(again)
        assert (await again.run("go", context={"user": "ada"}, workflow_id="one")).output == "done"
    assert told(before) == told(after) == ["No. 1 for ada"]
    assert made == 1


async def test_who_takes_over_is_instructed_then() -> None:
    async def instruct(context: Any) -> str:
        return f"close for {context}"

    closing = ScriptedModel(["closed"])
    closer = Agent("closer", instructions=instruct, model=closing)
    lead = Agent("lead", instructions="x", model=ScriptedModel([call_tool("transfer_to_closer")]), handoffs=[closer])
    assert (await lead.run("go", context="ada")).output == "closed"
    assert told(closing) == ["close for ada"]


async def test_what_goes_wrong_is_tried_again_and_what_is_for_good_is_not() -> None:
    tries = 0

    async def flaky(context: Any) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("the database is away")
        if tries == 2:
            await asyncio.Event().wait()
        return "now"

    model = ScriptedModel(["done"])
    agent = Agent("lead", instructions=flaky, model=model, loop=LoopPolicy(instructions_timeout_seconds=0.01))
    assert (await agent.run("go")).output == "done"
    assert (tries, told(model)) == (3, ["now"])

    async def never(context: Any) -> str:
        raise PermanentError("no such customer")

    with pytest.raises(WorkflowExecutionError, match="no such customer"):
        await Agent("lead", instructions=never, model=model).run("go")
    assert model.asked == 1


async def test_a_plain_function_that_hangs_fails_its_attempt_and_holds_up_nobody() -> None:
    tries, go, other = 0, threading.Event(), 0

    def hanging(context: Any) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            go.wait(20)
        return "now"

    async def goes_on() -> None:
        nonlocal other
        while True:
            other += 1
            await asyncio.sleep(0.001)

    model = ScriptedModel(["done"])
    agent = Agent("lead", instructions=hanging, model=model, loop=LoopPolicy(instructions_timeout_seconds=0.1))
    beside = asyncio.ensure_future(goes_on())
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("go", workflow_id="one")
        kinds = [event.event_type async for event in orchestrator.store.read_stream("workflow-one/1")]
    go.set()
    beside.cancel()
    assert (result.output, tries, told(model)) == ("done", 2, ["now"])
    assert kinds.count("task_retry_scheduled") == 1
    assert other > 20


def test_plain_functions_are_waited_for_in_virtual_time() -> None:
    async def main() -> tuple[str, float]:
        model = ScriptedModel(["done"])
        agent = Agent("lead", instructions=lambda context: f"for {context}", model=model)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = loop.clock
        async with Orchestrator(store="memory:", clock=clock) as orchestrator:
            orchestrator.register_agent(agent)
            await agent.run("go", context="ada")
        return told(model)[0], clock.elapsed_seconds

    made, seconds = run_virtual(main())
    assert made == "for ada"
    assert seconds < 1, "time stood still meanwhile"
