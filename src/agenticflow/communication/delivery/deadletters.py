"""Events that somebody could not deal with, kept until somebody decides: in the store when there is one, else in memory.

In the store each is a fact on the stream ``bus-deadletter-<subscription>``; the event itself is not copied when it is recorded already.
Without a store the newest thousand are kept, until the process ends, and say so in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from agenticflow.communication.bus import DeadLetter
from agenticflow.communication.delivery.subscription import Log
from agenticflow.communication.facts import BUS_FACTS, DEAD_LETTERS, DeadLetterClosed, EventDeadLettered
from agenticflow.core import codec
from agenticflow.core.clocks import VectorClock, ambient
from agenticflow.core.decider import Fact
from agenticflow.core.events import AgenticEvent, EventMetadata, EventPredicate, RecordedEvent
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import AgenticFlowError, InvalidInput, TemporaryError
from agenticflow.storage.commits import Commit, NewEvent, StoredEvent
from agenticflow.storage.event_store import decode_event
from agenticflow.storage.store import Store

__all__ = ["Letters", "MemoryLetters", "StoredLetters", "new_event", "patiently", "unreadable"]

T = TypeVar("T")
Outcome = Literal["delivered", "discarded"]
MAX_IN_MEMORY: Final = 1_000
RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
PAGE_EVENTS: Final = 1_000


class MemoryLetters:
    """The newest ``MAX_IN_MEMORY`` letters of a bus without a store."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._letters: dict[str, DeadLetter] = {}
        self._count = 0

    async def record(
        self, subscription: str, pattern: str, event: AgenticEvent, error: ErrorInfo, attempts: int
    ) -> DeadLetter:
        """Keep a letter; the oldest goes when there are too many."""
        self._count += 1
        letter = DeadLetter(
            letter_id=f"memory-{self._count}",
            subscription=subscription,
            pattern=pattern,
            event=event,
            error=error,
            attempts=attempts,
            at=ambient.clock.now_ns(),
        )
        if not self._letters:
            self._log.warning("dead letters of a bus without a store are kept in memory, the newest %d", MAX_IN_MEMORY)
        self._letters[letter.letter_id] = letter
        if len(self._letters) > MAX_IN_MEMORY:
            lost = self._letters.pop(next(iter(self._letters)))
            self._log.error(
                "dead letter %s of %r is lost: more than %d", lost.letter_id, lost.subscription, MAX_IN_MEMORY
            )
        return letter

    async def open_letters(self, subscription: str | None, limit: int) -> Sequence[DeadLetter]:
        """Return up to ``limit`` letters that nobody has dealt with, oldest first."""
        wanted = [letter for letter in self._letters.values() if subscription in (None, letter.subscription)]
        return wanted[:limit]

    async def get(self, letter_id: str, *, is_to_be_delivered: bool = False) -> DeadLetter:
        """Return an open letter. Raises ``InvalidInput`` when there is none of that id, and the error of reading its event when it is to
        be delivered and cannot be read."""
        letter = self._letters.get(letter_id)
        if letter is None:
            raise _unknown(letter_id)
        return letter

    async def close(self, letter: DeadLetter, outcome: Outcome, reason: str = "") -> None:
        """Forget a letter that was dealt with."""
        self._letters.pop(letter.letter_id, None)


class StoredLetters:
    """Letters as facts in a store."""

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log
        self._unstorable = MemoryLetters(log)
        """Ephemeral events that no store takes: their payload has no form there, or is too large."""

    async def record(
        self, subscription: str, pattern: str, event: AgenticEvent, error: ErrorInfo, attempts: int
    ) -> DeadLetter:
        """Record a letter; returns when it is safe. While the store fails it is tried again, after growing pauses."""
        at = ambient.clock.now_ns()
        stream = f"{DEAD_LETTERS}{subscription}"
        try:
            fact = _fact(subscription, pattern, event, error, attempts)
            cause = EventMetadata(causation_id=event.id, correlation_id=event.correlation_id)
            commit = Commit(
                stream_id=stream,
                events=[new_event(fact, at, codec.encode(cause))],
                command_id=f"{stream}/{ambient.ids.next_id()}",
            )
            committed = await patiently(
                lambda: self._store.commit(commit), f"a dead letter of {subscription!r}", self._log
            )
        except AgenticFlowError as refusal:
            self._log.warning("a dead letter of %r has no place in the store: %s", subscription, refusal)
            return await self._unstorable.record(subscription, pattern, event, error, attempts)
        return _letter(f"{stream}@{committed.version}", fact, event, at)

    async def open_letters(self, subscription: str | None, limit: int) -> Sequence[DeadLetter]:
        """Return up to ``limit`` letters that nobody has dealt with, oldest first."""
        found = [await self._read(stored) for stored in (await self._open(subscription))[:limit]]
        return [*found, *await self._unstorable.open_letters(subscription, limit)][:limit]

    async def get(self, letter_id: str, *, is_to_be_delivered: bool = False) -> DeadLetter:
        """Return an open letter. Raises ``InvalidInput`` when there is none of that id, and the error of reading its event when it is to
        be delivered and cannot be read."""
        stream = letter_id.rpartition("@")[0]
        if not stream.startswith(DEAD_LETTERS):
            return await self._unstorable.get(letter_id)
        for stored in await self._open(stream.removeprefix(DEAD_LETTERS)):
            if _id_of(stored) == letter_id:
                return await self._read(stored, is_to_be_delivered=is_to_be_delivered)
        raise _unknown(letter_id)

    async def close(self, letter: DeadLetter, outcome: Outcome, reason: str = "") -> None:
        """Record that a letter was dealt with."""
        if not letter.letter_id.startswith(DEAD_LETTERS):
            await self._unstorable.close(letter, outcome, reason)
            return
        fact = DeadLetterClosed(letter_id=letter.letter_id, outcome=outcome, reason=reason)
        stream = f"{DEAD_LETTERS}{letter.subscription}"
        await self._store.commit(Commit(stream_id=stream, events=[new_event(fact, ambient.clock.now_ns())]))

    async def _open(self, subscription: str | None) -> list[StoredEvent]:
        letters: dict[str, StoredEvent] = {}
        async for stored in self._facts(subscription):
            if stored.event_type == EventDeadLettered.event_type:
                letters[_id_of(stored)] = stored
            else:
                closed = BUS_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
                if isinstance(closed, DeadLetterClosed):
                    letters.pop(closed.letter_id, None)
        return list(letters.values())

    async def _facts(self, subscription: str | None) -> AsyncIterator[StoredEvent]:
        """Yield what is recorded about the letters of one subscription, or of all."""
        after = 0
        if subscription is not None:
            while page := await self._store.read_page(f"{DEAD_LETTERS}{subscription}", after, PAGE_EVENTS):
                for stored in page:
                    yield stored
                after = page[-1].version
            return
        types = EventPredicate(event_types=(EventDeadLettered.event_type, DeadLetterClosed.event_type))
        while page := await self._store.scan_page(after, PAGE_EVENTS, types):
            for stored in page:
                if stored.stream_id.startswith(DEAD_LETTERS):
                    yield stored
            after = page[-1].position

    async def _read(self, stored: StoredEvent, *, is_to_be_delivered: bool = False) -> DeadLetter:
        fact = BUS_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
        assert isinstance(fact, EventDeadLettered)
        event = _unpacked(fact)
        if fact.original_stream:
            page = await self._store.read_page(fact.original_stream, fact.original_version - 1, 1)
            if page and page[0].version == fact.original_version:
                try:
                    event = decode_event(page[0], self._store.schemas)
                except AgenticFlowError:
                    if is_to_be_delivered:
                        raise
                    event = unreadable(page[0])
        return _letter(_id_of(stored), fact, event, stored.timestamp)


async def patiently(attempt: Callable[[], Awaitable[T]], what: str, log: Log) -> T:
    """Return what ``attempt()`` answers; while it fails with a ``TemporaryError`` try again, after pauses that grow to a minute."""
    pause = RETRY_SECONDS
    while True:
        try:
            return await attempt()
        except TemporaryError as error:
            log.warning("%s waits %g s for the store: %s", what, pause, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)


def new_event(fact: Fact, at: int, metadata: bytes = b"") -> NewEvent:
    """Return a fact of the bus in the form stores take."""
    return NewEvent(fact.event_type, BUS_FACTS.encode(fact), at, metadata, fact.schema_version)


def _fact(subscription: str, pattern: str, event: AgenticEvent, error: ErrorInfo, attempts: int) -> EventDeadLettered:
    place = (event.stream_id, event.version, event.position) if isinstance(event, RecordedEvent) else ("", 0, 0)
    whole = codec.NULL
    if not place[0]:
        whole = codec.encode(
            {
                "payload": event.payload,
                "metadata": event.metadata,
                "timestamp": event.timestamp,
                "schema_version": event.schema_version,
            }
        )
    return EventDeadLettered(
        subscription=subscription,
        pattern=pattern,
        original_type=event.event_type,
        original_id=event.id,
        original_stream=place[0],
        original_version=place[1],
        original_position=place[2],
        original=msgspec.Raw(whole),
        error=error,
        attempts=attempts,
    )


def _unpacked(fact: EventDeadLettered) -> AgenticEvent:
    """Return the event as far as the letter itself knows it."""
    whole = codec.decode(bytes(fact.original))
    if not isinstance(whole, dict):
        return AgenticEvent(fact.original_type, {}, id=fact.original_id)
    known = msgspec.convert(whole["metadata"], EventMetadata)
    fields = {name: getattr(known, name) for name in known.__struct_fields__ if name not in ("id", "causality_vector")}
    return AgenticEvent(
        fact.original_type,
        whole["payload"],
        id=fact.original_id,
        timestamp=whole["timestamp"],
        causality_vector=VectorClock(known.causality_vector),
        schema_version=whole["schema_version"],
        **fields,
    )


def _letter(letter_id: str, fact: EventDeadLettered, event: AgenticEvent, at: int) -> DeadLetter:
    return DeadLetter(
        letter_id=letter_id,
        subscription=fact.subscription,
        pattern=fact.pattern,
        event=event,
        error=fact.error,
        attempts=fact.attempts,
        at=at,
    )


def _id_of(stored: StoredEvent) -> str:
    return f"{stored.stream_id}@{stored.version}"


def _unknown(letter_id: str) -> InvalidInput:
    return InvalidInput(
        f"no dead letter {letter_id!r:.200} is open",
        hint="await bus.dead_letters() lists those that nobody has dealt with",
    )


def unreadable(stored: StoredEvent) -> RecordedEvent:
    """Return the place of an event whose content this program cannot read."""
    return RecordedEvent(
        stored.event_type,
        {},
        id=f"{stored.stream_id}@{stored.version}",
        timestamp=stored.timestamp,
        schema_version=stored.schema_version,
        stream_id=stored.stream_id,
        version=stored.version,
        position=stored.position,
    )


Letters = MemoryLetters | StoredLetters
