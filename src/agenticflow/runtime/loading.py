"""Loading: the state of an execution folded from its stream, with the large values that takes.

Reads only. What is folded belongs to whoever asked; nothing is kept here but the values at hand.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from agenticflow.core.codec import content_hash
from agenticflow.core.decider import Fact
from agenticflow.core.engine import Guest
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.core.values import BlobMissing, Values
from agenticflow.errors import ConcurrencyConflict, CorruptStore
from agenticflow.runtime.actors import Actor
from agenticflow.runtime.failpoints import reach
from agenticflow.storage.commits import Commit, StoredEvent
from agenticflow.storage.rows import Blob
from agenticflow.storage.store import Store

__all__ = ["Loader", "answered_before"]

log = logging.getLogger("agenticflow.engine")

PAGE_EVENTS: Final = 2_000


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from what is made at once and lives on: it would walk over the whole heap again and again and find
    nothing. Restoring a run of 10,000 events takes a third less time (``benchmarks``, ``replay``)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Loader:
    """Folds streams of one store; ``values`` are the large values at hand."""

    def __init__(self, store: Store, values: Values) -> None:
        self._store = store
        self.values = values

    async def load(self, actor: Actor) -> list[Fact]:
        """Fold the actor's stream, from its newest snapshot on; return the facts that nobody here has acted on.

        Raises ``CorruptStore`` when an event, or a value it refers to, cannot be read.
        """
        guest, stream_id = actor.guest, actor.stream_id
        snapshot = await self._store.get_snapshot(stream_id)
        state = None
        folded_from = 0
        news: list[Fact] = []
        if snapshot is not None and not 0 <= actor.dispatched < snapshot.version:
            try:
                with _collector_at_rest():
                    state = guest.initial(stream_id, snapshot.data)
                folded_from = snapshot.version
            except CorruptStore as error:
                log.warning("folding %s from its beginning: %s", stream_id, error)
        if state is None:
            state = guest.initial(stream_id)
        dispatched = actor.dispatched

        def look(fact: Fact, version: int) -> None:
            if 0 <= dispatched < version:
                news.append(fact)

        state.values = self.values
        version = await self.fold(guest, state, stream_id, after=folded_from, look=look)
        if actor.listing is not None:
            state.unlisted.clear()  # what has happened was listed when it did
        actor.state, actor.version = state, version
        actor.snapshot_version = folded_from
        actor.listed = None
        actor.dispatched = version
        if version:
            actor.told = state.status
        reach("host.loaded")
        return news

    async def fold(
        self,
        guest: Guest[Any],
        state: Any,
        stream_id: str,
        *,
        after: int = 0,
        upto: int | None = None,
        look: Callable[[Fact, int], None] | None = None,
    ) -> int:
        """Take the events of the stream above ``after`` (up to ``upto``) into ``state``; return the version of the last.

        ``look(fact, version)`` is called for each.
        """
        decode, evolve = guest.codec.decode, guest.evolve
        version = after
        while page := await self._store.read_page(stream_id, version, PAGE_EVENTS):
            for stored in page:
                fact = decode(stored.event_type, stored.data, stored.schema_version)
                try:
                    evolve(state, fact, stored.version, stored.timestamp)
                except BlobMissing:
                    await self._evolve_large(guest, state, fact, stored)
                version = stored.version
                if look is not None:
                    look(fact, version)
                if version == upto:
                    return version
            if len(page) < PAGE_EVENTS:
                break
        return version

    async def _evolve_large(self, guest: Guest[Any], state: Any, fact: Fact, stored: StoredEvent) -> None:
        """Evolve by a fact that needs large values: all of them are kept until it is taken."""
        with self.values.gathering():
            while True:
                try:
                    guest.evolve(state, fact, stored.version, stored.timestamp)
                    return
                except BlobMissing as missing:
                    await self.fetch(missing, stored.stream_id)

    async def fetch(self, missing: BlobMissing, stream_id: str) -> None:
        """Have at hand the value that a pure reader of the state asked for. Raises ``CorruptStore`` when it is gone."""
        reference = missing.reference
        data = await self._store.get_blob(reference.hash)
        if data is None:
            raise CorruptStore(
                f"the value {reference.hash} ({reference.size:,} bytes) of {stream_id!r} is gone",
                hint="run `agenticflow store verify`",
            )
        self.values.put(reference.hash, data)


async def answered_before(store: Store, stream_id: str, command_id: str) -> int | None:
    """Return the version that a command led to the first time, ``None`` when it is new: what was accepted once is not done again.

    The store is asked with a commit that nothing can make true: it answers a known command id, and meets a conflict for others.
    Raises what ``Store.commit`` raises when it cannot be asked.
    """
    never = Blob(content_hash(b""), b"")
    try:
        known = await store.commit(
            Commit(stream_id=stream_id, expected=MAX_RUN_EVENTS**2, command_id=command_id, rows=(never,))
        )
    except ConcurrencyConflict:
        return None
    return known.version
