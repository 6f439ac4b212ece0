"""What a backend is as a whole: the event store and the small ports that share its transaction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from agenticflow.storage.event_store import EventStore
from agenticflow.storage.rows import RunRow, Snapshot

__all__ = ["Store"]


class Store(EventStore):
    """An ``EventStore`` that is also ``RunIndex``, ``Snapshots`` and ``Blobs``: what adapters subclass.

    The promises of the four reading methods stand in ``storage.rows``.
    """

    @property
    def transactions(self) -> int:
        """How many transactions this object has made; 0 when each commit is one of its own."""
        return 0

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
