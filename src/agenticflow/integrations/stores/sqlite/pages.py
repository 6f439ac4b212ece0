"""Pages of events and of index rows, each read as one row.

Every step to a next row gives the interpreter's lock away and has to win it back: beside a busy event loop that takes up to five
milliseconds a row, seconds for a page. So SQLite joins a page into one row: numbers and text as JSON, the bytes end to end, cut apart
again here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from agenticflow.errors import CorruptStore
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.rows import RunRow

__all__ = ["event_page", "run_page"]

# A cast from BLOB to TEXT and back changes no byte, and || keeps NULs; tests/unit/storage/test_sqlite_files.py holds both against bytes
# that are no text.
_EVENTS: Final = """
SELECT json_group_array(json_array(name, version, position, type, recorded_at, schema_version, length(data), length(metadata))),
       CAST(group_concat(CAST(data AS TEXT) || CAST(metadata AS TEXT), '') AS BLOB)
FROM (SELECT s.name, e.version, e.position, e.type, e.recorded_at, e.schema_version, e.data, e.metadata
      FROM events e JOIN streams s ON s.sid = e.sid WHERE {where} ORDER BY {order} LIMIT ?)
"""
_RUNS: Final = """
SELECT json_group_array(json_array(stream_id, kind, execution_id, run_no, name, status,
                                   json(iif(is_open, 'true', 'false')), next_due, fingerprint, started_at, ended_at, version))
FROM (SELECT * FROM runs WHERE {where} ORDER BY {order} LIMIT ?)
"""
_event_heads = msgspec.json.Decoder(list[tuple[str, int, int, str, int, int, int, int]])


class _Run(RunRow, frozen=True, kw_only=True, array_like=True):
    """A row of the index as an array, its fields in the order of the columns."""


_run_rows = msgspec.json.Decoder(list[_Run])


def event_page(db: apsw.Connection, where: str, order: str, bound: Sequence[object]) -> list[StoredEvent]:
    """Return the events that match, in ``order``; the last of ``bound`` is the limit. ``e`` is the event, ``s`` its stream."""
    page: list[StoredEvent] = []
    for heads, content in db.execute(_EVENTS.format(where=where, order=order), tuple(bound)):
        content = content or b""
        end = 0
        for name, version, position, kind, recorded_at, schema_version, size, metadata_size in _event_heads.decode(
            heads
        ):
            start, middle = end, end + size
            end = middle + metadata_size
            page.append(
                StoredEvent(
                    name,
                    version,
                    position,
                    kind,
                    content[start:middle],
                    recorded_at,
                    content[middle:end],
                    schema_version,
                )
            )
        if end != len(content):
            raise CorruptStore("events have other sizes than their bytes", hint="run `agenticflow store verify`")
    return page


def run_page(db: apsw.Connection, where: str, order: str, bound: Sequence[object]) -> list[RunRow]:
    """Return the rows of the index that match, in ``order``; the last of ``bound`` is the limit."""
    rows: list[RunRow] = []
    for (text,) in db.execute(_RUNS.format(where=where, order=order), tuple(bound)):
        rows += [RunRow(**msgspec.structs.asdict(row)) for row in _run_rows.decode(text)]
    return rows
