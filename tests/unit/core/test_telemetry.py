"""Nobody listens: every call is taken and nothing comes of it."""

from __future__ import annotations

from agenticflow.core.telemetry import COUNT_BOUNDS, NO_TELEMETRY, SECONDS_BOUNDS, Telemetry


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
