"""Random worlds, random policies: memory, SQLite and SQLite with files let go of the same, and never of what somebody still needs."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.core.events import EventPredicate
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.commits import Commit, StoredEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.retention import RetentionPolicy, references_within
from agenticflow.storage.rows import Blob, RunRow
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit.place import fact, run_row
from agenticflow.testing.retention_kit import large_value

DAY = 86_400_000_000_000
NOW = 100 * DAY
LARGE = [large_value(number, 10 + 65_536) for number in range(4)]


class Draft(NamedTuple):
    """One commit: the whole of a run, or events of another stream."""

    stream: str
    run_no: int
    days: int | None
    """How long ago it ended; ``None`` when it is open or no run."""
    refers_to: list[int]
    brings: list[int]
    facts: int


drafts = st.builds(
    Draft,
    stream=st.sampled_from(["a", "b", "a~c", "a~c~d", "topic-x", "order-7"]),
    run_no=st.integers(1, 3),
    days=st.none() | st.integers(0, 60),
    refers_to=st.lists(st.integers(0, 3), max_size=2),
    brings=st.lists(st.integers(0, 3), max_size=2),
    facts=st.integers(1, 5),
)
policies = st.builds(
    RetentionPolicy,
    archive_after_days=st.none() | st.integers(0, 60),
    delete_after_days=st.none() | st.integers(0, 60),
    keep_last=st.integers(0, 3),
    topic_events=st.none() | st.integers(0, 6),
)
steps = st.lists(st.lists(drafts, max_size=6) | policies, min_size=1, max_size=6)


def commit_of(draft: Draft) -> Commit:
    payload = [msgspec.Raw(LARGE[number][0]) for number in draft.refers_to]
    events = [fact("happened", payload)] * draft.facts
    rows: list[RunRow | Blob] = [LARGE[number][1] for number in {*draft.brings, *draft.refers_to}]
    if draft.stream in ("topic-x", "order-7"):
        return Commit(stream_id=draft.stream, events=events, rows=rows)
    row = run_row(draft.stream, draft.run_no, is_open=draft.days is None, status="RUNNING")
    ended_at = None if draft.days is None else NOW - draft.days * DAY
    row = msgspec.structs.replace(row, ended_at=ended_at, name="ab"[draft.run_no % 2])
    return Commit(
        stream_id=row.stream_id, expected=0, events=events, rows=[row, *rows], command_id=f"start-{row.stream_id}"
    )


async def contents(store: Store) -> tuple[dict[str, list[StoredEvent]], list[RunRow], dict[str, bool]]:
    """Return every stream that is listed or in the log, the index, and which blobs are there. Positions are each store's own."""
    rows = list(await store.list_runs(limit=1_000))
    names = {row.stream_id for row in rows} | {event.stream_id for event in await store.scan_page(0, 100_000)}
    streams = {}
    for name in sorted(names):
        whole = list(await store.read_page(name, 0, 100_000))
        while page := await store.read_page(name, whole[-1].version if whole else 0, 100_000):
            whole += page
        scanned = [e for e in await store.scan_page(0, 100_000, EventPredicate(stream_id=name)) if e.stream_id == name]
        assert [event.version for event in scanned] == [event.version for event in whole][: len(scanned)]
        streams[name] = [msgspec.structs.replace(event, position=0) for event in whole]
    blobs = {blob.hash: await store.get_blob(blob.hash) is not None for _, blob in LARGE}
    return streams, rows, blobs


async def apply(store: Store, step: list[Draft] | RetentionPolicy, begun: set[str]) -> object:
    if isinstance(step, RetentionPolicy):
        before, rows, _ = await contents(store)
        done = await store.compact(step, now=NOW)
        after, left, blobs = await contents(store)
        needed = {name for events in after.values() for event in events for name in references_within(event.data)}
        assert {name for name, is_there in blobs.items() if is_there} == needed, (
            "what is referred to stays, and nothing else"
        )
        gone = {row.stream_id for row in rows} - {row.stream_id for row in left}
        for row in rows:
            chain = [other for other in rows if other.execution_id == row.execution_id]
            if row.stream_id not in gone:
                assert after[row.stream_id] == before[row.stream_id], "what is kept reads as before"
            else:
                assert all(other.stream_id in gone and not other.is_open for other in chain), "a chain goes whole"
        assert after.get("order-7") == before.get("order-7")
        begun -= gone
        return [done.archived_runs, done.archived_events, done.deleted_runs, done.deleted_events, done.blobs]
    for draft in step:
        commit = commit_of(draft)
        if commit.expected == 0 and commit.stream_id in begun:
            continue
        begun.add(commit.stream_id)
        await store.commit(commit)
    return None


@given(steps=steps)
@settings(settings.get_profile("house"), max_examples=60)
def test_memory_and_sqlite_let_go_of_the_same_and_of_nothing_that_is_needed(
    steps: list[list[Draft] | RetentionPolicy],
) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            memory = MemoryStore()
            rows, files = Path(folder) / "rows.db", Path(folder) / "files.db"
            blobs = Path(folder) / "values"
            sqlite = await SQLiteStore.open(rows, durability="normal")
            with_files = await SQLiteStore.open(files, durability="normal", blobs=blobs)
            stores = (memory, sqlite, with_files)
            begun: tuple[set[str], ...] = (set(), set(), set())
            for step in [*steps, RetentionPolicy()]:
                answers = [await apply(store, step, names) for store, names in zip(stores, begun, strict=True)]
                assert answers[0] == answers[1] == answers[2]
                assert await contents(memory) == await contents(sqlite) == await contents(with_files)
            for store, file in ((sqlite, rows), (with_files, files)):
                assert await store.verify() == []
                await store.close()
                again = await SQLiteStore.open(file)
                assert await contents(again) == await contents(memory)
                await again.close()

    asyncio.run(live())
