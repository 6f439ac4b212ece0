"""What a model answered: parts, why it stopped, and what it used. Plain data. Pure."""

from __future__ import annotations

import enum

import msgspec

from agenticflow.agents.model.parts import Message, Part, ReasoningPart, Role, TextPart, ToolCallPart

__all__ = ["FinishReason", "ModelResponse", "Usage"]


class FinishReason(enum.StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    """It had said what it had to say, or met a stop word."""
    LENGTH = "length"
    """It reached ``max_output_tokens``, or the end of its context."""
    TOOL_CALLS = "tool_calls"
    """It waits for results of tools."""
    CONTENT_FILTER = "content_filter"
    """It, or a filter of its provider, would not go on."""
    OTHER = "other"
    """For a reason that this release does not know."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one or more calls. Cached and written ones are part of the input, reasoning is part of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class ModelResponse(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One answer of a model. ``provider`` and ``model`` say who gave it, as the provider names them."""

    parts: tuple[TextPart | ReasoningPart | ToolCallPart, ...]
    finish_reason: FinishReason
    usage: Usage | None = None
    """``None`` when the provider did not tell."""
    provider: str = ""
    model: str = ""
    response_id: str = ""
    attempts: int = 1
    """How often the model was asked until the answer was whole."""
    lost_usage: Usage | None = None
    """What attempts that broke off had used, as far as the provider told."""

    @property
    def text(self) -> str:
        """All its words, without reasoning and tool calls."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def reasoning(self) -> str:
        """What can be read of its reasoning."""
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """What it asks of tools, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def message(self) -> Message:
        """The answer as the next message of the conversation."""
        parts: tuple[Part, ...] = self.parts
        return Message(Role.ASSISTANT, parts)
