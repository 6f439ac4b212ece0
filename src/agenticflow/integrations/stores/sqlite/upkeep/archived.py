"""Archived events in a SQLite file: which runs are due, how their events move, how they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

import apsw
import msgspec

from agenticflow.integrations.stores.sqlite.pages import event_page
from agenticflow.storage.archives import MAX_ARCHIVE_EVENTS, Archive, fitting, pack

__all__ = ["Chunk", "DueRun", "archive_after", "due_runs", "keep_position", "pack_some", "store_chunks"]

STEP_EVENTS: Final = 2_000
"""Events that one step takes out of the log, about: commits wait that long."""
STEP_BYTES: Final = 1024 * 1024
_DUE: Final = """
SELECT r.id, r.ended_at, r.stream_id, s.sid, coalesce(s.trimmed, 0) FROM runs r LEFT JOIN streams s ON s.name = r.stream_id
WHERE NOT r.is_open AND NOT r.is_archived AND r.ended_at <= ? AND (r.ended_at, r.id) > (?, ?) ORDER BY r.ended_at, r.id LIMIT ?
"""
_SIZES: Final = """
SELECT json_group_array(size) FROM (SELECT length(data) + length(metadata) AS size FROM events
                                    WHERE sid = ? AND version > ? ORDER BY version LIMIT ?)
"""
_KEEP_POSITION: Final = (
    "UPDATE marks SET value = max(value, (SELECT coalesce(max(position), 0) FROM events)) WHERE name = 'position'"
)
_BY_VERSION: Final = """
SELECT first_version, last_version, last_position, raw_bytes, data FROM archives
WHERE sid = (SELECT sid FROM streams WHERE name = ?) AND last_version > ? ORDER BY last_version LIMIT 1
"""
_BY_POSITION: Final = """
SELECT first_version, last_version, last_position, raw_bytes, data FROM archives
WHERE sid = (SELECT sid FROM streams WHERE name = ?) AND last_position > ? ORDER BY last_version LIMIT 1
"""
_sizes = msgspec.json.Decoder(list[int])


class DueRun(msgspec.Struct):
    """An ended run on its way out of the log."""

    id: int
    ended_at: int
    stream_id: str
    sid: int | None
    """``None`` when it has no events."""
    trimmed: int


class Chunk(msgspec.Struct, frozen=True):
    """What one archive takes over; ``archive`` is ``None`` when there was nothing left."""

    run: DueRun
    trimmed: int
    archive: Archive | None
    is_last: bool


def due_runs(db: apsw.Connection, before: int, after: tuple[int, int], limit: int) -> list[DueRun]:
    """Return ended runs that are to be archived, oldest first, beginning behind ``after`` (end and id)."""
    return [DueRun(*row) for row in db.execute(_DUE, (before, *after, limit))]


def pack_some(db: apsw.Connection, runs: deque[DueRun]) -> list[Chunk]:
    """Compress what one step can take, from the left of ``runs``; a run with more to come stays there."""
    chunks: list[Chunk] = []
    events = size = 0
    while runs and events < STEP_EVENTS and size < STEP_BYTES:
        run = runs[0]
        sizes: list[int] = []
        if run.sid is not None:
            sizes = _sizes.decode(db.execute(_SIZES, (run.sid, run.trimmed, MAX_ARCHIVE_EVENTS)).get)
        count = fitting(sizes)
        is_last = count == len(sizes) < MAX_ARCHIVE_EVENTS
        archive = None
        if count:
            page = event_page(db, "e.sid = ? AND e.version > ?", "e.version", (run.sid, run.trimmed, count))
            archive = pack(page)
        chunks.append(Chunk(run, run.trimmed, archive, is_last))
        if archive is not None:
            run.trimmed = archive.last_version
            size += archive.raw_bytes
        events += count
        if is_last:
            runs.popleft()
    return chunks


def store_chunks(db: apsw.Connection, chunks: Collection[Chunk]) -> list[Chunk]:
    """Put the archives in and take their events out, inside one transaction; return those that went in.

    A chunk whose stream has changed since it was packed is left out.
    """
    keep_position(db)
    taken = []
    for chunk in chunks:
        archive, run = chunk.archive, chunk.run
        if archive is not None:
            db.execute(
                "UPDATE streams SET trimmed = ? WHERE sid = ? AND trimmed = ?",
                (archive.last_version, run.sid, chunk.trimmed),
            )
            if not db.changes():
                continue
            db.execute(
                "INSERT INTO archives (sid, first_version, last_version, last_position, raw_bytes, data)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (run.sid, *(getattr(archive, name) for name in Archive.__struct_fields__)),
            )
            db.execute("DELETE FROM events WHERE sid = ? AND version <= ?", (run.sid, archive.last_version))
        if chunk.is_last:
            db.execute(
                "UPDATE runs SET is_archived = 1 WHERE id = ? AND NOT is_open"
                " AND NOT EXISTS (SELECT 1 FROM events WHERE sid = ?)",
                (run.id, run.sid),
            )
        taken.append(chunk)
    return taken


def keep_position(db: apsw.Connection) -> None:
    """Note the last position before events go, so that it is never given again."""
    db.execute(_KEEP_POSITION)


def archive_after(
    db: apsw.Connection, stream_id: str, *, version: int | None = None, position: int | None = None
) -> Archive | None:
    """Return the first archive of the stream that reaches above ``version`` or ``position``; ``None`` when there is none."""
    query, above = (_BY_VERSION, version) if position is None else (_BY_POSITION, position)
    for row in db.execute(query, (stream_id, above)):
        return Archive(*row)
    return None
