"""The one writer of a SQLite store: group commit without a timer.

Commits queue; the writer thread takes everything that queued during its last transaction into the next one, so a lone producer
never waits for company and many share one sync. Versions are checked against heads kept in memory before anything is inserted, so a
refused commit changes nothing and fails alone. Answers go back to the event loop in one call per transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

import apsw

from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, OutcomeUnknown, StoreUnavailable
from agenticflow.integrations.stores.sqlite_file import connect, mapped
from agenticflow.runtime.failpoints import reach
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.followers import Followers
from agenticflow.storage.rows import Blob, RunRow, Snapshot

__all__ = ["Writer"]

MAX_QUEUED: Final = 10_000
PATIENCE_SECONDS: Final = 0.02
MAX_BATCH_EVENTS: Final = 20_000
CACHED_HEADS: Final = 100_000
CHECKPOINT_PAGES: Final = 4_000

_INTO_EVENTS: Final = "INSERT INTO events (position, sid, version, type, recorded_at, schema_version, data, metadata) VALUES "
_INTO_STREAMS: Final = "INSERT INTO streams (sid, name) VALUES "
_INTO_COMMANDS: Final = "INSERT INTO commands (command_id, stream, version, position) VALUES "
_INTO_BLOBS: Final = "INSERT OR IGNORE INTO blobs (hash, data) VALUES "
_INTO_SNAPSHOTS: Final = "INSERT OR REPLACE INTO snapshots (stream_id, version, schema_version, data) VALUES "
_INTO_RUNS: Final = (
    "INSERT INTO runs (stream_id, kind, execution_id, run_no, name, status, is_open, next_due, fingerprint, started_at, ended_at, version)"
    " VALUES "
)
_ON_RUNS: Final = (
    " ON CONFLICT (stream_id) DO UPDATE SET name = excluded.name, status = excluded.status,"
    " is_open = excluded.is_open, next_due = excluded.next_due, fingerprint = excluded.fingerprint,"
    " started_at = excluded.started_at, ended_at = excluded.ended_at, version = excluded.version"
)
_ROWS_AT_ONCE: Final = (128, 16, 1)
"""Rows per statement. Each statement gives up the interpreter's lock and has to win it back, so few large ones are faster."""

SQLiteValue = int | float | str | bytes | None

_Waiting = tuple[Commit, "asyncio.Future[Committed]"]
_Answer = tuple["asyncio.Future[Committed]", Committed | AgenticFlowError]


class _Batch:
    """What one transaction writes, and what it answers."""

    __slots__ = ("answers", "blobs", "commands", "events", "follow", "runs", "snapshots", "streams")

    def __init__(self) -> None:
        self.answers: list[_Answer] = []
        self.events: list[tuple[SQLiteValue, ...]] = []
        self.streams: list[tuple[SQLiteValue, ...]] = []
        self.commands: dict[str, tuple[str, str, int, int]] = {}
        self.runs: dict[str, tuple[SQLiteValue, ...]] = {}
        self.snapshots: dict[str, tuple[SQLiteValue, ...]] = {}
        self.blobs: list[tuple[SQLiteValue, ...]] = []
        self.follow: list[StoredEvent] = []


class Writer:
    """Owns the writing connection and its thread."""

    def __init__(
        self, file: Path, loop: asyncio.AbstractEventLoop, *, durability: str, vfs: str | None, exclusive: bool
    ) -> None:
        self._file = file
        self._loop = loop
        self._settings = {"durability": durability, "vfs": vfs, "exclusive": exclusive}
        self.connection = self._connect()
        self.followers = Followers()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._queued = 0
        self._patient: list[_Waiting] = []
        self._patience: asyncio.TimerHandle | None = None
        self._room: asyncio.Event | None = None
        self._heads: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._position = int(self.connection.execute("SELECT coalesce(max(position), 0) FROM events").get)
        self._last_sid = int(self.connection.execute("SELECT coalesce(max(sid), 0) FROM streams").get)
        self._broken: AgenticFlowError | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._write_all, name="agenticflow-sqlite-write", daemon=True)
        self._thread.start()

    def _connect(self) -> apsw.Connection:
        db = connect(
            self._file,
            read_only=False,
            vfs=self._settings["vfs"],  # type: ignore[arg-type]  # kept as given
            durability=str(self._settings["durability"]),
            exclusive=bool(self._settings["exclusive"]),
        )
        db.wal_autocheckpoint(CHECKPOINT_PAGES)
        return db

    async def commit(self, commit: Commit) -> Committed:
        """Queue ``commit`` and wait for its answer. Waits for room first when very many are queued."""
        if asyncio.get_running_loop() is not self._loop:
            raise StoreUnavailable(f"the store {str(self._file)!r} belongs to another event loop", hint="open it in this one")
        while self._queued >= MAX_QUEUED:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        if self._is_closed:
            raise StoreUnavailable(f"the store {str(self._file)!r} is closed", hint="open it again")
        answer: asyncio.Future[Committed] = self._loop.create_future()
        self._queued += 1
        if commit.can_wait:
            self._patient.append((commit, answer))
            if self._patience is None:
                self._patience = self._loop.call_later(PATIENCE_SECONDS, self.put_patient)
        else:
            if self._patient:
                self.put_patient()
            self._queue.put((commit, answer))
        return await answer

    def put_patient(self) -> None:
        """Queue the commits that could wait: before one that cannot, so that they share its transaction."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for waiting in self._patient:
            self._queue.put(waiting)
        self._patient.clear()

    def close(self) -> None:
        """Write what was accepted, bring the log into the file, close. Blocks."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()
        try:
            self.connection.execute("PRAGMA optimize")
            self.connection.close()
        except apsw.Error as error:
            raise mapped(error, self._file) from error

    # --- on the writer's thread -------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            waiting = [first]
            size = len(first[0].events)
            is_last = False
            try:
                while size < MAX_BATCH_EVENTS:
                    following = self._queue.get_nowait()
                    if following is None:
                        is_last = True
                        break
                    waiting.append(following)
                    size += len(following[0].events)
            except Empty:
                pass
            batch = self._write(waiting)
            reach("store.before_ack")
            self._loop_call(batch, len(waiting))
            if is_last:
                return

    def _write(self, waiting: list[_Waiting]) -> _Batch:
        """Write one transaction; return its answers."""
        if self._broken is not None and not self._mend():
            return self._refuse_all(waiting, self._broken)
        batch = _Batch()
        position, last_sid = self._position, self._last_sid
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            for commit, answer in waiting:
                batch.answers.append((answer, self._take(commit, batch)))
            self._insert(batch)
            reach("store.before_commit")
        except apsw.Error as error:
            self._undo(position, last_sid)
            return self._refuse_all(waiting, mapped(error, self._file))
        try:
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            return self._after_unknown_commit(waiting, batch, position, last_sid, error)
        reach("store.after_commit")
        return batch

    def _take(self, commit: Commit, batch: _Batch) -> Committed | AgenticFlowError:
        """Check one commit against the heads and add what it writes to the batch; a refused one adds nothing."""
        command_id, stream_id = commit.command_id, commit.stream_id
        if command_id is not None:
            known = self._answered(command_id, batch)
            if known is not None:
                return Committed(known[0], known[1], is_repeated=True)
        sid, version = self._head(stream_id)
        if commit.expected != ANY_VERSION and commit.expected != version:
            return ConcurrencyConflict(stream_id, commit.expected, version)
        if commit.events:
            if sid == 0:
                self._last_sid += 1
                sid = self._last_sid
                batch.streams.append((sid, stream_id))
            is_followed = bool(self.followers)
            position = self._position
            for event in commit.events:
                version += 1
                position += 1
                batch.events.append(
                    (position, sid, version, event.event_type, event.timestamp, event.schema_version, event.data, event.metadata)
                )
                if is_followed:
                    batch.follow.append(
                        StoredEvent(
                            stream_id,
                            version,
                            position,
                            event.event_type,
                            event.data,
                            event.timestamp,
                            event.metadata,
                            event.schema_version,
                        )
                    )
            self._position = position
            self._heads[stream_id] = (sid, version)
        for row in commit.rows:
            if type(row) is RunRow:
                batch.runs.pop(row.stream_id, None)
                batch.runs[row.stream_id] = tuple(getattr(row, name) for name in RunRow.__struct_fields__)
            elif type(row) is Snapshot:
                batch.snapshots[row.stream_id] = (row.stream_id, row.version, row.schema_version, row.data)
            elif type(row) is Blob:
                batch.blobs.append((row.hash, row.data))
        committed = Committed(version, self._position if commit.events else 0)
        if command_id is not None:
            batch.commands[command_id] = (command_id, stream_id, committed.version, committed.position)
        return committed

    def _answered(self, command_id: str, batch: _Batch) -> tuple[int, int] | None:
        if command_id in batch.commands:
            return batch.commands[command_id][2:]
        for version, position in self.connection.execute("SELECT version, position FROM commands WHERE command_id = ?", (command_id,)):
            return int(version), int(position)
        return None

    def _head(self, stream_id: str) -> tuple[int, int]:
        """Return the stream's number and version, ``(0, 0)`` when it has no event."""
        head = self._heads.get(stream_id)
        if head is None:
            sql = (
                "SELECT s.sid, (SELECT max(e.version) FROM events e WHERE e.sid = s.sid) FROM streams s WHERE s.name = ?"
            )
            head = (0, 0)
            for sid, version in self.connection.execute(sql, (stream_id,)):
                head = (int(sid), int(version or 0))
            if head[0]:
                self._heads[stream_id] = head
            if len(self._heads) > CACHED_HEADS:
                self._heads.popitem(last=False)
        return head

    def _insert(self, batch: _Batch) -> None:
        self._insert_rows(_INTO_STREAMS, batch.streams)
        self._insert_rows(_INTO_EVENTS, batch.events)
        self._insert_rows(_INTO_RUNS, list(batch.runs.values()), _ON_RUNS)
        self._insert_rows(_INTO_BLOBS, batch.blobs)
        self._insert_rows(_INTO_SNAPSHOTS, list(batch.snapshots.values()))
        self._insert_rows(_INTO_COMMANDS, list(batch.commands.values()))

    def _insert_rows(self, into: str, rows: Sequence[tuple[SQLiteValue, ...]], after: str = "") -> None:
        if not rows:
            return
        execute = self.connection.execute
        one = f"({','.join('?' * len(rows[0]))})"
        start = 0
        for size in _ROWS_AT_ONCE:
            statement = f"{into}{','.join([one] * size)}{after}"
            while len(rows) - start >= size:
                execute(statement, tuple(chain.from_iterable(rows[start : start + size])))
                start += size

    def _undo(self, position: int, last_sid: int) -> None:
        """Forget a transaction that did not happen."""
        self._position, self._last_sid = position, last_sid
        self._heads.clear()
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._broken = mapped(error, self._file)

    def _after_unknown_commit(
        self, waiting: list[_Waiting], batch: _Batch, position: int, last_sid: int, error: apsw.Error
    ) -> _Batch:
        """COMMIT failed, so nobody knows whether it happened: reopen the file and look (engine rule 11)."""
        if not isinstance(error, apsw.IOError) and self.connection.in_transaction:
            self._undo(position, last_sid)
            return self._refuse_all(waiting, mapped(error, self._file))
        last = self._position
        self._undo(position, last_sid)
        self._broken = mapped(error, self._file)
        if last == position or not self._mend():
            unknown = OutcomeUnknown(
                f"the disk failed while the store {str(self._file)!r} committed, the outcome is unknown: {error}",
                hint="mend the disk, open the store again and ask with the same command id",
            )
            return self._refuse_all(waiting, unknown)
        if self._position >= last:
            return batch
        return self._refuse_all(waiting, mapped(error, self._file))

    def _mend(self) -> bool:
        """Reopen the file after an I/O error; return whether that worked."""
        try:
            self.connection.close(True)
            self.connection = self._connect()
            self._position = int(self.connection.execute("SELECT coalesce(max(position), 0) FROM events").get)
            self._last_sid = int(self.connection.execute("SELECT coalesce(max(sid), 0) FROM streams").get)
        except (apsw.Error, AgenticFlowError):
            return False
        self._heads.clear()
        self._broken = None
        return True

    def _refuse_all(self, waiting: list[_Waiting], error: AgenticFlowError) -> _Batch:
        batch = _Batch()
        batch.answers = [(answer, error) for _, answer in waiting]
        return batch

    def _loop_call(self, batch: _Batch, count: int) -> None:
        try:
            self._loop.call_soon_threadsafe(self._answer, batch, count)
        except RuntimeError:  # the loop is closed: there is nobody left to answer, and what is committed is committed
            return

    # --- on the event loop ------------------------------------------------------------------------------------------

    def _answer(self, batch: _Batch, count: int) -> None:
        self._queued -= count
        if self._room is not None and self._queued < MAX_QUEUED:
            self._room.set()
        for answer, result in batch.answers:
            if answer.done():
                continue
            if isinstance(result, Committed):
                answer.set_result(result)
            else:
                answer.set_exception(result)
        if batch.follow:
            self.followers.tell(batch.follow)
