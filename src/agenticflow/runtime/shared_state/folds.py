"""Folded shared state in memory: loaded from snapshot and tail, kept current by reading what is new, dropped when it was not used for long.

A fold may be behind the store at any moment: other processes write too. That is harmless, because a commit expects the version of the
fold; who is behind is refused, catches up and decides again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from agenticflow.errors import ConcurrencyConflict
from agenticflow.runtime.shared_state.facts import ModifyState, SharedStateDecider
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.rows import Blob, Row, Snapshot
from agenticflow.storage.store import Store

__all__ = ["Fold", "Folds"]

PAGE_EVENTS: Final = 1_000
MAX_FOLDS: Final = 1_000
MAX_FOLDED_BYTES: Final = 64 * 1024 * 1024
SNAPSHOT_EVENTS: Final = 500
"""Events before a snapshot is worth its bytes; large states wait until as many bytes of events have passed."""
SNAPSHOT_SCHEMA: Final = 1
DECIDER: Final = SharedStateDecider()


class Fold:
    """The state of one stream at ``version``."""

    __slots__ = ("bytes_since_snapshot", "counted_bytes", "is_loaded", "lock", "snapshot_version", "state", "version")

    def __init__(self, stream_id: str) -> None:
        self.state = DECIDER.initial(stream_id)
        self.version = 0
        self.snapshot_version = 0
        self.bytes_since_snapshot = 0
        self.is_loaded = False
        self.counted_bytes = 0
        """What the cache has on its account for it."""
        self.lock = asyncio.Lock()
        """Held while the fold is read from the store, and while a commit on top of it is under way."""


class Folds:
    """The folds of one store, the most recently used ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folds: OrderedDict[str, Fold] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._folds)

    async def current(self, stream_id: str) -> Fold:
        """Return the fold with everything in it that was committed before the call."""
        fold = self._find(stream_id)
        async with fold.lock:
            await self._catch_up(fold)
        return fold

    async def recent(self, stream_id: str) -> Fold:
        """Return the fold as it was when somebody last looked; loaded from the store when nobody did."""
        fold = self._find(stream_id)
        if not fold.is_loaded:
            async with fold.lock:
                await self._catch_up(fold)
        return fold

    async def commit(self, fold: Fold, command: ModifyState, command_id: str | None, tries: int) -> Committed:
        """Decide ``command`` on top of the fold and make it true. Other keys of the stream may move meanwhile, at most ``tries`` times.

        Raises ``ConcurrencyConflict`` when its own key has moved, and what the store refuses with. A caller that is cancelled does
        not know the outcome; the fold is then behind at worst.
        """
        async with fold.lock:
            while True:
                [fact] = DECIDER.decide(fold.state, command)
                event = NewEvent(fact.event_type, DECIDER.codec.encode(fact), command.now)
                rows: list[Row] = [Blob(name, data) for name, data in command.blobs]
                if (snapshot := self._snapshot_if_due(fold)) is not None:
                    rows.append(snapshot)
                commit = Commit(
                    stream_id=fold.state.stream_id,
                    expected=fold.version,
                    events=[event],
                    command_id=command_id,
                    rows=rows,
                )
                try:
                    committed = await self._store.commit(commit)
                except ConcurrencyConflict:
                    tries -= 1
                    if tries <= 0:
                        raise
                    await self._catch_up(fold)
                    continue
                if not committed.is_repeated:
                    DECIDER.evolve(fold.state, fact, committed.version, command.now)
                    self._passed(fold, committed.version, len(event.data))
                    if snapshot is not None:
                        fold.snapshot_version, fold.bytes_since_snapshot = snapshot.version, len(event.data)
                return committed

    def _find(self, stream_id: str) -> Fold:
        fold = self._folds.get(stream_id)
        if fold is None:
            fold = self._folds[stream_id] = Fold(stream_id)
        self._folds.move_to_end(stream_id)
        # One that is dropped while somebody uses it stays true for them: its commits expect its version like any other's.
        while len(self._folds) > 1 and (len(self._folds) > MAX_FOLDS or self._bytes > MAX_FOLDED_BYTES):
            _, dropped = self._folds.popitem(last=False)
            self._bytes -= dropped.counted_bytes
            dropped.counted_bytes = 0
        return fold

    async def _catch_up(self, fold: Fold) -> None:
        stream_id = fold.state.stream_id
        if not fold.is_loaded:
            snapshot = await self._store.get_snapshot(stream_id)
            if snapshot is not None and snapshot.schema_version == SNAPSHOT_SCHEMA:
                fold.state = DECIDER.initial(stream_id, snapshot.data)
                fold.version = fold.snapshot_version = snapshot.version
            fold.is_loaded = True
        while page := await self._store.read_page(stream_id, fold.version, PAGE_EVENTS):
            for stored in page:
                fact = DECIDER.codec.decode(stored.event_type, stored.data, stored.schema_version)
                DECIDER.evolve(fold.state, fact, stored.version, stored.timestamp)
                self._passed(fold, stored.version, len(stored.data))
            if len(page) < PAGE_EVENTS:
                break

    def _passed(self, fold: Fold, version: int, size: int) -> None:
        fold.version = version
        fold.bytes_since_snapshot += size
        if self._folds.get(fold.state.stream_id) is fold:
            self._bytes += fold.state.size_bytes - fold.counted_bytes
            fold.counted_bytes = fold.state.size_bytes

    def _snapshot_if_due(self, fold: Fold) -> Snapshot | None:
        """Return a snapshot of the state before the commit it goes into: what has been written since the last one pays for it."""
        is_due = fold.version - fold.snapshot_version >= SNAPSHOT_EVENTS
        if not is_due or fold.bytes_since_snapshot < fold.state.size_bytes:
            return None
        return Snapshot(
            stream_id=fold.state.stream_id,
            version=fold.version,
            data=DECIDER.snapshot(fold.state),
            schema_version=SNAPSHOT_SCHEMA,
        )
