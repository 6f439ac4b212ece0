"""Tables of one folder as tools: what is in a CSV file, which rows, and what they come to, exact to the last digit.

A number is what is written with digits, a sign and a point, and is a ``Decimal`` from then on: sums are exact, also of money and of what no
float holds. A cell that should be a number and is none is told with its line, never passed over; an empty one is counted as empty.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, localcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal, NotRequired, TypedDict

from agenticflow.errors import BoundExceeded, InvalidInput
from agenticflow.tools.builtin.rooted import Root
from agenticflow.tools.context import ToolContext
from agenticflow.tools.tool import Tool, tool

__all__ = ["Condition", "table_tools"]

MAX_TABLE_BYTES: Final = 64 * 1024 * 1024
MAX_GROUPS: Final = 10_000
MAX_DISTINCT: Final = 10_000
"""Different values of a column that are counted exactly."""
MAX_ROWS_SHOWN: Final = 1_000
ROWS_BETWEEN_LOOKS: Final = 1_000
MEAN_DIGITS: Final = 6
"""Digits of a mean after the point beyond those of the values."""
_NUMBER: Final = re.compile(r"[+-]?(\d{1,60}(\.\d{0,60})?|\.\d{1,60})", re.ASCII)
_EXACT: Final = Context(prec=200, traps=[Inexact])
_BOOLEANS: Final = frozenset({"true", "false", "yes", "no"})

Path_ = Annotated[str, "name of the CSV file, from the folder of these tools"]
Delimiter = Annotated[Literal[",", ";", "\t", "|"] | None, "what stands between cells; found out when left out"]
Row = Sequence[str]


class Condition(TypedDict):
    """What has to hold for a row. Numbers are compared as numbers, everything else as text."""

    column: str
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "contains", "is_empty", "is_filled"]
    value: NotRequired[str | int | float]


Conditions = Annotated[list[Condition] | None, "all of them have to hold; all rows when left out"]


class Column(TypedDict):
    """What is in a column."""

    name: str
    kind: str
    filled: int
    empty: int
    distinct: str
    minimum: str | None
    maximum: str | None
    total: str | None


class Described(TypedDict):
    """What is in a table."""

    rows: int
    columns: list[Column]


class Filtered(TypedDict):
    """Rows of a table."""

    matched: int
    columns: list[str]
    rows: list[list[str]]
    is_complete: bool


class Totals(TypedDict):
    """What the cells of a column come to."""

    filled: int
    empty: int
    total: str
    mean: str | None
    minimum: str | None
    maximum: str | None


class Group(TypedDict):
    """Rows that have the same values in the columns they are grouped by."""

    key: dict[str, str]
    rows: int
    totals: dict[str, Totals]


def table_tools(root: str | Path | Root) -> tuple[Tool, ...]:
    """Return ``table_describe``, ``table_filter``, ``table_group`` and ``table_totals`` for the CSV files in the folder ``root``.

    They need the permission ``file:read``. Exact numbers come back as text. Raises ``ConfigurationError`` when there is no such folder.
    """
    place = root if isinstance(root, Root) else Root(root)

    @tool(category="data", effect="pure", permissions=["file:read"])
    def table_describe(path: Path_, ctx: ToolContext, delimiter: Delimiter = None) -> Described:
        """Describe a CSV file: its rows, and of each column the kind, how many cells are filled, the least, the greatest and the total."""
        with _table(place, path, delimiter, ctx.raise_if_cancelled) as (columns, rows), localcontext(_EXACT):
            return _described(columns, rows)

    @tool(category="data", effect="pure", permissions=["file:read"])
    def table_filter(
        path: Path_,
        ctx: ToolContext,
        conditions: Conditions = None,
        columns: Annotated[list[str] | None, "which columns; all when left out"] = None,
        max_rows: Annotated[int, "how many rows to show at most, up to 1,000"] = 100,
        delimiter: Delimiter = None,
    ) -> Filtered:
        """Show rows of a CSV file, and count all that match."""
        if not 1 <= max_rows <= MAX_ROWS_SHOWN:
            raise InvalidInput(f"max_rows is {max_rows}", hint=f"give 1 to {MAX_ROWS_SHOWN:,}")
        with _table(place, path, delimiter, ctx.raise_if_cancelled) as (names, rows):
            shown = [_place(name, names) for name in columns] if columns is not None else list(range(len(names)))
            matched, kept = _filtered(rows, _test(conditions or [], names), shown, max_rows)
        return Filtered(
            matched=matched, columns=[names[number] for number in shown], rows=kept, is_complete=matched == len(kept)
        )

    @tool(category="data", effect="pure", permissions=["file:read"])
    def table_group(
        path: Path_,
        ctx: ToolContext,
        by: Annotated[list[str], "columns whose values make a group"],
        totals: Annotated[list[str] | None, "columns of numbers to add up"] = None,
        conditions: Conditions = None,
        delimiter: Delimiter = None,
    ) -> list[Group]:
        """Group the rows of a CSV file and add up columns of each group exactly, in order of the groups' values."""
        with _table(place, path, delimiter, ctx.raise_if_cancelled) as (names, rows), localcontext(_EXACT):
            keys = [_place(name, names) for name in by]
            return _grouped(path, names, rows, keys, totals or [], _test(conditions or [], names))

    @tool(category="data", effect="pure", permissions=["file:read"])
    def table_totals(
        path: Path_,
        columns: Annotated[list[str], "columns of numbers to add up"],
        ctx: ToolContext,
        conditions: Conditions = None,
        delimiter: Delimiter = None,
    ) -> Group:
        """Add up columns of a CSV file exactly, over all rows that match."""
        with _table(place, path, delimiter, ctx.raise_if_cancelled) as (names, rows), localcontext(_EXACT):
            found = _grouped(path, names, rows, [], columns, _test(conditions or [], names))
            return found[0] if found else _Group(columns).told({})

    return (table_describe, table_filter, table_group, table_totals)


# --- reading ------------------------------------------------------------------------------------------------------------


@contextmanager
def _table(
    place: Root, path: str, delimiter: str | None, keep_going: Callable[[], None]
) -> Iterator[tuple[list[str], Iterator[tuple[int, Row]]]]:
    """Open a table; yield its columns, and its rows with their lines. Raises ``InvalidInput`` for a row of another length."""
    with place.opened(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size > MAX_TABLE_BYTES:
            raise BoundExceeded(f"{path!r} has {size:,} bytes, above the limit of {MAX_TABLE_BYTES:,}", hint="split it")
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            try:
                first = text.readline()
                text.seek(0)
                reader = csv.reader(text, delimiter=delimiter or _delimiter_in(first), strict=True)
                columns = [name.strip() for name in next(reader, [])]
                _demand_columns(path, columns)
                yield columns, _rows(path, columns, reader, keep_going)
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{path!r} is no text in utf-8: {error.reason}", hint="convert it first") from error
            except csv.Error as error:
                raise InvalidInput(
                    f"{path!r} is no CSV file: {error}", hint="look at its lines with file_read"
                ) from error


def _rows(
    path: str, columns: list[str], reader: Iterator[list[str]], keep_going: Callable[[], None]
) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(reader, start=2):
        if not number % ROWS_BETWEEN_LOOKS:
            keep_going()
        if not row:
            continue  # an empty line
        if len(row) != len(columns):
            raise InvalidInput(
                f"row {number:,} of {path!r} has {len(row)} cells, and there are {len(columns)} columns",
                hint="give the delimiter, or mend the file",
            )
        yield number, row


def _delimiter_in(header: str) -> str:
    return max((",", ";", "\t", "|"), key=header.count)


def _demand_columns(path: str, columns: list[str]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if not columns or not all(columns) or twice:
        raise InvalidInput(
            f"the first line of {path!r} does not name the columns: {', '.join(map(repr, twice or columns)) or 'it is empty'}",
            hint="each column needs a name of its own",
        )


def _place(name: str, columns: Sequence[str]) -> int:
    if name in columns:
        return columns.index(name)
    close = get_close_matches(name, columns, n=1)
    raise InvalidInput(
        f"there is no column {name!r}",
        hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(columns)}",
    )


def _number_in(cell: str) -> Decimal | None:
    text = cell.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


# --- conditions ---------------------------------------------------------------------------------------------------------


def _test(conditions: Sequence[Condition], columns: Sequence[str]) -> Callable[[Row], bool]:
    tests = [_single(condition, _place(condition["column"], columns)) for condition in conditions]
    return lambda row: all(test(row) for test in tests)


def _single(condition: Condition, place: int) -> Callable[[Row], bool]:
    operator = condition["operator"]
    if operator == "is_empty":
        return lambda row: not row[place].strip()
    if operator == "is_filled":
        return lambda row: bool(row[place].strip())
    if "value" not in condition:
        raise InvalidInput(f"the condition on {condition['column']!r} has no value", hint="give one to compare with")
    wanted = str(condition["value"])
    number = _number_in(wanted)
    if operator == "contains":
        return lambda row: wanted in row[place]
    compare = _COMPARE[operator]
    if number is None:
        return lambda row: compare(_sign(row[place], wanted))

    def compared(row: Row) -> bool:
        found = _number_in(row[place])
        # what is no number is not equal to one, and neither less nor more
        return operator == "!=" if found is None else compare(_sign(found, number))

    return compared


def _sign(left: str | Decimal, right: str | Decimal) -> int:
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return (left > right) - (left < right)
    return (str(left) > str(right)) - (str(left) < str(right))


_COMPARE: Final[Mapping[str, Callable[[int], bool]]] = {
    "=": lambda sign: sign == 0,
    "!=": lambda sign: sign != 0,
    "<": lambda sign: sign < 0,
    "<=": lambda sign: sign <= 0,
    ">": lambda sign: sign > 0,
    ">=": lambda sign: sign >= 0,
}


def _filtered(
    rows: Iterator[tuple[int, Row]], is_wanted: Callable[[Row], bool], shown: Sequence[int], max_rows: int
) -> tuple[int, list[list[str]]]:
    """Return how many rows are wanted, and of the first ``max_rows`` the cells that are shown."""
    matched = 0
    kept: list[list[str]] = []
    for _, row in rows:
        if is_wanted(row):
            matched += 1
            if len(kept) < max_rows:
                kept.append([row[number] for number in shown])
    return matched, kept


# --- figures ------------------------------------------------------------------------------------------------------------


class _Sum:
    """What the numbers of a column come to."""

    def __init__(self) -> None:
        self.filled = self.empty = 0
        self.total = Decimal(0)
        self.least: Decimal | None = None
        self.most: Decimal | None = None

    def add(self, number: Decimal) -> None:
        self.filled += 1
        self.total += number
        self.least = number if self.least is None or number < self.least else self.least
        self.most = number if self.most is None or number > self.most else self.most

    def told(self) -> Totals:
        return Totals(
            filled=self.filled,
            empty=self.empty,
            total=str(self.total),
            mean=None if not self.filled else str(_mean(self.total, self.filled)),
            minimum=_written(self.least),
            maximum=_written(self.most),
        )


def _mean(total: Decimal, count: int) -> Decimal:
    """Return the mean, rounded half to even, six digits beyond those of the values: the one figure that need not be exact."""
    exponent = total.as_tuple().exponent
    digits = MEAN_DIGITS - (exponent if isinstance(exponent, int) else 0)
    with localcontext(Context(prec=200)) as rounding:
        rounding.traps[Inexact] = False
        return (total / count).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)


class _Group:
    def __init__(self, totals: Sequence[str]) -> None:
        self.rows = 0
        self.sums = {name: _Sum() for name in totals}

    def told(self, key: dict[str, str]) -> Group:
        return Group(key=key, rows=self.rows, totals={name: one.told() for name, one in self.sums.items()})


def _grouped(
    path: str,
    columns: Sequence[str],
    rows: Iterator[tuple[int, Row]],
    keys: Sequence[int],
    totals: Sequence[str],
    is_wanted: Callable[[Row], bool],
) -> list[Group]:
    added = [(name, _place(name, columns)) for name in totals]
    groups: dict[tuple[str, ...], _Group] = {}
    for number, row in rows:
        if not is_wanted(row):
            continue
        key = tuple(row[place] for place in keys)
        group = groups.get(key)
        if group is None:
            if len(groups) >= MAX_GROUPS:
                raise BoundExceeded(f"{path!r} has more than {MAX_GROUPS:,} groups", hint="group by fewer columns")
            group = groups[key] = _Group(totals)
        group.rows += 1
        for name, place in added:
            cell = row[place]
            if not cell.strip():
                group.sums[name].empty += 1
                continue
            value = _number_in(cell)
            if value is None:
                raise InvalidInput(
                    f"row {number:,} of {path!r}: {name} is {cell!r:.60}, not a number",
                    hint="leave such rows out with a condition, or mend the file",
                )
            group.sums[name].add(value)
    return [
        group.told({columns[place]: value for place, value in zip(keys, key, strict=True)})
        for key, group in sorted(groups.items())
    ]


class _Sketch:
    """What a column looks like, cell by cell."""

    def __init__(self) -> None:
        self.sum = _Sum()
        self.filled = self.empty = 0
        self.kinds = {"integer", "number", "date", "boolean"}
        self.values: set[str] = set()
        self.least: str | None = None
        self.most: str | None = None

    def add(self, cell: str) -> None:
        text = cell.strip()
        if not text:
            self.empty += 1
            return
        self.filled += 1
        if len(self.values) <= MAX_DISTINCT:
            self.values.add(text)
        self.least = text if self.least is None or text < self.least else self.least
        self.most = text if self.most is None or text > self.most else self.most
        number = _number_in(text)
        self.kinds = {kind for kind in self.kinds if _fits(kind, text, number)}
        if number is not None and "number" in self.kinds:
            self.sum.add(number)

    @property
    def kind(self) -> str:
        found = next((kind for kind in ("integer", "number", "date", "boolean") if kind in self.kinds), "text")
        return found if self.filled else "empty"

    def described(self, name: str) -> Column:
        kind = self.kind
        is_number = kind in ("integer", "number")
        return Column(
            name=name,
            kind=kind,
            filled=self.filled,
            empty=self.empty,
            distinct=str(len(self.values)) if len(self.values) <= MAX_DISTINCT else f"more than {MAX_DISTINCT}",
            minimum=_written(self.sum.least) if is_number else self.least,
            maximum=_written(self.sum.most) if is_number else self.most,
            total=str(self.sum.total) if is_number else None,
        )


def _fits(kind: str, text: str, number: Decimal | None) -> bool:
    match kind:
        case "boolean":
            return text.lower() in _BOOLEANS
        case "date":
            return _is_date(text)
        case "number":
            return number is not None
        case _:
            return number is not None and "." not in text


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return "-" in text


def _described(columns: Sequence[str], rows: Iterator[tuple[int, Row]]) -> Described:
    sketches = [_Sketch() for _ in columns]
    count = 0
    for _, row in rows:
        count += 1
        for sketch, cell in zip(sketches, row, strict=True):
            sketch.add(cell)
    return Described(
        rows=count, columns=[sketch.described(name) for name, sketch in zip(columns, sketches, strict=True)]
    )


def _written(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
