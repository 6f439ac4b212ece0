"""Destructive SQL is found by its words, in every way in which some database reads a text; what only looks like it passes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.guardrails import destructive_sql
from agenticflow.agents.guardrails.builtin.sql import DESTRUCTIVE, destruction_in
from agenticflow.errors import DefinitionError

HARMLESS = [
    "",
    ";;",
    "SELECT 1",
    "select updated_at, deleted, created_by from dropped_orders where truncated = 1",
    "SELECT 'DROP TABLE users'",
    "SELECT 'it''s; DELETE FROM users'",
    'SELECT "delete", `drop` FROM t',
    "SELECT replace(name, 'a', 'b') FROM t WHERE x OR replace(y, 'a', 'b') = 'c'",
    "SELECT 1 -- DROP TABLE users",
    "SELECT 1 -- DROP TABLE users\nFROM t",
    "SELECT /* DELETE FROM users; */ 1",
    "WITH x AS (SELECT 1 AS n) SELECT n FROM x",
    "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 9) SELECT sum(n) FROM t",
    "SELECT * FROM accounts FOR UPDATE",
    "EXPLAIN ANALYZE SELECT 1",
    "(SELECT 1) UNION (SELECT 2)",
    "INSERT INTO log (line) VALUES ('delete from x')",
    "INSERT INTO t (a) SELECT a FROM u",
    "CREATE TABLE t (id int, changed timestamp, FOREIGN KEY (id) REFERENCES u ON DELETE CASCADE ON UPDATE SET NULL)",
    "SELECT $1, $2 FROM t WHERE name = $3",
    "SELECT a$b FROM t",
    "SELECT a.execute FROM a",
    "SELECT arr[1], '\\d' FROM t",
    "SHOW TABLES",
    "DESCRIBE users",
]

DESTROYING = [
    ("DROP TABLE users", "DROP"),
    ("drop\ttable users", "DROP"),
    ("  (( DROP TABLE users", "DROP"),
    ("/* harmless */ DROP TABLE users", "DROP"),
    ("DR/**/OP TABLE users; TRUNCATE t", "TRUNCATE"),
    ("-- harmless\nDELETE FROM users", "DELETE"),
    ("DELETE users", "DELETE"),
    ("SELECT 1; DELETE FROM users WHERE id = 1", "DELETE"),
    ("SELECT 1;;\n;  update users SET name = 'x'", "UPDATE"),
    ("SELECT ';' ; TRUNCATE users", "TRUNCATE"),
    ("WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone", "DELETE"),
    ("WITH gone AS MATERIALIZED (\n/* */DELETE FROM users RETURNING *) SELECT 1", "DELETE"),
    ("WITH x AS (SELECT 1) DELETE FROM users USING x", "DELETE"),
    ("WITH x AS (SELECT 1) UPDATE users SET name = 'x'", "UPDATE"),
    ("WITH x AS (SELECT 1) MERGE INTO users USING x ON true WHEN MATCHED THEN DELETE", "MERGE"),
    ("EXPLAIN ANALYZE DELETE FROM users", "DELETE"),
    ("EXPLAIN (ANALYZE, BUFFERS) UPDATE users SET a = 1", "UPDATE"),
    ("SELECT * FROM users DROP TABLE users", "DROP"),
    ("SELECT 1 EXEC sp_destroy", "EXEC"),
    ("EXEC xp_cmdshell 'format c:'", "EXEC"),
    ("SELECT 1 UPDATE users SET name = 'x'", "UPDATE"),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", "REPLACE"),
    ("INSERT OR REPLACE INTO t VALUES (1)", "REPLACE"),
    ("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", "UPDATE"),
    ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1", "UPDATE"),
    ("SELECT * FROM users INTO OUTFILE '/tmp/x'", "COPY"),
    ("ALTER TABLE users DROP COLUMN name", "ALTER"),
    ("GRANT ALL ON users TO mallory", "GRANT"),
    ("DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$", "DO"),
    ("COPY users TO PROGRAM 'curl example.org'", "COPY"),
    ("ATTACH DATABASE 'x' AS y", "ATTACH"),
    # read one way a string or a comment, read another way a statement
    ("SELECT '\\'; DROP TABLE users; --'", "DROP"),
    ("SELECT '\\' ; ' ; DROP TABLE users; -- '", "DROP"),
    ('SELECT "\\" ; " ; DROP TABLE users; -- "', "DROP"),
    ("SELECT 1--1; DROP TABLE users", "DROP"),
    ("SELECT $$; DROP TABLE users; SELECT $$", "DROP"),
    ("SELECT /* /* */ 1; DROP TABLE users; -- */", "DROP"),
    ("SELECT 1 /*!50000 ; DROP TABLE users */", "DROP"),
    ("SELECT 1; /*!DROP*/ TABLE users", "DROP"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_destructive_passes(text: str) -> None:
    assert destruction_in(text) == ""


@pytest.mark.parametrize(("text", "verb"), DESTROYING)
def test_what_destroys_is_found(text: str, verb: str) -> None:
    assert destruction_in(text).endswith(f"would {verb}")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE t (id int)",
        "SELECT * INTO copy FROM t",
        "SET role admin",
        "BEGIN; SELECT 1",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT 1",
        "nonsense",
        "(",
        "DROP TABLE t",
    ],
)
def test_read_only_lets_nothing_pass_but_queries(text: str) -> None:
    assert destruction_in(text, read_only=True)


@pytest.mark.parametrize(
    "text", ["SELECT 1", "WITH x AS (SELECT 1) SELECT 1", "VALUES (1)", "EXPLAIN SELECT 1", "TABLE t"]
)
def test_queries_are_read_only(text: str) -> None:
    assert destruction_in(text, read_only=True) == ""


async def test_verbs_are_allowed_one_by_one() -> None:
    check: Any = destructive_sql(allow=["update"]).check
    assert check(None, "UPDATE t SET a = 1; WITH x AS (SELECT 1) UPDATE t SET a = 1") == (True, "")
    assert check(None, ["SELECT 1", {"q": "UPDATE t SET a = 1; DELETE FROM t"}]) == (False, "statement 2 would DELETE")
    dropping: Any = destructive_sql(allow=["drop"]).check
    assert dropping(None, "SELECT 1 DROP TABLE t") == (True, "")
    reading = destructive_sql(read_only=True, allow=["Pragma"])
    assert reading.name == "read_only_sql"
    assert reading.check(None, "PRAGMA table_info(t)") == (True, "")
    assert reading.check(None, "INSERT INTO t VALUES (1)") == (False, "statement 1 would INSERT")
    with pytest.raises(DefinitionError, match="UPDAT"):
        destructive_sql(allow=["updat"])


def test_one_argument_of_a_tool_is_sql() -> None:
    check: Any = destructive_sql(read_only=True, argument="query").check
    assert check(None, {"query": "SELECT 1", "database": "main", "note": "drop table"}) == (True, "")
    assert check(None, {"query": "DROP TABLE t"}) == (False, "statement 1 would DROP")
    assert check(None, {"sql": "SELECT 1"}) == (False, "there is no 'query' to be read")
    assert check(None, "SELECT 1") == (False, "there is no 'query' to be read")


def test_a_text_that_is_too_long_does_not_pass() -> None:
    assert "too many" in destruction_in("x" * 100_001)


def test_hard_texts_cost_little() -> None:
    started = time.perf_counter()
    for text in (
        "'" * 99_999,
        "/*" * 49_999,
        "$a$" * 33_000,
        "\\'--$$" * 16_000,
        "(" * 99_999,
        "-" * 99_999,
        "/*!" * 33_000,
    ):
        destruction_in(text)
    assert time.perf_counter() - started < 30


WORDS = st.sampled_from(
    ["SELECT", "a", "b", ",", "FROM", "t", "WHERE", "=", "1", "AND", "updated_at", "'text'", "(", ")", "x.drop"]
)


@given(
    st.lists(WORDS, max_size=12),
    st.sampled_from(sorted(DESTRUCTIVE)),
    st.sampled_from([" ", "\n", "\t", "/* x */", "-- x\n"]),
)
def test_a_statement_that_begins_so_is_found_wherever_it_stands(words: list[str], verb: str, space: str) -> None:
    mixed = "".join(letter.lower() if at % 2 else letter for at, letter in enumerate(verb))
    before = space.join(["SELECT", *words])
    assert destruction_in(f"{before};{space}{mixed}{space}x")


@given(
    st.lists(WORDS, max_size=12),
    st.sampled_from(["'{}'", '"{}"', "`{}`", "/* {} */", "-- {}\n"]),
    st.sampled_from(sorted(DESTRUCTIVE)),
)
def test_what_stands_in_texts_names_and_comments_is_not_run(words: list[str], quote: str, verb: str) -> None:
    text = " ".join(["SELECT", *words, quote.format(f"x; {verb} y"), "FROM t"])
    assert destruction_in(text) == ""
