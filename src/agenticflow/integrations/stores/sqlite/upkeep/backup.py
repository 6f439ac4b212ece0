"""Copies of a store file that can be relied on: taken beside whoever writes, and put back without a moment in which neither is there.

A copy is written under another name, synced, then renamed: whatever has the final name is whole. Nothing here changes the source. Large
values in files are copied into a folder of the copy's own, before the copy has its name; meanwhile no sweep removes one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite.file import connect, is_there, mapped, migrate, sync_folder
from agenticflow.integrations.stores.sqlite.large import BlobFolder
from agenticflow.integrations.stores.sqlite.large.belonging import named, recorded, recorded_in
from agenticflow.integrations.stores.sqlite.large.copying import (
    clear,
    copied,
    discard_values,
    remove,
    settle,
    size_of_files,
    values_held,
    values_of,
)
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.ownership import Ownership

__all__ = ["back_up", "demand_store", "discard", "prepare", "put_in_place"]

STEP_PAGES: Final = 256
"""Pages copied between two looks at whether to go on: a mebibyte."""
MAX_KEPT: Final = 10_000
Progress = Callable[[int, int], None]
"""Called with the bytes copied so far and in all; what it raises ends the copy."""


def back_up(
    source: Path, target: Path, *, force: bool = False, progress: Progress | None = None, blobs: str | None = None
) -> int:
    """Copy the store ``source``, as it is at this moment, to ``target``; return the size in bytes. Blocks.

    Works beside a running owner, in this process or another, and does not make it wait: the copy is one read transaction, and only the
    log grows meanwhile. Large values in files go into ``<target>.values``; ``blobs`` is where they are,
    when not where the store has recorded it.

    Raises ``ConfigurationError`` when there is no store, or when something is at ``target`` already and not
    ``force``; ``StoreOwned`` when that is a store in use; ``StoreUnavailable`` when there is no space or somebody else copies there.
    """
    source, target = Path(os.path.realpath(source)), Path(os.path.realpath(target))
    demand_store(source)
    if source == target:
        raise ConfigurationError(f"{str(target)!r} is the store itself", hint="give the backup another name")
    if target.exists():
        if not force:
            raise ConfigurationError(
                f"there is something at {str(target)!r} already; it was left untouched",
                hint="give another name, or overwrite it with --force",
            )
        _demand_unused(target)
    part = target.with_name(target.name + ".part")
    into, replaced = values_beside(target), values_of(target)
    with _locked(part):
        size = _copy(source, part, into, progress, None if blobs is None else named(blobs))
        try:
            reach("backup.copied")
            part.replace(target)
            reach("backup.named")
            sync_folder(target.parent)
        except OSError as error:
            discard(part)
            raise _failed(error, target) from error
        settle(target, part)
        remove(replaced, target)
        clear(into, part, target, but=values_of(target))
    return size


def values_beside(file: Path) -> Path:
    """Return where the large values of a copy go when nobody says where."""
    return file.with_name(file.name + ".values")


def prepare(source: Path, target: Path, progress: Progress | None = None, *, blobs: str | None = None) -> Path:
    """Copy the backup ``source`` beside ``target``, bring it up to date, and return where it is. For who owns ``target``. Blocks.

    Large values in files go into the folder ``blobs``; when it is ``None``, into that of the store at ``target``.
    """
    source = Path(os.path.realpath(source))
    demand_store(source)
    if source == target:
        raise ConfigurationError(f"{str(target)!r} is the store itself", hint="give the name of a backup")
    part = target.with_name(target.name + ".restoring")
    settle(target, part)  # when it was killed just before it could
    discard(part)
    if blobs is not None:
        into = named(blobs)
    else:
        known = recorded_in(target)
        into = values_beside(target) if known is None else target.parent / known[1]
    clear(into, part)
    with _locked(part):
        _copy(source, part, into, progress, None)
    migrate(part)
    reach("restore.prepared")
    return part


def put_in_place(part: Path, target: Path) -> Path | None:
    """Give what was prepared the name ``target``; return where the store that was there is now. For who owns ``target``. Blocks.

    At every moment one of the two has the name. Raises ``StoreUnavailable`` when somebody is reading the old one.
    """
    _remove_beside(part)
    _sync(part)
    kept = _free_name(target)
    has_old = target.exists() and target.stat().st_size > 0
    try:
        if has_old:
            _empty_log(target)
            try:
                kept.hardlink_to(target)
            except OSError:  # a file system without hard links
                _copy_bytes(target, kept)
        reach("restore.kept")
        for suffix in ("-wal", "-journal"):
            beside = target.with_name(target.name + suffix)
            if beside.exists() and beside.stat().st_size:
                # The store is damaged, or gone: its log must not be played into the new one.
                beside.rename(kept.with_name(kept.name + suffix))
                has_old = True
        _remove_beside(target)
        reach("restore.cleared")
        part.replace(target)
        reach("restore.named")
        sync_folder(target.parent)
        settle(target, part)
    except OSError as error:
        raise _failed(error, target) from error
    return kept if has_old else None


def discard(part: Path) -> None:
    """Remove what was prepared and not used."""
    discard_values(part)
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        _remove_beside(part)


def _copy(source: Path, part: Path, into: Path, progress: Progress | None, blobs: Path | None) -> int:
    try:
        with ExitStack() as ending:
            reader = connect(source, read_only=True, any_version=True)
            ending.callback(reader.close)
            folder = ending.enter_context(values_held(reader, source, blobs))
            writer = apsw.Connection(os.fspath(part), flags=apsw.SQLITE_OPEN_READWRITE)
            ending.callback(writer.close)
            writer.pragma("journal_mode", "off")  # it is synced as a whole, or thrown away
            writer.pragma("synchronous", "off")
            values_bytes = 0 if folder is None else size_of_files(reader)
            _copy_pages(reader, writer, values_bytes, progress)
            size = _copy_values(writer, folder, source, part, into, progress)
            writer.pragma("journal_mode", "delete")  # one plain file: who only reads it leaves nothing beside it
        part.chmod(source.stat().st_mode & 0o777)
        _sync(part)
        return size + part.stat().st_size
    except BaseException as error:
        discard(part)
        if isinstance(error, apsw.Error):
            raise mapped(error, part) from error
        if isinstance(error, OSError):
            raise _failed(error, part) from error
        raise


def _copy_values(
    writer: apsw.Connection,
    folder: BlobFolder | None,
    source: Path,
    part: Path,
    into: Path,
    progress: Progress | None,
) -> int:
    """Copy the large values that the copy of the database names; return their size."""
    if folder is None:
        if recorded(writer) is None:
            return 0
        raise StoreUnavailable(
            f"the store {str(source)!r} began to keep large values in files just now", hint="try again"
        )
    pages, total = _size_in_pages(writer), size_of_files(writer)

    def tell(done: int) -> None:
        if progress is not None:
            progress(pages + done, pages + total)

    return copied(writer, part, folder, into, source.stat().st_mode & 0o666, tell)


def _size_in_pages(db: apsw.Connection) -> int:
    return int(db.pragma("page_size")) * int(db.pragma("page_count"))


def _copy_pages(reader: apsw.Connection, writer: apsw.Connection, following: int, progress: Progress | None) -> None:
    # One read transaction: a copy that sees every commit would begin again with each, and never end beside a busy owner.
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - begins to read
    page_bytes = int(reader.pragma("page_size"))
    with writer.backup("main", reader, "main") as copy:
        while not copy.done:
            copy.step(STEP_PAGES)
            if progress is not None:
                progress((copy.page_count - copy.remaining) * page_bytes, copy.page_count * page_bytes + following)
    reader.execute("COMMIT")


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Have ``part`` empty and to ourselves: what a killed copy left there is overwritten, a living one is not disturbed."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed(error, part) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreUnavailable(
                f"somebody else is copying to {str(part)!r}", hint="wait for its end, or give another name"
            ) from error
        os.ftruncate(descriptor, 0)
        _remove_beside(part)
        yield
    finally:
        os.close(descriptor)


def demand_store(source: Path) -> None:
    """Raise ``ConfigurationError`` when there is no store at ``source``, ``CorruptStore`` when it is not ours."""
    if not is_there(source):
        raise ConfigurationError(f"there is no store at {str(source)!r}", hint="check the path")


def _demand_unused(target: Path) -> None:
    """Refuse to overwrite a store that somebody uses."""
    log = target.with_name(target.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise ConfigurationError(
            f"{str(target)!r} has a log beside it: it is a store in use, or one that was not closed; it was left untouched",
            hint="give another name",
        )
    if target.with_name(target.name + ".lock").exists():
        Ownership.take(target).release()


def _empty_log(target: Path) -> None:
    """Bring what is in the log of the old store into its file, so that the file alone is the whole store."""
    try:
        is_there(target)
        db = connect(target, read_only=False)
    except (CorruptStore, StoreUnavailable, ConfigurationError):
        return  # damaged: that may be why it is replaced; its log stays with it
    try:
        ((is_busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except apsw.Error:
        return
    finally:
        db.close()
    if is_busy:
        raise StoreUnavailable(
            f"somebody is reading the store {str(target)!r}", hint="wait for its end, then try again"
        )


def _free_name(target: Path) -> Path:
    for number in range(1, MAX_KEPT):
        kept = target.with_name(f"{target.name}.replaced-{number}")
        if not any(kept.with_name(kept.name + suffix).exists() for suffix in ("", "-wal", "-journal")):
            return kept
    raise ConfigurationError(
        f"there are {MAX_KEPT:,} replaced stores beside {str(target)!r} already", hint="move some of them away"
    )


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        while piece := reading.read(1024 * 1024):
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    target.chmod(source.stat().st_mode & 0o777)


def _remove_beside(file: Path) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(error: OSError, file: Path) -> StoreUnavailable | ConfigurationError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailable(f"no space for {str(file)!r}; nothing has changed", hint="make room, then try again")
    return ConfigurationError(f"{str(file)!r} cannot be written: {error}", hint="check the path and its rights")
