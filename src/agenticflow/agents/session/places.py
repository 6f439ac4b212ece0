"""Where a conversation is: in the stream of a store, or in this process only. Both apply the same decisions to the same window.

A window may be behind the store at any moment: other sessions and processes write too. That is harmless: adding needs no version, and
what depends on the window expects its version, is refused when it is behind, catches up and decides again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from agenticflow.agents.session.facts import SESSION_FACTS, AddItems, SessionItem, stream_of_session
from agenticflow.agents.session.window import Numbered, SessionDecider, SessionWindow
from agenticflow.core.decider import Command, Fact
from agenticflow.core.types import ANY_VERSION
from agenticflow.core.values import reference_in
from agenticflow.errors import ConcurrencyConflict, CorruptStore, UsageError
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import Blob, Row, Snapshot
from agenticflow.storage.store import Store

__all__ = ["Place", "ProcessPlace", "Settled", "StorePlace"]

PAGE_EVENTS: Final = 500
MAX_CONFLICTS: Final = 1_000
"""Each is somebody else's success, so they end; who loses that often in a row is told."""
SNAPSHOT_EVENTS: Final = 64
"""Events before a snapshot is worth its bytes; a large window waits until as many bytes of events have passed, or …"""
MAX_TAIL_EVENTS: Final = 1_000
"""… so many events: reading never folds more than these."""
SNAPSHOT_SCHEMA: Final = 1
MAX_ANSWERED: Final = 1_000
"""Command ids that a conversation without a store remembers."""
DECIDER: Final = SessionDecider()


_places: WeakKeyDictionary[Store, WeakValueDictionary[str, StorePlace]] = WeakKeyDictionary()
"""Every conversation of a store that a session of this process is about."""


class Settled(NamedTuple):
    """What came of a command."""

    is_changed: bool
    newest: Numbered | None
    """The newest item of the window on which it was decided."""


class Place(Protocol):
    """Keeps the window of one conversation."""

    @property
    def window(self) -> SessionWindow:
        """The window as it was when it was last looked at."""

    async def current(self) -> SessionWindow:
        """Return the window with everything in it that was committed before the call."""

    async def add(self, command: AddItems, command_id: str | None) -> bool:
        """Make the addition true after whatever is there; return whether it was new."""

    async def settle(self, command: Command) -> Settled:
        """Decide the command on the current window and make it true."""

    async def resolve(self, data: bytes) -> bytes:
        """Return the encoded item behind ``data``, which may be a reference."""


class ProcessPlace:
    """A conversation that is gone with its object: a window, and no history."""

    __slots__ = ("_answered", "_version", "window")

    def __init__(self, session_id: str) -> None:
        self.window = DECIDER.initial(stream_of_session(session_id))
        self._version = 0
        self._answered: dict[str, None] = {}

    async def current(self) -> SessionWindow:
        return self.window

    async def add(self, command: AddItems, command_id: str | None) -> bool:
        if command_id is not None:
            if command_id in self._answered:
                return False
            self._answered[command_id] = None
            if len(self._answered) > MAX_ANSWERED:
                del self._answered[next(iter(self._answered))]
        blobs = dict(command.blobs)
        items = tuple(_inline(item, blobs) for item in command.items) if blobs else command.items
        return (await self.settle(AddItems(now=command.now, items=items, keep=command.keep))).is_changed

    async def settle(self, command: Command) -> Settled:
        newest = self.window.items[-1] if self.window.items else None
        facts = DECIDER.decide(self.window, command)
        for fact in facts:
            self._version += 1
            DECIDER.evolve(self.window, fact, self._version, command.now)
        return Settled(bool(facts), newest)

    async def resolve(self, data: bytes) -> bytes:
        return data


class StorePlace:
    """A conversation in the stream ``session-<id>`` of a store."""

    __slots__ = (
        "__weakref__",
        "_bytes_since_snapshot",
        "_is_loaded",
        "_is_sure",
        "_snapshot_version",
        "_store",
        "_under_way",
        "_version",
        "window",
    )

    def __init__(self, session_id: str, store: Store) -> None:
        self.window = DECIDER.initial(stream_of_session(session_id))
        self._store = store
        self._version = 0
        self._snapshot_version = 0
        self._bytes_since_snapshot = 0
        self._is_loaded = False
        self._under_way = 0
        """Commits whose outcome this place does not know yet; somebody else may."""
        self._is_sure = True
        """Whether the outcome of every other commit is known."""

    @staticmethod
    def of(session_id: str, store: Store) -> StorePlace:
        """Return the place of that conversation, shared by all its sessions in this process while one of them lives."""
        places = _places.setdefault(store, WeakValueDictionary())
        place = places.get(session_id)
        if place is None:
            place = places[session_id] = StorePlace(session_id, store)
        return place

    @property
    def store(self) -> Store:
        """What keeps it."""
        return self._store

    async def current(self) -> SessionWindow:
        if self._is_loaded and not self._under_way and self._is_sure and self._store.is_exclusive:
            return self.window  # nobody else writes, and this place knows of each commit
        return await self._catch_up()

    async def _catch_up(self) -> SessionWindow:
        stream_id = self.window.stream_id
        if not self._is_loaded:
            await self._load()
        while page := await self._store.read_page(stream_id, self._version, PAGE_EVENTS):
            for stored in page:
                # Another task may have caught up, or added, while this one waited for the page.
                if stored.version <= self._version:
                    continue
                if stored.version > self._version + 1:
                    raise CorruptStore(f"event {self._version + 1} of {stream_id!r} is gone", hint="restore the store")
                fact = SESSION_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
                self._take(fact, stored.timestamp, len(stored.data))
            if len(page) < PAGE_EVENTS:
                break
        return self.window

    async def add(self, command: AddItems, command_id: str | None) -> bool:
        if not self._is_loaded:
            await self.current()
        facts = DECIDER.decide(self.window, command)
        if not facts:
            return False
        if command_id is not None:
            command_id = f"{self.window.stream_id}:{command_id}"
        return await self._commit(facts, command, ANY_VERSION, command_id)

    async def settle(self, command: Command) -> Settled:
        conflicts = 0
        while True:
            await self.current()
            newest = self.window.items[-1] if self.window.items else None
            facts = DECIDER.decide(self.window, command)
            if not facts:
                return Settled(False, newest)
            try:
                await self._commit(facts, command, self._version, None)
            except ConcurrencyConflict:
                conflicts += 1
                if conflicts >= MAX_CONFLICTS:
                    raise
                await self._catch_up()
                continue
            return Settled(True, newest)

    async def resolve(self, data: bytes) -> bytes:
        reference = reference_in(data)
        if reference is None:
            return data
        blob = await self._store.get_blob(reference.hash)
        if blob is None:
            raise CorruptStore(
                f"an item {reference.hash} of {self.window.stream_id!r} is gone", hint="restore the store"
            )
        return blob

    async def _load(self) -> None:
        stream_id = self.window.stream_id
        snapshot = await self._store.get_snapshot(stream_id)
        if self._is_loaded:
            return  # by another task, meanwhile
        if snapshot is not None and snapshot.schema_version == SNAPSHOT_SCHEMA:
            self.window = DECIDER.initial(stream_id, snapshot.data)
            self._version = self._snapshot_version = snapshot.version
        self._is_loaded = True

    async def _commit(self, facts: Sequence[Fact], command: Command, expected: int, command_id: str | None) -> bool:
        """Commit the facts; return whether they were new. The window takes them when nobody came between."""
        events = [NewEvent(fact.event_type, SESSION_FACTS.encode(fact), command.now) for fact in facts]
        rows: list[Row] = [Blob(name, data) for name, data in command.blobs]
        snapshot = self._snapshot_if_due()
        if snapshot is not None:
            rows.append(snapshot)
        commit = Commit(
            stream_id=self.window.stream_id, expected=expected, events=events, command_id=command_id, rows=rows
        )
        self._under_way += 1
        try:
            committed = await self._store.commit(commit)
        except UsageError:
            raise  # nothing was written
        except BaseException:
            # Cancelled, or the disk failed: it may still happen, at any time, and then nobody tells this place.
            self._is_sure = False
            raise
        finally:
            self._under_way -= 1
        if committed.is_repeated:
            return False
        if snapshot is not None and snapshot.version > self._snapshot_version:
            self._snapshot_version, self._bytes_since_snapshot = snapshot.version, 0
        if committed.version - len(facts) == self._version:
            for fact, event in zip(facts, events, strict=True):
                self._take(fact, command.now, len(event.data))
        elif committed.version > self._version:
            await self._catch_up()
        return True

    def _take(self, fact: Fact, at: int, size: int) -> None:
        self._version += 1
        self._bytes_since_snapshot += size
        DECIDER.evolve(self.window, fact, self._version, at)

    def _snapshot_if_due(self) -> Snapshot | None:
        """Return a snapshot of the window before the commit it goes into: what has been written since the last one pays for it."""
        tail = self._version - self._snapshot_version
        if tail < SNAPSHOT_EVENTS:
            return None
        if self._bytes_since_snapshot < self.window.stored_bytes and tail < MAX_TAIL_EVENTS:
            return None
        return Snapshot(
            stream_id=self.window.stream_id,
            version=self._version,
            data=DECIDER.snapshot(self.window),
            schema_version=SNAPSHOT_SCHEMA,
        )


def _inline(item: SessionItem, blobs: Mapping[str, bytes]) -> SessionItem:
    reference = reference_in(bytes(item.data))
    return item if reference is None else SessionItem(msgspec.Raw(blobs[reference.hash]), item.opens, item.closes)
