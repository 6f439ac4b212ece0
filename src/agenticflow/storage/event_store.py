"""The event store port: the only truth and the only fence.

Adapters implement four primitives (``commit``, ``read_page``, ``scan_page``, ``close``) and tell ``followers`` after each commit;
everything users read through (``read_stream``, ``read_all``, ``query_events``, ``stream_events``) is built on these here, once.
Data passes down as encoded events (``NewEvent``) and up as stored ones (``StoredEvent``); only the reading methods decode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.clocks import VectorClock
from agenticflow.core.events import AgenticEvent, EventMetadata, EventPredicate, RecordedEvent
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError, CorruptStore, InvalidInput
from agenticflow.storage.commits import Commit, Committed, NewEvent, StoredEvent
from agenticflow.storage.followers import Followers

__all__ = ["EventStore", "decode_event", "encode_event"]

ENGINE_STREAMS: Final = ("workflow-", "agent-", "state-", "gate-", "bus-", "alarm-", "reaction-", "session-")
PAGE_EVENTS: Final = 1_000
_NO_METADATA = EventMetadata()


class EventStore(ABC):
    """Append-only streams with optimistic concurrency, and one order over all of them.

    Promises, each proven by ``agenticflow.testing.event_store_kit``:

    * A commit is atomic: all its events and rows, or nothing.
    * Events of a stream have versions 1, 2, 3 … without gaps, in the order of commits and within a commit in the order given.
    * Positions grow in the order of commits over the whole store and may have gaps. Who reads up to a position has
      seen everything at or below it.
    * Once ``commit`` has returned, the commit survives whatever the store's durability promises, and every later read
      shows it. No read and no follower shows a commit that is not durable yet, or one that was refused.
    * The writer checks, then assigns: a conflict, an oversized or malformed commit changes nothing and fails alone, also
      when it shares a transaction with others.
    * A stream and its payloads may hold any Unicode text, also NUL characters; names are compared as they are.
    """

    def __init__(self, schemas: SchemaRegistry | None = None) -> None:
        self.schemas = schemas or SchemaRegistry()
        self.followers = Followers()

    @abstractmethod
    async def commit(self, commit: Commit) -> Committed:
        """Make ``commit`` true.

        Raises:
            ConcurrencyConflict: the stream is not at ``expected``; nothing was written.
            BoundExceeded: an event is over 256 KiB, the events together over 4 MiB or a blob over its limit; nothing was written.
            InvalidInput: nothing to write, or a value that no store takes; nothing was written.
            StoreUnavailable: closed, or no space; nothing was written.
            OutcomeUnknown: the disk failed in the middle and nobody can look; send it again with its ``command_id``.

        A commit without events keeps the version and makes no stream; ``expected`` is checked all the same.

        With a ``command_id`` seen before (also before a crash or by another process) nothing is written, ``expected``
        is not checked, and the answer of the first time is given with ``is_repeated``. A caller that is cancelled while
        waiting does not know the outcome: the same commit with a ``command_id`` may be sent again.
        """

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        """Make the first of ``commits`` true, and each that follows only behind the one before it; return their answers, in order.

        For commits over different streams that follow from each other. Each is a commit as before, with its own expected version; one that
        is refused, or whose command id was seen before, is the last that is looked at, and its answer or its error is the last in the
        list. Behind ``OutcomeUnknown`` the outcome of those that have no answer is as unknown. Nothing is raised that ``commit`` raises.

        A store that can writes them in one transaction, which is the reason to ask this way. Here they are made one after the other.
        """
        answers: list[Committed | AgenticFlowError] = []
        for commit in commits:
            try:
                answer = await self.commit(commit)
            except AgenticFlowError as error:
                return [*answers, error]
            answers.append(answer)
            if answer.is_repeated:
                break
        return answers

    @abstractmethod
    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        """Return up to ``limit`` events of the stream with versions above ``after_version``, in order; empty at the end
        and for an unknown stream."""

    @abstractmethod
    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        """Return up to ``limit`` events with positions above ``after_position``, in order; empty only at the end.

        Archived events (``Store.compact``) are among them only when the ``predicate`` names their stream.

        With a ``predicate`` the store may leave out events that cannot match (it looks at stream, type and time at
        most); the caller still checks each.
        """

    @abstractmethod
    async def last_position(self) -> int:
        """Return the position of the newest event, 0 when there is none: where a follower starts that wants only what is new."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted, release the store; later calls raise ``StoreUnavailable``. A second call does nothing."""

    async def append(self, stream_id: str, events: Iterable[AgenticEvent], expected_version: int = ANY_VERSION) -> int:
        """Append ``events`` and return the stream's new version. The simple face of ``commit``, with its errors.

        ``expected_version`` is the number of events the stream must have: left out means any, 0 that it is new.

        Raises ``InvalidInput`` for the engine's own streams (``ENGINE_STREAMS``): a foreign event there would make
        their history unreadable.
        """
        if not isinstance(stream_id, str) or not isinstance(events, Iterable) or type(expected_version) is not int:
            raise InvalidInput(
                f"append got {stream_id!r:.80}, {type(events).__name__} and {expected_version!r:.80}",
                hint='write await store.append("order-7", [AgenticEvent("order_placed")], expected_version=0)',
            )
        if stream_id.startswith(ENGINE_STREAMS):
            raise InvalidInput(
                f"the stream {stream_id!r} belongs to the engine", hint="give yours another name, 'order-7' say"
            )
        encoded = [encode_event(event, self.schemas) for event in events]
        if not encoded:
            raise InvalidInput("there are no events to append", hint="give at least one AgenticEvent")
        committed = await self.commit(Commit(stream_id=stream_id, expected=expected_version, events=encoded))
        return committed.version

    async def read_stream(self, stream_id: str, from_version: int = 0) -> AsyncIterator[RecordedEvent]:
        """Yield the events of one stream whose version is ``from_version`` or above, oldest first."""
        after = max(from_version - 1, 0)
        while page := await self.read_page(stream_id, after, PAGE_EVENTS):
            for stored in page:
                yield decode_event(stored, self.schemas)
            after = page[-1].version

    async def read_all(self, after_position: int = 0, limit: int | None = None) -> AsyncIterator[RecordedEvent]:
        """Yield at most ``limit`` events of all streams with positions above ``after_position``, in order of position."""
        left = limit
        while left is None or left > 0:
            page = await self.scan_page(after_position, PAGE_EVENTS if left is None else min(left, PAGE_EVENTS))
            if not page:
                return
            for stored in page:
                yield decode_event(stored, self.schemas)
            after_position = page[-1].position
            left = None if left is None else left - len(page)

    async def query_events(self, predicate: EventPredicate) -> AsyncIterator[RecordedEvent]:
        """Yield the recorded events that match, in order of position, and end."""
        after = 0
        while page := await self.scan_page(after, PAGE_EVENTS, predicate):
            for stored in page:
                event = decode_event(stored, self.schemas)
                if predicate.matches(event):
                    yield event
            after = page[-1].position

    async def stream_events(
        self, predicate: EventPredicate | None = None, *, after_position: int = 0
    ) -> AsyncIterator[RecordedEvent]:
        """Yield every matching event after ``after_position``: first those recorded, then live ones, without end.

        No gap and no duplicate, in order of position. Memory is bounded: a reader that falls behind the live buffer goes
        back to reading from the store. Close the iterator (or cancel the task) to stop following.
        """
        with self.followers.follow() as follower:
            while True:
                while page := await self.scan_page(after_position, PAGE_EVENTS, predicate):
                    for stored in page:
                        event = decode_event(stored, self.schemas)
                        if predicate is None or predicate.matches(event):
                            yield event
                    after_position = page[-1].position
                async for stored in follower.drain(after_position):
                    event = decode_event(stored, self.schemas)
                    if predicate is None or predicate.matches(event):
                        yield event
                    after_position = stored.position


def encode_event(event: AgenticEvent, schemas: SchemaRegistry) -> NewEvent:
    """Return ``event`` in the form stores take. Raises ``NotSerializable``, or ``InvalidInput`` when it does not fit its schema."""
    if not isinstance(event, AgenticEvent):
        raise InvalidInput(f"only AgenticEvent can be appended, not {type(event).__name__}")
    data = codec.encode(event.payload)
    version = schemas.written_version(event.event_type, event.schema_version)
    schemas.check_encoded(event.event_type, version, data)
    return NewEvent(
        event_type=event.event_type,
        data=data,
        timestamp=event.timestamp,
        metadata=codec.encode(event.metadata),
        schema_version=version,
    )


def decode_event(stored: StoredEvent, schemas: SchemaRegistry) -> RecordedEvent:
    """Return the stored event as users see it, its payload in the current version. Raises ``CorruptStore``."""
    payload = codec.decode(stored.data)
    if not isinstance(payload, dict):
        raise CorruptStore(
            f"event {stored.version} of {stored.stream_id!r} has no payload", hint="run `agenticflow store verify`"
        )
    version = stored.schema_version
    if version != schemas.current_version(stored.event_type):
        payload = schemas.upcast(stored.event_type, version, payload)
        version = schemas.current_version(stored.event_type)
    try:
        metadata = msgspec.msgpack.decode(stored.metadata, type=EventMetadata) if stored.metadata else _NO_METADATA
    except msgspec.DecodeError as error:
        raise CorruptStore(f"event {stored.version} of {stored.stream_id!r} has damaged metadata: {error}") from error
    return RecordedEvent(
        event_type=stored.event_type,
        payload=payload,
        id=metadata.id or f"{stored.stream_id}@{stored.version}",
        timestamp=stored.timestamp,
        trace_id=metadata.trace_id,
        span_id=metadata.span_id,
        parent_span_id=metadata.parent_span_id,
        causation_id=metadata.causation_id,
        correlation_id=metadata.correlation_id,
        actor_id=metadata.actor_id,
        causality_vector=VectorClock(metadata.causality_vector),
        depth=metadata.depth,
        schema_version=version,
        stream_id=stored.stream_id,
        version=stored.version,
        position=stored.position,
    )
