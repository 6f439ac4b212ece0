"""The place the kit runs at: what a bus has to give, what it may declare, and the few words all cases share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from agenticflow.app.event_bus import EventBus
from agenticflow.core.events import AgenticEvent
from agenticflow.resilience import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store

__all__ = ["AT_ONCE", "ONCE", "BusPlace", "Listener", "eventually", "numbered"]

ONCE: Final = RetryPolicy(max_attempts=1)
AT_ONCE: Final = RetryPolicy(max_attempts=3, initial_delay_seconds=0)


class BusPlace(ABC):
    """Where the cases run. Each case has a place of its own, empty at first."""

    holds_publishers_back: ClassVar[bool] = True
    """Whether ``publish`` itself waits for a full ephemeral queue. Brokers outside the process take the event and say ``False``."""
    patience_seconds: ClassVar[float] = 20.0
    """No case waits longer than this."""

    @abstractmethod
    def make_bus(self, store: Store | None = None, **options: Any) -> EventBus:
        """Return a bus of the kind to be proven; several of one case are those of one program before and after a restart."""

    async def open_store(self) -> Store:
        """Open a store, the same as before when it was opened in this case already; memory, unless a backend wants to prove its own."""
        if not hasattr(self, "_kept"):
            self._kept = MemoryStore()
        return self._kept

    async def close_store(self, store: Store) -> None:
        """End a program's use of the store; that of memory stays open, or everything would be gone."""
        assert store is getattr(self, "_kept", None), "who opens stores closes them"

    @asynccontextmanager
    async def bus(self, *, has_store: bool = False, **options: Any) -> AsyncIterator[EventBus]:
        """Give a bus for a stretch of a case, stopped afterwards; one block after the other is a program that was started again."""
        async with asyncio.timeout(self.patience_seconds):
            store = await self.open_store() if has_store else None
            bus = self.make_bus(store, **options)
            try:
                yield bus
            finally:
                await bus.stop()
                if store is not None:
                    await self.close_store(store)


class Listener:
    """A handler that remembers what it was told. ``fails`` says on which events it raises, ``gate`` holds it up while it is cleared."""

    def __init__(self, fails: Callable[[AgenticEvent], bool] = lambda event: False) -> None:
        self.heard: list[AgenticEvent] = []
        """What it has dealt with."""
        self.calls = 0
        self.fails = fails
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, event: AgenticEvent) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.fails(event):
            raise LookupError(f"no place for {event.id}")
        self.heard.append(event)

    @property
    def numbers(self) -> list[object]:
        """The ``n`` of what it has dealt with."""
        return [event.payload.get("n") for event in self.heard]


def numbered(number: int, event_type: str = "counted", **fields: object) -> AgenticEvent:
    """Return an event with ``n`` and ``fields`` in its payload."""
    return AgenticEvent(event_type, {"n": number, **fields})


async def eventually(holds: Callable[[], object]) -> None:
    """Return as soon as ``holds()``; the case has its own time limit."""
    turn = 0
    while not holds():
        turn += 1
        await asyncio.sleep(0 if turn < 100 else 0.002)
