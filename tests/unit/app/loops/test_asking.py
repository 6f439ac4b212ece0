"""What a task asks of an agent, and whom the agent may hand off to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow import Agent, AgentDefinition, Orchestrator, tool
from agenticflow.agents.model import ImagePart, Message, assistant, user
from agenticflow.app.loops.request import Asked, asked_in
from agenticflow.app.loops.speakers import MAX_KNOWN, Speakers
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.testing import ScriptedModel, call_tool


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, Asked(user("write"))),
        ({"prompt": None}, Asked(user("write"))),
        ({"prompt": "go", "session_id": "ada", "context": {"a": 1}}, Asked(user("go"), "ada", {"a": 1})),
        ({"prompt": "go", "city": "Oslo", "days": [1, 2]}, Asked(user("go", '\n\n{"city":"Oslo","days":[1,2]}'))),
        ({"prompt": user("go", ImagePart(b"x", "image/png"))}, Asked(user("go", ImagePart(b"x", "image/png")))),
        ({"prompt": msgspec.to_builtins(user("go", ImagePart(url="u")))}, Asked(user("go", ImagePart(url="u")))),
        ({"prompt": {"found": 3}}, Asked(user('{"found":3}'))),
        ({"prompt": 7}, Asked(user("7"))),
    ],
)
def test_what_a_task_asks(params: dict[str, Any], expected: Asked) -> None:
    asked = asked_in("write", params)
    assert asked == expected
    assert asked.text == expected.message.text


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"prompt": "go", "session_id": 5}, "the session_id is 5"),
        ({"prompt": {"parts": "no"}}, "the prompt is no message"),
        ({"prompt": assistant("hi")}, "a message of 'assistant'"),
        ({"prompt": {"role": "tool", "parts": []}}, "a message of 'tool'"),
    ],
)
def test_what_no_task_asks(params: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        asked_in("write", params)


def test_a_picture_is_the_same_after_the_way_through_params() -> None:
    message = user("look", ImagePart(b"\x00\xff", "image/png"))
    assert isinstance(message, Message)
    assert asked_in("x", {"prompt": msgspec.to_builtins(message)}).message == message


# --- handoffs -----------------------------------------------------------------------------------------------------------


async def test_handoffs_are_agents_or_definitions() -> None:
    described = AgentDefinition("closer", "closes", "Close.", model=ScriptedModel(["closed"]))
    agent = Agent(
        "lead", instructions="x", model=ScriptedModel([call_tool("transfer_to_closer")]), handoffs=[described]
    )
    result = await agent.run("go")
    assert (result.agent, result.output) == ("closer", "closed")


async def test_what_cannot_be_handed_off_to_is_told_before_anything_is_recorded() -> None:
    unknown = Agent("lead", instructions="x", model=ScriptedModel([]), handoffs=["nobody"])
    silent = Agent("other", instructions="x", model=ScriptedModel([]), handoffs=[Agent("silent")])

    @tool
    def transfer_to_closer() -> str:
        """Be in the way."""
        return ""

    closer = Agent("closer", role="closes", model=ScriptedModel([]))
    clash = Agent("clash", instructions="x", model=ScriptedModel([]), tools=[transfer_to_closer], handoffs=[closer])
    async with Orchestrator(store="memory:") as orchestrator:
        for agent, words in ((unknown, "nobody"), (clash, "give the tool another name")):
            orchestrator.register_agent(agent)
            with pytest.raises(AgenticFlowError, match=words):
                await agent.run("go")
        assert await orchestrator.store.list_runs() == []
    with pytest.raises(DefinitionError, match="'silent' asks no model"):
        Speakers().of(Agent("silent"))
    assert silent.definition is not None


async def test_agents_made_for_each_question_are_not_kept_for_ever() -> None:
    speakers = Speakers()
    agents = [Agent(f"a{number}", instructions="x", model=ScriptedModel([])) for number in range(MAX_KNOWN + 5)]
    made = [speakers.of(agent) for agent in agents]
    assert speakers.of(agents[-1]) is made[-1]
    assert speakers.of(agents[0]) is not made[0]
    await speakers.close()
