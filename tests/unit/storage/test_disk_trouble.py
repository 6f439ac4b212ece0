"""The disk fills up or fails: callers learn the truth, nothing is half-written, and the store goes on when the disk does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from agenticflow.core.codec import content_hash
from agenticflow.errors import ConcurrencyConflict, OutcomeUnknown, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.rows import Blob, RunRow
from agenticflow.testing.faulty_disk import Disk, faulty_disk

EVENT = NewEvent("happened", b"\x80", 1)


@asynccontextmanager
async def opened(folder: Path, **options: str) -> AsyncIterator[tuple[SQLiteStore, Disk]]:
    with faulty_disk(folder) as (disk, layer):
        async with asyncio.timeout(60):
            store = await SQLiteStore.open(folder / "state.db", vfs=layer)
            try:
                yield store, disk
            finally:
                await store.close()


def failing(
    operation: str, suffix: str = "-wal", times: int = 1, kind: type[apsw.Error] = apsw.IOError
) -> Callable[[str, str], None]:
    """Fail an operation ``times`` times."""
    left = times

    def trouble(met: str, name: str) -> None:
        nonlocal left
        if left and met == operation and name.endswith(suffix):
            left -= 1
            raise kind(f"{operation} of {name}")

    return trouble


def row(execution_id: str, version: int = 0) -> RunRow:
    return RunRow(
        stream_id=f"workflow-{execution_id}/1",
        kind="workflow",
        execution_id=execution_id,
        run_no=1,
        name="n",
        status="RUNNING",
        is_open=True,
        version=version,
    )


def commit(stream_id: str = "s", count: int = 1, **fields: object) -> Commit:
    return Commit(stream_id=stream_id, events=[EVENT] * count, **fields)  # type: ignore[arg-type]  # fields of Commit


async def versions(store: SQLiteStore, stream_id: str = "s") -> list[int]:
    return [event.version for event in await store.read_page(stream_id, 0, 1_000)]


async def test_a_full_disk_refuses_writes_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit(count=3))
        disk.capacity = disk.used + 4_096
        data = bytes(range(256)) * 1_000
        large = commit(expected=3, rows=[row("w"), Blob(content_hash(data), data)], command_id="c")
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="no space") as caught:
                await store.commit(large)
            assert "make room" in caught.value.hint
            assert await versions(store) == [1, 2, 3]
            assert await store.get_run("w") is None
            assert await store.get_blob(content_hash(data)) is None
        disk.capacity = None
        answer = await store.commit(large)
        assert (answer.version, answer.is_repeated) == (4, False)
        assert await store.get_blob(content_hash(data)) == data
        assert await store.verify() == []


async def test_on_a_full_disk_nobody_in_a_group_is_told_a_lie(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit("first"))
        disk.capacity = disk.used + 30_000
        big = NewEvent("big", bytes(5_000), 1)
        outcomes = await asyncio.gather(
            *(store.commit(Commit(stream_id=f"s{n}", events=[big])) for n in range(50)), return_exceptions=True
        )
        assert any(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, Committed | StoreUnavailable)
            assert len(await versions(store, f"s{number}")) == isinstance(outcome, Committed)
        disk.capacity = None
        for number, outcome in enumerate(outcomes):
            if not isinstance(outcome, Committed):
                assert (await store.commit(commit(f"s{number}", expected=0))).version == 1
        assert await store.verify() == []


async def test_a_store_that_finds_no_space_to_be_made_leaves_nothing(tmp_path: Path) -> None:
    with faulty_disk(tmp_path) as (disk, layer):
        disk.capacity = 5_000
        with pytest.raises(StoreUnavailable, match="no space"):
            await SQLiteStore.open(tmp_path / "state.db", vfs=layer)
        assert {path.name for path in tmp_path.iterdir()} <= {"state.db.lock"}
        disk.capacity = None
        store = await SQLiteStore.open(tmp_path / "state.db", vfs=layer)
        assert (await store.commit(commit())).version == 1
        await store.close()


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_a_commit_that_had_not_happened_is_refused_and_stays_undone(tmp_path: Path, operation: str) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit(count=2))
        disk.trouble = failing(operation)
        with pytest.raises(StoreUnavailable) as caught:
            await store.commit(commit(count=2, expected=2, rows=[row("w")], command_id="c"))
        assert isinstance(caught.value.__cause__ or caught.value, Exception)
        assert await versions(store) == [1, 2]
        assert await store.get_run("w") is None
        again = await store.commit(commit(expected=2, command_id="c"))
        assert (again.version, again.is_repeated) == (3, False)
    async with opened(tmp_path) as (store, _):
        assert await versions(store) == [1, 2, 3]
        assert await store.verify() == []


async def test_what_was_refused_does_not_rise_again_when_the_process_dies(tmp_path: Path) -> None:
    """The failed commit stands in the log, unsynced but whole: the next process would take it for true."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with opened(before) as (store, disk):
        await store.commit(commit(count=2))
        disk.trouble = failing("sync")
        with pytest.raises(StoreUnavailable):
            await store.commit(commit(count=3))
        for name in disk.files:  # everything that was written, synced or not: what a killed process leaves
            (after / name).write_bytes((before / name).read_bytes())
    async with opened(after) as (store, _):
        assert await versions(store) == [1, 2]


async def test_a_commit_that_had_happened_is_answered_although_the_disk_complained(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit(count=2))
        disk.trouble = failing("committed", ".db")
        answer = await store.commit(commit(count=2, expected=2, rows=[row("w")], command_id="c"))
        assert (answer.version, answer.is_repeated) == (4, False)
        assert await versions(store) == [1, 2, 3, 4]
        assert await store.get_run("w") == row("w")
        assert (await store.commit(commit(command_id="c"))).is_repeated
    async with opened(tmp_path) as (store, _):
        assert await versions(store) == [1, 2, 3, 4]


async def test_of_a_group_that_had_happened_everybody_learns_the_own_outcome(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit("s7"))
        disk.trouble = failing("committed", ".db", times=3)
        outcomes = await asyncio.gather(
            *(store.commit(commit(f"s{n}", expected=0)) for n in range(30)), return_exceptions=True
        )
        assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Committed)] == [7]
        assert isinstance(outcomes[7], ConcurrencyConflict)
        assert await store.verify() == []


@pytest.mark.parametrize(("operation", "suffix"), [("committed", ".db"), ("sync", "-wal"), ("write", "-wal")])
async def test_a_commit_without_events_is_looked_up_as_well(tmp_path: Path, operation: str, suffix: str) -> None:
    """No version tells whether it happened; either way the answer is true, and the command is known afterwards."""
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit(count=2, rows=[row("w", 1)]))
        disk.trouble = failing(operation, suffix)
        only_rows = Commit(stream_id="s", expected=2, rows=[row("w", 2)], command_id="c")
        answer = await store.commit(only_rows)
        assert answer == Committed(2, 0)
        assert await store.get_run("w") == row("w", 2)
        assert await store.commit(only_rows) == Committed(2, 0, is_repeated=True)
    async with opened(tmp_path) as (store, _):
        assert await store.get_run("w") == row("w", 2)
        assert await store.verify() == []


async def test_while_the_disk_stays_broken_outcomes_are_unknown_then_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit())

        def broken(operation: str, name: str) -> None:
            if operation in ("write", "sync", "truncate") and not name.endswith(".lock"):
                raise apsw.IOError("the disk is gone")

        disk.trouble = failing("sync", times=10_000)  # all of it is in the log by then
        with pytest.raises(OutcomeUnknown, match="unknown"):
            await store.commit(commit(expected=1, command_id="c"))
        disk.trouble = broken
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="cannot be read or written"):
                await store.commit(commit("other"))
        assert len(await versions(store)) in (1, 2)
        disk.trouble = None
        answer = await store.commit(commit(expected=1, command_id="c"))
        assert answer.version == 2
        assert await versions(store) == [1, 2]
        assert await versions(store, "other") == []
        assert await store.verify() == []


async def test_a_checkpoint_that_fails_is_no_reason_to_refuse_the_commit_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenticflow.integrations.stores.sqlite.writer.CHECKPOINT_PAGES", 8)
    async with opened(tmp_path) as (store, disk):
        for number in range(60):
            if number % 10 == 0:
                disk.trouble = failing("write", "state.db")
            assert (await store.commit(commit())).version == number + 1
        assert await store.verify() == []


async def test_a_store_on_a_broken_disk_can_be_closed_and_gives_the_lock_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, disk):
        await store.commit(commit(count=2))
        disk.is_off = True
        with pytest.raises((OutcomeUnknown, StoreUnavailable)):
            await store.commit(commit())
        await store.close()
    async with opened(tmp_path) as (store, _):
        assert (await versions(store))[:2] == [1, 2]
        await store.commit(commit("other"))


async def test_reading_fails_with_an_error_of_ours_while_the_disk_does(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        await store.commit(commit(count=500))
    async with opened(tmp_path) as (store, disk):
        disk.unreadable = True
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await store.read_page("s", 0, 1_000)
        disk.unreadable = False
        assert len(await versions(store)) == 500
