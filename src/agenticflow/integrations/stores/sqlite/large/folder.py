"""The folder that holds large values of one store as files, each named by its hash: how one is written, read, listed and removed.

A file has its name only when all of it is on disk: it is written under another name, synced, then renamed. What is not named like a value
or like one half written is not ours and never touched. Nothing here knows the database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agenticflow.errors import CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite.file import sync_folder
from agenticflow.runtime.failpoints import reach

__all__ = ["BlobFolder", "is_name", "trouble"]

BLOCK_BYTES: Final = 1024 * 1024
OVERLAP_BYTES: Final = 30
"""One less than a reference has: one that lies across two blocks is whole in the second."""
PAGE_NAMES: Final = 500
MARKER: Final = "store"
"""The file that says whose folder this is, and that whoever needs the files to stay holds a lock on."""
_NEW: Final = ".new"
_NAME: Final = re.compile(r"[0-9a-f]{40}")
_OURS: Final = re.compile(r"[0-9a-f]{40}(\.new)?")


def is_name(name: str) -> bool:
    """Return whether ``name`` is a hash as the codec makes them, so that it may be the name of a file."""
    return _NAME.fullmatch(name) is not None


class BlobFolder:
    """The files of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_there(self) -> bool:
        try:
            return self.path.is_dir()
        except OSError as error:
            raise trouble(error, self.path) from error

    def write(self, name: str, data: bytes, mode: int) -> None:
        """Have ``data`` on disk under ``name``; the name itself is only after ``sync``. Raises like ``trouble``; then nothing is left."""
        new = self.path / f"{name}{_NEW}"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            reach("blob.written")
            new.replace(self._file(name))
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise trouble(error, self.path) from error
        reach("blob.named")

    def sync(self) -> None:
        """Have the names of all files on disk."""
        try:
            sync_folder(self.path)
        except OSError as error:
            raise trouble(error, self.path) from error
        reach("blob.synced")

    def size_of(self, name: str) -> int | None:
        """Return the size of a file, ``None`` when it is not there."""
        try:
            return self._file(name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise trouble(error, self.path) from error

    def read(self, name: str, size: int) -> bytes | None:
        """Return the whole file, ``None`` when it is not there. Raises ``CorruptStore`` when it has another size."""
        try:
            with self._file(name).open("rb", buffering=0) as stream:
                actual = os.fstat(stream.fileno()).st_size
                data = stream.readall() if actual == size else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            raise trouble(error, self.path) from error
        if len(data) != size:
            raise CorruptStore(
                f"the large value {str(self._file(name))!r} has {actual:,} bytes where {size:,} should be",
                hint="restore the store from a backup",
            )
        return data

    def blocks(self, name: str, *, overlap: int = 0) -> Iterator[bytes]:
        """Yield the file in pieces, each beginning with the last ``overlap`` bytes of the one before. Raises ``FileNotFoundError``."""
        try:
            with self._file(name).open("rb", buffering=0) as stream:
                tail = b""
                while block := stream.read(BLOCK_BYTES):
                    yield tail + block
                    tail = (tail + block)[-overlap:] if overlap else b""
        except FileNotFoundError:
            raise
        except OSError as error:
            raise trouble(error, self.path) from error

    def remove(self, name: str) -> int:
        """Remove a file, or one half written; return its size, 0 when it is not there."""
        file = self.path / name if _OURS.fullmatch(name) else self._file(name)
        try:
            size = file.stat().st_size
            file.unlink()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise trouble(error, self.path) from error
        return size

    def listed(self) -> Iterator[list[str]]:
        """Yield the names of all files of ours, also of those half written, a page at a time."""
        try:
            with os.scandir(self.path) as entries:
                page: list[str] = []
                for entry in entries:
                    if _OURS.fullmatch(entry.name):
                        page.append(entry.name)
                    if len(page) == PAGE_NAMES:
                        yield page
                        page = []
                yield page
        except OSError as error:
            raise trouble(error, self.path) from error

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[bool]:
        """Hold the lock of the folder: ``alone`` to remove files, else with others so that none is removed. Yield whether it was free.

        The kernel gives it back when the process ends.
        """
        try:
            descriptor = os.open(
                self.path / MARKER, (os.O_RDWR if alone else os.O_RDONLY) | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise trouble(error, self.path) from error
        try:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise trouble(error, self.path) from error
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child forked meanwhile has the descriptor, too
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        if not is_name(name):
            raise CorruptStore(f"{name!r} is not the name of a large value", hint="restore the store from a backup")
        return self.path / name


def trouble(error: OSError, path: Path) -> StoreUnavailable:
    """Return our error for the operating system's. Of whatever kind it is, a person can mend it, and the work goes on where it was."""
    where = str(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailable(
            f"no space for large values in {where!r}; nothing was written", hint="make room, then go on"
        )
    return StoreUnavailable(
        f"the folder of large values {where!r} cannot be read or written: {error}",
        hint="check the disk and the rights",
    )
