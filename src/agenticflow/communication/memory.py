"""The broker inside one process: the reference, and what ``EventBus()`` has."""

from __future__ import annotations

from agenticflow.communication.bus import Broker, Deliver
from agenticflow.core.events import AgenticEvent

__all__ = ["MemoryBroker"]


class MemoryBroker(Broker):
    """Hands events straight to the bus that listens. An event that nobody listens for is gone."""

    __slots__ = ("_deliver",)

    def __init__(self) -> None:
        self._deliver: Deliver | None = None

    async def listen(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def send(self, event: AgenticEvent) -> None:
        if self._deliver is not None:
            await self._deliver(event)

    async def close(self) -> None:
        self._deliver = None
