"""The surveyor: which packages are there, and which files does each analyst get?

It looks at names and sizes only; it never opens a source file, never follows a symbolic link (so no loop can
hold it and nothing outside the root is read) and never stops at something it cannot read: that is listed
under ``skipped``.

A path comes in; a ``Survey`` goes out, whose ``packages`` are mapped one by one over
``analysis.analyze_package``.
"""

from __future__ import annotations

import os
import platform
import sysconfig
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agenticflow.demos.audit.shapes import AuditInputError, Package, Skipped, Survey

__all__ = ["GROUP_MAX_BYTES", "GROUP_MAX_FILES", "default_root", "survey"]

GROUP_MAX_BYTES = 400_000
"""Loose modules share one analyst up to about this much source, as much as a large package has."""

GROUP_MAX_FILES = 30
MAX_FILES = 20_000
"""Bounds the size of a survey, which is recorded as one value; further files are counted as left out."""

MAX_SKIPPED_ROWS = 100
CONTAINER_DEPTH = 3
"""From this depth on a directory without ``__init__.py`` is one package and not opened up further."""

_THIRD_PARTY = frozenset({"site-packages", "dist-packages", "node_modules"})
_TESTS = frozenset({"test", "tests", "idle_test"})


def default_root() -> str:
    """Where the running interpreter keeps its standard library."""
    return sysconfig.get_path("stdlib")


def survey(path: str, *, include_tests: bool = False) -> Survey:
    """Find the packages below the directory ``path``, in an order that depends on their names only.

    A directory with ``__init__.py`` is a package with everything below it. Loose modules of any other
    directory are put in groups of at most ``GROUP_MAX_FILES`` files and about ``GROUP_MAX_BYTES`` bytes, in
    alphabetical order; the directory's own subdirectories are surveyed in turn. Where ``path`` itself is a
    package, its subpackages are the packages. Directories called ``test``, ``tests`` or ``idle_test`` are
    left out unless ``include_tests``; installed third-party code, caches, virtual environments, hidden
    directories and symbolic links always are.

    Raises ``AuditInputError`` (a ``ValueError``) when there is no such directory or no Python file in it.
    """
    root = _checked_root(path)
    walk = _Walk(root=root, include_tests=include_tests)
    base, prefix = _import_position(root)
    listing = walk.list_directory("")
    walk.open_container("", listing, base=base, prefix=prefix, depth=0)
    if not walk.packages:
        reasons = "".join(f"; {count} left out: {reason}" for reason, count in sorted(walk.counts.items()))
        raise AuditInputError(
            f"there is no Python file to audit below {str(root)!r}{reasons}",
            hint="give a directory that contains .py files, or include the tests if there is nothing else",
        )
    return Survey(
        root=str(root),
        python=platform.python_version(),
        packages=_named_apart(walk.packages),
        file_count=walk.file_count,
        bytes=sum(package["bytes"] for package in walk.packages),
        skipped=walk.skipped,
        skipped_counts=dict(sorted(walk.counts.items())),
    )


def _checked_root(path: str) -> Path:
    if not path or "\0" in path:
        raise AuditInputError(f"{path!r} is not a path", hint="give the directory whose code is to be audited")
    root = Path(path).expanduser().resolve()
    if not root.exists():
        raise AuditInputError(f"there is no directory {str(root)!r}", hint="check the spelling of the path")
    if not root.is_dir():
        raise AuditInputError(
            f"{str(root)!r} is a file, not a directory", hint="give the directory that the file is in"
        )
    if not _is_utf8(str(root)):
        raise AuditInputError(
            f"the name of {_printable(str(root))!r} is not valid UTF-8",
            hint="rename the directory or copy the code",
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise AuditInputError(f"{str(root)!r} may not be read", hint="give the reading user access to it")
    return root


def _import_position(root: Path) -> tuple[str, str]:
    """Base and prefix of the root; the prefix is its dotted name if the root itself is a package."""
    names: list[str] = []
    while (root / "__init__.py").is_file() and root.name:
        names.append(root.name)
        root = root.parent
    return "", ".".join(reversed(names))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass
class _Listing:
    """One directory's regular Python files with their sizes, and its subdirectories that are worth a look."""

    modules: dict[str, int] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)

    @property
    def is_package(self) -> bool:
        return "__init__.py" in self.modules


@dataclass
class _Walk:
    root: Path
    include_tests: bool
    packages: list[Package] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    file_count: int = 0

    def skip(self, path: str, reason: str) -> None:
        self.counts[reason] += 1
        if len(self.skipped) < MAX_SKIPPED_ROWS:
            self.skipped.append(Skipped(path=_printable(path)[:300], reason=reason))

    def list_directory(self, relative: str) -> _Listing:
        listing = _Listing()
        try:
            with os.scandir(self.root / relative) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            self.skip(relative or ".", "directory cannot be read")
            return listing
        for entry in entries:
            self._sort_in(entry, _join(relative, entry.name), listing)
        return listing

    def _sort_in(self, entry: os.DirEntry[str], path: str, listing: _Listing) -> None:
        name = entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        links_to_directory = entry.is_symlink() and Path(entry.path).is_dir()
        if not (is_directory or links_to_directory or name.endswith(".py")):
            return
        if not _is_utf8(name):
            self.skip(path, "name is not valid UTF-8")
        elif entry.is_symlink():
            self.skip(path, "symbolic link")
        elif is_directory:
            reason = self._reason_to_leave_out(entry)
            if reason is None:
                listing.directories.append(name)
            elif reason:
                self.skip(path, reason)
        elif not entry.is_file(follow_symlinks=False):
            self.skip(path, "not a regular file")
        elif self.file_count >= MAX_FILES:
            self.skip(path, f"more than {MAX_FILES} files")
        else:
            self.file_count += 1
            listing.modules[name] = _size(entry)

    def _reason_to_leave_out(self, entry: os.DirEntry[str]) -> str | None:
        """None: go in. Empty: nobody would miss it. Else why it is missing from the audit."""
        if entry.name == "__pycache__" or entry.name.startswith("."):
            return ""
        if entry.name in _THIRD_PARTY:
            return "third-party code"
        if Path(entry.path, "pyvenv.cfg").exists():
            return "virtual environment"
        if entry.name in _TESTS and not self.include_tests:
            return "tests"
        return None

    def open_container(self, relative: str, listing: _Listing, *, base: str, prefix: str, depth: int) -> None:
        """Turn one directory into packages: its loose modules in groups, then each subdirectory by itself."""
        self.packages += _groups_of_loose_modules(relative, listing.modules, base, prefix)
        for name in listing.directories:
            path = _join(relative, name)
            inner = self.list_directory(path)
            if inner.is_package or prefix or depth + 1 >= CONTAINER_DEPTH:
                self._add_package(path, inner, base=base, prefix=prefix)
            else:
                self.open_container(path, inner, base=path, prefix="", depth=depth + 1)

    def _add_package(self, relative: str, listing: _Listing, *, base: str, prefix: str) -> None:
        files: dict[str, int] = {}
        open_directories = [(relative, listing)]
        while open_directories:
            path, here = open_directories.pop()
            files.update((_join(path, name), size) for name, size in here.modules.items())
            open_directories += [
                (_join(path, name), self.list_directory(_join(path, name))) for name in here.directories
            ]
        if files:
            self.packages.append(_package(relative, "package", base, prefix, files))


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # gone since it was listed: the analyst will say so
        return 0


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _package(name: str, kind: Literal["package", "modules"], base: str, prefix: str, files: dict[str, int]) -> Package:
    return Package(name=name, kind=kind, base=base, prefix=prefix, files=sorted(files), bytes=sum(files.values()))


def _groups_of_loose_modules(relative: str, modules: dict[str, int], base: str, prefix: str) -> list[Package]:
    """Alphabetical groups, closed as soon as the next module would make them too large."""
    groups: list[dict[str, int]] = []
    held = 0
    for name in sorted(modules, key=lambda module: (module.strip("_").lower(), module)):
        size = modules[name]
        if not groups or len(groups[-1]) >= GROUP_MAX_FILES or held + size > GROUP_MAX_BYTES:
            groups.append({})
            held = 0
        groups[-1][name] = size
        held += size
    packages = []
    for group in groups:
        names = [name.removesuffix(".py") for name in group]
        title = f"{names[0]}..{names[-1]}" if len(names) > 1 else f"{names[0]}.py"
        files = {_join(relative, name): size for name, size in group.items()}
        packages.append(_package(_join(relative, title), "modules", base, prefix, files))
    return packages


def _named_apart(packages: list[Package]) -> list[Package]:
    """No two names may be equal, because they become branch keys of a map."""
    taken: set[str] = set()
    for package in packages:
        plain, number = package["name"], 1
        while package["name"] in taken:
            number += 1
            package["name"] = f"{plain} #{number}"
        taken.add(package["name"])
    return packages
