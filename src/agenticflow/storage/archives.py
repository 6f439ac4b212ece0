"""The form of events that are kept but hardly read any more: some of one stream, end to end, compressed.

An archive is small enough to be read whole: what lies in a store is a row of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agenticflow.errors import CorruptStore
from agenticflow.storage.commits import StoredEvent

__all__ = ["MAX_ARCHIVE_EVENTS", "Archive", "fitting", "pack", "raw_of", "unpack"]

MAX_ARCHIVE_EVENTS: Final = 1_000
MAX_ARCHIVE_BYTES: Final = 1024 * 1024
"""Of events before compression, so that reading one takes little memory; a single event may be larger than the rest."""
_LEVEL: Final = 6
_RESTORE: Final = "restore the store from a backup"
_Packed = tuple[int, int, str, bytes, int, bytes, int]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Packed])


class Archive(msgspec.Struct, frozen=True):
    """Events ``first_version`` to ``last_version`` of a stream."""

    first_version: int
    last_version: int
    last_position: int
    raw_bytes: int
    data: bytes


def fitting(sizes: Iterable[int]) -> int:
    """Return how many events, of these ``sizes`` in bytes, go into one archive: at least one."""
    count = total = 0
    for size in sizes:
        total += size
        if count and (total > MAX_ARCHIVE_BYTES or count == MAX_ARCHIVE_EVENTS):
            break
        count += 1
    return count


def pack(events: Sequence[StoredEvent]) -> Archive:
    """Return the archive of ``events``, in order and without gaps from one stream."""
    packed: list[_Packed] = [
        (e.version, e.position, e.event_type, e.data, e.timestamp, e.metadata, e.schema_version) for e in events
    ]
    raw = _encoder.encode(packed)
    return Archive(events[0].version, events[-1].version, events[-1].position, len(raw), zlib.compress(raw, _LEVEL))


def raw_of(archive: Archive) -> bytes:
    """Return the bytes of the events, end to end: enough to look for something in them. Raises ``CorruptStore``."""
    try:
        inflating = zlib.decompressobj()
        raw = inflating.decompress(archive.data, archive.raw_bytes + 1)
    except zlib.error as error:
        raise CorruptStore(f"{_named(archive)} cannot be read: {error}", hint=_RESTORE) from error
    if len(raw) != archive.raw_bytes or not inflating.eof:
        raise CorruptStore(f"{_named(archive)} has not the size it had", hint=_RESTORE)
    return raw


def unpack(stream_id: str, archive: Archive) -> list[StoredEvent]:
    """Return the events, byte for byte as they were. Raises ``CorruptStore``."""
    try:
        packed = _decoder.decode(raw_of(archive))
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptStore(f"{_named(archive)} of {stream_id!r} cannot be read: {error}", hint=_RESTORE) from error
    if [event[0] for event in packed] != list(range(archive.first_version, archive.last_version + 1)):
        raise CorruptStore(f"{_named(archive)} of {stream_id!r} does not hold its versions", hint=_RESTORE)
    return [StoredEvent(stream_id, *event) for event in packed]


def _named(archive: Archive) -> str:
    return f"the archive of events {archive.first_version} to {archive.last_version}"
