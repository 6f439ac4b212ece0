"""Every model keeps the same promises, over every wire format: a backend's test is a factory and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from agenticflow.agents.model import Model, ModelRequest
from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.errors import ModelAnswerGarbled
from agenticflow.integrations.models.anthropic import AnthropicModel
from agenticflow.integrations.models.openai import ChatCompletionsModel
from agenticflow.testing import BrokenOff, ScriptedModel
from agenticflow.testing.model_kit import (
    BreaksOff,
    Garbles,
    HoldsBack,
    ModelKit,
    ProviderAnswer,
    Refuses,
    Says,
    Seen,
    Served,
)
from agenticflow.testing.scripted_model import Answer
from tests.conformance.model_servers.chat import ChatServer
from tests.conformance.model_servers.http import ServedModel, WireServer
from tests.conformance.model_servers.messages import MessagesServer


@asynccontextmanager
async def served_by(server: WireServer, model: Model) -> AsyncIterator[Served]:
    try:
        yield ServedModel(server, model)
    finally:
        await model.close()


class TestChatCompletions(ModelKit):
    has_signatures = False
    server: ClassVar[type[ChatServer]] = ChatServer

    @asynccontextmanager
    async def serving(self, *answers: ProviderAnswer) -> AsyncIterator[Served]:
        server = self.server(answers)
        async with server.running():
            model = ChatCompletionsModel(
                "openai", "gpt-test", base_url=f"{server.url}/v1", api_key="k", is_streaming=self.is_streaming
            )
            async with served_by(server, model) as served:
                yield served


class TestChatCompletionsInOnePiece(TestChatCompletions):
    is_streaming = False
    has_pieces_of_text = False


class OtherServer(ChatServer):
    """Ollama and newer vLLM."""

    reasoning_field = "reasoning"


class TestOtherChatCompletions(TestChatCompletions):
    server: ClassVar[type[ChatServer]] = OtherServer


class TestMessages(ModelKit):
    @asynccontextmanager
    async def serving(self, *answers: ProviderAnswer) -> AsyncIterator[Served]:
        server = MessagesServer(answers)
        async with server.running():
            model = AnthropicModel("claude-test", base_url=server.url, api_key="k", is_streaming=self.is_streaming)
            async with served_by(server, model) as served:
                yield served


class TestMessagesInOnePiece(TestMessages):
    is_streaming = False
    has_pieces_of_text = False


class Script:
    """A scripted model that answers as a provider is told to."""

    def __init__(self, answers: Sequence[ProviderAnswer]) -> None:
        self._answers = answers
        self.seen: list[Seen] = []
        self._came = asyncio.Event()
        self.model: Model = ScriptedModel(self._answer, piece_chars=3)

    async def asked(self) -> None:
        await self._came.wait()

    async def let_go(self) -> None:
        """Nothing is held that outlives who asked."""

    async def _answer(self, request: ModelRequest) -> Answer:
        answer = self._answers[min(len(self.seen), len(self._answers) - 1)]
        self.seen.append(
            Seen(
                messages=request.messages,
                tools=tuple(tool.name for tool in request.tools),
                schema=request.output.schema if request.output else None,
                temperature=request.temperature,
                max_output_tokens=request.max_output_tokens,
                stop=request.stop,
            )
        )
        self._came.set()
        match answer:
            case Says(response):
                return response
            case Refuses(status, words, written):
                waiting = retry_after({"retry-after": written}, 0)
                return refusal(self.model.identity, status, words=words, retry_after_seconds=waiting)
            case BreaksOff(response, after):
                return BrokenOff(response, after)
            case Garbles(data):
                return ModelAnswerGarbled(f"{data!r:.40} is no answer")
            case HoldsBack(response, after):
                return BrokenOff(response, after, is_silent=True)


class TestScripted(ModelKit):
    is_real = False
    has_signatures = False

    @asynccontextmanager
    async def serving(self, *answers: ProviderAnswer) -> AsyncIterator[Served]:
        yield Script(answers)
