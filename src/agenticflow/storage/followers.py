"""Telling readers what was just committed, without ever holding more than a bounded number of events for a slow one.

A follower registers first, then reads the store up to its end, then drains its buffer; what it has read already is passed
over by position. When its buffer overflows it forgets everything and its reader goes back to the store. All calls happen
on the event loop's thread, after the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from agenticflow.errors import StoreUnavailable
from agenticflow.storage.commits import StoredEvent

__all__ = ["Follower", "Followers"]

BUFFER_EVENTS: Final = 4_096


class Follower:
    """One reader's bounded buffer of live events."""

    __slots__ = ("_buffer", "_has_overflowed", "_is_closed", "_limit", "_wake")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer: deque[StoredEvent] = deque()
        self._has_overflowed = False
        self._is_closed = False
        self._wake = asyncio.Event()

    async def drain(self, after_position: int) -> AsyncIterator[StoredEvent]:
        """Yield live events above ``after_position`` as they come; end when the buffer overflowed, so that the reader
        catches up from the store. Raises ``StoreUnavailable`` when the store was closed."""
        while True:
            while self._buffer:
                stored = self._buffer.popleft()
                if stored.position > after_position:
                    yield stored
            if self._has_overflowed:
                self._has_overflowed = False
                return
            if self._is_closed:
                raise StoreUnavailable(
                    "the store was closed while it was being followed", hint="open it and follow again"
                )
            self._wake.clear()
            await self._wake.wait()

    def offer(self, events: Sequence[StoredEvent]) -> None:
        """Take over what was just committed."""
        if len(self._buffer) + len(events) > self._limit:
            self.fall_behind()
        elif not self._has_overflowed:
            self._buffer.extend(events)
        self._wake.set()

    def fall_behind(self) -> None:
        """Forget what is buffered: the reader has to go back to the store."""
        self._buffer.clear()
        self._has_overflowed = True
        self._wake.set()

    def close(self) -> None:
        self._is_closed = True
        self._wake.set()


class Followers:
    """Everybody who follows one store. Truthy while there is anybody, so that a store may skip the work."""

    __slots__ = ("_followers",)

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def __bool__(self) -> bool:
        return bool(self._followers)

    @contextmanager
    def follow(self, limit: int = BUFFER_EVENTS) -> Iterator[Follower]:
        """Register a follower for the length of the block."""
        follower = Follower(limit)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def tell(self, events: Sequence[StoredEvent]) -> None:
        """Pass on what was just committed, in order of position."""
        for follower in self._followers:
            follower.offer(events)

    def fall_behind(self) -> None:
        """Send every follower back to the store: something was committed that nobody kept for them, because nobody followed
        when the commit began."""
        for follower in self._followers:
            follower.fall_behind()

    def close(self) -> None:
        """End every follower with ``StoreUnavailable``."""
        for follower in self._followers:
            follower.close()
