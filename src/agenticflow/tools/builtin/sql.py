"""Statements to a database as tools. Which database is a port: ``integrations.tools.sqlite`` has the first that stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Protocol, TypedDict

import msgspec

from agenticflow.errors import BoundExceeded, ConfigurationError
from agenticflow.tools.context import ToolContext
from agenticflow.tools.tool import Tool, tool

__all__ = ["Rows", "SqlDatabase", "sql_tools"]

Value = str | int | float | bytes | None
Parameter = str | int | float | None
Parameters = Annotated[
    list[Parameter] | dict[str, Parameter], "values for ? or :name in the statement; never write values into it"
]
MAX_ROWS: Final = 1_000
"""Of one answer, unless the program says otherwise."""
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024


class Rows(msgspec.Struct, frozen=True):
    """What a query found."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    is_complete: bool
    """Whether there are no more."""


class SqlDatabase(Protocol):
    """A database that takes one statement at a time, with its values apart. Called from threads, several at once.

    Raises ``InvalidInput`` for what the statement gets wrong, ``SecurityError`` for what it may not do, ``TemporaryError`` when the
    database is busy. ``keep_going`` is called while a statement runs and may raise, which ends it.
    """

    @property
    def is_writable(self) -> bool:
        """Whether ``execute`` is for use."""

    def query(
        self,
        sql: str,
        parameters: Sequence[Value] | Mapping[str, Value],
        *,
        max_rows: int,
        keep_going: Callable[[], None],
    ) -> Rows:
        """Return the first ``max_rows`` rows. Whatever the statement says, nothing is changed."""

    def execute(
        self, sql: str, parameters: Sequence[Value] | Mapping[str, Value], *, keep_going: Callable[[], None]
    ) -> int:
        """Change rows, all of them or none, and return how many; tables themselves stay as they are."""

    def tables(self) -> Mapping[str, Sequence[str]]:
        """Return the columns of every table and view, each with its type, in order."""


class Answer(TypedDict):
    """What a query found."""

    columns: list[str]
    rows: list[list[Value]]
    is_complete: bool


class Changed(TypedDict):
    """What a statement did."""

    changed_rows: int


def sql_tools(database: SqlDatabase, *, max_rows: int = MAX_ROWS) -> tuple[Tool, ...]:
    """Return ``sql_query``, ``sql_tables`` and, when the database is writable, ``sql_execute``.

    Reading needs the permission ``sql:read``; changing ``sql:write``, and a person's approval of each call: it must not happen twice.
    """
    if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
        raise ConfigurationError(f"max_rows of sql_tools is {max_rows!r}", hint="give a whole number of at least 1")

    @tool(category="data", effect="pure", permissions=["sql:read"], max_result_bytes=MAX_RESULT_BYTES)
    def sql_query(
        sql: Annotated[str, "one SELECT statement"], ctx: ToolContext, parameters: Parameters | None = None
    ) -> Answer:
        """Ask the database one question, without changing anything."""
        found = database.query(sql, parameters or [], max_rows=max_rows, keep_going=ctx.raise_if_cancelled)
        return Answer(
            columns=list(found.columns), rows=[list(row) for row in found.rows], is_complete=found.is_complete
        )

    @tool(category="data", effect="pure", permissions=["sql:read"])
    def sql_tables() -> dict[str, list[str]]:
        """List the tables and views of the database with their columns."""
        found = database.tables()
        if len(found) > MAX_ROWS:
            raise BoundExceeded(f"there are {len(found):,} tables", hint="ask for them with sql_query")
        return {name: list(columns) for name, columns in found.items()}

    @tool(category="data", effect="at_most_once", needs_approval=True, permissions=["sql:write"])
    def sql_execute(
        sql: Annotated[str, "one INSERT, UPDATE or DELETE statement"],
        ctx: ToolContext,
        parameters: Parameters | None = None,
    ) -> Changed:
        """Change rows of the database."""
        return Changed(changed_rows=database.execute(sql, parameters or [], keep_going=ctx.raise_if_cancelled))

    reading: tuple[Tool, ...] = (sql_query, sql_tables)
    return (*reading, sql_execute) if database.is_writable else reading
