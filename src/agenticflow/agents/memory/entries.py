"""What is remembered for long, what a search finds of it, and how much it may be."""

from __future__ import annotations

from typing import Any

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["MemoryBounds", "MemoryEntry", "MemoryMatch"]


class MemoryBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much an agent may remember; what would pass a bound is refused, except in working memory, which forgets."""

    max_working_items: int = 1_000
    max_value_bytes: int = 64 * 1024
    """Of one long-term value, encoded."""
    max_entries: int = 10_000
    """Keys of one namespace."""

    def __post_init__(self) -> None:
        if min(self.max_working_items, self.max_value_bytes, self.max_entries) < 1:
            raise DefinitionError("the bounds of a memory are at least 1", hint="MemoryBounds(max_entries=100)")


class MemoryEntry(msgspec.Struct, frozen=True):
    """A long-term value with what is known about it. Times in nanoseconds since the epoch."""

    key: str
    value: Any
    version: int
    """1 for a new key, one more with each ``store``."""
    updated_at: int
    expires_at: int | None
    """From this moment on it is forgotten."""


class MemoryMatch(msgspec.Struct, frozen=True):
    """An entry that a search found, and how near it is."""

    entry: MemoryEntry
    score: float
    """The cosine of its vector and that of what was looked for: 1 is the same, 0 has nothing to do with it."""
