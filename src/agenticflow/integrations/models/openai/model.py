"""A model behind the chat-completions format: asks through the official client, maps its errors, never repeats by itself."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import openai

from agenticflow.agents.model.deltas import Delta
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.core.clocks import ambient
from agenticflow.errors import (
    AgenticFlowError,
    ModelAnswerGarbled,
    ModelRequestRefused,
    ModelStreamCut,
    ModelTimeout,
    ModelUnavailable,
)
from agenticflow.integrations.models.openai.reading import ChunkReader
from agenticflow.integrations.models.openai.writing import body_of
from agenticflow.integrations.transport import MAX_BODY_BYTES, bound_in, bounding_hooks, certificates

__all__ = ["ChatCompletionsModel"]

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 600.0
"""Between two signs of life. The time limits of a call are its guards'; this one ends what nobody waits for."""


class ChatCompletionsModel(Model):
    """``ChatCompletionsModel("openai", "gpt-5", base_url=…, api_key=…)``.

    ``is_streaming=False`` asks for answers in one piece, for servers that cannot do otherwise. ``limit_field`` is what the server calls
    the limit of output tokens: ``max_completion_tokens`` with OpenAI, ``max_tokens`` nearly everywhere else.
    """

    def __init__(
        self,
        provider: str,
        name: str,
        *,
        base_url: str,
        api_key: str,
        is_streaming: bool = True,
        limit_field: str = "max_tokens",
        abilities: ModelAbilities | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.provider = provider
        self.name = name
        self.abilities = abilities or ModelAbilities()
        self.base_url = base_url
        self._is_streaming = is_streaming
        self._limit_field = limit_field
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                event_hooks=bounding_hooks(max_body_bytes),
                verify=certificates(),
                timeout=httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            ),
        )

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        permission.demand(self.identity, self.base_url)
        body: dict[str, Any] = body_of(
            request,
            self.name,
            is_streaming=self._is_streaming,
            limit_field=self._limit_field,
            has_temperature=self.abilities.has_temperature,
        )
        reader = ChunkReader(self.provider, self.name)
        has_begun = False
        try:
            async with self._asked(body) as chunks:
                async for chunk in chunks:
                    has_begun = True
                    for delta in reader.read(_plain(chunk)):
                        yield delta
                    if reader.error is not None:
                        told = reader.error
                        raise _told_instead(self.identity, told.code, told.type, told.message)
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError) as error:
            if not reader.is_finished:  # the answer is whole, whatever happens to the connection then
                raise (bound_in(error) or mapped(self.identity, error, has_begun=has_begun)) from error

    @asynccontextmanager
    async def _asked(self, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[object]]:
        """Ask, and give the chunks of the answer; the connection is closed when they are left."""
        create: Any = self._client.chat.completions.create
        if not self._is_streaming:
            yield _once(await create(**body, stream=False))
            return
        stream: openai.AsyncStream[object] = await create(**body, stream=True)
        try:
            yield aiter(stream)
        finally:
            await stream.close()

    async def close(self) -> None:
        await self._client.close()


async def _once(answer: object) -> AsyncIterator[object]:
    yield answer


def _plain(chunk: object) -> object:
    """Return a chunk as the data that came; what was no object did not become a model of the client."""
    if isinstance(chunk, openai.BaseModel):
        return chunk.to_dict(warnings=False)
    return chunk


def _told_instead(model: str, code: str | int | None, kind: str | None, words: str) -> AgenticFlowError:
    """Return our error for what a server says under the status 200, in place of an answer or in the middle of one."""
    names = [str(name) for name in (code, kind) if name]
    known = (_STATUS_OF[name] for name in names if name in _STATUS_OF)
    status = int(names[0]) if names and re.fullmatch("[45][0-9][0-9]", names[0]) else next(known, 500)
    return refusal(model, status, code=names[0] if names else "", words=words)


_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
}


def mapped(model: str, error: Exception, *, has_begun: bool) -> AgenticFlowError:
    """Return our error for one of the client, of its transport, or of reading JSON."""
    match error:
        case openai.APIStatusError():
            return refusal(
                model,
                error.status_code,
                code=error.code or error.type or "",
                words=error.message,
                retry_after_seconds=retry_after(error.response.headers, ambient.clock.now_ns()),
            )
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return ModelTimeout(f"nothing came from {model!r} in time", hint="ask again later")
        case openai.APIResponseValidationError():
            return ModelAnswerGarbled(f"{model!r} answered with what is no chat completion: {error}")
        case openai.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            if has_begun:
                return ModelStreamCut(f"the answer of {model!r} ended in the middle: {_cause(error)}")
            return ModelUnavailable(f"{model!r} is out of reach: {_cause(error)}", hint="look at its address")
        case openai.APIError():
            return _told_instead(model, error.code, error.type, error.message)
        case openai.OpenAIError():
            return ModelRequestRefused(f"the client of {model!r} does not take the request: {error}")
        case _:
            return ModelAnswerGarbled(f"{model!r} answered with what is no JSON: {error}")


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error) or type(error).__name__
