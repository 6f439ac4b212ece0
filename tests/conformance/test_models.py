"""Every model keeps the same promises, over every wire format: a backend's test is a factory and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import pytest

from agenticflow.agents.model import (
    Delta,
    FinishReason,
    Model,
    ModelRequest,
    ModelResponse,
    ResponseFinished,
    ResponseFold,
    Role,
    ToolCallDelta,
)
from agenticflow.agents.model.permission import Permission
from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.errors import AgenticFlowError, ModelAnswerGarbled, ModelUnavailable
from agenticflow.integrations.models.anthropic import AnthropicModel
from agenticflow.integrations.models.openai import ChatCompletionsModel, writing
from agenticflow.integrations.models.openai.reading import ChunkReader
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


# --- the kit finds what is broken ---------------------------------------------------------------------------------------


class Kit(TestChatCompletions):
    __test__ = False
    patience_seconds: ClassVar[float] = 5.0


class TakesHalves(ResponseFold):
    def response(self) -> ModelResponse:
        if not self.is_finished:
            self.add(ResponseFinished(FinishReason.STOP))
        return super().response()


class ForgetsIds(ChunkReader):
    def read(self, chunk: object) -> Iterator[Delta]:
        for delta in super().read(chunk):
            yield msgspec.structs.replace(delta, call_id="x") if isinstance(delta, ToolCallDelta) else delta


class EndsTwice(ChunkReader):
    def read(self, chunk: object) -> Iterator[Delta]:
        for delta in super().read(chunk):
            yield delta
            if isinstance(delta, ResponseFinished):
                yield delta


class AllowsEverything(Permission):
    def demand(self, model: str, url: str) -> None:
        return None


def never_again(headers: Mapping[str, str], now_ns: int) -> float | None:
    return None


def all_the_same(model: str, status: int, **more: object) -> AgenticFlowError:
    return ModelUnavailable(f"{model!r} is broken")


def without_results(request: ModelRequest, *arguments: Any, **options: Any) -> dict[str, object]:
    kept = tuple(message for message in request.messages if message.role is not Role.TOOL)
    return writing.body_of(msgspec.structs.replace(request, messages=kept), *arguments, **options)


ADAPTER = "agenticflow.integrations.models.openai.model"
FOLD = "agenticflow.agents.model.deltas.ResponseFold"
BROKEN: list[tuple[str, object, str]] = [
    (FOLD, TakesHalves, "test_an_answer_that_breaks_off_anywhere_is_an_error_and_never_half_an_answer"),
    (f"{ADAPTER}.ChunkReader", ForgetsIds, "test_tool_calls_come_with_ids_names_and_decoded_arguments"),
    (f"{ADAPTER}.ChunkReader", EndsTwice, "test_a_stream_begins_once_ends_once_and_tells_only_usage_after_it"),
    ("agenticflow.integrations.clients.permission", AllowsEverything(), "test_a_forbidden_call_is_refused_and_nothing_is_sent"),
    (f"{ADAPTER}.retry_after", never_again, "test_when_to_ask_again_is_told"),
    (f"{ADAPTER}.refusal", all_the_same, "test_each_refusal_has_its_error_and_says_what_helps"),
    (f"{ADAPTER}.body_of", without_results, "test_a_conversation_arrives_whole_and_in_order_with_the_ids_of_its_calls"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "broken", "case"), BROKEN, ids=[row[2] for row in BROKEN])
async def test_the_kit_finds(where: str, broken: object, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, broken)
    with pytest.raises((AssertionError, AgenticFlowError)):
        await getattr(Kit(), case)()


async def test_the_kit_finds_a_connection_that_is_never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stays_open(stream: object) -> None:
        return None

    class Leaky(Kit):
        patience_seconds: ClassVar[float] = 0.5

    monkeypatch.setattr("openai.AsyncStream.close", stays_open)
    monkeypatch.setattr("httpx2.Response.aclose", stays_open)
    with pytest.raises(TimeoutError):
        await Leaky().test_who_listens_no_more_closes_the_connection()


def test_the_kit_has_a_case_for_every_promise() -> None:
    cases = [name for name in dir(ModelKit) if name.startswith("test_")]
    assert len(cases) >= 25
    assert {row[2] for row in BROKEN} <= set(cases)
