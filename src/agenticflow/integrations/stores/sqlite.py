"""The SQLite store: one file, one owner, nothing to install.

WAL mode, one writing connection on one thread (``sqlite_writer``), one reading connection on another. Full durability by default: a
commit that was answered survives power loss; ``durability="normal"`` may lose the last commits on power loss (never on a crash of
the process) and never damages the file. Opening for writing takes the ownership lock beside the file; opening ``read_only`` takes none
and works beside a living owner, in short read transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

import apsw

from agenticflow.core.codec import content_hash, decode
from agenticflow.core.events import EventPredicate
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite_file import check_file, connect, mapped, prepare_file
from agenticflow.integrations.stores.sqlite_writer import Writer
from agenticflow.runtime.ownership import Ownership
from agenticflow.storage.commits import Commit, Committed, StoredEvent, check_bounds
from agenticflow.storage.rows import RunRow, Snapshot
from agenticflow.storage.store import Store

__all__ = ["SQLiteStore"]

T = TypeVar("T")
Durability = Literal["full", "normal"]

_EVENT: Final = (
    "SELECT s.name, e.version, e.position, e.type, e.data, e.recorded_at, e.metadata, e.schema_version"
    " FROM events e JOIN streams s ON s.sid = e.sid"
)
_PAGE: Final = _EVENT + " WHERE e.sid = (SELECT sid FROM streams WHERE name = ?) AND e.version > ? ORDER BY e.version LIMIT ?"
_RUN_COLUMNS: Final = (
    "stream_id, kind, execution_id, run_no, name, status, is_open, next_due, fingerprint, started_at, ended_at, version"
)


class SQLiteStore(Store):
    """A store in one SQLite file. Made by ``open``."""

    def __init__(
        self,
        path: Path,
        schemas: SchemaRegistry | None,
        reader: apsw.Connection,
        writer: Writer | None,
        ownership: Ownership | None,
    ) -> None:
        super().__init__(schemas)
        self.path = path
        self.ownership = ownership
        """The lock beside the file; ``None`` when opened read-only."""
        self._reader = reader
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="agenticflow-sqlite-read")
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        durability: Durability = "full",
        schemas: SchemaRegistry | None = None,
        read_only: bool = False,
        vfs: str | None = None,
        exclusive: bool = False,
    ) -> Self:
        """Open the store at ``path``, making it when it is not there (not when ``read_only``).

        ``vfs`` and ``exclusive`` are for tests that put their own file system beneath.

        Raises ``StoreOwned`` when another process owns it, ``CorruptStore`` when the file is damaged or not ours (it is left untouched),
        ``ConfigurationError`` when it was made by a later release or cannot be reached.
        """
        if durability not in ("full", "normal"):
            raise ConfigurationError(f"durability={durability!r} is unknown", hint="use 'full' or 'normal'")
        file = Path(path).absolute()
        return await asyncio.to_thread(cls._open, file, durability, schemas, read_only, vfs, exclusive, asyncio.get_running_loop())

    @classmethod
    def _open(
        cls,
        file: Path,
        durability: Durability,
        schemas: SchemaRegistry | None,
        read_only: bool,
        vfs: str | None,
        exclusive: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> Self:
        ownership: Ownership | None = None
        if not read_only:
            if vfs is None:
                check_file(file)  # before the lock: beside a file that is not ours nothing is left
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"the folder {str(file.parent)!r} cannot be made: {error}") from error
            ownership = Ownership.take(file)
        try:
            prepare_file(file, read_only=read_only, vfs=vfs)
            writer = None if read_only else Writer(file, loop, durability=durability, vfs=vfs, exclusive=exclusive)
            try:
                reader = writer.connection if writer is not None and exclusive else connect(file, read_only=True, vfs=vfs)
                store = cls(file, schemas, reader, writer, ownership)
            except BaseException:
                if writer is not None:
                    writer.close()
                raise
        except BaseException:
            if ownership is not None:
                ownership.release()
            raise
        if writer is not None:
            writer.followers = store.followers
        return store

    async def commit(self, commit: Commit) -> Committed:
        if self._writer is None or self._is_closed:
            raise self._unavailable()
        check_bounds(commit)
        return await self._writer.commit(commit)

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        return await self._read(lambda db: [StoredEvent(*row) for row in db.execute(_PAGE, (stream_id, after_version, limit))])

    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        where = ["e.position > ?"]
        bound: list[object] = [after_position]
        if predicate is not None:
            if predicate.stream_id is not None:
                where.append("s.name = ?")
                bound.append(predicate.stream_id)
            if predicate.event_types is not None:
                types = sorted(predicate.event_types)
                where.append(f"e.type IN ({', '.join('?' * len(types))})")
                bound.extend(types)
            if predicate.time_range is not None:
                where.append("e.recorded_at >= ? AND e.recorded_at < ?")
                start, end = predicate.time_range.start_ns, predicate.time_range.end_ns
                bound.extend((start if start is not None else -(2**63), end if end is not None else 2**63 - 1))
        sql = f"{_EVENT} WHERE {' AND '.join(where)} ORDER BY e.position LIMIT ?"  # noqa: S608 - only our own words are joined
        bound.append(limit)
        return await self._read(lambda db: [StoredEvent(*row) for row in db.execute(sql, bound)])

    async def last_position(self) -> int:
        return await self._read(lambda db: int(db.execute("SELECT coalesce(max(position), 0) FROM events").get))

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        sql = f"SELECT {_RUN_COLUMNS} FROM runs WHERE execution_id = ? AND kind = ?"  # noqa: S608
        bound: list[object] = [execution_id, kind]
        if run_no is not None:
            sql += " AND run_no = ?"
            bound.append(run_no)
        sql += " ORDER BY run_no DESC LIMIT 1"
        return await self._read(lambda db: next((_run_row(row) for row in db.execute(sql, bound)), None))

    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        where = ["1"]
        bound: list[object] = []
        for column, wanted in (("kind", kind), ("status", status)):
            if wanted is not None:
                where.append(f"{column} = ?")
                bound.append(wanted)
        if is_open is not None:
            where.append("is_open" if is_open else "NOT is_open")
        if after is not None:
            where.append("id < (SELECT id FROM runs WHERE stream_id = ?)")
            bound.append(after)
        sql = f"SELECT {_RUN_COLUMNS} FROM runs WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608
        bound.append(limit)
        return await self._read(lambda db: [_run_row(row) for row in db.execute(sql, bound)])

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        sql = "SELECT version, data, schema_version FROM snapshots WHERE stream_id = ?"

        def read(db: apsw.Connection) -> Snapshot | None:
            for version, data, schema_version in db.execute(sql, (stream_id,)):
                return Snapshot(stream_id=stream_id, version=version, data=data, schema_version=schema_version)
            return None

        return await self._read(read)

    async def get_blob(self, name: str) -> bytes | None:
        data: bytes | None = await self._read(lambda db: db.execute("SELECT data FROM blobs WHERE hash = ?", (name,)).get)
        if data is not None and content_hash(data) != name:
            raise CorruptStore(f"blob {name} does not hash to its name", hint="restore the file from a backup")
        return data

    async def verify(self) -> list[str]:
        """Return, in words, everything that is wrong with the file; empty when it is sound. Reads all of it."""
        return await self._read(_problems)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.followers.close()
        if self._writer is not None:
            self._writer.put_patient()
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._thread.shutdown(wait=True)
        if self._writer is None or self._reader is not self._writer.connection:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self.ownership is not None:
            self.ownership.release()

    async def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        if self._is_closed:
            raise self._unavailable()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._mapped_read, read)

    def _mapped_read(self, read: Callable[[apsw.Connection], T]) -> T:
        try:
            return read(self._reader)
        except apsw.Error as error:
            raise mapped(error, self.path) from error

    def _unavailable(self) -> AgenticFlowError:
        if self._is_closed:
            return StoreUnavailable(f"the store {str(self.path)!r} is closed", hint="open it again")
        return StoreUnavailable(f"the store {str(self.path)!r} is open for reading only", hint="open it without read_only")


def _run_row(row: tuple[apsw.SQLiteValue, ...]) -> RunRow:
    values = dict(zip(RunRow.__struct_fields__, row, strict=True))
    values["is_open"] = bool(values["is_open"])
    return RunRow(**values)  # type: ignore[arg-type]  # the columns have the types of the fields


def _problems(db: apsw.Connection) -> list[str]:
    problems = [f"integrity check: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
    dense = (
        "SELECT s.name, count(*), min(e.version), max(e.version) FROM events e JOIN streams s ON s.sid = e.sid"
        " GROUP BY e.sid HAVING min(e.version) <> 1 OR max(e.version) <> count(*)"
    )
    for name, count, lowest, highest in db.execute(dense):
        problems.append(f"stream {name!r} has {count} events with versions {lowest} to {highest}")
    disorder = (
        "SELECT s.name, a.version FROM events a JOIN events b ON b.sid = a.sid AND b.version = a.version + 1"
        " JOIN streams s ON s.sid = a.sid WHERE b.position <= a.position"
    )
    problems += [f"stream {name!r}: positions do not grow after version {version}" for name, version in db.execute(disorder)]
    for name, data in db.execute("SELECT hash, data FROM blobs"):
        if content_hash(data) != name:
            problems.append(f"blob {name} does not hash to its name")
    lost = (
        "SELECT c.command_id, c.stream, c.version FROM commands c WHERE c.version > 0 AND NOT EXISTS"
        " (SELECT 1 FROM events e JOIN streams s ON s.sid = e.sid WHERE s.name = c.stream AND e.version = c.version)"
    )
    problems += [
        f"command {command_id!r} was answered with version {version} of {stream!r}, which does not exist"
        for command_id, stream, version in db.execute(lost)
    ]
    for stream, version, data in db.execute("SELECT s.name, e.version, e.data FROM events e JOIN streams s ON s.sid = e.sid"):
        try:
            decode(data)
        except AgenticFlowError as error:
            problems.append(f"event {version} of {stream!r}: {error}")
    return problems
