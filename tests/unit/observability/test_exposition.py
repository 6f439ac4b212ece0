"""The page for Prometheus, read back by the parser of its own client library."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from prometheus_client.parser import text_string_to_metric_families

from agenticflow.observability.exposition import as_text
from agenticflow.observability.registry import Metrics

# without what the library's parser takes for the end of a line, and the format does not
LABELS = st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=20)


def read_back(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page() -> None:
    metrics = Metrics()
    metrics.counter("orders", "Orders placed", ("kind",)).add(3, "new")
    metrics.gauge("open", "Open\norders \\ now").set(1.5)
    sizes = metrics.histogram("size", "Sizes", ("kind",), (1.0, 2.5))
    sizes.record(1, "a")
    sizes.record(2, "a")
    sizes.record(99, "a")
    metrics.counter("never", "Never counted", ("kind",))
    assert as_text(metrics.look()) == snapshot("""\
# HELP never_total Never counted
# TYPE never_total counter
# HELP open Open\\norders \\\\ now
# TYPE open gauge
open 1.5
# HELP orders_total Orders placed
# TYPE orders_total counter
orders_total{kind="new"} 3
# HELP size Sizes
# TYPE size histogram
size_bucket{kind="a",le="1"} 1
size_bucket{kind="a",le="2.5"} 2
size_bucket{kind="a",le="+Inf"} 3
size_sum{kind="a"} 102
size_count{kind="a"} 3
""")
    assert read_back(as_text(metrics.look()))["size_bucket", (("kind", "a"), ("le", "2.5"))] == 2


def test_nothing_is_an_empty_page() -> None:
    assert as_text(Metrics().look()) == ""


@given(
    st.dictionaries(
        st.tuples(LABELS, st.text(alphabet='ab\\"\n{},= é', max_size=10)),
        st.floats(allow_nan=False) | st.integers(-(10**18), 10**18).map(float),
        max_size=5,
    )
)
def test_any_label_and_any_number_comes_back(series: dict[tuple[str, str], float]) -> None:
    metrics = Metrics()
    gauge = metrics.gauge("g", "A gauge", ("one", "two"))
    for labels, value in series.items():
        gauge.set(value, *labels)
    assert read_back(as_text(metrics.look())) == {
        ("g", (("one", one), ("two", two))): value for (one, two), value in series.items()
    }


def test_what_is_no_number() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("g", "A gauge", ("kind",))
    for kind, value in (("up", math.inf), ("down", -math.inf), ("none", math.nan)):
        gauge.set(value, kind)
    found = read_back(as_text(metrics.look()))
    assert found["g", (("kind", "up"),)] == math.inf
    assert found["g", (("kind", "down"),)] == -math.inf
    assert math.isnan(found["g", (("kind", "none"),)])
