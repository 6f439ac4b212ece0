"""The file beneath the SQLite store: whether it is ours, how it is made, how connections to it are set, what its errors mean."""

from __future__ import annotations

import errno
import os
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConfigurationError,
    CorruptStore,
    InvariantError,
    StoreUnavailable,
)

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "connect", "is_there", "make", "mapped", "migrate", "sync_folder"]

APPLICATION_ID: Final = 0x41464C57  # "AFLW"
SCHEMA_VERSION: Final = 3
BUSY_MILLISECONDS: Final = 5_000
CACHE_KIB: Final = 16 * 1024
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100


def is_there(file: Path) -> bool:
    """Return whether a store of ours is at ``file``. Only looks: SQLite would already create files beside it, or mend it.

    A missing and an empty file count as none. Raises ``CorruptStore`` for anything else that is not ours, ``ConfigurationError`` when
    a later release made it or it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            header = stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    except OSError as error:
        raise ConfigurationError(
            f"the store {str(file)!r} cannot be read: {error}", hint="check the path and its rights"
        ) from error
    log, journal = (file.with_name(file.name + suffix) for suffix in ("-wal", "-journal"))
    if header:
        _check_header(header, file)
        page_bytes, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        # A log may hold what is missing; without one the file is whole, also beside an owner that is just closing.
        if not log.exists() and file.stat().st_size < page_bytes * pages:
            raise CorruptStore(
                f"{str(file)!r} has {file.stat().st_size:,} of {page_bytes * pages:,} bytes; it was left untouched",
                hint="it was not copied whole: copy it again, or restore it from a backup",
            )
        return True
    for beside in (log, journal):
        # SQLite would play the log of the file that is gone into the new one.
        if beside.exists() and beside.stat().st_size:
            raise CorruptStore(
                f"the store {str(file)!r} is gone, but its log {str(beside)!r} is still there; it was left untouched",
                hint="restore both from a backup, or move the log away",
            )
    return False


def _check_header(header: bytes, file: Path) -> None:
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise CorruptStore(
            f"{str(file)!r} is not a SQLite database; it was left untouched",
            hint="give the path of another file, or move this one away",
        )
    user_version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise CorruptStore(
            f"{str(file)!r} is a SQLite database of another program; it was left untouched",
            hint="give the path of another file",
        )
    _check_version(user_version, file)


def _check_version(version: int, file: Path) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise ConfigurationError(
            f"{str(file)!r} has schema version {version}, this release knows {SCHEMA_VERSION}",
            hint="use the release that made it, or a later one",
        )


def _schema(version: int) -> str:
    """Return the statements that raise a file from the version before to ``version``."""
    name = f"sql/schema_{version:04}.sql"
    return resources.files("agenticflow.integrations.stores.sqlite").joinpath(name).read_text("utf-8")


def _raise(db: apsw.Connection, version: int) -> None:
    """Bring the file from ``version`` to ours, in one transaction: a crash leaves it as it was."""
    with db:
        for following in range(version + 1, SCHEMA_VERSION + 1):
            db.execute(_schema(following))
        db.pragma("user_version", SCHEMA_VERSION)


def migrate(file: Path, vfs: str | None = None) -> None:
    """Bring an existing store that an earlier release made to our version. Only for the owner; a second call does nothing.

    Raises like ``mapped``, ``ConfigurationError`` when a later release made it.
    """
    with file.open("rb") as stream:
        if int.from_bytes(stream.read(_HEADER_BYTES)[60:64], "big") == SCHEMA_VERSION:
            return
    db = connect(file, read_only=False, vfs=vfs)
    try:
        version = _version_of(db)  # the log may hold a later one than the header tells
        _check_version(version, file)
        if version < SCHEMA_VERSION:
            _raise(db, version)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get  # noqa: B018 - into the header, for those who only look
    except apsw.Error as error:
        raise mapped(error, file) from error
    finally:
        db.close()


def _version_of(db: apsw.Connection) -> int:
    return int(db.execute("PRAGMA user_version").get)


def make(file: Path, vfs: str | None) -> None:
    """Make an empty store at ``file``: under another name, then renamed, so that a half-made store never has its name.

    Only for the owner. Raises ``StoreUnavailable`` when there is no space, ``ConfigurationError`` when the place cannot be written.
    """
    new = file.with_name(file.name + ".new")
    try:
        _remove(new)
        db = apsw.Connection(os.fspath(new), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs=vfs)
        try:
            db.pragma("auto_vacuum", "incremental")  # before there is anything: pages can be given back in small steps
            db.pragma("application_id", APPLICATION_ID)
            _raise(db, 0)
            if db.pragma("journal_mode", "wal") != "wal":
                raise ConfigurationError(
                    f"the file system of {str(file)!r} cannot share memory between processes", hint="use a local one"
                )
        finally:
            db.close()
        if file.exists():
            new.chmod(file.stat().st_mode & 0o777)  # somebody made it empty, to say who may read it
        new.replace(file)
        sync_folder(file.parent)
    except apsw.Error as error:
        _remove(new)
        raise mapped(error, file) from error
    except OSError as error:
        _remove(new)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(f"no space for the store {str(file)!r}", hint="make room, then go on") from error
        raise ConfigurationError(
            f"the store {str(file)!r} cannot be made: {error}", hint="check the path and its rights"
        ) from error


def _remove(file: Path) -> None:
    for suffix in ("-journal", "-wal", "-shm", ""):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in ``folder`` on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(
    file: Path, *, read_only: bool, vfs: str | None = None, durability: str = "full", any_version: bool = False
) -> apsw.Connection:
    """Return a connection to an existing store, set up for it. Raises like ``mapped``, and ``ConfigurationError`` when it is for reading
    and the file has another version than ours, unless ``any_version``."""
    try:
        if read_only:
            db = _connect_for_reading(file, vfs)
            if not any_version:
                _check_readable(db, file)
            return db
        db = apsw.Connection(os.fspath(file), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        try:
            db.set_busy_timeout(BUSY_MILLISECONDS)
            db.pragma("cache_size", -CACHE_KIB)
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", durability)
            db.pragma("journal_size_limit", 64 * 1024 * 1024)
        except apsw.Error:
            db.close()  # beside a damaged file, too, nothing is left
            raise
        return db
    except apsw.Error as error:
        raise mapped(error, file) from error


def _check_readable(db: apsw.Connection, file: Path) -> None:
    version = _version_of(db)
    if version == SCHEMA_VERSION:
        return
    db.close()
    _check_version(version, file)
    raise ConfigurationError(
        f"{str(file)!r} has schema version {version}, reading needs {SCHEMA_VERSION}",
        hint="open it once for writing, with `agenticflow store compact` say: that brings it up to date",
    )


def _connect_for_reading(file: Path, vfs: str | None) -> apsw.Connection:
    try:
        return _opened_for_reading(os.fspath(file), apsw.SQLITE_OPEN_READONLY, vfs)
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        # Reading a WAL database needs its shared memory, and here it can neither be opened nor made. An owner would have left
        # it, or a log; without both nobody writes, and the file alone is the whole store.
        if any(file.with_name(file.name + suffix).exists() for suffix in ("-wal", "-shm")):
            raise
        return _opened_for_reading(
            f"{file.as_uri()}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs
        )


def _opened_for_reading(name: str, flags: int, vfs: str | None) -> apsw.Connection:
    db = apsw.Connection(name, flags=flags, vfs=vfs)
    try:
        db.set_busy_timeout(BUSY_MILLISECONDS)
        db.pragma("cache_size", -CACHE_KIB)
        db.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - opening alone reads nothing
    except apsw.Error:
        db.close()
        raise
    return db


def mapped(error: apsw.Error, file: Path) -> AgenticFlowError:
    """Return our error for SQLite's. Whose move it is decides the class; a test lists every class of the driver."""
    name, where = type(error).__name__, str(file)
    match error:
        case apsw.FullError():
            return StoreUnavailable(
                f"no space for the store {where!r}; nothing of this commit was written", hint="make room, then go on"
            )
        case apsw.CorruptError() | apsw.NotADBError() | apsw.FormatError() | apsw.SQLError():
            # our statements are fixed: one that is wrong now meets a schema that is not ours any more
            return CorruptStore(
                f"the store {where!r} is damaged: {error}", hint="restore it from a backup; nothing was written"
            )
        case (
            apsw.BusyError()
            | apsw.LockedError()
            | apsw.ProtocolError()
            | apsw.InterruptError()
            | apsw.AbortError()
            | apsw.SchemaChangeError()
        ):
            return StoreUnavailable(f"the store {where!r} is busy: {error}", hint="try again")
        case apsw.IOError() | apsw.NoMemError():
            return StoreUnavailable(
                f"the store {where!r} cannot be read or written: {error}", hint="check the disk, then try again"
            )
        case (
            apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.CantOpenError() | apsw.AuthError() | apsw.NoLFSError()
        ):
            return ConfigurationError(
                f"the store {where!r} cannot be opened: {error}", hint="check the path and its rights"
            )
        case apsw.TooBigError():
            return BoundExceeded(f"a value is too large for the store {where!r}: {error}")
        case (
            apsw.ThreadingViolationError()
            | apsw.ConnectionClosedError()
            | apsw.CursorClosedError()
            | apsw.ForkingViolationError()
        ):
            return StoreUnavailable(
                f"the store {where!r} was closed or used after a fork: {error}", hint="open it again"
            )
        case _:
            return InvariantError(f"the store {where!r} was used wrongly ({name}): {error}", hint="please report this")
