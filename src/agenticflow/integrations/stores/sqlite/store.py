"""The SQLite store: one file, one owner, nothing to install.

WAL mode, one writing connection on one thread (``writer``), one reading connection on another. Full durability by default: a
commit that was answered survives power loss; ``durability="normal"`` may lose the last commits on power loss (never on a crash of
the process) and never damages the file. Opening for writing takes the ownership lock beside the file; opening ``read_only`` takes none
and works beside a living owner, in short read transactions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal, Self, TypeVar
from weakref import WeakSet

import apsw
import msgspec

from agenticflow.core.events import EventPredicate
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite.check import problems_in
from agenticflow.integrations.stores.sqlite.file import connect, is_there, make, mapped, migrate
from agenticflow.integrations.stores.sqlite.large import LEAST_FILE_BYTES, LargeValues, blob_of
from agenticflow.integrations.stores.sqlite.large.belonging import claim, demand_folder, enter, named, prepared
from agenticflow.integrations.stores.sqlite.pages import event_page, run_page
from agenticflow.integrations.stores.sqlite.upkeep import Compaction
from agenticflow.integrations.stores.sqlite.upkeep.archived import archive_after
from agenticflow.integrations.stores.sqlite.values import DeleteValue, PutValue, value_of, value_page
from agenticflow.integrations.stores.sqlite.writer import LAST_POSITION, Writer
from agenticflow.runtime.ownership import Ownership
from agenticflow.storage.archives import unpack
from agenticflow.storage.commits import Commit, Committed, StoredEvent, check_bounds
from agenticflow.storage.followers import Followers
from agenticflow.storage.key_values import KeyValue, check_name, check_page, check_value
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.rows import RunRow, Snapshot
from agenticflow.storage.store import Store

__all__ = ["SQLiteStore"]

S = TypeVar("S", bound=Store)
T = TypeVar("T")
Durability = Literal["full", "normal"]
MAX_TYPES: Final = 500
"""Asking for more event types than this reads all of them; SQLite takes 32,766 parameters."""
MAX_INTEGER: Final = 2**63 - 1
_OF_STREAM: Final = "e.sid = (SELECT sid FROM streams WHERE name = ?)"


class SQLiteStore(Store):
    """A store in one SQLite file. Made by ``open``."""

    def __init__(
        self,
        path: Path,
        schemas: SchemaRegistry | None,
        reader: apsw.Connection,
        writer: Writer | None = None,
        ownership: Ownership | None = None,
        vfs: str | None = None,
        blobs: Path | None = None,
    ) -> None:
        super().__init__(schemas)
        self.path = path
        self.ownership = ownership
        """The lock beside the file; ``None`` when opened read-only."""
        self._reader = reader
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="agenticflow-sqlite-read")
        self._vfs = vfs
        self._blobs = blobs
        """The folder that the user named this time; without it the recorded one holds."""
        self._is_compacting = False
        # Beside an owner there may be archives any time; the owner knows, and asks once less for each stream it reads.
        self._may_have_archives = True
        self._is_closed = False
        self._closing: asyncio.Future[None] | None = None
        _stores.add(self)

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        durability: Durability = "full",
        schemas: SchemaRegistry | None = None,
        read_only: bool = False,
        vfs: str | None = None,
        blobs: Path | str | None = None,
        least_file_bytes: int = LEAST_FILE_BYTES,
    ) -> Self:
        """Open the store at ``path``, making it when it is not there (not when ``read_only``).

        ``blobs`` is a folder: from now on values of ``least_file_bytes`` or more become files in it. The store remembers it; given again,
        it says where the folder has moved to.

        ``vfs`` names another file system layer to go through: ``agenticflow.testing.faulty_disk`` loses power with one.

        Raises ``StoreOwned`` when another process owns it, ``CorruptStore`` when the file is damaged or not ours (it is left untouched),
        ``ConfigurationError`` when it was made by a later release or cannot be reached, or its large values are not where they should be.
        """
        if durability not in ("full", "normal"):
            raise ConfigurationError(f"durability={durability!r} is unknown", hint="use 'full' or 'normal'")
        opening = asyncio.ensure_future(
            asyncio.to_thread(
                cls._open,
                path,
                durability,
                schemas,
                read_only,
                vfs,
                blobs,
                least_file_bytes,
                asyncio.get_running_loop(),
            )
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unclaimed)
            raise

    @classmethod
    def _open(
        cls,
        path: Path | str,
        durability: Durability,
        schemas: SchemaRegistry | None,
        read_only: bool,
        vfs: str | None,
        blobs: Path | str | None,
        least_file_bytes: int,
        loop: asyncio.AbstractEventLoop,
    ) -> Self:
        file = Path(os.path.realpath(path))  # one file, one lock, by whatever name it is called
        if read_only:
            if not is_there(file):
                raise ConfigurationError(
                    f"there is no store at {str(file)!r}", hint="check --store, or run something first"
                )
            return cls._open_for_reading(file, schemas, vfs, blobs)
        is_there(file)  # before the lock: beside a file that is not ours nothing is left
        with ExitStack() as undo:
            given = None if blobs is None else prepared(blobs, undo)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"the folder {str(file.parent)!r} cannot be made: {error}") from error
            ownership = Ownership.take(file)
            undo.callback(ownership.release)
            if not is_there(file):
                make(file, vfs)
            migrate(file, vfs)
            # The writer first: what a killed owner left in the log is brought in order by a connection that may write.
            followers = Followers()
            writer = Writer(file, loop, followers, durability=durability, vfs=vfs)
            undo.callback(writer.close)
            undo.callback(writer.seal)
            reader = connect(file, read_only=True, vfs=vfs)
            undo.callback(reader.close)
            try:
                has_archives = bool(reader.execute("SELECT EXISTS (SELECT 1 FROM archives)").get)
            except apsw.Error as error:
                raise mapped(error, file) from error
            writer.large = _large_values(reader, file, given, vfs, least_file_bytes, undo)
            store = cls(file, schemas, reader, writer, ownership, vfs, given)
            store._may_have_archives = has_archives
            store.followers = followers
            undo.pop_all()
        return store

    @classmethod
    def _open_for_reading(
        cls, file: Path, schemas: SchemaRegistry | None, vfs: str | None, blobs: Path | str | None
    ) -> Self:
        given = None if blobs is None else named(blobs)
        reader = connect(file, read_only=True, vfs=vfs)
        try:
            demand_folder(reader, file, given)
        except apsw.Error as error:
            reader.close()
            raise mapped(error, file) from error
        except AgenticFlowError:
            reader.close()
            raise
        return cls(file, schemas, reader, vfs=vfs, blobs=given)

    @property
    def transactions(self) -> int:
        return self._writer.transactions if self._writer is not None else 0

    @property
    def is_exclusive(self) -> bool:
        return self.ownership is not None and not self._is_closed

    async def commit(self, commit: Commit) -> Committed:
        return await self._open_writer().commit(commit, check_bounds(commit))

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        sizes: list[int] = []
        try:
            writer = self._open_writer()
            for commit in commits:
                sizes.append(check_bounds(commit))
        except AgenticFlowError as error:
            if not sizes:
                return [error]
            # What is before it is made, and whether it is that or this that is the last is seen then.
            before = await self.commit_in_order(commits[: len(sizes)])
            is_last = isinstance(before[-1], AgenticFlowError) or before[-1].is_repeated
            return before if is_last else [*before, error]
        try:
            return await writer.commit_in_order(tuple(commits), sum(sizes))
        except AgenticFlowError as error:
            return [error]

    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        after_version = _sql_int(after_version)
        return await self._read(lambda db: self._stream_page(db, stream_id, after_version, limit))

    def _stream_page(self, db: apsw.Connection, stream_id: str, after_version: int, limit: int) -> list[StoredEvent]:
        bound = (stream_id, after_version, limit)
        page = event_page(db, f"{_OF_STREAM} AND e.version > ?", "e.version", bound)
        if (page and page[0].version == after_version + 1) or not self._may_have_archives:
            return page
        # Events move into an archive in one transaction: what was not among the events just now is there.
        archive = archive_after(db, stream_id, version=after_version)
        if archive is None:
            return page
        events = unpack(stream_id, archive)
        skipped = max(0, after_version + 1 - archive.first_version)
        return events[skipped : skipped + limit]

    async def scan_page(
        self, after_position: int, limit: int, predicate: EventPredicate | None = None
    ) -> Sequence[StoredEvent]:
        where = ["e.position > ?"]
        bound: list[object] = [_sql_int(after_position)]
        order = "e.position"
        if predicate is not None:
            if predicate.stream_id is not None:
                where.append(_OF_STREAM)
                bound.append(predicate.stream_id)
                order = "e.version"  # the same order within a stream, and there is an index for it
            types = sorted(predicate.event_types or ())
            if types and len(types) <= MAX_TYPES:
                where.append(f"e.type IN ({', '.join('?' * len(types))})")
                bound.extend(types)
            if predicate.time_range is not None:
                start, end = predicate.time_range.start_ns, predicate.time_range.end_ns
                if start is not None:
                    where.append("e.recorded_at >= ?")
                    bound.append(_sql_int(start))
                if end is not None and end <= MAX_INTEGER:
                    where.append("e.recorded_at < ?")
                    bound.append(_sql_int(end))
        bound.append(limit)
        stream_id = None if predicate is None else predicate.stream_id
        if stream_id is None or not self._may_have_archives:
            return await self._read(lambda db: event_page(db, " AND ".join(where), order, bound))

        def page_of_stream(db: apsw.Connection) -> list[StoredEvent]:
            with db:  # one transaction: events may move into an archive meanwhile
                archive = archive_after(db, stream_id, position=_sql_int(after_position))
                if archive is None:
                    return event_page(db, " AND ".join(where), order, bound)
                events = unpack(stream_id, archive)
            return [event for event in events if event.position > after_position][:limit]

        return await self._read(page_of_stream)

    async def last_position(self) -> int:
        return await self._read(lambda db: int(db.execute(LAST_POSITION).get))

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        where = "execution_id = ? AND kind = ?"
        bound: list[object] = [execution_id, kind]
        if run_no is not None:
            where += " AND run_no = ?"
            bound.append(run_no)
        bound.append(1)
        rows = await self._read(lambda db: run_page(db, where, "run_no DESC", bound))
        return rows[0] if rows else None

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
        bound.append(limit)
        return await self._read(lambda db: run_page(db, " AND ".join(where), "id DESC", bound))

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        sql = "SELECT version, data, schema_version FROM snapshots WHERE stream_id = ?"

        def read(db: apsw.Connection) -> Snapshot | None:
            for version, data, schema_version in db.execute(sql, (stream_id,)):
                return Snapshot(stream_id=stream_id, version=version, data=data, schema_version=schema_version)
            return None

        return await self._read(read)

    async def get_blob(self, name: str) -> bytes | None:
        return await self._read(lambda db: blob_of(db, self.path, name, self._blobs))

    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        check_name(namespace, key)
        found = await self._read(lambda db: value_of(db, namespace, key))
        return None if found is None or (found.expires_at is not None and found.expires_at <= now) else found

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
        check_value(namespace, key, value, now, expires_at)
        write = PutValue(namespace, key, value, now, expires_at, expected_version)
        return await self._open_writer().write_value(write, len(value))

    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        check_name(namespace, key)
        return bool(await self._open_writer().write_value(DeleteValue(namespace, key, expected_version), 0))

    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        check_page(namespace, prefix, after, limit)
        return await self._read(lambda db: value_page(db, namespace, _sql_int(now), prefix, after, limit))

    async def compact(self, policy: RetentionPolicy = KEEP_ALL, *, now: int) -> Compacted:
        writer = self._open_writer()
        if self._is_compacting:
            raise StoreUnavailable(f"the store {str(self.path)!r} is being compacted already", hint="wait for its end")
        self._is_compacting = self._may_have_archives = True
        try:
            return await Compaction(self.path, writer, policy, now, self._vfs).run()
        except apsw.Error as error:
            raise mapped(error, self.path) from error
        finally:
            self._is_compacting = False

    async def verify(self) -> list[str]:
        """Return, in words, everything that is wrong with the file and those beside it; empty when it is sound. Reads all of it."""
        return await self._read(lambda db: problems_in(db, self.path, self._blobs))

    async def close(self) -> None:
        if self._closing is None and not self._is_closed:
            self._is_closed = True
            self.followers.close()
            if self._writer is not None:
                self._writer.seal()
            self._closing = asyncio.ensure_future(asyncio.to_thread(self._shut))
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _shut(self) -> None:
        with ExitStack() as undo:
            if self.ownership is not None:
                undo.callback(self.ownership.release)
            if self._writer is not None:
                undo.callback(self._writer.close)
            undo.callback(self._reader.close)
            self._thread.shutdown(wait=True)

    def forget(self) -> None:
        """In a forked child: the file, its lock and its threads belong to the parent, so this copy of the store is closed."""
        self._is_closed = True

    async def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        if self._is_closed:
            raise self._unavailable()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._mapped_read, read)

    def _mapped_read(self, read: Callable[[apsw.Connection], T]) -> T:
        try:
            return read(self._reader)
        except apsw.Error as error:
            raise mapped(error, self.path) from error
        except (
            TypeError,
            ValueError,
            OverflowError,
            msgspec.DecodeError,
        ) as error:  # text that is no UTF-8, a number where bytes were
            raise CorruptStore(
                f"the store {str(self.path)!r} holds what was never written: {error!r}", hint="restore it from a backup"
            ) from error

    def _open_writer(self) -> Writer:
        if self._writer is None or self._is_closed:
            raise self._unavailable()
        return self._writer

    def _unavailable(self) -> AgenticFlowError:
        if self._is_closed:
            return StoreUnavailable(f"the store {str(self.path)!r} is closed", hint="open it again")
        return StoreUnavailable(
            f"the store {str(self.path)!r} is open for reading only", hint="open it without read_only"
        )


def _large_values(
    reader: apsw.Connection, file: Path, given: Path | None, vfs: str | None, least_bytes: int, undo: ExitStack
) -> LargeValues | None:
    """Return where the owner's large values become files, ``None`` when they are rows."""

    def record(store_id: str, path: str) -> None:
        db = connect(file, read_only=False, vfs=vfs)
        try:
            enter(db, store_id, path)
        finally:
            db.close()

    try:
        folder = claim(reader, file, given, record, undo)
        return None if folder is None else LargeValues(folder, file.stat().st_mode & 0o666, least_bytes)
    except apsw.Error as error:
        raise mapped(error, file) from error


def _sql_int(number: int) -> int:
    """Return ``number``, or the nearest that SQLite has: no stored one lies beyond."""
    return max(-MAX_INTEGER, min(number, MAX_INTEGER))


def _close_unclaimed(opening: asyncio.Task[S]) -> None:
    """Give the lock of a store back whose opener was cancelled."""
    if not opening.cancelled() and opening.exception() is None:
        task = asyncio.ensure_future(opening.result().close())
        _closing.add(task)
        task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()
_stores: WeakSet[SQLiteStore] = WeakSet()


def _forget_stores() -> None:
    for store in _stores:
        store.forget()


os.register_at_fork(after_in_child=_forget_stores)
