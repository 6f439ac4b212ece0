"""Vectors of what is remembered, beside it in the store: written with it, gone with it, made anew when it or the embedder is another.

A vector stands under the key of its entry in a namespace of its own. It says which embedder made it and of which version of the entry, so
that what does not belong together is seen. Nothing is held in memory.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from operator import mul
from typing import Final, Protocol
from weakref import WeakValueDictionary

import msgspec

from agenticflow.agents.memory.ports import Found, text_of
from agenticflow.core import codec
from agenticflow.errors import ConcurrencyConflict, TemporaryError
from agenticflow.storage.key_values import MAX_PAGE_VALUES, KeyValue, KeyValues

__all__ = ["Batches", "StoredVectors"]

MAX_TRIES: Final = 20
"""Of writing a vector that others write at once."""
BLOCK: Final = 256
"""Vectors compared before others have their turn: some milliseconds."""


def _sum_of_products(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))


_dot: Final[Callable[[Sequence[float], Sequence[float]], float]] = getattr(math, "sumprod", _sum_of_products)
"""From Python 3.12 on it is in the standard library, in C."""


class _Record(msgspec.Struct, array_like=True, frozen=True):
    embedder: str
    version: int
    """Of the entry, with the moment of it: an entry that was deleted begins again at version 1."""
    updated_at: int
    text: str | None
    """What it is found by, when that is not what the entry says."""
    vector: bytes
    """Of length 1, float32; empty when it is not to be found."""


_decoder: Final = msgspec.msgpack.Decoder(_Record)
_encoder: Final = msgspec.msgpack.Encoder()


class Batches(Protocol):
    """What is needed of an embedder here."""

    @property
    def identity(self) -> str:
        """Whose vectors these are."""
        ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_batch(self) -> int: ...

    async def embedded(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text; no bytes for one with nothing to be found by."""
        ...


_LOCKS: Final[WeakValueDictionary[tuple[int, str], asyncio.Lock]] = WeakValueDictionary()
"""Of refreshing a namespace in a store: who comes together embeds it once."""


def _age(record: _Record) -> tuple[int, int]:
    return record.updated_at, record.version


class StoredVectors:
    """The vectors of one namespace of one agent."""

    __slots__ = ("_embedder", "_entries", "_lock", "_place", "_values")

    def __init__(self, values: KeyValues, entries: str, place: str, embedder: Batches) -> None:
        """``entries`` and ``place`` are the namespaces in the store of what is remembered, and of its vectors."""
        self._values = values
        self._entries = entries
        self._place = place
        self._embedder = embedder
        self._lock = _LOCKS.setdefault((id(values), place), asyncio.Lock())

    async def of(self, text: str) -> bytes:
        """Return the vector of ``text``; no bytes when it has nothing to be found by."""
        return (await self._embedder.embedded([text]))[0] if text else b""

    async def keep(
        self, key: str, vector: bytes, text: str | None, *, version: int, now: int, expires_at: int | None
    ) -> None:
        """Keep the vector of what was just written, unless there is one of later: of two who write an entry at once, the second to come
        here may have been the first there."""
        record = _Record(self._embedder.identity, version, now, text, vector)
        there = 0
        for _ in range(MAX_TRIES):
            with suppress(ConcurrencyConflict):
                await self._put(key, record, now, expires_at, there)
                return
            found = await self._values.get_value(self._place, key, now=now)
            there = 0 if found is None else found.version
            if found is not None and _age(_decoder.decode(found.value)) > _age(record):
                return
        raise TemporaryError(
            f"the vector of {key!r} was written by others {MAX_TRIES} times meanwhile",
            hint="the value is kept: store it again, or let the next search find it",
        )

    async def _put(self, key: str, record: _Record, now: int, expires_at: int | None, expected_version: int) -> None:
        await self._values.put_value(
            self._place,
            key,
            _encoder.encode(record),
            now=now,
            expires_at=expires_at,
            expected_version=expected_version,
        )

    async def refresh(self, now: int, is_due: Callable[[], bool]) -> None:
        """Make what is missing or no longer true, and drop the vectors of what is not there any more."""
        async with self._lock:
            if is_due():
                await self._refresh(now)

    async def _refresh(self, now: int) -> None:
        known: dict[str, tuple[int, _Record]] = {}
        async for found in all_values(self._values, self._place, now):
            known[found.key] = (found.version, msgspec.structs.replace(_decoder.decode(found.value), vector=b""))
        waiting: list[tuple[KeyValue, str | None, int]] = []
        async for entry in all_values(self._values, self._entries, now):
            version, record = known.pop(entry.key, (0, None))
            is_of_it = record is not None and (record.version, record.updated_at) == (entry.version, entry.updated_at)
            if record is None or not is_of_it or record.embedder != self._embedder.identity:
                waiting.append((entry, record.text if record is not None and is_of_it else None, version))
            if len(waiting) >= self._embedder.max_batch:
                await self._make(waiting, now)
                waiting = []
        await self._make(waiting, now)
        for key, (version, _) in known.items():
            with suppress(ConcurrencyConflict):  # it was written meanwhile, and is there again
                await self._values.delete_value(self._place, key, expected_version=version)

    async def _make(self, waiting: Sequence[tuple[KeyValue, str | None, int]], now: int) -> None:
        texts = [text_of(entry.key, codec.decode(entry.value), text) for entry, text, _ in waiting]
        vectors = await self._embedder.embedded([text for text in texts if text])
        made = iter(vectors)
        writes = []
        for (entry, text, version), written in zip(waiting, texts, strict=True):
            vector = next(made) if written else b""
            record = _Record(self._embedder.identity, entry.version, entry.updated_at, text, vector)
            writes.append(self._put(entry.key, record, now, entry.expires_at, version))
        for outcome in await asyncio.gather(*writes, return_exceptions=True):  # together they share the disk's syncs
            if isinstance(outcome, BaseException) and not isinstance(outcome, ConcurrencyConflict):
                raise outcome  # of a conflict: who was faster wrote a newer one

    async def compare(self, vector: bytes, min_score: float, now: int) -> tuple[list[Found], bool]:
        """Return what is at least ``min_score`` near ``vector``, the nearest first, and whether another embedder's vectors were met."""
        unpack = struct.Struct(f"<{self._embedder.dimension}f").unpack
        wanted, identity = unpack(vector), self._embedder.identity
        nearest: list[Found] = []
        is_mixed, count = False, 0
        async for found in all_values(self._values, self._place, now):
            count += 1
            if count % BLOCK == 0:
                await asyncio.sleep(0)
            record = _decoder.decode(found.value)
            if record.embedder != identity:
                is_mixed = True
            elif record.vector:
                score = max(-1.0, min(1.0, _dot(wanted, unpack(record.vector))))
                if score >= min_score:
                    nearest.append(Found(score, found.key, record.version, record.updated_at))
        nearest.sort(key=lambda one: (-one.score, one.key))
        return nearest, is_mixed


async def all_values(values: KeyValues, namespace: str, now: int) -> AsyncIterator[KeyValue]:
    """Yield every value of ``namespace``, page by page."""
    after = None
    while page := await values.list_values(namespace, now=now, after=after, limit=MAX_PAGE_VALUES):
        for found in page:
            yield found
        after = page[-1].key
