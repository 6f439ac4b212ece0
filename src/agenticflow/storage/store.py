"""What a backend is as a whole: the event store and the small ports that share its transaction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from agenticflow.core.types import ANY_VERSION
from agenticflow.storage.event_store import EventStore
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.rows import RunRow, Snapshot

__all__ = ["Store"]


class Store(EventStore):
    """An ``EventStore`` that is also ``RunIndex``, ``Snapshots``, ``Blobs`` and ``KeyValues``: what adapters subclass.

    The promises of the methods stand with those ports, in ``storage.rows`` and ``storage.key_values``.
    """

    @property
    def transactions(self) -> int:
        """How many transactions this object has made; 0 when each commit is one of its own."""
        return 0

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody but this object writes to what it keeps, for as long as it is open: then whoever knows of each commit here need
        not look again."""
        return False

    @abstractmethod
    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        """See ``RunIndex.get_run``."""

    @abstractmethod
    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        """See ``RunIndex.list_runs``."""

    @abstractmethod
    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        """See ``Snapshots.get_snapshot``."""

    @abstractmethod
    async def get_blob(self, name: str) -> bytes | None:
        """See ``Blobs.get_blob``."""

    @abstractmethod
    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        """See ``KeyValues.get_value``."""

    @abstractmethod
    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        now: int,
        expires_at: int | None = None,
        expected_version: int = ANY_VERSION,
    ) -> int:
        """See ``KeyValues.put_value``."""

    @abstractmethod
    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        """See ``KeyValues.delete_value``."""

    @abstractmethod
    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        """See ``KeyValues.list_values``."""

    @abstractmethod
    async def compact(self, policy: RetentionPolicy = KEEP_ALL, *, now: int) -> Compacted:
        """Apply ``policy`` as of ``now``, and give back what nobody needs: snapshots of ended runs, blobs that nothing refers to, values
        that have expired, room in the file. Return what was done.

        * The one way in which events leave the log. Works in steps beside everything else; a crash between two of them leaves a sound
          store, and the next call goes on.
        * Archived events leave ``read_all``, ``query_events`` and ``stream_events``, unless these ask for one stream by name; the stream
          itself reads as before, byte for byte, and goes on at its version. A follower that lies further behind than the policy
          keeps does not see them any more.
        * A deleted run is gone, with its index row and its command ids: its workflow id may be used again. Trimmed topics begin at a
          higher version. Positions are never used again.
        * A blob that anything refers to stays: an event of whatever stream, an archive, a snapshot, a value by key, another blob.

        Raises ``StoreUnavailable`` when closed, opened for reading only, or compacted by somebody else at the moment.
        """
