"""Models behind Pydantic AI's layer keep the promises of our port, and are chosen by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import openai
import pytest
from pydantic_ai import messages as said
from pydantic_ai.exceptions import ContentFilterError, ModelTimeoutError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RequestUsage

from agenticflow.agents.model import (
    FilePart,
    FinishReason,
    ImagePart,
    ModelRequest,
    ReasoningPart,
    Role,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    assistant,
    tool_results,
    user,
)
from agenticflow.agents.model import ToolCallPart as OurCall
from agenticflow.app.models import model_from
from agenticflow.errors import (
    AgenticFlowError,
    ConfigurationError,
    ContentRefused,
    ModelAnswerGarbled,
    ModelRequestRefused,
    ModelTimeout,
)
from agenticflow.integrations.models.pydantic_ai import PydanticAIModel
from agenticflow.integrations.models.pydantic_ai.writing import messages_of, settings_of
from agenticflow.testing.model_kit import ModelKit, ProviderAnswer, Says, Served
from agenticflow.testing.model_kit.asking import CONVERSATION
from agenticflow.testing.model_kit.place import said as spoken
from tests.conformance.model_servers.chat import ChatServer
from tests.conformance.test_models import served_by


class TestOverTheWire(ModelKit):
    has_signatures = False

    @asynccontextmanager
    async def serving(self, *answers: ProviderAnswer) -> AsyncIterator[Served]:
        server = ChatServer(answers)
        async with server.running():
            client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
            provider = OpenAIProvider(openai_client=client)
            model = PydanticAIModel(OpenAIChatModel("gpt-test", provider=provider), is_streaming=self.is_streaming)
            async with served_by(server, model) as served:
                yield served
            await client.close()

    async def test_a_conversation_arrives_whole_and_in_order_with_the_ids_of_its_calls(self) -> None:
        """That a tool failed is told in words, as Pydantic AI does: the wire has no place for it."""
        async with self.serving(Says(spoken("ok"))) as served:
            await served.model.respond(ModelRequest(messages=CONVERSATION))
            told = msgspec.structs.replace(
                CONVERSATION[3],
                parts=(ToolResultPart("call_a", "sunny"), ToolResultPart("call_b", '{"error":"no such place"}')),
            )
            assert served.seen[0].messages == (*CONVERSATION[:3], told, *CONVERSATION[4:])


class TestOverTheWireInOnePiece(TestOverTheWire):
    is_streaming = False
    has_pieces_of_text = False


ASKED = ModelRequest(messages=(user("hi"),), tools=(ToolSpec("look"),), tool_choice=ToolChoice.NONE)


def answering(*parts: Any, **more: Any) -> PydanticAIModel:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=list(parts), **more)

    return PydanticAIModel(FunctionModel(answer), is_streaming=False)


async def test_an_answer_comes_with_reasoning_calls_and_usage() -> None:
    usage = RequestUsage(input_tokens=7, output_tokens=5, cache_read_tokens=3, details={"reasoning_tokens": 2})
    parts = (ThinkingPart("hm", signature="s"), TextPart("well"), ToolCallPart("look", {"at": 1}, tool_call_id="c"))
    answer = await answering(*parts, usage=usage).respond(ASKED)
    assert (answer.reasoning, answer.text, answer.tool_calls) == ("hm", "well", (OurCall("c", "look", {"at": 1}),))
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_input_tokens, answer.usage.reasoning_tokens) == (7, 3, 2)
    stopped = await answering(TextPart("w"), ToolCallPart("look", None), finish_reason="length").respond(ASKED)
    assert stopped.finish_reason is FinishReason.LENGTH


def test_everything_that_was_said_has_its_words() -> None:
    request = ModelRequest(
        messages=(
            user("see", ImagePart(url="https://example.com/a.png"), FilePart(url="https://example.com/a.pdf")),
            assistant(
                ReasoningPart("own", "s", provider="x"), ReasoningPart("foreign", provider="y"), OurCall("c", "look")
            ),
            tool_results(ToolResultPart("c", "seen", attachments=(FilePart(b"1", "text/plain"),))),
        ),
        tools=(ToolSpec("look"),),
        forced_tool="look",
        seed=7,
        reasoning_effort="low",
    )
    first, second, third = messages_of(request, "x")
    assert isinstance(first.parts[0], said.UserPromptPart)
    assert [type(part).__name__ for part in first.parts[0].content] == ["str", "ImageUrl", "DocumentUrl"]
    assert [type(part).__name__ for part in second.parts] == ["ThinkingPart", "ToolCallPart"]
    assert [type(part).__name__ for part in third.parts] == ["ToolReturnPart", "UserPromptPart"]
    assert settings_of(request) == {"seed": 7, "thinking": "low", "tool_choice": ["look"]}
    assert request.messages[0].role is Role.USER


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ContentFilterError("no"), ContentRefused),
        (ModelTimeoutError("m", "late"), ModelTimeout),
        (UnexpectedModelBehavior("strange"), ModelAnswerGarbled),
        (UserError("wrong"), ModelRequestRefused),
        (KeyError("choices"), ModelAnswerGarbled),
    ],
)
async def test_what_goes_wrong_is_ours(raised: Exception, kind: type[AgenticFlowError]) -> None:
    def refuse(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise raised

    with pytest.raises(kind):
        await PydanticAIModel(FunctionModel(refuse), is_streaming=False).respond(ASKED)


async def test_models_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await model_from("pydantic-ai:test?stream=false").respond(ModelRequest(messages=(user("hi"),)))
    assert answer.text == "success (no tool calls)"
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    for name, words in (
        ("pydantic-ai:groq:llama-3", "Pydantic AI cannot reach the model 'groq:llama-3'"),
        ("pydantic-ai:nobody:model", "Pydantic AI cannot reach the model 'nobody:model'"),
        ("pydantic-ai:test?base_url=http://x", "unknown option 'base_url'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            model_from(name)
    with pytest.raises(ConfigurationError, match="takes no api_key"):
        model_from("pydantic-ai:test", api_key="k")
