"""Archiving and deleting in memory: what a retention policy means, in the shortest form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from agenticflow.storage.archives import Archive, fitting, pack, raw_of
from agenticflow.storage.commits import Committed, StoredEvent
from agenticflow.storage.retention import TOPIC_STREAMS, Compacted, RetentionPolicy, family_of, references_within
from agenticflow.storage.rows import RunRow, Snapshot

__all__ = ["MemoryUpkeep"]


class MemoryUpkeep:
    """One look at the dictionaries of a memory store, which it changes in place."""

    def __init__(
        self,
        streams: dict[str, list[StoredEvent]],
        archives: dict[str, list[Archive]],
        trimmed: dict[str, int],
        runs: dict[str, RunRow],
        snapshots: dict[str, Snapshot],
        blobs: dict[str, bytes],
        answers: dict[str, Committed],
        answered: dict[str, str],
    ) -> None:
        self._streams = streams
        self._archives = archives
        self._trimmed = trimmed
        self._runs = runs
        self._snapshots = snapshots
        self._blobs = blobs
        self._answers = answers
        self._answered = answered
        self.done = Compacted()

    def apply(self, policy: RetentionPolicy, now: int) -> None:
        """Archive and delete what is due, then drop what nobody needs any more."""
        archives_before, deletes_before = policy.archives_before(now), policy.deletes_before(now)
        kept = self._kept(policy.keep_last)
        if archives_before is not None:
            for row in list(self._runs.values()):
                if _ended_by(row, archives_before) and row.stream_id not in kept:
                    self._archive(row.stream_id)
        if deletes_before is not None:
            chains = self._chains()
            due = [
                chain
                for chain in chains
                if all(_ended_by(row, deletes_before) and row.stream_id not in kept for row in chain)
            ]
            staying = {row.execution_id for chain in chains if chain not in due for row in chain}
            for chain in due:
                if not _is_part_of(chain[0].execution_id, staying):
                    for row in chain:
                        self._delete(row)
        if policy.topic_events is not None:
            for stream_id, events in self._streams.items():
                if stream_id.startswith(TOPIC_STREAMS):
                    self._trim(stream_id, len(events) - policy.topic_events)
        for stream_id in [name for name, row in self._runs.items() if not row.is_open and name in self._snapshots]:
            del self._snapshots[stream_id]
            self.done.snapshots += 1

    def sweep(self, values: Iterator[bytes]) -> None:
        """Remove the blobs that nothing refers to: no event, archive or snapshot, none of ``values`` and no blob that stays."""
        marked: set[str] = set()
        for data in self._contents(values):
            marked |= references_within(data)
        grey = list(marked)
        while grey:
            inner = references_within(self._blobs.get(grey.pop(), b"")) - marked
            marked |= inner
            grey += inner
        for name in [name for name in self._blobs if name not in marked]:
            self.done.blobs += 1
            self.done.blob_bytes += len(self._blobs.pop(name))

    def _kept(self, count: int) -> set[str]:
        newest: dict[tuple[str, str], list[RunRow]] = defaultdict(list)
        for row in self._runs.values():
            if not row.is_open and row.ended_at is not None:
                newest[row.kind, row.name].append(row)
        kept: set[str] = set()
        for rows in newest.values():
            rows.reverse()  # of those that ended at one moment, the one written first last is the newest
            rows.sort(key=lambda row: row.ended_at or 0, reverse=True)
            kept.update(row.stream_id for row in rows[:count])
        return kept

    def _chains(self) -> list[list[RunRow]]:
        chains: dict[tuple[str, str], list[RunRow]] = defaultdict(list)
        for row in self._runs.values():
            chains[row.kind, row.execution_id].append(row)
        return list(chains.values())

    def _archive(self, stream_id: str) -> None:
        events = self._streams.get(stream_id, [])
        if events:
            self.done.archived_runs += 1
        while events:
            archive = pack(events[: fitting(len(event.data) + len(event.metadata) for event in events)])
            self._archives.setdefault(stream_id, []).append(archive)
            self.done.archived_bytes += archive.raw_bytes
            self.done.archive_bytes += len(archive.data)
            self.done.archived_events += self._trim_head(stream_id, archive.last_version - archive.first_version + 1)

    def _delete(self, row: RunRow) -> None:
        for tables in (self._streams, self._archives, self._trimmed, self._runs, self._snapshots):
            tables.pop(row.stream_id, None)
        for command_id in [name for name, stream in self._answered.items() if stream == row.stream_id]:
            del self._answers[command_id], self._answered[command_id]
        self.done.deleted_runs += 1

    def _trim(self, stream_id: str, count: int) -> None:
        if count > 0:
            self.done.deleted_events += self._trim_head(stream_id, count)

    def _trim_head(self, stream_id: str, count: int) -> int:
        self._trimmed[stream_id] = self._trimmed.get(stream_id, 0) + count
        del self._streams[stream_id][:count]
        return count

    def _contents(self, values: Iterator[bytes]) -> Iterator[bytes]:
        for events in self._streams.values():
            for event in events:
                yield event.data
                yield event.metadata
        for archives in self._archives.values():
            yield from map(raw_of, archives)
        yield from (snapshot.data for snapshot in self._snapshots.values())
        yield from values


def _is_part_of(execution_id: str, others: set[str]) -> bool:
    family = family_of(execution_id)
    return not others.isdisjoint(family.names) or (
        family.beginning != "" and any(other.startswith(family.beginning) for other in others)
    )


def _ended_by(row: RunRow, moment: int) -> bool:
    return not row.is_open and row.ended_at is not None and row.ended_at <= moment
