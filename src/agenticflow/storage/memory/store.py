"""Streams, rows and answers in dictionaries.

Data never leaves the process. Commits happen at once on the event loop's thread, so there is nothing to group. Positions have
gaps on purpose, so that nobody learns to count with them.
"""

from __future__ import annotations

from collections.abc import Sequence

from agenticflow.core.codec import content_hash
from agenticflow.core.events import EventPredicate
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import ConcurrencyConflict, CorruptStore, StoreUnavailable
from agenticflow.storage.archives import Archive, unpack
from agenticflow.storage.commits import Commit, Committed, StoredEvent, check_bounds
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.memory.upkeep import MemoryUpkeep
from agenticflow.storage.memory.values import MemoryValues
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.rows import Blob, RunRow, Snapshot, ValueRow
from agenticflow.storage.store import Store

__all__ = ["MemoryStore"]

EXPIRED_AT_ONCE = 1_000


class MemoryStore(Store):
    """Everything in dictionaries. Lives as long as the object: give the same one to the next orchestrator to "restart"."""

    def __init__(self, schemas: SchemaRegistry | None = None) -> None:
        super().__init__(schemas)
        self._streams: dict[str, list[StoredEvent]] = {}
        self._log: list[StoredEvent] = []
        self._archives: dict[str, list[Archive]] = {}
        self._trimmed: dict[str, int] = {}
        """How many events of a stream are not in ``_streams`` any more."""
        self._answers: dict[str, Committed] = {}
        self._answered: dict[str, str] = {}
        """The stream of each answered command."""
        self._runs: dict[str, RunRow] = {}
        self._numbered: dict[tuple[str, str, int], str] = {}
        """The stream of each run."""
        self._latest: dict[tuple[str, str], str] = {}
        """The stream of the latest run of each chain."""
        self._snapshots: dict[str, Snapshot] = {}
        self._blobs: dict[str, bytes] = {}
        self._values = MemoryValues()
        self._position = self._last_position = 0
        self._is_closed = False

    @property
    def is_exclusive(self) -> bool:
        return not self._is_closed

    async def commit(self, commit: Commit) -> Committed:
        if self._is_closed:
            raise StoreUnavailable("the memory store is closed", hint="open a new one")
        check_bounds(commit)
        command_id = commit.command_id
        if command_id is not None and (answer := self._answers.get(command_id)) is not None:
            return Committed(answer.version, answer.position, is_repeated=True)
        stream_id = commit.stream_id
        stream = self._streams.get(stream_id) or []
        version = self._trimmed.get(stream_id, 0) + len(stream)
        if commit.expected != ANY_VERSION and commit.expected != version:
            raise ConcurrencyConflict(stream_id, commit.expected, version)
        if not stream and commit.events:
            self._streams[stream_id] = stream
        position = self._position + 1  # one position stays unused per commit: gaps are part of the contract
        log = self._log
        first = len(log)
        for event in commit.events:
            version += 1
            position += 1
            stored = StoredEvent(
                stream_id,
                version,
                position,
                event.event_type,
                event.data,
                event.timestamp,
                event.metadata,
                event.schema_version,
            )
            stream.append(stored)
            log.append(stored)
        self._position = position
        if commit.events:
            self._last_position = position
        for row in commit.rows:
            if type(row) is RunRow:
                is_new = row.stream_id not in self._runs
                self._runs[row.stream_id] = row
                if is_new:
                    self._find_by_number(row)
            elif type(row) is Snapshot:
                self._snapshots[row.stream_id] = row
            elif type(row) is Blob:
                self._blobs.setdefault(row.hash, row.data)
            elif type(row) is ValueRow:
                self._write_value(row)
        committed = Committed(version, position if commit.events else 0)
        if command_id is not None:
            self._answers[command_id] = committed
            self._answered[command_id] = stream_id
        if self.followers and commit.events:
            self.followers.tell(log[first:])
        return committed

    def _find_by_number(self, row: RunRow) -> None:
        kind, execution_id, stream_id = row.kind, row.execution_id, row.stream_id
        self._numbered[kind, execution_id, row.run_no] = stream_id
        latest = self._latest.get((kind, execution_id))
        if latest is None or self._runs[latest].run_no <= row.run_no:
            self._latest[kind, execution_id] = stream_id

    def _write_value(self, row: ValueRow) -> None:
        if row.value is None:
            self._values.delete(row.namespace, row.key, ANY_VERSION)
        else:
            self._values.put(row.namespace, row.key, row.value, row.now, None, ANY_VERSION)

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        self._check_open()
        trimmed = self._trimmed.get(stream_id, 0)
        for archive in self._archives.get(stream_id, ()):
            if archive.last_version > after_version:
                skipped = max(0, after_version + 1 - archive.first_version)
                return unpack(stream_id, archive)[skipped : skipped + limit]
        start = max(0, after_version - trimmed)
        return self._streams.get(stream_id, [])[start : start + limit]

    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        self._check_open()
        stream_id = None if predicate is None else predicate.stream_id
        if stream_id is not None:
            for archive in self._archives.get(stream_id, ()):
                if archive.last_position > after_position:
                    events = unpack(stream_id, archive)
                    return [event for event in events if event.position > after_position][:limit]
        log = self._log
        low, high = 0, len(log)
        while low < high:
            middle = (low + high) // 2
            if log[middle].position <= after_position:
                low = middle + 1
            else:
                high = middle
        return log[low : low + limit]

    async def last_position(self) -> int:
        self._check_open()
        return self._last_position

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        self._check_open()
        if run_no is None:
            stream_id = self._latest.get((kind, execution_id))
        else:
            stream_id = self._numbered.get((kind, execution_id, run_no))
        return None if stream_id is None else self._runs[stream_id]

    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        self._check_open()
        found: list[RunRow] = []
        is_past = after is None
        for stream_id in reversed(self._runs):
            if not is_past:
                is_past = stream_id == after
                continue
            row = self._runs[stream_id]
            if (
                (kind is None or row.kind == kind)
                and (status is None or row.status == status)
                and (is_open is None or row.is_open == is_open)
            ):
                found.append(row)
                if len(found) == limit:
                    break
        return found

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        self._check_open()
        return self._snapshots.get(stream_id)

    async def get_blob(self, name: str) -> bytes | None:
        self._check_open()
        data = self._blobs.get(name)
        if data is not None and content_hash(data) != name:
            raise CorruptStore(f"blob {name} does not hash to its name")
        return data

    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        self._check_open()
        return self._values.get(namespace, key, now)

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
        self._check_open()
        return self._values.put(namespace, key, value, now, expires_at, expected_version)

    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        self._check_open()
        return self._values.delete(namespace, key, expected_version)

    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        self._check_open()
        return self._values.page(namespace, now, prefix, after, limit)

    async def compact(self, policy: RetentionPolicy = KEEP_ALL, *, now: int) -> Compacted:
        self._check_open()
        upkeep = MemoryUpkeep(
            self._streams,
            self._archives,
            self._trimmed,
            self._runs,
            self._snapshots,
            self._blobs,
            self._answers,
            self._answered,
        )
        upkeep.apply(policy, now)
        upkeep.sweep(self._values.contents())
        while removed := self._values.remove_expired(now, EXPIRED_AT_ONCE):
            upkeep.done.values += removed
        self._log = [
            event
            for event in self._log
            if event.stream_id in self._streams and event.version > self._trimmed.get(event.stream_id, 0)
        ]
        self._numbered = {key: stream_id for key, stream_id in self._numbered.items() if stream_id in self._runs}
        self._latest = {key: stream_id for key, stream_id in self._latest.items() if stream_id in self._runs}
        return upkeep.done

    async def close(self) -> None:
        self._is_closed = True
        self.followers.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the memory store is closed", hint="open a new one")
