"""A model that says what it was told to: for tests, and for programs that show themselves without a key.

It keeps every promise of the port, streams in pieces, counts tokens by a rule (one for four characters, rounded up), and fails when the
script says so.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import msgspec

from agenticflow.agents.model.deltas import Delta, deltas_of
from agenticflow.agents.model.parts import ReasoningPart, TextPart, ToolCallPart, pack_messages
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.agents.model.responses import FinishReason, ModelResponse, Usage
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput

__all__ = [
    "Answer",
    "BrokenOff",
    "Script",
    "ScriptedModel",
    "allow_model_calls",
    "call_tool",
    "forbid_model_calls",
]

MAX_REMEMBERED: Final = 1_000
"""Requests that a model remembers; older ones are forgotten."""
CHARS_PER_TOKEN: Final = 4


class BrokenOff(msgspec.Struct, frozen=True):
    """An answer that ends in the middle, after ``after`` deltas; a silent one does not even end: nothing more comes."""

    answer: str | ModelResponse
    after: int = 2
    is_silent: bool = False


Spoken: TypeAlias = str | TextPart | ReasoningPart | ToolCallPart
Answer: TypeAlias = Spoken | Sequence[Spoken] | ModelResponse | BrokenOff | AgenticFlowError
"""What a model says: words, tool calls, several of them in order, a whole response; or how it fails."""
Script: TypeAlias = Iterable[Answer] | Callable[[ModelRequest], Answer | Awaitable[Answer]]


def call_tool(name: str, /, **arguments: object) -> ToolCallPart:
    """Return a tool call for a script; the model gives it an id."""
    return ToolCallPart("", name, arguments)


class ScriptedModel(Model):
    """``ScriptedModel(["first answer", call_tool("search", query="x"), "last answer"])``, or a function of the request.

    A list is said answer by answer, whoever asks; asking for more is an ``InvalidInput`` that says so. A function, plain or async, answers
    every request, and may be asked by many at once. Texts come in pieces of ``piece_chars`` characters (0: whole). ``first_seconds`` pass
    before the first delta and ``piece_seconds`` before each other one. ``requests`` are those it was asked, the last thousand.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        provider: str = "scripted",
        piece_chars: int = 0,
        first_seconds: float = 0.0,
        piece_seconds: float = 0.0,
        abilities: ModelAbilities | None = None,
    ) -> None:
        if isinstance(script, str):
            raise DefinitionError(f"a script is a list of answers, not {script!r:.40}", hint="write ScriptedModel([…])")
        self.provider = provider
        self.name = name
        self.abilities = abilities or ModelAbilities()
        self.requests: deque[ModelRequest] = deque(maxlen=MAX_REMEMBERED)
        self.asked = 0
        """How often it was asked."""
        self._piece_chars = piece_chars
        self._first_seconds = first_seconds
        self._piece_seconds = piece_seconds
        self._calls = 0
        self._function = script if callable(script) else None
        self._left: Iterator[Answer] = iter(()) if callable(script) else iter(script)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        self.requests.append(request)
        self.asked += 1
        number = self.asked
        answer = await self._answer(request)
        await _wait(self._first_seconds)
        if isinstance(answer, AgenticFlowError):
            raise answer
        broken = answer if isinstance(answer, BrokenOff) else None
        response = self._response(request, answer.answer if isinstance(answer, BrokenOff) else answer, number)
        for index, delta in enumerate(deltas_of(response, piece_chars=self._piece_chars)):
            if broken is not None and index == broken.after:
                if broken.is_silent:
                    await asyncio.Event().wait()
                return
            if index:
                await _wait(self._piece_seconds)
            yield delta

    async def _answer(self, request: ModelRequest) -> Answer:
        if self._function is not None:
            answer = self._function(request)
            return await answer if inspect.isawaitable(answer) else answer
        try:
            return next(self._left)
        except StopIteration:
            raise InvalidInput(
                f"the script of {self.identity!r} has {self.asked - 1} answers, and it was asked once more",
                hint="give it more answers, or a function of the request",
            ) from None

    def _response(
        self, request: ModelRequest, answer: Spoken | Sequence[Spoken] | ModelResponse, number: int
    ) -> ModelResponse:
        response_id = f"{self.name}-{number}"
        if isinstance(answer, ModelResponse):
            return msgspec.structs.replace(
                answer,
                parts=tuple(self._named(part) for part in answer.parts),
                provider=answer.provider or self.provider,
                model=answer.model or self.name,
                response_id=answer.response_id or response_id,
            )
        spoken = [answer] if isinstance(answer, str | TextPart | ReasoningPart | ToolCallPart) else answer
        if not isinstance(spoken, Sequence) or not all(
            isinstance(one, str | TextPart | ReasoningPart | ToolCallPart) for one in spoken
        ):
            raise InvalidInput(
                f"the script of {self.identity!r} has the answer {answer!r:.60}",
                hint="an answer is a text, call_tool(…), a list of these, or a ModelResponse",
            )
        parts = tuple(self._named(TextPart(item) if isinstance(item, str) else item) for item in spoken)
        has_calls = any(isinstance(part, ToolCallPart) for part in parts)
        said = sum(
            len(msgspec.json.encode(part)) if isinstance(part, ToolCallPart) else len(part.text) for part in parts
        )
        return ModelResponse(
            parts=parts,
            finish_reason=FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP,
            usage=Usage(_tokens(len(pack_messages(request.messages))), _tokens(said)),
            provider=self.provider,
            model=self.name,
            response_id=response_id,
        )

    def _named(self, part: TextPart | ReasoningPart | ToolCallPart) -> TextPart | ReasoningPart | ToolCallPart:
        if isinstance(part, ToolCallPart) and not part.call_id:
            self._calls += 1
            return msgspec.structs.replace(part, call_id=f"call-{self._calls}")
        return part


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def forbid_model_calls() -> None:
    """From now on, asking a real model in this process is a ``ModelCallsForbidden``. Scripted models are not real."""
    permission.is_forbidden = True


@contextmanager
def allow_model_calls(address: str = "") -> Iterator[None]:
    """Let real models be asked meanwhile: those whose address begins with ``address``, empty means all."""
    with permission.except_at(address):
        yield
