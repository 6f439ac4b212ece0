"""What a definition may say of calls: a word, a tool that it has, a handoff that it has or may have."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow import Agent, tool
from agenticflow.agents import AgentDefinition
from agenticflow.agents.declared.choosing import choice_problem
from agenticflow.errors import DefinitionError
from agenticflow.testing import ScriptedModel


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return city


def search(words: str) -> str:
    """Search."""
    return words


OTHER = AgentDefinition("billing", "pays", "x")


def defined(choice: Any, **more: Any) -> AgentDefinition:
    return AgentDefinition("lead", "leads", "x", [weather, search, "look"], tool_choice=choice, **more)


@pytest.mark.parametrize("choice", ["auto", "none", "required", "weather", "search", "look"])
def test_words_and_tools_are_taken(choice: str) -> None:
    assert defined(choice).tool_choice == choice


@pytest.mark.parametrize("handoff", [OTHER, "billing", Agent("billing", role="pays", model=ScriptedModel([]))])
def test_handoffs_are_tools_too(handoff: object) -> None:
    assert defined("transfer_to_billing", handoffs=[handoff]).tool_choice == "transfer_to_billing"
    with pytest.raises(DefinitionError, match="did you mean 'transfer_to_billing'"):
        defined("transfer_to_bill", handoffs=[handoff])


def test_an_agent_that_a_function_returns_is_known_later() -> None:
    assert defined("transfer_to_anybody", handoffs=[lambda: OTHER]).tool_choice == "transfer_to_anybody"
    with pytest.raises(DefinitionError, match="no tool of the agent"):
        defined("anybody", handoffs=[lambda: OTHER])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("wether", "did you mean 'weather'?"),
        ("requird", "did you mean 'required'?"),
        ("zzzz", "there are look, search, weather"),
        ("", 'give "auto"'),
        (7, 'give "auto"'),
    ],
)
def test_what_is_no_choice_is_refused_at_once(choice: object, said: str) -> None:
    with pytest.raises(DefinitionError) as told:
        defined(choice)
    assert said in told.value.problems[0]


def test_what_excludes_itself_is_refused() -> None:
    with pytest.raises(DefinitionError, match="hands off to nobody"):
        defined("none", handoffs=[OTHER])
    with pytest.raises(DefinitionError, match="there is no tool to call"):
        AgentDefinition("lead", "leads", "x", tool_choice="required")
    assert AgentDefinition("lead", "leads", "x", tool_choice="required", handoffs=[OTHER]).tool_choice == "required"


def test_one_run_may_say_that_nothing_is_called() -> None:
    assert not choice_problem("none", ["transfer_to_billing"])


def test_the_constructor_of_an_agent_takes_it() -> None:
    agent = Agent("lead", instructions="x", model=ScriptedModel([]), tools=[weather], tool_choice="weather")
    assert agent.definition is not None
    assert agent.definition.tool_choice == "weather"
    other = agent.clone("other", tool_choice="none").definition
    assert other is not None
    assert other.tool_choice == "none"
    with pytest.raises(DefinitionError, match="tool_choice= and asks no model"):
        Agent("lead", tools=[weather], tool_choice="weather")
