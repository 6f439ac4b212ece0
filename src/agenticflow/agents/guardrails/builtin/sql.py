"""Whether SQL destroys something, told from its words and not from its letters. Pure.

Databases disagree on what is a comment and what is a string, so a text is read in every way that some database reads it: with and without
backslash escapes, with ``--`` as a comment always or only before a space, with and without dollar quotes. It passes when no reading
finds anything. This guards against accidents and simple attacks; the right that the connection has in the database is the real fence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, product
from typing import Any, Final

from agenticflow.agents.guardrails.builtin.texts import texts_in
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.errors import DefinitionError

__all__ = ["destruction_in", "destructive_sql"]

MAX_SQL_CHARS: Final = 100_000

DESTRUCTIVE: Final = frozenset(
    {
        "ALTER",
        "ATTACH",
        "CALL",
        "COPY",
        "DELETE",
        "DETACH",
        "DO",
        "DROP",
        "EXEC",
        "EXECUTE",
        "GRANT",
        "KILL",
        "LOAD",
        "MERGE",
        "PREPARE",
        "PURGE",
        "REINDEX",
        "RENAME",
        "REPLACE",
        "REVOKE",
        "SHUTDOWN",
        "TRUNCATE",
        "UPDATE",
        "VACUUM",
        "XP_CMDSHELL",
    }
)
"""What a statement may not begin with."""
CHANGING: Final = frozenset(
    {"CREATE", "INSERT", "UPSERT", "IMPORT", "LOCK", "SET", "USE", "BEGIN", "START", "COMMIT", "ROLLBACK", "PRAGMA"}
)
"""What a statement that only reads does not begin with either."""
READING: Final = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "DESCRIBE", "DESC", "FROM"})

# Beginnings of statements that stand in the middle: some databases need no semicolon between two statements.
PAIRS: Final = frozenset(
    (first, second)
    for first, seconds in {
        "DROP": "TABLE DATABASE SCHEMA VIEW INDEX USER ROLE FUNCTION PROCEDURE TRIGGER SEQUENCE COLUMN CONSTRAINT MATERIALIZED",
        "ALTER": "TABLE DATABASE SCHEMA USER ROLE VIEW SYSTEM",
        "TRUNCATE": "TABLE",
        "DELETE": "FROM",
        "OR": "REPLACE",
        "INTO": "OUTFILE DUMPFILE",
        "KEY": "UPDATE",
        "DO": "UPDATE",
    }.items()
    for second in seconds.split()
)
VERB_OF_PAIR: Final = {"OR": "REPLACE", "INTO": "COPY", "KEY": "UPDATE", "DO": "UPDATE"}

_EXECUTED_COMMENT: Final = re.compile(r"/\*[!+M]!?\d*")
_STRINGS: Final = {
    False: r"'(?:[^']|'')*(?:'|\Z)",
    True: r"'(?:[^'\\]|''|\\.)*(?:'|\Z)",
}
_NAMES: Final = {
    False: r'"(?:[^"]|"")*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)',
    True: r'"(?:[^"\\]|""|\\.)*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)',
}
_DASHES: Final = {False: r"--[^\r\n]*", True: r"--(?=[\s\x00-\x1f]|\Z)[^\r\n]*"}
_DOLLARS: Final = {False: r"(?!)", True: r"\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)"}


@cache
def _reading(escapes: bool, dashes: bool, dollars: bool) -> re.Pattern[str]:
    """Return what parts a text as a database does that has these escapes in strings, these comments and these quotes."""
    return re.compile(
        rf"(?P<skip>\s+|/\*.*?(?:\*/|\Z)|{_DASHES[dashes]})|(?P<text>{_STRINGS[escapes]}|{_NAMES[escapes]}|{_DOLLARS[dollars]})"
        r"|(?P<word>[^\W\d]\w*)|(?P<sign>.)",
        re.DOTALL,
    )


def destructive_sql(
    *,
    read_only: bool = False,
    allow: Iterable[str] = (),
    argument: str = "",
    kinds: Iterable[GuardrailKind | str] = (GuardrailKind.TOOL_INPUT,),
) -> Guardrail:
    """Let pass SQL that destroys and changes nothing that is there: no ``DROP``, ``DELETE``, ``UPDATE``, ``TRUNCATE``, ``GRANT`` …, also
    behind comments, in a second statement, or inside ``WITH``.

    ``read_only`` also refuses what adds something (``INSERT``, ``CREATE``, ``SELECT … INTO``) and whatever is no query. ``allow`` takes
    verbs off the list: ``allow=["update"]``. ``argument`` names the one of a tool's arguments that is SQL; without it every text of the
    value is read as SQL, prose as well.
    """
    allowed = frozenset(verb.upper() for verb in allow)
    unknown = sorted(allowed - DESTRUCTIVE - CHANGING)
    if unknown:
        raise DefinitionError(
            f"destructive_sql knows no {unknown[0]!r}", hint=f"verbs are {', '.join(sorted(DESTRUCTIVE | CHANGING))}"
        )

    def check(ctx: Any, value: Any) -> Verdict:
        if argument:
            if not isinstance(value, Mapping) or argument not in value:
                return False, f"there is no {argument!r} to be read"
            value = value[argument]
        for text in texts_in(value, with_names=False):
            found = destruction_in(text, read_only=read_only, allowed=allowed)
            if found:
                return False, found
        return True, ""

    return Guardrail(
        check, name="read_only_sql" if read_only else "destructive_sql", kinds=kinds, is_quick=True, is_blocking=True
    )


def destruction_in(text: str, *, read_only: bool = False, allowed: frozenset[str] = frozenset()) -> str:
    """Return what the SQL in ``text`` would do that it may not, in words; empty when there is nothing."""
    if len(text) > MAX_SQL_CHARS:
        return f"{len(text):,} characters of SQL are too many to be read, at most {MAX_SQL_CHARS:,}"
    # MySQL executes what stands in /*! … */
    versions = [text, _EXECUTED_COMMENT.sub(" ", text).replace("*/", " ")] if _EXECUTED_COMMENT.search(text) else [text]
    # a reading differs from another only where its sign is
    escapes, dashes, dollars = ((False, True) if mark in text else (False,) for mark in ("\\", "--", "$"))
    for version, *marks in product(versions, escapes, dashes, dollars):
        reading = _reading(marks[0], marks[1], marks[2])
        for number, statement in enumerate(_statements(_tokens(reading, version)), 1):
            verb = _verb_against(statement, read_only, allowed)
            if verb:
                return f"statement {number} would {verb}"
    return ""


def _tokens(reading: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield words in capitals, signs, and ``''`` for each string or quoted name."""
    for match in reading.finditer(text):
        match match.lastgroup:
            case "word":
                yield match[0].upper()
            case "sign":
                yield match[0]
            case "skip":
                continue
            case _:
                yield "''"


def _statements(tokens: Iterable[str]) -> Iterator[list[str]]:
    statement: list[str] = []
    for sign in chain(tokens, ";"):
        if sign == ";":
            if statement:
                yield statement
            statement = []
        else:
            statement.append(sign)


def _verb_against(statement: Sequence[str], read_only: bool, allowed: frozenset[str]) -> str:
    """Return the verb because of which the statement may not run, empty when it may."""
    forbidden = (DESTRUCTIVE | CHANGING if read_only else DESTRUCTIVE) - allowed
    first = next((word for word in statement if word != "("), "")
    if first in forbidden:
        return first
    is_prefixed = first in ("WITH", "EXPLAIN", "DESCRIBE", "DESC", "BEGIN")
    for before, word, after in zip(("", *statement), statement, (*statement[1:], ""), strict=False):
        if (before, word) in PAIRS and (word != "REPLACE" or after != "("):
            verb = VERB_OF_PAIR.get(before, before)
            if verb in forbidden:
                return verb
        if word not in forbidden:
            continue
        if word in ("EXEC", "EXECUTE", "XP_CMDSHELL") and before not in (".", "AS"):
            return word
        # the body or the main statement of WITH, or what EXPLAIN ANALYZE runs: a name at these places would be quoted
        if is_prefixed and before in ("(", ")", "BEGIN", "EXPLAIN", "ANALYZE", "VERBOSE", "PLAN"):
            return word
    if "UPDATE" in forbidden and _is_update_within(statement):
        return "UPDATE"
    if read_only and first not in READING and first not in allowed:
        return f"do something else than read ({first or 'nothing'})"
    if read_only and first in READING and "INTO" in statement:
        return "SELECT INTO"
    return ""


def _is_update_within(statement: Sequence[str]) -> bool:
    """Whether ``UPDATE … SET`` stands somewhere; ``FOR UPDATE`` only locks."""
    for at, word in enumerate(statement):
        if word == "UPDATE" and (at == 0 or statement[at - 1] not in ("FOR", "ON", ".", ",")):
            return "SET" in statement[at + 1 : at + 8]
    return False
