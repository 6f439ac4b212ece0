"""The simple face of a model: a prompt goes in, words or a value of the form that was asked for come out. Pure but for the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, overload

import msgspec

from agenticflow.agents.model.outputs import Expected
from agenticflow.agents.model.parts import Message, assistant, system, user
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.prices import PriceTable, Spending
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import FinishReason, ModelResponse
from agenticflow.errors import ContentRefused, InvalidInput, ModelOutputInvalid

__all__ = ["LLMClient"]

T = TypeVar("T")
MAX_REPAIRS: Final = 10
_SHOWN_CHARS: Final = 20_000
"""Of an answer that did not fit, which the model gets back."""


class LLMClient:
    """``await LLMClient(model_from("openai:gpt-5")).generate("…")``. One client may serve many calls at once.

    An answer that does not have the form asked for is given back with what is wrong, up to ``max_repairs`` times. ``spending`` counts
    what all calls of this client used, with what it costs when there are ``prices``.
    """

    __slots__ = ("_temperature", "max_repairs", "model", "spending")

    def __init__(
        self,
        model: Model,
        *,
        temperature: float | None = None,
        max_repairs: int = 2,
        prices: PriceTable | None = None,
    ) -> None:
        """``temperature`` is that of calls which do not say; ``None`` leaves it to the provider."""
        if not isinstance(model, Model):
            raise InvalidInput(
                f"an LLMClient asks a model, not {model!r:.60}",
                hint='write LLMClient(model_from("openai:gpt-5")), with model_from from agenticflow.app.models',
            )
        if not 0 <= max_repairs <= MAX_REPAIRS:
            raise InvalidInput(f"max_repairs is {max_repairs!r}", hint=f"give a number from 0 to {MAX_REPAIRS}")
        self.model = model
        self.max_repairs = max_repairs
        self.spending = Spending(prices)
        self._temperature = temperature

    def through(self, model: Model) -> LLMClient:
        """Return a client like this one that asks ``model``; what both spend is counted together."""
        other = LLMClient(model, temperature=self._temperature, max_repairs=self.max_repairs)
        other.spending = self.spending
        return other

    @overload
    async def generate(
        self,
        prompt: str | Message,
        schema: None = None,
        *,
        temperature: float | None = None,
        instructions: str = "",
        max_output_tokens: int | None = None,
        max_repairs: int | None = None,
    ) -> str: ...

    @overload
    async def generate(
        self,
        prompt: str | Message,
        schema: type[T],
        *,
        temperature: float | None = None,
        instructions: str = "",
        max_output_tokens: int | None = None,
        max_repairs: int | None = None,
    ) -> T: ...

    @overload
    async def generate(
        self,
        prompt: str | Message,
        schema: Mapping[str, object],
        *,
        temperature: float | None = None,
        instructions: str = "",
        max_output_tokens: int | None = None,
        max_repairs: int | None = None,
    ) -> object: ...

    async def generate(
        self,
        prompt: str | Message,
        schema: type[T] | Mapping[str, object] | None = None,
        *,
        temperature: float | None = None,
        instructions: str = "",
        max_output_tokens: int | None = None,
        max_repairs: int | None = None,
    ) -> object:
        """Return the model's words, or with ``schema`` (a type or a JSON Schema) the value that they are.

        ``max_repairs`` is that of this call, 0 for whoever mends an answer by its ``text`` and ``problems`` first; left out, the client's.

        Raises:
            ModelOutputInvalid: the answer did not have the form, after all repairs; ``problems`` and ``text`` say more.
            ContentRefused: the model would not answer.
            InvalidInput: the prompt is no words and no message, or another argument is wrong; nothing was asked.
            DefinitionError: answers cannot be held to the schema; nothing was asked.
            Whatever ``Model.stream`` raises.
        """
        expected = None if schema is None else Expected(schema)
        if not isinstance(prompt, (str, Message)) or (isinstance(prompt, str) and not prompt.strip()):
            what = "empty" if isinstance(prompt, str) else f"a {type(prompt).__name__}"
            raise InvalidInput(f"the prompt is {what}", hint="give words, or a message: user(…)")
        messages = [user(prompt) if isinstance(prompt, str) else prompt]
        told = self._told(instructions, expected)
        if told:
            messages.insert(0, system(told))
        repairs = 0
        while True:
            response = await self._asked(messages, expected, temperature, max_output_tokens)
            if expected is None:
                return response.text
            try:
                return expected.read(response.text)
            except ModelOutputInvalid as error:
                if response.finish_reason is FinishReason.LENGTH:
                    raise ModelOutputInvalid(
                        f"the answer of {self.model.identity!r} was cut at its length limit: {error.message}",
                        hint="raise max_output_tokens, or ask for less",
                        problems=error.problems,
                        text=error.text,
                    ) from error
                if repairs >= (self.max_repairs if max_repairs is None else max_repairs):
                    raise
                messages += _repair(error)
                repairs += 1

    def _told(self, instructions: str, expected: Expected[T] | None) -> str:
        """Return what the model is told first; the form in words too when its provider does not hold it to one."""
        if expected is None or self.model.abilities.has_output_schemas:
            return instructions
        form = msgspec.json.encode(expected.spec.schema).decode()
        words = f"Answer with JSON only, which fits this JSON Schema: {form}"
        return f"{instructions}\n\n{words}" if instructions else words

    async def _asked(
        self,
        messages: list[Message],
        expected: Expected[T] | None,
        temperature: float | None,
        max_output_tokens: int | None,
    ) -> ModelResponse:
        has_schemas = self.model.abilities.has_output_schemas
        request = ModelRequest(
            messages=tuple(messages),
            output=expected.spec if expected is not None and has_schemas else None,
            temperature=self._temperature if temperature is None else temperature,
            max_output_tokens=max_output_tokens,
        )
        response = await self.model.respond(request)
        self.spending.add(self.model.identity, response)
        if response.finish_reason is FinishReason.CONTENT_FILTER:
            raise ContentRefused(
                f"{self.model.identity!r} would not answer", hint="ask for something else", text=response.text
            )
        return response


def _repair(error: ModelOutputInvalid) -> tuple[Message, Message]:
    """Return what the model said and what is wrong with it, as the next two messages."""
    said = error.text[:_SHOWN_CHARS] or "(nothing)"
    wrong = "\n".join(f"- {problem}" for problem in error.problems)
    return assistant(said), user(
        f"That does not have the form asked for:\n{wrong}\nAnswer again, with the mended JSON only."
    )
