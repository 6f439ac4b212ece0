"""How events reach whoever is interested: patterns, queues, order, retries, dead letters, positions; and the port of a broker.

Nothing here is the truth: what matters is in the store. Data passes from a ``Broker`` (ephemeral) or a store (recorded) through the
router to subscriptions, and back only as facts about dead letters and positions.
"""

from agenticflow.communication.bus import (
    Broker,
    BusMonitor,
    DeadLetter,
    Deliver,
    EventHandler,
    Replay,
    SubscriptionStatistics,
)
from agenticflow.communication.facts import (
    DeadLetterClosed,
    EventDeadLettered,
    SubscriptionAdvanced,
    SubscriptionStarted,
)
from agenticflow.communication.matching import EventPattern

__all__ = [
    "Broker",
    "BusMonitor",
    "DeadLetter",
    "DeadLetterClosed",
    "Deliver",
    "EventDeadLettered",
    "EventHandler",
    "EventPattern",
    "Replay",
    "SubscriptionAdvanced",
    "SubscriptionStarted",
    "SubscriptionStatistics",
]
