"""A store as a schoolbook would write it, to hold real ones against: no pages, no batches, no files.

``StoreModel`` says what a commit must answer, takes over what was answered, and names every difference between itself and a store.
It never looks at the clock and knows nothing of how positions are given, except that they grow.
"""

from __future__ import annotations

from collections.abc import Sequence

from agenticflow.core.events import EventPredicate
from agenticflow.core.types import ANY_VERSION
from agenticflow.storage.commits import Commit, Committed, NewEvent, StoredEvent
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.rows import Blob, RunRow, Snapshot
from agenticflow.storage.store import Store

__all__ = ["StoreModel"]

PAGE_EVENTS = 7
"""Small and odd, so that pages end in the middle of commits."""


class StoreModel:
    """Everything that was ever committed."""

    def __init__(self) -> None:
        self.log: list[StoredEvent] = []
        self.answers: dict[str, Committed] = {}
        self.runs: dict[str, RunRow] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.blobs: dict[str, bytes] = {}
        self.values: dict[tuple[str, str], KeyValue] = {}
        self.now = 0
        """The moment up to which values have expired."""

    def version(self, stream_id: str) -> int:
        """Return the number of events in the stream."""
        return sum(event.stream_id == stream_id for event in self.log)

    @property
    def last_position(self) -> int:
        """Return the position of the newest event, 0 when there is none."""
        return self.log[-1].position if self.log else 0

    def conflicts(self, commit: Commit) -> bool:
        """Whether a conflict is the only right answer to ``commit``."""
        is_known = commit.command_id is not None and commit.command_id in self.answers
        return not is_known and commit.expected not in (ANY_VERSION, self.version(commit.stream_id))

    def take(self, commit: Commit, answer: Committed) -> None:
        """Take over a commit that a store has answered. Raises ``AssertionError`` when the answer cannot be right."""
        known = self.answers.get(commit.command_id) if commit.command_id is not None else None
        if known is not None:
            assert answer == Committed(known.version, known.position, is_repeated=True), (commit, answer, known)
            return
        assert not answer.is_repeated, (commit, answer)
        assert not self.conflicts(commit), (commit, answer, self.version(commit.stream_id))
        before = self.version(commit.stream_id)
        assert answer.version == before + len(commit.events), (commit, answer, before)
        if commit.events:
            assert answer.position > self.last_position, (commit, answer, self.last_position)
            first = answer.position - len(commit.events) + 1  # replaced by what the store says in ``differences``
            for offset, event in enumerate(commit.events):
                self.log.append(_stored(commit.stream_id, before + 1 + offset, first + offset, event))
        else:
            assert answer.position == 0, (commit, answer)
        for row in commit.rows:
            if isinstance(row, RunRow):
                self.runs[row.stream_id] = row
            elif isinstance(row, Snapshot):
                self.snapshots[row.stream_id] = row
            elif isinstance(row, Blob):
                self.blobs.setdefault(row.hash, row.data)
            elif row.value is None:
                self.values.pop((row.namespace, row.key), None)
            else:
                self.put_value(row.namespace, row.key, row.value, None)
        if commit.command_id is not None:
            self.answers[commit.command_id] = answer

    def value_version(self, namespace: str, key: str) -> int:
        """Return the version of the value, 0 when there is none or it has expired."""
        found = self.values.get((namespace, key))
        return 0 if found is None or not self._is_there(found) else found.version

    def put_value(self, namespace: str, key: str, value: bytes, expires_at: int | None) -> int:
        """Write a value at ``now``; return its version."""
        version = self.value_version(namespace, key) + 1
        self.values[namespace, key] = KeyValue(namespace, key, value, version, self.now, expires_at)
        return version

    def _is_there(self, value: KeyValue) -> bool:
        return value.expires_at is None or value.expires_at > self.now

    async def differences(self, store: Store) -> list[str]:
        """Return, in words, everything in which ``store`` is not this model."""
        found: list[str] = []

        def compare(what: str, real: object, right: object) -> None:
            if real != right:
                found.append(f"{what} is {real!r}, should be {right!r}")

        events = await _scanned(store)
        positions = [event.position for event in events]
        if positions != sorted(set(positions)):
            found.append(f"positions do not grow: {positions}")
        compare("the log", [_without_position(e) for e in events], [_without_position(e) for e in self.log])
        compare("the last position", await store.last_position(), self.last_position)
        for stream_id in {event.stream_id for event in self.log} | {"never written"}:
            right = [event for event in events if event.stream_id == stream_id]
            compare(f"stream {stream_id!r}", await _read(store, stream_id), right)
            scanned = [
                e for e in await _scanned(store, EventPredicate(stream_id=stream_id)) if e.stream_id == stream_id
            ]
            compare(f"the scan of {stream_id!r}", scanned, right)
        compare("the index", await _listed(store), list(reversed(self.runs.values())))
        for chain in {(row.kind, row.execution_id) for row in self.runs.values()}:
            rows = [row for row in self.runs.values() if (row.kind, row.execution_id) == chain]
            latest = await store.get_run(chain[1], kind=chain[0])
            compare(f"the latest run of {chain!r}", latest, max(rows, key=lambda row: row.run_no))
            for row in rows:
                compare(f"run {row.stream_id!r}", await store.get_run(chain[1], row.run_no, kind=chain[0]), row)
        for is_open in (True, False):
            real = await store.list_runs(is_open=is_open, limit=1_000)
            compare(
                f"runs open={is_open}", list(real), [r for r in reversed(self.runs.values()) if r.is_open is is_open]
            )
        for stream_id, snapshot in self.snapshots.items():
            compare(f"the snapshot of {stream_id!r}", await store.get_snapshot(stream_id), snapshot)
        for name, data in self.blobs.items():
            compare(f"blob {name}", await store.get_blob(name), data)
        for namespace in {name[0] for name in self.values}:
            there = [value for name, value in sorted(self.values.items()) if name[0] == namespace]
            there = [value for value in there if self._is_there(value)]
            compare(f"the values of {namespace!r}", await _values(store, namespace, self.now), there)
        for place, value in self.values.items():
            there_now = value if self._is_there(value) else None
            compare(f"the value {place!r}", await store.get_value(*place, now=self.now), there_now)
        return found


def _stored(stream_id: str, version: int, position: int, event: NewEvent) -> StoredEvent:
    return StoredEvent(
        stream_id,
        version,
        position,
        event.event_type,
        event.data,
        event.timestamp,
        event.metadata,
        event.schema_version,
    )


def _without_position(event: StoredEvent) -> tuple[object, ...]:
    return (event.stream_id, event.version, event.event_type, event.data, event.timestamp, event.metadata)


async def _scanned(store: Store, predicate: EventPredicate | None = None) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    after = 0
    while page := await store.scan_page(after, PAGE_EVENTS, predicate):
        assert page[-1].position > after, f"the page after position {after} goes back: {page}"
        found.extend(page)
        after = page[-1].position
    return found


async def _read(store: Store, stream_id: str) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    while page := await store.read_page(stream_id, len(found), PAGE_EVENTS):
        assert page[0].version > len(found), f"the page after version {len(found)} of {stream_id!r} goes back: {page}"
        found.extend(page)
    return found


async def _listed(store: Store) -> Sequence[RunRow]:
    found: list[RunRow] = []
    while page := await store.list_runs(after=found[-1].stream_id if found else None, limit=PAGE_EVENTS):
        assert not {row.stream_id for row in found} & {row.stream_id for row in page}, f"a page repeats runs: {page}"
        found.extend(page)
    return found


async def _values(store: Store, namespace: str, now: int) -> list[KeyValue]:
    found: list[KeyValue] = []
    while page := await store.list_values(
        namespace, now=now, after=found[-1].key if found else None, limit=PAGE_EVENTS
    ):
        found.extend(page)
    return found
