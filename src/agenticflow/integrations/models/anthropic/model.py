"""A model behind the messages format: asks through the official client, maps its errors, never repeats by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import anthropic
import httpx2

from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.core.clocks import ambient
from agenticflow.errors import AgenticFlowError, ModelAccessDenied, ModelRequestRefused
from agenticflow.integrations.clients import ClientModel, late, options_of_client, out_of_reach, unreadable
from agenticflow.integrations.models.anthropic.reading import EventReader, WholeReader
from agenticflow.integrations.models.anthropic.writing import PROVIDER, body_of
from agenticflow.integrations.transport import MAX_BODY_BYTES

__all__ = ["AnthropicModel"]

MAX_OUTPUT_TOKENS: Final = 8_192
"""When a request does not say: the format demands a limit, and every present model allows this one."""


class AnthropicModel(ClientModel):
    """``AnthropicModel("claude-sonnet-5", base_url=…, api_key=…)``. ``is_streaming=False`` asks for answers in one piece."""

    client_error: ClassVar[type[Exception]] = anthropic.AnthropicError

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
        http = anthropic.DefaultAsyncHttpxClient(**options_of_client(max_body_bytes))
        super().__init__(
            PROVIDER,
            name,
            anthropic.AsyncAnthropic(api_key=api_key, base_url=base_url, max_retries=0, http_client=http),
            base_url=base_url,
            is_streaming=is_streaming,
            abilities=abilities or ModelAbilities(has_temperature=False),
        )
        self._max_output_tokens = max_output_tokens

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        return body_of(request, self.name, max_tokens=self._max_output_tokens)

    def _reader(self) -> EventReader:
        return EventReader(self.name) if self._is_streaming else WholeReader(self.name)

    async def _ask(self, body: dict[str, Any], *, stream: bool) -> Any:
        return await self._client.messages.create(**body, stream=stream)

    def _mapped(self, error: Exception, *, has_begun: bool) -> AgenticFlowError:
        return mapped(self.identity, error, has_begun=has_begun)


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
            return late(model)
        case anthropic.APIResponseValidationError():
            return unreadable(model, error, "message")
        case anthropic.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            return out_of_reach(model, error, has_begun=has_begun)
        case anthropic.APIError():
            return refusal(model, 500, words=error.message)
        case anthropic.CredentialsError():
            return ModelAccessDenied(f"the key for {model!r} cannot be had: {type(error).__name__}")
        case anthropic.AnthropicError():
            return ModelRequestRefused(f"the client of {model!r} does not take the request: {error}")
        case _:
            return unreadable(model, error, "JSON")


def _told(body: object) -> tuple[str, str]:
    """Return kind and words of what the provider says about an error."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", ""
    return str(error.get("type") or ""), str(error.get("message") or "")
