"""Names for ids and the limits everything is measured against.

Pure vocabulary: no behaviour, no imports from other rooms. Ids are plain strings at run time; the ``NewType``s
exist so that the checker refuses a task key where a stream is meant.
"""

from __future__ import annotations

from typing import Final, NewType

__all__ = [
    "ADVISED_RUN_EVENTS",
    "ANY_VERSION",
    "MAX_BLOB_BYTES",
    "MAX_COMMIT_BYTES",
    "MAX_EVENT_BYTES",
    "MAX_INLINE_BYTES",
    "MAX_RUN_EVENTS",
    "NO_STREAM",
    "SNAPSHOT_EVERY",
    "Blobs",
    "CommandId",
    "EventId",
    "PerformerId",
    "Position",
    "StreamId",
    "TaskKey",
    "Token",
    "WorkflowId",
]

StreamId = NewType("StreamId", str)
EventId = NewType("EventId", str)
CommandId = NewType("CommandId", str)
WorkflowId = NewType("WorkflowId", str)
TaskKey = NewType("TaskKey", str)
PerformerId = NewType("PerformerId", str)
"""Id of whoever performs activities: an agent or a worker."""

Position = NewType("Position", int)
"""Place of an event in the whole store: ordered and opaque; gaps are normal, arithmetic is meaningless."""

Token = NewType("Token", int)
"""The stream version at which an attempt was scheduled. It fences late reports of superseded attempts."""

Blobs = tuple[tuple[str, bytes], ...]
"""Large values beside what refers to them, each with its content hash: mostly none."""

ANY_VERSION: Final = -1
"""Append after whatever is there."""

NO_STREAM: Final = 0
"""Append only if the stream has no event yet. The first event of a stream has version 1."""

KIB: Final = 1024
MAX_EVENT_BYTES: Final = 256 * KIB
MAX_COMMIT_BYTES: Final = 4 * KIB * KIB
MAX_INLINE_BYTES: Final = 64 * KIB
"""A larger value is stored once, as a blob named by its content hash."""
MAX_BLOB_BYTES: Final = 64 * KIB * KIB
MAX_RUN_EVENTS: Final = 100_000
ADVISED_RUN_EVENTS: Final = 50_000
"""A longer history is worth a warning: it is folded again after a restart, and half of what a run may have is gone."""
SNAPSHOT_EVERY: Final = 5_000
