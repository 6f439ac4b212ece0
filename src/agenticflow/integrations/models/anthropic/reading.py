"""Events of the messages format, and whole answers, as our deltas. Pure.

Blocks and events of a kind that is not known are passed over, as the format asks of its readers; what does not fit the shape of a known
one is ``ModelAnswerGarbled``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from agenticflow.agents.model.deltas import (
    Delta,
    ReasoningDelta,
    ResponseBegan,
    ResponseFinished,
    TextDelta,
    ToolCallDelta,
    UsageTold,
)
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.errors import ModelAnswerGarbled
from agenticflow.integrations.models.anthropic.writing import PROVIDER

__all__ = ["EventReader", "WholeReader"]

_T = TypeVar("_T")


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    """A part of an answer, or a delta of one."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str | None = None
    data: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, object] | None = None
    partial_json: str = ""
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None


_REASONS: Final = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


class EventReader:
    """Reads one answer, event by event."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._usage = _Usage()
        self.is_finished = False

    def read(self, event: object) -> Iterator[Delta]:
        """Yield what is in one event. Raises ``ModelAnswerGarbled``."""
        told = self._converted(event, _Event)
        if told.message is not None:
            yield ResponseBegan(PROVIDER, told.message.model or self._model, told.message.id)
            yield from self._used(told.message.usage)
        if told.type == "content_block_start" and told.content_block is not None:
            yield from _opened(told.index, told.content_block)
        elif told.type == "content_block_delta" and told.delta is not None:
            yield from _continued(told.index, told.delta)
        elif told.type == "message_delta":
            yield from self._used(told.usage)
            if told.delta is not None and told.delta.stop_reason:
                yield from self._finished(told.delta.stop_reason)

    def _converted(self, data: object, kind: type[_T]) -> _T:
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise ModelAnswerGarbled(
                f"{PROVIDER} answered for {self._model!r} with what is no message: {error}"
            ) from error

    def _used(self, told: _Usage | None) -> Iterator[Delta]:
        """Put what was told together with what was told before: later events only name what has changed."""
        if told is None:
            return
        for name in _Usage.__struct_fields__:
            value = getattr(told, name)
            if value is not None:
                setattr(self._usage, name, value)
        usage = self._usage
        cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        details = usage.output_tokens_details or _OutputDetails()
        yield UsageTold(
            Usage(
                input_tokens=(usage.input_tokens or 0) + cached + written,
                output_tokens=usage.output_tokens or 0,
                cached_input_tokens=cached,
                cache_write_tokens=written,
                reasoning_tokens=details.thinking_tokens or 0,
            )
        )

    def _finished(self, reason: str) -> Iterator[Delta]:
        if not self.is_finished:
            self.is_finished = True
            yield ResponseFinished(_REASONS.get(reason, FinishReason.OTHER))


class WholeReader(EventReader):
    """Reads one answer that comes in one piece."""

    def read(self, answer: object) -> Iterator[Delta]:
        told = self._converted(answer, _Message)
        yield ResponseBegan(PROVIDER, told.model or self._model, told.id)
        for index, block in enumerate(told.content):
            yield from _opened(index, block)
            if block.type == "tool_use" and block.input:
                yield ToolCallDelta(index, arguments=msgspec.json.encode(block.input).decode())
        yield from self._used(told.usage)
        if told.stop_reason:
            yield from self._finished(told.stop_reason)


def _opened(index: int, block: _Block) -> Iterator[Delta]:
    if block.type == "text" and block.text:
        yield TextDelta(index, block.text)
    elif block.type == "thinking":
        yield ReasoningDelta(index, block.thinking, block.signature or "")
    elif block.type == "redacted_thinking":
        yield ReasoningDelta(index, sealed=block.data)
    elif block.type == "tool_use":
        yield ToolCallDelta(index, block.id, block.name)


def _continued(index: int, delta: _Block) -> Iterator[Delta]:
    if delta.type == "text_delta":
        yield TextDelta(index, delta.text)
    elif delta.type == "thinking_delta":
        yield ReasoningDelta(index, delta.thinking)
    elif delta.type == "signature_delta":
        yield ReasoningDelta(index, signature=delta.signature or "")
    elif delta.type == "input_json_delta":
        yield ToolCallDelta(index, arguments=delta.partial_json)
