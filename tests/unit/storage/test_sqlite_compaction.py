"""Compaction of a SQLite file beside its running owner: what comes in between two steps, what is given back, what goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.errors import CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.upkeep import chains
from agenticflow.integrations.stores.sqlite.upkeep.unreferenced import Marking
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.storage.rows import Blob
from agenticflow.testing.event_store_kit.place import commit, fact, versions
from agenticflow.testing.retention_kit import NOW, large_value, run
from tests.unit.storage.test_sqlite_migration import version_1

ARCHIVE = RetentionPolicy(archive_after_days=30)
DELETE = RetentionPolicy(delete_after_days=30)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = await SQLiteStore.open(tmp_path / "state.db", durability="normal")
    yield opened
    await opened.close()


@pytest.fixture(params=["rows", "files"])
async def any_store(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SQLiteStore]:
    """A store with large values in rows, and one with them in files."""
    blobs = tmp_path / "values" if request.param == "files" else None
    opened = await SQLiteStore.open(tmp_path / "any.db", durability="normal", blobs=blobs)
    yield opened
    await opened.close()


async def test_a_blob_that_is_referred_to_while_others_are_collected_stays(
    any_store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    inner, inner_blob = large_value("inner")
    form, (outer,) = store_form(codec.encode([msgspec.Raw(inner), bytes(70_000)]))
    value, value_blob = large_value("value")
    lonely = large_value("lonely")[1]
    await commit(store, "x", rows=(Blob(*outer), inner_blob, value_blob, lonely))
    loop = asyncio.get_running_loop()
    steps = Marking.steps

    def interrupted(marking: Marking, db: apsw.Connection) -> Iterator[None]:
        yield from steps(marking, db)
        for work in (
            commit(store, "late", fact("happened", [msgspec.Raw(form)])),
            store.put_value("n", "a", value, now=NOW),
        ):
            asyncio.run_coroutine_threadsafe(work, loop).result(30)

    monkeypatch.setattr(Marking, "steps", interrupted)
    assert (await store.compact(now=NOW)).blobs == 1
    for blob in (Blob(*outer), inner_blob, value_blob):
        assert await store.get_blob(blob.hash) == blob.data
    assert await store.get_blob(lonely.hash) is None


async def test_a_blob_that_comes_again_while_others_are_collected_stays(
    any_store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    reference, blob = large_value("again")
    await commit(store, "x", rows=(blob,))
    loop = asyncio.get_running_loop()
    steps = Marking.steps

    def interrupted(marking: Marking, db: apsw.Connection) -> Iterator[None]:
        yield from steps(marking, db)
        work = commit(store, "late", fact("happened", msgspec.Raw(reference)), rows=(blob,))
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    monkeypatch.setattr(Marking, "steps", interrupted)
    assert (await store.compact(now=NOW)).blobs == 0
    assert await store.get_blob(blob.hash) == blob.data


async def test_room_is_given_back_and_the_log_keeps_the_room_that_was_written_ahead(
    store: SQLiteStore, tmp_path: Path
) -> None:
    for number in range(200):
        await run(store, f"w{number}", rows=(large_value(number)[1],), payload=msgspec.Raw(large_value(number)[0]))
    log = (tmp_path / "state.db-wal").stat().st_size
    done = await store.compact(DELETE, now=NOW)
    assert (done.deleted_runs, done.blobs, done.free_bytes) == (200, 200, 0)
    assert done.freed_bytes > 200 * 65_536
    assert (tmp_path / "state.db").stat().st_size < 1_000_000
    assert (tmp_path / "state.db-wal").stat().st_size >= min(log, 8_000_000)
    assert await store.verify() == []


async def test_a_file_of_the_first_release_keeps_its_room_and_fills_it_again(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    store = await SQLiteStore.open(tmp_path / "state.db")
    for number in range(50):
        await commit(store, "x", rows=(large_value(number)[1],))
    done = await store.compact(now=NOW)
    assert (done.freed_bytes, done.blobs) == (0, 51)
    assert done.free_bytes > 50 * 65_536
    assert await store.verify() == []
    await store.close()


async def test_only_one_compaction_at_a_time(store: SQLiteStore) -> None:
    await run(store, "a")
    first = asyncio.ensure_future(store.compact(ARCHIVE, now=NOW))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="already"):
        await store.compact(now=NOW)
    assert (await first).archived_runs == 1
    await store.compact(now=NOW)


async def test_who_only_reads_does_not_compact(store: SQLiteStore, tmp_path: Path) -> None:
    reader = await SQLiteStore.open(tmp_path / "state.db", read_only=True)
    with pytest.raises(StoreUnavailable, match="reading only"):
        await reader.compact(now=NOW)
    await reader.close()


async def test_a_reader_beside_the_owner_sees_a_run_whole_before_and_after(store: SQLiteStore, tmp_path: Path) -> None:
    row = await run(store, "a", count=2_500)
    reader = await SQLiteStore.open(tmp_path / "state.db", read_only=True)
    before = list(await reader.read_page(row.stream_id, 0, 10_000))
    await store.compact(ARCHIVE, now=NOW)
    after: list[object] = []
    while page := await reader.read_page(row.stream_id, len(after), 10_000):
        after += page
    assert after == before
    await reader.close()


@pytest.mark.parametrize("arrival", range(1, 9))
async def test_a_compaction_that_fails_at_any_step_is_finished_by_the_next(
    store: SQLiteStore, tmp_path: Path, arrival: int
) -> None:
    for number in range(6):
        await run(
            store, f"w{number}", count=900, rows=(large_value(number)[1],), payload=msgspec.Raw(large_value(number)[0])
        )
    policy = RetentionPolicy(archive_after_days=30, delete_after_days=30, keep_last=3)
    arrivals = 0

    def fail(point: str) -> None:
        nonlocal arrivals
        arrivals += point == "store.before_commit"
        if arrivals == arrival:
            failpoints.watch(None)
            raise RuntimeError("broken on purpose")

    failpoints.watch(fail)
    try:
        with pytest.raises(Exception, match="broken on purpose"):
            await store.compact(policy, now=NOW)
    finally:
        failpoints.watch(None)
    assert await store.verify() == []
    assert (await commit(store, "busy", fact())).version == 1
    await store.compact(policy, now=NOW)
    assert await store.verify() == []
    assert sorted(row.execution_id for row in await store.list_runs()) == ["w3", "w4", "w5"]
    assert [await store.get_blob(large_value(number)[1].hash) is not None for number in range(6)] == [False] * 3 + [
        True
    ] * 3
    assert await versions(store, "workflow-w5/1") == list(range(1, 901))


async def test_who_gives_up_leaves_a_sound_store(store: SQLiteStore) -> None:
    for number in range(30):
        await run(store, f"w{number}", count=200)
    for turns in range(0, 60, 7):
        compacting = asyncio.ensure_future(store.compact(DELETE, now=NOW))
        for _ in range(turns):
            await asyncio.sleep(0)
        compacting.cancel()
        await asyncio.wait([compacting])
        assert await store.verify() == []
    await store.compact(DELETE, now=NOW)
    assert await store.list_runs() == []
    assert await store.scan_page(0, 10) == []


async def test_closing_ends_a_compaction(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db")
    for number in range(30):
        await run(store, f"w{number}", count=200)
    compacting = asyncio.ensure_future(store.compact(DELETE, now=NOW))
    for _ in range(20):
        await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await compacting
    again = await SQLiteStore.open(tmp_path / "state.db")
    assert await again.verify() == []
    await again.compact(DELETE, now=NOW)
    assert await again.list_runs() == []
    await again.close()


async def test_an_event_that_comes_after_the_end_of_a_run_keeps_it_from_being_deleted(store: SQLiteStore) -> None:
    row = await run(store, "a")
    await store.compact(ARCHIVE, now=NOW)
    await commit(store, row.stream_id, fact("late"), rows=(row,))
    assert (await store.compact(ARCHIVE, now=NOW)).archived_events == 1
    assert await versions(store, row.stream_id) == [1, 2, 3]
    assert [event.event_type for event in await store.read_page(row.stream_id, 3, 9)] == ["late"]
    assert (await store.compact(DELETE, now=NOW)).deleted_runs == 1


async def test_verify_finds_what_is_wrong_with_an_archive(store: SQLiteStore, tmp_path: Path) -> None:
    for name in "abcde":
        await run(store, name, count=1_200)
    await store.put_value("n", "a", b"1", now=1)
    await store.compact(ARCHIVE, now=NOW)
    await store.close()
    db = apsw.Connection(str(tmp_path / "state.db"))
    db.execute("UPDATE archives SET data = substr(data, 1, 100) WHERE sid = 1 AND first_version = 1")
    db.execute("DELETE FROM archives WHERE sid = 2 AND first_version = 1")
    db.execute("DELETE FROM archives WHERE sid = 3 AND first_version > 1")
    db.execute("UPDATE archives SET last_position = 7 WHERE sid = 4 AND first_version = 1")
    db.execute("UPDATE key_values SET value = 'text'")
    db.close()
    opened = await SQLiteStore.open(tmp_path / "state.db")
    problems = "\n".join(await opened.verify())
    for words in (
        "the archives of 'workflow-a/1' are not as they were written",
        "the archives of 'workflow-b/1' have version 1001 where 1 should be",
        "stream 'workflow-c/1' has its events up to version 1200 nowhere",
        "the archives of 'workflow-d/1' end at position",
        "the value 'a' of 'n' is not as it was written",
    ):
        assert words in problems
    assert "workflow-e/1" not in problems
    with pytest.raises(CorruptStore):
        await opened.read_page("workflow-a/1", 0, 10)
    await opened.close()


@pytest.mark.slow
async def test_commits_wait_for_no_more_than_one_short_step(store: SQLiteStore) -> None:
    """Four thousand runs are archived and deleted while somebody commits one event after the other."""
    event = NewEvent("happened", codec.encode({"text": "some text " * 10}), 1)
    for start in range(0, 4_000, 200):
        await asyncio.gather(*(run(store, f"w{number}", count=20) for number in range(start, start + 200)))
    longest = 0.0
    compacting = asyncio.ensure_future(store.compact(DELETE, now=NOW))
    count = 0
    while not compacting.done():
        began = time.perf_counter()
        await store.commit(Commit(stream_id="busy", events=[event]))
        longest = max(longest, time.perf_counter() - began)
        count += 1
    done = await compacting
    assert done.deleted_runs == 4_000
    assert count > 20
    assert longest < 1.0, f"a commit waited {longest:.3f} s, the longest step took {done.longest_pause_seconds:.3f} s"


@pytest.mark.parametrize("which", ["o.execution_id IN (?, ?)", "o.execution_id >= ? AND o.execution_id < ?"])
async def test_parents_are_looked_up_by_the_index(store: SQLiteStore, tmp_path: Path, which: str) -> None:
    """Each deleted chain asks once: reading all runs for it would make deleting many take hours."""
    db = apsw.Connection(str(tmp_path / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
    query = chains._STAYS.format(which=which)
    plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {query}", ("a", "b", "c", 1)))
    db.close()
    assert "SEARCH o USING INDEX runs_by_execution" in plan
    assert "SCAN o" not in plan
