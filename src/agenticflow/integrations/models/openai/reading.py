"""Chat-completions chunks and answers as our deltas. Pure.

Lenient where servers differ, as they do: reasoning under two names, tool calls without an index or an id, a finish reason that forgets the
tool calls. Strict where an answer would be made up: what does not fit the shape is ``ModelAnswerGarbled``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

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
from agenticflow.agents.model.recovery import refusal
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.core.clocks import ambient
from agenticflow.errors import AgenticFlowError, ModelAnswerGarbled

__all__ = ["ChunkReader", "told_instead"]


class _WireError(msgspec.Struct):
    """What a server says in place of an answer, in the middle of a stream."""

    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _WireError | str | None = None


_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class ChunkReader:
    """Reads one answer, chunk by chunk."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._has_begun = False
        self._parts: dict[str, int] = {}
        """Index by what a part is: ``text``, ``reasoning``, or the tool call's own place."""
        self._call_ids: dict[int, str] = {}
        self._next_index = 0
        self._is_refused = False
        self.is_finished = False

    def read(self, chunk: object) -> Iterator[Delta]:
        """Yield what is in one chunk, or in a whole answer. Raises ``ModelAnswerGarbled``, and what a server says instead."""
        try:
            told = msgspec.convert(chunk, _Chunk)
        except msgspec.ValidationError as error:
            raise ModelAnswerGarbled(
                f"{self._provider} answered for {self._model!r} with what is no chat completion: {error}"
            ) from error
        if told.error is not None:
            instead = _WireError(told.error) if isinstance(told.error, str) else told.error
            raise told_instead(f"{self._provider}:{self._model}", instead.code, instead.type, instead.message)
        if not self._has_begun:
            self._has_begun = True
            yield ResponseBegan(self._provider, told.model or self._model, told.id or "")
        for choice in (told.choices or ())[:1]:
            yield from self._choice(choice)
        if told.usage is not None:
            yield UsageTold(_usage(told.usage))

    def _choice(self, choice: _Choice) -> Iterator[Delta]:
        said = choice.delta or choice.message
        if said is not None:
            reasoning = said.reasoning_content or said.reasoning
            if reasoning:
                yield ReasoningDelta(self._index("reasoning"), reasoning)
            for text in (said.content, said.refusal):
                if text:
                    yield TextDelta(self._index("text"), text)
            self._is_refused = self._is_refused or bool(said.refusal)
            for place, call in enumerate(said.tool_calls or ()):
                yield self._call(place, call)
        if choice.finish_reason and not self.is_finished:
            self.is_finished = True
            yield ResponseFinished(self._reason(choice.finish_reason))

    def _call(self, place: int, call: _ToolCall) -> Delta:
        name = f"call {place if call.index is None else call.index}"
        index = self._index(name)
        known = self._call_ids.get(index)
        if known and call.id and call.id != known:
            # a server that counts every call as the first one
            del self._parts[name]
            index, known = self._index(name), None
        call_id = ""
        if known is None:
            call_id = self._call_ids[index] = call.id or f"call-{ambient.ids.next_id()}"
        function = call.function or _Function()
        return ToolCallDelta(index, call_id, function.name or "", function.arguments or "")

    def _index(self, name: str) -> int:
        if name not in self._parts:
            self._parts[name] = self._next_index
            self._next_index += 1
        return self._parts[name]

    def _reason(self, written: str) -> FinishReason:
        if self._is_refused:
            return FinishReason.CONTENT_FILTER
        reason = _REASONS.get(written, FinishReason.OTHER)
        if self._call_ids and reason is FinishReason.STOP:
            return FinishReason.TOOL_CALLS
        return reason


def _usage(told: _Usage) -> Usage:
    inputs = told.prompt_tokens_details or _InputDetails()
    outputs = told.completion_tokens_details or _OutputDetails()
    return Usage(
        input_tokens=told.prompt_tokens or 0,
        output_tokens=told.completion_tokens or 0,
        cached_input_tokens=inputs.cached_tokens or 0,
        cache_write_tokens=inputs.cache_write_tokens or 0,
        reasoning_tokens=outputs.reasoning_tokens or 0,
    )


def told_instead(model: str, code: str | int | None, kind: str | None, words: str) -> AgenticFlowError:
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
