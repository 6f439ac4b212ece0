"""What is printed where: data on stdout, everything else on stderr.

A terminal gets colours and tables, a pipe plain lines, ``-o json`` one JSON document (or one per line). Nothing else of the command line
writes to stdout.
"""

from __future__ import annotations

import enum
import sys
import typing
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

if typing.TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Format",
    "data_width",
    "duration",
    "moment",
    "note",
    "print_json",
    "print_result",
    "print_table",
    "printable",
    "progress_console",
    "when",
]


class Format(enum.StrEnum):
    """How data is printed."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """For programs."""


PLAIN_WIDTH = 200
"""Of a table in a pipe or a file, where nobody knows the width."""


def _console(stream: object) -> Console:
    from rich.console import Console  # late: lines and JSON need no terminal, and most commands print nothing else

    console = Console(file=stream, highlight=False, soft_wrap=False)  # type: ignore[arg-type]  # any text stream
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def data_width() -> int:
    """Return how many letters fit into a line on stdout."""
    return _console(sys.stdout).width


def progress_console() -> Console:
    """Return the console on stderr."""
    return _console(sys.stderr)


def note(text: str) -> None:
    """Say something to the person on stderr. When that is closed or full there is nobody to be told, and what is being done goes on."""
    with suppress(OSError):
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return ``text`` with everything that does not print written as an escape: what comes from outside must not steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_json(value: object, *, is_line: bool = False) -> None:
    """Print one JSON document on stdout; on one line when ``is_line``."""
    encoded = msgspec.json.encode(value, enc_hook=repr)
    if not is_line:
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.write(encoded.decode() + "\n")
    if is_line:
        sys.stdout.flush()


def print_result(value: object) -> None:
    """Print a result for a person: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        sys.stdout.write(value + "\n")
    else:
        print_json(value)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Print a table on stdout; columns in ``right`` are aligned there."""
    from rich.table import Table  # late: as above
    from rich.text import Text  # late: as above

    console = _console(sys.stdout)
    numbers = set(right)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(_shown(cell)) for cell in row))
    console.print(table)


def _shown(cell: object) -> str:
    return "" if cell is None else printable(str(cell))


def when(nanoseconds: int | None) -> datetime | None:
    """Return a moment for JSON: in UTC, to the microsecond."""
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC) if nanoseconds else None


def moment(nanoseconds: int | None) -> str:
    """Return a moment in UTC as people read it, to the second; empty for none."""
    at = when(nanoseconds)
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"


def duration(seconds: float) -> str:
    """Return a stretch of time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
