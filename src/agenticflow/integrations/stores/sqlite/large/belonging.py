"""Which folder belongs to a store: recorded in the database, so that the option need be given only once.

Inside the folder that the user names each store has one of its own, named by an id drawn at random: stores that share the named folder
never see each other's files, and a restored store stands beside the one it replaces. A marker in it says which database it belongs to: a
second database with the same id, copied by hand, is refused, because each would remove what only the other refers to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore
from agenticflow.integrations.stores.sqlite.file import is_there, sync_folder
from agenticflow.integrations.stores.sqlite.large.folder import MARKER, BlobFolder, trouble
from agenticflow.runtime.clock import new_seed

__all__ = [
    "claim",
    "demand_folder",
    "enter",
    "folder_of",
    "make_folder",
    "mark",
    "prepared",
    "recorded",
    "recorded_in",
    "within",
]

FIRST_VERSION: Final = 3
"""Of the schema that has the table."""
_ID: Final = re.compile("[0-9a-f]{16}")


def recorded(db: apsw.Connection) -> tuple[str, str] | None:
    """Return the id of the store and the path it recorded; ``None`` when its values are all rows. Raises ``CorruptStore``."""
    if int(db.execute("PRAGMA user_version").get) < FIRST_VERSION:
        return None
    for store_id, path in db.execute("SELECT store_id, path FROM blob_folder"):
        if not _ID.fullmatch(str(store_id)):
            raise CorruptStore(f"{store_id!r} is not the id of a store", hint="restore the store from a backup")
        return str(store_id), str(path)
    return None


def enter(db: apsw.Connection, store_id: str, path: str) -> None:
    """Record the folder, in one transaction."""
    with db:
        db.execute("DELETE FROM blob_folder")
        db.execute("INSERT INTO blob_folder (store_id, path) VALUES (?, ?)", (store_id, path))


def within(file: Path, folder: Path) -> str:
    """Return what to record for ``folder``: relative to the database when it lies below its folder, so that both move together."""
    return str(folder.relative_to(file.parent) if folder.is_relative_to(file.parent) else folder)


def folder_of(db: apsw.Connection, file: Path, given: Path | None = None) -> BlobFolder:
    """Return the folder of a store that has files; ``given`` instead of the recorded one. Raises ``CorruptStore`` when none is recorded."""
    known = recorded(db)
    if known is None:
        raise CorruptStore(
            f"the store {str(file)!r} has large values in files, and does not say where",
            hint="restore it from a backup",
        )
    return _folder(file, known, given)


def _folder(file: Path, known: tuple[str, str], given: Path | None) -> BlobFolder:
    store_id, path = known
    return BlobFolder((file.parent / path if given is None else given) / store_id)


def prepared(folder: Path | str, undo: ExitStack) -> Path:
    """Have the folder that the user names, and show that it can be written; return its real path. What was made for it goes with ``undo``.

    Raises ``ConfigurationError``.
    """
    place = named(folder)
    try:
        make_folder(place, undo)
        probe = place / f".{new_seed()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise _unusable(error, place) from error
    return place


def _unusable(error: OSError, place: Path) -> AgenticFlowError:
    """Return the error for a folder that is refused when the store is opened."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return trouble(error, place)
    return ConfigurationError(
        f"large values cannot be kept in {str(place)!r}: {error}", hint="give blobs= a folder that can be written"
    )


def make_folder(path: Path, undo: ExitStack | None = None) -> None:
    """Make the folder, and those above it that are missing, so that they survive power loss; they go with ``undo``."""
    for one in reversed([one for one in (path, *path.parents) if not one.exists()]):
        one.mkdir()
        if undo is not None:
            undo.callback(_remove_empty, one)
        sync_folder(one.parent)


def named(folder: Path | str) -> Path:
    """Return the real path of the folder that the user names. Raises ``ConfigurationError``."""
    try:
        place = Path(os.path.realpath(folder))
        str(place).encode()
        if not str(folder) or "\0" in str(place):
            raise ValueError("it has no name")
        if place.exists() and not place.is_dir():
            raise ValueError("it is not a folder")
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"large values cannot be kept in {str(folder)!r}: {error}", hint="give blobs= a folder, like blobs=./values"
        ) from error
    return place


def _remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        (path / MARKER).unlink(missing_ok=True)
        path.rmdir()


def demand_folder(db: apsw.Connection, file: Path, given: Path | None) -> None:
    """For who only reads: raise ``ConfigurationError`` when the store has files and their folder is not there."""
    known = recorded(db)
    if known is not None and not _folder(file, known, given).is_there() and _has_files(db):
        raise _lost(file, known, given)


def claim(
    db: apsw.Connection, file: Path, given: Path | None, record: Callable[[str, str], None], undo: ExitStack
) -> BlobFolder | None:
    """For the owner: return the folder of its files, made when it is new; ``None`` when all values are rows.

    ``given`` is what the user names now (see ``prepared``), ``record`` writes id and path into the database. What was made for it goes with
    ``undo``. Raises ``ConfigurationError`` when the files are not where they should be, or belong to another database.
    """
    known = recorded(db)
    if known is None:
        if _has_files(db):
            folder_of(db, file)
        if given is None:
            return None
        known = (new_seed(), "")
    folder = _folder(file, known, given)
    is_new = not folder.is_there()
    if is_new:
        if known[1] and _has_files(db):
            raise _lost(file, known, given)
        try:
            make_folder(folder.path, undo)
        except OSError as error:
            raise _unusable(error, folder.path) from error
    _demand_own(folder, file, known[0])
    if not os.access(folder.path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"the folder of large values {str(folder.path)!r} cannot be written", hint="check its rights"
        )
    mark(folder, file)
    if given is not None and within(file, given) != known[1]:
        record(known[0], within(file, given))
        before = _folder(file, known, None).path
        if is_new and known[1] and marked(before) == file:
            shutil.rmtree(before, ignore_errors=True)  # no row names any file in it
    return folder


def _has_files(db: apsw.Connection) -> bool:
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM blob_files)").get)


def _lost(file: Path, known: tuple[str, str], given: Path | None) -> ConfigurationError:
    """Return the error for files that are not where they are looked for."""
    before = _folder(file, known, None)
    if given is not None and before.is_there():
        return ConfigurationError(
            f"the store {str(file)!r} keeps its large values in {str(before.path.parent)!r}, not in {str(given)!r}",
            hint=f"leave blobs= out, or move {str(before.path)!r} there first",
        )
    return ConfigurationError(
        f"the large values of the store {str(file)!r} are not in {str((given or before.path.parent) / known[0])!r}",
        hint=f"open it once with blobs= and the folder that {known[0]!r} lies in now, or restore a backup",
    )


def marked(folder: Path) -> Path | None:
    """Return the database that a folder of values belongs to, as far as its marker says."""
    try:
        content = (folder / MARKER).read_bytes()
    except OSError:
        return None
    return Path(os.fsdecode(content)) if content and b"\0" not in content else None


def mark(folder: BlobFolder, file: Path) -> None:
    """Write into the folder which database it belongs to. In place: others hold a lock on this very file."""
    if marked(folder.path) == file:
        return
    try:
        descriptor = os.open(folder.path / MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, os.fsencode(file), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(folder.path)
    except OSError as error:
        raise trouble(error, folder.path) from error


def _demand_own(folder: BlobFolder, file: Path, store_id: str) -> None:
    """Refuse a folder that another database has: it was copied by hand, and each would remove what the other needs.

    A database that was copied together with its folder has one of its own; one that was moved leaves none behind.
    """
    other = marked(folder.path)
    if other is None or other == file:
        return
    known = recorded_in(other)
    if known is None or known[0] != store_id:
        return
    if os.path.realpath(_folder(other, known, None).path) == os.path.realpath(folder.path):
        raise ConfigurationError(
            f"{str(folder.path)!r} has the large values of the store {str(other)!r}, of which {str(file)!r} is a copy",
            hint="two stores cannot share them: copy with `agenticflow store backup`, or move the other one away",
        )


def recorded_in(file: Path) -> tuple[str, str] | None:
    """Return what ``recorded`` does for a file that nobody may have open, and that may be no store. Leaves nothing beside it."""
    try:
        if not is_there(file):
            return None
        db = apsw.Connection(f"{file.as_uri()}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            return recorded(db)
        finally:
            db.close()
    except (apsw.Error, AgenticFlowError, OSError, ValueError):
        return None
