"""An embedder that needs nothing: words and pieces of words, counted in as many places as the vector has numbers."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from typing import Final
from zlib import crc32

from agenticflow.agents.memory.embedding import Embedder

__all__ = ["HashingEmbedder"]

_WORDS: Final = re.compile(r"\w+")
_PIECE: Final = 3
_PIECE_WEIGHT: Final = 0.5
"""Of three letters, beside a whole word: what is spelled a little differently is near."""


class HashingEmbedder(Embedder):
    """Texts that share words, or pieces of words, are near each other: lexical, not semantic. ``car`` and
    ``automobile`` have nothing in common.

    Deterministic, offline and the same in every process: for tests, demos and programs that have no embedding model.
    """

    max_batch = 8

    def __init__(self, dimension: int = 384) -> None:
        self.name = "hashing-1"
        self.dimension = dimension

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        vectors = []
        for text in texts:
            vectors.append(self._vector(text))
            await asyncio.sleep(0)  # a long text takes milliseconds
        return vectors

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        words: Counter[str] = Counter()
        pieces: Counter[str] = Counter()
        for word in _WORDS.findall(unicodedata.normalize("NFKC", text).casefold()):
            words[word] += 1
            padded = f"^{word}$"
            pieces.update(padded[at : at + _PIECE] for at in range(len(padded) - _PIECE + 1))
        for counts, weight in ((words, 1.0), (pieces, _PIECE_WEIGHT)):
            for feature, count in counts.items():
                code = crc32(feature.encode("utf-8", "surrogatepass"))
                vector[(code >> 1) % self.dimension] += sqrt(count) * (weight if code & 1 else -weight)
        return vector
