"""The place the kit runs at: how a provider is told what to answer, what it saw, and what it may declare that it cannot do."""

from __future__ import annotations

import unittest
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final, Protocol, TypeAlias

import msgspec

from agenticflow.agents.model.parts import Message, TextPart, ToolCallPart, user
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import FinishReason, ModelResponse, Usage

__all__ = [
    "ASKED",
    "BreaksOff",
    "Garbles",
    "HoldsBack",
    "ModelPlace",
    "ProviderAnswer",
    "Refuses",
    "Says",
    "Seen",
    "Served",
    "said",
]

ASKED: Final = ModelRequest(messages=(user("What is the weather?"),))


class Says(msgspec.Struct, frozen=True):
    """The provider gives this answer."""

    response: ModelResponse


class Refuses(msgspec.Struct, frozen=True):
    """It refuses, as HTTP says it. ``code`` is the kind that this provider gives such errors; empty means the usual one."""

    status: int
    words: str = "no"
    retry_after: str = ""
    code: str = ""


class BreaksOff(msgspec.Struct, frozen=True):
    """The connection ends after ``after`` pieces of the answer; politely, as if that were all, or not."""

    response: ModelResponse
    after: int
    is_polite: bool = False


class Garbles(msgspec.Struct, frozen=True):
    """What comes is not in the protocol: ``data`` where an answer, or a piece of it, should be."""

    data: bytes


class HoldsBack(msgspec.Struct, frozen=True):
    """After ``after`` pieces nothing more comes, and the connection stays."""

    response: ModelResponse
    after: int


ProviderAnswer: TypeAlias = Says | Refuses | BreaksOff | Garbles | HoldsBack


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the provider read it."""

    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    schema: dict[str, object] | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Served(Protocol):
    """A provider that runs, and a model of it."""

    @property
    def model(self) -> Model: ...

    @property
    def seen(self) -> Sequence[Seen]:
        """Requests, in the order in which they came."""

    async def asked(self) -> None:
        """Return once a request has come in."""

    async def let_go(self) -> None:
        """Return once no answer is being given any more: every connection of a held-back answer was closed."""


class ModelPlace(ABC):
    """Where the cases run. Each case has a place of its own."""

    has_reasoning: ClassVar[bool] = True
    """Whether its answers have reasoning parts."""
    has_signatures: ClassVar[bool] = True
    """Whether reasoning is signed, and goes back to the provider."""
    is_streaming: ClassVar[bool] = True
    """Whether answers come in pieces."""
    has_pieces_of_text: ClassVar[bool] = True
    takes_stop_words: ClassVar[bool] = True
    is_real: ClassVar[bool] = True
    """Whether asking it is a real call, which can be forbidden."""
    patience_seconds: ClassVar[float] = 20.0
    """No case waits longer than this."""
    garbled: ClassVar[Sequence[bytes]] = (b"{", b"[1, 2]", b'"words"', b"\xff\xfe", b"<html></html>", b"[" * 5_000)
    """What is no answer of this provider, whatever JSON may think of it."""

    @abstractmethod
    def serving(self, *answers: ProviderAnswer) -> AbstractAsyncContextManager[Served]:
        """Run a provider that gives these answers, one for each request, the last one again and again."""

    @staticmethod
    def need(ability: bool, reason: str) -> None:
        """Skip the case when the provider has declared that it cannot do this."""
        if not ability:
            raise unittest.SkipTest(reason)


def said(*parts: str | TextPart | ToolCallPart, reason: FinishReason | None = None) -> ModelResponse:
    """Return an answer of these parts."""
    whole = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    has_calls = any(isinstance(part, ToolCallPart) for part in whole)
    usual = FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP
    return ModelResponse(parts=whole, finish_reason=reason or usual, usage=Usage(12, 7, 3, 0, 0))
