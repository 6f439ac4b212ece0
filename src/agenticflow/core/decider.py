"""Deciders: everything that decides is ``decide(state, command) -> facts`` and ``evolve(state, fact)``.

Both are pure: no clock, no random, no I/O; time, ids and seeds arrive inside the command. ``evolve`` may change the state in place,
because only one holder has it; ``decide`` and ``advance`` must not change it. ``advance`` answers what follows from the state alone
(what is ready now): after the facts of a command, the holder asks it until it has nothing more, and everything goes into the same
commit.

Source: the decider pattern (Chassaing), with the follow-up split off so that a completion costs O(1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

import msgspec

from agenticflow.core import codec
from agenticflow.core.types import Blobs
from agenticflow.errors import CorruptStore, InvariantError

__all__ = ["Command", "Decider", "Fact", "FactCodec", "decide_fully", "fold"]

S = TypeVar("S")
MAX_ROUNDS = 100_000


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that has happened, as the engine writes it. Subclasses name their event type and payload version, and are in the event
    catalogue (``core.catalogue``)."""

    event_type: ClassVar[str]
    schema_version: ClassVar[int] = 1
    stream: ClassVar[str] = ""
    """Where it is recorded, in words: ``topic-<id>``; empty for that of its room (``app.catalogue.STREAMS``)."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a decider. ``now`` is its moment; ``blobs`` are large values it refers to, stored in the same commit."""

    opens_stream: ClassVar[bool] = False
    """Whether it is only ever accepted on an empty stream: then nobody needs to read the stream first."""
    now: int
    blobs: Blobs = ()


class Decider(Protocol[S]):
    """Decides over one stream."""

    @property
    def codec(self) -> FactCodec:
        """Knows the facts of this decider."""

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> S:
        """Return the state before the first event, or as it was in ``snapshot``."""

    def decide(self, state: S, command: Command) -> Sequence[Fact]:
        """Return the facts that ``command`` makes true; empty means it changes nothing. Raises ``CommandRefused``."""

    def advance(self, state: S, now: int) -> Sequence[Fact]:
        """Return the facts that follow from the state alone; empty when it is settled."""

    def evolve(self, state: S, fact: Fact, version: int, at: int) -> None:
        """Take ``fact``, event number ``version`` recorded at ``at``, into the state."""


class FactCodec:
    """Bytes of facts and back, for one closed list of fact types, with upcasting of old payloads."""

    __slots__ = ("_decoders", "_upcasters", "encode", "types")

    encode: Callable[[Fact], bytes]
    """Returns the payload of a fact."""

    def __init__(
        self,
        types: Iterable[type[Fact]],
        upcasters: Mapping[tuple[str, int], object] | None = None,
    ) -> None:
        self.types: dict[str, type[Fact]] = {fact.event_type: fact for fact in types}
        self._decoders = {name: msgspec.msgpack.Decoder(fact) for name, fact in self.types.items()}
        self.encode = msgspec.msgpack.Encoder().encode
        self._upcasters = dict(upcasters or {})

    def decode(self, event_type: str, data: bytes, schema_version: int = 1) -> Fact:
        """Return the fact behind a stored payload. Raises ``CorruptStore`` for unknown types and damaged bytes."""
        decoder = self._decoders.get(event_type)
        if decoder is None:
            raise CorruptStore(
                f"this program does not know events of type {event_type!r}",
                hint="read them with the release that wrote them",
            )
        current = self.types[event_type].schema_version
        try:
            if schema_version == current:
                return decoder.decode(data)
            payload: object = codec.decode(data)
            for version in range(schema_version, current):
                step = self._upcasters.get((event_type, version))
                if not callable(step):
                    raise CorruptStore(f"no upcaster leads {event_type!r} from version {version} to {current}")
                payload = step(payload)
            return msgspec.convert(payload, self.types[event_type])
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise CorruptStore(f"the payload of an event {event_type!r} is damaged: {error}") from error


def decide_fully(decider: Decider[S], state: S, command: Command, version: int) -> list[Fact]:
    """Decide ``command``, evolve ``state`` by its facts and by everything that follows; return all facts in order.

    ``version`` is the stream's version before. On an exception the state may be half-evolved: throw it away.
    """
    recorded: list[Fact] = []
    now = command.now
    facts = decider.decide(state, command)
    rounds = 0
    while facts:
        for fact in facts:
            version += 1
            decider.evolve(state, fact, version, now)
        recorded.extend(facts)
        facts = decider.advance(state, now)
        rounds += 1
        if rounds > MAX_ROUNDS:
            raise InvariantError(f"a decider did not settle after {rounds:,} rounds")
    return recorded


def fold(decider: Decider[S], state: S, facts: Iterable[tuple[Fact, int, int]]) -> S:
    """Return ``state`` after the given ``(fact, version, recorded at)``."""
    for fact, version, at in facts:
        decider.evolve(state, fact, version, at)
    return state
