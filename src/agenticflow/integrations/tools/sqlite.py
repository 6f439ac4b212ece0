"""A SQLite file behind the port of ``sql_tools``: read-only unless the program says otherwise, one statement at a time, bounded.

What a statement may do is decided by SQLite itself while it prepares it: an authorizer lets reading through and, of a writable one, changes
of rows; no attaching, no pragma, no change of the schema. apsw and not the sqlite3 module, because two copies of SQLite in one process that
open the same file undo each other's locks, and the file may be the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConfigurationError,
    InvalidInput,
    PermanentError,
    SecurityError,
    TemporaryError,
)
from agenticflow.tools.builtin.sql import Rows, Value

__all__ = ["SqliteDatabase"]

MAX_VALUE_BYTES: Final = 4 * 1024 * 1024
MAX_SQL_BYTES: Final = 100_000
BUSY_MILLISECONDS: Final = 2_000
STEPS_BETWEEN_LOOKS: Final = 10_000
_READING: Final = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE})
_WRITING: Final = _READING | {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_LIMITS: Final = (
    (apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
    (apsw.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES),
    (apsw.SQLITE_LIMIT_EXPR_DEPTH, 200),
    (apsw.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (apsw.SQLITE_LIMIT_ATTACHED, 0),
    (apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (apsw.SQLITE_LIMIT_TRIGGER_DEPTH, 20),
)
Bindings = Sequence[Value] | Mapping[str, Value]


class SqliteDatabase:
    """The file at ``path``, which must be there. A connection for each statement: nothing is kept open."""

    def __init__(self, path: str | Path, *, writable: bool = False) -> None:
        self.path = os.path.abspath(path)
        self.is_writable = writable
        if not os.path.isfile(self.path):
            raise ConfigurationError(
                f"there is no SQLite file at {str(path)!r}", hint="give the path of one that is there"
            )

    def query(self, sql: str, parameters: Bindings, *, max_rows: int, keep_going: Callable[[], None]) -> Rows:
        with self._connected(keep_going, is_writing=False) as connection:
            columns: list[str] = []
            cursor = _alone(connection.cursor(), columns)
            rows = list(islice(cursor.execute(sql, _bindable(parameters)), max_rows + 1))
        return Rows(tuple(columns), tuple(rows[:max_rows]), is_complete=len(rows) <= max_rows)

    def execute(self, sql: str, parameters: Bindings, *, keep_going: Callable[[], None]) -> int:
        if not self.is_writable:
            raise SecurityError("the database is open for reading only", hint="the program opens it with writable=True")
        with self._connected(keep_going, is_writing=True) as connection:
            before = connection.total_changes()
            for _ in _alone(connection.cursor(), []).execute(sql, _bindable(parameters)):
                keep_going()  # what it returns is not asked for
            return connection.total_changes() - before

    def tables(self) -> Mapping[str, Sequence[str]]:
        listed = (
            "SELECT m.name, c.name, c.type FROM sqlite_schema AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.name, c.cid"
        )
        found: dict[str, list[str]] = {}
        with _mapped(), closing(apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            for table, column, kind in connection.execute(listed):
                found.setdefault(str(table), []).append(f"{column} {kind}".strip())
        return found

    @contextmanager
    def _connected(self, keep_going: Callable[[], None], *, is_writing: bool) -> Iterator[apsw.Connection]:
        """Open the file, guarded; what is written is committed at the end of the block, or nothing of it."""
        flags = apsw.SQLITE_OPEN_READWRITE if is_writing else apsw.SQLITE_OPEN_READONLY
        stopped: list[AgenticFlowError] = []

        def look() -> bool:
            try:
                keep_going()
            except AgenticFlowError as error:
                stopped.append(error)
                return True
            return False

        with _mapped(stopped), closing(apsw.Connection(self.path, flags=flags)) as connection:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            for limit, value in _LIMITS:
                connection.limit(limit, value)
            if is_writing:
                connection.execute("BEGIN IMMEDIATE")
            connection.authorizer = _authorizer(_WRITING if is_writing else _READING)
            connection.set_progress_handler(look, STEPS_BETWEEN_LOOKS)
            yield connection
            if is_writing:
                connection.set_progress_handler(None)
                connection.authorizer = None
                connection.execute("COMMIT")


def _authorizer(allowed: frozenset[int]) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    def authorize(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
        if action not in allowed:
            return apsw.SQLITE_DENY
        if action == apsw.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
            return apsw.SQLITE_DENY
        is_change = action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE)
        if is_change and (first or "").lower().startswith("sqlite_"):
            return apsw.SQLITE_DENY
        return apsw.SQLITE_OK

    return authorize


def _alone(cursor: apsw.Cursor, columns: list[str]) -> apsw.Cursor:
    """Let the cursor run one statement, note its ``columns``, and refuse a second one before it begins."""
    count = 0

    def began(begun: apsw.Cursor, *_: object) -> bool:
        nonlocal count
        count += 1
        if count > 1:
            raise InvalidInput("there is more than one statement", hint="send one at a time")
        columns.extend(column[0] for column in begun.get_description())
        return True

    cursor.exec_trace = began
    return cursor


def _bindable(parameters: Bindings) -> Bindings:
    return dict(parameters) if isinstance(parameters, Mapping) else tuple(parameters)


@contextmanager
def _mapped(stopped: Sequence[AgenticFlowError] = ()) -> Iterator[None]:
    """Say in our words what SQLite raises, whose move it is, and never what it was asked by whom."""
    try:
        yield
    except apsw.InterruptError as error:
        if stopped:
            raise stopped[0] from error
        raise TemporaryError("the statement was interrupted") from error
    except (apsw.AuthError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise SecurityError(
            f"the statement may not do that: {error}",
            hint="SELECT reads; INSERT, UPDATE and DELETE only where it is allowed",
        ) from error
    except (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.NoMemError) as error:
        raise TemporaryError(f"the database is busy or out of space: {error}") from error
    except apsw.TooBigError as error:
        raise BoundExceeded(f"a value or the statement is too large: {error}", hint="ask for less") from error
    except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError) as error:
        raise PermanentError(f"the file is no SQLite database that can be read: {error}") from error
    except (apsw.Error, TypeError) as error:
        raise InvalidInput(f"the statement is wrong: {error}", hint="look at the tables with sql_tables") from error
