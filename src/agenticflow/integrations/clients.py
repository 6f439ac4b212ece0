"""Models behind an official client: asked once, read piece by piece, never asked again by themselves.

What the adapters share. Each keeps its wire format, and what its provider says instead of an answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, ClassVar, Final, Protocol

import httpx2

from agenticflow.agents.model.deltas import Delta
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.errors import AgenticFlowError, ModelAnswerGarbled, ModelStreamCut, ModelTimeout, ModelUnavailable
from agenticflow.integrations.transport import MAX_BODY_BYTES, bound_in, bounding_hooks, certificates

__all__ = ["STUMBLES", "AnswerReader", "ClientModel", "late", "options_of_client", "out_of_reach", "unreadable"]

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 600.0
"""Between two signs of life. The time limits of a call are its guards'; this one ends what nobody waits for."""
STUMBLES: Final = (httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError)
"""What comes through a client beside its own errors: of its transport, and of reading JSON."""


def options_of_client(max_body_bytes: int = MAX_BODY_BYTES, silence_seconds: float = SILENCE_SECONDS) -> dict[str, Any]:
    """Return the options of the HTTP client that an official client sends through."""
    return {
        "event_hooks": bounding_hooks(max_body_bytes),
        "verify": certificates(),
        "timeout": httpx2.Timeout(silence_seconds, connect=CONNECT_SECONDS),
    }


class AnswerReader(Protocol):
    """Reads one answer in a wire format."""

    is_finished: bool
    """Whether the answer is whole."""

    def read(self, piece: object) -> Iterator[Delta]:
        """Yield what is in one piece. Raises ``ModelAnswerGarbled``, and what a provider says instead of an answer."""


class ClientModel(Model):
    """A model whose official client an adapter has made. ``is_streaming=False`` asks for answers in one piece."""

    client_error: ClassVar[type[Exception]]
    """What all errors of the client are."""

    def __init__(
        self, provider: str, name: str, client: Any, *, base_url: str, is_streaming: bool, abilities: ModelAbilities
    ) -> None:
        self.provider = provider
        self.name = name
        self.base_url = base_url
        self.abilities = abilities
        self._client = client
        self._is_streaming = is_streaming

    @abstractmethod
    def _body(self, request: ModelRequest) -> dict[str, Any]:
        """Return ``request`` in the wire format."""

    @abstractmethod
    def _reader(self) -> AnswerReader:
        """Return what reads the next answer."""

    @abstractmethod
    async def _ask(self, body: dict[str, Any], *, stream: bool) -> Any:
        """Send ``body``; return the client's stream of pieces, or the whole answer."""

    @abstractmethod
    def _mapped(self, error: Exception, *, has_begun: bool) -> AgenticFlowError:
        """Return our error for a ``client_error``, or one of ``STUMBLES``."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        permission.demand(self.identity, self.base_url)
        body, reader = self._body(request), self._reader()
        has_begun = False
        try:
            async with aclosing(self._pieces(body)) as pieces:
                async for piece in pieces:
                    for delta in reader.read(piece):
                        has_begun = True
                        yield delta
        except (self.client_error, *STUMBLES) as error:
            if not reader.is_finished:  # the answer is whole, whatever happens to the connection then
                raise (bound_in(error) or self._mapped(error, has_begun=has_begun)) from error

    async def _pieces(self, body: dict[str, Any]) -> AsyncGenerator[object, None]:
        """Ask, and give the answer piece by piece; the connection is closed when they are left."""
        asked = await self._ask(body, stream=self._is_streaming)
        if not self._is_streaming:
            yield _plain(asked)
            return
        try:
            async for piece in asked:
                yield _plain(piece)
        finally:
            await asked.close()

    async def close(self) -> None:
        await self._client.close()


def _plain(piece: Any) -> object:
    """Return a piece as the data that came; what was no object did not become a model of the client."""
    return piece.to_dict(warnings=False) if hasattr(piece, "to_dict") else piece


# --- what goes wrong below a wire format ----------------------------------------------------------------------------------


def late(model: str) -> AgenticFlowError:
    """Return the error for silence."""
    return ModelTimeout(f"nothing came from {model!r} in time", hint="ask again later")


def out_of_reach(model: str, error: Exception, *, has_begun: bool) -> AgenticFlowError:
    """Return the error for a connection that was not made, or did not last."""
    cause = str(error.__cause__ or error) or type(error).__name__
    if has_begun:
        return ModelStreamCut(f"the answer of {model!r} ended in the middle: {cause}")
    return ModelUnavailable(f"{model!r} is out of reach: {cause}", hint="look at its address")


def unreadable(model: str, error: Exception, what: str) -> AgenticFlowError:
    """Return the error for an answer that is not ``what`` was asked for."""
    return ModelAnswerGarbled(f"{model!r} answered with what is no {what}: {error}")
