"""Copies of the files of a store, for the copy of its database: all that this one names, under an id of their own.

The folder of a copy is marked with the name the database has while it is being made, so that what a killed copy leaves behind is known for
it, and never mistaken for a folder in use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite.file import sync_folder
from agenticflow.integrations.stores.sqlite.large.belonging import (
    demand_folder,
    enter,
    folder_of,
    make_folder,
    mark,
    marked,
    recorded,
    recorded_in,
    within,
)
from agenticflow.integrations.stores.sqlite.large.folder import BlobFolder, is_name
from agenticflow.integrations.stores.sqlite.large.values import rows_of_files
from agenticflow.runtime.clock import new_seed
from agenticflow.runtime.failpoints import reach

__all__ = ["clear", "copied", "discard_values", "remove", "settle", "size_of_files", "values_held", "values_of"]

Progress = Callable[[int], None]
LOOK_AGAIN_SECONDS: Final = 0.02
LOCK_TRIES: Final = 500
"""Ten seconds: a step of a sweep takes some milliseconds."""


@contextmanager
def values_held(db: apsw.Connection, file: Path, given: Path | None) -> Iterator[BlobFolder | None]:
    """Have no file of the store ``file`` removed meanwhile; yield their folder, ``None`` when there is none. Blocks.

    Raises ``ConfigurationError`` when the folder is not where it should be, ``StoreUnavailable`` when somebody removes files all the time.
    """
    if recorded(db) is None:
        yield None
        return
    demand_folder(db, file, given)
    folder = folder_of(db, file, given)
    if not folder.is_there():
        yield folder  # nothing was ever put into it
        return
    for _ in range(LOCK_TRIES):
        with folder.held(alone=False) as is_free:
            if is_free:
                yield folder
                return
        time.sleep(LOOK_AGAIN_SECONDS)
    raise StoreUnavailable(
        f"somebody is removing large values in {str(folder.path)!r}", hint="wait for its end, then try again"
    )


def size_of_files(db: apsw.Connection) -> int:
    """Return the bytes of all files that the database names."""
    return 0 if recorded(db) is None else int(db.execute("SELECT coalesce(sum(size), 0) FROM blob_files").get)


def copied(db: apsw.Connection, part: Path, source: BlobFolder, into: Path, mode: int, progress: Progress) -> int:
    """Copy the files that the database ``part`` names from ``source`` into a new folder in ``into``, and record that one; return the size.

    ``db`` writes to ``part``. Every file is held against its name on the way. ``progress`` hears the bytes done so far. Raises
    ``CorruptStore`` for a file that is missing or not what it was, ``OSError``.
    """
    store_id = new_seed()
    enter(db, store_id, within(part, into))
    folder = BlobFolder(into / store_id)
    make_folder(folder.path)
    mark(folder, part)
    done = 0
    for name, size, _ in rows_of_files(db):
        for count in _copy(source, folder, name, size, mode):
            done += count
            progress(done)
    sync_folder(folder.path)
    reach("blob.copied")
    return done


def _copy(source: BlobFolder, folder: BlobFolder, name: str, size: int, mode: int) -> Iterator[int]:
    """Copy one file; yield the bytes of each piece."""
    if not is_name(name):
        raise CorruptStore(f"{name!r} is not the name of a large value", hint="take another backup")
    digest, done = blake2b(digest_size=20), 0
    try:
        descriptor = os.open(folder.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb", buffering=0) as writing:
            for block in source.blocks(name):
                digest.update(block)
                left = memoryview(block)
                while left:
                    left = left[writing.write(left) :]
                done += len(block)
                yield len(block)
            os.fsync(writing.fileno())
    except FileNotFoundError as error:
        raise CorruptStore(
            f"the large value {name} is missing in {str(source.path)!r}",
            hint="put the file back, or take another backup",
        ) from error
    if done != size or digest.hexdigest() != name:
        raise CorruptStore(
            f"the large value {name} in {str(source.path)!r} is not what it was", hint="restore the store from a backup"
        )


def settle(file: Path, part: Path) -> None:
    """Once the copy ``part`` bears the name ``file``: let its folder say so. A second call does nothing."""
    folder = values_of(file)
    if folder is not None and marked(folder) == part:
        mark(BlobFolder(folder), file)


def discard_values(part: Path) -> None:
    """Remove the files that were copied for ``part`` and are not used."""
    remove(values_of(part), part)


def values_of(file: Path) -> Path | None:
    """Return where the files of a store are that nobody may have open; ``None`` when it has none, or is no store."""
    known = recorded_in(file)
    return None if known is None else file.parent / known[1] / known[0]


def remove(folder: Path | None, *owners: Path) -> None:
    """Remove a folder of values that belongs to one of ``owners``, and nothing that belongs to another."""
    if folder is not None and marked(folder) in owners:
        shutil.rmtree(folder, ignore_errors=True)


def clear(into: Path, *owners: Path, but: Path | None = None) -> None:
    """Remove the folders in ``into`` that copies to ``owners`` have left behind, except ``but``."""
    with contextlib.suppress(OSError):
        for folder in list(into.iterdir()):
            if folder != but:
                remove(folder, *owners)
