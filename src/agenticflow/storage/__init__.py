"""Where facts, rows and values are kept: the ports, and the memory reference that proves them."""

from agenticflow.storage.commits import Commit, Committed, NewEvent, StoredEvent
from agenticflow.storage.event_store import EventStore
from agenticflow.storage.key_values import KeyValue, KeyValues
from agenticflow.storage.retention import Compacted, RetentionPolicy
from agenticflow.storage.rows import Blob, Blobs, Row, RunIndex, RunRow, Snapshot, Snapshots
from agenticflow.storage.store import Store

__all__ = [
    "Blob",
    "Blobs",
    "Commit",
    "Committed",
    "Compacted",
    "EventStore",
    "KeyValue",
    "KeyValues",
    "NewEvent",
    "RetentionPolicy",
    "Row",
    "RunIndex",
    "RunRow",
    "Snapshot",
    "Snapshots",
    "Store",
    "StoredEvent",
]
