"""What a memory needs of an embedder, in words that need no event loop: agents are known where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from agenticflow.storage.key_values import KeyValues

__all__ = ["MAX_TEXT_CHARS", "Embeds", "Found", "Vectors", "text_of"]

MAX_TEXT_CHARS: Final = 8_000
"""That an entry is found by."""


class Found(msgspec.Struct, frozen=True):
    """An entry that may be what was looked for."""

    score: float
    key: str
    version: int
    updated_at: int


class Vectors(Protocol):
    """The vectors of one namespace of one agent."""

    async def of(self, text: str) -> bytes:
        """Return the vector of ``text``; no bytes when it has nothing to be found by."""

    async def keep(
        self, key: str, vector: bytes, text: str | None, *, version: int, now: int, expires_at: int | None
    ) -> None:
        """Keep the ``vector`` of what was just written under ``key``: its ``version``, at ``now``; unless there is one of later."""

    async def refresh(self, now: int, is_due: Callable[[], bool]) -> None:
        """Make what is missing or no longer true, and drop the vectors of what is not there any more. Who comes meanwhile waits, and
        does it again only when it ``is_due`` then."""

    async def compare(self, vector: bytes, min_score: float, now: int) -> tuple[Sequence[Found], bool]:
        """Return what is at least ``min_score`` near ``vector``, the nearest first, and whether another embedder's vectors were met."""


class Embeds(Protocol):
    """An embedder, see ``agenticflow.agents.Embedder``."""

    def check(self) -> None:
        """Refuse to be what cannot be worked with. Raises ``DefinitionError``."""

    def vectors(self, values: KeyValues, entries: str, place: str) -> Vectors:
        """Return the vectors of the ``entries`` in one namespace of a store, kept in the namespace ``place``."""


def text_of(key: str, value: object, text: str | None) -> str:
    """Return what an entry is found by: the ``text`` given for it, else its key and what its value says."""
    if text is not None:
        return text
    words = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return f"{key}\n{words}"[:MAX_TEXT_CHARS]
