"""The event bus: who is interested is told. A hint, never the truth: what matters is in the store.

With a store, ``publish`` commits the event to the stream ``topic-<first part of its type>`` first, and subscribers are told of every event
of the store, the engine's included, from the moment they subscribed. Without one it is ephemeral: an event nobody listens to is gone.
Each subscription has a bounded queue and is served in order.
"""

from __future__ import annotations

import asyncio
import fnmatch
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from agenticflow.core.clocks import ambient
from agenticflow.core.events import AgenticEvent
from agenticflow.errors import AgenticFlowError, ConfigurationError, InvalidInput, TemporaryError
from agenticflow.storage.store import Store

__all__ = ["EventBus", "EventHandler"]

log = logging.getLogger("agenticflow.bus")

EventHandler = Callable[[AgenticEvent], Awaitable[None] | None]
MAX_QUEUED: Final = 1_000


RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0


class _Subscription:
    __slots__ = ("_has_events", "_has_room", "_is_over", "_queue", "handler", "pattern", "task")

    def __init__(self, pattern: str, handler: EventHandler) -> None:
        self.pattern = pattern
        self.handler = handler
        self.task: asyncio.Task[None] | None = None
        self._queue: deque[AgenticEvent] = deque()
        self._has_events = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_over = False

    def matches(self, event_type: str) -> bool:
        return self.pattern == event_type or fnmatch.fnmatchcase(event_type, self.pattern)

    async def offer(self, event: AgenticEvent) -> None:
        """Queue the event; wait while the queue is full. After the end it is dropped."""
        while len(self._queue) >= MAX_QUEUED and not self._is_over:
            self._has_room.clear()
            await self._has_room.wait()
        if not self._is_over:
            self._queue.append(event)
            self._has_events.set()

    async def serve(self) -> None:
        """Call the handler for one event after the other, until the end."""
        while not self._is_over:
            if not self._queue:
                self._has_events.clear()
                await self._has_events.wait()
                continue
            event = self._queue.popleft()
            self._has_room.set()
            try:
                answer = self.handler(event)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:
                log.exception("the handler of %r failed on event %s", self.pattern, event.id)

    def end(self) -> None:
        """Deliver nothing more. A handler at work is interrupted, unless it is the one that asks."""
        self._is_over = True
        self._has_room.set()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()


class EventBus:
    """``bus = EventBus(); await bus.subscribe("task_completed", handler)``."""

    def __init__(self, backend: str = "memory", *, store: Store | None = None) -> None:
        if backend not in ("memory", "memory:"):
            raise ConfigurationError(
                f"no event bus is known for {backend!r}", hint='this release has EventBus("memory")'
            )
        self.store = store
        self._is_attached = False
        """Whether the store is an orchestrator's, which takes it along when it stops."""
        self._subscriptions: dict[str, _Subscription] = {}
        self._follower: asyncio.Task[None] | None = None
        self._following = asyncio.Event()

    async def subscribe(self, pattern: str, handler: EventHandler) -> str:
        """Call ``handler(event)`` for every event whose type matches ``pattern`` (``*`` and ``?`` as in file names).

        Returns the subscription's id. A handler that raises is logged and the next event is delivered.
        """
        if not isinstance(pattern, str) or not pattern:
            raise InvalidInput(
                f"{pattern!r} is no pattern", hint='write await bus.subscribe("task_completed", handler)'
            )
        if not callable(handler):
            raise InvalidInput(f"the handler for {pattern!r} is a {type(handler).__name__}, not a function")
        subscription_id = ambient.ids.next_id()
        subscription = self._subscriptions[subscription_id] = _Subscription(pattern, handler)
        subscription.task = asyncio.get_running_loop().create_task(subscription.serve())
        await self._follow()
        return subscription_id

    async def unsubscribe(self, subscription_id: str) -> None:
        """End the subscription; an unknown id changes nothing."""
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is not None:
            subscription.end()

    async def publish(self, event: AgenticEvent) -> None:
        """Tell the subscribers; with a store, commit first. Waits while a subscriber's queue is full."""
        if not isinstance(event, AgenticEvent):
            raise InvalidInput(f"only AgenticEvent can be published, not {type(event).__name__}")
        if self.store is not None:
            await self.store.append(f"topic-{event.event_type.partition('.')[0]}", [event])
        else:
            await self._deliver(event)

    async def start(self) -> None:
        """Begin to follow the store, if there is one; implied by use, a second call does nothing."""
        await self._follow()

    async def stop(self) -> None:
        """End all subscriptions, let go of a store that was attached; a second call does nothing."""
        tasks = {s.task for s in self._subscriptions.values() if s.task is not None}
        for subscription in self._subscriptions.values():
            subscription.end()
        self._subscriptions.clear()
        if self._follower is not None:
            self._follower.cancel()
            tasks.add(self._follower)
            self._follower = None
        if self._is_attached:
            self.store, self._is_attached = None, False
        tasks -= {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def attach(self, store: Store) -> None:
        """Follow ``store`` from now on; an orchestrator attaches its bus by itself."""
        if self.store is None:
            self.store, self._is_attached = store, True
            await self._follow()

    async def _follow(self) -> None:
        if self.store is None or not self._subscriptions:
            return
        if self._follower is None or self._follower.done():
            self._following.clear()
            self._follower = asyncio.get_running_loop().create_task(self._pass_on(self.store))
        await self._following.wait()

    async def _pass_on(self, store: Store) -> None:
        position: int | None = None
        pause = RETRY_SECONDS
        try:
            while True:
                try:
                    if position is None:
                        position = await store.last_position()
                    self._following.set()
                    async for event in store.stream_events(after_position=position):
                        await self._deliver(event)
                        position, pause = event.position, RETRY_SECONDS
                except TemporaryError as error:
                    log.warning("subscribers are told nothing for %g s: %s", pause, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, MAX_RETRY_SECONDS)
        except AgenticFlowError as error:
            log.error("subscribers are not told any more: %s", error)
        finally:
            self._following.set()

    async def _deliver(self, event: AgenticEvent) -> None:
        for subscription in list(self._subscriptions.values()):
            if subscription.matches(event.event_type):
                await subscription.offer(event)
