"""The sales example as a whole: what was planted is found, what is clean is left alone, and sums are those of other code."""

from __future__ import annotations

from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agenticflow import Orchestrator, WorkflowExecutionError
from examples.sales_report import analyst, clerk, reporter, workflow
from examples.sales_report.__main__ import given
from examples.sales_report.measures import Found, Measured
from examples.sales_report.report import Written, money
from examples.sales_report.rows import Loaded
from examples.sales_report.sample import Sample, Style, make_sample
from tests.examples.plain_sales import plain_totals

STYLES = {
    "plain": Style(),
    "european": Style(
        delimiter=";", decimal=",", thousands=".", date="%d.%m.%Y", currency="EUR", encoding="cp1252", line_end="\r\n"
    ),
    "american": Style(delimiter="\t", date="%m/%d/%Y", currency="USD", encoding="utf-8-sig"),
    "british": Style(delimiter="|", date="%d/%m/%Y", encoding="utf-16"),
    "swiss": Style(delimiter=";", thousands="'", date="%d.%m.%y", currency="CHF", encoding="latin-1"),
    "french": Style(delimiter=";", decimal=",", thousands="\u00a0", date="%Y/%m/%d", currency="€", encoding="cp1252"),
}


async def report(folder: Path, data: bytes, **inputs: object) -> tuple[Written, dict[str, Any]]:
    """Run the whole workflow in memory; return its result and what each task returned."""
    source = folder / "sales.csv"
    source.write_bytes(data)
    async with Orchestrator(store="memory:") as orchestrator:
        for agent in (clerk, analyst, reporter):
            orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(
            workflow, {"file": str(source), "output": str(folder / "out"), **inputs}
        )
        result = await handle.result()
        results = (await handle.execution()).task_results
        return msgspec.convert(result, Written), {task_id: one.unwrap() for task_id, one in results.items()}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", STYLES)
async def test_totals_bad_rows_and_anomalies_are_those_that_were_planted(name: str, seed: int, tmp_path: Path) -> None:
    style = STYLES[name]
    sample = make_sample(seed, style=style)
    written, results = await report(tmp_path, sample.data)
    measured = msgspec.convert(results["statistics"], list[Measured])
    loaded = msgspec.convert(results["load"], Loaded)
    check_sums(written, measured, sample, style)
    check_bad_rows(loaded, sample, Path(written.markdown).read_text(encoding="utf-8"))
    check_anomalies(msgspec.convert(results["anomalies"], list[Found]), sample)
    assert written.currency == {"€": "EUR"}.get(style.currency, style.currency)


def check_sums(written: Written, measured: list[Measured], sample: Sample, style: Style) -> None:
    """To the cent, by segment and month, against the truth and against other code."""
    found = {
        (one.segment.name, month.month): Decimal(money(month.units, 2)) for one in measured for month in one.months
    }
    assert found == plain_totals(sample.data, style)
    assert found == {key: Decimal(cents) / 100 for key, cents in sample.totals.items()}
    assert Decimal(written.total) == Decimal(sum(sample.totals.values())) / 100


def check_bad_rows(loaded: Loaded, sample: Sample, text: str) -> None:
    """Every bad row is listed with its line and the kind of its trouble, and nothing else is; the report shows each."""
    assert {bad.line: bad.kind for bad in loaded.rejected} == sample.bad
    assert (loaded.rows, loaded.good, loaded.bad, loaded.blank) == (
        sample.good + len(sample.bad), sample.good, len(sample.bad), sample.blank
    )  # fmt: skip
    for bad in loaded.rejected:
        assert f"| {bad.kind} | {bad.line} |" in text
    rejected = Path(loaded.rejected_file).read_text(encoding="utf-8")
    assert rejected.count("\n") >= 1 + len(sample.bad)


def check_anomalies(found: list[Found], sample: Sample) -> None:
    """All that was planted; besides at most one sale in 10,000, and one month of a segment in 100."""
    anomalies = [anomaly for one in found for anomaly in one.anomalies]
    lines = {anomaly.line for anomaly in anomalies if anomaly.line is not None}
    months = {(anomaly.segment, anomaly.when) for anomaly in anomalies if anomaly.line is None}
    assert lines >= sample.sales
    assert months >= sample.months
    assert len(lines - sample.sales) <= max(1, sample.good // 10_000)
    assert len(months - sample.months) <= max(1, len(sample.totals) // 100)


async def test_a_clean_table_has_next_to_no_alarm(tmp_path: Path) -> None:
    """The bound on false alarms, over 40,000 clean sales with the planted ones among them."""
    sample = make_sample(3, rows=40_000)
    written, results = await report(tmp_path, sample.data)
    found = msgspec.convert(results["anomalies"], list[Found])
    false = [
        anomaly
        for one in found
        for anomaly in one.anomalies
        if anomaly.line not in sample.sales and (anomaly.segment, anomaly.when) not in sample.months
    ]
    assert len(false) <= sample.good // 10_000
    assert written.anomalies == len(sample.sales) + len(sample.months) + len(false)


async def test_the_page_needs_nothing_from_outside_and_is_well_formed(tmp_path: Path) -> None:
    """Also when names in the file look like markup."""
    sample = make_sample(4, rows=600, months=7)
    data = sample.data.replace(b"North", b"<script>alert(1)</script>|_x_")
    written, _ = await report(tmp_path, data)
    page = Path(written.html).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert {"svg", "rect", "table"} <= tags.seen
    assert not [word for word in ("http:", "https:", "src=", "href=", "@import", "url(") if word in page]
    text = Path(written.markdown).read_text(encoding="utf-8")
    assert "<script" not in text.replace("\\<script", "")
    assert "\\|\\_x\\_" in text


class Tags(HTMLParser):
    """Sees that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_it_writes_the_same_bytes_again(tmp_path: Path) -> None:
    sample = make_sample(5, rows=600, months=7)
    first, _ = await report(tmp_path, sample.data)
    pages = [Path(first.html).read_bytes(), Path(first.markdown).read_bytes()]
    second, _ = await report(tmp_path, sample.data)
    assert second == first
    assert [Path(second.html).read_bytes(), Path(second.markdown).read_bytes()] == pages


async def test_without_a_file_it_reports_on_a_sample(tmp_path: Path) -> None:
    written, results = await report(tmp_path, b"not looked at", file="")
    assert Path(results["look"]["layout"]["path"]).read_bytes() == make_sample().data
    assert written.rows == make_sample().good + len(make_sample().bad)


async def test_quantity_times_price_is_exact_with_more_decimals_than_cents(tmp_path: Path) -> None:
    data = b"Invoice Date,Country,Quantity,UnitPrice\n12/13/2025 8:26,Norway,3,0.125\n1/2/2026 9:00,Norway,-1,0.005\n"
    written, results = await report(tmp_path, data)
    assert results["load"]["units"] == 370
    assert results["look"]["layout"]["decimals"] == 3
    assert written.total == "0.37"
    assert "Exactly" not in Path(written.markdown).read_text(), "0.37 is exact"
    rounded, _ = await report(tmp_path, data + b"1/3/2026,Norway,1,0.008\n")
    assert rounded.total == "0.38"
    assert "Exactly 0.378" in Path(rounded.markdown).read_text()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"threshold": -1}, "threshold is -1"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"pause_seconds": "long"}, "pause_seconds is 'long'"),
        ({"output": "sales.csv"}, "the report cannot be written to .*: File exists"),
    ],
)
async def test_what_cannot_be_is_told_at_once(inputs: dict[str, object], words: str, tmp_path: Path) -> None:
    if "output" in inputs:
        inputs = {"output": str(tmp_path / "sales.csv")}
    with pytest.raises(WorkflowExecutionError, match=words) as caught:
        await report(tmp_path, b"date,region,amount\n2026-01-01,N,5.00\n", **inputs)
    assert list(caught.value.failed) == ["look"]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("threshold=high", "'high' is no number"),
        ("file=", "names nothing: write file=PATH, or leave it out"),
        ("output=", "names nothing"),
        ("files=x", "write key=value, with one of the keys file, output"),
    ],
)
def test_wrong_words_end_with_what_is_right(pair: str, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        given([pair])
