"""Statements to a SQLite file: values apart from the text, reading only unless it is allowed, bounded in rows, size and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from agenticflow.core.tools import Caller, ToolCall, ToolResult
from agenticflow.errors import ConfigurationError, InvalidInput, PermanentError, SecurityError
from agenticflow.integrations.tools.sqlite import SqliteDatabase
from agenticflow.tools import Cancellation, ToolPipeline, ToolRegistry
from agenticflow.tools.builtin import sql_tools


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    connection = apsw.Connection(str(file))
    connection.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT UNIQUE, cents INT);"
        "CREATE VIEW big AS SELECT * FROM orders WHERE cents > 100;"
        "CREATE TABLE log (words);"
        "CREATE TRIGGER noted AFTER DELETE ON orders BEGIN INSERT INTO log VALUES ('gone'); END;"
        "INSERT INTO orders VALUES (1, 'ada', 50), (2, 'bob', 150), (3, 'eve', 250)"
    )
    connection.close()
    return file


async def call(
    path: Path, name: str, *, writable: bool = False, caller: Caller | None = None, **params: object
) -> ToolResult:
    tools = ToolRegistry.of(sql_tools(SqliteDatabase(path, writable=writable), max_rows=2))
    asked = ToolCall(name, params, approved_by="ada")
    if caller is None:
        return await ToolPipeline().invoke(asked, tools=tools)
    return await ToolPipeline().invoke(asked, caller, tools)


def orders(path: Path) -> list[Any]:
    return list(apsw.Connection(str(path)).execute("SELECT * FROM orders ORDER BY id"))


def code(result: ToolResult) -> str:
    assert result.error is not None, result
    return result.error.code


BEFORE = [(1, "ada", 50), (2, "bob", 150), (3, "eve", 250)]


async def test_a_question_has_columns_and_rows(path: Path) -> None:
    found = await call(path, "sql_query", sql="SELECT id, customer FROM orders WHERE cents > ?", parameters=[100])
    assert found.value == {"columns": ["id", "customer"], "rows": [[2, "bob"], [3, "eve"]], "is_complete": True}
    named = await call(path, "sql_query", sql="SELECT cents FROM big WHERE customer = :who", parameters={"who": "eve"})
    assert named.value == {"columns": ["cents"], "rows": [[250]], "is_complete": True}
    nothing = await call(path, "sql_query", sql="SELECT id FROM orders WHERE 0")
    assert nothing.value == {"columns": ["id"], "rows": [], "is_complete": True}
    more = await call(path, "sql_query", sql="SELECT id FROM orders ORDER BY id")
    assert more.value == {"columns": ["id"], "rows": [[1], [2]], "is_complete": False}


async def test_a_value_is_never_part_of_the_statement(path: Path) -> None:
    attack = "x' OR '1'='1"
    found = await call(path, "sql_query", sql="SELECT * FROM orders WHERE customer = ?", parameters=[attack])
    assert isinstance(found.value, dict)
    assert found.value["rows"] == []


async def test_tables_are_listed_with_their_columns(path: Path) -> None:
    assert (await call(path, "sql_tables")).value == {
        "big": ["id INTEGER", "customer TEXT", "cents INT"],
        "log": ["words"],
        "orders": ["id INTEGER", "customer TEXT", "cents INT"],
    }


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "UPDATE orders SET cents = 0",
        "INSERT INTO orders VALUES (9, 'x', 1)",
        "WITH gone AS (SELECT 1) DELETE FROM orders",
        "DROP TABLE orders",
        "CREATE TABLE other (x)",
        "CREATE TEMP TABLE other (x)",
        "ATTACH DATABASE 'other.db' AS other",
        "PRAGMA writable_schema = 1",
        "PRAGMA table_info(orders)",
        "SELECT * FROM pragma_table_info('orders')",
        "VACUUM INTO 'copy.db'",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "REINDEX",
        "ANALYZE",
        "SELECT 1; DELETE FROM orders",
        "SELECT load_extension('x.so')",
    ],
)
async def test_reading_changes_nothing(path: Path, sql: str) -> None:
    refused = await call(path, "sql_query", sql=sql, writable=True)
    assert code(refused) in ("security", "invalid_input")
    assert orders(path) == BEFORE
    assert sorted(one.name for one in path.parent.iterdir() if "-" not in one.name) == ["shop.db"]


@pytest.mark.parametrize(
    ("sql", "parameters", "words"),
    [
        ("SELEC 1", [], "syntax error"),
        ("SELECT * FROM nowhere", [], "no such table: nowhere"),
        ("SELECT ?", [], "Incorrect number of bindings"),
        ("SELECT 1; SELECT 2", [], "there is more than one statement"),
        ("SELECT " + "1 + " * 300 + "1", [], "Expression tree is too large"),
    ],
)
async def test_what_a_statement_gets_wrong_is_told(path: Path, sql: str, parameters: list[Any], words: str) -> None:
    failed = await call(path, "sql_query", sql=sql, parameters=parameters)
    assert code(failed) == "invalid_input"
    assert words in str(failed.error)


async def test_values_and_statements_are_bounded(path: Path) -> None:
    assert code(await call(path, "sql_query", sql="SELECT zeroblob(100000000)")) == "bound_exceeded"
    assert code(await call(path, "sql_query", sql="SELECT '" + "x" * 200_000 + "'")) in (
        "bound_exceeded",
        "invalid_input",
    )


async def test_a_statement_without_end_is_stopped(path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    tools = ToolRegistry.of(sql_tools(SqliteDatabase(path)))
    pipeline = ToolPipeline(grace_seconds=20)
    now = pipeline._now()
    late = await pipeline.invoke(ToolCall("sql_query", {"sql": endless}, deadline=now + 50_000_000), tools=tools)
    assert code(late) == "tool_timeout"
    cancellation = Cancellation()
    cancellation.cancel("enough")
    stopped = await pipeline.invoke(ToolCall("sql_query", {"sql": endless}), tools=tools, cancellation=cancellation)
    assert code(stopped) == "cancelled"
    assert pipeline.abandoned == 0, "the statement has ended, not only the waiting"


async def test_changing_rows_takes_a_writable_database_a_permission_and_an_approval(path: Path) -> None:
    assert [one.name for one in sql_tools(SqliteDatabase(path))] == ["sql_query", "sql_tables"]
    tools = ToolRegistry.of(sql_tools(SqliteDatabase(path, writable=True)))
    update: dict[str, Any] = {"sql": "UPDATE orders SET cents = cents + 1 WHERE id < ?", "parameters": [3]}
    reader = Caller(principal="eve", permissions=frozenset({"sql:read"}))
    assert code(await ToolPipeline().invoke(ToolCall("sql_execute", update), reader, tools)) == "security"
    assert code(await ToolPipeline().invoke(ToolCall("sql_execute", update), tools=tools)) == "approval_required"
    assert orders(path) == BEFORE
    changed = await call(path, "sql_execute", writable=True, **update)
    assert changed.value == {"changed_rows": 2}
    assert orders(path) == [(1, "ada", 51), (2, "bob", 151), (3, "eve", 250)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE orders",
        "ALTER TABLE orders ADD COLUMN x",
        "CREATE TABLE x (y)",
        "DELETE FROM sqlite_schema",
        "DELETE FROM orders; DELETE FROM log",
        "INSERT INTO orders VALUES (4, 'ida', 1), (1, 'x', 1)",
        "INSERT INTO orders VALUES (4, 'ada', 1)",
        "COMMIT",
        "ROLLBACK",
        "PRAGMA user_version = 7",
    ],
)
async def test_a_refused_change_changes_nothing(path: Path, sql: str) -> None:
    assert code(await call(path, "sql_execute", writable=True, sql=sql)) in ("security", "invalid_input")
    assert orders(path) == BEFORE


async def test_what_a_change_returns_and_sets_off_is_done(path: Path) -> None:
    done = await call(path, "sql_execute", writable=True, sql="DELETE FROM orders WHERE id = 1 RETURNING id")
    assert done.value == {"changed_rows": 2}, "with what the trigger wrote"
    assert len(orders(path)) == 2


async def test_a_busy_database_is_the_worlds_move(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.integrations.tools.sqlite.BUSY_MILLISECONDS", 10)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    try:
        failed = await call(path, "sql_execute", writable=True, sql="DELETE FROM orders")
        assert code(failed) == "temporary"
        assert failed.error is not None
        assert failed.error.is_temporary
    finally:
        other.close()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no SQLite file at"):
        SqliteDatabase(tmp_path / "nothing.db")
    wrong = tmp_path / "text.db"
    wrong.write_text("this is text " * 100)
    with pytest.raises(PermanentError, match="no SQLite database that can be read"):
        SqliteDatabase(wrong).tables()
    with pytest.raises(SecurityError, match="open for reading only"):
        SqliteDatabase(path).execute("DELETE FROM orders", (), keep_going=lambda: None)
    with pytest.raises(ConfigurationError, match="max_rows of sql_tools is 0"):
        sql_tools(SqliteDatabase(path), max_rows=0)


def test_what_keeps_going_and_stops_for_a_reason_of_its_own(path: Path) -> None:
    def stop() -> None:
        raise InvalidInput("my reason")

    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(InvalidInput, match="my reason"):
        SqliteDatabase(path).query(endless, (), max_rows=1, keep_going=stop)
