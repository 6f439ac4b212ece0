"""The report: what people read, as Markdown and as one HTML file that needs nothing else. Equal input gives equal bytes.

Before a word is written the books are closed: every row is good, bad or blank, and segments and months add up to the total, to the
last unit. Money stays an integer until it is written down.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final

from agenticflow import PermanentError
from examples.sales_report.layout import Layout
from examples.sales_report.measures import Anomaly, Found, Measured
from examples.sales_report.rows import Loaded

__all__ = ["Written", "explanation", "money", "write"]

SHOWN: Final = 200
"""Lines of a table in the report."""
SHORT: Final = 12
"""Words up to this length, days among them, stay on one line."""
CENT: Final = Decimal("0.01")


@dataclass(frozen=True)
class Written:
    """The result of the run."""

    total: str
    """Exact to the cent, as text."""
    currency: str
    rows: int
    bad_rows: int
    anomalies: int
    markdown: str
    html: str


@dataclass(frozen=True)
class Table:
    """A table, in either form."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left_out: str = ""
    """What to say when not every row is shown."""
    left: int = 1
    """So many columns on the left are words."""


def write(
    layout: Layout,
    loaded: Loaded,
    measured: Sequence[Measured],
    found: Sequence[Found],
    folder: Path,
    threshold: float,
) -> Written:
    """Close the books and write ``report.md`` and ``report.html``. Raises ``PermanentError`` when the books do not close."""
    close_the_books(loaded, measured)
    cash = Cash(layout)
    title = f"Sales in {Path(layout.path).name}"
    facts = list(_facts(layout, loaded, measured, found, cash, threshold))
    by_month: Counter[str] = Counter()
    for segment in measured:
        by_month.update({month.month: month.units for month in segment.months})
    months = sorted(by_month.items())
    tables = [
        _anomalies(found, cash),
        _segments(measured, loaded, found, cash),
        _months(measured, cash),
        _bad_rows(loaded),
    ]
    markdown, page = folder / "report.md", folder / "report.html"
    markdown.write_text(_markdown(title, facts, tables), encoding="utf-8")
    page.write_text(_html(title, facts, _chart(months, cash), tables), encoding="utf-8")
    return Written(
        total=cash.cents(loaded.units),
        currency=layout.currency,
        rows=loaded.rows,
        bad_rows=loaded.bad,
        anomalies=sum(one.count for one in found),
        markdown=str(markdown),
        html=str(page),
    )


def close_the_books(loaded: Loaded, measured: Sequence[Measured]) -> None:
    """Compare three ways to the same totals: the loading of the file, the segments, and the months that the analysts added up."""
    rows = (loaded.good, sum(one.segment.rows for one in measured), sum(m.rows for one in measured for m in one.months))
    units = (
        loaded.units,
        sum(one.segment.units for one in measured),
        sum(m.units for one in measured for m in one.months),
    )
    if loaded.good + loaded.bad != loaded.rows or len(set(rows)) > 1 or len(set(units)) > 1:
        raise PermanentError(
            f"the books do not close: {loaded.rows} rows are {loaded.good} good and {loaded.bad} bad;"
            f" file, segments and months have {rows} rows and {units} units",
            hint="this is a mistake of this program",
        )


class Cash:
    """Writes amounts of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._decimals = layout.decimals
        self._currency = layout.currency

    def exact(self, units: int) -> Decimal:
        return Decimal(units).scaleb(-self._decimals)

    def cents(self, units: int) -> str:
        """Return it to the cent, as plain text. More decimals than two are rounded here, once, from the exact sum."""
        return money(units, self._decimals)

    def __call__(self, units: int) -> str:
        return f"{Decimal(self.cents(units)):,}{' ' if self._currency else ''}{self._currency}"

    def is_rounded(self, units: int) -> bool:
        return self.exact(units) != Decimal(self.cents(units))


def money(units: int, decimals: int) -> str:
    """Return whole units of ``10**-decimals`` as text with two decimals, half to even."""
    return str(Decimal(units).scaleb(-decimals).quantize(CENT, rounding=ROUND_HALF_EVEN))


def explanation(anomaly: Anomaly, cash: Cash) -> str:
    """Say why it stands out, in a sentence."""
    what = "the month" if anomaly.line is None else "a refund" if anomaly.units < 0 else "a sale"
    bounds = sorted((anomaly.low, anomaly.high))
    share = anomaly.units / anomaly.usual if anomaly.usual else 0.0
    times = f"{share:.3g} times" if share >= 1 else f"{share:.1%} of"
    ratio = f"{times} the usual {cash(anomaly.usual)}" if anomaly.usual else "unusual, as there are none usually"
    return (
        f"{what} is {ratio}, {abs(anomaly.score):.1f} robust deviations {'above' if anomaly.score > 0 else 'below'};"
        f" from {cash(bounds[0])} to {cash(bounds[1])} would be usual"
    )


# --- what it says -------------------------------------------------------------------------------------------------------


def _facts(
    layout: Layout,
    loaded: Loaded,
    measured: Sequence[Measured],
    found: Sequence[Found],
    cash: Cash,
    threshold: float,
) -> Iterator[str]:
    yield f"Total {cash(loaded.units)} in {loaded.good:,} sales from {loaded.first_day} to {loaded.last_day}."
    if cash.is_rounded(loaded.units):
        yield f"Exactly {cash.exact(loaded.units):,}: amounts have up to {layout.decimals} decimals, and sums are rounded only to be shown."
    kinds = ", ".join(f"{count:,} for {kind}" for kind, count in loaded.reasons.items())
    bad = f"{loaded.bad:,} are bad ({kinds}) and not in any sum" if loaded.bad else "none is bad"
    yield f"{loaded.rows:,} rows: {loaded.good:,} are good, {bad}; {loaded.blank:,} lines are blank."
    yield (
        f"{sum(one.count for one in found):,} anomalies: further than {threshold:g} robust deviations from the median of"
        f" {len(measured)} segments."
    )
    for note in layout.notes:
        yield f"{note[0].upper()}{note[1:]}."
    for one in found:
        for missing in one.unjudged:
            yield f"{one.segment} was not fully judged: it has {missing}."


def _anomalies(found: Sequence[Found], cash: Cash) -> Table:
    listed = [anomaly for one in found for anomaly in one.anomalies]
    listed.sort(key=lambda anomaly: (anomaly.line is not None, -abs(anomaly.score)))
    rows = [
        (one.segment, one.when, "" if one.line is None else str(one.line), explanation(one, cash), cash(one.units))
        for one in listed[:SHOWN]
    ]
    more = sum(one.count for one in found) - len(rows)
    return Table(
        "Anomalies",
        ("Segment", "When", "Line", "Why", "Amount"),
        rows,
        f"{more:,} more are not shown; a larger threshold shows the most unusual." if more else "",
        left=4,
    )


def _segments(measured: Sequence[Measured], loaded: Loaded, found: Sequence[Found], cash: Cash) -> Table:
    counts = {one.segment: one.count for one in found}
    rows = [
        (one.segment.name, f"{one.segment.rows:,}", str(counts.get(one.segment.name, 0)), cash(one.segment.units))
        for one in measured
    ]
    rows.append(("Total", f"{loaded.good:,}", str(sum(counts.values())), cash(loaded.units)))
    return Table("Segments", ("Segment", "Sales", "Anomalies", "Amount"), rows)


def _months(measured: Sequence[Measured], cash: Cash) -> Table:
    rows = [
        (one.segment.name, month.month, f"{month.rows:,}", cash(month.median), cash(month.units))
        for one in measured
        for month in one.months
    ]
    return Table("Segments by month", ("Segment", "Month", "Sales", "Median sale", "Amount"), rows, left=2)


def _bad_rows(loaded: Loaded) -> Table:
    rows = [(bad.reason, bad.kind, str(bad.line)) for bad in loaded.rejected[:SHOWN]]
    more = loaded.bad - len(rows)
    name = Path(loaded.rejected_file).name
    return Table(
        "Bad rows",
        ("Why", "Kind", "Line"),
        rows,
        f"{more:,} more are in {name}."
        if more
        else f"All of them, with their text, are also in {name}."
        if rows
        else "",
        left=2,
    )


# --- Markdown -----------------------------------------------------------------------------------------------------------


def _markdown(title: str, facts: Sequence[str], tables: Sequence[Table]) -> str:
    parts = [f"# {_cell(title)}", "\n".join(f"- {_cell(fact)}" for fact in facts)]
    for table in tables:
        parts.append(f"## {table.title}")
        if table.rows:
            ruler = ["---" if column < table.left else "---:" for column in range(len(table.head))]
            lines = [table.head, tuple(ruler), *(tuple(_cell(cell) for cell in row) for row in table.rows)]
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        parts.append(table.left_out if table.left_out or table.rows else "None.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(text: str) -> str:
    """What stands in the file is data: it must not become markup."""
    for mark in "\\|<>[]`*_":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


# --- HTML ---------------------------------------------------------------------------------------------------------------

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --bar: #3a7bd5; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; } .n, .s { white-space: nowrap; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: currentColor; } svg rect { fill: var(--bar); }
svg line { stroke: var(--line); }
"""


def _html(title: str, facts: Sequence[str], chart: str, tables: Sequence[Table]) -> str:
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<ul>",
        *(f"<li>{html.escape(fact)}</li>" for fact in facts),
        "</ul>",
        chart,
    ]
    for table in tables:
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        if table.rows:
            parts.append("<table><thead>" + _row("th", table.head, table.left) + "</thead><tbody>")
            parts.extend(_row("td", row, table.left) for row in table.rows)
            parts.append("</tbody></table>")
        elif not table.left_out:
            parts.append("<p>None.</p>")
        if table.left_out:
            parts.append(f"<p>{html.escape(table.left_out)}</p>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _row(tag: str, cells: Sequence[str], left: int) -> str:
    parts = []
    for column, cell in enumerate(cells):
        kind = "n" if column >= left else "s" if len(cell) <= SHORT else "w"
        parts.append(f"<{tag} class={kind}>{html.escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def _chart(months: Sequence[tuple[str, int]], cash: Cash) -> str:
    """Return bars by month as SVG; each says its amount when pointed at."""
    width, height, foot, head = 900, 220, 24, 18
    largest = max(0, *(units for _, units in months))
    least = min(0, *(units for _, units in months))
    scale = (height - foot - head) / ((largest - least) or 1)
    zero = head + largest * scale
    step = width / len(months)
    every = -(-len(months) // 12)
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="amount by month">']
    parts.append(f'<text x="0" y="{head - 6}">amount by month, up to {html.escape(cash(largest))}</text>')
    for number, (month, units) in enumerate(months):
        top = zero - max(units, 0) * scale
        parts.append(
            f'<rect x="{number * step + step * 0.1:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{abs(units) * scale:.1f}">'
            f"<title>{month}: {html.escape(cash(units))}</title></rect>"
        )
        if number % every == 0:
            parts.append(f'<text x="{number * step + step * 0.1:.1f}" y="{height - 6}">{month}</text>')
    parts.append(f'<line x1="0" x2="{width}" y1="{zero:.1f}" y2="{zero:.1f}"/></svg>')
    return "".join(parts)
