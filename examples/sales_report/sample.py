"""A table of sales that nobody made, from a seed: with planted trouble, and the truth about it beside the text.

The program uses it when it is given no file; the tests compare what the report says with what was planted. The same seed and style
give the same bytes on every machine.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Final

__all__ = ["Sample", "Style", "make_sample"]

SEGMENTS: Final = ("North", "South", "East", "West", "Zürich")
PRODUCTS: Final = ("chair", "desk, oak", 'screen 27"', "lamp", "café table")
NOTES: Final = ("", "", "", "gift", "deliver\nto the back door", 'said "soon"')
HEADER: Final = ("date", "region", "product", "note", "amount")
FIRST_YEAR: Final = 2024
WILD_SALES: Final = 12
SPREAD: Final = 0.45
"""Of the logarithms of the amounts: most sales are within half and double the usual one."""


@dataclass(frozen=True)
class Style:
    """How a spreadsheet would write it."""

    delimiter: str = ","
    decimal: str = "."
    thousands: str = ","
    date: str = "%Y-%m-%d"
    currency: str = ""
    encoding: str = "utf-8"
    line_end: str = "\n"

    def amount(self, cents: int) -> str:
        text = f"{abs(cents) // 100:,}".replace(",", self.thousands) + f"{self.decimal}{abs(cents) % 100:02}"
        return f"{'-' if cents < 0 else ''}{text}{' ' if self.currency else ''}{self.currency}"


@dataclass(frozen=True)
class Sample:
    """The file, and what is true about it."""

    data: bytes
    good: int
    bad: dict[int, str] = field(default_factory=dict)
    """Kind of trouble of each bad row, by the line in which it begins."""
    blank: int = 0
    totals: dict[tuple[str, str], int] = field(default_factory=dict)
    """Cents by segment and month."""
    sales: frozenset[int] = frozenset()
    """Lines of the sales that were made to stand out."""
    months: frozenset[tuple[str, str]] = frozenset()
    """Segments and months that were made to stand out."""


def make_sample(seed: int = 7, rows: int = 6_000, months: int = 24, style: Style | None = None) -> Sample:
    """Return about ``rows`` rows over ``months`` months from January 2024 on."""
    style = style or Style()
    random = Random(seed)
    per_month = max(1, rows // (months * len(SEGMENTS)))
    odd_months = {(segment, random.randrange(2, months - 2)) for segment in random.sample(SEGMENTS, 2)}
    usual = {segment: random.uniform(math.log(4_000), math.log(60_000)) for segment in SEGMENTS}
    sales: list[tuple[date, str, int]] = []
    for number in range(months):
        for segment in SEGMENTS:
            count = per_month * (4 if (segment, number) in odd_months else 1)
            for _ in range(count):
                cents = round(math.exp(random.gauss(usual[segment], SPREAD)))
                sign = -1 if random.random() < 0.01 else 1
                sales.append((_day(number, random), segment, sign * cents))
    sales.sort()
    # both ends of the calendar are there, so that the first and the last month are whole
    sales[0] = (_month(0), *sales[0][1:])
    sales[-1] = (_month(months - 1).replace(day=28), *sales[-1][1:])
    writer = _Writer(style, random)
    troubles = [*_troubles(style)] * 2
    planted = random.sample(range(10, len(sales) - 10), WILD_SALES + len(troubles))
    wild, bad = frozenset(planted[:WILD_SALES]), dict(zip(planted[WILD_SALES:], troubles, strict=True))
    for number, (day, segment, cents) in enumerate(sales):
        if number in bad:
            writer.bad(bad[number])
        if number in wild:
            ratio = random.uniform(25, 60)
            cents = round(math.exp(usual[segment]) * (ratio if number % 2 else 1 / ratio))
        writer.sale(day, segment, cents, is_wild=number in wild)
        if number % 1_000 == 500:
            writer.blank_line()
    names = frozenset((segment, f"{_month(number):%Y-%m}") for segment, number in odd_months)
    return writer.finished(names)


def _troubles(style: Style) -> dict[str, list[str]]:
    """Return rows that cannot be counted, by the kind that the report must say; a space tells two of a kind apart."""
    day = date(FIRST_YEAR, 3, 14).strftime(style.date)
    return {
        "amount": [day, "North", "desk", "", "n/a"],
        "amount ": [day, "South", "desk", "no amount here", ""],
        "currency": [day, "West", "lamp", "", f"12{style.decimal}00 SEK"],
        "date": ["someday", "East", "lamp", "", style.amount(1_999)],
        "date ": ["", "East", "lamp", "total of the page", style.amount(123_456)],
        "fields": [day, "West", style.amount(500)],
        "fields ": [day, "West", "lamp", "", style.amount(500), "one too many"],
        "header": list(HEADER),
    }


def _month(number: int) -> date:
    return date(FIRST_YEAR + number // 12, number % 12 + 1, 1)


def _day(number: int, random: Random) -> date:
    return _month(number).replace(day=random.randint(1, 28))


class _Writer:
    """Writes rows and remembers what it wrote, and in which line."""

    def __init__(self, style: Style, random: Random) -> None:
        self._style, self._random = style, random
        self._text = io.StringIO()
        self._csv = csv.writer(self._text, delimiter=style.delimiter, lineterminator="\n")
        self._csv.writerow(HEADER)
        self._line = 2
        self._good = self._blank = 0
        self._bad: dict[int, str] = {}
        self._totals: Counter[tuple[str, str]] = Counter()
        self._wild: set[int] = set()

    def _row(self, cells: list[str]) -> int:
        begins = self._line
        self._csv.writerow(cells)
        self._line += 1 + sum(cell.count("\n") for cell in cells)
        return begins

    def sale(self, day: date, segment: str, cents: int, *, is_wild: bool = False) -> None:
        product, note = self._random.choice(PRODUCTS), self._random.choice(NOTES)
        line = self._row([day.strftime(self._style.date), segment, product, note, self._style.amount(cents)])
        self._good += 1
        self._totals[segment, f"{day:%Y-%m}"] += cents
        if is_wild:
            self._wild.add(line)

    def bad(self, trouble: str) -> None:
        self._bad[self._row(_troubles(self._style)[trouble])] = trouble.strip()

    def blank_line(self) -> None:
        self._row([])
        self._blank += 1

    def finished(self, months: frozenset[tuple[str, str]]) -> Sample:
        text = self._text.getvalue().replace("\n", self._style.line_end)
        return Sample(
            text.encode(self._style.encoding),
            self._good,
            self._bad,
            self._blank,
            dict(self._totals),
            frozenset(self._wild),
            months,
        )
