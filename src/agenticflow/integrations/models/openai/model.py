"""A model behind the chat-completions format: asks through the official client, maps its errors, never repeats by itself."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx2
import openai

from agenticflow.agents.model.recovery import refusal, retry_after
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.core.clocks import ambient
from agenticflow.errors import AgenticFlowError, ModelRequestRefused
from agenticflow.integrations.clients import ClientModel, late, options_of_client, out_of_reach, unreadable
from agenticflow.integrations.models.openai.reading import ChunkReader, told_instead
from agenticflow.integrations.models.openai.writing import body_of
from agenticflow.integrations.transport import MAX_BODY_BYTES

__all__ = ["ChatCompletionsModel", "client", "mapped"]


def client(base_url: str, api_key: str, **options: Any) -> openai.AsyncOpenAI:
    """Return the official client, which never asks again. ``options`` are those of ``options_of_client``."""
    http = openai.DefaultAsyncHttpxClient(**options_of_client(**options))
    return openai.AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, http_client=http)


class ChatCompletionsModel(ClientModel):
    """``ChatCompletionsModel("openai", "gpt-5", base_url=…, api_key=…)``.

    ``is_streaming=False`` asks for answers in one piece, for servers that cannot do otherwise. ``limit_field`` is what the server calls
    the limit of output tokens: ``max_completion_tokens`` with OpenAI, ``max_tokens`` nearly everywhere else.
    """

    client_error: ClassVar[type[Exception]] = openai.OpenAIError

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
        super().__init__(
            provider,
            name,
            client(base_url, api_key, max_body_bytes=max_body_bytes),
            base_url=base_url,
            is_streaming=is_streaming,
            abilities=abilities or ModelAbilities(),
        )
        self._limit_field = limit_field

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        return body_of(
            request,
            self.name,
            is_streaming=self._is_streaming,
            limit_field=self._limit_field,
            has_temperature=self.abilities.has_temperature,
        )

    def _reader(self) -> ChunkReader:
        return ChunkReader(self.provider, self.name)

    async def _ask(self, body: dict[str, Any], *, stream: bool) -> Any:
        return await self._client.chat.completions.create(**body, stream=stream)

    def _mapped(self, error: Exception, *, has_begun: bool) -> AgenticFlowError:
        return mapped(self.identity, error, has_begun=has_begun)


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
            return late(model)
        case openai.APIResponseValidationError():
            return unreadable(model, error, "chat completion")
        case openai.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            return out_of_reach(model, error, has_begun=has_begun)
        case openai.APIError():
            return told_instead(model, error.code, error.type, error.message)
        case openai.OpenAIError():
            return ModelRequestRefused(f"the client of {model!r} does not take the request: {error}")
        case _:
            return unreadable(model, error, "JSON")
