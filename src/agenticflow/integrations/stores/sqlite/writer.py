"""The one writer of a SQLite store: group commit without a timer.

Commits queue; the writer thread takes everything that queued during its last transaction into the next one, so a lone producer
never waits for company and many share one sync. Versions are checked against heads kept in memory before anything is inserted, so a
refused commit changes nothing and fails alone. Answers go back to the event loop in one call per transaction, and every commit that
was accepted is answered, whatever happens on the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import apsw

from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import (
    AgenticFlowError,
    ConcurrencyConflict,
    InvalidInput,
    InvariantError,
    OutcomeUnknown,
    StoreUnavailable,
    WorldError,
)
from agenticflow.integrations.stores.sqlite.batch import Batch
from agenticflow.integrations.stores.sqlite.file import BUSY_MILLISECONDS, connect, mapped
from agenticflow.integrations.stores.sqlite.large import LargeValues
from agenticflow.integrations.stores.sqlite.log import CHECKPOINT_PAGES, reserve_log
from agenticflow.integrations.stores.sqlite.requests import (
    Job,
    Request,
    Waiting,
    brings_blobs,
    events_in,
    references_of,
    refused,
    write_of,
)
from agenticflow.integrations.stores.sqlite.values import DeleteValue, PutValue
from agenticflow.runtime.failpoints import reach
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.followers import Followers
from agenticflow.storage.retention import references_within
from agenticflow.storage.rows import Blob, RunRow, Snapshot, ValueRow

__all__ = ["LAST_POSITION", "Writer"]

log = logging.getLogger("agenticflow.engine")

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 128 * 1024 * 1024
PATIENCE_SECONDS: Final = 0.02
MAX_BATCH_EVENTS: Final = 20_000
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
CACHED_HEADS: Final = 100_000
"""More than a batch can have streams: a head of this batch is not in the file yet and must not fall out."""
MAX_LOG_BYTES: Final = 128 * 1024 * 1024
"""From here on a checkpoint waits for readers; the automatic one gives way to them, and the log would only grow."""
LOG_LOOK_EVERY: Final = 64
LOG_WAIT_MILLISECONDS: Final = 250

LAST_POSITION: Final = (
    "SELECT max((SELECT coalesce(max(position), 0) FROM events),"
    " coalesce((SELECT value FROM marks WHERE name = 'position'), 0))"
)
_HEAD: Final = (
    "SELECT s.sid, max(s.trimmed, coalesce((SELECT max(e.version) FROM events e WHERE e.sid = s.sid), 0))"
    " FROM streams s WHERE s.name = ?"
)

T = TypeVar("T")


class Writer:
    """Owns the writing connection and its thread."""

    def __init__(
        self, file: Path, loop: asyncio.AbstractEventLoop, followers: Followers, *, durability: str, vfs: str | None
    ) -> None:
        self._file = file
        self._loop = loop
        self._followers = followers
        self._durability = durability
        self._vfs = vfs
        if vfs is None:
            reserve_log(file)
        self._connection = self._connect()
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._queued = 0
        self._queued_bytes = 0
        self._patient: list[Waiting] = []
        self._patience: asyncio.TimerHandle | None = None
        self._room: asyncio.Event | None = None
        self._heads: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._position = self._last_sid = 0
        try:
            self._look_up_ends()
        except apsw.Error as error:
            self._connection.close()
            raise mapped(error, file) from error
        self._broken: AgenticFlowError | None = None
        self._following: Waiting | None = None
        """A job that was met behind commits: it comes next."""
        self.referred: set[str] | None = None
        """While somebody collects blobs: the names of all that anything written since then refers to."""
        self.large: LargeValues | None = None
        """Where large values become files; set before the first commit."""
        self._is_sealed = False
        self.transactions = 0
        self._log_limit = MAX_LOG_BYTES
        self._thread = threading.Thread(target=self._write_all, name="agenticflow-sqlite-write", daemon=True)
        self._thread.start()

    def _connect(self) -> apsw.Connection:
        db = connect(self._file, read_only=False, vfs=self._vfs, durability=self._durability)
        db.wal_autocheckpoint(CHECKPOINT_PAGES)
        return db

    def _look_up_ends(self) -> None:
        self._position = int(self._connection.execute(LAST_POSITION).get)
        self._last_sid = int(self._connection.execute("SELECT coalesce(max(sid), 0) FROM streams").get)

    def commit(self, commit: Commit, size: int) -> Coroutine[Any, Any, Committed]:
        """Queue ``commit`` of ``size`` bytes and wait for its answer. Waits for room first when very much is queued."""
        return self._ask(commit, size, commit.can_wait)

    async def commit_in_order(self, commits: tuple[Commit, ...], size: int) -> list[Committed | AgenticFlowError]:
        """Queue ``commits`` of ``size`` bytes for one transaction, each only behind the one before it, and wait for their answers."""
        answers: list[Committed | AgenticFlowError] = await self._ask(commits, size)
        return answers

    async def write_value(self, write: PutValue | DeleteValue, size: int) -> int:
        """Queue ``write`` of ``size`` bytes like a commit and wait for its answer."""
        answer: int = await self._ask(write, size)
        return answer

    async def run(
        self, work: Callable[[apsw.Connection], T], *, is_transaction: bool = True, forgets_heads: bool = False
    ) -> tuple[T, float]:
        """Have ``work`` done on the writer's thread, alone, between two transactions; commits wait meanwhile, so it must be short.

        Return its answer and the seconds it took. ``forgets_heads`` when streams may be gone afterwards.
        """
        answer: tuple[T, float] = await self._ask(Job(work, is_transaction, forgets_heads), 0)
        return answer

    async def _ask(self, request: Request, size: int, can_wait: bool = False) -> Any:
        if asyncio.get_running_loop() is not self._loop:
            raise StoreUnavailable(
                f"the store {str(self._file)!r} belongs to another event loop", hint="open it in this one"
            )
        while self._queued >= MAX_QUEUED or self._queued_bytes >= MAX_QUEUED_BYTES:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        if self._is_sealed:
            raise StoreUnavailable(f"the store {str(self._file)!r} is closed", hint="open it again")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._queued += 1
        self._queued_bytes += size
        if can_wait:
            self._patient.append((request, answer, size))
            if self._patience is None:
                self._patience = self._loop.call_later(PATIENCE_SECONDS, self.put_patient)
        else:
            if self._patient:
                self.put_patient()
            self._queue.put((request, answer, size))
        return await answer

    def put_patient(self) -> None:
        """Queue the commits that could wait: before one that cannot, so that they share its transaction."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for waiting in self._patient:
            self._queue.put(waiting)
        self._patient.clear()

    def seal(self) -> None:
        """Accept no more; what was accepted is written. On the event loop, so that no commit slips in behind the end."""
        if not self._is_sealed:
            self._is_sealed = True
            self.put_patient()
            self._queue.put(None)

    def close(self) -> None:
        """Write what was accepted, bring the log into the file, close. Blocks; ``seal`` comes first."""
        self._thread.join()
        # Whatever was answered is in the log: a disk that fails now costs the next start some time, nothing else.
        with contextlib.suppress(apsw.Error):
            self._connection.execute("PRAGMA optimize")
        try:
            self._connection.close()
        except apsw.Error as error:
            log.warning("the store %r was closed with an error: %s", str(self._file), error)

    # --- on the writer's thread -------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        is_last = False
        while not is_last:
            waiting, is_last = self._gather()
            if not waiting:
                continue
            try:
                batch = self._work(waiting) if type(waiting[0][0]) is Job else self._write(waiting)
                reach("store.before_ack")
            except BaseException as error:  # noqa: BLE001 - a test's failpoint, or a bug: nobody may wait for ever
                batch = self._lost(waiting, error)
            self._tell_loop(batch, len(waiting), sum(size for _, _, size in waiting))
            self.transactions += 1
            if self.transactions % LOG_LOOK_EVERY == 0:
                self._bound_log()

    def _gather(self) -> tuple[list[Waiting], bool]:
        """Wait for a commit, and take along what queued behind it; whether the end was met."""
        first = self._following or self._queue.get()
        self._following = None
        if first is None:
            return [], True
        waiting = [first]
        if type(first[0]) is Job:
            return waiting, False
        events, size = events_in(first[0]), first[2]
        try:
            while events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
                following = self._queue.get_nowait()
                if following is None:
                    return waiting, True
                if type(following[0]) is Job:
                    self._following = following
                    break
                waiting.append(following)
                events += events_in(following[0])
                size += following[2]
        except Empty:
            pass
        return waiting, False

    def _write(self, waiting: list[Waiting]) -> Batch:
        """Write one transaction; return its answers."""
        if self._broken is not None and not self._mend():
            return refused(waiting, self._broken)
        batch = Batch(is_followed=bool(self._followers))
        position, last_sid = self._position, self._last_sid
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for request, answer, _ in waiting:
                batch.answers.append((answer, self._take(request, batch)))
            batch.insert(self._connection, self.large)
            reach("store.before_commit")
        except Exception as error:  # noqa: BLE001 - whatever it is, the transaction is undone and everybody told
            self._undo(position, last_sid)
            refusal = self._ours(error)
            if len(waiting) > 1 and batch.is_keeping:
                return self._write_without_blobs(waiting, refusal)
            if len(waiting) > 1 and not isinstance(refusal, WorldError):
                return self._write_apart(waiting)  # something in one of them: the others must not fail with it
            if isinstance(waiting[0][0], tuple) and (batch.is_keeping or not isinstance(refusal, WorldError)):
                return self._write_in_order(waiting[0])
            return refused(waiting, refusal)
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            return self._after_failed_commit(waiting, batch, position, last_sid, error)
        reach("store.after_commit")
        return batch

    def _work(self, waiting: list[Waiting]) -> Batch:
        """Do one job; return its answer. When it fails nothing of it is written, or, after an I/O error, whole steps of it."""
        if self._broken is not None and not self._mend():
            return refused(waiting, self._broken)
        ((job, answer, _),) = waiting
        assert isinstance(job, Job)
        batch = Batch()
        began = self._loop.time()
        try:
            if job.is_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            result = job.work(self._connection)
            reach("store.before_commit")
            if job.is_transaction:
                self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked is told
            self._undo(self._position, self._last_sid)
            refusal = self._ours(error)
            if isinstance(error, apsw.IOError):
                self._broken = refusal
            return refused(waiting, refusal)
        if job.forgets_heads:
            self._heads.clear()
        batch.answers.append((answer, (result, self._loop.time() - began)))
        return batch

    def _write_apart(self, waiting: list[Waiting]) -> Batch:
        """Write each request in a transaction of its own; return all their answers."""
        whole = Batch(is_followed=True)
        for one in waiting:
            whole.join(self._write([one]))
        return whole

    def _write_in_order(self, one: Waiting) -> Batch:
        """Write commits that follow from each other in a transaction each: what is in one of them must not fail those before it."""
        commits, answer, size = one
        assert isinstance(commits, tuple)
        whole = Batch(is_followed=True)
        for commit in commits:
            whole.join(self._write([(commit, answer, size)]))
            if not _goes_on(whole.answers[-1][1]):
                break
        whole.answers = [(answer, [result for _, result in whole.answers])]
        return whole

    def _write_without_blobs(self, waiting: list[Waiting], refusal: AgenticFlowError) -> Batch:
        """The folder of large values is in trouble: refuse those who need it, and write the others."""
        others = [one for one in waiting if not brings_blobs(one[0])]
        whole = Batch(is_followed=True)
        if others:
            whole.join(self._write(others))
        for one in waiting:
            if brings_blobs(one[0]):
                whole.join(self._write_in_order(one) if isinstance(one[0], tuple) else refused([one], refusal))
        return whole

    def _ours(self, error: Exception) -> AgenticFlowError:
        if isinstance(error, apsw.Error):
            return mapped(error, self._file)
        if isinstance(error, AgenticFlowError):
            return error
        if isinstance(error, (TypeError, ValueError, OverflowError)):
            return InvalidInput(f"the store {str(self._file)!r} cannot hold a value of the commit: {error}")
        return InvariantError(f"the writer of {str(self._file)!r} failed: {error!r}", hint="please report this")

    def _lost(self, waiting: list[Waiting], error: BaseException) -> Batch:
        log.error("the writer of the store %r was interrupted", str(self._file), exc_info=error)
        failure = OutcomeUnknown(
            f"the writer of the store {str(self._file)!r} was interrupted, the outcome is unknown: {error!r}",
            hint="ask again with the same command id",
        )
        self._broken = failure
        return refused(waiting, failure)

    def _take(self, request: Request, batch: Batch) -> object:
        """Check one request and add what it writes to the batch; a refused one adds nothing. Return its answer, or its error."""
        if isinstance(request, Commit):
            return self._take_commit(request, batch)
        if isinstance(request, tuple):
            answers: list[Committed | AgenticFlowError] = []
            for commit in request:
                answers.append(self._take_commit(commit, batch))
                if not _goes_on(answers[-1]):
                    break
            return answers
        if isinstance(request, Job):
            raise InvariantError("a job does not share a transaction with commits", hint="please report this")
        if self.referred is not None and isinstance(request, PutValue):
            self.referred |= references_within(request.value)
        return batch.values.take(self._connection, request)

    def _take_commit(self, commit: Commit, batch: Batch) -> Committed | AgenticFlowError:
        """Check one commit against the heads."""
        command_id, stream_id = commit.command_id, commit.stream_id
        if command_id is not None:
            known = batch.commands[command_id][2:] if command_id in batch.commands else self._recorded(command_id)
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
            position = self._position
            for event in commit.events:
                version += 1
                position += 1
                batch.events.append(
                    (
                        position,
                        sid,
                        version,
                        event.event_type,
                        event.timestamp,
                        event.schema_version,
                        event.data,
                        event.metadata,
                    )
                )
                if batch.is_followed:
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
            self._heads.move_to_end(stream_id)
        if self.referred is not None:
            self.referred |= references_of(commit)
        for row in commit.rows:
            if type(row) is RunRow:
                batch.runs.pop(row.stream_id, None)
                batch.runs[row.stream_id] = tuple(getattr(row, name) for name in RunRow.__struct_fields__)
            elif type(row) is Snapshot:
                batch.snapshots[row.stream_id] = (row.stream_id, row.version, row.schema_version, row.data)
            elif type(row) is Blob:
                batch.blobs.append((row.hash, row.data))
            elif type(row) is ValueRow:
                batch.values.take(self._connection, write_of(row))
        committed = Committed(version, self._position if commit.events else 0)
        if command_id is not None:
            batch.commands[command_id] = (command_id, stream_id, committed.version, committed.position)
        return committed

    def _recorded(self, command_id: str) -> tuple[int, int] | None:
        sql = "SELECT version, position FROM commands WHERE command_id = ?"
        for version, position in self._connection.execute(sql, (command_id,)):
            return int(version), int(position)
        return None

    def _head(self, stream_id: str) -> tuple[int, int]:
        """Return the stream's number and version, ``(0, 0)`` when it has no event."""
        head = self._heads.get(stream_id)
        if head is None:
            head = (0, 0)
            for sid, version in self._connection.execute(_HEAD, (stream_id,)):
                head = (int(sid), int(version))
            if head[0]:
                self._heads[stream_id] = head
            if len(self._heads) > CACHED_HEADS:
                self._heads.popitem(last=False)
        return head

    def _undo(self, position: int, last_sid: int) -> None:
        """Forget a transaction that did not happen."""
        self._position, self._last_sid = position, last_sid
        self._heads.clear()
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            self._broken = mapped(error, self._file)

    def _after_failed_commit(
        self, waiting: list[Waiting], batch: Batch, position: int, last_sid: int, error: apsw.Error
    ) -> Batch:
        """COMMIT failed. After an I/O error nobody knows whether it happened: reopen the file and look (engine rule 11)."""
        is_known = not isinstance(error, apsw.IOError) and self._connection.in_transaction
        last = self._position
        self._undo(position, last_sid)
        refusal = mapped(error, self._file)
        if is_known:
            return refused(waiting, refusal)
        self._broken = refusal
        if self._mend():
            if not batch.events:
                if self._write_rows_again(batch):
                    return batch
            elif self._position >= last:
                return batch
            else:
                return refused(waiting, refusal)
        unknown = OutcomeUnknown(
            f"the disk failed while the store {str(self._file)!r} committed, the outcome is unknown: {error}",
            hint="mend the disk, open the store again and ask with the same command id",
        )
        return refused(waiting, unknown)

    def _write_rows_again(self, batch: Batch) -> bool:
        """Write a batch without events once more: no version tells whether it happened, but twice is the same as once."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for command_id in list(batch.commands):
                if self._recorded(command_id) is not None:
                    del batch.commands[command_id]
            batch.insert(self._connection, self.large)
            self._connection.execute("COMMIT")
        except (apsw.Error, AgenticFlowError) as error:
            self._undo(self._position, self._last_sid)
            self._broken = self._ours(error)
            return False
        return True

    def _mend(self) -> bool:
        """Reopen the file after an I/O error and settle what is true; return whether that worked.

        The log may hold a transaction that this process takes for lost and the next one would find, or one whose sync failed. Bringing
        all that is visible into the file, and emptying the log, leaves one truth, and it is on disk.
        """
        try:
            self._connection.close(True)
            self._connection = self._connect()
            is_empty = self._empty_log()
            self._look_up_ends()
        except (apsw.Error, AgenticFlowError) as error:
            log.warning("the store %r cannot be mended yet: %s", str(self._file), error)
            return False
        self._heads.clear()
        if is_empty:
            self._broken = None
        return is_empty

    def settle_log(self, db: apsw.Connection) -> None:
        """Bring the log into the file, as far as readers let; a job. The log keeps its size: room written ahead is faster."""
        self._wait_briefly(lambda: list(db.execute("PRAGMA wal_checkpoint(FULL)")))

    def _wait_briefly(self, work: Callable[[], T]) -> T:
        """Do ``work``, which waits for readers, without waiting long for them."""
        self._connection.set_busy_timeout(LOG_WAIT_MILLISECONDS)
        try:
            return work()
        finally:
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)

    def _bound_log(self) -> None:
        with contextlib.suppress(OSError, apsw.Error):  # the next look is not far
            size = os.stat(f"{self._file}-wal").st_size
            if size < self._log_limit:
                return
            is_empty = self._wait_briefly(self._empty_log)
            # A long reader keeps the log: waiting for it again and again would slow everybody down.
            self._log_limit = MAX_LOG_BYTES if is_empty else 2 * size

    def _empty_log(self) -> bool:
        """Bring the log into the file and empty it; return whether no reader stood in the way."""
        ((is_busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return not is_busy

    def _tell_loop(self, batch: Batch, count: int, size: int) -> None:
        # A closed loop has nobody left to answer, and what is committed is committed.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer, batch, count, size)

    # --- on the event loop ------------------------------------------------------------------------------------------

    def _answer(self, batch: Batch, count: int, size: int) -> None:
        self._queued -= count
        self._queued_bytes -= size
        if self._room is not None and self._queued < MAX_QUEUED and self._queued_bytes < MAX_QUEUED_BYTES:
            self._room.set()
        for answer, result in batch.answers:
            if answer.done():
                continue
            if isinstance(result, AgenticFlowError):
                answer.set_exception(result)
            else:
                answer.set_result(result)
        if batch.events and self._followers:
            if batch.is_followed:
                self._followers.tell(batch.follow)
            else:
                self._followers.fall_behind()


def _goes_on(answer: object) -> bool:
    """Whether what follows from a commit may be written behind it."""
    return isinstance(answer, Committed) and not answer.is_repeated
