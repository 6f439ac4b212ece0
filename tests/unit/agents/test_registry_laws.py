"""Whatever happens to a population, in whatever order: what holds for everybody at every moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents import Agent, AgentHealth, AgentLife, AgentRegistry, AgentState, HealthPolicy
from agenticflow.core.clocks import ManualClock
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.errors import NoHealthyAgentError
from tests.unit.agents.diary import Diary

NAMES = ("ada", "bob", "eve")
HAPPENINGS = (
    *("start", "drain", "stop", "restart", "report_failure", "report_success", "heartbeat", "mark_healthy"),
    *("mark_unhealthy", "suspend", "resume", "begin", "succeed", "fail", "check", "wait"),
)
happenings = st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.sampled_from(NAMES)), min_size=20, max_size=60)
policies = st.sampled_from(
    [
        HealthPolicy(),
        HealthPolicy(unhealthy_after_failures=2, degraded_after_failures=1),
        HealthPolicy(heartbeat_seconds=3, unhealthy_after_failures=3),
    ]
)


async def query() -> None: ...


class Town:
    """Three agents that can do the same, and what was said of them."""

    def __init__(self, policy: HealthPolicy) -> None:
        self.clock = ManualClock()
        self.diary = Diary()
        self.told: list[str] = []
        self.registry = AgentRegistry(policy=policy, clock=self.clock)
        self.registry.when_changed(self.told.append)
        self.registry.attach(self.diary)
        for name in NAMES:
            self.registry.register(Agent(name, {"sql"}, concurrency=9)).task("query")(query)

    def let(self, what: str, name: str) -> None:
        agent, now = self.registry.get(name), self.clock.now_ns()
        match what:
            case "suspend" | "resume":
                getattr(agent, what)()
            case "begin":
                agent.work_began(agent.in_work + 1, now)
            case "succeed" | "fail":
                if agent.in_work:
                    kind = OutcomeKind.SUCCEEDED if what == "succeed" else OutcomeKind.FAILED
                    agent.work_ended(agent.in_work - 1, now, Outcome(kind))
            case "wait":
                self.clock.advance(5)
            case "check":
                self.registry.check()
            case "mark_unhealthy":
                self.registry.mark_unhealthy(name, "smoke")
            case _:
                getattr(self.registry, what)(name)

    def is_well(self, name: str) -> bool:
        status = self.registry.status(name)
        return status.life is AgentLife.RUNNING and status.health is not AgentHealth.UNHEALTHY

    def events(self, name: str, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (kind, payload)
            for stream, kind, payload, _ in self.diary.entries
            if stream == f"agent-{name}" and kind in kinds
        ]


@given(policy=policies, story=happenings)
def test_who_is_chosen_is_well_and_who_is_well_is_kept(policy: HealthPolicy, story: list[tuple[str, str]]) -> None:
    town = Town(policy)
    for what, name in story:
        town.let(what, name)
        for named in NAMES:
            others = [
                other for other in NAMES if town.is_well(other) and town.registry.get(other).get_state() != "SUSPENDED"
            ]
            if town.is_well(named):
                assert town.registry.choose(named, "query", frozenset(), {}) == named
            elif others:
                assert town.registry.choose(named, "query", frozenset(), {}) in others
            else:
                with pytest.raises(NoHealthyAgentError):
                    town.registry.choose(named, "query", frozenset(), {})


@given(policy=policies, story=happenings)
def test_the_stream_tells_the_same_story(policy: HealthPolicy, story: list[tuple[str, str]]) -> None:
    town = Town(policy)
    for what, name in story:
        town.let(what, name)
    for name in NAMES:
        status = town.registry.status(name)
        changes = town.events(name, "agent_health_changed")
        healths = ["HEALTHY", *(payload["to_health"] for _, payload in changes)]
        assert [payload["from_health"] for _, payload in changes] == healths[:-1], "no change is missing"
        assert healths[-1] == status.health
        lives = [kind for kind, _ in town.events(name, "agent_started", "agent_draining", "agent_stopped")]
        expected = {"agent_started": "RUNNING", "agent_draining": "DRAINING", "agent_stopped": "STOPPED"}
        assert (expected[lives[-1]] if lives else "RUNNING") == status.life
        takes_work = status.life is AgentLife.RUNNING and status.state is not AgentState.SUSPENDED
        assert bool(town.registry.get(name).concurrency) is takes_work
        assert not (status.life is AgentLife.DRAINING and status.in_work == 0), "what has drained is stopped"


@given(policy=policies, story=happenings)
def test_everybody_who_begins_or_ceases_to_be_well_is_told_of(
    policy: HealthPolicy, story: list[tuple[str, str]]
) -> None:
    town = Town(policy)
    well = dict.fromkeys(NAMES, True)
    for what, name in story:
        town.let(what, name)
        town.registry.check()
        for other in NAMES:
            if town.is_well(other) is not well[other]:
                well[other] = not well[other]
                assert other in town.told
        town.told.clear()
