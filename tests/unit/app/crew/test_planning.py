"""Who answers a query, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agenticflow.agents.capabilities import Candidate
from agenticflow.agents.health import AgentHealth
from agenticflow.app.crew import PlanningService
from agenticflow.errors import AgentNotFoundError, DefinitionError, InvalidInput, NoHealthyAgentError


def candidate(agent_id: str, *capabilities: str, **more: Any) -> Candidate:
    return Candidate(agent_id=agent_id, capabilities=frozenset(capabilities), **more)


TEAM = [
    candidate("analyst", "data_analysis", "charts"),
    candidate("cheap-writer", "writing", cost=0.1),
    candidate("writer", "writing"),
    candidate("clerk", "billing"),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Do the data analysis, then the writing", ["analyst", "cheap-writer"]),
        ("Writing first, then a DATA ANALYSIS with charts", ["cheap-writer", "analyst"]),
        ("Only the data, please, and my invoice", ["clerk"]),
        ("I want a refund of money, billing!", ["clerk"]),
    ],
)
async def test_agents_come_in_the_order_in_which_the_query_names_what_they_can(query: str, names: list[str]) -> None:
    planning = PlanningService(words={"billing": ["Invoice", "refund of money"]})
    assert await planning.plan(query, TEAM) == names


async def test_the_only_agent_is_the_plan() -> None:
    assert await PlanningService().plan("anything", TEAM[:1]) == ["analyst"]


async def test_a_query_that_names_nothing_is_told_what_there_is() -> None:
    with pytest.raises(InvalidInput, match=r"names nothing that an agent can do \(the agents can billing, charts"):
        await PlanningService().plan("the data is nice", TEAM)


async def test_who_is_not_well_is_not_planned_with() -> None:
    ill = candidate("clerk", "billing", health=AgentHealth.UNHEALTHY)
    with pytest.raises(NoHealthyAgentError, match="no agent with 'billing' is healthy"):
        await PlanningService().plan("billing", [ill, TEAM[0]])


async def test_a_planner_of_ones_own_plans_plain_or_async() -> None:
    def plain(query: str, agents: Sequence[Candidate]) -> list[str]:
        return [agents[-1].agent_id, "writer", agents[-1].agent_id]

    async def slow(query: str, agents: Sequence[Candidate]) -> tuple[str, ...]:
        return ("analyst",)

    assert await PlanningService(plain).plan("q", TEAM) == ["clerk", "writer"]
    assert await PlanningService(slow).plan("q", TEAM) == ["analyst"]


@pytest.mark.parametrize("answer", ["writer", [], None])
async def test_a_planner_gives_a_list_of_names(answer: Any) -> None:
    with pytest.raises(InvalidInput, match="the planner gave"):
        await PlanningService(lambda query, agents: answer).plan("q", TEAM)


async def test_a_planner_names_those_who_are_there() -> None:
    with pytest.raises(AgentNotFoundError, match="did you mean 'writer'"):
        await PlanningService(lambda query, agents: ["writr"]).plan("q", TEAM)
    with pytest.raises(AgentNotFoundError, match="there are analyst, cheap-writer, clerk, writer"):
        await PlanningService(lambda query, agents: ["nobody"]).plan("q", TEAM)


async def test_a_plan_is_bounded() -> None:
    many = [candidate(f"a{number:03}") for number in range(101)]
    with pytest.raises(InvalidInput, match="a plan of 101 agents is longer than 100"):
        await PlanningService(lambda query, agents: [one.agent_id for one in agents]).plan("q", many)


def test_what_is_no_planner_and_what_are_no_words_is_told() -> None:
    wrong: Any = "plan"
    with pytest.raises(DefinitionError, match="the planner is a str"):
        PlanningService(wrong)
    with pytest.raises(DefinitionError, match="the words of capability 'billing' are 'invoice'"):
        PlanningService(words={"billing": "invoice"})
    with pytest.raises(DefinitionError, match="the words of capability 'billing'"):
        PlanningService(words={"billing": ["!"]})
