"""Blobs that nothing refers to any more: marked beside the running writer, swept by it in small steps.

While this goes on the writer notes what everything it writes refers to (``Writer.referred``), so that a blob is never removed whose
reference came after its place had been looked at. Names of blobs are held in memory: each stands for more than 64 KiB in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apsw

from agenticflow.errors import CorruptStore
from agenticflow.integrations.stores.sqlite.large import BlobFolder
from agenticflow.integrations.stores.sqlite.large.folder import OVERLAP_BYTES
from agenticflow.integrations.stores.sqlite.large.values import rows_of_files
from agenticflow.storage.archives import Archive, raw_of
from agenticflow.storage.retention import references_within

__all__ = ["Candidate", "Marking"]

STEP_POSITIONS: Final = 10_000
STEP_ARCHIVES: Final = 20
STEP_ROWS: Final = 500
STEP_BLOBS: Final = 20
SWEPT_BYTES: Final = 16 * 1024 * 1024
# The sign that a reference begins with (core.codec): the statements pass over what cannot hold one.
_EVENTS: Final = """
SELECT data, metadata FROM events
WHERE position > ? AND position <= ? AND (instr(data, x'C71C07') OR instr(metadata, x'C71C07'))
"""
_ARCHIVES: Final = """
SELECT id, first_version, last_version, last_position, raw_bytes, data FROM archives WHERE id > ? ORDER BY id LIMIT ?
"""
_SNAPSHOTS: Final = "SELECT data FROM snapshots WHERE instr(data, x'C71C07')"
_VALUES: Final = "SELECT value FROM key_values WHERE instr(value, x'C71C07')"
_BLOBS: Final = """
SELECT rowid, hash, length(data), iif(instr(data, x'C71C07'), data, NULL) FROM blobs WHERE rowid > ? ORDER BY rowid LIMIT ?
"""

Candidate = tuple[str, int]
"""Name and size of a blob."""


class Marking:
    """Finds what is referred to, in steps: each call of ``step`` reads a little, on a connection of its own."""

    def __init__(self, last_position: int, folder: BlobFolder | None = None) -> None:
        self._marked: set[str] = set()
        self._inner: dict[str, set[str]] = {}
        """What a blob refers to in its turn."""
        self._rows: list[Candidate] = []
        self._files: list[Candidate] = []
        self._last_position = last_position
        self._folder = folder

    def steps(self, db: apsw.Connection) -> Iterator[None]:
        """Read everything that may refer to a blob, and the names of all blobs; yield between two steps.

        Raises ``CorruptStore`` when a file is missing: what it refers to must not go.
        """
        first = int(db.execute("SELECT coalesce(min(position), 1) FROM events").get) - 1
        for start in range(first, self._last_position, STEP_POSITIONS):
            for data, metadata in db.execute(_EVENTS, (start, start + STEP_POSITIONS)):
                self._marked |= references_within(data) | references_within(metadata)
            yield
        for archived in _by_id(db, _ARCHIVES, STEP_ARCHIVES):
            for row in archived:
                self._marked |= references_within(raw_of(Archive(*row[1:])))
            yield
        for query in (_SNAPSHOTS, _VALUES):
            for (data,) in db.execute(query):
                self._marked |= references_within(data)
            yield
        for blobs in _by_id(db, _BLOBS, STEP_BLOBS):
            for _, name, size, data in blobs:
                self._rows.append((name, size))
                if data is not None:
                    self._inner[name] = references_within(data)
            yield
        if self._folder is not None:
            yield from self._look_at_files(db, self._folder)

    def _look_at_files(self, db: apsw.Connection, folder: BlobFolder) -> Iterator[None]:
        for name, size, has_references in rows_of_files(db):
            self._files.append((name, size))
            if has_references:
                yield from self._read_file(folder, name)
            elif len(self._files) % STEP_ROWS == 0:
                yield

    def _read_file(self, folder: BlobFolder, name: str) -> Iterator[None]:
        found: set[str] = set()
        try:
            for block in folder.blocks(name, overlap=OVERLAP_BYTES):
                found |= references_within(block)
                yield
        except FileNotFoundError as error:
            raise CorruptStore(
                f"the large value {name} is missing in {str(folder.path)!r}; no large value was removed",
                hint="put the file back, or restore the store from a backup",
            ) from error
        self._inner[name] = found

    def rows(self) -> Iterator[list[Candidate]]:
        """Yield the blobs in rows that nothing refers to, as many at a time as one step may delete."""
        return self._candidates(self._rows)

    def files(self) -> Iterator[list[Candidate]]:
        """Yield those in files."""
        return self._candidates(self._files)

    def _candidates(self, names: list[Candidate]) -> Iterator[list[Candidate]]:
        self._marked = self._with_inner(self._marked)
        step: list[Candidate] = []
        size = 0
        for candidate in names:
            if candidate[0] not in self._marked:
                step.append(candidate)
                size += candidate[1]
            if size > SWEPT_BYTES or len(step) >= STEP_ROWS:
                yield step
                step, size = [], 0
        if step:
            yield step

    def unreferred(self, candidates: Sequence[Candidate], referred: set[str]) -> list[Candidate]:
        """Return those of the candidates that nothing has begun to refer to meanwhile. On the writer's thread."""
        kept = self._with_inner(referred)
        return [candidate for candidate in candidates if candidate[0] not in kept]

    def _with_inner(self, names: set[str]) -> set[str]:
        """Return ``names`` with all that these blobs refer to in their turn."""
        found, grey = set(names), list(names)
        while grey:
            inner = self._inner.get(grey.pop(), set()) - found
            found |= inner
            grey += inner
        return found


def _by_id(db: apsw.Connection, query: str, limit: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows, in short statements: a long one would keep the log from being emptied."""
    last = 0
    while rows := list(db.execute(query, (last, limit))):
        yield rows
        last = rows[-1][0]
