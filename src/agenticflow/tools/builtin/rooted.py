"""One folder and what lies below it, for tools that are told names by a model: nothing of it leads out.

A name is walked part by part, each opened beside the one before, without following a symbolic link anywhere, not even one that stays
inside: what was checked is what is opened, whoever changes the folder meanwhile. Devices, pipes and sockets are no files here. A hard link
is a file like any other: keep other people's files out of a folder that tools may read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import msgspec

from agenticflow.core.clocks import ambient
from agenticflow.errors import BoundExceeded, ConfigurationError, InvalidInput, PermanentError, TemporaryError

__all__ = ["Entry", "Root"]

MAX_PATH_CHARS: Final = 4_096
MAX_ENTRIES: Final = 1_000
"""Of one listing."""
MAX_VISITED: Final = 100_000
"""Entries that a search looks at."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PART: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(msgspec.Struct, frozen=True):
    """What is in a folder."""

    name: str
    kind: str
    """``file``, ``folder``, ``link`` (which is not followed) or ``other``."""
    size_bytes: int


class Root:
    """The folder at ``path``, which must be there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(os.path.realpath(path))
        if not self.path.is_dir():
            raise ConfigurationError(f"{str(path)!r} is no folder", hint="make it, or give one that is there")

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file. Raises ``BoundExceeded`` above ``max_bytes``."""
        with self.opened(name) as file:
            data = file.read(max_bytes + 1)
            if len(data) > max_bytes:
                size = os.fstat(file.fileno()).st_size
                raise BoundExceeded(
                    f"{name!r} has {size:,} bytes, above the limit of {max_bytes:,}", hint="ask for some of its lines"
                )
            return data

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for reading."""
        *folders, last = self._parts(name)
        with self._folder(folders, name) as folder:
            try:
                descriptor = os.open(last, _FILE, dir_fd=folder)
            except OSError as error:
                self._refuse(error, name, folder, last)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidInput(f"{name!r} is no file", hint="list the folder to see what is there")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def write(self, name: str, data: bytes, *, overwrite: bool) -> None:
        """Have the file hold ``data``, all of it or, should anything fail, what it held before. Folders on the way are made.

        Without ``overwrite`` another content under that name is ``InvalidInput``; the same content is no news.
        """
        *folders, last = self._parts(name)
        with self._folder(folders, name, is_made=True) as folder:
            part = f".{last[:100]}.{ambient.ids.next_id()}.part"
            try:
                with os.fdopen(os.open(part, _PART, 0o600, dir_fd=folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o644)
                if overwrite:
                    os.rename(part, last, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    os.link(part, last, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.fsync(folder)
            except FileExistsError:
                self._demand_same(name, data)
            except OSError as error:
                self._refuse(error, name, folder, last)
            finally:
                _forget(part, folder)

    def _demand_same(self, name: str, data: bytes) -> None:
        try:
            is_same = self.read(name, len(data)) == data
        except BoundExceeded:
            is_same = False
        if not is_same:
            raise InvalidInput(f"there is a file {name!r} already", hint="choose another name, or overwrite it")

    def entries(self, name: str) -> list[Entry]:
        """Return what is in a folder, in order of name. Raises ``BoundExceeded`` for more than 1,000 entries."""
        with self._folder(self._parts(name, may_be_root=True), name) as folder, os.scandir(folder) as scanned:
            found: list[Entry] = []
            for entry in scanned:
                if len(found) >= MAX_ENTRIES:
                    raise BoundExceeded(
                        f"{name!r} has more than {MAX_ENTRIES:,} entries", hint="search with a pattern instead"
                    )
                found.append(_entry_of(entry))
        return sorted(found, key=lambda entry: entry.name)

    def files(self, keep_going: Callable[[], None]) -> Iterator[str]:
        """Yield the name of every file below, from the root; ``keep_going`` is called now and then and may raise.

        Raises ``BoundExceeded`` after looking at 100,000 entries.
        """
        visited = 0
        with self._folder([], ".") as top:
            for folder, folders, names, _ in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                keep_going()
                visited += len(folders) + len(names)
                if visited > MAX_VISITED:
                    raise BoundExceeded(
                        f"there are more than {MAX_VISITED:,} entries below the folder", hint="give tools a smaller one"
                    )
                folders.sort()
                place = "" if folder == "." else f"{folder.removeprefix('./')}/"
                yield from (f"{place}{name}" for name in sorted(names))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _parts(self, name: str, *, may_be_root: bool = False) -> list[str]:
        if "\0" in name or len(name) > MAX_PATH_CHARS:
            raise InvalidInput(f"{name!r:.80} is no name of a file")
        if name.startswith("/"):
            raise InvalidInput(
                f"{name!r:.200} begins at the top of the machine", hint="names begin in the folder: notes/today.txt"
            )
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise InvalidInput(f"{name!r:.200} leads out of the folder", hint="names begin in the folder, without '..'")
        if not parts and not may_be_root:
            raise InvalidInput(f"{name!r:.80} is no name of a file")
        return parts

    @contextmanager
    def _folder(self, parts: list[str], name: str, *, is_made: bool = False) -> Iterator[int]:
        try:
            here = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PermanentError(f"the folder of these tools cannot be opened: {error.strerror}") from error
        try:
            for part in parts:
                try:
                    if is_made:
                        _make(part, here)
                    below = os.open(part, _FOLDER, dir_fd=here)
                except OSError as error:
                    self._refuse(error, name, here, part)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def _refuse(self, error: OSError, name: str, folder: int, part: str) -> NoReturn:
        if error.errno == errno.ENOENT:
            close = get_close_matches(part, os.listdir(folder)[:MAX_ENTRIES], n=1)
            hint = (
                f"did you mean {name.rpartition(part)[0]}{close[0]}?"
                if close
                else "list the folder to see what is there"
            )
            raise PermanentError(f"there is no {name!r}", hint=hint) from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise InvalidInput(f"{part!r} in {name!r} is no folder or file here; links are not followed") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EIO):
            raise TemporaryError(f"{name!r}: {error.strerror}") from error
        raise PermanentError(f"{name!r}: {error.strerror}") from error


def _make(part: str, folder: int) -> None:
    try:
        os.mkdir(part, dir_fd=folder)
    except FileExistsError:
        return


def _forget(part: str, folder: int) -> None:
    try:
        os.unlink(part, dir_fd=folder)
    except FileNotFoundError:
        return  # it has its name


def _entry_of(entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        return Entry(entry.name, "link", 0)
    if entry.is_dir(follow_symlinks=False):
        return Entry(entry.name, "folder", 0)
    size = entry.stat(follow_symlinks=False).st_size
    return Entry(entry.name, "file" if entry.is_file(follow_symlinks=False) else "other", size)
