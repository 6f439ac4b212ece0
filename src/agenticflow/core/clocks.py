"""Where time and ids come from, and the vector clock that orders messages of many actors.

Nothing here reads a clock. ``Clock`` and ``IdSource`` are what the runtime brings in; ``ambient`` is the pair used when
a program makes an event by hand, filled by the front door when the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from agenticflow.errors import BoundExceeded

__all__ = ["Ambient", "Clock", "CounterIds", "IdSource", "ManualClock", "VectorClock", "ambient"]


class Clock(Protocol):
    """Time as integer nanoseconds since the Unix epoch. Never goes backwards within one process."""

    def now_ns(self) -> int:
        """Return the present moment in nanoseconds."""


class IdSource(Protocol):
    """Ids that are unique across processes and machines."""

    def next_id(self) -> str:
        """Return an id never returned before."""


class CounterIds:
    """Ids made of a prefix, which must be unique per process, and a counter: cheap, and ordered within a process."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def next_id(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count:x}"


class ManualClock:
    """A clock that stands still until told otherwise; for tests, replays and simulation."""

    __slots__ = ("_now",)

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` (not negative)."""
        if seconds < 0:
            raise ValueError("a clock does not run backwards; give a positive number of seconds")
        self._now += int(seconds * 1_000_000_000)


class Ambient:
    """Holder of the process's clock and id source. Deciders never touch it: their time comes in with the command."""

    __slots__ = ("clock", "ids")

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        self.clock = clock
        self.ids = ids


ambient: Final = Ambient(ManualClock(0), CounterIds("unset"))


class VectorClock(Mapping[str, int]):
    """How much each actor had seen: an immutable map from actor id to a count.

    After Lamport, Fidge and Mattern: ``a.happened_before(b)`` when every count of ``a`` is at most that of ``b`` and
    they differ; neither before the other means concurrent. Absent actors count as zero, zeros are not kept. At most
    ``MAX_ACTORS`` actors; one more raises ``BoundExceeded``, because silently dropping one would break the order.
    """

    MAX_ACTORS: Final = 1_024
    __slots__ = ("_counts", "_hash")

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        kept = {}
        for actor, count in (counts or {}).items():
            if not isinstance(actor, str) or isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError(f"a vector clock maps actor ids to counts of 0 or more, not {actor!r} to {count!r}")
            if count:
                kept[actor] = count
        if len(kept) > self.MAX_ACTORS:
            raise BoundExceeded(
                f"a vector clock of {len(kept)} actors passes the limit of {self.MAX_ACTORS}",
                hint="let one actor speak for a group, or start a new conversation",
            )
        self._counts = kept
        self._hash: int | None = None

    def increment(self, actor_id: str) -> VectorClock:
        """Return a clock in which ``actor_id`` has seen one event more."""
        return VectorClock({**self._counts, actor_id: self._counts.get(actor_id, 0) + 1})

    def merge(self, other: VectorClock) -> VectorClock:
        """Return the least clock that has seen everything both have seen."""
        merged = dict(self._counts)
        for actor, count in other._counts.items():
            if count > merged.get(actor, 0):
                merged[actor] = count
        return VectorClock(merged)

    def happened_before(self, other: VectorClock) -> bool:
        """Whether everything seen here was seen there, and more."""
        theirs = other._counts
        return self._counts != theirs and all(count <= theirs.get(actor, 0) for actor, count in self._counts.items())

    def concurrent_with(self, other: VectorClock) -> bool:
        """Whether neither knew of the other. A clock is not concurrent with its equal."""
        return self != other and not self.happened_before(other) and not other.happened_before(self)

    def __getitem__(self, actor_id: str) -> int:
        return self._counts[actor_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __eq__(self, other: object) -> bool:
        return self._counts == other._counts if isinstance(other, VectorClock) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._counts.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"VectorClock({self._counts!r})"
