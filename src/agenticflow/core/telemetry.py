"""The telemetry port: how the engine says what it counts and measures, whoever listens.

Instruments are declared once, by name, and used often: labels are values in the order in which the instrument names them. Labels
carry roles, types and outcomes, of which there are few; never ids, of which there is no end. ``NO_TELEMETRY`` listens to nothing, and who
measures looks at ``is_listening`` first, so that not being listened to costs a look at one attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

__all__ = [
    "COUNT_BOUNDS",
    "NO_TELEMETRY",
    "SECONDS_BOUNDS",
    "Counter",
    "Gauge",
    "Histogram",
    "NoTelemetry",
    "Telemetry",
    "Watches",
]

SECONDS_BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
"""Upper bounds of the classes of a duration: from a quick handler to the default time limit."""
COUNT_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)
"""Upper bounds of the classes of how many of something came together."""


class Counter(Protocol):
    """Only goes up."""

    def add(self, amount: float, *labels: str) -> None:
        """Count ``amount`` more (not negative). From any thread; never raises for a label it has not seen."""


class Gauge(Protocol):
    """Goes up and down."""

    def set(self, value: float, *labels: str) -> None:
        """Stand at ``value`` now. From any thread."""

    def add(self, amount: float, *labels: str) -> None:
        """Stand ``amount`` higher, or lower when it is negative; so that several parts of a program share one gauge."""


class Histogram(Protocol):
    """How often values lay in which class, their sum and their number."""

    def record(self, value: float, *labels: str) -> None:
        """Take one value. From any thread."""


class Telemetry(Protocol):
    """Whoever listens. Declaring the same instrument again gives the same one; another shape under its name is ``InvalidInput``."""

    @property
    def is_listening(self) -> bool:
        """Whether anything comes of what is measured; does not change."""

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """Return the counter ``name``, described by ``text``."""

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Return the gauge ``name``."""

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = SECONDS_BOUNDS
    ) -> Histogram:
        """Return the histogram ``name`` with classes up to each of the rising ``bounds``, and one above."""

    def before_look(self, refresh: Callable[[], None]) -> Callable[[], None]:
        """Call ``refresh`` before somebody looks, for what is cheaper to ask for than to follow; return what ends that."""


class _Nothing:
    """Every instrument of nobody."""

    __slots__ = ()

    def add(self, amount: float, *labels: str) -> None:
        """Nobody listens."""

    def set(self, value: float, *labels: str) -> None:
        """Nobody listens."""

    def record(self, value: float, *labels: str) -> None:
        """Nobody listens."""


_NOTHING: Final = _Nothing()


class NoTelemetry:
    """Nobody listens."""

    __slots__ = ()

    @property
    def is_listening(self) -> bool:
        return False

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return _NOTHING

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return _NOTHING

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = SECONDS_BOUNDS
    ) -> Histogram:
        return _NOTHING

    def before_look(self, refresh: Callable[[], None]) -> Callable[[], None]:
        return _nothing_to_end


def _nothing_to_end() -> None:
    """Nobody listens."""


NO_TELEMETRY: Final = NoTelemetry()


class Watches:
    """What belongs to the process is measured once for each who listens: the first engine that asks begins it, the last one ends it."""

    def __init__(self) -> None:
        self._running: dict[tuple[int, ...], _Watch] = {}

    def join(
        self, telemetry: Telemetry, begin: Callable[[], Callable[[], None]], *watched: object
    ) -> Callable[[], None]:
        """Have ``watched`` measured for ``telemetry``; return what ends this asker's part, once. ``begin`` returns what ends the whole."""
        if not telemetry.is_listening:
            return _nothing_to_end
        key = (id(telemetry), *map(id, watched))
        watch = self._running.get(key)
        if watch is None:
            watch = self._running[key] = _Watch((telemetry, *watched), begin())
        watch.users += 1
        is_over = False

        def end() -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            watch.users -= 1
            if watch.users == 0:
                del self._running[key]
                watch.end()

        return end


class _Watch:
    __slots__ = ("end", "kept", "users")

    def __init__(self, kept: tuple[object, ...], end: Callable[[], None]) -> None:
        self.kept = kept
        """Known by their ids: nothing else may have these meanwhile."""
        self.end = end
        self.users = 0
