"""How a table of sales is laid out: which column is what, and how its days and amounts are written.

``look`` goes through the whole file once before anything is read from it, because one line may prove what a thousand others leave open:
``03/04/2026`` is a day in March or in April until a line says ``25/04/2026``. What nothing proves is not guessed: the run fails and
names the input that settles it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Final

from agenticflow import PermanentError
from examples.sales_report.fields import (
    MAX_DECIMALS,
    UNCLEAR,
    day_of,
    decimal_evidence,
    order_evidence,
    split_amount,
)
from examples.sales_report.table import Record, delimiter_of, examine, records

__all__ = ["Layout", "Wishes", "look"]

SAMPLE_ROWS: Final = 200
CLEARLY: Final = 20
"""Evidence settles a question when there is at least so many times more of it than against it; what is against it is a bad row."""
MAX_COLUMNS: Final = 1_000


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_DATES: Final = _words(
    "date orderdate invoicedate saledate salesdate transactiondate purchasedate day timestamp datum rechnungsdatum"
    " bestelldatum fecha"
)
_AMOUNTS: Final = _words(
    "amount sales revenue totalamount totalsales salesamount netamount linetotal totalprice total grossamount turnover"
    " value betrag umsatz summe gesamt importe montant"
)
_QUANTITIES: Final = _words("quantity qty units menge anzahl pieces")
_PRICES: Final = _words("unitprice priceeach price einzelpreis preis")
_SEGMENTS: Final = _words(
    "segment region category store branch country productline channel department market productcategory city filiale"
    " kategorie land product"
)


@dataclass(frozen=True)
class Wishes:
    """What the user said about the file. Empty means: find out."""

    date: str = ""
    amount: str = ""
    segment: str = ""
    date_order: str = ""
    decimal: str = ""
    currency: str = ""
    delimiter: str = ""
    encoding: str = ""


@dataclass(frozen=True)
class Layout:
    """How to read the file, found out or told. Columns are positions in a record."""

    path: str
    size_bytes: int
    sha256: str
    encoding: str
    delimiter: str
    header: list[str]
    header_line: int
    date: int
    amounts: list[int]
    """The column with the amount, or the two whose product it is: quantity and price."""
    segment: int | None
    date_order: str
    decimal: str
    currency: str
    places: list[int]
    """Decimals of each of the ``amounts`` columns."""
    decimals: int
    """Amounts are whole numbers of ``10**-decimals``; 2 means cents."""
    notes: list[str] = field(default_factory=list)
    """What was found out and what somebody should know, in sentences for the report."""


def look(path: Path, wishes: Wishes) -> Layout:
    """Find out how the file is laid out. Raises ``PermanentError`` that says which input would settle what cannot be found out."""
    raw = examine(path)
    encoding = _encoding(wishes.encoding) or raw.encoding
    notes = [raw.note] if raw.note and not wishes.encoding else []
    delimiter = _delimiter(wishes.delimiter) or delimiter_of(path, encoding)
    stream = (record for record in records(path, encoding, delimiter) if not record.is_blank)
    first = next(stream, None)
    if first is not None and delimiter.join(first.cells).strip().casefold() == f"sep={delimiter}":
        first = next(stream, None)  # a line for spreadsheets only
    header_line, header = _header(first, path, notes)
    sample = list(islice(stream, SAMPLE_ROWS))
    columns = _Columns(header, sample)
    date = columns.named(wishes.date, "date") if wishes.date else columns.dates()
    amounts = [columns.named(wishes.amount, "amount")] if wishes.amount else columns.amounts(date)
    segment = columns.named(wishes.segment, "segment") if wishes.segment else columns.segment({date, *amounts})
    names = " × ".join(repr(header[column]) for column in amounts)
    notes.append(f"days are in the column {header[date]!r}, amounts in {names}")
    notes.append(
        f"segments are in the column {header[segment]!r}"
        if segment is not None
        else "no column looks like a segment, so everything is one; name one with --input segment=COLUMN"
    )
    evidence = _Evidence(date, amounts)
    for record in chain(sample, stream):
        evidence.add(record)
    if not evidence.rows:
        raise PermanentError(f"{path.name!r} has a header and no rows")
    date_order = evidence.date_order(wishes.date_order, notes)
    decimal = evidence.decimal(wishes.decimal, notes)
    places = evidence.places(decimal)
    return Layout(
        path=str(path),
        size_bytes=raw.size_bytes,
        sha256=raw.sha256,
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        header_line=header_line,
        date=date,
        amounts=amounts,
        segment=segment,
        date_order=date_order,
        decimal=decimal,
        currency=evidence.currency(wishes.currency, notes),
        places=places,
        decimals=sum(places),
        notes=notes,
    )


def _encoding(wish: str) -> str:
    try:
        "".encode(wish or "utf-8")
    except LookupError as error:
        raise PermanentError(f"there is no encoding {wish!r}", hint="leave --input encoding out") from error
    return wish


def _delimiter(wish: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(wish, wish)
    if len(delimiter) > 1 or delimiter in ('"', "\r", "\n"):
        raise PermanentError(f"{wish!r} is no delimiter", hint="give one character, or the word tab")
    return delimiter


def _header(record: Record | None, path: Path, notes: list[str]) -> tuple[int, list[str]]:
    if record is None or record.problem:
        why = record.problem if record is not None else "there is nothing in it"
        raise PermanentError(f"{path.name!r} has no line with the names of its columns: {why}")
    if len(record.cells) > MAX_COLUMNS:
        raise PermanentError(f"{path.name!r} has {len(record.cells):,} columns, more than {MAX_COLUMNS:,}")
    cells = [cell.strip() for cell in record.cells]
    if any(_fits_date(cell) for cell in cells) and any(_fits_amount(cell) for cell in cells):
        raise PermanentError(
            f"the first line of {path.name!r} is data, not the names of its columns: {', '.join(cells)!r:.80}",
            hint="put a line above it such as date,region,amount",
        )
    names: list[str] = []
    for number, cell in enumerate(cells, start=1):
        name = cell or f"column {number}"
        if (times := sum(name == before for before in cells[: number - 1])) and cell:
            notes.append(
                f"the column {cell!r} is there {times + 1} times; this one is called {f'{cell} ({times + 1})'!r}"
            )
            name = f"{cell} ({times + 1})"
        names.append(name)
    return record.line, names


# --- which column is what -----------------------------------------------------------------------------------------------


class _Columns:
    """The names of the columns, and what their first cells look like."""

    def __init__(self, header: list[str], sample: Iterable[Record]) -> None:
        self.header = header
        rows = [record.cells for record in sample if len(record.cells) >= len(header)]
        self.cells = [[row[column] for row in rows if row[column].strip()] for column in range(len(header))]

    def named(self, name: str, role: str) -> int:
        """Return the column the user named."""
        for matches in (str.__eq__, lambda a, b: a.strip().casefold() == b.strip().casefold()):
            for column, there in enumerate(self.header):
                if matches(there, name):
                    return column
        close = get_close_matches(name, self.header, n=1)
        raise PermanentError(
            f"there is no column {name!r} for the {role}; there are {', '.join(self.header)}",
            hint=f"did you mean --input {role}={close[0]!r}?" if close else f"write --input {role}=COLUMN",
        )

    def dates(self) -> int:
        column = self._like(_DATES, _fits_date, set())
        if column is None:
            raise self._missing("date")
        return column

    def amounts(self, date: int) -> list[int]:
        column = self._like(_AMOUNTS, _fits_amount, {date})
        if column is not None:
            return [column]
        quantity, price = self._like(_QUANTITIES, _fits_amount, {date}), self._like(_PRICES, _fits_amount, {date})
        if price is None:
            raise self._missing("amount")
        return [price] if quantity is None else [quantity, price]

    def segment(self, taken: set[int]) -> int | None:
        return self._like(_SEGMENTS, bool, taken)

    def _like(self, words: Sequence[str], fits: Callable[[str], object], taken: set[int]) -> int | None:
        """Return the column whose name is one of ``words``, or else contains one, and most of whose cells fit."""
        names = [re.sub(r"[\W_]", "", name).casefold() for name in self.header]
        for is_whole in (True, False):
            for word in words:
                for column, name in enumerate(names):
                    matches = name == word if is_whole else len(word) > 3 and word in name
                    cells = self.cells[column]
                    if matches and column not in taken and 2 * sum(bool(fits(cell)) for cell in cells) >= len(cells):
                        return column
        return None

    def _missing(self, role: str) -> PermanentError:
        return PermanentError(
            f"no column looks like the {role}; there are {', '.join(self.header)}",
            hint=f"name it with --input {role}=COLUMN",
        )


def _fits_date(cell: str) -> bool:
    for order in ("dmy", "mdy"):
        with suppress(ValueError):
            day_of(cell, order)
            return True
    return False


def _fits_amount(cell: str) -> bool:
    with suppress(ValueError):
        split_amount(cell)
        return True
    return False


# --- how days and amounts are written ------------------------------------------------------------------------------------


class _Evidence:
    """What all cells together prove."""

    def __init__(self, date: int, amounts: list[int]) -> None:
        self._date, self._amounts = date, amounts
        self._orders: Counter[str] = Counter()
        self._marks: Counter[str] = Counter()
        self._currencies: Counter[str] = Counter()
        self._decimals = {(mark, column): 0 for mark in ".," for column in amounts}
        self._examples: dict[str, str] = {}
        self._unmarked = 0
        self.rows = 0

    def add(self, record: Record) -> None:
        self.rows += 1
        if len(record.cells) <= max(self._date, *self._amounts):
            return
        cell = record.cells[self._date]
        if order := order_evidence(cell):
            self._orders[order] += 1
            self._examples.setdefault(order, f"line {record.line} has {cell.strip()!r}")
        for column in self._amounts:
            cell = record.cells[column]
            try:
                amount = split_amount(cell)
            except ValueError:
                continue
            if amount.currency:
                self._currencies[amount.currency] += 1
            elif column == self._amounts[-1]:
                self._unmarked += 1
            if mark := decimal_evidence(amount.body):
                self._marks[mark] += 1
                self._examples.setdefault(mark, f"line {record.line} has {cell.strip()!r}")
            for mark in ".,":
                places = len(amount.body.partition(mark)[2].rstrip("0"))
                if self._decimals[mark, column] < places <= MAX_DECIMALS:
                    self._decimals[mark, column] = places

    def date_order(self, wish: str, notes: list[str]) -> str:
        order = self._settle(self._orders, wish, "date_order", {"dmy", "mdy"}, "the days")
        if order and not wish:
            notes.append(f"days are written {'/'.join(order).upper()}: {self._examples[order]}")
        return order

    def decimal(self, wish: str, notes: list[str]) -> str:
        mark = self._settle(self._marks, wish, "decimal", {".", ","}, "the amounts") or "."
        if mark == "," and not wish:
            notes.append(f"the decimal mark is a comma: {self._examples[',']}")
        return mark

    def currency(self, wish: str, notes: list[str]) -> str:
        marked, unmarked = sum(self._currencies.values()), self._unmarked
        currency = wish.strip().upper()
        if not currency and unmarked < CLEARLY * marked:
            currency = self._settle(self._currencies, "", "currency", None, "the amounts")
            if unmarked:
                notes.append(f"{unmarked:,} amounts name no currency and were taken to be in {currency}")
        if others := sorted(set(self._currencies) - {currency}):
            those = f"those in {currency}" if currency else "the others, which name no currency"
            notes.append(f"amounts in {', '.join(others)} were not added to {those}; they are bad rows")
        return currency

    def places(self, mark: str) -> list[int]:
        """Return the decimals of each column, together at least two; a product has as many as its factors together."""
        found = [self._decimals[mark, column] for column in self._amounts]
        found[-1] += max(0, 2 - sum(found))
        return found

    def _settle(self, found: Counter[str], wish: str, role: str, choices: set[str] | None, what: str) -> str:
        options = " or ".join(f"--input {role}={choice}" for choice in sorted(choices or found) if choice != UNCLEAR)
        if wish:
            if choices is not None and wish not in choices:
                raise PermanentError(f"{role} is {wish!r}", hint=f"write {options}")
            return wish
        clear = [(count, choice) for choice, count in found.items() if choice != UNCLEAR]
        if not clear:
            if found[UNCLEAR]:
                raise PermanentError(
                    f"{what} can be read in two ways, and no line settles it: {self._examples[UNCLEAR]}",
                    hint=f"say which with {options}",
                )
            return ""
        count, best = max(clear)
        against = sum(other for other, _ in clear) - count
        if count < CLEARLY * against:
            shown = ", ".join(f"{number} × {choice}" for number, choice in sorted(clear, reverse=True))
            raise PermanentError(
                f"{what} are written in several ways ({shown})", hint=f"say which counts with {options}"
            )
        return best
