"""Files of one folder as tools: read, list, search and, when allowed, write."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal, TypedDict

from agenticflow.errors import BoundExceeded, InvalidInput
from agenticflow.tools.builtin.rooted import MAX_ENTRIES, Root
from agenticflow.tools.context import ToolContext
from agenticflow.tools.tool import Tool, tool

__all__ = ["file_tools"]

Encoding = Literal["utf-8", "ascii"]
Name = Annotated[str, "name of the file, from the folder of these tools, like notes/today.txt"]
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_WILDCARDS: Final = 3
"""``**`` in one pattern: each may stand for any number of folders."""


class Listed(TypedDict):
    """An entry of a folder."""

    name: str
    kind: str
    size_bytes: int


class Written(TypedDict):
    """What was written."""

    name: str
    size_bytes: int


def file_tools(root: str | Path | Root, *, writable: bool = False, max_bytes: int = MAX_FILE_BYTES) -> tuple[Tool, ...]:
    """Return ``file_read``, ``file_list``, ``file_glob`` and, when ``writable``, ``file_write`` for the folder ``root``.

    Names are relative to it, and nothing leads out of it: no ``..``, no absolute name, no symbolic link. Reading needs the permission
    ``file:read``, writing ``file:write``. ``max_bytes`` is the most that is read or written at once. Raises ``ConfigurationError`` when
    there is no such folder.
    """
    place = root if isinstance(root, Root) else Root(root)

    @tool(category="files", effect="pure", permissions=["file:read"], max_result_bytes=2 * max_bytes + 1024)
    def file_read(
        path: Name,
        encoding: Encoding = "utf-8",
        first_line: Annotated[int, "where to begin, from 1"] = 1,
        max_lines: Annotated[int | None, "how many lines; all when left out"] = None,
    ) -> str:
        """Read a text file, or some of its lines."""
        if first_line < 1 or (max_lines is not None and max_lines < 1):
            raise InvalidInput("first_line and max_lines are at least 1")
        if first_line == 1 and max_lines is None:
            data = place.read(path, max_bytes)
        else:
            data = _lines(place, path, first_line, max_lines, max_bytes)
        return _decoded(data, encoding, path)

    @tool(category="files", effect="pure", permissions=["file:read"])
    def file_list(path: Annotated[str, "name of the folder"] = ".") -> list[Listed]:
        """List what is in a folder, in order of name. Links are shown and not followed."""
        return [Listed(name=one.name, kind=one.kind, size_bytes=one.size_bytes) for one in place.entries(path)]

    @tool(category="files", effect="pure", permissions=["file:read"])
    def file_glob(pattern: Annotated[str, "like **/*.txt; ** is any number of folders"], ctx: ToolContext) -> list[str]:
        """Find files by pattern, in order of name."""
        parts = pattern.removeprefix("./").split("/")
        if parts.count("**") > MAX_WILDCARDS:
            raise InvalidInput(f"the pattern {pattern!r:.80} has more than {MAX_WILDCARDS} times '**'")
        found: list[str] = []
        for name in place.files(ctx.raise_if_cancelled):
            if not _matches(name.split("/"), parts):
                continue
            if len(found) >= MAX_ENTRIES:
                raise BoundExceeded(
                    f"more than {MAX_ENTRIES:,} files match {pattern!r:.80}", hint="use a narrower pattern"
                )
            found.append(name)
        return found

    @tool(category="files", effect="idempotent", permissions=["file:write"])
    def file_write(
        path: Name,
        text: str,
        encoding: Encoding = "utf-8",
        overwrite: Annotated[bool, "whether a file of that name may be replaced"] = False,
    ) -> Written:
        """Write a text file, whole. Folders on the way are made."""
        data = _encoded(text, encoding)
        if len(data) > max_bytes:
            raise BoundExceeded(
                f"the text has {len(data):,} bytes, above the limit of {max_bytes:,}", hint="write less at once"
            )
        place.write(path, data, overwrite=overwrite)
        return Written(name=path, size_bytes=len(data))

    reading: tuple[Tool, ...] = (file_read, file_list, file_glob)
    return (*reading, file_write) if writable else reading


def _lines(place: Root, path: str, first: int, most: int | None, max_bytes: int) -> bytes:
    kept: list[bytes] = []
    size = 0
    with place.opened(path) as file:
        number = 0
        while line := file.readline(max_bytes + 1):
            number += 1
            if number < first:
                continue
            size += len(line)
            if size > max_bytes:
                raise BoundExceeded(
                    f"these lines of {path!r} have more than {max_bytes:,} bytes", hint="ask for fewer lines"
                )
            kept.append(line)
            if len(kept) == most:
                break
    return b"".join(kept)


def _decoded(data: bytes, encoding: Encoding, path: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path!r} is no text in {encoding}: byte {data[error.start]:#04x} at position {error.start:,}",
            hint="read it as utf-8" if encoding == "ascii" else "it is no text, or in another encoding",
        ) from error


def _encoded(text: str, encoding: Encoding) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text[error.start]!r} has no form in {encoding}", hint="write it as utf-8") from error


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
