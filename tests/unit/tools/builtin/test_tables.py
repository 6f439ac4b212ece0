"""Tables in CSV: what is in them, which rows, what they come to. Sums are exact, every row is accounted for."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenticflow.core.tools import ToolCall, ToolResult
from agenticflow.tools import ToolPipeline, ToolRegistry
from agenticflow.tools.builtin import table_tools, tables

SALES = """day,shop,amount,paid,note
2026-01-01,Oslo,0.10,true,
2026-01-02,Oslo,0.20,false,"two, lines
and quotes ""x"" "
2026-01-02,Rome,-5,true,x

2026-01-03,Rome,,true,
2026-01-04,Oslo,0.30,no,y
"""


async def call(folder: Path, name: str, **params: object) -> ToolResult:
    return await ToolPipeline().invoke(
        ToolCall(name, {"path": "sales.csv", **params}), tools=ToolRegistry.of(table_tools(folder))
    )


async def value(folder: Path, name: str, **params: object) -> Any:
    result = await call(folder, name, **params)
    return result.unwrap()


def problem(result: ToolResult) -> str:
    assert result.error is not None, result
    return result.error.message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales.csv").write_text(SALES)
    return tmp_path


async def test_a_table_is_described_column_by_column(folder: Path) -> None:
    described = await value(folder, "table_describe")
    assert described["rows"] == 5
    assert [
        (one["name"], one["kind"], one["filled"], one["empty"], one["distinct"]) for one in described["columns"]
    ] == [
        ("day", "date", 5, 0, "4"),
        ("shop", "text", 5, 0, "2"),
        ("amount", "number", 4, 1, "4"),
        ("paid", "boolean", 5, 0, "3"),
        ("note", "text", 3, 2, "3"),
    ]
    amount = described["columns"][2]
    assert (amount["minimum"], amount["maximum"], amount["total"]) == ("-5", "0.30", "-4.40")
    assert (described["columns"][0]["minimum"], described["columns"][0]["total"]) == ("2026-01-01", None)


async def test_kinds_are_what_every_cell_is(folder: Path) -> None:
    (folder / "sales.csv").write_text("a;b;c;d;e\n1;1;20260101;;2026-13-01\n+2;2.5;20260102;;2026-01-01\n")
    described = await value(folder, "table_describe")
    assert [one["kind"] for one in described["columns"]] == ["integer", "number", "integer", "empty", "text"]


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ([], [1, 2, 3, 4, 5]),
        ([{"column": "shop", "operator": "=", "value": "Oslo"}], [1, 2, 5]),
        ([{"column": "shop", "operator": "!=", "value": "Oslo"}], [3, 4]),
        ([{"column": "amount", "operator": ">", "value": 0.1}], [2, 5]),
        ([{"column": "amount", "operator": ">=", "value": "0.1"}], [1, 2, 5]),
        ([{"column": "amount", "operator": "<", "value": 0}], [3]),
        ([{"column": "amount", "operator": "<=", "value": "0.20"}], [1, 2, 3]),
        ([{"column": "amount", "operator": "=", "value": "0.2000"}], [2]),
        ([{"column": "amount", "operator": "!=", "value": 0.2}], [1, 3, 4, 5]),
        ([{"column": "day", "operator": ">", "value": "2026-01-02"}], [4, 5]),
        ([{"column": "note", "operator": "contains", "value": "lines"}], [2]),
        ([{"column": "amount", "operator": "is_empty"}], [4]),
        ([{"column": "note", "operator": "is_filled"}], [2, 3, 5]),
        (
            [{"column": "shop", "operator": "=", "value": "Oslo"}, {"column": "paid", "operator": "=", "value": "no"}],
            [5],
        ),
    ],
)
async def test_rows_are_found_by_conditions(folder: Path, conditions: Any, rows: list[int]) -> None:
    every = list(csv.reader(io.StringIO(SALES)))
    expected = [[row for row in every[1:] if row][number - 1] for number in rows]
    found = await value(folder, "table_filter", conditions=conditions)
    assert (found["rows"], found["matched"], found["is_complete"]) == (expected, len(rows), True)


async def test_only_so_many_rows_and_columns_are_shown(folder: Path) -> None:
    found = await value(folder, "table_filter", columns=["amount", "shop"], max_rows=2)
    assert found == {
        "matched": 5,
        "columns": ["amount", "shop"],
        "rows": [["0.10", "Oslo"], ["0.20", "Oslo"]],
        "is_complete": False,
    }
    assert "give 1 to 1,000" in str((await call(folder, "table_filter", max_rows=0)).error)


async def test_groups_add_up_exactly(folder: Path) -> None:
    assert await value(folder, "table_group", by=["shop"], totals=["amount"]) == [
        {
            "key": {"shop": "Oslo"},
            "rows": 3,
            "totals": {
                "amount": {
                    "filled": 3, "empty": 0, "total": "0.60", "mean": "0.20000000", "minimum": "0.10", "maximum": "0.30",
                }
            },
        },
        {
            "key": {"shop": "Rome"},
            "rows": 2,
            "totals": {
                "amount": {"filled": 1, "empty": 1, "total": "-5", "mean": "-5.000000", "minimum": "-5", "maximum": "-5"}
            },
        },
    ]  # fmt: skip
    counted = await value(folder, "table_group", by=["paid", "shop"])
    assert [(one["key"]["paid"], one["rows"]) for one in counted] == [("false", 1), ("no", 1), ("true", 1), ("true", 2)]


async def test_totals_are_over_all_rows_that_match(folder: Path) -> None:
    positive = [{"column": "amount", "operator": ">", "value": 0}]
    found = await value(folder, "table_totals", columns=["amount"], conditions=positive)
    assert (found["rows"], found["totals"]["amount"]["total"]) == (3, "0.60")
    none = await value(
        folder, "table_totals", columns=["amount"], conditions=[{"column": "shop", "operator": "=", "value": "Bonn"}]
    )
    assert none == {
        "key": {},
        "rows": 0,
        "totals": {"amount": {"filled": 0, "empty": 0, "total": "0", "mean": None, "minimum": None, "maximum": None}},
    }


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=None).map(
    lambda number: f"{number:f}"
)


@given(st.lists(NUMBERS, min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_sums_are_those_of_fractions(tmp_path: Path, numbers: list[str]) -> None:
    tables_of = {one.name: one for one in table_tools(tmp_path)}
    short = [number for number in numbers if len(number.partition(".")[2]) <= 60]
    (tmp_path / "n.csv").write_text("n\n" + "".join(f"{number}\n" for number in short))
    sketch: Any = tables_of["table_totals"]

    class Context:
        def raise_if_cancelled(self) -> None:
            """Nobody cancels."""

    found = sketch.function("n.csv", ["n"], Context())["totals"]["n"]
    total = sum((Fraction(number) for number in short), Fraction(0))
    assert Fraction(found["total"]) == total
    if short:
        assert abs(Fraction(found["mean"]) - total / len(short)) <= Fraction(1, 10**6)
        assert Decimal(found["minimum"]) == min(map(Decimal, short))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not name the columns: it is empty"),
        ("a,a\n1,2\n", "does not name the columns: 'a'"),
        ("a,\n1,2\n", "does not name the columns"),
        ("a,b\n1\n", "row 2 of 'sales.csv' has 1 cells, and there are 2 columns"),
        ('a,b\n"1,2\n', "is no CSV file"),
        (b"a\n\xff\n", "is no text in utf-8"),
    ],
)
async def test_a_table_that_cannot_be_read_says_where(folder: Path, text: str | bytes, words: str) -> None:
    (folder / "sales.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in problem(await call(folder, "table_describe"))


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("table_filter", {"columns": ["amont"]}, "there is no column 'amont'"),
        ("table_group", {"by": ["zzz"]}, "there is no column 'zzz'"),
        ("table_totals", {"columns": ["shop"]}, "row 2 of 'sales.csv': shop is 'Oslo', not a number"),
        ("table_filter", {"conditions": [{"column": "shop", "operator": "="}]}, "the condition on 'shop' has no value"),
        ("table_filter", {"path": "../sales.csv"}, "leads out of the folder"),
        ("table_filter", {"conditions": [{"column": "shop", "operator": "like"}]}, "have a mistake"),
    ],
)
async def test_what_cannot_be_asked_of_a_table(folder: Path, name: str, params: dict[str, Any], words: str) -> None:
    assert words in problem(await call(folder, name, **params))


async def test_delimiters_are_found_out_or_given(folder: Path) -> None:
    for delimiter in (",", ";", "\t", "|"):
        (folder / "sales.csv").write_text(f"\ufeffa{delimiter}b\n1{delimiter}2\n", encoding="utf-8")
        assert [one["name"] for one in (await value(folder, "table_describe"))["columns"]] == ["a", "b"]
    (folder / "sales.csv").write_text("a,b;c\n1,2;3\n")
    assert len((await value(folder, "table_describe", delimiter=";"))["columns"]) == 2


async def test_tables_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_GROUPS", 1)
    assert "more than 1 groups" in problem(await call(folder, "table_group", by=["shop"]))
    monkeypatch.setattr(tables, "MAX_DISTINCT", 2)
    assert (await value(folder, "table_describe"))["columns"][0]["distinct"] == "more than 2"
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10)
    assert "above the limit of 10" in problem(await call(folder, "table_describe"))


async def test_a_long_table_can_be_stopped(folder: Path) -> None:
    (folder / "sales.csv").write_text("n\n" + "1\n" * 3_000)
    looks: list[int] = []

    class Context:
        def raise_if_cancelled(self) -> None:
            looks.append(1)

    describe: Any = table_tools(folder)[0]
    assert describe.function("sales.csv", Context())["columns"][0]["total"] == "3000"
    assert len(looks) == 3
