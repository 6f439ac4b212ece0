"""Every error of a client is one of ours, and says whose move it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from agenticflow.agents.model import Model, ModelRequest, user
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ContextTooLong,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelRateLimited,
    ModelRequestRefused,
    ModelStreamCut,
    ModelTimeout,
    ModelUnavailable,
)
from agenticflow.integrations.models.anthropic.model import AnthropicModel
from agenticflow.integrations.models.anthropic.model import mapped as mapped_messages
from agenticflow.integrations.models.openai.model import ChatCompletionsModel
from agenticflow.integrations.models.openai.model import mapped as mapped_chat
from agenticflow.testing import allow_model_calls
from agenticflow.testing.model_kit import Says
from agenticflow.testing.model_kit.place import said
from tests.conformance.model_servers.chat import ChatServer
from tests.conformance.model_servers.http import WireServer, sse
from tests.conformance.model_servers.messages import MessagesServer

ASKED = ModelRequest(messages=(user("hello"),))
REQUEST = httpx2.Request("POST", "http://h.invalid/v1")


def response(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=REQUEST, headers={"retry-after": "3"})


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind, *(inner for child in kind.__subclasses__() for inner in subclasses(child))}


CHAT: dict[type[Exception], tuple[Callable[[], Exception], type[AgenticFlowError]]] = {
    openai.OpenAIError: (lambda: openai.OpenAIError("x"), ModelRequestRefused),
    openai.APIError: (lambda: openai.APIError("x", REQUEST, body=None), ModelUnavailable),
    openai.APIConnectionError: (lambda: openai.APIConnectionError(request=REQUEST), ModelUnavailable),
    openai.APITimeoutError: (lambda: openai.APITimeoutError(REQUEST), ModelTimeout),
    openai.APIResponseValidationError: (lambda: openai.APIResponseValidationError(response(200), None), ModelAnswerGarbled),
    openai.BadRequestError: (lambda: openai.BadRequestError("x", response=response(400), body=None), ModelRequestRefused),
    openai.AuthenticationError: (lambda: openai.AuthenticationError("x", response=response(401), body=None), ModelAccessDenied),
    openai.PermissionDeniedError: (lambda: openai.PermissionDeniedError("x", response=response(403), body=None), ModelAccessDenied),
    openai.NotFoundError: (lambda: openai.NotFoundError("x", response=response(404), body=None), ModelRequestRefused),
    openai.ConflictError: (lambda: openai.ConflictError("x", response=response(409), body=None), ModelUnavailable),
    openai.UnprocessableEntityError: (
        lambda: openai.UnprocessableEntityError("x", response=response(422), body=None), ModelRequestRefused,
    ),
    openai.RateLimitError: (lambda: openai.RateLimitError("x", response=response(429), body=None), ModelRateLimited),
    openai.InternalServerError: (lambda: openai.InternalServerError("x", response=response(500), body=None), ModelUnavailable),
}  # fmt: skip
MESSAGES: dict[type[Exception], tuple[Callable[[], Exception], type[AgenticFlowError]]] = {
    anthropic.AnthropicError: (lambda: anthropic.AnthropicError("x"), ModelRequestRefused),
    anthropic.APIError: (lambda: anthropic.APIError("x", REQUEST, body=None), ModelUnavailable),
    anthropic.APIConnectionError: (lambda: anthropic.APIConnectionError(request=REQUEST), ModelUnavailable),
    anthropic.APITimeoutError: (lambda: anthropic.APITimeoutError(REQUEST), ModelTimeout),
    anthropic.APIResponseValidationError: (lambda: anthropic.APIResponseValidationError(response(200), None), ModelAnswerGarbled),
    anthropic.BadRequestError: (lambda: anthropic.BadRequestError("x", response=response(400), body=None), ModelRequestRefused),
    anthropic.AuthenticationError: (lambda: anthropic.AuthenticationError("x", response=response(401), body=None), ModelAccessDenied),
    anthropic.RateLimitError: (lambda: anthropic.RateLimitError("x", response=response(429), body=None), ModelRateLimited),
    anthropic.InternalServerError: (lambda: anthropic.InternalServerError("x", response=response(500), body=None), ModelUnavailable),
    anthropic.CredentialsError: (lambda: anthropic.CredentialsError("x"), ModelAccessDenied),
}  # fmt: skip
TRANSPORT: dict[str, tuple[Exception, bool, type[AgenticFlowError]]] = {
    "connect": (httpx2.ConnectError("no route"), False, ModelUnavailable),
    "protocol": (httpx2.RemoteProtocolError("closed"), True, ModelStreamCut),
    "read": (httpx2.ReadError(""), True, ModelStreamCut),
    "timeout": (httpx2.ReadTimeout("late"), True, ModelTimeout),
    "stream": (httpx2.StreamConsumed(), True, ModelStreamCut),
    "decoding": (json.JSONDecodeError("no JSON", "x", 0), False, ModelAnswerGarbled),
    "depth": (RecursionError("deep"), False, ModelAnswerGarbled),
}


@pytest.mark.parametrize("kind", CHAT, ids=lambda kind: kind.__name__)
def test_an_error_of_the_openai_client(kind: type[Exception]) -> None:
    make, ours = CHAT[kind]
    error = make()
    assert type(error) is kind
    assert type(mapped_chat("openai:gpt", error, has_begun=False)) is ours


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_an_error_of_the_anthropic_client(kind: type[Exception]) -> None:
    make, ours = MESSAGES[kind]
    error = make()
    assert type(error) is kind
    assert type(mapped_messages("anthropic:claude", error, has_begun=False)) is ours


@pytest.mark.parametrize("name", TRANSPORT)
@pytest.mark.parametrize("mapped", [mapped_chat, mapped_messages])
def test_an_error_below_the_client(mapped: Callable[..., AgenticFlowError], name: str) -> None:
    error, has_begun, ours = TRANSPORT[name]
    found = mapped("p:m", error, has_begun=has_begun)
    assert type(found) is ours
    assert not found.message.endswith(": ")


def test_no_error_of_a_client_is_left_out() -> None:
    """Those with a status go by it, whatever their class; the others are listed above, or belong to doors that we do not use."""
    elsewhere = {
        *("InvalidWebhookSignatureError", "SubjectTokenProviderError", "OAuthError", "LengthFinishReasonError"),
        *("ContentFilterFinishReasonError", "WebSocketConnectionClosedError", "WebSocketQueueFullError"),
        *("IdentityTokenFileError", "WorkloadIdentityError"),
    }
    for root, listed, by_status in (
        (openai.OpenAIError, CHAT, openai.APIStatusError),
        (anthropic.AnthropicError, MESSAGES, anthropic.APIStatusError),
    ):
        others = {
            kind.__name__
            for kind in subclasses(root)
            if kind not in listed and not issubclass(kind, by_status) and kind.__module__.endswith("_exceptions")
        }
        assert others <= elsewhere, others - elsewhere


# --- errors in the middle of a stream -----------------------------------------------------------------------------------


class Interrupted(ChatServer):
    def __init__(self, error: object, after: int) -> None:
        super().__init__([Says(said("Once upon a time"))])
        self.error, self.after = error, after

    def pieces(self, response: Any) -> list[bytes]:
        return [*super().pieces(response)[: self.after], sse(self.error)]


class InterruptedMessages(MessagesServer):
    def __init__(self, error: object, after: int) -> None:
        super().__init__([Says(said("Once upon a time"))])
        self.error, self.after = error, after

    def pieces(self, response: Any) -> list[bytes]:
        return [*super().pieces(response)[: self.after], sse(self.error, "error")]


@asynccontextmanager
async def asking(server: WireServer) -> AsyncIterator[Model]:
    async with server.running():
        model: Model = (
            AnthropicModel("claude", base_url=server.url, api_key="k")
            if isinstance(server, MessagesServer)
            else ChatCompletionsModel("local", "m", base_url=f"{server.url}/v1", api_key="k")
        )
        yield model
        await model.close()


CUTS: list[tuple[type[Interrupted | InterruptedMessages], dict[str, Any], type[AgenticFlowError]]] = [
    (Interrupted, {"error": {"message": "busy", "code": 503}}, ModelUnavailable),
    (Interrupted, {"error": {"message": "busy", "type": "rate_limit_error"}}, ModelRateLimited),
    (Interrupted, {"error": {"message": "maximum context length", "code": "context_length_exceeded"}}, ContextTooLong),
    (Interrupted, {"error": {"message": "?", "type": "new_error"}}, ModelUnavailable),
    (Interrupted, {"error": "busy"}, ModelUnavailable),
    (InterruptedMessages, {"type": "error", "error": {"type": "overloaded_error", "message": "?"}}, ModelUnavailable),
    (InterruptedMessages, {"type": "error", "error": {"type": "rate_limit_error", "message": "?"}}, ModelRateLimited),
    (InterruptedMessages, {"type": "error", "error": {"type": "new_error", "message": "?"}}, ModelUnavailable),
    (InterruptedMessages, {"type": "error"}, ModelUnavailable),
]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(("server", "error", "ours"), CUTS)
async def test_an_error_in_the_middle_of_a_stream_is_told(
    server: type[Interrupted | InterruptedMessages], error: dict[str, Any], ours: type[AgenticFlowError], after: int
) -> None:
    async with asking(server(error, after)) as model:
        with pytest.raises(ours) as caught:
            await model.respond(ASKED)
        assert type(caught.value) is ours


class AnswersWithAnError(ChatServer):
    """Some say so under the status 200."""

    def whole(self, response: Any) -> dict[str, Any]:
        return {"error": {"message": "busy", "code": "rate_limit_exceeded"}}


async def test_an_error_in_place_of_an_answer_is_told() -> None:
    server = AnswersWithAnError([Says(said("never"))])
    async with server.running():
        model = ChatCompletionsModel("local", "m", base_url=f"{server.url}/v1", api_key="k", is_streaming=False)
        with pytest.raises(ModelRateLimited, match="busy"):
            await model.respond(ASKED)
        await model.close()


class EndsEarly(ChatServer):
    def pieces(self, response: Any) -> list[bytes]:
        return [*super().pieces(response)[:-2], b"data: {\n\n"]


class EndsEarlyMessages(MessagesServer):
    def pieces(self, response: Any) -> list[bytes]:
        return [*super().pieces(response)[:-1], b"event: message_stop\ndata: {\n\n"]


@pytest.mark.parametrize("server", [EndsEarly, EndsEarlyMessages])
async def test_what_happens_after_the_end_of_an_answer_does_not_matter(server: type[WireServer]) -> None:
    async with asking(server([Says(said("whole"))])) as model:
        assert (await model.respond(ASKED)).text == "whole"


async def test_a_server_that_is_not_there_is_out_of_reach() -> None:
    server = ChatServer([])
    async with server.running():
        url = server.url
    for model in (
        ChatCompletionsModel("local", "m", base_url=f"{url}/v1", api_key="k"),
        AnthropicModel("claude", base_url=url, api_key="k"),
    ):
        with allow_model_calls(url), pytest.raises(ModelUnavailable, match="out of reach"):
            await model.respond(ASKED)
        await model.close()


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_an_answer_without_end_is_ended(is_streaming: bool) -> None:
    """Also one that is a single line, which the clients would read for ever."""
    long = Says(said("x" * 5_000))
    for server in (ChatServer([long]), MessagesServer([long])):
        async with server.running():
            options: dict[str, Any] = {"api_key": "k", "is_streaming": is_streaming}
            for max_bytes, is_bounded in ((1_000, True), (1_000_000, False)):
                model: Model = (
                    AnthropicModel("claude", base_url=server.url, max_body_bytes=max_bytes, **options)
                    if isinstance(server, MessagesServer)
                    else ChatCompletionsModel(
                        "local", "m", base_url=f"{server.url}/v1", max_body_bytes=max_bytes, **options
                    )
                )
                if is_bounded:
                    with pytest.raises(BoundExceeded, match=r"'127\.0\.0\.1' has more than 1,000 bytes"):
                        await model.respond(ASKED)
                else:
                    assert (await model.respond(ASKED)).text == "x" * 5_000
                await model.close()
