"""Every row of the file: read exactly and put to its segment, or listed as bad with its line and the reason. None is dropped.

The rows themselves do not go through the record of the run: they are put into a work file per segment, in one pass over the source and
with a bounded amount of memory, and what is recorded is the name and the hash of each. So a run that is killed goes on with these
files, and notices when somebody has changed them.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from agenticflow import PermanentError
from examples.sales_report.fields import day_of, split_amount, units_of
from examples.sales_report.layout import Layout
from examples.sales_report.table import Record, examine, records

__all__ = ["Loaded", "Rejected", "Sale", "Segment", "load", "sales_of"]

MAX_SEGMENTS: Final = 500
MAX_ROWS: Final = 10_000_000
MAX_LISTED: Final = 1_000
"""Bad rows in the record of the run. All of them are in ``rejected.csv``."""
MAX_UNITS: Final = 2**63 - 1
"""What a recorded integer holds."""
BUFFER_ROWS: Final = 2_000
LOOK_UP_ROWS: Final = 5_000
NO_SEGMENT: Final = "(none)"
EVERYTHING: Final = "(all)"


@dataclass(frozen=True)
class Sale:
    """One good row. ``units`` is its amount in whole units of the layout: cents, mostly."""

    line: int
    day: date
    units: int


@dataclass(frozen=True)
class Rejected:
    """One bad row: where it begins, what kind of trouble it is, and why in words."""

    line: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Segment:
    """The good rows of one segment, in a work file."""

    name: str
    file: str
    sha256: str
    rows: int
    units: int


@dataclass(frozen=True)
class Loaded:
    """What the whole file came to. ``rows`` = good + bad; blank lines are counted beside them."""

    rows: int
    good: int
    bad: int
    blank: int
    units: int
    first_day: str
    last_day: str
    segments: list[Segment]
    reasons: dict[str, int]
    """How many bad rows there are of each kind."""
    rejected: list[Rejected] = field(default_factory=list)
    """The first bad rows; all of them are in ``rejected_file``."""
    rejected_file: str = ""


class BadRow(ValueError):
    """A row that cannot be counted. ``kind`` is what the report counts by."""

    def __init__(self, kind: str, reason: object) -> None:
        super().__init__(str(reason))
        self.kind = kind


def load(layout: Layout, folder: Path, check: Callable[[], None] = lambda: None) -> Loaded:
    """Read the file from its first row to its last; ``check`` is called now and then and may raise to stop it.

    Running it again writes the same files. Raises ``PermanentError`` when the file is not the one that was looked at, or has more rows or
    segments than there is room for.
    """
    source = Path(layout.path)
    if examine(source).sha256 != layout.sha256:
        raise PermanentError(f"{source.name!r} has changed since it was looked at", hint="start another run for it")
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    for left_over in work.glob("segment-*.csv"):
        left_over.unlink()
    piles: dict[str, _Pile] = {}
    days: list[date] = []
    reasons: Counter[str] = Counter()
    listed: list[Rejected] = []
    rows = blank = 0
    rejected_file = folder / "rejected.csv"
    with rejected_file.open("w", encoding="utf-8", newline="") as handle:
        rejects = csv.writer(handle, lineterminator="\n")
        rejects.writerow(["line", "kind", "reason", "row"])
        for record in records(source, layout.encoding, layout.delimiter):
            if record.line <= layout.header_line:
                continue
            if record.is_blank:
                blank += 1
                continue
            rows += 1
            if rows > MAX_ROWS:
                raise PermanentError(f"{source.name!r} has more than {MAX_ROWS:,} rows", hint="report on parts of it")
            if rows % LOOK_UP_ROWS == 0:
                check()
            try:
                name, day, units = _read(layout, record)
            except BadRow as problem:
                reasons[problem.kind] += 1
                rejects.writerow([record.line, problem.kind, str(problem), layout.delimiter.join(record.cells)])
                if len(listed) < MAX_LISTED:
                    listed.append(Rejected(record.line, problem.kind, str(problem)))
                continue
            if name not in piles:
                if len(piles) == MAX_SEGMENTS:
                    raise PermanentError(
                        f"there are more than {MAX_SEGMENTS} segments",
                        hint="name a column that has fewer with --input segment=COLUMN",
                    )
                piles[name] = _Pile(work / f"segment-{len(piles) + 1:03}.csv")
            piles[name].add(record.line, day, units)
            days[:] = [min(days[0], day), max(days[1], day)] if days else [day, day]
    if not piles:
        raise PermanentError(f"none of the {rows} rows of {source.name!r} is good: {_first(listed)}")
    segments = [pile.closed(name) for name, pile in sorted(piles.items())]
    if sum(abs(segment.units) for segment in segments) > MAX_UNITS:
        raise PermanentError("the total is larger than 63 bits hold", hint="leave out columns that are no amounts")
    good = sum(segment.rows for segment in segments)
    return Loaded(
        rows=rows,
        good=good,
        bad=sum(reasons.values()),
        blank=blank,
        units=sum(segment.units for segment in segments),
        first_day=days[0].isoformat(),
        last_day=days[1].isoformat(),
        segments=segments,
        reasons=dict(sorted(reasons.items())),
        rejected=listed,
        rejected_file=str(rejected_file),
    )


def _first(listed: list[Rejected]) -> str:
    return f"line {listed[0].line}: {listed[0].reason}" if listed else "there are none"


def _read(layout: Layout, record: Record) -> tuple[str, date, int]:
    """Return segment, day and amount of a row. Raises ``BadRow``."""
    if record.problem:
        raise BadRow("quotes", record.problem)
    cells, wanted = list(record.cells), len(layout.header)
    while len(cells) > wanted and not cells[-1].strip():
        cells.pop()
    if len(cells) != wanted:
        raise BadRow("fields", f"it has {len(cells)} fields instead of {wanted}")
    if cells[layout.date].strip() == layout.header[layout.date]:
        raise BadRow("header", "it repeats the names of the columns")
    try:
        day = day_of(cells[layout.date], layout.date_order)
    except ValueError as problem:
        raise BadRow("date", problem) from problem
    factors: list[int] = []
    for column, places in zip(layout.amounts, layout.places, strict=True):
        try:
            amount = split_amount(cells[column])
            factors.append(units_of(amount, layout.decimal, places))
        except ValueError as problem:
            raise BadRow("amount", problem) from problem
        if amount.currency and amount.currency != layout.currency:
            others = f"in {layout.currency}" if layout.currency else "name no currency"
            raise BadRow("currency", f"its amount is in {amount.currency}, the others {others}")
    name = EVERYTHING if layout.segment is None else " ".join(cells[layout.segment].split()) or NO_SEGMENT
    return name, day, math.prod(factors)


class _Pile:
    """The work file of one segment while it grows: opened, added to and closed for some rows at once, as there may be many."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._buffer: list[str] = []
        self._rows = self._units = 0

    def add(self, line: int, day: date, units: int) -> None:
        self._buffer.append(f"{line},{day.isoformat()},{units}\n")
        self._rows += 1
        self._units += units
        if len(self._buffer) >= BUFFER_ROWS:
            self._flush()

    def _flush(self) -> None:
        data = "".join(self._buffer).encode()
        self._buffer.clear()
        self._digest.update(data)
        with self._path.open("ab") as handle:
            handle.write(data)

    def closed(self, name: str) -> Segment:
        self._flush()
        return Segment(name, str(self._path), self._digest.hexdigest(), self._rows, self._units)


def sales_of(segment: Segment) -> Iterator[Sale]:
    """Yield the sales of a segment from its work file. Raises ``PermanentError`` at the end when it is not the file that was written."""
    digest = hashlib.sha256()
    try:
        with Path(segment.file).open("rb") as handle:
            for data in handle:
                digest.update(data)
                line, day, units = data.decode().split(",")
                yield Sale(int(line), date.fromisoformat(day), int(units))
    except (OSError, ValueError) as error:
        raise _gone(segment, error) from error
    if digest.hexdigest() != segment.sha256:
        raise _gone(segment, "it has changed")


def _gone(segment: Segment, why: object) -> PermanentError:
    return PermanentError(
        f"the work file of {segment.name!r} cannot be used: {why}",
        hint="resume the run from 'look', which writes it again",
    )
