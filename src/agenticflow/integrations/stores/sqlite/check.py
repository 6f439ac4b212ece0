"""Whether a SQLite store's file is sound: its structure, and everything in it that can be held against something else.

Snapshots cannot: they have no second source here, and ``store verify`` folds the events without them.
"""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import msgspec

from agenticflow.core.codec import content_hash, decode
from agenticflow.core.events import EventMetadata
from agenticflow.errors import AgenticFlowError

__all__ = ["problems_in"]

# Text as bytes: what is no text must be told, not raised in the middle of a query.
_EVENTS = (
    "SELECT CAST(s.name AS BLOB), e.version, e.position, CAST(e.type AS BLOB), e.data, e.metadata, typeof(e.data), typeof(e.metadata)"
    " FROM events e LEFT JOIN streams s ON s.sid = e.sid ORDER BY e.sid, e.version"
)
_RUNS = (
    "SELECT CAST(stream_id AS BLOB), CAST(kind AS BLOB), CAST(execution_id AS BLOB), run_no, CAST(name AS BLOB), CAST(status AS BLOB),"
    " CAST(fingerprint AS BLOB) FROM runs"
)
_UNFOUNDED = (
    "SELECT c.command_id, c.stream, c.version FROM commands c WHERE c.version > 0 AND NOT EXISTS"
    " (SELECT 1 FROM events e JOIN streams s ON s.sid = e.sid WHERE s.name = c.stream AND e.version = c.version)"
)


def problems_in(db: apsw.Connection) -> list[str]:
    """Return, in words, everything that is wrong; empty when the file is sound. Reads all of it, in one snapshot."""
    problems: list[str] = []
    try:
        with db:  # one transaction: what is written meanwhile is not half seen
            for part in (_structure, _streams, _events, _runs, _blobs, _commands):
                problems += part(db)
    except (apsw.Error, UnicodeError) as error:
        problems.append(f"the file cannot be read further: {error}")
    return problems


def _structure(db: apsw.Connection) -> Iterator[str]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity check: {line}"


def _streams(db: apsw.Connection) -> Iterator[str]:
    sql = "SELECT CAST(name AS BLOB) FROM streams s WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.sid = s.sid)"
    for (name,) in db.execute(sql):
        yield f"stream {_shown(name)} has no event"


def _events(db: apsw.Connection) -> Iterator[str]:
    stream, expected, last = None, 0, 0
    for name, version, position, kind, data, metadata, *types in db.execute(_EVENTS):
        if name != stream:
            stream, expected, last = name, 0, 0
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
