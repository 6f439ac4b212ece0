"""Whether a SQLite store's file is sound: its structure, and everything in it that can be held against something else.

Snapshots cannot: they have no second source here, and ``store verify`` folds the events without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from agenticflow.core.codec import content_hash, decode
from agenticflow.core.events import EventMetadata
from agenticflow.errors import AgenticFlowError
from agenticflow.integrations.stores.sqlite.large.values import problems_of_files
from agenticflow.storage.archives import Archive, unpack
from agenticflow.storage.key_values import end_of_prefix
from agenticflow.storage.retention import TOPIC_STREAMS

__all__ = ["problems_in"]

# Text as bytes: what is no text must be told, not raised in the middle of a query.
_EVENTS = (
    "SELECT CAST(s.name AS BLOB), s.trimmed, e.version, e.position, CAST(e.type AS BLOB), e.data, e.metadata,"
    " typeof(e.data), typeof(e.metadata) FROM events e LEFT JOIN streams s ON s.sid = e.sid ORDER BY e.sid, e.version"
)
_RUNS = (
    "SELECT CAST(stream_id AS BLOB), CAST(kind AS BLOB), CAST(execution_id AS BLOB), run_no, CAST(name AS BLOB), CAST(status AS BLOB),"
    " CAST(fingerprint AS BLOB) FROM runs"
)
_UNFOUNDED = (
    "SELECT c.command_id, c.stream, c.version FROM commands c WHERE c.version > 0 AND NOT EXISTS"
    " (SELECT 1 FROM events e JOIN streams s ON s.sid = e.sid WHERE s.name = c.stream AND e.version = c.version)"
    " AND NOT EXISTS (SELECT 1 FROM streams s WHERE s.name = c.stream AND c.version <= s.trimmed)"
)
_ARCHIVES = (
    "SELECT CAST(s.name AS BLOB), s.trimmed, a.first_version, a.last_version, a.last_position, a.raw_bytes, CAST(a.data AS BLOB)"
    " FROM archives a LEFT JOIN streams s ON s.sid = a.sid ORDER BY a.sid, a.last_version"
)
# A topic may have lost its oldest events for good; whatever else is not among the events must be archived.
_LOST = (
    "SELECT CAST(s.name AS BLOB), s.trimmed FROM streams s WHERE s.trimmed > 0 AND NOT (s.name >= ? AND s.name < ?)"
    " AND s.trimmed IS NOT (SELECT max(a.last_version) FROM archives a WHERE a.sid = s.sid)"
)
_VALUES = (
    "SELECT CAST(namespace AS BLOB), CAST(key AS BLOB), typeof(version), typeof(updated_at), typeof(expires_at), typeof(value)"
    " FROM key_values"
)


def problems_in(db: apsw.Connection, file: Path, blobs: Path | None) -> list[str]:
    """Return, in words, everything that is wrong; empty when the store is sound.

    Reads all of the file in one snapshot, then the large values in files; ``blobs`` is where these are, when not where it is recorded.
    """
    problems: list[str] = []
    try:
        with db:  # one transaction: what is written meanwhile is not half seen
            for part in (_structure, _streams, _events, _archives, _runs, _blobs, _commands, _values):
                problems += part(db)
        problems += problems_of_files(db, file, blobs)
    except (apsw.Error, UnicodeError) as error:
        problems.append(f"the file cannot be read further: {error}")
    return problems


def _structure(db: apsw.Connection) -> Iterator[str]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity check: {line}"


def _streams(db: apsw.Connection) -> Iterator[str]:
    sql = (
        "SELECT CAST(name AS BLOB) FROM streams s"
        " WHERE trimmed = 0 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.sid = s.sid)"
    )
    for (name,) in db.execute(sql):
        yield f"stream {_shown(name)} has no event"


def _events(db: apsw.Connection) -> Iterator[str]:
    stream, expected, last = None, 0, 0
    for name, trimmed, version, position, kind, data, metadata, *types in db.execute(_EVENTS):
        if name != stream:
            stream, expected, last = name, int(trimmed or 0), 0
        expected += 1
        if version != expected:
            yield f"stream {_shown(name)} has version {version} where {expected} should be"
            expected = int(version)
        if position <= last:
            yield f"stream {_shown(name)}: positions do not grow at version {version}"
        last = position
        if not (_is_text(name) and _is_text(kind) and types == ["blob", "blob"]):
            yield f"event {version} of {_shown(name)} is not as it was written"
            continue
        try:
            decode(data)
            if metadata:
                msgspec.msgpack.decode(metadata, type=EventMetadata)
        except (AgenticFlowError, msgspec.DecodeError) as error:
            yield f"event {version} of {_shown(name)}: {error}"


def _archives(db: apsw.Connection) -> Iterator[str]:
    stream, expected, last = None, 1, 0
    for name, trimmed, *fields in db.execute(_ARCHIVES):
        archive = Archive(*fields)
        if name != stream:
            stream, expected, last = name, 1, 0
        if archive.first_version != expected:
            yield f"the archives of {_shown(name)} have version {archive.first_version} where {expected} should be"
        if trimmed is None or archive.last_version > trimmed:
            yield f"the archives of {_shown(name)} hold version {archive.last_version}, which was never taken out of it"
        expected = archive.last_version + 1
        try:
            for event in unpack(name.decode(), archive):
                if event.position <= last:
                    yield f"archived stream {_shown(name)}: positions do not grow at version {event.version}"
                last = event.position
                decode(event.data)
                if event.metadata:
                    msgspec.msgpack.decode(event.metadata, type=EventMetadata)
        except (AgenticFlowError, msgspec.DecodeError, AttributeError, UnicodeDecodeError) as error:
            yield f"the archives of {_shown(name)} are not as they were written: {error}"
        if last != archive.last_position:
            yield f"the archives of {_shown(name)} end at position {last}, not at {archive.last_position}"
    for name, trimmed in db.execute(_LOST, (TOPIC_STREAMS, end_of_prefix(TOPIC_STREAMS))):
        yield f"stream {_shown(name)} has its events up to version {trimmed} nowhere"


def _values(db: apsw.Connection) -> Iterator[str]:
    for namespace, key, *types in db.execute(_VALUES):
        expires_at = types.pop(2)
        is_right = types == ["integer", "integer", "blob"] and expires_at in ("integer", "null")
        if not (is_right and _is_text(namespace) and _is_text(key)):
            yield f"the value {_shown(key)} of {_shown(namespace)} is not as it was written"


def _runs(db: apsw.Connection) -> Iterator[str]:
    for stream_id, kind, execution_id, run_no, *texts in db.execute(_RUNS):
        if not all(map(_is_text, (stream_id, kind, execution_id, *texts))):
            yield f"the index row of {_shown(stream_id)} is not as it was written"
        elif not isinstance(run_no, int):
            yield f"the index row of {_shown(stream_id)} has the number {run_no!r}"


def _blobs(db: apsw.Connection) -> Iterator[str]:
    for name, data in db.execute("SELECT CAST(hash AS BLOB), CAST(data AS BLOB) FROM blobs"):
        if content_hash(data).encode() != name:
            yield f"blob {_shown(name)} does not hash to its name"


def _commands(db: apsw.Connection) -> Iterator[str]:
    for command_id, stream, version in db.execute(_UNFOUNDED):
        yield f"command {command_id!r} was answered with version {version} of {stream!r}, which does not exist"


def _is_text(data: object) -> bool:
    if not isinstance(data, bytes):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(name: object) -> str:
    return repr(name.decode(errors="backslashreplace")) if isinstance(name, bytes) else repr(name)
