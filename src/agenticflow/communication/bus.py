"""The port of the event bus, and the words that everybody around it uses.

A ``Broker`` carries events that are in no store; what is in a store reaches subscribers from the store itself. Whoever adapts Redis or
NATS writes a ``Broker``; patterns, queues, order, retries, dead letters and positions are the bus's own, the same for every broker.
Proven by ``agenticflow.testing.event_bus_kit``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Literal, Protocol

import msgspec

from agenticflow.communication.matching import EventPattern
from agenticflow.core.events import AgenticEvent
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import InvalidInput
from agenticflow.resilience.backpressure import BackPressure
from agenticflow.resilience.retry import RetryPolicy

__all__ = [
    "Broker",
    "BusMonitor",
    "DeadLetter",
    "Deliver",
    "EventHandler",
    "Replay",
    "SubscriptionOptions",
    "SubscriptionStatistics",
    "topic_of",
]

EventHandler = Callable[[AgenticEvent], Awaitable[None] | None]
Deliver = Callable[[AgenticEvent], Awaitable[None]]
Replay = Literal["new", "all"]
QUEUE_SIZE: Final = 1_000
MAX_QUEUE_SIZE: Final = 1_000_000
MAX_CONCURRENCY: Final = 1_000
MAX_NAME_CHARS: Final = 200


class Broker(ABC):
    """Carries ephemeral events from whoever publishes to every bus that listens, in this process or another.

    Promises:

    * Events of one sender arrive in the order sent.
    * An event may be lost (nobody listened, the broker went down) and is never altered.
    * The next event is not passed on before ``deliver`` has returned: a bus whose queues are full slows the broker down.
    """

    @abstractmethod
    async def listen(self, deliver: Deliver) -> None:
        """Call ``deliver`` for every event from now on, until ``close``. A second call replaces the first.

        Raises ``TemporaryError`` when the broker cannot be reached.
        """

    @abstractmethod
    async def send(self, event: AgenticEvent) -> None:
        """Pass ``event`` on; returns when the broker has it.

        Raises ``BoundExceeded`` when a receiver in this process rejects it, ``TemporaryError`` when the broker cannot be reached; then it
        may or may not have arrived.
        """

    @abstractmethod
    async def close(self) -> None:
        """Pass nothing on any more; ``listen`` opens it again. A second call does nothing."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a subscriber could not deal with, and why."""

    letter_id: str
    """With a store the id of its ``event_dead_lettered`` event; ``memory-<n>`` without one."""
    subscription: str
    """Name of the durable subscription, or the id of the other kind."""
    pattern: str
    event: AgenticEvent
    """The event itself; a ``RecordedEvent`` when it is in the store."""
    error: ErrorInfo
    attempts: int
    at: int
    """When it was given up, in nanoseconds since the epoch."""


class SubscriptionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How one subscription is doing. Counts begin with ``subscribe``."""

    subscription_id: str
    pattern: str
    is_durable: bool
    delivered: int
    """Events handled."""
    failed: int
    """Attempts that raised; one event may fail several times."""
    dead: int
    """Events that became dead letters."""
    dropped: int
    """Events that made room for newer ones (``drop_oldest``)."""
    queued: int
    """Events waiting in memory, without those in work."""
    in_work: int
    is_behind: bool
    """Whether it is reading from the store what it has no room for in memory, or what was before it."""
    lag_seconds: float
    """Age of the oldest event that waits or is in work; 0 when there is none."""
    position: int | None
    """Everything up to here has been handled; ``None`` without a store."""


class BusMonitor(Protocol):
    """Is told what the bus does, at once and on the event loop: count, do not wait. One that raises is logged and otherwise ignored."""

    def event_published(self, event: AgenticEvent) -> None:
        """``event`` was accepted from a publisher."""

    def event_delivered(self, event: AgenticEvent, subscription: str) -> None:
        """The handler has dealt with ``event``."""

    def delivery_failed(self, event: AgenticEvent, subscription: str, error: ErrorInfo, attempt: int) -> None:
        """The handler raised on attempt number ``attempt`` (from 1)."""

    def event_dead_lettered(self, letter: DeadLetter) -> None:
        """An event was given up."""


class SubscriptionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a subscription but its handler. Raises ``InvalidInput`` for what makes no sense."""

    pattern: EventPattern
    subscription_id: str
    name: str | None = None
    replay: Replay = "new"
    from_position: int | None = None
    concurrency: int = 1
    key: Callable[[AgenticEvent], Hashable] | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    back_pressure: BackPressure = BackPressure()
    queue_size: int = QUEUE_SIZE

    def __post_init__(self) -> None:
        what = f"the subscription to {self.pattern.text!r}"
        name = self.name
        if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and "@" not in name):
            raise InvalidInput(
                f"{name!r:.80} is no name for a subscription", hint=f"give 1 to {MAX_NAME_CHARS} characters without '@'"
            )
        if self.replay not in ("new", "all"):
            raise InvalidInput(f"{what} has replay={self.replay!r}", hint="it is 'new' or 'all'")
        if self.from_position is not None and (self.replay != "new" or not _is_count(self.from_position, 0, None)):
            raise InvalidInput(
                f"{what} has from_position={self.from_position!r} and replay={self.replay!r}",
                hint="give one of them; a position is that of a recorded event, 0 for the beginning",
            )
        for field, least, most in (("concurrency", 1, MAX_CONCURRENCY), ("queue_size", 1, MAX_QUEUE_SIZE)):
            if not _is_count(getattr(self, field), least, most):
                raise InvalidInput(
                    f"{what} has {field}={getattr(self, field)!r}", hint=f"give a whole number from {least} to {most:,}"
                )
        if self.key is not None and not callable(self.key):
            raise InvalidInput(f"{what} has key={self.key!r}", hint="give a function of the event")
        for field, kind in (("retry_policy", RetryPolicy), ("back_pressure", BackPressure)):
            if not isinstance(getattr(self, field), kind):
                raise InvalidInput(f"{what} has {field}={getattr(self, field)!r:.80}", hint=f"give a {kind.__name__}")


def topic_of(event_type: str) -> str:
    """Return the stream that published events of this type are recorded on: ``topic-<first part of the type>``."""
    return f"topic-{event_type.partition('.')[0]}"


def _is_count(value: object, least: int, most: int | None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return value >= least and (most is None or value <= most)
