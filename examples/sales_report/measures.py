"""Statistics of a segment by month, and what stands out in it.

Sums are integers from end to end. What is usual is measured robustly: by the median, and by the median of the distances from it (MAD),
which a few wild values cannot move, as they would move a mean and a standard deviation. Sales are judged by their ratio to the usual one
(on a logarithmic scale, as prices spread), months by their difference from the usual month.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from examples.sales_report.rows import Sale, Segment, sales_of

__all__ = ["Anomaly", "Found", "Measured", "Month", "Usual", "find", "measure", "months_between"]

FEWEST_SALES: Final = 20
FEWEST_MONTHS: Final = 6
MAX_LISTED: Final = 200
NORMAL: Final = 1.4826
"""The MAD of a normal distribution times this is its standard deviation."""
NORMAL_MEAN: Final = 1.2533
"""The same for the mean distance, which stands in where more than half of all values are equal and the MAD is nothing."""
LEAST_RATIO: Final = 0.05
"""Deviations of less than 5 % are never the measure, however equal the values are."""
EDGE_DAYS: Final = 3
LARGEST_LOGARITHM: Final = 43.0
"""Its power is just within the 63 bits of a recorded integer."""


@dataclass(frozen=True)
class Month:
    """One month of one segment."""

    month: str
    rows: int
    units: int
    least: int
    median: int
    greatest: int


@dataclass(frozen=True)
class Usual:
    """What is usual for the sales of one sign in a segment."""

    rows: int
    centre: float
    """Median of the logarithms of the amounts."""
    deviation: float
    """One robust standard deviation of them."""


@dataclass(frozen=True)
class Measured:
    """One segment, measured."""

    segment: Segment
    months: list[Month]
    sales: Usual | None
    """``None`` where there are too few to say what is usual."""
    refunds: Usual | None


@dataclass(frozen=True)
class Anomaly:
    """Something that stands out: one sale (it has a line), or a whole month of a segment."""

    segment: str
    when: str
    line: int | None
    units: int
    usual: int
    low: int
    high: int
    """From ``low`` to ``high`` nothing would have been said."""
    score: float
    """How many robust standard deviations it is away from the usual."""


@dataclass(frozen=True)
class Found:
    """What stands out in one segment; ``count`` may be more than what is listed."""

    segment: str
    count: int
    anomalies: list[Anomaly] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    """What there was too little of to be judged, in words."""


def measure(segment: Segment) -> Measured:
    """Measure one segment from its work file."""
    by_month: defaultdict[str, list[int]] = defaultdict(list)
    for sale in sales_of(segment):
        by_month[f"{sale.day:%Y-%m}"].append(sale.units)
    months = [
        Month(month, len(units), sum(units), min(units), statistics.median_low(units), max(units))
        for month, units in sorted(by_month.items())
    ]
    everything = [units for month in by_month.values() for units in month]
    return Measured(segment, months, _usual(u for u in everything if u > 0), _usual(-u for u in everything if u < 0))


def _usual(amounts: Iterable[int]) -> Usual | None:
    logarithms = [math.log(units) for units in amounts]
    if len(logarithms) < FEWEST_SALES:
        return None
    centre, deviation = _spread(logarithms)
    return Usual(len(logarithms), centre, max(deviation, LEAST_RATIO))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and a robust standard deviation."""
    centre = statistics.median(values)
    distances = [abs(value - centre) for value in values]
    return centre, NORMAL * statistics.median(distances) or NORMAL_MEAN * statistics.fmean(distances)


def find(measured: Measured, first_day: date, last_day: date, threshold: float) -> Found:
    """Find the sales and the months that are more than ``threshold`` robust standard deviations away from the usual."""
    name = measured.segment.name
    singles = [
        anomaly for sale in sales_of(measured.segment) if (anomaly := _judged(sale, measured, threshold)) is not None
    ]
    unjudged = [
        f"{sum(month.rows for month in measured.months)} sales, as {FEWEST_SALES} are needed to say what is usual"
    ] * (measured.sales is None)
    # told once: a month is judged without the sales that stand out by themselves
    told: defaultdict[str, int] = defaultdict(int)
    for anomaly in singles:
        told[anomaly.when[:7]] += anomaly.units
    totals = {month.month: month.units for month in measured.months}
    complete = [(month, totals.get(month, 0) - told[month]) for month in months_between(first_day, last_day)]
    monthly: list[Anomaly] = []
    if len(complete) >= FEWEST_MONTHS:
        centre, deviation = _spread([units for _, units in complete])
        deviation = max(deviation, LEAST_RATIO * abs(centre), 1)
        for month, units in complete:
            score = (units - centre) / deviation
            if abs(score) > threshold:
                low, high = centre - threshold * deviation, centre + threshold * deviation
                monthly.append(Anomaly(name, month, None, units, round(centre), round(low), round(high), score))
    else:
        unjudged.append(f"{len(complete)} whole months, as {FEWEST_MONTHS} are needed to say what is usual")
    ranked = sorted([*monthly, *singles], key=lambda anomaly: (anomaly.line is not None, -abs(anomaly.score)))
    return Found(name, len(ranked), ranked[:MAX_LISTED], unjudged)


def _judged(sale: Sale, measured: Measured, threshold: float) -> Anomaly | None:
    usual, sign = (measured.sales, 1) if sale.units > 0 else (measured.refunds, -1)
    if usual is None or not sale.units:
        return None
    score = (math.log(abs(sale.units)) - usual.centre) / usual.deviation
    if abs(score) <= threshold:
        return None
    reach = threshold * usual.deviation
    centre, low, high = (
        sign * round(math.exp(min(usual.centre + step, LARGEST_LOGARITHM))) for step in (0, -reach, reach)
    )
    return Anomaly(measured.segment.name, sale.day.isoformat(), sale.line, sale.units, centre, low, high, score)


def months_between(first_day: date, last_day: date) -> list[str]:
    """Return the months that the days of the file cover from their first days to their last; the others cannot be compared."""
    months: list[str] = []
    month = first_day.replace(day=1)
    while month <= last_day:
        following = (month + timedelta(days=31)).replace(day=1)
        begins_in_time = first_day < month + timedelta(days=EDGE_DAYS)
        if begins_in_time and last_day >= following - timedelta(days=EDGE_DAYS):
            months.append(f"{month:%Y-%m}")
        month = following
    return months
