"""Models at the SDK's port that keep their answers in the journal, and what an answer is as data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types.responses import Response, ResponseCompletedEvent
from pydantic import TypeAdapter

from agenticflow.agents.model.permission import permission
from agenticflow.core import codec
from agenticflow.integrations.frameworks.openai_agents.durable.scope import current

__all__ = ["JournalledModel", "JournalledProvider", "as_data", "completed", "from_data", "request_of"]

_ITEMS: Final[TypeAdapter[list[TResponseOutputItem]]] = TypeAdapter(list[TResponseOutputItem])
_USAGE: Final[TypeAdapter[Usage]] = TypeAdapter(Usage)
BUFFERED_EVENTS: Final = 1_000
"""Events of a stream that wait for whoever reads it."""


class JournalledModel(Model):
    """Asks ``inner`` what the journal does not have. Outside of a durable run it only passes on."""

    def __init__(self, inner: Model) -> None:
        self.inner = inner

    def _demand(self) -> None:
        """Raise ``ModelCallsForbidden`` where real models may not be asked."""
        client = getattr(self.inner, "_client", None)  # of the SDK's own models; others are programs
        if client is not None:
            permission.demand(str(getattr(self.inner, "model", self.inner)), str(getattr(client, "base_url", "")))

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        place = current()
        if place is None:
            return await self.inner.get_response(*args, **kwargs)

        async def ask() -> object:
            self._demand()
            return as_data(await self.inner.get_response(*args, **kwargs))

        return from_data(await place.loop.ask(ask, request_of(*args, **kwargs)))

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        place = current()
        if place is None:
            async for event in self.inner.stream_response(*args, **kwargs):
                yield event
            return
        events: asyncio.Queue[TResponseStreamEvent | None] = asyncio.Queue(BUFFERED_EVENTS)

        async def listen() -> object:
            self._demand()
            whole: ModelResponse | None = None
            async for event in self.inner.stream_response(*args, **kwargs):
                if isinstance(event, ResponseCompletedEvent):
                    whole = _response_in(event.response)
                await events.put(event)
            if whole is None:
                raise ConnectionError("the model's stream ended before its answer was whole")
            return as_data(whole)

        async def ask() -> Any:
            try:
                return await place.loop.ask(listen, request_of(*args, **kwargs))
            finally:
                await events.put(None)

        asking = asyncio.ensure_future(ask())
        try:
            while (said := await events.get()) is not None:
                # The whole answer is told when it is recorded: what follows from it must not happen before.
                if not isinstance(said, ResponseCompletedEvent):
                    yield said
            answer = from_data(await asking)
        finally:
            asking.cancel()
        yield completed(answer)

    def get_retry_advice(self, request: Any) -> Any:
        return self.inner.get_retry_advice(request)

    async def close(self) -> None:
        await self.inner.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self.inner._cleanup_on_run_end(owner)


class JournalledProvider(ModelProvider):
    """Gives models that keep a journal."""

    def __init__(self, inner: ModelProvider) -> None:
        self.inner = inner

    def get_model(self, model_name: str | None) -> Model:
        return JournalledModel(self.inner.get_model(model_name))

    async def aclose(self) -> None:
        await self.inner.aclose()


def as_data(response: ModelResponse) -> dict[str, object]:
    """Return an answer as plain data."""
    items = [
        item if isinstance(item, Mapping) else item.model_dump(mode="json", exclude_unset=True)
        for item in response.output
    ]
    return {
        "output": items,
        "usage": _USAGE.dump_python(response.usage, mode="json"),
        "response_id": response.response_id,
        "request_id": response.request_id,
    }


def from_data(data: Mapping[str, Any]) -> ModelResponse:
    """Return the answer that was made into ``data``."""
    return ModelResponse(
        output=_ITEMS.validate_python(data["output"]),
        usage=_USAGE.validate_python(data["usage"]),
        response_id=data["response_id"],
        request_id=data["request_id"],
    )


def request_of(
    system_instructions: str | None,
    input: str | list[TResponseInputItem],
    model_settings: ModelSettings,
    tools: list[Tool],
    output_schema: AgentOutputSchemaBase | None,
    handoffs: list[Handoff[Any, Any]],
    tracing: ModelTracing | None = None,
    *,
    previous_response_id: str | None = None,
    conversation_id: str | None = None,
    prompt: Any = None,
) -> dict[str, object]:
    """Return what a model is asked as far as its answer depends on it."""
    settings = {
        name: value for name, value in model_settings.to_json_dict().items() if value is not None and name != "retry"
    }
    return {
        "instructions": system_instructions,
        "input": [input] if isinstance(input, str) else [_plain(item) for item in input],
        "settings": settings,
        "tools": sorted(tool.name for tool in tools),
        "handoffs": sorted(handoff.tool_name for handoff in handoffs),
        "output": None if output_schema is None else output_schema.name(),
        "previous_response_id": previous_response_id,
        "conversation_id": conversation_id,
    }


def _plain(item: Any) -> object:
    return codec.decode(codec.encode(item))


def _response_in(response: Response) -> ModelResponse:
    usage = Usage()
    if response.usage is not None:
        usage = Usage(
            requests=1,
            input_tokens=response.usage.input_tokens,
            output_tokens=response.usage.output_tokens,
            total_tokens=response.usage.total_tokens,
            input_tokens_details=response.usage.input_tokens_details,
            output_tokens_details=response.usage.output_tokens_details,
        )
    return ModelResponse(output=list(response.output), usage=usage, response_id=response.id)


def completed(answer: ModelResponse) -> ResponseCompletedEvent:
    """Return the event that ends a stream with this answer."""
    usage = answer.usage
    response = Response.model_validate(
        {
            "id": answer.response_id or "journal",
            "created_at": 0,
            "model": "journal",
            "object": "response",
            "output": [item if isinstance(item, Mapping) else item.model_dump(mode="json") for item in answer.output],
            "tool_choice": "auto",
            "tools": [],
            "parallel_tool_calls": True,
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "input_tokens_details": usage.input_tokens_details.model_dump(),
                "output_tokens_details": usage.output_tokens_details.model_dump(),
            },
        }
    )
    return ResponseCompletedEvent(response=response, sequence_number=0, type="response.completed")
