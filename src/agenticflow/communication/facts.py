"""What the bus records about its own work: dead letters, and where a durable subscription stands. Data only."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact, FactCodec
from agenticflow.core.results import ErrorInfo

__all__ = [
    "BUS_FACTS",
    "DEAD_LETTERS",
    "SUBSCRIPTIONS",
    "DeadLetterClosed",
    "EventDeadLettered",
    "SubscriptionAdvanced",
    "SubscriptionStarted",
]

DEAD_LETTERS: Final = "bus-deadletter-"
SUBSCRIPTIONS: Final = "bus-subscription-"
"""Streams of this kind are never delivered: a subscriber to everything would be told of its own steps, for ever."""
_NOTHING: Final = msgspec.Raw(codec.NULL)


class EventDeadLettered(Fact, frozen=True, kw_only=True):
    """A subscriber failed on an event for good, or had no room for it; the event waits for somebody to decide."""

    event_type: ClassVar[str] = "event_dead_lettered"
    stream: ClassVar[str] = "bus-deadletter-<subscription>"
    subscription: str
    pattern: str
    original_type: str
    original_id: str
    original_stream: str = ""
    """Empty when the event was never recorded; then ``original`` has it whole."""
    original_version: int = 0
    original_position: int = 0
    original: msgspec.Raw = _NOTHING
    error: ErrorInfo
    attempts: int


class DeadLetterClosed(Fact, frozen=True, kw_only=True):
    """A dead letter was dealt with: delivered after all, or discarded."""

    event_type: ClassVar[str] = "dead_letter_closed"
    stream: ClassVar[str] = "bus-deadletter-<subscription>"
    letter_id: str
    outcome: Literal["delivered", "discarded"]
    reason: str = ""


class SubscriptionStarted(Fact, frozen=True, kw_only=True):
    """A durable subscription exists from now on and hears what comes after ``position``."""

    event_type: ClassVar[str] = "subscription_started"
    stream: ClassVar[str] = "bus-subscription-<name>"
    pattern: str
    position: int


class SubscriptionAdvanced(Fact, frozen=True, kw_only=True):
    """Everything up to ``position`` has been handled. Recorded now and then; between two, a snapshot says it more closely."""

    event_type: ClassVar[str] = "subscription_advanced"
    stream: ClassVar[str] = "bus-subscription-<name>"
    position: int


BUS_FACTS: Final = FactCodec([EventDeadLettered, DeadLetterClosed, SubscriptionStarted, SubscriptionAdvanced])
