"""A crew of agents killed at every point, and under simulated schedules: nobody who has answered is asked again, nothing is said twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenticflow.agents import Agent
from agenticflow.agents.context import AgentContext
from agenticflow.agents.session.session import AgentSession
from agenticflow.app.crew import AgentOrchestrator, CrewSession, DraftSession, QueryContext, SafetyGuard
from agenticflow.errors import GuardrailTripwireTriggered
from agenticflow.resilience import Rate
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import simulate
from agenticflow.testing.crashes import CrashCase, crash_search

pytestmark = pytest.mark.proof


class Desk(AgentOrchestrator):
    """Triage, two agents side by side, a refusal that is caught, an answer; its conversation outlives every process."""

    def __init__(self, agents: list[Agent], conversations: MemoryStore) -> None:
        self.conversations = conversations
        super().__init__(agents, safety=SafetyGuard(agent_rates={"expert": Rate(1, per_seconds=0.01)}), store="memory:")

    def session(self, session_id: str) -> AgentSession:
        return AgentSession(session_id, store=self.conversations)

    async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
        first = await self.run_agent("triage", session, context)
        found = await self.steps.gather(
            *(self.run_agent("expert", session, context, query=topic, key=f"expert-{topic}") for topic in first)
        )
        try:
            await self.run_agent("rude", session, context)
        except GuardrailTripwireTriggered as refused:
            found.append(refused.guardrail)
        said = len(await session.get_items())
        return [found, said, sorted(context.discovered_items["topic"])]


def case() -> CrashCase:
    conversations, answers = MemoryStore(), Counter[str]()
    triage, expert, rude = Agent("triage"), Agent("expert", concurrency=2), Agent("rude")

    @triage.task("run")
    async def sort(query: str, session: DraftSession, context: QueryContext) -> list[str]:
        await session.add_items([{"role": "user", "content": query}])
        await asyncio.sleep(0.001)
        context.add_discovered_item("topic", "tea")
        return ["cups", "tea"]

    @expert.task("run")
    async def know(query: str, context: QueryContext) -> str:
        answers[query] += 1
        await asyncio.sleep(0.001)
        context.add_discovered_item("topic", query)
        return f"all about {query}"

    @rude.task("run")
    async def shout() -> str:
        return "go away"

    crew = Desk([triage, expert, rude], conversations)
    crew.register_guardrail("polite", _is_polite, agent="rude", kinds=["output"])
    crew.register_guardrail("any", _is_polite)

    def check() -> list[str]:
        loop = asyncio.new_event_loop()
        items = loop.run_until_complete(AgentSession("s", store=conversations).get_items())
        loop.close()
        said = Counter(str(item["content"]) for item in items)
        wanted = {"Hello", "cups", "tea", "all about cups", "all about tea"}
        return [] if said == Counter(wanted) else [f"the conversation is {said}"]

    given = {"query": "Hello", "context": {"a": 1}, "session_id": "s"}
    return CrashCase(crew.workflow, agents=list(crew.agents.values()), workers=crew.services, input=given, check=check)


async def _is_polite(context: Any, value: Any) -> tuple[bool, str]:
    return "away" not in str(value), "be polite"


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=30, seed=7)
    assert not report.violations, report
    assert report.points > 80
    assert report.kills >= report.points


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=12)
    assert not report.violations, report


def test_under_simulated_schedules() -> None:
    report = simulate(case, schedules=60)
    assert not report.violations, report
