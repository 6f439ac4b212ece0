"""The conformance kit of ``Store.compact``: what a retention policy may take away, and above all what it may not.

A backend proves itself with the same place as for ``event_store_kit``::

    class TestMyStore(EventStoreKit, RetentionKit):
        async def open_store(self, schemas=None):
            return await MyStore.open("…", schemas=schemas)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.events import AgenticEvent, EventPredicate
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.core.values import store_form
from agenticflow.errors import ConcurrencyConflict, StoreUnavailable
from agenticflow.storage.commits import Committed, StoredEvent
from agenticflow.storage.retention import Compacted, RetentionPolicy
from agenticflow.storage.rows import Blob, Row, RunRow, Snapshot
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit.place import Place, commit, everything, fact, refused, run_row, versions

__all__ = ["NOW", "OLD", "RetentionKit", "large_value", "run"]

DAY: Final = 86_400_000_000_000
NOW: Final = 1_000 * DAY
"""When the cases compact."""
ARCHIVE: Final = RetentionPolicy(archive_after_days=30)
DELETE: Final = RetentionPolicy(delete_after_days=30)
OLD: Final = NOW - 30 * DAY
"""Ended at the last moment that is due."""


def large_value(content: object, size: int = MAX_INLINE_BYTES + 1) -> tuple[bytes, Blob]:
    """Return a reference, and the blob that it names."""
    stand_in, (blob,) = store_form(codec.encode([content, bytes(size)]))
    return stand_in, Blob(*blob)


async def run(
    store: Store,
    execution_id: str,
    run_no: int = 1,
    *,
    ended_at: int | None = OLD,
    count: int = 3,
    rows: Sequence[Row] = (),
    payload: object = None,
    name: str = "report",
) -> RunRow:
    """Commit a run of ``count`` events, that ended at ``ended_at`` or goes on, and return its row in the index."""
    row = run_row(execution_id, run_no, status="RUNNING" if ended_at is None else "COMPLETED", is_open=ended_at is None)
    row = msgspec.structs.replace(row, ended_at=ended_at, version=count, name=name)
    facts = [fact("happened", {"n": number, "of": execution_id}, timestamp=number) for number in range(count - 1)]
    await commit(
        store,
        row.stream_id,
        *facts,
        fact("ended", payload, actor_id="me"),
        command_id=f"start-{row.stream_id}",
        rows=(row, *rows),
    )
    return row


async def _pages(store: Store, stream_id: str, limit: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    while page := await store.read_page(stream_id, len(found), limit):
        assert len(page) <= limit
        found.extend(page)
    return found


async def _scanned(store: Store, stream_id: str, limit: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    predicate = EventPredicate(stream_id=stream_id)
    after = 0
    while page := await store.scan_page(after, limit, predicate):
        assert len(page) <= limit
        found.extend(event for event in page if event.stream_id == stream_id)
        after = page[-1].position
    return found


def _changes(done: Compacted) -> dict[str, int]:
    """Return what was done, without sizes and times."""
    without = ("archived_bytes", "archive_bytes", "blob_bytes", "freed_bytes", "free_bytes", "longest_pause_seconds")
    return {name: count for name, count in msgspec.structs.asdict(done).items() if count and name not in without}


class RetentionKit(Place):
    """What ``compact`` promises."""

    async def test_an_archived_run_leaves_the_log_and_its_stream_reads_as_before(self) -> None:
        async with self.store() as store:
            row = await run(store, "old", count=7, payload={"text": "👩‍🔬" * 100})
            await run(store, "young", ended_at=OLD + 1)
            before = await _pages(store, row.stream_id, 100)
            done = await store.compact(ARCHIVE, now=NOW)
            assert _changes(done) == {"archived_runs": 1, "archived_events": 7}
            assert 0 < done.archive_bytes < done.archived_bytes
            assert {event.stream_id for event in await everything(store)} == {"workflow-young/1"}
            for limit in (1, 3, 100):
                assert await _pages(store, row.stream_id, limit) == before
                assert await _scanned(store, row.stream_id, limit) == before
            assert await store.read_page(row.stream_id, 5, 100) == before[5:]
            assert await store.get_run("old") == row
            assert [event.version async for event in store.read_stream(row.stream_id, 6)] == [6, 7]
            found = [event async for event in store.query_events(EventPredicate(stream_id=row.stream_id))]
            assert [event.version for event in found] == list(range(1, 8))

    async def test_an_archived_stream_goes_on_at_its_version(self) -> None:
        async with self.store() as store:
            row = await run(store, "a", count=4)
            await store.compact(ARCHIVE, now=NOW)
            with refused(ConcurrencyConflict) as caught:
                await commit(store, row.stream_id, fact(), expected=0)
            assert caught.error.actual == 4
            assert (await commit(store, row.stream_id, fact("late"), expected=4)).version == 5
            assert [event.version for event in await _pages(store, row.stream_id, 3)] == [1, 2, 3, 4, 5]
            assert [event.version for event in await _scanned(store, row.stream_id, 3)] == [1, 2, 3, 4, 5]
            assert [event.event_type for event in await everything(store)] == ["late"]

    async def test_an_archived_run_answers_its_commands_as_before(self) -> None:
        async with self.store() as store:
            row = await run(store, "a")
            await store.compact(ARCHIVE, now=NOW)
            again = await commit(store, row.stream_id, fact(), command_id="start-workflow-a/1")
            assert again.is_repeated
            assert again.version == 3
            assert await versions(store, row.stream_id) == [1, 2, 3]

    async def test_a_long_run_is_read_in_pieces(self) -> None:
        async with self.store() as store:
            row = await run(store, "long", count=2_500)
            before = await _pages(store, row.stream_id, 1_000)
            assert _changes(await store.compact(ARCHIVE, now=NOW)) == {"archived_runs": 1, "archived_events": 2_500}
            assert await _pages(store, row.stream_id, 999) == before
            assert await _scanned(store, row.stream_id, 999) == before
            assert await everything(store) == []

    async def test_what_is_open_and_what_is_no_run_is_never_touched(self) -> None:
        async with self.store() as store:
            row = await run(
                store, "open", ended_at=None, rows=(Snapshot(stream_id="workflow-open/1", version=1, data=b"s"),)
            )
            await commit(store, "agent-a", fact(), rows=(Snapshot(stream_id="agent-a", version=1, data=b"s"),))
            await store.append("order-7", [AgenticEvent("order_placed")])
            await store.append("topic-orders", [AgenticEvent("orders.placed")])
            await store.put_value("n", "a", b"1", now=1)
            before = await everything(store)
            everything_due = RetentionPolicy(archive_after_days=0, delete_after_days=0)
            assert _changes(await store.compact(everything_due, now=NOW)) == {}
            assert await everything(store) == before
            assert await store.get_run("open") == row
            assert await store.get_snapshot(row.stream_id) is not None
            assert await store.get_snapshot("agent-a") is not None
            assert await store.get_value("n", "a", now=NOW) is not None

    async def test_without_a_policy_nothing_is_archived_or_deleted(self) -> None:
        async with self.store() as store:
            await run(store, "old", ended_at=1)
            before = await everything(store)
            assert _changes(await store.compact(now=NOW)) == {}
            assert await everything(store) == before

    async def test_a_deleted_chain_is_gone_with_everything_of_it(self) -> None:
        async with self.store() as store:
            reference, blob = large_value("mine")
            await run(store, "a", 1, rows=(blob,), payload=msgspec.Raw(reference))
            await run(store, "a", 2)
            await run(store, "b", ended_at=OLD + 1)
            done = await store.compact(DELETE, now=NOW)
            assert (done.deleted_runs, done.blobs, done.blob_bytes) == (2, 1, len(blob.data))
            assert [await store.get_run("a"), await store.get_run("a", 1), await store.get_run("a", 2)] == [None] * 3
            assert [row.execution_id for row in await store.list_runs()] == ["b"]
            assert [await versions(store, f"workflow-a/{run_no}") for run_no in (1, 2)] == [[], []]
            assert await store.get_blob(blob.hash) is None
            again = await commit(store, "workflow-a/1", fact(), expected=0, command_id="start-workflow-a/1")
            assert (again.version, again.is_repeated) == (1, False)

    async def test_a_chain_stays_as_long_as_one_run_of_it_does(self) -> None:
        async with self.store() as store:
            for name, last in (("open", None), ("young", OLD + 1)):
                await run(store, name, 1, ended_at=OLD - 7)
                await run(store, name, 2, ended_at=last)
            done = await store.compact(DELETE, now=NOW)
            assert done.deleted_runs == 0
            for name in ("open", "young"):
                assert await versions(store, f"workflow-{name}/1") == [1, 2, 3]
                assert await store.get_run(name, 1) is not None

    async def test_a_sub_workflow_stays_as_long_as_its_parent(self) -> None:
        async with self.store() as store:
            long, hashed = "x" * 150, f"{'x' * 100}~{'0' * 40}"
            for parent, ended_at in (("open", None), ("young", OLD + 1), ("old", OLD), (long, None)):
                await run(store, parent, ended_at=ended_at)
            children = ["open~a", "open~a~1", "open~a~b~c", "young~a", "old~a", "old~a~b", "opener~a", "a~open", hashed]
            for child in children:
                await run(store, child, ended_at=OLD - 5)
            assert (await store.compact(DELETE, now=NOW)).deleted_runs == 5
            left = {row.execution_id for row in await store.list_runs()}
            assert left == {"open", "young", long, "open~a", "open~a~1", "open~a~b~c", "young~a", hashed}
            assert (await store.compact(RetentionPolicy(delete_after_days=29), now=NOW)).deleted_runs == 2
            assert {row.execution_id for row in await store.list_runs()} == left - {"young", "young~a"}

    async def test_the_newest_runs_of_each_name_are_kept(self) -> None:
        async with self.store() as store:
            for number in range(5):
                await run(store, f"a{number}", ended_at=OLD - number, name="a")
                await run(store, f"b{number}", ended_at=OLD, name="b")
            policy = RetentionPolicy(archive_after_days=30, delete_after_days=30, keep_last=2)
            assert (await store.compact(policy, now=NOW)).deleted_runs == 6
            assert {row.execution_id for row in await store.list_runs()} == {"a0", "a1", "b3", "b4"}
            assert len(await everything(store)) == 12

    async def test_topics_keep_their_newest_events(self) -> None:
        async with self.store() as store:
            for name, count in (("topic-a", 10), ("topic-b", 3), ("topical", 10)):
                await store.append(name, [AgenticEvent("a.b", {"n": number}) for number in range(count)])
            last = await store.last_position()
            done = await store.compact(RetentionPolicy(topic_events=4), now=NOW)
            assert _changes(done) == {"deleted_events": 6}
            assert [len(await versions(store, name)) for name in ("topic-b", "topical")] == [3, 10]
            assert await versions(store, "topic-a") == [7, 8, 9, 10]
            assert [event.version async for event in store.read_stream("topic-a")] == [7, 8, 9, 10]
            assert await store.append("topic-a", [AgenticEvent("a.b")], 10) == 11
            assert _changes(await store.compact(RetentionPolicy(topic_events=0), now=NOW)) == {"deleted_events": 8}
            assert await versions(store, "topic-a") == []
            assert await store.append("topic-a", [AgenticEvent("a.b")], 11) == 12
            assert await store.last_position() > last

    async def test_positions_are_never_used_again(self) -> None:
        async with self.store() as store:
            await run(store, "a")
            last = await store.last_position()
            await store.compact(DELETE, now=NOW)
            assert await everything(store) == []
            assert await store.last_position() == last
            second = await self.reopened(store) if self.survives_reopen else store
            try:
                assert await second.last_position() == last
                assert (await commit(second, "a", fact())).position > last
            finally:
                await second.close()

    async def test_what_was_archived_is_there_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            row = await run(store, "a", count=1_500)
            await store.append("topic-a", [AgenticEvent("a.b")] * 3)
            before = await _pages(store, row.stream_id, 1_000)
            await store.compact(RetentionPolicy(archive_after_days=30, topic_events=1), now=NOW)
            second = await self.reopened(store)
            try:
                assert await _pages(second, row.stream_id, 1_000) == before
                assert await versions(second, "topic-a") == [3]
                assert (await commit(second, row.stream_id, fact(), expected=1_500)).version == 1_501
            finally:
                await second.close()

    async def test_the_snapshots_of_ended_runs_are_dropped(self) -> None:
        async with self.store() as store:
            for name, ended_at in (("open", None), ("ended", NOW)):
                stream_id = f"workflow-{name}/1"
                await run(store, name, ended_at=ended_at, rows=(Snapshot(stream_id=stream_id, version=2, data=b"s"),))
            assert _changes(await store.compact(now=NOW)) == {"snapshots": 1}
            assert await store.get_snapshot("workflow-ended/1") is None
            assert await store.get_snapshot("workflow-open/1") is not None

    async def test_expired_values_are_removed_and_the_others_stay(self) -> None:
        async with self.store() as store:
            await asyncio.gather(
                *(store.put_value("n", f"{number:04}", b"", now=1, expires_at=10 + number % 2) for number in range(900))
            )
            assert _changes(await store.compact(now=10)) == {"values": 450}
            assert len(await store.list_values("n", now=1, limit=1_000)) == 450

    async def test_a_blob_that_anything_refers_to_stays(self) -> None:
        async with self.store() as store:
            references = {
                name: large_value(name) for name in ("shared", "archived", "event", "value", "snapshot", "inner")
            }
            inner, _ = references["inner"]
            outer_form, (outer,) = store_form(codec.encode([msgspec.Raw(inner), bytes(MAX_INLINE_BYTES)]))
            blobs = [blob for _, blob in references.values()]
            await commit(store, "x", rows=(*blobs, Blob(*outer), Blob(*_unreferenced())))
            await run(store, "gone", payload=[msgspec.Raw(references["shared"][0]), msgspec.Raw(outer_form)])
            await run(store, "live", ended_at=None, payload={"deep": {"er": msgspec.Raw(references["shared"][0])}})
            await run(store, "archived", ended_at=OLD + 1, payload=msgspec.Raw(references["archived"][0]))
            await commit(
                store, "order-7", fact("happened", [msgspec.Raw(references["event"][0]), msgspec.Raw(outer_form)])
            )
            await store.put_value("n", "a", b"prefix" + references["value"][0], now=1)
            await commit(
                store, "agent-a", rows=(Snapshot(stream_id="agent-a", version=1, data=references["snapshot"][0]),)
            )
            policy = RetentionPolicy(archive_after_days=29, delete_after_days=30)
            done = await store.compact(policy, now=NOW)
            assert (done.archived_runs, done.deleted_runs, done.blobs) == (2, 1, 1)
            for blob in (*blobs, Blob(*outer)):
                assert await store.get_blob(blob.hash) == blob.data
            assert await store.get_blob(_unreferenced()[0]) is None

    async def test_a_blob_that_went_may_come_again(self) -> None:
        async with self.store() as store:
            reference, blob = large_value("again")
            await run(store, "a", rows=(blob,), payload=msgspec.Raw(reference))
            assert (await store.compact(DELETE, now=NOW)).blobs == 1
            await run(store, "a", ended_at=None, rows=(blob,), payload=msgspec.Raw(reference))
            assert (await store.compact(DELETE, now=NOW)).blobs == 0
            assert await store.get_blob(blob.hash) == blob.data

    async def test_a_second_time_changes_nothing(self) -> None:
        async with self.store() as store:
            for number in range(30):
                await run(store, f"a{number}", ended_at=OLD - number % 2 * 60 * DAY)
            await store.append("topic-a", [AgenticEvent("a.b")] * 30)
            policy = RetentionPolicy(archive_after_days=30, delete_after_days=60, topic_events=5)
            first = await store.compact(policy, now=NOW)
            assert (first.archived_runs, first.deleted_runs, first.deleted_events) == (30, 15, 25)
            assert _changes(await store.compact(policy, now=NOW)) == {}

    async def test_commits_go_on_meanwhile(self) -> None:
        async with self.store() as store:
            reference, blob = large_value("reused")
            for number in range(60):
                await run(store, f"old{number}", rows=(blob,), payload=msgspec.Raw(reference))
            compacting = asyncio.ensure_future(store.compact(DELETE, now=NOW))
            answers: list[Committed] = []
            while not compacting.done():
                event = fact("happened", {"n": len(answers), "blob": msgspec.Raw(reference)})
                rows = () if len(answers) % 2 else (blob,)
                answers.append(await commit(store, "busy", event, expected=len(answers), rows=rows))
                await asyncio.sleep(0)
            assert (await compacting).deleted_runs == 60
            assert await versions(store, "busy") == list(range(1, len(answers) + 1))
            if answers:
                assert await store.get_blob(blob.hash) == blob.data

    async def test_a_closed_store_is_not_compacted(self) -> None:
        async with self.store() as store:
            await store.close()
            with refused(StoreUnavailable):
                await store.compact(now=NOW)


def _unreferenced() -> tuple[str, bytes]:
    data = b"nobody refers to this"
    return codec.content_hash(data), data
