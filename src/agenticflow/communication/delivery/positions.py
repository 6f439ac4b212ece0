"""Where durable subscriptions stand, kept in the store: at least once, no gap, also after a crash.

A subscription ``name`` has the stream ``bus-subscription-<name>``: ``subscription_started`` says where it began,
``subscription_advanced`` now and then where it had come to. In between a snapshot row of that stream has the position; it is replaced,
not added to, so a busy subscription does not fill the store. A snapshot may be lost at any time; then events since the last fact are
delivered again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec

from agenticflow.communication.delivery.deadletters import new_event
from agenticflow.communication.delivery.feed import Feed
from agenticflow.communication.delivery.subscription import Log, Subscription
from agenticflow.communication.facts import BUS_FACTS, SUBSCRIPTIONS, SubscriptionAdvanced, SubscriptionStarted
from agenticflow.core.clocks import ambient
from agenticflow.core.types import NO_STREAM
from agenticflow.errors import AgenticFlowError, CorruptStore
from agenticflow.storage.commits import Commit
from agenticflow.storage.rows import Snapshot
from agenticflow.storage.store import Store

__all__ = ["Bookmark", "Bookmarks"]

SAVE_SECONDS: Final = 0.5
"""The position is written so long after the first event that moved it, ..."""
SAVE_EVENTS: Final = 200
"""... or after so many events: whichever is sooner. That is what a crash may repeat."""
FACT_EVERY_SAVES: Final = 1_000
"""Saves after which the position is a fact of its own: what a lost snapshot costs is bounded by it."""
PAGE_EVENTS: Final = 1_000


class _Mark(msgspec.Struct, frozen=True):
    position: int


class Bookmark:
    """The place of one durable subscription in one store. ``position`` is the last one known to be safe."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._stream = f"{SUBSCRIPTIONS}{name}"
        self._version = 0
        self._saves = 0
        self._recorded = 0
        """The position of the last fact; a snapshot may be further."""
        self.position = 0

    async def find(self) -> bool:
        """Look up where the subscription stands; return whether it has ever been started."""
        version, position = 0, 0
        while page := await self._store.read_page(self._stream, version, PAGE_EVENTS):
            for stored in page:
                fact = BUS_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
                if isinstance(fact, (SubscriptionStarted, SubscriptionAdvanced)):
                    position = fact.position
            version = page[-1].version
        self._recorded = position
        snapshot = await self._store.get_snapshot(self._stream)
        if snapshot is not None and version:
            position = max(position, _read(snapshot.data, self._stream))
        self._version, self.position = version, position
        return version > 0

    async def begin(self, pattern: str, position: int) -> None:
        """Start the subscription at ``position``. Raises ``ConcurrencyConflict`` when somebody else just did."""
        fact = SubscriptionStarted(pattern=pattern, position=position)
        commit = Commit(stream_id=self._stream, expected=NO_STREAM, events=[new_event(fact, ambient.clock.now_ns())])
        self._version = (await self._store.commit(commit)).version
        self.position = self._recorded = position

    async def save(self, position: int, *, is_last: bool = False) -> None:
        """Remember that everything up to ``position`` is done; ``is_last`` makes a fact of it. Going back is not possible."""
        if position <= (self._recorded if is_last else self.position):
            return
        self._saves += 1
        is_fact = is_last or self._saves >= FACT_EVERY_SAVES
        events = [new_event(SubscriptionAdvanced(position=position), ambient.clock.now_ns())] if is_fact else []
        data = msgspec.msgpack.encode(_Mark(position))
        row = Snapshot(stream_id=self._stream, version=self._version + len(events), data=data)
        committed = await self._store.commit(Commit(stream_id=self._stream, events=events, rows=[row], can_wait=True))
        self._version = committed.version
        if is_fact:
            self._saves, self._recorded = 0, position
        self.position = position


class Bookmarks:
    """Keeps the places of the durable subscriptions of one bus, by one task that ends when nothing moves."""

    def __init__(self, store: Store, feed: Feed, log: Log) -> None:
        self._store = store
        self._feed = feed
        self._log = log
        self._marks: dict[Subscription, Bookmark] = {}
        self._moved: set[Subscription] = set()
        self._events = 0
        """Events handled since a place was last written down."""
        self._many = asyncio.Event()
        self._saving: asyncio.Task[None] | None = None

    async def place_of(self, subscription: Subscription, name: str, start: int) -> int:
        """Return where ``subscription`` goes on, by default, when it is new, at ``start``; keep its place from now on."""
        mark = Bookmark(self._store, name)
        if not await mark.find():
            await mark.begin(subscription.options.pattern.text, start)
        self._marks[subscription] = mark
        subscription.advanced = lambda: self._touch(subscription)
        return mark.position

    async def finish(self, subscription: Subscription) -> None:
        """Write the place down for good and forget the subscription."""
        mark = self._marks.pop(subscription, None)
        self._moved.discard(subscription)
        if mark is not None:
            subscription.advanced = None
            await self._save(subscription, mark, is_last=True)

    async def close(self) -> None:
        """Write every place down."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait([self._saving], timeout=5)
        for subscription in list(self._marks):
            await self.finish(subscription)

    def _touch(self, subscription: Subscription) -> None:
        self._moved.add(subscription)
        self._events += 1
        if self._events == SAVE_EVENTS:
            self._many.set()
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._save_moved(), name="event bus positions")

    async def _save_moved(self) -> None:
        while self._moved:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await self._many.wait()
            self._events = 0
            self._many.clear()
            moved, self._moved = self._moved, set()
            for subscription in moved:
                mark = self._marks.get(subscription)
                if mark is not None:
                    await self._save(subscription, mark, is_last=False)

    async def _save(self, subscription: Subscription, mark: Bookmark, *, is_last: bool) -> None:
        self._feed.catch_up_progress(subscription)
        assert subscription.progress is not None
        try:
            await mark.save(subscription.progress.position, is_last=is_last)
        except AgenticFlowError as error:
            self._log.warning("the position of subscription %r was not saved: %s", subscription.subscription_id, error)
            if not is_last:
                self._moved.add(
                    subscription
                )  # the loop waits before it tries again, and again as long as the store fails


def _read(data: bytes, stream: str) -> int:
    try:
        return msgspec.msgpack.decode(data, type=_Mark).position
    except msgspec.DecodeError as error:
        raise CorruptStore(f"the position of {stream!r} is damaged: {error}") from error
