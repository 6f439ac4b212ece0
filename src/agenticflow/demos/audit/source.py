"""Reading one file: its text, its syntax tree and its lines, or the finding that says why not.

This is the only room of the audit that opens source files. It never raises because of what is in a file,
never follows a symbolic link, never blocks on a pipe and never reads more than ``MAX_FILE_BYTES``.

A path comes in; a ``Source`` goes out, with as much in it as could be understood.
"""

from __future__ import annotations

import ast
import io
import os
import stat
import threading
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agenticflow.demos.audit.shapes import FindingKind, LineCounts

__all__ = ["MAX_FILE_BYTES", "Problem", "Source", "count_lines", "no_lines", "read_source"]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Five times the largest file of the standard library; a syntax tree takes about a hundred times its
source."""

# ``warnings.catch_warnings`` changes the whole process, so analysts on two threads must take turns.
_hushing = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings about the code that is read are neither printed nor, where the caller wants that, raised."""
    with _hushing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Problem:
    """Why a file could not be understood in full."""

    kind: FindingKind
    line: int
    message: str


@dataclass(frozen=True)
class Source:
    """One file as far as it could be read. ``tree`` is None exactly when ``problem`` says why."""

    lines: LineCounts
    tree: ast.Module | None
    problem: Problem | None


def read_source(path: Path) -> Source:
    """Read, decode (PEP 263: byte order mark, coding line, else UTF-8), parse and count one file.

    A file that cannot be parsed still has its lines counted, by how each line begins; one that cannot be read
    has none.
    """
    try:
        content = _read(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Source(no_lines(), None, Problem("unreadable", 0, f"cannot be read: {reason}"))
    if len(content) > MAX_FILE_BYTES:
        message = f"larger than {MAX_FILE_BYTES} bytes, not read"
        return Source(no_lines(), None, Problem("too-large", 0, message))
    try:
        text = _decode(content)
    except (SyntaxError, UnicodeError, LookupError) as error:
        # Latin-1 gives every byte a character, which is all that counting lines needs.
        return Source(_count_by_beginnings(content.decode("latin-1")), None, _undecodable(error))
    parsed = _parse(text)
    if isinstance(parsed, Problem):
        return Source(_count_by_beginnings(text), None, parsed)
    return Source(count_lines(text), parsed, None)


def _read(path: Path) -> bytes:
    # Without waiting, because what was found as a file may have become a pipe since, and without following links.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        return file.read(MAX_FILE_BYTES + 1)


def _decode(content: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    with _quiet():  # the codec unicode_escape warns about unknown escapes
        text = content.decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _undecodable(error: Exception) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        return Problem("undecodable", line, f"byte 0x{byte:02x} is not {error.encoding}")
    return Problem("undecodable", 1, str(error))


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _parse(text: str) -> ast.Module | Problem:
    if "\0" in text:  # the parser's own complaint names no line
        return Problem("syntax-error", _line_at(text, text.index("\0")), "source code cannot contain null bytes")
    try:
        with _quiet():
            return ast.parse(text)
    except SyntaxError as error:
        return Problem("syntax-error", error.lineno or 0, error.msg)
    except UnicodeEncodeError as error:  # lone surrogates, which only odd codecs let through
        return Problem("syntax-error", _line_at(text, error.start), "a lone surrogate is no character")
    except (RecursionError, MemoryError) as error:  # both are how the parser refuses deep nesting
        return Problem("too-deep", 0, f"nested too deeply for the parser ({type(error).__name__})")


def no_lines() -> LineCounts:
    """What an empty file has."""
    return LineCounts(total=0, code=0, comment=0, docstring=0, blank=0)


def count_lines(text: str) -> LineCounts:
    """Count the physical lines of source that parses, with ``\\n`` as the only line end.

    - blank: nothing but white space, also inside a string;
    - comment: nothing but a comment, outside of brackets;
    - docstring: not blank, in a statement that is one string and nothing else;
    - code: every other line, hence also a comment inside the brackets of a statement.

    These are radon's rules (https://radon.readthedocs.io, "raw metrics"): code is its ``sloc``, blank its
    ``blank``, comment and docstring together its ``single_comments`` and ``multi``.
    """
    rows = _rows(text)
    blank = [not row.strip() for row in rows]
    comment, docstring = 0, 0
    statement: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = token.type
            if kind == tokenize.COMMENT:
                if not statement and token.line[: token.start[1]].strip() == "":
                    comment += 1
                statement.append(token)
            elif kind == tokenize.NEWLINE:
                if len(statement) == 1 and statement[0].type == tokenize.STRING:
                    first, last = statement[0].start[0] - 1, statement[0].end[0]
                    docstring += blank[first:last].count(False)
                statement = []
            elif kind == tokenize.NL:
                if len(statement) == 1 and statement[0].type == tokenize.COMMENT:
                    statement = []
            elif kind not in _LAYOUT:
                statement.append(token)
    except (
        tokenize.TokenError,
        SyntaxError,
    ):  # the tokenizer is stricter than the parser about odd white space
        return _count_by_beginnings(text)
    empty = blank.count(True)
    return LineCounts(
        total=len(rows),
        code=len(rows) - empty - comment - docstring,
        comment=comment,
        docstring=docstring,
        blank=empty,
    )


_LAYOUT = frozenset({tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING})


def _rows(text: str) -> list[str]:
    """Lines as an editor counts them; ``str.splitlines`` would also split at form feeds."""
    rows = text.split("\n")
    if not rows[-1]:
        rows.pop()
    return rows


def _count_by_beginnings(text: str) -> LineCounts:
    rows = [row.strip() for row in _rows(text.replace("\r\n", "\n").replace("\r", "\n"))]
    blank = rows.count("")
    comment = sum(row.startswith("#") for row in rows)
    return LineCounts(total=len(rows), code=len(rows) - blank - comment, comment=comment, docstring=0, blank=blank)
