"""How context goes into prompts: schemas, filters and messages as text that models read. Pure.

Names and values come from data that nobody here has checked; each stays on its line, quoted as JSON where it is a value, so that data does
not turn into instructions by its form alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from agenticflow.agents.context.context import AgentContext
from agenticflow.core import codec
from agenticflow.errors import InvalidInput

__all__ = ["build_messages", "filter_instructions", "format_schema_for_prompt"]

DEFAULT_CHARS: Final = 20_000
MAX_VALUES: Final = 50
"""Values of a filter that are told one by one."""
MAX_VALUE_CHARS: Final = 200

Message = dict[str, Any]


def format_schema_for_prompt(schema: Mapping[str, Any] | None, *, max_chars: int = DEFAULT_CHARS) -> str:
    """Return the tables as text, a line for each column; empty without a schema.

    A table is a list of column names, a mapping of names to types, or ``{"columns": …, "description": …}``. A column is its name, its
    type, or ``{"name": …, "type": …, "description": …, "primary_key": true, "references": "table.column"}``. Tables that do not fit into
    ``max_chars`` are counted at the end. Raises ``InvalidInput`` for another form.
    """
    if not schema:
        return ""
    lines: list[str] = []
    size, told = 0, 0
    for name, table in schema.items():
        part = list(_table_lines(name, table))
        size += sum(len(line) + 1 for line in part)
        if size > max_chars and told:
            break
        lines += part
        told += 1
    if told < len(schema):
        lines.append(f"… and {len(schema) - told} more tables")
    return "\n".join(lines)


def filter_instructions(filters: Mapping[str, Any] | None) -> str:
    """Return what the filters mean as instructions; empty without any.

    A value means "is", a list "is one of", ``{"min": …, "max": …}`` a range, ``{"not": …}`` the opposite, ``None`` "is not set".
    """
    if not filters:
        return ""
    lines = [f"- {_line(name)} {_condition(wanted)}" for name, wanted in filters.items()]
    return "\n".join(["Use only data where all of this holds:", *lines])


def build_messages(
    user_query: str,
    *,
    instructions: str = "",
    context: AgentContext | None = None,
    with_schema: bool = True,
    history: Iterable[Message] = (),
) -> list[Message]:
    """Return the messages for a model: instructions with schema and filters as one system message, then the history, then the query.

    Raises ``InvalidInput`` for a query that is no text.
    """
    if not isinstance(user_query, str) or not user_query.strip():
        raise InvalidInput(f"the query is {user_query!r:.60}", hint="give the text that the user wrote")
    parts = [instructions.strip()]
    if context is not None:
        tables = format_schema_for_prompt(context.schema) if with_schema else ""
        parts += [f"The database has these tables:\n{tables}" if tables else "", filter_instructions(context.filters)]
    system = "\n\n".join(part for part in parts if part)
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*first, *history, {"role": "user", "content": user_query}]


def _table_lines(name: str, table: Any) -> Iterator[str]:
    description, columns = "", table
    if isinstance(table, Mapping) and "columns" in table:
        description, columns = str(table.get("description") or ""), table["columns"]
    yield f"Table {_line(name)}{f': {_line(description)}' if description else ''}"
    if isinstance(columns, Mapping):
        for column, said in columns.items():
            yield _column_line({"name": column, **(said if isinstance(said, Mapping) else {"type": said})}, name)
    elif isinstance(columns, (list, tuple)):
        for column in columns:
            yield _column_line(column if isinstance(column, Mapping) else {"name": column}, name)
    else:
        raise InvalidInput(
            f"the table {name!r:.60} of the schema is a {type(columns).__name__}",
            hint='write {"orders": {"id": "integer", "total": "numeric"}}',
        )


def _column_line(column: Mapping[str, Any], table: str) -> str:
    if not isinstance(column.get("name"), str):
        raise InvalidInput(f"a column of {table!r:.60} has no name", hint='write {"name": "id", "type": "integer"}')
    words = _line(column["name"])
    if column.get("type"):
        words += f" {_line(str(column['type']))}"
    if column.get("primary_key"):
        words += ", primary key"
    if column.get("references"):
        words += f", refers to {_line(str(column['references']))}"
    if column.get("description"):
        words += f": {_line(str(column['description']))}"
    return f"- {words}"


def _condition(wanted: Any) -> str:
    if wanted is None:
        return "is not set"
    if isinstance(wanted, Mapping):
        if set(wanted) == {"not"}:
            return "is set" if wanted["not"] is None else _condition(wanted["not"]).replace("is ", "is not ", 1)
        if wanted and set(wanted) <= {"min", "max"}:
            ends = [
                f"{words} {_value(wanted[end])}"
                for end, words in (("min", "at least"), ("max", "at most"))
                if end in wanted
            ]
            return f"is {' and '.join(ends)}"
        raise InvalidInput(f"a filter is {dict(wanted)!r:.80}", hint='write {"min": 1, "max": 9} or {"not": "closed"}')
    if isinstance(wanted, (list, tuple, set, frozenset)):
        plain = codec.in_order(wanted) if isinstance(wanted, (set, frozenset)) else wanted
        values = [_value(one) for one in (plain if isinstance(plain, (list, tuple)) else ())]
        more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
        return (
            f"is one of {', '.join(values[:MAX_VALUES])}{more}"
            if values
            else "is one of nothing: there is no such data"
        )
    return f"is {_value(wanted)}"


def _value(value: Any) -> str:
    text = json.dumps(codec.decode(codec.encode(value)), ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def _line(text: str) -> str:
    """Return the text on one line."""
    return " ".join(str(text).split())
