"""Chains of runs that are over for good: which are due, and how everything of them goes in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import apsw
import msgspec

from agenticflow.storage.key_values import end_of_prefix
from agenticflow.storage.retention import family_of

__all__ = ["DueChain", "command_ids", "delete_chains", "due_chains", "kept_runs"]

PAGE_COMMANDS: Final = 5_000
_KEPT: Final = """
SELECT id, kind, execution_id FROM
(SELECT id, kind, execution_id, row_number() OVER (PARTITION BY kind, name ORDER BY ended_at DESC, id DESC) AS place
 FROM runs WHERE NOT is_open AND ended_at IS NOT NULL) WHERE place <= ?
"""
# Whole chains only: every run of it is archived and ended in time.
_DUE: Final = """
FROM runs r WHERE NOT r.is_open AND r.is_archived AND r.ended_at <= ?1
AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.execution_id = r.execution_id AND o.kind = r.kind
                AND (o.is_open OR NOT o.is_archived OR o.ended_at IS NULL OR o.ended_at > ?1))
"""
_COMMANDS: Final = """
SELECT json_group_array(json_array(command_id, stream))
FROM (SELECT command_id, stream FROM commands WHERE command_id > ? ORDER BY command_id LIMIT ?)
"""
# Who may be the parent and is not due itself.
_STAYS: Final = """
SELECT EXISTS (SELECT 1 FROM runs o WHERE {which} AND o.execution_id != ?
               AND (o.is_open OR o.ended_at IS NULL OR o.ended_at > ?))
"""
_command_rows = msgspec.json.Decoder(list[tuple[str, str]])


class DueChain(msgspec.Struct, frozen=True):
    """A chain that is to go; ``id`` is that of one of its runs, to go on behind."""

    id: int
    kind: str
    execution_id: str
    stream_ids: tuple[str, ...]

    def is_part_of(self, execution_ids: set[str]) -> bool:
        """Whether it may be a sub-workflow of one of ``execution_ids``."""
        family = family_of(self.execution_id)
        return not execution_ids.isdisjoint(family.names) or (
            family.beginning != "" and any(other.startswith(family.beginning) for other in execution_ids)
        )

    @property
    def name(self) -> tuple[str, str]:
        """What tells chains apart."""
        return (self.kind, self.execution_id)


def kept_runs(db: apsw.Connection, count: int) -> list[tuple[int, tuple[str, str]]]:
    """Return the newest ended runs of each name, ``count`` of each, and their chains."""
    if not count:
        return []
    return [(run_id, (kind, execution_id)) for run_id, kind, execution_id in db.execute(_KEPT, (count,))]


def due_chains(db: apsw.Connection, before: int, after: int, limit: int) -> list[DueChain]:
    """Return chains that ended by ``before``, in the order of their runs behind ``after``; one with several runs comes several times."""
    query = f"SELECT r.id, r.kind, r.execution_id {_DUE} AND r.id > ?2 ORDER BY r.id LIMIT ?3"
    found = list(db.execute(query, (before, after, limit)))
    return [
        DueChain(run_id, kind, execution_id, tuple(stream for _, stream, _ in _runs(db, kind, execution_id)))
        for run_id, kind, execution_id in found
    ]


def command_ids(db: apsw.Connection, chains: Collection[DueChain]) -> dict[str, list[str]]:
    """Return the ids of the commands that were answered by the streams of ``chains``, by stream."""
    wanted = {stream for chain in chains for stream in chain.stream_ids}
    found: dict[str, list[str]] = {}
    last = ""
    while wanted:
        page = _command_rows.decode(db.execute(_COMMANDS, (last, PAGE_COMMANDS)).get)
        if not page:
            break
        for command_id, stream in page:
            if stream in wanted:
                found.setdefault(stream, []).append(command_id)
        last = page[-1][0]
    return found


def delete_chains(
    db: apsw.Connection, chains: Collection[DueChain], before: int, commands: Mapping[str, list[str]]
) -> int:
    """Delete what is still due, inside one transaction; return the number of runs."""
    deleted = 0
    for chain in chains:
        is_due = db.execute(
            f"SELECT count(*) {_DUE} AND r.kind = ?2 AND r.execution_id = ?3", (before, chain.kind, chain.execution_id)
        ).get
        runs = _runs(db, chain.kind, chain.execution_id)
        if _has_family(db, chain, before):
            continue
        # Events behind the archives, or a run that nobody knew of when the commands were looked up: the next time.
        if is_due != len(runs) or any(
            stream not in chain.stream_ids or _has_events(db, sid) for _, stream, sid in runs
        ):
            continue
        for run_id, stream, sid in runs:
            db.execute("DELETE FROM archives WHERE sid = ?", (sid,))
            db.execute("DELETE FROM streams WHERE sid = ?", (sid,))
            db.execute("DELETE FROM snapshots WHERE stream_id = ?", (stream,))
            for command_id in commands.get(stream, ()):
                db.execute("DELETE FROM commands WHERE command_id = ?", (command_id,))
            db.execute("DELETE FROM runs WHERE id = ?", (run_id,))
            deleted += 1
    return deleted


def _runs(db: apsw.Connection, kind: str, execution_id: str) -> list[tuple[int, str, int | None]]:
    query = (
        "SELECT r.id, r.stream_id, s.sid FROM runs r LEFT JOIN streams s ON s.name = r.stream_id"
        " WHERE r.execution_id = ? AND r.kind = ?"
    )
    return [(run_id, stream, sid) for run_id, stream, sid in db.execute(query, (execution_id, kind))]


def _has_family(db: apsw.Connection, chain: DueChain, before: int) -> bool:
    family = family_of(chain.execution_id)
    searches: list[tuple[str, tuple[str, ...]]] = []  # one each, so that each finds its way by the index
    if family.names:
        searches.append((f"o.execution_id IN ({', '.join('?' * len(family.names))})", family.names))
    if family.beginning:
        bounds = (family.beginning, end_of_prefix(family.beginning) or family.beginning)
        searches.append(("o.execution_id >= ? AND o.execution_id < ?", bounds))
    return any(
        db.execute(_STAYS.format(which=which), (*bound, chain.execution_id, before)).get for which, bound in searches
    )


def _has_events(db: apsw.Connection, sid: int | None) -> bool:
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM events WHERE sid = ?)", (sid,)).get)
