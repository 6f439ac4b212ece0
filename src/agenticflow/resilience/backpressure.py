"""The back-pressure policy: how long a sender waits before a filling queue, and what becomes of what finds it full. Pure.

The delay is a limit, not a fixed pause: whoever waits goes on as soon as the load is back below ``starts_at``, so a burst is slowed down
to the speed of the receiver and no further.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["BackPressure", "WhenFull"]

WhenFull = Literal["dead_letter", "drop_oldest", "reject"]
MAX_WAIT_SECONDS: Final = 3_600.0


class BackPressure(msgspec.Struct, frozen=True, omit_defaults=True):
    """From a load of ``starts_at`` on a sender waits, at a full queue for at most ``max_delay_seconds``, in between in proportion.

    ``when_full`` says what becomes of an event that finds the queue full even after the wait: it is put to the ``dead_letter`` s of that
    receiver (the default), the oldest waiting event makes room and is counted (``drop_oldest``), or the sender gets ``BoundExceeded``
    (``reject``). ``starts_at=1.0`` waits only at a full queue, ``max_delay_seconds=0`` never.
    """

    starts_at: float = 0.8
    max_delay_seconds: float = 10.0
    when_full: WhenFull = "dead_letter"

    def __post_init__(self) -> None:
        if not _is_number(self.starts_at) or not 0 < self.starts_at <= 1:
            raise DefinitionError(
                f"starts_at of a back-pressure policy is {self.starts_at!r}",
                hint="give the share of the capacity from which senders wait, above 0 and at most 1",
            )
        if not _is_number(self.max_delay_seconds) or not 0 <= self.max_delay_seconds <= MAX_WAIT_SECONDS:
            raise DefinitionError(
                f"max_delay_seconds of a back-pressure policy is {self.max_delay_seconds!r}",
                hint=f"give seconds from 0 to {MAX_WAIT_SECONDS:g}",
            )
        if self.when_full not in get_args(WhenFull):
            raise DefinitionError(
                f"when_full of a back-pressure policy is {self.when_full!r}",
                hint=f"it is one of {', '.join(map(repr, get_args(WhenFull)))}",
            )

    def threshold(self, capacity: int) -> int:
        """Return how many may wait in a queue of ``capacity`` before a sender waits too: at least 1."""
        return max(1, math.ceil(self.starts_at * capacity))

    def delay_seconds(self, queued: int, capacity: int) -> float:
        """Return how long a sender may have to wait that finds ``queued`` of ``capacity`` places taken."""
        first = self.threshold(capacity)
        if queued < first:
            return 0.0
        if queued >= capacity:
            return self.max_delay_seconds
        return self.max_delay_seconds * (queued - first + 1) / (capacity - first + 1)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
