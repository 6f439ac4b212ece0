"""Metrics in memory: the telemetry that is always there.

Numbers come in from any thread, a snapshot goes out to whoever looks. Bounded: a metric keeps at most ``MAX_SERIES`` combinations of
label values, and what comes after them is counted together under ``other``, with one warning: measuring must not break what is measured,
and must not eat its memory. A wrong *shape* (a name that is none, another kind or other labels than before) is a mistake in the program
and raises.
"""

from __future__ import annotations

import logging
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Final, Generic, Literal, TypeVar

import msgspec

from agenticflow.core.telemetry import SECONDS_BOUNDS
from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["OTHER", "Family", "Metrics", "Spread"]

log = logging.getLogger("agenticflow.observability")

MAX_METRICS: Final = 1_000
MAX_SERIES: Final = 1_000
MAX_LABELS: Final = 8
MAX_LABEL_CHARS: Final = 200
OTHER: Final = "other"
"""Stands for every label value that came after the bound."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OF_HISTOGRAMS: Final = "le"

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
V = TypeVar("V")


class Spread(msgspec.Struct):
    """What a histogram knows of one combination of labels."""

    classes: list[int]
    """How many values lay in each class, the last one above all bounds."""
    total: float = 0.0
    count: int = 0


class Family(msgspec.Struct, frozen=True):
    """A metric as it stood when somebody looked."""

    name: str
    kind: Kind
    text: str
    labels: Labels
    series: Mapping[Labels, float | Spread]
    bounds: tuple[float, ...] = ()


class _Instrument(Generic[V]):
    """One metric. The lock is its own: threads that measure different things do not meet."""

    kind: ClassVar[Kind]

    def __init__(self, name: str, text: str, labels: Labels, bounds: tuple[float, ...], max_series: int) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.bounds = bounds
        self.lock = threading.Lock()
        self.series: dict[Labels, V] = {}
        self._max_series = max_series
        self._has_warned = False

    def place(self, labels: Labels) -> Labels:
        """Return where values with these labels are kept, for labels that are not among ``series``. Inside the lock."""
        if len(labels) != len(self.labels):
            raise InvalidInput(
                f"metric {self.name!r} has the labels {self.labels!r} and was given {len(labels)} values",
                hint="give one text for each, in that order",
            )
        labels = tuple(str(label)[:MAX_LABEL_CHARS] for label in labels)
        if labels in self.series or len(self.series) < self._max_series:
            return labels
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "metric %r has %d combinations of labels; others are counted as %r: do ids stand in its labels?",
                self.name,
                self._max_series,
                OTHER,
            )
        return (OTHER,) * len(labels)


class _Counter(_Instrument[float]):
    kind: ClassVar[Kind] = "counter"

    def add(self, amount: float, *labels: str) -> None:
        if amount < 0:
            raise InvalidInput(f"counter {self.name!r} was told to go down by {-amount!r}", hint="use a gauge")
        with self.lock:
            try:
                self.series[labels] += amount
            except KeyError:
                labels = self.place(labels)
                self.series[labels] = self.series.get(labels, 0.0) + amount


class _Gauge(_Instrument[float]):
    kind: ClassVar[Kind] = "gauge"

    def set(self, value: float, *labels: str) -> None:
        with self.lock:
            if labels not in self.series:
                labels = self.place(labels)
            self.series[labels] = value

    def add(self, amount: float, *labels: str) -> None:
        with self.lock:
            if labels not in self.series:
                labels = self.place(labels)
            self.series[labels] = self.series.get(labels, 0.0) + amount


class _Histogram(_Instrument[Spread]):
    kind: ClassVar[Kind] = "histogram"

    def record(self, value: float, *labels: str) -> None:
        with self.lock:
            spread = self.series.get(labels)
            if spread is None:
                labels = self.place(labels)
                spread = self.series.setdefault(labels, Spread([0] * (len(self.bounds) + 1)))
            spread.classes[bisect_left(self.bounds, value)] += 1
            spread.total += value
            spread.count += 1


_Any = _Counter | _Gauge | _Histogram
N = TypeVar("N", _Counter, _Gauge, _Histogram)


class Metrics:
    """A registry of metrics, and a ``Telemetry`` that listens."""

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._instruments: dict[str, _Any] = {}
        self._lock = threading.Lock()
        self._refreshes: dict[object, Callable[[], None]] = {}

    @property
    def is_listening(self) -> bool:
        return True

    def counter(self, name: str, text: str, labels: Labels = ()) -> _Counter:
        return self._declared(_Counter, name, text, labels, ())

    def gauge(self, name: str, text: str, labels: Labels = ()) -> _Gauge:
        return self._declared(_Gauge, name, text, labels, ())

    def histogram(
        self, name: str, text: str, labels: Labels = (), bounds: tuple[float, ...] = SECONDS_BOUNDS
    ) -> _Histogram:
        if not bounds or any(low >= high for low, high in pairwise(bounds)):
            raise InvalidInput(f"the bounds of {name!r} do not rise: {bounds!r}", hint="write bounds=(0.1, 1.0, 10.0)")
        return self._declared(_Histogram, name, text, labels, tuple(bounds))

    def before_look(self, refresh: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self._refreshes[key] = refresh

        def end() -> None:
            self._refreshes.pop(key, None)

        return end

    def look(self) -> list[Family]:
        """Return every metric as it stands, in order of name; those that never had a value included."""
        for refresh in list(self._refreshes.values()):
            refresh()
        found: list[Family] = []
        for _, instrument in sorted(self._instruments.items()):
            with instrument.lock:
                series: dict[Labels, float | Spread] = {}
                for labels, value in instrument.series.items():
                    series[labels] = value if isinstance(value, float | int) else _copy(value)
            found.append(
                Family(instrument.name, instrument.kind, instrument.text, instrument.labels, series, instrument.bounds)
            )
        return found

    def value(self, name: str, *labels: str) -> float:
        """Return a counter's or gauge's value, a histogram's count; 0 for what was never measured."""
        for family in self.look():
            if family.name == name:
                value = family.series.get(labels, 0.0)
                return value.count if isinstance(value, Spread) else value
        return 0.0

    def _declared(self, kind: type[N], name: str, text: str, labels: Sequence[str], bounds: tuple[float, ...]) -> N:
        known = self._instruments.get(name)
        if known is None:
            _check_shape(name, labels)
            with self._lock:
                known = self._instruments.get(name)
                if known is None:
                    if len(self._instruments) >= MAX_METRICS:
                        raise BoundExceeded(
                            f"metric {name!r} would be number {MAX_METRICS + 1:,}", hint="put what differs into labels"
                        )
                    made = kind(name, text, tuple(labels), bounds, self._max_series)
                    self._instruments[name] = made
                    return made
        if isinstance(known, kind) and known.labels == tuple(labels) and known.bounds == bounds:
            return known
        raise InvalidInput(
            f"metric {name!r} is a {known.kind} with the labels {known.labels!r}, not a {kind.kind} with {tuple(labels)!r}",
            hint="give it another name, or the same labels everywhere",
        )


def _copy(spread: Spread) -> Spread:
    return Spread(list(spread.classes), spread.total, spread.count)


def _check_shape(name: str, labels: Sequence[str]) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidInput(f"{name!r:.80} is no name of a metric", hint="use letters, digits and underscores")
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"metric {name!r} has {len(labels)} labels", hint=f"use at most {MAX_LABELS}")
    for label in labels:
        if (
            not isinstance(label, str)
            or _NAME.fullmatch(label) is None
            or label.startswith("__")
            or label == _OF_HISTOGRAMS
        ):
            raise InvalidInput(f"{label!r:.80} is no label of metric {name!r}", hint="use letters and digits, not `le`")
    if len(set(labels)) != len(labels):
        raise InvalidInput(f"metric {name!r} has a label twice: {tuple(labels)!r}")
