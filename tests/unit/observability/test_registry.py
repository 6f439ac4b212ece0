"""Metrics in memory: what is counted is there, from any thread, and nothing grows without end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from agenticflow.core.telemetry import Telemetry
from agenticflow.errors import BoundExceeded, InvalidInput
from agenticflow.observability.registry import MAX_LABEL_CHARS, MAX_METRICS, OTHER, Metrics, Spread


def test_it_is_a_telemetry_that_listens() -> None:
    telemetry: Telemetry = Metrics()
    assert telemetry.is_listening


def test_counters_add_up_by_labels() -> None:
    metrics = Metrics()
    orders = metrics.counter("orders", "Orders", ("kind",))
    orders.add(1, "new")
    orders.add(2.5, "new")
    orders.add(1, "old")
    assert metrics.value("orders", "new") == 3.5
    assert metrics.value("orders", "old") == 1
    assert metrics.value("orders", "never") == 0
    assert metrics.value("nothing") == 0


def test_a_gauge_is_set_and_moved() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("open", "Open")
    gauge.set(5)
    gauge.add(-2)
    assert metrics.value("open") == 3
    gauge.set(1)
    assert metrics.value("open") == 1


def test_a_value_on_a_bound_belongs_below_it() -> None:
    metrics = Metrics()
    sizes = metrics.histogram("sizes", "Sizes", (), (1.0, 10.0))
    for value in (0.5, 1.0, 1.5, 10.0, 11.0, 1_000.0):
        sizes.record(value)
    (family,) = metrics.look()
    spread = family.series[()]
    assert isinstance(spread, Spread)
    assert spread.classes == [2, 2, 2]
    assert (spread.count, spread.total) == (6, 1_024.0)


def test_a_snapshot_does_not_change_any_more() -> None:
    metrics = Metrics()
    sizes = metrics.histogram("sizes", "Sizes")
    sizes.record(1)
    (before,) = metrics.look()
    sizes.record(1)
    spread = before.series[()]
    assert isinstance(spread, Spread)
    assert spread.count == 1


def test_threads_lose_no_count() -> None:
    metrics = Metrics()
    counter, sizes = metrics.counter("calls", "Calls", ("kind",)), metrics.histogram("sizes", "Sizes")

    def work() -> None:
        for _ in range(5_000):
            counter.add(1, "a")
            sizes.record(0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.value("calls", "a") == 20_000
    assert metrics.value("sizes") == 20_000


def test_what_comes_after_the_bound_is_counted_together_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(max_series=2)
    counter = metrics.counter("calls", "Calls", ("kind", "where"))
    with caplog.at_level(logging.WARNING, "agenticflow.observability"):
        for kind in ("a", "b", "c", "d", "a"):
            counter.add(1, kind, "here")
    assert metrics.value("calls", "a", "here") == 2
    assert metrics.value("calls", OTHER, OTHER) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "metric 'calls' has 2 combinations of labels; others are counted as 'other': do ids stand in its labels?"
    ]


def test_the_bound_holds_for_gauges_and_histograms_too() -> None:
    metrics = Metrics(max_series=1)
    gauge, sizes = metrics.gauge("g", "", ("kind",)), metrics.histogram("h", "", ("kind",))
    for kind in "abc":
        gauge.set(1, kind)
        sizes.record(1, kind)
    assert metrics.value("g", OTHER) == 1
    assert metrics.value("h", OTHER) == 2
    gauge.add(1, "z")
    assert metrics.value("g", OTHER) == 2


def test_a_long_label_is_cut() -> None:
    metrics = Metrics()
    metrics.counter("calls", "Calls", ("kind",)).add(1, "x" * 10_000)
    assert metrics.value("calls", "x" * MAX_LABEL_CHARS) == 1


def test_the_same_declaration_gives_the_same_instrument() -> None:
    metrics = Metrics()
    assert metrics.counter("calls", "Calls", ("kind",)) is metrics.counter("calls", "in other words", ("kind",))


@pytest.mark.parametrize(
    "declare",
    [
        pytest.param(lambda m: m.gauge("calls", ""), id="another kind"),
        pytest.param(lambda m: m.counter("calls", "", ("kind",)), id="other labels"),
        pytest.param(lambda m: m.histogram("sizes", "", (), (1.0,)), id="other bounds"),
        pytest.param(lambda m: m.histogram("new", "", (), (2.0, 1.0)), id="falling bounds"),
        pytest.param(lambda m: m.histogram("new", "", (), ()), id="no bounds"),
        pytest.param(lambda m: m.counter("two words", ""), id="no name"),
        pytest.param(lambda m: m.counter("new", "", ("a-b",)), id="no label"),
        pytest.param(lambda m: m.counter("new", "", (7,)), id="a label that is no text"),
        pytest.param(lambda m: m.counter("new", "", ("le",)), id="the label of histograms"),
        pytest.param(lambda m: m.counter("new", "", ("a", "a")), id="a label twice"),
        pytest.param(lambda m: m.counter("new", "", tuple("abcdefghi")), id="too many labels"),
        pytest.param(lambda m: m.counter("calls", "").add(-1), id="a counter going down"),
        pytest.param(lambda m: m.counter("calls", "").add(1, "x"), id="a label too many"),
    ],
)
def test_a_wrong_shape_is_refused(declare: Callable[[Metrics], object]) -> None:
    metrics = Metrics()
    metrics.counter("calls", "Calls")
    metrics.histogram("sizes", "Sizes")
    with pytest.raises(InvalidInput):
        declare(metrics)


def test_names_are_code_so_too_many_of_them_are_refused() -> None:
    metrics = Metrics()
    for number in range(MAX_METRICS):
        metrics.counter(f"m{number}", "")
    with pytest.raises(BoundExceeded):
        metrics.counter("one_too_many", "")
    assert len(metrics.look()) == MAX_METRICS


def test_who_is_asked_before_a_look_until_that_ends() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("open", "Open")
    end = metrics.before_look(lambda: gauge.add(1))
    assert metrics.value("open") == 1
    assert metrics.value("open") == 2
    end()
    end()
    assert metrics.value("open") == 2
