"""A model behind Pydantic AI's layer: asks through its client, maps its errors. A client of its may ask again by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

import msgspec
from pydantic_ai import exceptions as theirs
from pydantic_ai import messages as said
from pydantic_ai.models import Model as TheirModel
from pydantic_ai.models import StreamedResponse, infer_model

from agenticflow.agents.model.deltas import (
    Delta,
    ReasoningDelta,
    ResponseBegan,
    ResponseFinished,
    ResponseRestarted,
    TextDelta,
    ToolCallDelta,
    UsageTold,
)
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.errors import (
    ConfigurationError,
    ModelAnswerGarbled,
    ModelRequestRefused,
    ModelStreamCut,
    ModelUnavailable,
)
from agenticflow.integrations.models.pydantic_ai.writing import messages_of, parameters_of, settings_of
from agenticflow.integrations.refusals import refusal_in

__all__ = ["PydanticAIModel"]

_UNREADABLE: Final = (AttributeError, KeyError, NotImplementedError, RecursionError, TypeError, ValueError)
"""What clients stumble over in a body that does not speak the protocol, or cannot do."""
_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_call": FinishReason.TOOL_CALLS,
}


class PydanticAIModel(Model):
    """``PydanticAIModel("groq:llama-3.3-70b-versatile")``, or a model of Pydantic AI as it is.

    ``is_streaming=False`` asks for answers in one piece. Raises ``ConfigurationError`` for a name that Pydantic AI does not know, for a
    provider whose client is not installed, and for a key that is not there.
    """

    def __init__(
        self, model: TheirModel | str, *, is_streaming: bool = True, abilities: ModelAbilities | None = None
    ) -> None:
        try:
            self._model = infer_model(model)
        except (theirs.UserError, ImportError, ValueError) as error:
            raise ConfigurationError(
                f"Pydantic AI cannot reach the model {model!r}: {error}",
                hint='write pydantic-ai:groq:…, set its key, and install its client: "pydantic-ai-slim[groq]"',
            ) from error
        self.provider = self._model.system
        self.name = self._model.model_name
        self.abilities = abilities or ModelAbilities(
            has_output_schemas=bool(self._model.profile.get("supports_json_schema_output", False))
        )
        self._is_streaming = is_streaming

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        address = self._model.base_url
        if address is not None:  # models that are programs have none
            permission.demand(self.identity, address)
        asked = messages_of(request, self.provider), settings_of(request), parameters_of(request)
        try:
            if self._is_streaming:
                async with (
                    self._model.request_stream(*asked) as stream,
                    aclosing(self._spoken(stream, is_far=address is not None)) as deltas,
                ):
                    async for delta in deltas:
                        yield delta
                return
            answer = await self._model.request(*asked)
        except (theirs.AgentRunError, theirs.UserError, *_UNREADABLE) as error:
            raise self._mapped(error) from error
        yield ResponseBegan(self.provider, answer.model_name or self.name, answer.provider_response_id or "")
        for delta in _whole(answer):
            yield delta
        for delta in self._end(answer):
            yield delta

    async def _spoken(self, stream: StreamedResponse, *, is_far: bool) -> AsyncGenerator[Delta, None]:
        is_replaced = has_begun = False
        begun: set[int] = set()
        async with aclosing(self._heard(stream)) as events:
            async for event in events:
                if not has_begun:  # only now is it known whose answer it is
                    has_begun = True
                    yield ResponseBegan(
                        self.provider, stream.model_name or self.name, stream.provider_response_id or ""
                    )
                if isinstance(event, said.PartStartEvent):
                    is_replaced |= event.index in begun
                    begun.add(event.index)
                    for delta in _part(event.index, event.part):
                        yield delta
                elif isinstance(event, said.PartDeltaEvent):
                    for delta in _more(event.index, event.delta):
                        yield delta
        answer = stream.get()
        if not has_begun:
            yield ResponseBegan(self.provider, answer.model_name or self.name, answer.provider_response_id or "")
        # Of a stream in OpenAI's format that ends without a reason Pydantic AI says "stop": half an answer would pass for a whole one.
        has_reason = getattr(stream, "_has_finish_reason", answer.finish_reason is not None)
        if answer.state != "complete" or (is_far and not has_reason):
            raise ModelStreamCut(f"{self.identity!r} ended in the middle of its answer")
        if is_replaced:  # what was said of a part was taken back
            yield ResponseRestarted("a part was said anew")
            for delta in _whole(answer):
                yield delta
        for delta in self._end(answer):
            yield delta

    async def _heard(self, stream: StreamedResponse) -> AsyncGenerator[said.ModelResponseStreamEvent, None]:
        """Yield the events of an answer that has begun: a connection that ends here was cut."""
        try:
            async for event in stream:
                yield event
        except theirs.ModelAPIError as error:
            found = self._mapped(error)
            if type(found) is not ModelUnavailable:
                raise found from error
            raise ModelStreamCut(f"{self.identity!r} broke off its answer: {error}") from error

    def _end(self, answer: said.ModelResponse) -> Iterator[Delta]:
        used = answer.usage
        if used.input_tokens or used.output_tokens:
            yield UsageTold(
                Usage(
                    used.input_tokens,
                    used.output_tokens,
                    used.cache_read_tokens,
                    used.cache_write_tokens,
                    used.details.get("reasoning_tokens", 0),
                )
            )
        has_calls = any(isinstance(part, said.ToolCallPart) for part in answer.parts)
        usual = FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP
        reason = _REASONS.get(answer.finish_reason, FinishReason.OTHER) if answer.finish_reason else usual
        yield ResponseFinished(reason)

    def _mapped(self, error: Exception) -> Exception:
        if isinstance(error, theirs.ModelAPIError) and isinstance(error.__cause__, ValueError):
            return ModelAnswerGarbled(f"{self.identity!r} answered what is no JSON: {error}")
        found = refusal_in(error)
        if found is not None:
            return found
        if isinstance(error, (AttributeError, KeyError, RecursionError, TypeError, ValueError)):
            return ModelAnswerGarbled(f"{self.identity!r} answered what its client cannot read: {error!r}")
        if isinstance(error, (theirs.UserError, NotImplementedError)):
            return ModelRequestRefused(f"{self.identity!r} cannot be asked like that: {error}")
        if isinstance(error, theirs.UnexpectedModelBehavior):
            return ModelAnswerGarbled(f"{self.identity!r} answered what its client cannot read: {error}")
        return error


def _whole(answer: said.ModelResponse) -> Iterator[Delta]:
    for index, part in enumerate(answer.parts):
        yield from _part(index, part)


def _part(index: int, part: said.ModelResponsePart) -> Iterator[Delta]:
    match part:
        case said.TextPart():
            yield TextDelta(index, part.content)
        case said.ThinkingPart():
            yield ReasoningDelta(index, part.content, part.signature or "")
        case said.ToolCallPart():
            yield ToolCallDelta(index, part.tool_call_id, part.tool_name, _written(part.args))
        case _:
            return  # what only a provider's own tools say


def _more(index: int, delta: object) -> Iterator[Delta]:
    match delta:
        case said.TextPartDelta():
            yield TextDelta(index, delta.content_delta)
        case said.ThinkingPartDelta():
            signature = delta.signature_delta or ""
            yield ReasoningDelta(index, delta.content_delta or "", signature)
        case said.ToolCallPartDelta():
            yield ToolCallDelta(index, "", delta.tool_name_delta or "", _written(delta.args_delta))
        case _:
            return


def _written(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
