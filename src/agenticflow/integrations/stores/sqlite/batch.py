"""What one transaction of a SQLite store writes, what it answers, and the statements that write it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import apsw

from agenticflow.integrations.stores.sqlite.large import LargeValues
from agenticflow.integrations.stores.sqlite.values import ValueWrites
from agenticflow.storage.commits import StoredEvent

__all__ = ["Answer", "Batch"]

_INTO_EVENTS: Final = (
    "INSERT INTO events (position, sid, version, type, recorded_at, schema_version, data, metadata) VALUES "
)
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
    " started_at = excluded.started_at, ended_at = excluded.ended_at, version = excluded.version, is_archived = 0"
)
_ROWS_AT_ONCE: Final = (128, 16, 1)
"""Rows per statement. Each statement gives up the interpreter's lock and has to win it back, so few large ones are faster."""

SQLiteValue = int | float | str | bytes | None

Answer = tuple["asyncio.Future[Any]", object]
"""Who waits, and what for: an answer, or an ``AgenticFlowError`` to be raised."""


class Batch:
    """What one transaction writes, and what it answers."""

    __slots__ = (
        "answers",
        "blobs",
        "commands",
        "events",
        "follow",
        "is_followed",
        "is_keeping",
        "runs",
        "snapshots",
        "streams",
        "values",
    )

    def __init__(self, *, is_followed: bool = False) -> None:
        self.is_followed = is_followed
        """Whether ``follow`` has the events. One answer for the whole batch: who begins to follow in its middle has a gap."""
        self.answers: list[Answer] = []
        self.events: list[tuple[SQLiteValue, ...]] = []
        self.streams: list[tuple[SQLiteValue, ...]] = []
        self.commands: dict[str, tuple[str, str, int, int]] = {}
        self.runs: dict[str, tuple[SQLiteValue, ...]] = {}
        self.snapshots: dict[str, tuple[SQLiteValue, ...]] = {}
        self.blobs: list[tuple[SQLiteValue, ...]] = []
        self.is_keeping = False
        """Whether it is just writing large values to their folder: what fails then is not the database."""
        self.values = ValueWrites()
        self.follow: list[StoredEvent] = []

    def join(self, other: Batch) -> None:
        """Take the answers, and what followers are told, of a transaction after this one."""
        self.answers += other.answers
        if other.events:
            self.events += other.events
            self.follow += other.follow
            self.is_followed = self.is_followed and other.is_followed

    def insert(self, db: apsw.Connection, large: LargeValues | None) -> None:
        """Write everything, inside the open transaction of ``db``; large values into their folder, when there is one."""
        _insert_rows(db, _INTO_STREAMS, self.streams)
        _insert_rows(db, _INTO_EVENTS, self.events)
        _insert_rows(db, _INTO_RUNS, list(self.runs.values()), _ON_RUNS)
        blobs = self.blobs
        if blobs and large is not None:
            self.is_keeping = True
            blobs = large.keep(db, blobs)
            self.is_keeping = False
        _insert_rows(db, _INTO_BLOBS, blobs)
        _insert_rows(db, _INTO_SNAPSHOTS, list(self.snapshots.values()))
        _insert_rows(db, _INTO_COMMANDS, list(self.commands.values()))
        self.values.insert(db)


def _insert_rows(db: apsw.Connection, into: str, rows: Sequence[tuple[SQLiteValue, ...]], after: str = "") -> None:
    if not rows:
        return
    one = f"({','.join('?' * len(rows[0]))})"
    start = 0
    for size in _ROWS_AT_ONCE:
        statement = f"{into}{','.join([one] * size)}{after}"
        while len(rows) - start >= size:
            db.execute(statement, tuple(chain.from_iterable(rows[start : start + size])))
            start += size
