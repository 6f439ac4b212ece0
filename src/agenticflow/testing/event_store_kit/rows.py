"""Rows: the run index, snapshots and blobs that share a commit's transaction."""

from __future__ import annotations

import asyncio

from agenticflow.core.codec import content_hash
from agenticflow.core.types import MAX_COMMIT_BYTES
from agenticflow.errors import BoundExceeded, ConcurrencyConflict, CorruptStore
from agenticflow.storage.key_values import MAX_VALUE_BYTES, KeyValue
from agenticflow.storage.rows import Blob, RunRow, Snapshot, ValueRow
from agenticflow.testing.event_store_kit.place import Place, commit, fact, refused, run_row

__all__ = ["RowCases"]


class RowCases(Place):
    """What ``RunIndex``, ``Snapshots`` and ``Blobs`` promise."""

    async def test_a_run_that_is_not_there_is_none(self) -> None:
        async with self.store() as store:
            await commit(store, "workflow-a/1", rows=(run_row("a"),))
            assert await store.get_run("b") is None
            assert await store.get_run("a", 2) is None
            assert await store.get_run("a", kind="interaction") is None

    async def test_every_field_of_a_run_comes_back(self) -> None:
        async with self.store() as store:
            full = RunRow(
                stream_id="workflow-a/3",
                kind="workflow",
                execution_id="a",
                run_no=3,
                name="Bericht 📈",
                status="WAITING",
                is_open=True,
                next_due=2**62,
                fingerprint="f" * 40,
                started_at=1_700_000_000_000_000_000,
                ended_at=None,
                version=12,
            )
            ended = run_row("b", status="COMPLETED", is_open=False)
            await commit(store, "workflow-a/3", rows=(full, ended))
            assert await store.get_run("a") == full
            assert await store.get_run("b") == ended
            assert (await store.get_run("b") or full).is_open is False

    async def test_the_newest_row_of_a_run_replaces_the_older(self) -> None:
        async with self.store() as store:
            await commit(store, "workflow-a/1", fact(), rows=(run_row("a"),))
            await commit(store, "workflow-a/1", fact(), rows=(run_row("a", status="COMPLETED", is_open=False),))
            assert await store.get_run("a") == run_row("a", status="COMPLETED", is_open=False)
            assert len(await store.list_runs()) == 1

    async def test_a_value_is_written_and_removed_with_its_events(self) -> None:
        async with self.store() as store:
            kept, gone = (ValueRow("n", key, b"x", 1) for key in ("kept", "gone"))
            await commit(store, "workflow-a/1", fact(), rows=(kept, gone))
            await commit(
                store, "workflow-a/1", fact(), rows=(ValueRow("n", "gone", None, 2), ValueRow("n", "kept", b"y", 2))
            )
            assert [(found.key, found.value) for found in await store.list_values("n", now=3)] == [("kept", b"y")]
            assert await store.get_value("n", "kept", now=3) == KeyValue("n", "kept", b"y", 2, 2, None)

    async def test_a_refused_commit_leaves_the_values_alone(self) -> None:
        async with self.store() as store:
            await commit(store, "workflow-a/1", fact(), rows=(ValueRow("n", "k", b"x", 1),))
            with refused(ConcurrencyConflict):
                await commit(store, "workflow-a/1", fact(), expected=7, rows=(ValueRow("n", "k", None, 2),))
            with refused(BoundExceeded):
                await commit(store, "workflow-a/1", fact(), rows=(ValueRow("n", "k", b"x" * (MAX_VALUE_BYTES + 1), 2),))
            assert await store.get_value("n", "k", now=3) == KeyValue("n", "k", b"x", 1, 1, None)

    async def test_the_last_of_two_rows_in_one_commit_counts(self) -> None:
        async with self.store() as store:
            paused = run_row("a", status="PAUSED")
            old, new = (Snapshot(stream_id="a", version=version, data=b"s") for version in (1, 2))
            await commit(store, "workflow-a/1", rows=(run_row("a"), old, paused, new))
            assert await store.get_run("a") == paused
            assert await store.get_snapshot("a") == new

    async def test_the_latest_run_of_a_chain_is_found_without_its_number(self) -> None:
        async with self.store() as store:
            for run_no in (1, 2, 3):
                await commit(store, f"workflow-a/{run_no}", fact(), rows=(run_row("a", run_no),))
            await commit(store, "workflow-a/1", rows=(run_row("a", 1, status="COMPLETED", is_open=False),))
            assert await store.get_run("a") == run_row("a", 3)
            assert await store.get_run("a", 2) == run_row("a", 2)

    async def test_kinds_do_not_mix(self) -> None:
        async with self.store() as store:
            workflow, turn = run_row("a"), run_row("a", 7, kind="interaction")
            await commit(store, "x", rows=(workflow, turn))
            assert await store.get_run("a") == workflow
            assert await store.get_run("a", kind="interaction") == turn

    async def test_runs_are_listed_newest_first_by_their_first_write(self) -> None:
        async with self.store() as store:
            for name in "abcd":
                await commit(store, f"workflow-{name}/1", fact(), rows=(run_row(name),))
            await commit(store, "workflow-b/1", rows=(run_row("b", status="COMPLETED", is_open=False),))
            assert [row.execution_id for row in await store.list_runs()] == ["d", "c", "b", "a"]

    async def test_runs_are_listed_by_kind_status_and_openness(self) -> None:
        async with self.store() as store:
            rows = [
                run_row("a"),
                run_row("b", status="COMPLETED", is_open=False),
                run_row("c", kind="interaction"),
                run_row("d", status="FAILED", is_open=False),
                run_row("e", status="PAUSED"),
            ]
            await commit(store, "x", rows=rows)

            async def listed(kind: str | None = None, status: str | None = None, *, is_open: bool | None = None) -> str:
                found = await store.list_runs(kind=kind, status=status, is_open=is_open)
                return "".join(row.execution_id for row in found)

            assert await listed(is_open=True) == "eca"
            assert await listed(is_open=False) == "db"
            assert await listed(status="FAILED") == "d"
            assert await listed(kind="interaction") == "c"
            assert await listed(kind="workflow", is_open=True, status="RUNNING") == "a"
            assert await listed(kind="workflow", is_open=True, status="COMPLETED") == ""

    async def test_pages_of_runs_join_without_gap_or_duplicate(self) -> None:
        async with self.store() as store:
            names = [f"run-{number:03}" for number in range(57)]
            work = (commit(store, f"workflow-{name}/1", fact(), rows=(run_row(name),)) for name in names)
            await asyncio.gather(*work)
            found: list[RunRow] = []
            while page := await store.list_runs(after=found[-1].stream_id if found else None, limit=10):
                assert len(page) <= 10
                found.extend(page)
            assert sorted(row.execution_id for row in found) == names
            whole = await store.list_runs(limit=100)
            assert found == list(whole)

    async def test_a_page_of_runs_goes_on_where_the_last_one_ended_also_when_filtered(self) -> None:
        async with self.store() as store:
            for number in range(12):
                await commit(store, "x", rows=(run_row(f"{number:02}", is_open=number % 2 == 0),))
            first = await store.list_runs(is_open=True, limit=2)
            second = await store.list_runs(is_open=True, limit=9, after=first[-1].stream_id)
            assert [row.execution_id for row in (*first, *second)] == ["10", "08", "06", "04", "02", "00"]

    async def test_nothing_is_listed_after_a_run_that_is_not_there(self) -> None:
        async with self.store() as store:
            await commit(store, "x", rows=(run_row("a"),))
            assert await store.list_runs(after="workflow-nobody/1") == []

    async def test_a_page_of_runs_goes_on_whatever_has_come_since(self) -> None:
        async with self.store() as store:
            await commit(store, "x", rows=[run_row(name) for name in "abcd"])
            first = await store.list_runs(limit=2)
            await commit(
                store, "x", rows=(run_row("new"), run_row("b", status="PAUSED"), run_row("d", status="PAUSED"))
            )
            rest = await store.list_runs(limit=9, after=first[-1].stream_id)
            assert [row.execution_id for row in rest] == ["b", "a"]

    async def test_the_newest_snapshot_replaces_the_older(self) -> None:
        async with self.store() as store:
            assert await store.get_snapshot("a") is None
            await commit(store, "a", fact(), rows=(Snapshot(stream_id="a", version=1, data=b"one"),))
            newest = Snapshot(stream_id="a", version=2, data=b"two", schema_version=5)
            await commit(store, "a", fact(), rows=(newest,))
            assert await store.get_snapshot("a") == newest
            assert await store.get_snapshot("b") is None

    async def test_a_snapshot_may_be_of_another_stream_than_the_commit(self) -> None:
        async with self.store() as store:
            snapshot = Snapshot(stream_id="elsewhere", version=3, data=b"")
            await commit(store, "a", fact(), rows=(snapshot,))
            assert await store.get_snapshot("elsewhere") == snapshot

    async def test_a_blob_is_found_by_its_hash(self) -> None:
        async with self.store() as store:
            contents = [b"", b"\0", bytes(range(256)) * 1_000]
            blobs = [Blob(content_hash(data), data) for data in contents]
            await commit(store, "a", rows=blobs)
            assert [await store.get_blob(blob.hash) for blob in blobs] == contents
            assert await store.get_blob(content_hash(b"never stored")) is None

    async def test_a_blob_does_not_count_as_part_of_the_commit(self) -> None:
        async with self.store() as store:
            data = bytes(MAX_COMMIT_BYTES + 1)
            await commit(store, "a", fact(), rows=(Blob(content_hash(data), data),))
            assert await store.get_blob(content_hash(data)) == data

    async def test_a_blob_that_does_not_hash_to_its_name_is_reported(self) -> None:
        async with self.store() as store:
            name = content_hash(b"what it should be")
            await commit(store, "a", rows=(Blob(name, b"what it is"),))
            with refused(CorruptStore) as caught:
                await store.get_blob(name)
            assert name in caught.error.message

    async def test_storing_a_blob_again_changes_nothing(self) -> None:
        async with self.store() as store:
            blob = Blob(content_hash(b"once"), b"once")
            work = (commit(store, f"s{number}", fact(), rows=(blob, blob)) for number in range(20))
            await asyncio.gather(*work)
            await commit(store, "a", rows=(blob,))
            assert await store.get_blob(blob.hash) == b"once"

    async def test_rows_of_concurrent_commits_all_arrive(self) -> None:
        async with self.store() as store:

            async def one(number: int) -> None:
                data = f"value {number}".encode()
                stream_id = f"workflow-{number}/1"
                rows = (
                    run_row(str(number)),
                    Snapshot(stream_id=stream_id, version=1, data=data),
                    Blob(content_hash(data), data),
                )
                await commit(store, stream_id, fact(), rows=rows)

            await asyncio.gather(*(one(number) for number in range(300)))
            assert len(await store.list_runs(limit=1_000)) == 300
            for number in (0, 17, 299):
                data = f"value {number}".encode()
                snapshot = await store.get_snapshot(f"workflow-{number}/1")
                assert snapshot is not None
                assert snapshot.data == data == await store.get_blob(content_hash(data))
