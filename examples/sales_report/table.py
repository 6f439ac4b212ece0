"""A file of separated values as a stream of records, however large it is: its encoding, its delimiter, its lines.

Never more than a line of the file is in memory. A record that cannot be split is handed on with the reason, so that whoever
counts bad rows counts it too.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from agenticflow import PermanentError

__all__ = ["Raw", "Record", "delimiter_of", "examine", "records"]

MAX_FILE_BYTES: Final = 4 * 1024**3
MAX_LINE_CHARS: Final = 1024**2
CHUNK_BYTES: Final = 64 * 1024
DELIMITERS: Final = ",;\t|"
SAMPLE_RECORDS: Final = 50


@dataclass(frozen=True)
class Raw:
    """What the bytes of a file say."""

    encoding: str
    note: str
    """What a reader of the report must know about the encoding; empty when nothing is special."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """One record: the line of the file in which it begins, its cells, and why it has none."""

    line: int
    cells: tuple[str, ...]
    problem: str = ""

    @property
    def is_blank(self) -> bool:
        return not self.problem and not any(cell.strip() for cell in self.cells)


def examine(path: Path) -> Raw:
    """Read the file once, in pieces: is it text, in which encoding, and which file is it. Raises ``PermanentError``."""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    is_utf8, has_high_controls, size, digest = True, False, 0, hashlib.sha256()
    start = b""
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                start = start or chunk[:8]
                size += len(chunk)
                digest.update(chunk)
                has_high_controls = has_high_controls or any(0x80 <= byte <= 0x9F for byte in set(chunk))
                is_utf8 = is_utf8 and _decodes(utf8, chunk)
                if size > MAX_FILE_BYTES:
                    raise PermanentError(f"{path.name!r} has more than {MAX_FILE_BYTES // 1024**3} GiB")
    except OSError as error:
        raise PermanentError(f"{str(path)!r} cannot be read: {error.strerror}", hint="check the path") from error
    is_utf8 = is_utf8 and _decodes(utf8, b"", is_last=True)
    if size == 0:
        raise PermanentError(f"{path.name!r} is empty", hint="it needs a line with the names of its columns")
    if start.startswith(b"PK\x03\x04"):
        raise PermanentError(f"{path.name!r} is a workbook or an archive, not text", hint="save the table as CSV")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, note = "utf-16", "the file is UTF-16"
    elif start.startswith(codecs.BOM_UTF8) and is_utf8:
        encoding, note = "utf-8-sig", ""
    elif is_utf8:
        encoding, note = "utf-8", ""
    else:
        # bytes that are control characters in Latin-1 are letters and the euro sign in the encoding of Windows
        encoding = "cp1252" if has_high_controls and _is_cp1252(path) else "latin-1"
        note = f"the file is not UTF-8 and was read as {encoding}; check letters with accents"
    return Raw(encoding, note, size, digest.hexdigest())


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, is_last: bool = False) -> bool:
    try:
        decoder.decode(chunk, is_last)
    except UnicodeDecodeError:
        return False
    return True


def _is_cp1252(path: Path) -> bool:
    undefined = frozenset(b"\x81\x8d\x8f\x90\x9d")
    with path.open("rb") as handle:
        return not any(undefined & set(chunk) for chunk in iter(lambda: handle.read(CHUNK_BYTES), b""))


def delimiter_of(path: Path, encoding: str) -> str:
    """Return the delimiter under which the first records have the most columns, and equally many. Raises ``PermanentError``."""
    found: list[tuple[int, str]] = []
    for delimiter in DELIMITERS:
        sample = [
            record
            for record in islice(records(path, encoding, delimiter), SAMPLE_RECORDS)
            if not record.problem and not record.is_blank
        ]
        widths = Counter(len(record.cells) for record in sample)
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and 2 * count > len(sample):
            found.append((width, delimiter))
    if not found:
        raise PermanentError(
            f"{path.name!r} has no columns: neither commas, semicolons, tabs nor bars part its lines alike",
            hint="name the delimiter with --input delimiter=…, if it is another one",
        )
    return max(found, key=lambda pair: (pair[0], -DELIMITERS.index(pair[1])))[1]


def records(path: Path, encoding: str, delimiter: str) -> Iterator[Record]:
    """Yield every record, blank and broken ones too. A cell in quotes may have line ends in it."""
    with path.open(encoding=encoding, newline="") as handle:
        reader = csv.reader(_lines(handle, path.name), delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(line, (), _why(error, line, reader.line_num))
            else:
                yield Record(line, tuple(cells))


def _why(error: csv.Error, first: int, last: int) -> str:
    to = f", so that lines {first} to {last} cannot be told apart" if last > first else ""
    if "unexpected end" in str(error) or "field larger" in str(error):
        return f"a quote is opened and never closed{to}"
    return f"its quotes are wrong ({error}){to}"


def _lines(handle: TextIO, name: str) -> Iterator[str]:
    number = 0
    try:
        while line := handle.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) >= MAX_LINE_CHARS:
                raise PermanentError(
                    f"line {number} of {name!r} has more than {MAX_LINE_CHARS:,} characters", hint="is it a CSV file?"
                )
            yield line
    except UnicodeError as error:
        raise PermanentError(
            f"{name!r} is not {handle.encoding}: {error}", hint="leave --input encoding out, or name another"
        ) from error
