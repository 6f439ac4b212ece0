"""An answer in pieces, as it is spoken, and the fold that makes it whole. Pure.

However an answer is cut into deltas, the fold of them is the same response; ``deltas_of`` is the way back. Nothing but a fold turns
deltas into a response, so there is no second truth about what a stream said.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Final, TypeAlias, assert_never

import msgspec

from agenticflow.agents.model.parts import ReasoningPart, TextPart, ToolCallPart, parse_arguments, whole_text
from agenticflow.agents.model.responses import FinishReason, ModelResponse, Usage
from agenticflow.errors import BoundExceeded, DefinitionError, ModelAnswerGarbled, ModelStreamCut

__all__ = [
    "Delta",
    "ReasoningDelta",
    "ResponseBegan",
    "ResponseFinished",
    "ResponseFold",
    "ResponseRestarted",
    "TextDelta",
    "ToolCallDelta",
    "UsageTold",
    "deltas_of",
    "fold",
    "fold_stream",
]

MAX_RESPONSE_CHARS: Final = 16 * 1024 * 1024
MAX_RESPONSE_PARTS: Final = 1_000


class ResponseBegan(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="began"):
    """Who answers."""

    provider: str = ""
    model: str = ""
    response_id: str = ""


class TextDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="text"):
    """More words. ``index`` says which part they belong to; parts stand in the order of their indexes."""

    index: int
    text: str = ""


class ReasoningDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="reasoning"):
    """More reasoning, or its signature, or sealed reasoning."""

    index: int
    text: str = ""
    signature: str = ""
    sealed: str = ""


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="tool_call"):
    """More of a tool call: its id and its name once, ``arguments`` as further characters of JSON."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class UsageTold(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="usage"):
    """What was used so far, all in all: a later one replaces an earlier one."""

    usage: Usage


class ResponseFinished(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="finished"):
    """The answer is whole. Only usage may follow."""

    finish_reason: FinishReason


class ResponseRestarted(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="restarted"):
    """The answer broke off and is asked for again: forget what came so far."""

    reason: str = ""


Delta: TypeAlias = (
    ResponseBegan | TextDelta | ReasoningDelta | ToolCallDelta | UsageTold | ResponseFinished | ResponseRestarted
)
_PartDelta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta


class _OpenPart:
    """One part in the making."""

    __slots__ = ("call_id", "kind", "name", "sealed", "signature", "texts")

    def __init__(self, kind: type[_PartDelta]) -> None:
        self.kind = kind
        self.texts: list[str] = []
        self.signature: list[str] = []
        self.sealed: list[str] = []
        self.call_id = ""
        self.name = ""

    def part(self, provider: str) -> TextPart | ReasoningPart | ToolCallPart | None:
        """Return it as it stands, ``None`` when there is nothing of it."""
        text = whole_text("".join(self.texts))
        if self.kind is TextDelta:
            return TextPart(text) if text else None
        if self.kind is ReasoningDelta:
            signature, sealed = "".join(self.signature), "".join(self.sealed)
            return ReasoningPart(text, signature, sealed, provider) if text or signature or sealed else None
        if not self.name or not self.call_id:
            raise ModelAnswerGarbled(f"a tool call came without {'an id' if self.name else 'a name'}")
        return parse_arguments(self.call_id, self.name, text)


class ResponseFold:
    """Deltas go in, the response comes out. Mutable and private to whoever folds."""

    __slots__ = ("_attempts", "_began", "_chars", "_finish_reason", "_lost", "_parts", "_usage", "max_chars")

    def __init__(self, *, max_chars: int = MAX_RESPONSE_CHARS) -> None:
        self.max_chars = max_chars
        self._attempts = 1
        self._lost: Usage | None = None
        self._start()

    def _start(self) -> None:
        self._began = ResponseBegan()
        self._chars = 0
        self._finish_reason: FinishReason | None = None
        self._parts: dict[int, _OpenPart] = {}
        self._usage: Usage | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole."""
        return self._finish_reason is not None

    def add(self, delta: Delta) -> None:
        """Take one more. Raises ``BoundExceeded`` when the answer grows too large, ``ModelAnswerGarbled`` when it makes no sense,
        ``DefinitionError`` for what is no delta."""
        match delta:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                self._add_to_part(delta)
            case ResponseBegan():
                self._began = delta
            case UsageTold():
                self._usage = delta.usage
            case ResponseFinished():
                if self._finish_reason is not None:
                    raise ModelAnswerGarbled("an answer ended twice")
                self._finish_reason = delta.finish_reason
            case ResponseRestarted():
                if self._usage is not None:
                    self._lost = self._usage if self._lost is None else self._lost + self._usage
                self._attempts += 1
                self._start()
            case _:
                raise DefinitionError(
                    f"a model streamed {delta!r:.60}, which is no delta of an answer",
                    hint="yield TextDelta, ToolCallDelta … and ResponseFinished at the end, from agenticflow.agents.model",
                )

    def _add_to_part(self, delta: _PartDelta) -> None:
        if self._finish_reason is not None:
            raise ModelAnswerGarbled("an answer went on after its end")
        part = self._parts.get(delta.index)
        if part is None:
            if len(self._parts) >= MAX_RESPONSE_PARTS:
                raise BoundExceeded(
                    f"an answer has more than {MAX_RESPONSE_PARTS:,} parts", hint="ask for less at once"
                )
            part = self._parts[delta.index] = _OpenPart(type(delta))
        if part.kind is not type(delta):
            raise ModelAnswerGarbled(f"part {delta.index} of an answer changed its kind in the middle")
        match delta:
            case TextDelta():
                self._grow(part.texts, delta.text)
            case ReasoningDelta():
                self._grow(part.texts, delta.text)
                self._grow(part.signature, delta.signature)
                self._grow(part.sealed, delta.sealed)
            case ToolCallDelta():
                part.call_id = part.call_id or delta.call_id
                part.name = part.name or delta.name
                self._grow(part.texts, delta.arguments)
            case _:
                assert_never(delta)

    def _grow(self, pieces: list[str], more: str) -> None:
        self._chars += len(more)
        if self._chars > self.max_chars:
            raise BoundExceeded(
                f"an answer has more than {self.max_chars:,} characters",
                hint="ask for less with max_output_tokens, or raise max_response_chars",
            )
        pieces.append(more)

    def response(self) -> ModelResponse:
        """Return the whole answer. Raises ``ModelStreamCut`` when its end has not come."""
        if self._finish_reason is None:
            raise ModelStreamCut(
                f"the answer of {self._began.model or 'the model'!r} ended in the middle, after {self._chars:,} characters",
                hint="nothing of it is used; it may be asked for again",
            )
        parts = (self._parts[index].part(self._began.provider) for index in sorted(self._parts))
        return ModelResponse(
            parts=tuple(part for part in parts if part is not None),
            finish_reason=self._finish_reason,
            usage=self._usage,
            provider=self._began.provider,
            model=self._began.model,
            response_id=self._began.response_id,
            attempts=self._attempts,
            lost_usage=self._lost,
        )


def fold(deltas: Iterable[Delta]) -> ModelResponse:
    """Return the response that ``deltas`` are. Raises what ``ResponseFold`` raises."""
    folded = ResponseFold()
    for delta in deltas:
        folded.add(delta)
    return folded.response()


async def fold_stream(deltas: AsyncIterable[Delta]) -> ModelResponse:
    """Return the response that the deltas of a stream are. Raises what ``ResponseFold`` and the stream raise."""
    folded = ResponseFold()
    async for delta in deltas:
        folded.add(delta)
    return folded.response()


def deltas_of(response: ModelResponse, *, piece_chars: int = 0) -> Iterator[Delta]:
    """Yield ``response`` as deltas, its texts in pieces of ``piece_chars`` characters; 0 means whole."""
    yield ResponseBegan(response.provider, response.model, response.response_id)
    for index, part in enumerate(response.parts):
        match part:
            case TextPart():
                yield from (TextDelta(index, piece) for piece in _pieces(part.text, piece_chars))
            case ReasoningPart():
                yield from (ReasoningDelta(index, piece) for piece in _pieces(part.text, piece_chars))
                if part.signature or part.sealed:
                    yield ReasoningDelta(index, signature=part.signature, sealed=part.sealed)
            case ToolCallPart():
                yield ToolCallDelta(index, part.call_id, part.name)
                written = part.malformed or msgspec.json.encode(part.arguments).decode()
                yield from (ToolCallDelta(index, arguments=piece) for piece in _pieces(written, piece_chars))
            case _:
                assert_never(part)
    if response.usage is not None:
        yield UsageTold(response.usage)
    yield ResponseFinished(response.finish_reason)


def _pieces(text: str, chars: int) -> Iterator[str]:
    step = chars or len(text) or 1
    return (text[start : start + step] for start in range(0, len(text), step))
