"""A disk that keeps a promise only when it was told to sync: what is on its platters, what is not, and what is left when power goes.

Pure bookkeeping beside the real files: ``layer`` tells it of every change, ``survivors`` says what a machine would find after a power cut.
Unsynced writes may be forgotten, kept, kept in part, kept out of order, or torn at sectors of 512 bytes; a file that was never synced
may be missing, one that was deleted without a sync of its folder may be back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random  # noqa: TID251 - what survives follows from the caller's seed
from typing import Final

__all__ = ["Disk", "DiskFile", "Fate"]

SECTOR_BYTES: Final = 512

Change = tuple[int, bytes] | int
"""A write (offset, data), or the size a file was cut or grown to."""
Trouble = Callable[[str, str], None]
"""Called before each operation with its name and the file's; what it raises, the operation fails with."""


class DiskFile:
    """One file: its durable content, and the changes that no sync has covered."""

    def __init__(self, content: bytes = b"", *, is_entered: bool) -> None:
        self.durable = bytearray(content)
        self.changes: list[Change] = []
        self.is_entered = is_entered
        """Whether its name is in the folder for certain."""

    def sync(self) -> None:
        """Everything up to now is on the platters, and so is its name: the layer above syncs the folder of a new log by itself."""
        apply(self.durable, self.changes)
        self.changes.clear()
        self.is_entered = True


class Fate:
    """How unsynced changes fare in one power cut. Drawn from ``chance``, so a seed repeats it."""

    KINDS: Final = ("forgotten", "kept", "cut short", "scattered", "torn")

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.kind = chance.choice(self.KINDS)

    def coin(self) -> bool:
        """Toss a coin."""
        return self._chance.random() < 0.5

    def left_of(self, changes: list[Change]) -> Iterable[Change]:
        """Return what survives of the unsynced ``changes`` of one file."""
        match self.kind:
            case "forgotten":
                return []
            case "kept":
                return changes
            case "cut short":
                end = self._chance.randint(0, len(changes))
                return [*changes[:end], *(piece for change in changes[end : end + 1] for piece in self._torn(change))]
            case "scattered":
                return [change for change in changes if self.coin()]
            case _:
                return [piece for change in changes for piece in self._torn(change)]

    def _torn(self, change: Change) -> list[Change]:
        if isinstance(change, int):
            return [change] if self.coin() else []
        return [piece for piece in sectors(*change) if self.coin()]


class Disk:
    """The files of one machine, by name."""

    def __init__(self) -> None:
        self.files: dict[str, DiskFile] = {}
        self.operations = 0
        self.cut_at: int | None = None
        """The operation at which power goes; from then on nothing works."""
        self.is_off = False
        self.obeys_sync = True
        """Whether a sync means anything. A disk that lies loses what was acknowledged, and the proof has to notice."""
        self.unreadable = False
        """Whether reading fails."""
        self.capacity: int | None = None
        """Bytes that all files together may have."""
        self.trouble: Trouble | None = None
        self._deleted: dict[str, DiskFile] = {}

    @property
    def used(self) -> int:
        """Bytes that all files have."""
        return sum(size_of(file) for file in self.files.values())

    def reaches(self, operation: str, name: str) -> bool:
        """Count an operation that changes something; return whether there is power for it."""
        self.operations += 1
        if self.cut_at is not None and self.operations >= self.cut_at:
            self.is_off = True
        if not self.is_off and self.trouble is not None:
            self.trouble(operation, name)
        return not self.is_off

    def opened(self, path: Path, *, is_new: bool) -> DiskFile:
        """Return the record of the file at ``path``, which was opened, and made when ``is_new``.

        What was there before this disk was watched is durable; what bears the name of a file that was called ``….new`` is that file.
        """
        name, made = path.name, f"{path.name}.new"
        file = None if is_new else self.files.get(name)
        if file is None:
            if not is_new and made in self.files and not path.with_name(made).exists():
                file = self.files.pop(made)
            else:
                file = DiskFile(b"" if is_new else path.read_bytes(), is_entered=not is_new)
            self.files[name] = file
        return file

    def synced(self, name: str) -> None:
        """The file ``name`` was told to sync."""
        if self.obeys_sync:
            self.files[name].sync()
            self._deleted.pop(name, None)

    def deleted(self, name: str, *, is_synced: bool) -> None:
        """The file ``name`` was deleted; for certain when its folder was synced."""
        file = self.files.pop(name, None)
        if file is not None and file.is_entered and not (is_synced and self.obeys_sync):
            self._deleted[name] = file

    def survivors(self, chance: Random) -> dict[str, bytes]:
        """Return what is on the disk after a power cut, by file name."""
        fate = Fate(chance)
        found: dict[str, bytes] = {}
        for name, file in self._deleted.items():
            if fate.coin():
                found[name] = content_of(file, fate)
        for name, file in self.files.items():
            if file.is_entered or fate.coin():
                found[name] = content_of(file, fate)
        return found


def content_of(file: DiskFile, fate: Fate) -> bytes:
    """Return what ``fate`` leaves of ``file``."""
    content = bytearray(file.durable)
    apply(content, fate.left_of(file.changes))
    return bytes(content)


def size_of(file: DiskFile) -> int:
    """Return the size that a running program sees."""
    size = len(file.durable)
    for change in file.changes:
        size = change if isinstance(change, int) else max(size, change[0] + len(change[1]))
    return size


def apply(content: bytearray, changes: Iterable[Change]) -> None:
    """Carry out ``changes`` on ``content``; what a write skips is zeros."""
    for change in changes:
        if isinstance(change, int):
            del content[change:]
            content.extend(bytes(change - len(content)))
        else:
            offset, data = change
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data


def sectors(offset: int, data: bytes) -> Iterable[Change]:
    """Return the write in pieces that a disk writes whole: each within one sector."""
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        yield offset + start, data[start:end]
        start = end
