"""The logbook of performers: their lifecycle and changes of state, committed to their own streams, outside any run's decision.

Entries wait in a bounded buffer and are committed together, one commit per stream, without an expected version: they are
observations, derived from assignments, and losing the last few in a crash loses nothing that matters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from agenticflow.errors import AgenticFlowError
from agenticflow.runtime.failpoints import reach
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.store import Store

__all__ = ["Logbook"]

log = logging.getLogger("agenticflow.engine")

MAX_BUFFERED: Final = 10_000
MAX_PER_COMMIT: Final = 2_000
COMPANY_SECONDS: Final = 0.002
"""How long the first entry waits for others."""


class Logbook:
    """Records what performers say about themselves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._buffer: dict[str, list[NewEvent]] = {}
        self._buffered = 0
        self._flush: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self.dropped = 0
        """Entries lost because the store could not keep up."""
        self.listener: Callable[[str, msgspec.Struct], None] | None = None
        """Told of every entry: ``listener(stream_id, payload)``."""

    def record(self, stream_id: str, event_type: str, payload: msgspec.Struct, now: int) -> None:
        """Have the entry committed soon."""
        if self.listener is not None:
            self.listener(stream_id, payload)
        if self._buffered >= MAX_BUFFERED:
            self.dropped += 1
            return
        self._buffered += 1
        self._buffer.setdefault(stream_id, []).append(NewEvent(event_type, self._encode(payload), now))
        if self._flush is None and self._soon is None:
            # Not at once: a moment later there is more, and nobody waits for it.
            self._soon = self._loop.call_later(COMPANY_SECONDS, self._begin)
        elif self._buffered == MAX_PER_COMMIT and self._soon is not None:
            self._soon.cancel()
            self._begin()

    def _begin(self) -> None:
        self._soon = None
        self._flush = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._buffer:
                buffer, self._buffer, self._buffered = self._buffer, {}, 0
                reach("logbook.before_commit")
                commits = [
                    Commit(stream_id=stream_id, events=entries[start : start + MAX_PER_COMMIT], can_wait=True)
                    for stream_id, entries in buffer.items()
                    for start in range(0, len(entries), MAX_PER_COMMIT)
                ]
                if len(commits) == 1:
                    await self._store.commit(commits[0])
                else:
                    await asyncio.gather(*map(self._store.commit, commits))
                reach("logbook.after_commit")
        except AgenticFlowError as error:
            log.warning("changes of state of agents were not recorded: %s", error)
        finally:
            self._flush = None

    async def close(self) -> None:
        """Write what is buffered."""
        if self._soon is not None:
            self._soon.cancel()
            self._begin()
        if self._flush is not None:
            await asyncio.wait([self._flush], timeout=5)
