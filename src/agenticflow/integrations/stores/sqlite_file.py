"""The file beneath the SQLite store: whether it is ours, how it is made, how connections to it are set, what its errors mean."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, InvariantError, StoreUnavailable

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "check_file", "connect", "mapped", "prepare_file"]

APPLICATION_ID: Final = 0x41464C57  # "AFLW"
SCHEMA_VERSION: Final = 1
BUSY_MILLISECONDS: Final = 5_000
CACHE_KIB: Final = 16 * 1024
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100


def check_file(file: Path) -> bool:
    """Return whether there is a store at ``file``. Reads nothing but the header, makes nothing.

    Raises ``CorruptStore`` for a file that is not ours, ``ConfigurationError`` for one of a later release.
    """
    header = _header(file)
    if header:
        _check_header(header, file)
    return bool(header)


def prepare_file(file: Path, *, read_only: bool, vfs: str | None) -> None:
    """Make the store when there is none; otherwise make sure that it is ours, before SQLite touches it.

    Raises ``CorruptStore`` or ``ConfigurationError``; a file that is not ours is left as it is, with nothing beside it.
    """
    if vfs is None:
        if check_file(file):
            return
        if read_only:
            raise ConfigurationError(f"there is no store at {str(file)!r}", hint="check --store, or run something first")
    db = connect(file, read_only=False, vfs=vfs)
    try:
        if int(db.pragma("user_version")) == 0:
            _make(db)
    except apsw.Error as error:
        raise mapped(error, file) from error
    finally:
        db.close()


def _header(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigurationError(f"the store {str(file)!r} cannot be read: {error}", hint="check the path and its rights") from error


def _check_header(header: bytes, file: Path) -> None:
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise CorruptStore(
            f"{str(file)!r} is not a SQLite database; it was left untouched", hint="give the path of another file, or move this one away"
        )
    user_version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise CorruptStore(
            f"{str(file)!r} is a SQLite database of another program; it was left untouched", hint="give the path of another file"
        )
    if user_version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{str(file)!r} has schema version {user_version}, this release knows up to {SCHEMA_VERSION}",
            hint="use the release that made it, or a later one",
        )


def _make(db: apsw.Connection) -> None:
    """Write the schema with the old journal, so that the header that says whose file it is is in the file itself; then
    switch to WAL, which stays."""
    schema = resources.files("agenticflow.integrations.stores").joinpath("sql/schema_0001.sql").read_text("utf-8")
    with db:
        db.pragma("application_id", APPLICATION_ID)
        db.execute(schema)
        db.pragma("user_version", SCHEMA_VERSION)


def connect(
    file: Path,
    *,
    read_only: bool,
    vfs: str | None = None,
    durability: str = "full",
    exclusive: bool = False,
) -> apsw.Connection:
    """Return a connection, set up for the store."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        db = apsw.Connection(os.fspath(file), flags=flags, vfs=vfs)
        db.set_busy_timeout(BUSY_MILLISECONDS)
        db.pragma("cache_size", -CACHE_KIB)
        if not read_only:
            if exclusive:
                db.pragma("locking_mode", "exclusive")
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", durability)
            db.pragma("journal_size_limit", 64 * 1024 * 1024)
            db.pragma("foreign_keys", 0)
        return db
    except apsw.Error as error:
        raise mapped(error, file) from error


def mapped(error: apsw.Error, file: Path) -> AgenticFlowError:
    """Return our error for SQLite's. Whose move it is decides the class; a test lists every class of the driver."""
    name, where = type(error).__name__, str(file)
    match error:
        case apsw.FullError():
            return StoreUnavailable(f"no space for the store {where!r}; nothing of this commit was written", hint="make room, then go on")
        case apsw.CorruptError() | apsw.NotADBError() | apsw.FormatError():
            return CorruptStore(f"the store {where!r} is damaged: {error}", hint="restore it from a backup; nothing was written")
        case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError() | apsw.InterruptError() | apsw.AbortError():
            return StoreUnavailable(f"the store {where!r} is busy: {error}", hint="try again")
        case apsw.IOError() | apsw.NoMemError() | apsw.NoLFSError():
            return StoreUnavailable(f"the store {where!r} cannot be read or written: {error}", hint="check the disk, then try again")
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.CantOpenError() | apsw.AuthError():
            return ConfigurationError(f"the store {where!r} cannot be opened: {error}", hint="check the path and its rights")
        case apsw.TooBigError():
            return StoreUnavailable(f"a value is too large for the store {where!r}: {error}")
        case apsw.ThreadingViolationError() | apsw.ConnectionClosedError() | apsw.CursorClosedError() | apsw.ForkingViolationError():
            return StoreUnavailable(f"the store {where!r} was closed or used after a fork: {error}", hint="open it again")
        case _:
            return InvariantError(f"the store {where!r} was used wrongly ({name}): {error}", hint="please report this")
