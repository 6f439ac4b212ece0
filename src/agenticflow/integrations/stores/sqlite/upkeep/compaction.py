"""Compacting a SQLite store while its owner goes on: reading and compressing here, writing in short steps on the writer's thread.

What is read is read on a connection and a thread of its own, so that nobody waits for it. Each step of the writer looks again at what it
changes, so that it does not matter what was committed since. A crash between two steps leaves a sound file, and the next call goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from agenticflow.integrations.stores.sqlite.file import connect
from agenticflow.integrations.stores.sqlite.large import LargeValues
from agenticflow.integrations.stores.sqlite.large.values import left_over
from agenticflow.integrations.stores.sqlite.upkeep.archived import (
    DueRun,
    due_runs,
    keep_position,
    pack_some,
    store_chunks,
)
from agenticflow.integrations.stores.sqlite.upkeep.chains import (
    DueChain,
    command_ids,
    delete_chains,
    due_chains,
    kept_runs,
)
from agenticflow.integrations.stores.sqlite.upkeep.unreferenced import Candidate, Marking
from agenticflow.integrations.stores.sqlite.values import remove_expired
from agenticflow.integrations.stores.sqlite.writer import LAST_POSITION, Writer
from agenticflow.storage.key_values import end_of_prefix
from agenticflow.storage.retention import TOPIC_STREAMS, Compacted, RetentionPolicy

__all__ = ["Compaction"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
PAGE_RUNS: Final = 500
PAGE_CHAINS: Final = 10_000
STEP_CHAINS: Final = 20
STEP_EVENTS: Final = 2_000
STEP_VALUES: Final = 500
STEP_SNAPSHOTS: Final = 20
STEP_PAGES: Final = 256
"""Pages of the file that one step gives back: a mebibyte."""
_END: Final = object()
_TOPICS: Final = """
SELECT s.sid, s.trimmed, max(s.trimmed, coalesce((SELECT max(e.version) FROM events e WHERE e.sid = s.sid), 0))
FROM streams s WHERE s.name >= ? AND s.name < ?
"""
_SNAPSHOTS: Final = """
DELETE FROM snapshots WHERE stream_id IN
(SELECT n.stream_id FROM snapshots n JOIN runs r ON r.stream_id = n.stream_id WHERE NOT r.is_open LIMIT ?)
"""


class Compaction:
    """One call of ``compact``."""

    def __init__(self, file: Path, writer: Writer, policy: RetentionPolicy, now: int, vfs: str | None) -> None:
        self._file = file
        self._writer = writer
        self._policy = policy
        self._now = now
        self._vfs = vfs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="agenticflow-sqlite-upkeep")
        self._reader: apsw.Connection | None = None
        self._done = Compacted()

    async def run(self) -> Compacted:
        """Do everything; return what was done."""
        try:
            await self._retain()
            while await self._write(_removed, _SNAPSHOTS, STEP_SNAPSHOTS, counts="snapshots"):
                pass
            while await self._write(remove_expired, self._now, STEP_VALUES, counts="values"):
                pass
            await self._sweep()
            await self._give_back()
        finally:
            self._writer.referred = None
            self._thread.submit(self._close)
            self._thread.shutdown(wait=False)
        return self._done

    async def _retain(self) -> None:
        policy = self._policy
        archives_before, deletes_before = policy.archives_before(self._now), policy.deletes_before(self._now)
        if archives_before is not None:
            kept = await self._look(kept_runs, policy.keep_last)
            await self._archive(archives_before, {run_id for run_id, _ in kept})
            if deletes_before is not None:
                await self._delete(deletes_before, {chain for _, chain in kept})
        if policy.topic_events is not None:
            await self._trim_topics(policy.topic_events)

    async def _archive(self, before: int, kept: set[int]) -> None:
        after = (-(2**63), 0)
        while page := await self._look(due_runs, before, after, PAGE_RUNS):
            after = (page[-1].ended_at, page[-1].id)
            waiting: deque[DueRun] = deque(run for run in page if run.id not in kept)
            while waiting:
                chunks = await self._look(pack_some, waiting)
                for chunk in await self._write(store_chunks, chunks):
                    if chunk.archive is not None:
                        self._done.archived_events += chunk.archive.last_version - chunk.archive.first_version + 1
                        self._done.archived_bytes += chunk.archive.raw_bytes
                        self._done.archive_bytes += len(chunk.archive.data)
                    self._done.archived_runs += chunk.is_last and chunk.run.trimmed > 0

    async def _delete(self, before: int, kept: set[tuple[str, str]]) -> None:
        after, parents = 0, {execution_id for _, execution_id in kept}
        while page := await self._look(due_chains, before, after, PAGE_CHAINS):
            after = page[-1].id
            chains = {chain.name: chain for chain in page if chain.name not in kept and not chain.is_part_of(parents)}
            doomed = list(chains.values())
            commands = await self._look(command_ids, doomed)
            for start in range(0, len(doomed), STEP_CHAINS):
                step: list[DueChain] = doomed[start : start + STEP_CHAINS]
                await self._write(delete_chains, step, before, commands, counts="deleted_runs", forgets_heads=True)

    async def _trim_topics(self, keep: int) -> None:
        bounds = (TOPIC_STREAMS, end_of_prefix(TOPIC_STREAMS))
        for sid, trimmed, version in await self._look(_rows, _TOPICS, bounds):
            for start in range(trimmed, version - keep, STEP_EVENTS):
                upto = min(start + STEP_EVENTS, version - keep)
                await self._write(_trim, sid, upto, counts="deleted_events")

    async def _sweep(self) -> None:
        last_position = await self._write(self._begin_to_note)
        large = self._writer.large
        marking = Marking(last_position, None if large is None else large.folder)
        steps = await self._look(marking.steps)
        while await self._look(_next, steps):
            pass
        for candidates in marking.rows():
            self._count(await self._write(self._sweep_rows, marking, candidates))
        if large is not None:
            await self._sweep_folder(large, marking)

    def _sweep_rows(self, db: apsw.Connection, marking: Marking, candidates: list[Candidate]) -> list[Candidate]:
        gone = marking.unreferred(candidates, self._writer.referred or set())
        db.executemany("DELETE FROM blobs WHERE hash = ?", [(name,) for name, _ in gone])
        return gone

    async def _sweep_folder(self, large: LargeValues, marking: Marking) -> None:
        """Remove the files that nothing refers to, and those left over. Each step holds the folder, so that no copy misses one."""

        def sweep(db: apsw.Connection, candidates: list[Candidate]) -> list[Candidate] | None:
            with large.folder.held(alone=True) as is_free:
                if not is_free:
                    return None
                gone = marking.unreferred(candidates, self._writer.referred or set())
                self._done.freed_bytes += large.let_go(db, [name for name, _ in gone])
                return gone

        def clear(db: apsw.Connection, names: list[str]) -> bool:
            with large.folder.held(alone=True) as is_free:
                if is_free:
                    self._done.freed_bytes += large.remove_left_over(db, names)
                return is_free

        for candidates in marking.files():
            gone = await self._write(sweep, candidates, is_transaction=False)
            if gone is None:
                return _say_busy(large)
            self._count(gone)
        pages = large.folder.listed()
        while (page := await self._look(_next_left_over, pages)) is not None:
            if page and not await self._write(clear, page, is_transaction=False):
                return _say_busy(large)
        return None

    def _count(self, gone: list[Candidate]) -> None:
        self._done.blobs += len(gone)
        self._done.blob_bytes += sum(size for _, size in gone)

    def _begin_to_note(self, db: apsw.Connection) -> int:
        self._writer.referred = set()
        return int(db.execute(LAST_POSITION).get)

    async def _give_back(self) -> None:
        page_bytes = await self._look(_pragma, "page_size")
        left = await self._write(_pragma, "freelist_count")
        while left:
            before = left
            await self._write(_rows, f"PRAGMA incremental_vacuum({STEP_PAGES})", is_transaction=False)
            left = await self._write(_pragma, "freelist_count")
            if left >= before:
                break  # a file of the first release keeps its pages, and fills them again
            self._done.freed_bytes += (before - left) * page_bytes
        self._done.free_bytes = left * page_bytes
        await self._write(self._writer.settle_log, is_transaction=False)

    async def _look(self, read: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, read, args)

    def _read(self, read: Callable[..., T], args: tuple[object, ...]) -> T:
        if self._reader is None:
            self._reader = connect(self._file, read_only=True, vfs=self._vfs)
        return read(self._reader, *args)

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    async def _write(
        self,
        work: Callable[..., T],
        *args: object,
        counts: str = "",
        is_transaction: bool = True,
        forgets_heads: bool = False,
    ) -> T:
        def on_writer(db: apsw.Connection) -> T:
            return work(db, *args)

        result, seconds = await self._writer.run(on_writer, is_transaction=is_transaction, forgets_heads=forgets_heads)
        self._done.longest_pause_seconds = max(self._done.longest_pause_seconds, seconds)
        if counts and isinstance(result, int):
            setattr(self._done, counts, getattr(self._done, counts) + result)
        return result


def _next(_: apsw.Connection, steps: Iterator[None]) -> bool:
    """Take the next step; return whether there was one."""
    return next(steps, _END) is not _END


def _next_left_over(db: apsw.Connection, pages: Iterator[list[str]]) -> list[str] | None:
    """Return the files of the next page that seem to be left over; ``None`` when there is no page."""
    page = next(pages, None)
    return None if page is None else left_over(db, page)


def _say_busy(large: LargeValues) -> None:
    log.info("files of large values in %r stay until the next compaction: a backup needs them", str(large.folder.path))


def _removed(db: apsw.Connection, statement: str, limit: int) -> int:
    db.execute(statement, (limit,))
    return db.changes()


def _pragma(db: apsw.Connection, name: str) -> int:
    return int(db.pragma(name))


def _rows(db: apsw.Connection, query: str, bound: tuple[Any, ...] = ()) -> list[Any]:
    return list(db.execute(query, bound))


def _trim(db: apsw.Connection, sid: int, version: int) -> int:
    """Take the events of a topic up to ``version`` out of the log."""
    keep_position(db)
    db.execute("DELETE FROM events WHERE sid = ? AND version <= ?", (sid, version))
    count = db.changes()
    db.execute("UPDATE streams SET trimmed = max(trimmed, ?) WHERE sid = ?", (version, sid))
    return count
