"""Long-term values by key in the store, and working memory in the process.

Working memory is bounded and forgets what was not used for longest; it is gone with the process. Long-term memory is durable, divided into
namespaces, and forgets what was given a time to live; with an embedder it is found by what it says. It lies beside the events and is never
part of a run's history: what a run depends on belongs into results. Each agent sees only its own; agents that shall share one are given the
same ``MemoryStore`` with an ``agent_id``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from agenticflow.agents.memory.entries import MemoryBounds, MemoryEntry, MemoryMatch
from agenticflow.agents.memory.ports import MAX_TEXT_CHARS, Embeds, Found, Vectors, text_of
from agenticflow.agents.memory.working import WorkingMemory
from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import BoundExceeded, InvalidInput, StoreUnavailable
from agenticflow.storage.key_values import MAX_PAGE_VALUES, KeyValue, KeyValues

__all__ = ["MemoryStore"]

NS: Final = 1_000_000_000
MAX_NAME_CHARS: Final = 200
MAX_TTL_SECONDS: Final = 1e9
MAX_COUNTED_NAMESPACES: Final = 1_000
MAX_MATCHES: Final = 100
DEFAULT_NAMESPACE: Final = "default"


class _Place:
    """Where the values are, shared by a memory and its views for single agents."""

    __slots__ = ("bounds", "clock", "counts", "embedder", "fresh", "given", "lent", "lent_clock")

    def __init__(
        self, values: KeyValues | None, clock: Clock | None, bounds: MemoryBounds, embedder: Embeds | None
    ) -> None:
        self.given = values
        self.lent: KeyValues | None = None
        self.clock = clock
        self.lent_clock: Clock | None = None
        self.bounds = bounds
        self.counts: OrderedDict[str, int] = OrderedDict()
        """Entries by namespace, as far as this process knows."""
        self.embedder = embedder
        self.fresh: OrderedDict[str, None] = OrderedDict()
        """Namespaces whose vectors have been looked through since this process came."""

    def looked_through(self, place: str) -> None:
        self.fresh[place] = None
        if len(self.fresh) > MAX_COUNTED_NAMESPACES:
            self.fresh.popitem(last=False)

    def count(self, namespace: str, entries: int) -> None:
        self.counts[namespace] = entries
        self.counts.move_to_end(namespace)
        if len(self.counts) > MAX_COUNTED_NAMESPACES:
            self.counts.popitem(last=False)


class MemoryStore:
    """``Agent("analyst", memory=MemoryStore())``, then ``await analyst.memory.store("key", value)`` in a handler.

    Without ``values`` it is in the store of the orchestrator that the agent is registered with, for as long as that runs. With ``values``
    (an open store) it works by itself. Values are plain data, as results of handlers are; what comes back is a copy.
    """

    __slots__ = ("_place", "_working", "agent_id")

    def __init__(
        self,
        values: KeyValues | None = None,
        *,
        agent_id: str = "",
        clock: Clock | None = None,
        bounds: MemoryBounds | None = None,
        embedder: Embeds | None = None,
    ) -> None:
        """``agent_id`` says whose memory it is; without one each agent that is given it gets a part of its own. With an ``embedder``
        everything that is stored can be found with ``search``."""
        if values is not None and not hasattr(values, "put_value"):
            raise InvalidInput(
                f"a MemoryStore keeps its values in an open store, not in a {type(values).__name__}",
                hint='write MemoryStore(await open_store("sqlite:///state.db")), or MemoryStore() for the orchestrator\'s',
            )
        if agent_id:
            _check_agent_id(agent_id)
        self.agent_id = agent_id
        if embedder is not None:
            if isinstance(embedder, type) or not hasattr(embedder, "vectors"):
                raise InvalidInput(
                    f"an embedder is an Embedder, not {embedder!r:.80}",
                    hint="give HashingEmbedder(), embedder_from(…), or a subclass of agenticflow.agents.Embedder",
                )
            embedder.check()
        self._place = _Place(values, clock, bounds or MemoryBounds(), embedder)
        self._working: WorkingMemory | None = None

    def for_agent(self, agent_id: str) -> MemoryStore:
        """Return the memory of that agent in the same place; itself when it is that of somebody already. Raises ``InvalidInput``."""
        if self.agent_id:
            return self
        _check_agent_id(agent_id)
        view = MemoryStore(agent_id=agent_id)
        view._place = self._place
        return view

    @property
    def working(self) -> WorkingMemory:
        """What the agent has in mind; gone with the process."""
        if self._working is None:
            self._working = WorkingMemory(self._place.bounds.max_working_items)
        return self._working

    async def store(
        self,
        key: str,
        value: object,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        ttl_seconds: float | None = None,
        expected_version: int = ANY_VERSION,
        text: str | None = None,
    ) -> int:
        """Keep ``value`` under ``key``, in place of what was there, and return its version, once it is durable.

        With ``ttl_seconds`` it is forgotten after that time; without, never, whatever was said before. ``expected_version`` is the
        version it must have, 0 that it is not there. ``text`` is what ``search`` finds it by, in place of its key and value; an empty one
        leaves it out.

        Raises:
            ConcurrencyConflict: it is not at ``expected_version``.
            BoundExceeded: the value is too large, or the namespace is full, as far as this process knows: it counts once, and again
                before it refuses; others who write at the same time may pass the bound together with it.
            NotSerializable: the value has no form on the wire.
            InvalidInput: a key, a namespace, a time or a text that makes no sense.
            StoreUnavailable: there is no store, or it is closed.
            ModelUnavailable and its kinds, ModelAnswerGarbled: the embedder cannot say what it means; nothing was written.
            TemporaryError: it is kept, and its vector was not, because others wrote it at once; the next search makes it.
        """
        _check_text(text)
        place, now = self._names(namespace, key), self._now()
        encoded = codec.encode(value)
        limit = self._place.bounds.max_value_bytes
        if len(encoded) > limit:
            raise BoundExceeded(
                f"the value of {key!r} has {len(encoded):,} bytes, the limit of this memory is {limit:,}",
                hint="keep it in a file and remember where, or give the memory other bounds",
            )
        expires_at = None if ttl_seconds is None else now + _nanoseconds(ttl_seconds)
        await self._check_room(place, namespace, key, now)
        version = await self._put(place, key, encoded, now, expires_at, expected_version, namespace, text)
        if version == 1 and place in self._place.counts:
            self._place.counts[place] += 1
        return version

    async def _put(
        self,
        place: str,
        key: str,
        encoded: bytes,
        now: int,
        expires_at: int | None,
        expected_version: int,
        namespace: str,
        text: str | None,
    ) -> int:
        """Write a value, and its vector where there is an embedder; return the version of the value."""
        values = self._values()
        if self._place.embedder is None:
            return await values.put_value(
                place, key, encoded, now=now, expires_at=expires_at, expected_version=expected_version
            )
        vectors = self._vectors(namespace, self._place.embedder)
        vector = await vectors.of(text_of(key, codec.decode(encoded), text))
        version = await values.put_value(
            place, key, encoded, now=now, expires_at=expires_at, expected_version=expected_version
        )
        try:
            await vectors.keep(key, vector, text, version=version, now=now, expires_at=expires_at)
        except BaseException:
            self._place.fresh.pop(place, None)  # the next search makes what is missing here
            raise
        return version

    async def retrieve(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> Any:
        """Return what is kept under ``key``. Raises ``KeyError`` when there is nothing, or it is forgotten by now."""
        place = self._names(namespace, key)
        found = await self._values().get_value(place, key, now=self._now())
        if found is None:
            known = [entry.key for entry in await self.list(namespace=namespace)]
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "it was never stored, was deleted, or its time is over"
            raise KeyError(f"{self._owner()} has no {key!r} in namespace {namespace!r}: {hint}")
        return codec.decode(found.value)

    async def delete(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> bool:
        """Forget what is kept under ``key``; return whether there was something."""
        place = self._names(namespace, key)
        values, vectors = self._values(), self._vectors_place(namespace)
        was_there = await values.delete_value(place, key)
        # a look costs less than a write, and most have no vector
        if await values.get_value(vectors, key, now=self._now()) is not None:
            await values.delete_value(vectors, key)
        if was_there and self._place.counts.get(place):
            self._place.counts[place] -= 1
        return was_there

    async def list(
        self, *, namespace: str = DEFAULT_NAMESPACE, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[MemoryEntry]:
        """Return up to ``limit`` (at most 1,000) entries whose keys begin with ``prefix``, sorted by key, from the first key above
        ``after`` on. Large values make a page shorter; it is empty only at the end."""
        place = self._names(namespace, prefix or "any")
        page = await self._values().list_values(place, now=self._now(), prefix=prefix, after=after, limit=limit)
        return [_entry(found) for found in page]

    async def search(
        self, text: str, *, namespace: str = DEFAULT_NAMESPACE, limit: int = 10, min_score: float = 0.0
    ) -> Sequence[MemoryMatch]:
        """Return up to ``limit`` (at most 100) entries that say something like ``text``, the nearest first, with a score of at least
        ``min_score`` (-1 to 1).

        Every vector of the namespace is compared, so that nothing near is missed. The first search of a namespace in a process embeds what
        has no vector yet, or one of another embedder.

        Raises:
            InvalidInput: there is no embedder, or an argument makes no sense.
            StoreUnavailable: there is no store, or it is closed.
            ModelUnavailable and its kinds, ModelAnswerGarbled: the embedder cannot say what it means.
        """
        place, embedder = self._names(namespace, "any"), self._place.embedder
        if embedder is None:
            raise InvalidInput(
                f"{self._owner()} has no embedder to search by meaning",
                hint="make it with MemoryStore(embedder=HashingEmbedder()); by the beginning of keys list(prefix=…) finds",
            )
        _check_search(text, limit, min_score)
        vectors = self._vectors(namespace, embedder)
        wanted = await vectors.of(text)
        if not wanted:
            return []
        await self._refresh(place, vectors)
        matches, is_true = await self._matches(place, vectors, wanted, limit, min_score)
        if not is_true:
            # somebody wrote who has no embedder, or another one: once more, after what they wrote has its vectors
            self._place.fresh.pop(place, None)
            await self._refresh(place, vectors)
            matches, _ = await self._matches(place, vectors, wanted, limit, min_score)
        return matches

    async def _refresh(self, place: str, vectors: Vectors) -> None:
        if place not in self._place.fresh:
            await vectors.refresh(self._now(), lambda: place not in self._place.fresh)
            self._place.looked_through(place)

    async def _matches(
        self, place: str, vectors: Vectors, wanted: bytes, limit: int, min_score: float
    ) -> tuple[Sequence[MemoryMatch], bool]:
        """Return the nearest entries as they are now, and whether all vectors looked at were true."""
        now, values = self._now(), self._values()
        nearest, is_mixed = await vectors.compare(wanted, min_score, now)
        matches: list[MemoryMatch] = []
        is_true = not is_mixed
        for found in nearest:
            if len(matches) == limit:
                break
            entry = await values.get_value(place, found.key, now=now)
            if entry is not None and _is_of(found, entry):
                matches.append(MemoryMatch(_entry(entry), found.score))
            else:
                is_true = False
        return matches, is_true

    def lend(self, values: KeyValues | None, clock: Clock | None = None) -> None:
        """Keep values there from now on, unless a place was given at the beginning; ``None``: nowhere. For who runs the agent."""
        self._place.lent, self._place.lent_clock = values, clock
        self._place.counts.clear()
        self._place.fresh.clear()

    async def _check_room(self, place: str, namespace: str, key: str, now: int) -> None:
        """Refuse a new key in a full namespace. Entries are counted once, when first needed, and again before anything is refused: others
        write too, and time makes room."""
        limit, counts = self._place.bounds.max_entries, self._place.counts
        if place not in counts:
            # Known as empty while it is counted, so that many who come at once do not all count.
            self._place.count(place, 0)
            try:
                counted = await self._counted(place, now, limit)
            except BaseException:
                counts.pop(place, None)
                raise
            self._place.count(place, counts.get(place, 0) + counted)
        if counts[place] < limit or await self._values().get_value(place, key, now=now) is not None:
            return
        self._place.count(place, await self._counted(place, now, limit))
        if counts[place] < limit:
            return
        raise BoundExceeded(
            f"namespace {namespace!r} of {self._owner()} has {limit:,} entries, and no more",
            hint="delete some, let them expire with ttl_seconds=, or use another namespace",
        )

    async def _counted(self, place: str, now: int, limit: int) -> int:
        count, after = 0, None
        while count < limit and (
            page := await self._values().list_values(place, now=now, after=after, limit=MAX_PAGE_VALUES)
        ):
            count, after = count + len(page), page[-1].key
        return count

    def _names(self, namespace: str, key: str) -> str:
        """Return the namespace in the store. Agent ids have no slash, so no agent's begins like another's."""
        for what, name in (("namespace", namespace), ("key", key)):
            if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
                raise InvalidInput(
                    f"{name!r:.80} is no {what} of a memory", hint=f"use a text of 1 to {MAX_NAME_CHARS} characters"
                )
        return f"memory/{self.agent_id}/{namespace}"

    def _vectors_place(self, namespace: str) -> str:
        return f"memory-vectors/{self.agent_id}/{namespace}"

    def _vectors(self, namespace: str, embedder: Embeds) -> Vectors:
        return embedder.vectors(self._values(), self._names(namespace, "any"), self._vectors_place(namespace))

    def _owner(self) -> str:
        return f"the memory of {self.agent_id!r}" if self.agent_id else "this memory"

    def _now(self) -> int:
        return (self._place.clock or self._place.lent_clock or ambient.clock).now_ns()

    def _values(self) -> KeyValues:
        values = self._place.given if self._place.given is not None else self._place.lent
        if values is None:
            raise StoreUnavailable(
                f"{self._owner()} has no store now",
                hint="register the agent with an orchestrator that runs, or write MemoryStore(store)",
            )
        return values

    def __repr__(self) -> str:
        return f"MemoryStore(agent_id={self.agent_id!r})"


def _entry(found: KeyValue) -> MemoryEntry:
    return MemoryEntry(found.key, codec.decode(found.value), found.version, found.updated_at, found.expires_at)


def _is_of(found: Found, entry: KeyValue) -> bool:
    return (found.version, found.updated_at) == (entry.version, entry.updated_at)


def _check_text(text: object) -> None:
    if text is not None and (not isinstance(text, str) or len(text) > MAX_TEXT_CHARS):
        raise InvalidInput(
            f"text is {text!r:.80}", hint=f"give what it is found by, at most {MAX_TEXT_CHARS:,} characters"
        )


def _check_search(text: object, limit: object, min_score: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT_CHARS:
        raise InvalidInput(
            f"nothing is found by {text!r:.80}", hint=f"give a text of 1 to {MAX_TEXT_CHARS:,} characters"
        )
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_MATCHES:
        raise InvalidInput(f"limit is {limit!r:.60}", hint=f"give 1 to {MAX_MATCHES}")
    if isinstance(min_score, bool) or not isinstance(min_score, (int, float)) or not -1 <= min_score <= 1:
        raise InvalidInput(f"min_score is {min_score!r:.60}", hint="give -1 to 1; 1 is the same text")


def _nanoseconds(ttl_seconds: float) -> int:
    if (
        isinstance(ttl_seconds, bool)
        or not isinstance(ttl_seconds, (int, float))
        or not 0 < ttl_seconds < MAX_TTL_SECONDS
    ):
        raise InvalidInput(
            f"ttl_seconds is {ttl_seconds!r}",
            hint=f"give seconds above 0 and below {MAX_TTL_SECONDS:,.0f}, or leave it out",
        )
    return max(1, int(ttl_seconds * NS))


def _check_agent_id(agent_id: str) -> None:
    if not isinstance(agent_id, str) or not agent_id or len(agent_id) > MAX_NAME_CHARS or "/" in agent_id:
        raise InvalidInput(f"{agent_id!r:.60} is no agent id", hint='write MemoryStore(agent_id="analyst")')
