"""Users' own metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agenticflow.core.clocks import ManualClock, ambient
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.observability import (
    get_metrics,
    increment_counter,
    measure_latency,
    record_histogram,
    render,
    set_gauge,
)
from agenticflow.observability.registry import Spread


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    before, ambient.clock = ambient.clock, (clock := ManualClock())
    yield clock
    ambient.clock = before


def seconds_of(name: str, *labels: str) -> float:
    spread = next(family for family in get_metrics().look() if family.name == name).series[labels]
    assert isinstance(spread, Spread)
    return spread.total


def test_they_are_on_the_page_of_the_process() -> None:
    increment_counter("test_orders", labels={"kind": "new", "express": True})
    increment_counter("test_orders", 2, {"express": True, "kind": "new"})
    set_gauge("test_open", 7)
    record_histogram("test_total", 99.5, {"size": 3}, bounds=(10.0, 100.0))
    page = render()
    assert 'test_orders_total{express="True",kind="new"} 3\n' in page
    assert "test_open 7\n" in page
    assert 'test_total_bucket{size="3",le="100"} 1\n' in page


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: increment_counter("test_a", {"kind": "new"}), id="labels for the amount"),  # type: ignore[arg-type]  # the mistake
        pytest.param(lambda: set_gauge("test_a", True, {}), id="a bool for a number"),
        pytest.param(lambda: increment_counter("test_a", 1, "new"), id="a text for labels"),  # type: ignore[arg-type]  # the mistake
        pytest.param(lambda: increment_counter("test_a", 1, {"kind": None}), id="no value"),  # type: ignore[dict-item]  # the mistake
        pytest.param(lambda: increment_counter("test a", 1), id="no name"),
    ],
)
def test_a_wrong_call_shows_the_right_one(call: Callable[[], None]) -> None:
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.hint


def test_how_long_a_call_took_and_how_it_ended(clock: ManualClock) -> None:
    @measure_latency
    def work(seconds: float) -> str:
        """Work."""
        clock.advance(seconds)
        if seconds > 5:
            raise TimeoutError
        return "done"

    assert work(2) == "done"
    assert work.__doc__ == "Work."
    with pytest.raises(TimeoutError):
        work(6)
    name = f"{work.__module__}.{work.__qualname__}"
    assert seconds_of("call_duration", name, "ok") == 2
    assert seconds_of("call_duration", name, "error") == 6


async def test_how_long_an_async_call_took(clock: ManualClock) -> None:
    @measure_latency("test_checkout_duration")
    async def checkout(seconds: float) -> float:
        clock.advance(seconds)
        if seconds > 5:
            raise TimeoutError
        return seconds

    assert await checkout(1.5) == 1.5
    with pytest.raises(TimeoutError):
        await checkout(7)
    name = f"{checkout.__module__}.{checkout.__qualname__}"
    assert seconds_of("test_checkout_duration", name, "ok") == 1.5
    assert seconds_of("test_checkout_duration", name, "error") == 7


def test_a_generator_is_no_call() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(DefinitionError, match="generator"):
        measure_latency(numbers)
    with pytest.raises(DefinitionError):
        measure_latency(7)  # type: ignore[call-overload]  # the mistake
