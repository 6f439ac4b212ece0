"""A crew whose process ends in the middle: the next one goes on, and nobody who has answered is asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agenticflow.agents import Agent
from agenticflow.agents.context import AgentContext
from agenticflow.app.crew import AgentOrchestrator, CrewSession, DraftSession, QueryContext, SafetyGuard
from agenticflow.resilience import Rate
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running, until


class Desk(AgentOrchestrator):
    """Asks one agent after the other, and keeps something of its own."""

    async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
        self.seen = [await self.run_agent("first", session, context)]
        self.seen.append(await self.run_agent("second", session, context))
        return [self.seen, context.discovered_items]


def team(calls: list[str], gate: asyncio.Event) -> list[Agent]:
    """Agents of one process: the second one answers when the gate is open."""
    first, second = Agent("first"), Agent("second")

    @first.task("run")
    async def find(query: str, context: QueryContext) -> str:
        calls.append("first")
        context.add_discovered_item("order", len(calls))
        return "found"

    @second.task("run")
    async def wait(session: DraftSession, context: QueryContext) -> str:
        calls.append("second")
        await session.add_items([{"role": "assistant", "content": "I wait"}])
        await gate.wait()
        context.add_discovered_item("order", 70)
        return f"{context.last_output} {len(await session.get_items())}"

    return [first, second]


async def test_the_next_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    store, calls = f"sqlite:///{tmp_path / 'state.db'}", list[str]()
    first_life = Desk(team(calls, asyncio.Event()), store=store)
    await first_life.start("hello", session_id="s", workflow_id="w")
    await until(lambda: calls == ["first", "second"])
    await first_life.orchestrator.stop(drain_seconds=0)
    opened = asyncio.Event()
    opened.set()
    async with Desk(team(calls, opened), store=store) as second_life:
        handle = await second_life.start("hello", session_id="s", workflow_id="w")
        assert await handle.result() == [["found", "found 3"], {"order": [1, 70]}]
        assert calls == ["first", "second", "second"], "who has answered is not asked again"
        said = [item["content"] for item in await second_life.session("s").get_items()]
        assert said == ["hello", "found", "I wait"], "what the dead attempt said was never said"
        assert not hasattr(second_life, "seen"), "each run has a copy of its own"


async def test_without_an_agent_that_a_run_has_asked_it_waits_for_it(tmp_path: Path) -> None:
    store, calls = f"sqlite:///{tmp_path / 'state.db'}", list[str]()
    first_life = Desk(team(calls, asyncio.Event()), store=store)
    handle = await first_life.start("hello", workflow_id="w")
    await until(lambda: calls == ["first", "second"])
    await first_life.orchestrator.stop(drain_seconds=0)
    opened = asyncio.Event()
    opened.set()
    first, second = team(calls, opened)
    async with Desk([first], store=store) as crew:
        handle = await crew.start("hello", workflow_id="w")

        async def says_so() -> bool:
            return any("second" in words for words in (await handle.execution()).waits_for)

        await until(says_so)
        crew.register_agent(second)
        async with asyncio.timeout(20):
            assert await handle.result() == [["found", "found 3"], {"order": [1, 70]}]


async def test_a_run_stays_on_the_version_it_began_with(tmp_path: Path) -> None:
    class NewDesk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return await self.run_agent("first", session, context)

    store, calls = f"sqlite:///{tmp_path / 'state.db'}", list[str]()
    first_life = Desk(team(calls, asyncio.Event()), store=store)
    await first_life.start("hello", workflow_id="old")
    await until(lambda: calls == ["first", "second"])
    await first_life.orchestrator.stop(drain_seconds=0)
    opened = asyncio.Event()
    opened.set()
    agents = team(calls, opened)
    async with NewDesk(agents, name="Desk", version="2", store=store) as crew:
        assert await crew.run("hello") == "found"
        old = Desk(agents, orchestrator=crew.orchestrator)
        handle = await old.start("hello", workflow_id="old")
        assert await handle.result() == [["found", "found 3"], {"order": [1, 70]}]


@in_virtual_time
async def test_a_run_that_waits_for_the_turn_of_an_agent_that_is_gone_waits_for_both() -> None:
    class Twice(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return [await self.run_agent("first"), await self.run_agent("first")]

    store, calls, safety = MemoryStore(), list[str](), SafetyGuard(agent_rates={"first": Rate(1, per_seconds=60)})
    async with running(store=store) as orchestrator:
        crew = Twice(team(calls, asyncio.Event())[:1], safety=safety, orchestrator=orchestrator)
        await crew.start("hello", workflow_id="w")
        await passes(5)
    async with running(store=store) as orchestrator:
        crew = Twice(safety=safety, orchestrator=orchestrator)
        await passes(100)
        [waiting] = (await orchestrator.get_execution("w")).waits_for
        assert "first" in waiting
        assert calls == ["first"]
        crew.register_agent(team(calls, asyncio.Event())[0])
        assert await orchestrator.wait("w") == ["found", "found"]
        assert calls == ["first", "first"]
