"""The same sums by other code: the csv module, ``Decimal``, and the style that the sample was written in; nothing of the example's own."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from examples.sales_report.sample import Style


def plain_totals(data: bytes, style: Style) -> dict[tuple[str, str], Decimal]:
    """Return the amount by segment and month of every row that this simple reader can read."""
    found: dict[tuple[str, str], Decimal] = {}
    text = data.decode(style.encoding)
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=style.delimiter):
        if None in row or None in row.values():
            continue
        amount = row["amount"].removesuffix(style.currency).strip().replace(style.thousands, "").replace(",", ".")
        try:
            day = datetime.strptime(row["date"], style.date).replace(tzinfo=UTC)
            value = Decimal(amount)
        except (ValueError, InvalidOperation):
            continue
        key = (row["region"], f"{day:%Y-%m}")
        found[key] = found.get(key, Decimal(0)) + value
    assert found, "the simple reader has read something"
    return found
