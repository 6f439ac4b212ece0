"""Models at the SDK's port that keep their answers in the journal, and what an answer is as data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from agents import (
    AgentOutputSchemaBase,
    FunctionTool,
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
from agenticflow.agents.model.responses import Usage as OurUsage
from agenticflow.agents.spending.journalled import AskedModel
from agenticflow.agents.spending.rules import is_not_billed
from agenticflow.core import codec
from agenticflow.integrations.frameworks.openai_agents.durable.scope import current
from agenticflow.integrations.frameworks.openai_agents.errors import error_of

__all__ = ["JournalledModel", "JournalledProvider", "as_data", "completed", "from_data", "request_of", "used_in"]

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

        request = request_of(*args, **kwargs)
        return from_data(await place.loop.ask(ask, request, lambda: self._asked(request, *args, **kwargs)))

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
                request = request_of(*args, **kwargs)
                return await place.loop.ask(listen, request, lambda: self._asked(request, *args, **kwargs))
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

    def _asked(
        self,
        request: object,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> AskedModel:
        schemas = [(tool.description, tool.params_json_schema) for tool in tools if isinstance(tool, FunctionTool)]
        schemas += [(handoff.tool_description, handoff.input_json_schema) for handoff in handoffs]
        form = None if output_schema is None or output_schema.is_plain_text() else output_schema.json_schema()
        return AskedModel(
            model=_identity(self.inner),
            chars=len(codec.encode([request, schemas, form])),
            max_output_tokens=model_settings.max_tokens,
            used=used_in,
            is_refused=_is_refused,
        )

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


def used_in(data: Mapping[str, Any]) -> OurUsage | None:
    """Return what the answer that was made into ``data`` used; ``None`` when the model did not tell."""
    usage = _USAGE.validate_python(data["usage"])
    if not usage.total_tokens:
        return None
    read = usage.input_tokens_details
    return OurUsage(
        usage.input_tokens,
        usage.output_tokens,
        read.cached_tokens,
        getattr(read, "cache_write_tokens", 0),
        usage.output_tokens_details.reasoning_tokens,
    )


def _identity(model: Model) -> str:
    """Return the name of a model as tables of prices have it: ``openai:gpt-5``; ``sdk:<class>`` for one without a name."""
    ours = getattr(getattr(model, "model", None), "identity", None)
    if isinstance(ours, str):
        return ours
    name = getattr(model, "model", None)
    if not isinstance(name, str):
        return f"sdk:{type(model).__name__}"
    provider, slash, rest = name.partition("/")
    return f"{provider}:{rest}" if slash else f"openai:{name}"


def _is_refused(error: Exception) -> bool:
    return is_not_billed(error_of(error, "the model"))


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
