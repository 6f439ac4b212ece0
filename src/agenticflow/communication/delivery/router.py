"""Who is told of an event. Patterns are asked once for each event type, not once for each event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from agenticflow.communication.delivery.subscription import Subscription
from agenticflow.core.events import AgenticEvent

__all__ = ["Router"]

MAX_KNOWN_TYPES: Final = 10_000


class Router:
    """The subscriptions of one bus, and for each event type seen lately those that it concerns."""

    __slots__ = ("_by_type", "_subscriptions")

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._by_type: dict[str, tuple[Subscription, ...]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._subscriptions.values()))

    def __len__(self) -> int:
        return len(self._subscriptions)

    def get(self, subscription_id: str) -> Subscription | None:
        """Return the subscription of that id, if there is one."""
        return self._subscriptions.get(subscription_id)

    def add(self, subscription: Subscription) -> None:
        """Tell ``subscription`` of events from now on."""
        self._subscriptions[subscription.subscription_id] = subscription
        self._by_type.clear()

    def remove(self, subscription_id: str) -> Subscription | None:
        """Tell it nothing more; return it, if it was there."""
        self._by_type.clear()
        return self._subscriptions.pop(subscription_id, None)

    def matching(self, event_type: str) -> tuple[Subscription, ...]:
        """Return the subscriptions whose pattern means this type, in the order in which they were added."""
        found = self._by_type.get(event_type)
        if found is None:
            found = tuple(s for s in self._subscriptions.values() if s.options.pattern.matches(event_type))
            if len(self._by_type) >= MAX_KNOWN_TYPES:
                self._by_type.clear()
            self._by_type[event_type] = found
        return found

    async def deliver(self, event: AgenticEvent) -> None:
        """Pass an ephemeral event on: first to everybody who has room, then, after the wait it asks for, to each who has not.

        Raises ``BoundExceeded`` when a subscription rejects it; the others have it all the same.
        """
        crowded: list[Subscription] | None = None
        for subscription in self.matching(event.event_type):
            if not subscription.offer(event):
                crowded = [subscription] if crowded is None else [*crowded, subscription]
        if crowded is not None:
            sender = asyncio.current_task()
            answers = await asyncio.gather(
                *(subscription.press(event, sender) for subscription in crowded), return_exceptions=True
            )
            for answer in answers:
                if answer is not None:
                    raise answer

    async def hold_back(self, event_type: str) -> None:
        """Wait, as the publisher of an event that goes by way of the store, as long as the subscriptions it concerns ask for."""
        crowded = [s for s in self.matching(event_type) if s.is_pressed]
        if crowded:
            sender = asyncio.current_task()
            await asyncio.gather(*(subscription.hold_back(sender) for subscription in crowded))
