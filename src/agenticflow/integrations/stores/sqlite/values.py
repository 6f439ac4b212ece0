"""Values by key in a SQLite file: what a write asks for, how it joins the transaction of the commits beside it, how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from agenticflow.errors import AgenticFlowError, CorruptStore
from agenticflow.storage.key_values import MAX_PAGE_BYTES, KeyValue, check_version, end_of_prefix

__all__ = ["DeleteValue", "PutValue", "ValueWrites", "remove_expired", "value_of", "value_page"]

REMOVED_PER_TRANSACTION: Final = 64
"""Expired values that a transaction with writes removes beside them."""
_ONE: Final = "SELECT version, updated_at, expires_at, value FROM key_values WHERE namespace = ? AND key = ?"
# One row for the page, like pages.py: numbers and names as JSON, the bytes end to end.
_PAGE: Final = """
SELECT json_group_array(json_array(key, version, updated_at, expires_at, size)), CAST(group_concat(CAST(value AS TEXT), '') AS BLOB)
FROM (SELECT *, sum(size) OVER (ORDER BY key) AS total, row_number() OVER (ORDER BY key) AS number
      FROM (SELECT key, version, updated_at, expires_at, length(value) AS size, value FROM key_values
            WHERE namespace = ? AND key >= ? AND key > ? AND {end} AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?))
WHERE number = 1 OR total <= ?
"""
_heads: Final = msgspec.json.Decoder(list[tuple[str, int, int, int | None, int]])
_INTO: Final = "INSERT OR REPLACE INTO key_values (namespace, key, version, updated_at, expires_at, value) VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE_EXPIRED: Final = """
DELETE FROM key_values WHERE rowid IN (SELECT rowid FROM key_values WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""


class PutValue(msgspec.Struct, frozen=True):
    """A value on its way in, checked already."""

    namespace: str
    key: str
    value: bytes
    now: int
    expires_at: int | None
    expected: int


class DeleteValue(msgspec.Struct, frozen=True):
    """A value on its way out."""

    namespace: str
    key: str
    expected: int


class ValueWrites:
    """The writes of one transaction: each sees those before it."""

    __slots__ = ("_now", "_pending")

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], KeyValue | None] = {}
        self._now: int | None = None

    def take(self, db: apsw.Connection, write: PutValue | DeleteValue) -> int | bool | AgenticFlowError:
        """Check one write and note it; return its answer. A refused one notes nothing."""
        name = (write.namespace, write.key)
        found = self._pending[name] if name in self._pending else value_of(db, *name)
        if isinstance(write, PutValue) and found is not None and _has_expired(found, write.now):
            found = None
        version = 0 if found is None else found.version
        try:
            check_version(*name, write.expected, version)
        except AgenticFlowError as refusal:
            return refusal
        if isinstance(write, DeleteValue):
            self._pending[name] = None
            return found is not None
        self._pending[name] = KeyValue(*name, write.value, version + 1, write.now, write.expires_at)
        self._now = write.now if self._now is None else max(self._now, write.now)
        return version + 1

    def insert(self, db: apsw.Connection) -> None:
        """Write everything, inside the open transaction of ``db``, and remove some of what has expired."""
        for (namespace, key), value in self._pending.items():
            if value is None:
                db.execute("DELETE FROM key_values WHERE namespace = ? AND key = ?", (namespace, key))
            else:
                columns = (namespace, key, value.version, value.updated_at, value.expires_at, value.value)
                db.execute(_INTO, columns)
        if self._now is not None:
            remove_expired(db, self._now, REMOVED_PER_TRANSACTION)


def remove_expired(db: apsw.Connection, now: int, limit: int) -> int:
    """Remove up to ``limit`` values that have expired; return how many there were."""
    db.execute(_REMOVE_EXPIRED, (now, limit))
    return db.changes()


def value_of(db: apsw.Connection, namespace: str, key: str) -> KeyValue | None:
    """Return the value as it lies there, expired or not."""
    for version, updated_at, expires_at, value in db.execute(_ONE, (namespace, key)):
        return KeyValue(namespace, key, value, version, updated_at, expires_at)
    return None


def value_page(
    db: apsw.Connection, namespace: str, now: int, prefix: str, after: str | None, limit: int
) -> Sequence[KeyValue]:
    """Return the page of ``KeyValues.list_values``."""
    end = end_of_prefix(prefix)
    bounds: list[object] = [namespace, prefix, after or ""]
    if end is not None:
        bounds.append(end)
    page: list[KeyValue] = []
    query = _PAGE.format(end="1" if end is None else "key < ?")
    for heads, content in db.execute(query, (*bounds, now, limit, MAX_PAGE_BYTES)):
        content, start = content or b"", 0
        for key, version, updated_at, expires_at, size in _heads.decode(heads):
            page.append(KeyValue(namespace, key, content[start : start + size], version, updated_at, expires_at))
            start += size
        if start != len(content):
            raise CorruptStore("values have other sizes than their bytes", hint="run `agenticflow store verify`")
    return page


def _has_expired(value: KeyValue, now: int) -> bool:
    return value.expires_at is not None and value.expires_at <= now
