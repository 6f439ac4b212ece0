"""The port of an embedder: texts become vectors, and texts that mean the like become vectors that point the same way."""

from __future__ import annotations

import asyncio
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import fsum, isfinite, sqrt
from typing import Final

from agenticflow.agents.memory.ports import MAX_TEXT_CHARS, Vectors
from agenticflow.agents.memory.vectors import StoredVectors
from agenticflow.errors import DefinitionError, ModelAnswerGarbled, ModelTimeout
from agenticflow.storage.key_values import KeyValues

__all__ = ["MAX_DIMENSION", "Embedder"]

MAX_DIMENSION: Final = 4_096
"""Of a vector: 16 KiB."""
MAX_BATCH: Final = 2_048
"""Texts of one call."""
MAX_NAME_CHARS: Final = 200
EMBEDDING_SECONDS: Final = 60.0
"""Of one batch."""


class Embedder(ABC):
    """Makes vectors of texts. One object may serve many calls at once.

    ``name`` and ``dimension`` together say whose vectors they are: when either changes, what was remembered with the one before is embedded
    anew. A name is that of the model, with its version where it has one.
    """

    name: str = ""
    dimension: int = 0
    """Numbers of a vector, at most 4,096."""
    max_batch: int = 64
    """Texts of one call."""
    max_chars: int = 8_000
    """Of a text; what is longer is cut."""

    @property
    def identity(self) -> str:
        """Whose vectors these are."""
        return f"{self.name}/{self.dimension}"

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector of ``dimension`` finite numbers for each text, in order. Its length does not matter; all zero says that the
        text has nothing to be found by.

        It is called with 1 to ``max_batch`` texts of at most ``max_chars`` characters, and cancelled after a minute.
        """

    async def close(self) -> None:  # noqa: B027 - many hold nothing
        """Let go of connections. Calling it again does nothing."""

    def check(self) -> None:
        """Refuse a name or a number that cannot be worked with. Raises ``DefinitionError``."""
        for what, given, most in (
            ("dimension", self.dimension, MAX_DIMENSION),
            ("max_batch", self.max_batch, MAX_BATCH),
            ("max_chars", self.max_chars, MAX_TEXT_CHARS),
        ):
            if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
                raise DefinitionError(f"the {what} of an embedder is {given!r:.60}", hint=f"it is 1 to {most:,}")
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= MAX_NAME_CHARS:
            raise DefinitionError(
                f"the name of an embedder is {self.name!r:.60}",
                hint=f"name its model and version, in 1 to {MAX_NAME_CHARS} characters",
            )

    async def embedded(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text, of length 1, as float32 (little-endian); no bytes for one with nothing to be found by.

        Raises ``ModelTimeout``, ``ModelAnswerGarbled`` for what are no such vectors, and whatever ``embed`` raises.
        """
        vectors: list[bytes] = []
        for begin in range(0, len(texts), self.max_batch):
            batch = [text[: self.max_chars] for text in texts[begin : begin + self.max_batch]]
            try:
                async with asyncio.timeout(EMBEDDING_SECONDS):
                    found = await self.embed(batch)
            except TimeoutError as error:
                raise ModelTimeout(
                    f"the embedder {self.name!r} did not answer in {EMBEDDING_SECONDS:g} s", hint="ask again later"
                ) from error
            if len(found) != len(batch):
                raise ModelAnswerGarbled(f"the embedder {self.name!r} gave {len(found)} vectors for {len(batch)} texts")
            vectors += [_normalised(self, one) for one in found]
        return vectors

    def vectors(self, values: KeyValues, entries: str, place: str) -> Vectors:
        """Return the vectors of the ``entries`` in one namespace of a store, kept in the namespace ``place``."""
        return StoredVectors(values, entries, place, self)


def _normalised(embedder: Embedder, vector: Sequence[float]) -> bytes:
    if len(vector) != embedder.dimension:
        raise ModelAnswerGarbled(
            f"the embedder {embedder.name!r} gave a vector of {len(vector)} numbers, not of {embedder.dimension}",
            hint="give it the dimension that its model has",
        )
    length = sqrt(fsum(number * number for number in vector))
    if not isfinite(length):
        raise ModelAnswerGarbled(f"the embedder {embedder.name!r} gave a vector with numbers that are none")
    if not length:
        return b""
    return struct.pack(f"<{len(vector)}f", *(number / length for number in vector))
