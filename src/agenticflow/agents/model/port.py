"""The port of a model: deltas of an answer, as they are spoken. An adapter speaks one wire format and nothing else.

Repeating, time limits, breakers and rates are no adapter's business: who opens a model by name gets it guarded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from agenticflow.agents.model.deltas import Delta, fold_stream
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.agents.model.responses import ModelResponse
from agenticflow.core.late import Late

__all__ = ["Model", "opens_models"]


class Model(ABC):
    """A model of a provider, ready to be asked. One object may serve many calls at once."""

    provider: str
    """Who answers: ``openai``, ``anthropic`` …"""
    name: str
    """Which model, as its provider names it."""
    abilities: ModelAbilities = ModelAbilities()

    @abstractmethod
    def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Ask the model and yield its answer as it is spoken.

        The first delta is a ``ResponseBegan`` and comes with the first sign of life; exactly one ``ResponseFinished`` says that the
        answer is whole, usage may follow it. A stream that ends without it was cut. Nothing is sent before the first ``anext``;
        closing the generator, or cancelling who waits for it, closes the connection at once. Calling it again is another call, which
        costs again. A model behind guards may yield a ``ResponseRestarted`` anywhere before the end: what came before it is void.

        Raises:
            InvalidInput: the request is none, or needs what the model cannot do, see ``ModelRequest.check``; nothing was sent.
            ModelRequestRefused, ContextTooLong, ModelAccessDenied, ContentRefused: asking again is pointless.
            ModelUnavailable and its kinds: asking again may help, with ``retry_after_seconds`` when the provider said so.
            ModelCallsForbidden: see ``agenticflow.testing.forbid_model_calls``.
        """

    async def respond(self, request: ModelRequest) -> ModelResponse:
        """Ask the model and return its whole answer: the fold of ``stream``, which raises the same."""
        async with aclosing(self.stream(request)) as deltas:
            return await fold_stream(deltas)

    async def close(self) -> None:  # noqa: B027 - most models hold nothing
        """Let go of connections. A second call does nothing; a closed model is not asked again."""

    @property
    def identity(self) -> str:
        """Provider and name in one, as prices and figures name it: ``openai:gpt-5``."""
        return f"{self.provider}:{self.name}"


opens_models: Final[Late[Callable[[str], Model]]] = Late("models")
"""Who opens a model by its name, guarded."""
