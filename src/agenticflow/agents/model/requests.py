"""What a model is asked: messages, the tools it may call, the form of its answer, and how it shall think. Plain data. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from agenticflow.agents.model.parts import FilePart, ImagePart, Message, Role, ToolResultPart
from agenticflow.errors import InvalidInput

__all__ = [
    "ModelAbilities",
    "ModelRequest",
    "OutputSpec",
    "ReasoningEffort",
    "ToolChoice",
    "ToolSpec",
    "tool_choice_of",
]

MAX_TEMPERATURE: Final = 2.0
ReasoningEffort = Literal["", "low", "medium", "high"]
"""How long the model shall think before it speaks; empty leaves it to the model."""


def _no_parameters() -> dict[str, object]:
    return {"type": "object", "properties": {}}


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as a model sees it. ``parameters`` is the JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, object] = msgspec.field(default_factory=_no_parameters)


class OutputSpec(msgspec.Struct, frozen=True):
    """The form of an answer: JSON that fits ``schema``, a JSON Schema of an object."""

    name: str
    schema: dict[str, object]


class ModelAbilities(msgspec.Struct, frozen=True):
    """What may be asked of a model. What it cannot do is refused before it is sent."""

    has_tools: bool = True
    has_output_schemas: bool = True
    """Whether its provider holds answers to ``ModelRequest.output``; else the form can only be asked for in words."""
    has_temperature: bool = True
    """Whether it takes a temperature; else one is left out: it is a wish, and no part of the question."""
    has_images: bool = True
    has_files: bool = True


ALL_ABILITIES: Final = ModelAbilities()


class ToolChoice(enum.StrEnum):
    """Whether the model calls tools."""

    AUTO = "auto"
    """As it likes."""
    NONE = "none"
    REQUIRED = "required"
    """At least one of them; ``forced_tool`` says which."""


def tool_choice_of(word: str) -> tuple[ToolChoice, str]:
    """Return what one word says of calls: ``auto``, ``none``, ``required``, or else the name of the tool that is called."""
    try:
        return ToolChoice(word), ""
    except ValueError:
        return ToolChoice.REQUIRED, word


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One call of a model. What is ``None`` is left to the provider."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    forced_tool: str = ""
    output: OutputSpec | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: ReasoningEffort = ""

    def check(self, abilities: ModelAbilities = ALL_ABILITIES) -> None:
        """Raise ``InvalidInput`` that lists what no provider takes, and what the model cannot do: told before the call."""
        problems = [*self._problems(), *self._problems_of_abilities(abilities)]
        if problems:
            raise InvalidInput(f"this is no request for a model: {'; '.join(problems)}")

    def _problems(self) -> Iterator[str]:
        if not any(message.role is not Role.SYSTEM for message in self.messages):
            yield "it has no message of a user"
        names = [tool.name for tool in self.tools]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"two tools are called {name!r}"
        if self.forced_tool and self.forced_tool not in names:
            yield f"it forces the tool {self.forced_tool!r}, which is not among its tools"
        if self.tool_choice is ToolChoice.REQUIRED and not names:
            yield "it requires a tool and has none"
        if self.temperature is not None and not (
            _is_number(self.temperature) and 0 <= self.temperature <= MAX_TEMPERATURE
        ):
            yield f"the temperature is {self.temperature!r}, not between 0 and {MAX_TEMPERATURE:g}"
        if self.max_output_tokens is not None and not (
            _is_number(self.max_output_tokens) and self.max_output_tokens >= 1
        ):
            yield f"max_output_tokens is {self.max_output_tokens!r}, not at least 1"
        yield from self._problems_of_calls()

    def _problems_of_abilities(self, abilities: ModelAbilities) -> Iterator[str]:
        if self.tools and not abilities.has_tools:
            yield "it has tools, and the model calls none"
        if self.output is not None and not abilities.has_output_schemas:
            yield "it has a form, and the model is held to none"
        attached = {type(part) for message in self.messages for part in _attachments(message)}
        if ImagePart in attached and not abilities.has_images:
            yield "it has a picture, and the model sees none"
        if FilePart in attached and not abilities.has_files:
            yield "it has a file, and the model reads none"

    def _problems_of_calls(self) -> Iterator[str]:
        """Every tool call has exactly one result, in the messages right after it; providers refuse everything else."""
        open_calls: list[str] = []
        for message in self.messages:
            if message.role is Role.TOOL:
                results = [part.call_id for part in message.parts if isinstance(part, ToolResultPart)]
                for call_id in results:
                    if call_id in open_calls:
                        open_calls.remove(call_id)
                    else:
                        yield f"the result for the tool call {call_id!r} has no open call before it"
                continue
            yield from (f"the tool call {call_id!r} has no result" for call_id in open_calls)
            open_calls = [call.call_id for call in message.tool_calls]
        yield from (f"the tool call {call_id!r} has no result" for call_id in open_calls)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _attachments(message: Message) -> Iterator[ImagePart | FilePart]:
    for part in message.parts:
        if isinstance(part, ToolResultPart):
            yield from part.attachments
        elif isinstance(part, (ImagePart, FilePart)):
            yield part
