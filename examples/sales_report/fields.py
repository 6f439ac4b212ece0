"""What stands in the cells of a table of sales: amounts and days, as people and their spreadsheets write them.

Pure functions from text to exact values. What can be read in two ways is never guessed: a reader first asks the whole column for
*evidence* (``decimal_evidence``, ``order_evidence``), and only then reads a single cell in the light of it. A cell that cannot be read
raises ``ValueError`` with a reason that makes sense beside the line it came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

__all__ = ["UNCLEAR", "Amount", "day_of", "decimal_evidence", "order_evidence", "split_amount", "units_of"]

UNCLEAR: Final = "?"
"""The evidence of a cell that can be read in two ways."""
MAX_DECIMALS: Final = 6
MAX_AMOUNT: Final = 10**12
"""Above this somebody's number of an order or an account has got into the wrong column."""
YEARS: Final = range(1900, 2101)
PIVOT: Final = 69
"""Years of two digits: 68 is 2068 and 69 is 1969, as POSIX has it."""

_SYMBOLS: Final = {"€": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN", "US$": "USD", "Fr.": "CHF", "$": "$", "¥": "¥"}
"""A dollar or a yen sign alone does not say whose."""
_CODES: Final = frozenset(re.findall("...", "AUDBRLCADCHFCNYCZKDKKEURGBPHUFINRJPYMXNNOKNZDPLNSEKUSDZAR"))
_SPACES: Final = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "’": "'"})
_AMOUNT: Final = re.compile(
    r"""(?P<opened>\()? \s* (?P<first>[-+]?) \s* (?P<before>US\$|[€$£¥₹]|Fr\.|zł|[A-Za-z]{3})? \s* (?P<second>[-+]?) \s*
        (?P<body>[.,]?\d[\d.,' ]*?) \s*
        (?P<after>US\$|[€$£¥₹]|Fr\.|zł|[A-Za-z]{3})? \s* (?P<last>-?) \s* (?P<closed>\))?""",
    re.VERBOSE,
)
_MONTHS: Final = re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdec")
_TIME: Final = r"(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)? ?(?:[AaPp]\.?[Mm]\.?)? ?(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST: Final = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}")
_COMPACT: Final = re.compile(rf"(\d{{4}})(\d{{2}})(\d{{2}}){_TIME}")
_YEAR_LAST: Final = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){_TIME}")
_DAY_NAME: Final = re.compile(rf"(\d{{1,2}})[ .-]+([A-Za-z]{{3,9}})\.?[ ,-]+(\d{{4}}|\d{{2}}){_TIME}")
_NAME_DAY: Final = re.compile(rf"([A-Za-z]{{3,9}})\.? (\d{{1,2}}),? (\d{{4}}){_TIME}")


# --- amounts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Amount:
    """An amount with its parts told apart, and its marks not interpreted yet."""

    body: str
    """Digits with their marks, ``1.234,50`` say."""
    is_negative: bool = False
    currency: str = ""
    """Code of the currency that stands beside it; empty when none does."""


def split_amount(text: str) -> Amount:
    """Tell sign, currency and digits apart: ``-1.234,50 €``, ``($99.90)``, ``CHF 1'234.50``, ``12-``. Raises ``ValueError``."""
    text = text.translate(_SPACES).strip()
    if not text:
        raise ValueError("there is no amount")
    found = _AMOUNT.fullmatch(text)
    if found is None or bool(found["opened"]) != bool(found["closed"]):
        raise ValueError(f"{text!r:.40} is no amount")
    signs = [sign for sign in (found["first"], found["second"], found["last"]) if sign]
    if len(signs) + bool(found["opened"]) > 1:
        raise ValueError(f"{text!r:.40} has more than one sign")
    currencies = {_currency(word) for word in (found["before"], found["after"]) if word}
    if None in currencies or len(currencies) > 1:
        raise ValueError(f"{text!r:.40} is no amount")
    return Amount(found["body"].strip(), bool(found["opened"]) or "-" in signs, next(iter(currencies), None) or "")


def _currency(word: str) -> str | None:
    return _SYMBOLS.get(word) or (word.upper() if word.upper() in _CODES else None)


def decimal_evidence(body: str) -> str:
    """Return which mark ``body`` proves to be the decimal one: ``.``, ``,``, nothing, or ``UNCLEAR`` as ``1,234`` is."""
    last = max(body.rfind("."), body.rfind(","))
    if last < 0:
        return ""
    mark = body[last]
    other = "," if mark == "." else "."
    if other in body:
        return mark
    if body.count(mark) > 1:
        return other if all(len(group) == 3 for group in body.split(mark)[1:]) else ""
    before, after = body[:last], body[last + 1 :]
    if len(after) == 3 and before.isdigit() and len(before) <= 3 and not before.startswith("0"):
        return UNCLEAR
    return mark


def units_of(amount: Amount, mark: str, decimals: int) -> int:
    """Return the amount in whole units of ``10**-decimals``: cents, when ``decimals`` is 2. Raises ``ValueError``.

    ``mark`` is the decimal mark of the column. Exact, or refused: nothing is ever rounded here.
    """
    separator = "," if mark == "." else "."
    whole, has_mark, fraction = amount.body.partition(mark)
    groups = (
        rf"\d+|\d{{1,3}}(?:(?:{re.escape(separator)}\d{{3}})+|(?: \d{{3}})+|(?:'\d{{3}})+)|\d{{1,2}}(?:,\d\d)+,\d{{3}}"
    )
    if (whole and not re.fullmatch(groups, whole)) or (has_mark and not re.fullmatch(r"\d*", fraction)):
        raise ValueError(f"{amount.body!r:.40} does not fit {mark!r} as the decimal mark")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals:
        raise ValueError(f"{amount.body!r:.40} has more than {decimals} decimals")
    digits = re.sub(r"\D", "", whole)
    value = Decimal(f"{digits or '0'}.{fraction or '0'}")
    if value > MAX_AMOUNT:
        raise ValueError(f"{amount.body!r:.40} is more than anybody sells")
    units = int(value.scaleb(decimals))
    return -units if amount.is_negative else units


# --- days ---------------------------------------------------------------------------------------------------------------


def order_evidence(text: str) -> str:
    """Return the order that a day proves: ``dmy``, ``mdy``, nothing, or ``UNCLEAR`` for one such as ``03/04/2026``."""
    found = _YEAR_LAST.fullmatch(text.strip())
    if found is None or found[2] == ".":
        return ""
    first, second = int(found[1]), int(found[3])
    if first > 12 >= second:
        return "dmy"
    if second > 12 >= first:
        return "mdy"
    return UNCLEAR if first != second and first <= 12 else ""


def day_of(text: str, order: str) -> date:
    """Return the day, with a time behind it left off; ``order`` decides where day and month could be either.

    Raises ``ValueError``. Points mean day, month, year everywhere.
    """
    text = text.strip()
    if not text:
        raise ValueError("there is no date")
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = int(found[1]), int(found[3]), int(found[4])
    elif found := _COMPACT.fullmatch(text):
        year, month, day = int(found[1]), int(found[2]), int(found[3])
    elif found := _YEAR_LAST.fullmatch(text):
        year, month, day = _full_year(found[4]), int(found[3]), int(found[1])
        if order == "mdy" and found[2] != ".":
            month, day = day, month
    elif found := _DAY_NAME.fullmatch(text):
        year, month, day = _full_year(found[3]), _month(found[2], text), int(found[1])
    elif found := _NAME_DAY.fullmatch(text):
        year, month, day = int(found[3]), _month(found[1], text), int(found[2])
    else:
        raise ValueError(f"{text!r:.40} is no date")
    if year not in YEARS:
        raise ValueError(f"{text!r:.40} is in the year {year}")
    try:
        return date(year, month, day)
    except ValueError:
        read_as = f" when read as {order[0]}/{order[1]}/{order[2]}" if order and _YEAR_LAST.fullmatch(text) else ""
        raise ValueError(f"{text!r:.40} is no day of the calendar{read_as}") from None


def _full_year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else 1900 + year if year >= PIVOT else 2000 + year


def _month(name: str, text: str) -> int:
    try:
        return 1 + _MONTHS.index(name[:3].lower())
    except ValueError:
        raise ValueError(f"{text!r:.40} is no date") from None
