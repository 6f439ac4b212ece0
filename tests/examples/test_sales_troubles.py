"""What real tables of sales do to a program: each trouble is either settled and told, or stops the run with the way out."""

from __future__ import annotations

import re
import tracemalloc
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from agenticflow import PermanentError
from examples.sales_report.fields import day_of, decimal_evidence, order_evidence, split_amount, units_of
from examples.sales_report.layout import Layout, Wishes, look
from examples.sales_report.measures import Found, Measured, find, measure
from examples.sales_report.rows import Loaded, load
from examples.sales_report.sample import make_sample


def looked(folder: Path, data: bytes | str, **wishes: str) -> Layout:
    source = folder / "sales.csv"
    source.write_bytes(data.encode() if isinstance(data, str) else data)
    return look(source, Wishes(**wishes))


def loaded(folder: Path, data: bytes | str, **wishes: str) -> Loaded:
    return load(looked(folder, data, **wishes), folder)


def told(folder: Path, data: bytes | str, **wishes: str) -> str:
    """Return what the run fails with."""
    with pytest.raises(PermanentError) as caught:
        loaded(folder, data, **wishes)
    return str(caught.value)


# --- cells --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mark", "cents"),
    [
        ("12", ".", 1200),
        ("1,234.5", ".", 123450),
        ("-1.234,50 €", ",", -123450),
        ("($99.90)", ".", -9990),
        ("CHF 1'234.50", ".", 123450),
        ("1 234,50 EUR", ",", 123450),
        ("1\u202f234,50", ",", 123450),
        ("\u221212.00", ".", -1200),
        ("12.00-", ".", -1200),
        ("US$ .5", ".", 50),
        ("12.", ".", 1200),
        ("12,34,567.89", ".", 123456789),
        ("0.10000", ".", 10),
    ],
)
def test_an_amount_is_read_exactly(text: str, mark: str, cents: int) -> None:
    assert units_of(split_amount(text), mark, 2) == cents


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no amount"),
        ("n/a", "'n/a' is no amount"),
        ("1e5", "is no amount"),
        ("NaN", "is no amount"),
        ("--5", "more than one sign"),
        ("(-5)", "more than one sign"),
        ("5 XYZ", "is no amount"),
        ("€ 5 USD", "is no amount"),
        ("(5", "is no amount"),
        ("12,34", "does not fit '.'"),
        ("1.2.3", "does not fit '.'"),
        ("12 34", "does not fit '.'"),
        ("1,234'567", "does not fit '.'"),
        ("0.125", "more than 2 decimals"),
        ("9999999999999", "more than anybody sells"),
    ],
)
def test_what_is_no_amount_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        units_of(split_amount(text), ".", 2)


@pytest.mark.parametrize(
    ("body", "evidence"),
    [("12", ""), ("1.5", "."), ("1,5", ","), ("1,234.5", "."), ("1.234,5", ","), ("1,234", "?"), ("0,234", ","),
     ("1234,567", ","), ("1,234,567", "."), ("1.234.567", ","), ("1.2.3", "")],
)  # fmt: skip
def test_what_proves_the_decimal_mark(body: str, evidence: str) -> None:
    assert decimal_evidence(body) == evidence


@for_all(
    st.integers(-(10**14), 10**14),
    st.sampled_from([".,", ",.", ".'", ", ", ".\u00a0"]),
    st.sampled_from(["", "€", "GBP"]),
)
def test_whatever_is_written_is_read_back(cents: int, marks: str, currency: str) -> None:
    decimal, thousands = marks[0], marks[1]
    text = f"{abs(cents) // 100:,}".replace(",", thousands) + f"{decimal}{abs(cents) % 100:02}"
    amount = split_amount(f"{'-' if cents < 0 else ''}{text} {currency}")
    assert units_of(amount, decimal, 2) == cents
    assert decimal_evidence(amount.body) in (decimal, "?")


@pytest.mark.parametrize(
    ("text", "order", "day"),
    [
        ("2026-01-31", "", date(2026, 1, 31)),
        ("2026-01-31T10:00:00Z", "", date(2026, 1, 31)),
        ("2026-01-31 10:00:00.123+02:00", "", date(2026, 1, 31)),
        ("2026/1/3", "", date(2026, 1, 3)),
        ("20260131", "", date(2026, 1, 31)),
        ("31.1.26", "mdy", date(2026, 1, 31)),
        ("3/4/2026", "dmy", date(2026, 4, 3)),
        ("3/4/2026 8:26 PM", "mdy", date(2026, 3, 4)),
        ("03-04-69", "dmy", date(1969, 4, 3)),
        ("12 Jan 2026", "", date(2026, 1, 12)),
        ("12-January-26", "", date(2026, 1, 12)),
        ("Jan. 3, 2026", "", date(2026, 1, 3)),
    ],
)
def test_a_day_is_read(text: str, order: str, day: date) -> None:
    assert day_of(text, order) == day


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no date"),
        ("someday", "is no date"),
        ("12 Foo 2026", "is no date"),
        ("2026-02-30", "no day of the calendar"),
        ("13/13/2026", "no day of the calendar when read as d/m/y"),
        ("0206-01-01", "in the year 206"),
    ],
)
def test_what_is_no_day_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        day_of(text, "dmy")


def test_what_proves_the_order_of_days() -> None:
    texts = ("13/4/2026", "4/13/2026", "3/4/2026", "4/4/2026", "13/13/2026", "3.4.2026", "2026-04-03")
    assert [order_evidence(text) for text in texts] == ["dmy", "mdy", "?", "", "", "", ""]


# --- files --------------------------------------------------------------------------------------------------------------

HEAD = "date,region,amount\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "workbook or an archive"),
        ("one\ntwo\n", "has no columns"),
        (HEAD, "a header and no rows"),
        ("2026-01-01,North,5.00\n2026-01-02,North,6.00\n", "first line of 'sales.csv' is data"),
        ("when,region,amount\nx,North,5\n", "no column looks like the date; there are when, region, amount"),
        ("date,region,sum\n2026-01-01,North,5\n", "--input amount=COLUMN"),
        (HEAD + "03/04/2026,N,5\n", "line 2 has '03/04/2026' (say which with --input date_order=dmy or"),
        (HEAD + "2026-01-01,N,\"1,234\"\n", "line 2 has '1,234' (say which with --input decimal=, or --input decimal=.)"),
        (HEAD + "25/04/2026,N,5\n04/25/2026,N,5\n", "the days are written in several ways (1 × mdy, 1 × dmy)"),
        (HEAD + "2026-01-01,N,5 EUR\n2026-01-01,N,5 USD\n", "--input currency=EUR or --input currency=USD"),
        (HEAD + "2026-01-01,N,x\n" * 3, "no column looks like the amount"),
        (HEAD + "2026-01-01,N,5\n" + "x" * 1024**2, "line 3 of 'sales.csv' has more than 1,048,576 characters"),
        (HEAD + "".join(f"2026-01-01,segment {number},5\n" for number in range(501)), "more than 500 segments"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and value.isprintable() else "data",
)  # fmt: skip
def test_what_cannot_be_settled_stops_the_run_and_says_what_would(
    data: bytes | str, words: str, tmp_path: Path
) -> None:
    assert words in told(tmp_path, data)


def test_inputs_settle_what_the_file_leaves_open(tmp_path: Path) -> None:
    table = 'when,where,paid\n03/04/2026,N,"1,234"\n'
    for order, month in (("dmy", 4), ("mdy", 3)):
        for mark, units, decimals in ((",", 1234, 3), (".", 123400, 2)):
            layout = looked(
                tmp_path, table, date="when", segment="where", amount="Paid", date_order=order, decimal=mark
            )
            found = load(layout, tmp_path)
            assert (found.first_day[5:7], found.units, layout.decimals) == (f"{month:02}", units, decimals)
    assert "did you mean --input amount='paid'?" in told(tmp_path, table, date="when", amount="pad")
    assert "date_order is 'ymd'" in told(tmp_path, table, date="when", amount="paid", date_order="ymd")
    for name in ("klingon", "base64"):
        assert f"no encoding '{name}'" in told(tmp_path, table, encoding=name, delimiter=",")
    assert "'::' is no delimiter" in told(tmp_path, table, delimiter="::")
    assert "'sales.csv' is not utf-8" in told(tmp_path, HEAD.encode() + b"2026-01-01,\xfc,5\n", encoding="utf-8")


def test_lines_for_spreadsheets_and_delimiters_by_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, "sep=;\ndate;region;amount\n2026-01-01;N;5,5\n").units == 550
    for word in ("tab", "\\t", "\t"):
        assert loaded(tmp_path, "date\tregion\tamount\n2026-01-01\tN\t5\n", delimiter=word).units == 500


def test_one_line_of_evidence_settles_all_others(tmp_path: Path) -> None:
    found = looked(tmp_path, HEAD + "03/04/2026,N,1\n" * 30 + '25/04/2026,N,"2,5"\n')
    assert (found.date_order, found.decimal) == ("dmy", ",")
    assert "days are written D/M/Y: line 32 has '25/04/2026'" in found.notes
    assert "the decimal mark is a comma: line 32 has '2,5'" in found.notes


def test_what_is_against_clear_evidence_is_a_bad_row(tmp_path: Path) -> None:
    table = HEAD + "25/04/2026,N,1.50 EUR\n" * 50 + '04/25/2026,N,1.50\n25/04/2026,N,"1,50"\n25/04/2026,N,1.50 USD\n'
    found = loaded(tmp_path, table)
    assert {bad.line: bad.kind for bad in found.rejected} == {52: "date", 53: "amount", 54: "currency"}
    assert (found.good, found.units) == (50, 7500)


@pytest.mark.parametrize(
    ("data", "encoding", "note"),
    [
        ("date,region,amount\n2026-01-01,Zürich,5\n".encode(), "utf-8", ""),
        ("date,region,amount\n2026-01-01,Zürich,5\n".encode("utf-8-sig"), "utf-8-sig", ""),
        ("date,region,amount\n2026-01-01,Zürich,5\n".encode("latin-1"), "latin-1", "not UTF-8 and was read as latin-1"),
        ("date,region,amount\n2026-01-01,Zürich,5 €\n".encode("cp1252"), "cp1252", "not UTF-8 and was read as cp1252"),
        ("date,region,amount\n2026-01-01,Zürich,5\n".encode("utf-16"), "utf-16", "the file is UTF-16"),
    ],
)
def test_the_encoding_is_found_out_and_told(data: bytes, encoding: str, note: str, tmp_path: Path) -> None:
    layout = looked(tmp_path, data)
    assert layout.encoding == encoding
    assert any(note in one for one in layout.notes)
    assert [segment.name for segment in load(layout, tmp_path).segments] == ["Zürich"]


def test_columns_with_one_name_or_none_are_told_apart_and_told(tmp_path: Path) -> None:
    layout = looked(tmp_path, "date,amount,amount,,region\n2026-01-01,5,7,x,N\n")
    assert layout.header == ["date", "amount", "amount (2)", "column 4", "region"]
    assert any("'amount' is there 2 times" in note for note in layout.notes)
    assert load(layout, tmp_path).units == 500
    assert loaded(tmp_path, "date,amount,amount,,region\n2026-01-01,5,7,x,N\n", amount="amount (2)").units == 700


def test_a_table_without_segments_is_one(tmp_path: Path) -> None:
    found = loaded(tmp_path, "date,amount\n2026-01-01,5\n")
    assert [(segment.name, segment.units) for segment in found.segments] == [("(all)", 500)]
    found = loaded(tmp_path, HEAD + "2026-01-01, ,5\n2026-01-01,a  b,6\n")
    assert [segment.name for segment in found.segments] == ["(none)", "a b"]


def test_quotes_hold_line_ends_and_broken_quotes_lose_nothing_silently(tmp_path: Path) -> None:
    table = (
        HEAD + '2026-01-01,"N\nS, E ""x""",5\n2026-01-01,"N"x,5\n2026-01-01,N,6\n2026-01-01,"never,6\n2026-01-01,N,7\n'
    )
    found = loaded(tmp_path, table)
    assert [(segment.name, segment.units) for segment in found.segments] == [("N", 600), ('N S, E "x"', 500)]
    assert [(bad.line, bad.kind) for bad in found.rejected] == [(4, "quotes"), (6, "quotes")]
    assert "never closed, so that lines 6 to 7 cannot be told apart" in found.rejected[1].reason


def test_a_file_that_changes_between_looking_and_loading_is_noticed(tmp_path: Path) -> None:
    layout = looked(tmp_path, HEAD + "2026-01-01,N,5\n")
    looked(tmp_path, HEAD + "2026-01-01,N,6\n")
    with pytest.raises(PermanentError, match="has changed since it was looked at"):
        load(layout, tmp_path)


def test_a_work_file_that_was_touched_is_noticed(tmp_path: Path) -> None:
    [segment] = loaded(tmp_path, HEAD + "2026-01-01,N,5\n").segments
    Path(segment.file).write_text("2,2026-01-01,600\n")
    with pytest.raises(PermanentError, match="cannot be used: it has changed"):
        measure(segment)
    Path(segment.file).unlink()
    with pytest.raises(PermanentError, match="resume the run from 'look'"):
        measure(segment)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Three times the rows need nothing like three times the memory at the highest point, whatever else the process does meanwhile."""
    lines = [f"2026-01-{day:02},{region},{day}.50\n" for day in range(1, 29) for region in "NSEW"]
    peaks = []
    for times in (100, 300):
        source = tmp_path / "sales.csv"
        source.write_text(HEAD + "".join(lines) * times)
        tracemalloc.start()
        found = load(look(source, Wishes()), tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.good == len(lines) * times
    assert peaks[1] < 1.5 * peaks[0]


# --- order --------------------------------------------------------------------------------------------------------------


SHUFFLED = make_sample(6, rows=350, months=7)


def rows_of(data: bytes) -> list[str]:
    """Return the records of the file as text, whatever is inside their quotes."""
    rows: list[str] = []
    for line in data.decode().splitlines(keepends=True)[1:]:
        if rows and rows[-1].count('"') % 2:
            rows[-1] += line
        else:
            rows.append(line)
    return rows


@for_all(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_sum_and_no_verdict(
    tmp_path_factory: pytest.TempPathFactory, random: Random
) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    rows = rows_of(SHUFFLED.data)
    before = summed(folder, rows)
    random.shuffle(rows)
    assert summed(folder, rows) == before


def summed(folder: Path, rows: list[str]) -> object:
    """Return everything about a table that has nothing to do with the place of a row."""
    found = loaded(folder, "date,region,product,note,amount\n" + "".join(rows))
    measured: list[Measured] = [measure(segment) for segment in found.segments]
    first, last = date.fromisoformat(found.first_day), date.fromisoformat(found.last_day)
    odd: list[Found] = [find(one, first, last, 5.0) for one in measured]
    return (
        (found.rows, found.good, found.bad, found.blank, found.units, found.reasons),
        [(one.segment.name, one.months, one.sales, one.refunds) for one in measured],
        [sorted((anomaly.when, anomaly.units) for anomaly in one.anomalies) for one in odd],
    )
