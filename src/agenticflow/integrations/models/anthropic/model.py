"""A model behind the messages format: asks through the official client, maps its errors, never repeats by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import anthropic
import httpx2

from agenticflow.agents.model.deltas import Delta
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.core.clocks import ambient
from agenticflow.errors import (
    AgenticFlowError,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelRequestRefused,
    ModelStreamCut,
    ModelTimeout,
    ModelUnavailable,
)
from agenticflow.integrations.models.anthropic.reading import EventReader
from agenticflow.integrations.models.anthropic.writing import PROVIDER, body_of
from agenticflow.integrations.transport import MAX_BODY_BYTES, bound_in, bounding_hooks, certificates

__all__ = ["AnthropicModel"]

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 600.0
"""Between two signs of life. The time limits of a call are its guards'; this one ends what nobody waits for."""
MAX_OUTPUT_TOKENS: Final = 8_192
"""When a request does not say: the format demands a limit, and every present model allows this one."""


class AnthropicModel(Model):
    """``AnthropicModel("claude-sonnet-5", base_url=…, api_key=…)``. ``is_streaming=False`` asks for answers in one piece."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str,
        is_streaming: bool = True,
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
        abilities: ModelAbilities | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.provider = PROVIDER
        self.name = name
        self.abilities = abilities or ModelAbilities(has_temperature=False)
        self.base_url = base_url
        self._is_streaming = is_streaming
        self._max_output_tokens = max_output_tokens
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(
                event_hooks=bounding_hooks(max_body_bytes),
                verify=certificates(),
                timeout=httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            ),
        )

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        permission.demand(self.identity, self.base_url)
        body: dict[str, Any] = body_of(request, self.name, max_tokens=self._max_output_tokens)
        reader = EventReader(self.name)
        asked = self._pieces(body, reader) if self._is_streaming else self._whole(body, reader)
        has_begun = False
        try:
            async with aclosing(asked) as deltas:
                async for delta in deltas:
                    has_begun = True
                    yield delta
        except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError) as error:
            if not reader.is_finished:  # the answer is whole, whatever happens to the connection then
                raise (bound_in(error) or mapped(self.identity, error, has_begun=has_begun)) from error

    async def _pieces(self, body: dict[str, Any], reader: EventReader) -> AsyncGenerator[Delta, None]:
        create: Any = self._client.messages.create
        stream: anthropic.AsyncStream[object] = await create(**body, stream=True)
        try:
            async for event in stream:
                for delta in reader.read(_plain(event)):
                    yield delta
        finally:
            await stream.close()

    async def _whole(self, body: dict[str, Any], reader: EventReader) -> AsyncGenerator[Delta, None]:
        create: Any = self._client.messages.create
        for delta in reader.read_whole(_plain(await create(**body, stream=False))):
            yield delta

    async def close(self) -> None:
        await self._client.close()


def _plain(event: object) -> object:
    """Return an event as the data that came; what was no object did not become a model of the client."""
    if isinstance(event, anthropic.BaseModel):
        return event.to_dict(warnings=False)
    return event


_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def mapped(model: str, error: Exception, *, has_begun: bool) -> AgenticFlowError:
    """Return our error for one of the client, of its transport, or of reading JSON."""
    match error:
        case anthropic.APIStatusError():
            kind, words = _told(error.body)
            # an error in the middle of a stream comes under the status 200 of its beginning
            status = error.status_code if error.status_code >= 400 else _STATUS_OF.get(kind, 500)
            waiting = retry_after(error.response.headers, ambient.clock.now_ns())
            return refusal(model, status, code=kind, words=words or error.message, retry_after_seconds=waiting)
        case anthropic.APITimeoutError() | httpx2.TimeoutException():
            return ModelTimeout(f"nothing came from {model!r} in time", hint="ask again later")
        case anthropic.APIResponseValidationError():
            return ModelAnswerGarbled(f"{model!r} answered with what is no message: {error}")
        case anthropic.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            if has_begun:
                return ModelStreamCut(f"the answer of {model!r} ended in the middle: {_cause(error)}")
            return ModelUnavailable(f"{model!r} is out of reach: {_cause(error)}", hint="look at its address")
        case anthropic.APIError():
            return refusal(model, 500, words=error.message)
        case anthropic.CredentialsError():
            return ModelAccessDenied(f"the key for {model!r} cannot be had: {type(error).__name__}")
        case anthropic.AnthropicError():
            return ModelRequestRefused(f"the client of {model!r} does not take the request: {error}")
        case _:
            return ModelAnswerGarbled(f"{model!r} answered with what is no JSON: {error}")


def _told(body: object) -> tuple[str, str]:
    """Return kind and words of what the provider says about an error."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", ""
    return str(error.get("type") or ""), str(error.get("message") or "")


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error) or type(error).__name__
