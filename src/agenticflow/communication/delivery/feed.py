"""From the store to its subscribers: one follower for everybody who keeps up, a reader for each who does not.

The follower never waits for a subscriber. Whoever has no room falls behind and gets a reader of its own, which goes back to the store,
puts in what there is room for, and hands over to the follower when it has reached it. A new subscriber to history begins like that. So
memory is bounded, nothing is missed, and a slow subscriber holds nobody up. Only what somebody asked for is decoded, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agenticflow.communication.delivery.deadletters import MAX_RETRY_SECONDS, PAGE_EVENTS, RETRY_SECONDS, unreadable
from agenticflow.communication.delivery.queues import Progress
from agenticflow.communication.delivery.router import Router
from agenticflow.communication.delivery.subscription import EVENTS_A_TURN, Log, Subscription
from agenticflow.communication.facts import SUBSCRIPTIONS
from agenticflow.core.events import EventPredicate, RecordedEvent
from agenticflow.core.results import describe_error
from agenticflow.errors import AgenticFlowError, TemporaryError
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.event_store import decode_event
from agenticflow.storage.store import Store

__all__ = ["Feed"]


class Feed:
    """What one bus hears from one store."""

    def __init__(self, store: Store, router: Router, log: Log) -> None:
        self._store = store
        self._router = router
        self._log = log
        self.position = 0
        """Everything up to here has been passed on to those who keep up."""
        self._pause = RETRY_SECONDS
        """How long the follower waits when the store is away the next time; longer each time, until it has passed on a page."""
        self._follower: asyncio.Task[None] | None = None
        self._is_following = asyncio.Event()
        self._readers: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Follow the store, the first time from its end on; returns when it does. A second call does nothing unless that had ended."""
        if self._follower is None:
            self.position = await self._store.last_position()
        if self._follower is None or self._follower.done():
            self._is_following.clear()
            self._follower = asyncio.get_running_loop().create_task(self._follow(), name="event bus")
        await self._is_following.wait()

    async def close(self) -> None:
        """Pass nothing on any more."""
        tasks = [*self._readers.values()]
        if self._follower is not None:
            tasks.append(self._follower)
        for task in tasks:
            task.cancel()
        tasks = [task for task in tasks if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def join(self, subscription: Subscription, position: int) -> None:
        """Tell ``subscription`` of everything after ``position``."""
        subscription.progress = Progress(position)
        subscription.read_position = position
        self._fall_behind(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Tell it nothing more."""
        reader = self._readers.pop(subscription.subscription_id, None)
        if reader is not None:
            reader.cancel()

    def catch_up_progress(self, subscription: Subscription) -> None:
        """What has been passed on and was of no interest counts as done."""
        if subscription.progress is not None and not subscription.is_behind:
            subscription.progress.pass_over(max(self.position, subscription.read_position))

    async def _follow(self) -> None:
        self._pause = RETRY_SECONDS
        try:
            while True:
                try:
                    await self._hear()
                except TemporaryError as error:
                    self._log.warning("subscribers are told nothing for %g s: %s", self._pause, error)
                    await asyncio.sleep(self._pause)
                    self._pause = min(2 * self._pause, MAX_RETRY_SECONDS)
        except AgenticFlowError as error:
            self._log.error("subscribers are not told any more: %s", error)
        finally:
            self._is_following.set()

    async def _hear(self) -> None:
        """Pass on what is there and what comes, for ever. Raises ``TemporaryError`` when the store is away."""
        with self._store.followers.follow() as follower:
            self._is_following.set()
            while True:
                while page := await self._store.scan_page(self.position, PAGE_EVENTS):
                    await self._pass_on_all(page)
                    self._pause = RETRY_SECONDS
                turns = 0
                async for stored in follower.drain(self.position):
                    self._pass_on(stored)
                    turns += 1
                    if turns % EVENTS_A_TURN == 0:
                        await asyncio.sleep(0)

    async def _pass_on_all(self, page: Sequence[StoredEvent]) -> None:
        for number, stored in enumerate(page, 1):
            self._pass_on(stored)
            if number % EVENTS_A_TURN == 0:
                await asyncio.sleep(0)

    def _pass_on(self, stored: StoredEvent) -> None:
        position = stored.position
        event: RecordedEvent | None = None
        for subscription in self._router.matching(stored.event_type):
            if (
                subscription.progress is None
                or subscription.is_behind
                or subscription.read_position >= position
                or stored.stream_id.startswith(SUBSCRIPTIONS)
            ):
                continue
            if event is None:
                try:
                    event = decode_event(stored, self._store.schemas)
                except AgenticFlowError:
                    # its own reader meets it again, and can wait while it becomes a dead letter
                    self._fall_behind(subscription)
                    continue
            if not subscription.offer_stored(event):
                self._fall_behind(subscription)
        self.position = position

    def _fall_behind(self, subscription: Subscription) -> None:
        subscription.is_behind = True
        name = subscription.subscription_id
        reader = self._readers[name] = asyncio.get_running_loop().create_task(
            self._catch_up(subscription), name=f"reader for subscription {name}"
        )

        def forget(task: asyncio.Task[None]) -> None:
            if self._readers.get(name) is task:
                del self._readers[name]

        reader.add_done_callback(forget)

    async def _catch_up(self, subscription: Subscription) -> None:
        pattern = subscription.options.pattern
        only = EventPredicate(event_types=(pattern.text,)) if pattern.is_exact else None
        pause = RETRY_SECONDS
        while True:
            reached = self.position
            try:
                page = await self._store.scan_page(subscription.read_position, PAGE_EVENTS, only)
            except TemporaryError as error:
                self._log.warning(
                    "subscription %r waits %g s for the store: %s", subscription.subscription_id, pause, error
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
                continue
            except AgenticFlowError as error:
                self._log.error("subscription %r is not told any more: %s", subscription.subscription_id, error)
                return
            pause = RETRY_SECONDS
            for stored in page:
                await self._put_in(subscription, stored)
            if page:
                await asyncio.sleep(0)
                continue
            subscription.read_position = max(subscription.read_position, reached)
            if subscription.read_position >= self.position:
                subscription.is_behind, subscription.has_caught_up = False, True
                return

    async def _put_in(self, subscription: Subscription, stored: StoredEvent) -> None:
        if not subscription.options.pattern.matches(stored.event_type) or stored.stream_id.startswith(SUBSCRIPTIONS):
            subscription.read_position = stored.position
            return
        try:
            event = decode_event(stored, self._store.schemas)
        except AgenticFlowError as error:
            await subscription.give_up_unread(unreadable(stored), describe_error(error))
            subscription.read_position = stored.position
            return
        await subscription.put_stored(event)
