"""What goes into a store and what lies in it: encoded events, and the commit that makes them true together.

Nothing here decodes a payload; sizes are checked before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agenticflow.core.types import ANY_VERSION, MAX_BLOB_BYTES, MAX_COMMIT_BYTES, MAX_EVENT_BYTES
from agenticflow.errors import BoundExceeded, InvalidInput
from agenticflow.storage.key_values import check_name, check_value
from agenticflow.storage.rows import Blob, Row, RunRow, ValueRow

__all__ = ["Commit", "Committed", "NewEvent", "StoredEvent", "check_bounds"]

MAX_STREAM_ID: Final = 512
MAX_MOMENT: Final = 2**63 - 1
MIN_MOMENT: Final = -MAX_MOMENT


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way in: its payload is encoded already. ``timestamp`` in nanoseconds since the epoch."""

    event_type: str
    data: bytes
    timestamp: int
    metadata: bytes = b""
    """Encoded ``EventMetadata``; empty when there is none."""
    schema_version: int = 1


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it lies in the store, undecoded."""

    stream_id: str
    version: int
    position: int
    event_type: str
    data: bytes
    timestamp: int
    metadata: bytes = b""
    schema_version: int = 1


class Commit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes true together: events of one stream, and whatever must be found again after a crash."""

    stream_id: str
    expected: int = ANY_VERSION
    """Version the stream must have: ``ANY_VERSION``, ``NO_STREAM`` (0), or a number of events."""
    events: Sequence[NewEvent] = ()
    """May be empty when there are rows."""
    command_id: str | None = None
    """Id of the outside command this answers. Seen before: nothing is written and the first answer is given again."""
    rows: Sequence[Row] = ()
    can_wait: bool = False
    """Whether it may wait a few milliseconds for company: observations that need no sync of their own."""


class Committed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a commit."""

    version: int
    """Version of the stream after the commit."""
    position: int
    """Position of its last event; 0 when it had none."""
    is_repeated: bool = False
    """Whether the command id had been committed before; then version and position are those of that time."""


def check_bounds(commit: Commit) -> int:
    """Refuse what no store takes, before anything is written; return the size of the rest in bytes.

    Raises ``BoundExceeded`` or ``InvalidInput``.
    """
    stream_id, command_id = commit.stream_id, commit.command_id
    if not stream_id or len(stream_id) > MAX_STREAM_ID:
        raise InvalidInput(f"a stream id has 1 to {MAX_STREAM_ID} characters, not {len(stream_id)}")
    if commit.expected < ANY_VERSION:
        raise InvalidInput(
            f"expected version {commit.expected} makes no sense", hint="give 0 for a new stream, or leave it out"
        )
    if not commit.events and not commit.rows:
        raise InvalidInput(f"the commit to {stream_id!r} has neither events nor rows")
    if not stream_id.isascii():
        _check_text("stream id", stream_id)
    if command_id is not None:
        _check_text("command id", command_id)
    total = 0
    for event in commit.events:
        size = len(event.data) + len(event.metadata)
        total += size
        if size > MAX_EVENT_BYTES or not event.event_type.isascii() or not MIN_MOMENT <= event.timestamp <= MAX_MOMENT:
            _check_event(stream_id, event, size)
    if total > MAX_COMMIT_BYTES:
        raise BoundExceeded(
            f"a commit of {total:,} bytes to {stream_id!r} passes the limit of {MAX_COMMIT_BYTES:,}",
            hint="split it, or start less at once",
        )
    for row in commit.rows:
        if isinstance(row, RunRow):
            text = f"{row.stream_id}{row.kind}{row.execution_id}{row.name}{row.status}"
            if not text.isascii():
                _check_text("run row", text)
            continue
        if isinstance(row, ValueRow):
            if row.value is None:
                check_name(row.namespace, row.key)
            else:
                check_value(row.namespace, row.key, row.value, row.now, None)
                total += len(row.value)
            continue
        if isinstance(row, Blob) and len(row.data) > MAX_BLOB_BYTES:
            raise BoundExceeded(
                f"a blob of {len(row.data):,} bytes passes the limit of {MAX_BLOB_BYTES:,}",
                hint="write it to a file or an object store and keep where it is",
            )
        total += len(row.data)
    return total


def _check_event(stream_id: str, event: NewEvent, size: int) -> None:
    if size > MAX_EVENT_BYTES:
        raise BoundExceeded(
            f"an event {event.event_type!r} of {size:,} bytes for {stream_id!r} passes the limit of {MAX_EVENT_BYTES:,}",
            hint="store large content as a blob and put the reference into the event",
        )
    _check_text("event type", event.event_type)
    if not MIN_MOMENT <= event.timestamp <= MAX_MOMENT:
        raise InvalidInput(
            f"the timestamp {event.timestamp} of {event.event_type!r} is out of range",
            hint="it is in nanoseconds since 1970, in 64 bits",
        )


def _check_text(what: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the {what} {text!r:.200} is not Unicode text: {error}") from error
