"""The file system layer between SQLite and the real files: it tells a ``Disk`` of every change, and fails when the disk says so.

Reads, locks and shared memory go straight to the operating system, so everything runs as in production, with its threads and connections;
nothing is really synced, which makes a thousand power cuts affordable. Files outside of the folder pass by unseen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw

from agenticflow.testing.faulty_disk.disk import Disk

__all__ = ["faulty_disk"]

COMMIT_PHASE_TWO = 22  # SQLITE_FCNTL_COMMIT_PHASETWO: the transaction is true, the caller not told yet


class _Layer(apsw.VFS):
    def __init__(self, name: str, folder: Path, disk: Disk) -> None:
        super().__init__(name, "")
        self.folder = folder
        self.disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or Path(path).parent != self.folder:
            return apsw.VFSFile("", name, flags)
        return _File(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        name = Path(filename).name
        _demand(self.disk.reaches("delete", name))
        super().xDelete(filename, False)
        self.disk.deleted(name, is_synced=syncdir)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        return True  # failures are what this layer is for


class _File(apsw.VFSFile):
    def __init__(self, layer: _Layer, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        file = Path(path)
        self._disk = layer.disk
        self._name = file.name
        is_new = not file.exists()
        if is_new and flags[0] & apsw.SQLITE_OPEN_CREATE:
            _demand(self._disk.reaches("create", self._name))
        super().__init__("", name, flags)
        self._file = self._disk.opened(file, is_new=is_new)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if self._disk.unreadable:
            raise apsw.IOError("the disk cannot be read")
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        _demand(self._disk.reaches("write", self._name))
        if self._disk.capacity is not None and self._disk.used + len(data) > self._disk.capacity:
            growth = offset + len(data) - self.xFileSize()
            if growth > 0 and self._disk.used + growth > self._disk.capacity:
                raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)
        self._file.changes.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        _demand(self._disk.reaches("truncate", self._name))
        super().xTruncate(newsize)
        self._file.changes.append(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        _demand(self._disk.reaches("sync", self._name))
        self._disk.synced(self._name)

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        if op == COMMIT_PHASE_TWO and self._disk.trouble is not None:
            self._disk.trouble("committed", self._name)
        return super().xFileControl(op, ptr)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        return True


def _demand(has_power: bool) -> None:
    if not has_power:
        raise apsw.IOError("the power is off")


_count = iter(range(sys.maxsize))


@contextmanager
def faulty_disk(folder: Path) -> Iterator[tuple[Disk, str]]:
    """Put a ``Disk`` beneath the files directly in ``folder``; yield it and the name to open a store with (``vfs=``)."""
    disk = Disk()
    name = f"faulty-{next(_count)}"
    layer = _Layer(name, Path(folder).resolve(), disk)
    try:
        yield disk, name
    finally:
        layer.unregister()
