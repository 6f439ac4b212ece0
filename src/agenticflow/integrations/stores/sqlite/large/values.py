"""Large values between the database and the folder: which become files, how they are found, and how they go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from agenticflow.core.codec import content_hash
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.errors import AgenticFlowError, CorruptStore
from agenticflow.integrations.stores.sqlite.large.belonging import folder_of
from agenticflow.integrations.stores.sqlite.large.folder import BlobFolder, is_name
from agenticflow.runtime.failpoints import reach

__all__ = ["LEAST_FILE_BYTES", "LargeValues", "blob_of", "problems_of_files"]

LEAST_FILE_BYTES: Final = MAX_INLINE_BYTES + 1
"""Blobs of that size or more become files, when there is a folder."""
SIGN: Final = b"\xc7\x1c\x07"
"""What a reference begins with (core.codec)."""
TRIES: Final = 5
"""How often a value is looked for that was there a moment ago: it may go and come again meanwhile."""
PAGE_ROWS: Final = 500
_FIND: Final = """
SELECT data, NULL FROM blobs WHERE hash = ?1 UNION ALL SELECT NULL, size FROM blob_files WHERE hash = ?1 LIMIT 1
"""
_KNOWN: Final = """
SELECT NULL FROM blobs WHERE hash = ?1 UNION ALL SELECT size FROM blob_files WHERE hash = ?1 LIMIT 1
"""
_INTO: Final = "INSERT OR REPLACE INTO blob_files (hash, size, has_references) VALUES (?, ?, ?)"
_FILES: Final = """
SELECT CAST(hash AS TEXT), size, has_references FROM blob_files WHERE hash > ? ORDER BY hash LIMIT ?
"""


class LargeValues:
    """What the writer of a store does with its folder. Every method that changes files is for the writer's thread."""

    def __init__(self, folder: BlobFolder, mode: int, least_bytes: int) -> None:
        self.folder = folder
        self._mode = mode
        """Rights of a new file: those of the database."""
        self._least_bytes = least_bytes

    def keep(self, db: apsw.Connection, blobs: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Write the large ones of ``blobs`` (name and data) to disk, and enter them in the open transaction; return the others.

        When it fails nothing is left of it. When the transaction does not happen afterwards the files are left over.
        """
        rows: list[tuple[Any, ...]] = []
        written: dict[str, tuple[str, int, bool]] = {}
        try:
            for blob in blobs:
                name, data = blob
                if len(data) < self._least_bytes or not is_name(name):
                    rows.append(blob)
                elif name not in written and not self._has(db, name):
                    self.folder.write(name, data, self._mode)
                    written[name] = (name, len(data), SIGN in data)
            if written:
                self.folder.sync()
                db.executemany(_INTO, written.values())
        except (AgenticFlowError, apsw.Error):
            for name in written:  # room that the refused commit would keep from the next one
                with contextlib.suppress(AgenticFlowError):
                    self.folder.remove(name)
            raise
        return rows

    def _has(self, db: apsw.Connection, name: str) -> bool:
        """Return whether the value is kept already. A file that no row names counts for nothing: who knows what it went through."""
        for (size,) in db.execute(_KNOWN, (name,)):
            return size is None or self.folder.size_of(name) == size
        return False

    def let_go(self, db: apsw.Connection, names: Iterable[str]) -> int:
        """Take the rows of ``names`` out of the database, in a transaction of its own, then remove the files; return their size.

        After a crash between the two the files are left over.
        """
        names = list(names)
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM blob_files WHERE hash = ?", [(name,) for name in names])
        db.execute("COMMIT")
        reach("blob.forgotten")
        return sum(self.folder.remove(name) for name in names)

    def remove_left_over(self, db: apsw.Connection, names: Iterable[str]) -> int:
        """Remove those of the files ``names`` that no row names, and those half written; return their size."""
        return sum(self.folder.remove(name) for name in left_over(db, names))


def left_over(db: apsw.Connection, names: Iterable[str]) -> list[str]:
    """Return those of the files ``names`` that no row names, as far as ``db`` sees."""
    sql = "SELECT EXISTS (SELECT 1 FROM blob_files WHERE hash = ?)"
    return [name for name in names if not db.execute(sql, (name,)).get]


def blob_of(db: apsw.Connection, file: Path, name: str, given: Path | None) -> bytes | None:
    """Return the blob ``name``, from its row or its file; ``None`` when there is none. Raises ``CorruptStore``.

    Between the look at the row and that at the file a sweep may remove both, and a commit may bring both again.
    """
    for _ in range(TRIES):
        found = db.execute(_FIND, (name,)).fetchone()
        if found is None:
            return None
        data, size = found
        if data is None:
            data = folder_of(db, file, given).read(name, size)
        if data is not None:
            if content_hash(data) != name:
                raise CorruptStore(f"blob {name} does not hash to its name", hint="restore the file from a backup")
            return bytes(data)
    raise CorruptStore(
        f"the large value {name} is missing in {str(folder_of(db, file, given).path)!r}",
        hint="put the file back, or restore the store from a backup",
    )


def problems_of_files(db: apsw.Connection, file: Path, given: Path | None) -> Iterator[str]:
    """Say, in words, which files are not as their rows tell. Reads all of them, each on its own: no long transaction."""
    for name, size, has_references in rows_of_files(db):
        try:
            data = blob_of(db, file, name, given)
        except AgenticFlowError as error:
            yield str(error)
            continue
        if data is not None and (len(data) != size or (SIGN in data) != bool(has_references)):
            yield f"the row of the large value {name} does not tell what is in its file"


def rows_of_files(db: apsw.Connection) -> Iterator[tuple[str, int, bool]]:
    """Yield name, size and whether it has references, of every file that the database names, in short statements."""
    last = ""
    while rows := list(db.execute(_FILES, (last, PAGE_ROWS))):
        yield from rows
        last = rows[-1][0]
