"""Usage of a crew of agents that the type checker must refuse, marked as in ``rejected.py``."""

from __future__ import annotations

from typing import Any

from agenticflow import Agent
from agenticflow.app.crew import AgentOrchestrator, CrewSession, Route, RoutingHelper, SafetyGuard


class NotAsync(AgentOrchestrator):
    def execute(self, query: str, session: CrewSession, context: Any) -> str:  # E: override
        return query


class TakesNoSession(AgentOrchestrator):
    async def execute(self, query: str) -> str:  # E: override
        return query


async def a_crew_is_asked_in_words(crew: AgentOrchestrator, agent: Agent) -> None:
    AgentOrchestrator("triage")  # E: arg-type
    AgentOrchestrator([agent], "crew")  # E: call-arg
    await crew.run({"query": "hello"})  # E: arg-type
    await crew.run("hello", "Ada")  # E: arg-type
    await crew.run_agent("triage", "session-1")  # E: arg-type
    await crew.run_agent("triage", retries=3)  # E: call-arg
    crew.register_guardrail("short", "length")  # E: arg-type


def rules_are_data() -> None:
    Route()  # E: call-arg
    RoutingHelper(["triage"])  # E: list-item
    SafetyGuard(10)  # E: call-arg
