"""An orchestrator that is closed is let go, with the agents that worked for it and the clients of their models."""

from __future__ import annotations

import gc
import weakref

from agenticflow import Agent, Orchestrator
from agenticflow.testing import ScriptedModel


async def worked() -> list[weakref.ref[object]]:
    model = ScriptedModel(["fine"])
    agent = Agent("writer", instructions="Write.", model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        assert (await agent.run("go")).output == "fine"
        return [weakref.ref(one) for one in (agent, model, orchestrator, orchestrator.store)]


async def test_nothing_is_kept_of_an_orchestrator_that_is_closed() -> None:
    left = await worked()
    gc.collect()
    assert [one() for one in left] == [None] * 4
