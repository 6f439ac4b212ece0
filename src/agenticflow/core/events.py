"""Events: facts in the past tense, immutable all the way down, and the predicate that selects them.

``AgenticEvent`` is the envelope users make, publish and read; ``RecordedEvent`` is one with its place in a store. The
engine writes its own facts as small structs (``core.decider``) and meets this envelope only when somebody reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from agenticflow.core.clocks import VectorClock, ambient
from agenticflow.errors import InvalidInput

__all__ = ["AgenticEvent", "EventMetadata", "EventPredicate", "RecordedEvent", "TimeRange", "deep_freeze"]

_SCALARS: Final = (str, int, float, bool, bytes, type(None))
_NO_ACTORS: Final = VectorClock()


def deep_freeze(value: object) -> object:
    """Return ``value`` with every dict read-only, every list and deque a tuple, every set a frozenset, every bytearray bytes."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Mapping):
        return MappingProxyType({key: deep_freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple, deque)):
        return tuple(deep_freeze(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(deep_freeze(item) for item in value)
    return bytes(value) if isinstance(value, bytearray) else value


def _next_id() -> str:
    return ambient.ids.next_id()


def _now() -> int:
    return ambient.clock.now_ns()


class EventMetadata(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an event carries beside its type and payload: where it comes from and what it belongs to."""

    id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    causation_id: str | None = None
    """Id of the event or command that caused this one."""
    correlation_id: str | None = None
    """Id shared by everything that belongs together, by convention the workflow id."""
    actor_id: str | None = None
    causality_vector: dict[str, int] = {}
    depth: int = 0
    """How many reactions of agents lead to this event from what began the chain; 0 when none made it."""


class AgenticEvent(msgspec.Struct, frozen=True, eq=False, kw_only=False):
    """A fact. Frozen, slotted, equal and hashable by ``id``; ``payload`` is frozen all the way down.

    ``timestamp`` is in nanoseconds since the Unix epoch. ``id`` and ``timestamp`` are given when left out.
    """

    event_type: str
    payload: Mapping[str, object] = {}
    id: str = msgspec.field(default_factory=_next_id)
    timestamp: int = msgspec.field(default_factory=_now)
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    causation_id: str | None = None
    correlation_id: str | None = None
    actor_id: str | None = None
    causality_vector: VectorClock = _NO_ACTORS
    schema_version: int = 1
    depth: int = 0
    """How many reactions of agents (``@agent.on``) lead to it; the engine counts, so that loops end."""

    def __post_init__(self) -> None:
        if not isinstance(self.event_type, str) or not self.event_type:
            raise InvalidInput(
                f"event_type is {self.event_type!r}", hint='write AgenticEvent("order_placed", {"order_id": 7})'
            )
        if not isinstance(self.payload, Mapping):
            raise InvalidInput(
                f"the payload of {self.event_type!r} is a {type(self.payload).__name__}, not a mapping",
                hint='write AgenticEvent("order_placed", {"order_id": 7})',
            )
        msgspec.structs.force_setattr(self, "payload", deep_freeze(self.payload))
        if not isinstance(self.causality_vector, VectorClock):
            msgspec.structs.force_setattr(self, "causality_vector", VectorClock(self.causality_vector))

    def with_causality(self, actor_id: str) -> AgenticEvent:
        """Return this event as seen by ``actor_id``: its clock one further, ``actor_id`` as the actor."""
        return msgspec.structs.replace(
            self, actor_id=actor_id, causality_vector=self.causality_vector.increment(actor_id)
        )

    @property
    def metadata(self) -> EventMetadata:
        """Everything but type, payload, time and version, as it is stored."""
        return EventMetadata(
            id=self.id,
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_span_id=self.parent_span_id,
            causation_id=self.causation_id,
            correlation_id=self.correlation_id,
            actor_id=self.actor_id,
            causality_vector=dict(self.causality_vector),
            depth=self.depth,
        )

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, AgenticEvent) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


class RecordedEvent(AgenticEvent, frozen=True, eq=False, kw_only=True):
    """An event with its place: the stream, its version there (from 1) and its position in the whole store.

    The engine's own events have no stored id; theirs is ``<stream>@<version>``.
    """

    stream_id: str
    version: int
    position: int


class TimeRange(msgspec.Struct, frozen=True):
    """From ``start`` (included) to ``end`` (excluded). Each is an aware datetime, nanoseconds, or ``None`` for open."""

    start: datetime | int | None = None
    end: datetime | int | None = None

    def __post_init__(self) -> None:
        start, end = self.start_ns, self.end_ns
        if start is not None and end is not None and start > end:
            raise InvalidInput(f"a time range cannot end ({self.end!r}) before it starts ({self.start!r})")

    @property
    def start_ns(self) -> int | None:
        return _to_ns(self.start)

    @property
    def end_ns(self) -> int | None:
        return _to_ns(self.end)

    def contains(self, timestamp_ns: int) -> bool:
        """Whether the moment lies in the range."""
        start, end = self.start_ns, self.end_ns
        return (start is None or timestamp_ns >= start) and (end is None or timestamp_ns < end)


def _to_ns(moment: datetime | int | None) -> int | None:
    if not isinstance(moment, datetime):
        if moment is None or type(moment) is int:
            return moment
        raise InvalidInput(f"{moment!r:.80} is no moment", hint="give an aware datetime, or nanoseconds")
    if moment.tzinfo is None:
        raise InvalidInput(f"{moment!r} has no time zone", hint="use datetime.now(UTC) or give tzinfo=")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


class EventPredicate(msgspec.Struct, frozen=True, kw_only=True):
    """Selects events; every field left out matches everything, given fields must all match.

    ``payload`` maps dotted paths to the value that must stand there: ``{"order.status": "paid"}``.
    """

    actor_id: str | None = None
    stream_id: str | None = None
    event_types: Iterable[str] | None = None
    time_range: TimeRange | None = None
    correlation_id: str | None = None
    payload: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.event_types, str):
            raise InvalidInput(
                f"event_types is the text {self.event_types!r}", hint=f"write event_types={{{self.event_types!r}}}"
            )
        if self.event_types is not None:
            if not isinstance(self.event_types, Iterable):
                raise InvalidInput(
                    f"event_types is {self.event_types!r:.80}", hint='write event_types={"order_placed"}'
                )
            msgspec.structs.force_setattr(self, "event_types", frozenset(self.event_types))
        if not isinstance(self.time_range, (TimeRange, type(None))):
            raise InvalidInput(f"time_range is {self.time_range!r:.80}", hint="write time_range=TimeRange(start, end)")
        if not isinstance(self.payload, (Mapping, type(None))):
            raise InvalidInput(f"payload is {self.payload!r:.80}", hint='write payload={"order.status": "paid"}')

    def matches(self, event: AgenticEvent) -> bool:
        """Whether ``event`` is selected."""
        return (
            (self.event_types is None or event.event_type in self.event_types)
            and (self.stream_id is None or getattr(event, "stream_id", None) == self.stream_id)
            and (self.actor_id is None or event.actor_id == self.actor_id)
            and (self.correlation_id is None or event.correlation_id == self.correlation_id)
            and (self.time_range is None or self.time_range.contains(event.timestamp))
            and (self.payload is None or all(_stands_at(event.payload, p, v) for p, v in self.payload.items()))
        )


def _stands_at(payload: Mapping[str, object], path: str, expected: object) -> bool:
    place: object = payload
    for part in path.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return place == deep_freeze(expected)
