"""A model as a tool: a question, an answer of the form that was asked for, and failures that say whose move it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.agents import Agent, LLMClient, ModelTool
from agenticflow.agents.model import FinishReason, ModelResponse, TextPart
from agenticflow.core.tools import Move, ToolCall, ToolResult
from agenticflow.errors import DefinitionError, ModelRateLimited
from agenticflow.testing import ScriptedModel
from agenticflow.tools import ToolPipeline, ToolRegistry


@dataclass
class Mood:
    word: str
    degree: int


async def ask(tool: ModelTool, prompt: str = "Hei") -> ToolResult:
    return await ToolPipeline().invoke(ToolCall(tool.name, {"prompt": prompt}), tools=ToolRegistry.of([tool]))


async def test_it_is_told_what_it_is_for_and_asked_with_the_prompt() -> None:
    model = ScriptedModel(["Hello"])
    tool = ModelTool("translate", model, "Put a text into English.", instructions="Translate.", temperature=0.0)
    assert (await ask(tool)).value == "Hello"
    (request,) = model.requests
    assert [(one.role, one.text) for one in request.messages] == [("system", "Translate."), ("user", "Hei")]
    assert request.temperature == 0.0
    assert (tool.definition.category, tool.definition.effect, tool.definition.timeout_seconds) == (
        "models",
        "idempotent",
        120,
    )


async def test_an_agent_calls_it_like_any_tool() -> None:
    client = LLMClient(ScriptedModel(['{"word": "glad", "degree": 7}', "not JSON", '{"word": "sad", "degree": 1}']))
    agent = Agent("reader", tools=[ModelTool("mood", client, "Find the mood of a text.", output_type=Mood)])
    assert (await agent.invoke_tool("mood", {"prompt": "hurrah"})).value == {"word": "glad", "degree": 7}
    assert (await agent.invoke_tool("mood", {"prompt": "oh no"})).value == {"word": "sad", "degree": 1}
    assert client.spending.calls == 3
    wrong = await agent.invoke_tool("mood", {"prompt": ""})
    assert wrong.error is not None
    assert wrong.error.code == "invalid_input"


async def test_what_goes_wrong_with_the_model_is_a_failure() -> None:
    def limited(_: object) -> str:
        raise ModelRateLimited("slow down", retry_after_seconds=9)

    def refused(_: object) -> ModelResponse:
        return ModelResponse(parts=(TextPart("no"),), finish_reason=FinishReason.CONTENT_FILTER)

    async def error_of(script: Any) -> tuple[str, Move, float | None]:
        agent = Agent("a", tools=[ModelTool("ask", ScriptedModel(script), "Ask.", output_type=Mood)])
        error = (await agent.invoke_tool("ask", {"prompt": "x"})).error
        assert error is not None
        return error.code, error.move, error.retry_after_seconds

    assert await error_of(limited) == ("model_rate_limited", Move.WORLD, 9)
    assert await error_of(refused) == ("content_refused", Move.CALLER, None)
    assert await error_of(["no"] * 3) == ("model_output_invalid", Move.WORLD, None)


def test_what_cannot_be_is_said_when_it_is_made() -> None:
    name: Any = "openai:gpt-5"
    with pytest.raises(DefinitionError, match="asks a model, not 'openai:gpt-5'"):
        ModelTool("ask", name, "Ask.")
    with pytest.raises(DefinitionError):
        ModelTool("ask", ScriptedModel([]), "Ask.", output_type=object)
    with pytest.raises(DefinitionError):
        ModelTool("ask", ScriptedModel([]), "")
    assert ModelTool("ask", ScriptedModel([]), "Ask.", options={"timeout": 5}).definition.timeout_seconds == 5
