"""Nobody listens: every call is taken and nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable

from agenticflow.core.telemetry import (
    COUNT_BOUNDS,
    NO_TELEMETRY,
    SECONDS_BOUNDS,
    NoTelemetry,
    Telemetry,
    Watches,
)


class Listening(NoTelemetry):
    @property
    def is_listening(self) -> bool:
        return True


class Watched:
    """Counts how often it is begun and ended."""

    def __init__(self) -> None:
        self.began = self.ended = 0

    def begin(self) -> Callable[[], None]:
        self.began += 1
        return self._end

    def _end(self) -> None:
        self.ended += 1


def test_nobody_listens_to_any_instrument() -> None:
    telemetry: Telemetry = NO_TELEMETRY
    assert not telemetry.is_listening
    telemetry.counter("a", "", ("kind",)).add(1, "x")
    gauge = telemetry.gauge("b", "")
    gauge.set(3)
    gauge.add(-1)
    telemetry.histogram("c", "").record(0.5)


def test_nobody_asks_for_what_is_only_told_on_request() -> None:
    asked: list[int] = []
    end = NO_TELEMETRY.before_look(lambda: asked.append(1))
    end()
    end()
    assert asked == []


def test_the_classes_rise() -> None:
    for bounds in (SECONDS_BOUNDS, COUNT_BOUNDS):
        assert list(bounds) == sorted(set(bounds))


def test_the_first_who_asks_begins_and_the_last_ends() -> None:
    watches, telemetry, watched = Watches(), Listening(), Watched()
    first, second = (watches.join(telemetry, watched.begin, watched) for _ in range(2))
    assert watched.began == 1
    first()
    first()
    assert watched.ended == 0, "the second is still there, and who ends twice counts once"
    second()
    assert watched.ended == 1
    watches.join(telemetry, watched.begin, watched)()
    assert (watched.began, watched.ended) == (2, 2), "whoever comes later begins anew"


def test_each_listener_and_each_thing_that_is_watched_counts_for_itself() -> None:
    watches, telemetry, watched, other = Watches(), Listening(), Watched(), Watched()
    watches.join(telemetry, watched.begin, watched)
    watches.join(telemetry, other.begin, other)
    watches.join(Listening(), watched.begin, watched)
    assert (watched.began, other.began) == (2, 1)


def test_nothing_is_begun_for_nobody() -> None:
    watched = Watched()
    Watches().join(NO_TELEMETRY, watched.begin, watched)()
    assert watched.began == 0
