"""Backup and restore of a SQLite file: whole or not there, whoever writes meanwhile, and nothing replaced that was not verified."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import msgspec
import pytest

from agenticflow.app.upkeep.backups import back_up_store, restore_store
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreOwned, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.upkeep import backup
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, NewEvent
from tests.unit.storage.test_sqlite_migration import version_1


def url(file: Path) -> str:
    return f"sqlite:///{file}"


async def write(store: SQLiteStore, count: int, stream_id: str = "s", size: int = 100) -> None:
    event = NewEvent("happened", codec.encode({"pad": bytes(size)}), 1)
    await asyncio.gather(*(store.commit(Commit(stream_id=stream_id, events=[event])) for _ in range(count)))


async def made(file: Path, count: int = 30, size: int = 100) -> bytes:
    """Make a store with ``count`` events, close it, and return its bytes."""
    store = await SQLiteStore.open(file)
    await write(store, count, size=size)
    await store.close()
    return file.read_bytes()


async def count_in(file: Path) -> int:
    store = await SQLiteStore.open(file, read_only=True)
    try:
        assert await store.verify() == []
        return len(await store.scan_page(0, 100_000))
    finally:
        await store.close()


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_backup_taken_among_thousands_of_commits_is_one_moment_of_the_store(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db", durability="normal")
    await write(store, 500, "before", 10_000)
    is_over = False
    written = 0

    async def keep_writing() -> None:
        nonlocal written
        while not is_over:
            await asyncio.gather(write(store, 20, "a"), write(store, 20, "b"), store.put_value("n", "a", b"1", now=1))
            written += 20

    writing = asyncio.ensure_future(keep_writing())
    for number in range(5):
        begun = written
        await back_up_store(url(tmp_path / "state.db"), tmp_path / f"{number}.db")
        copy = await SQLiteStore.open(tmp_path / f"{number}.db", read_only=True)
        assert (await verify_store(copy)).is_sound
        events = await copy.scan_page(0, 1_000_000)
        assert [event.position for event in events] == list(range(1, len(events) + 1)), (
            "nothing in the middle is missing"
        )
        assert len(events) >= 500 + 2 * begun, "what was answered before is in it"
        await copy.close()
    is_over = True
    await writing
    assert written > 500, "the writer went on meanwhile"
    await store.close()


async def test_a_backup_is_one_plain_file_that_runs_on(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch(0o600)
    await made(tmp_path / "state.db", 10)
    size = await back_up_store(url(tmp_path / "state.db"), tmp_path / "copies" / "b.db")
    copy = tmp_path / "copies" / "b.db"
    assert copy.stat().st_size == size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert await count_in(copy) == 10
    assert beside(copy.parent) == {"b.db"}, "who only reads it leaves nothing"
    store = await SQLiteStore.open(copy)
    await write(store, 5)
    await store.close()
    assert await count_in(copy) == 15


async def test_what_is_still_in_the_log_of_a_killed_owner_is_backed_up_too(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db")
    await write(store, 10)
    left = tmp_path / "left"
    left.mkdir()
    for suffix in ("", "-wal"):
        (left / f"state.db{suffix}").write_bytes((tmp_path / f"state.db{suffix}").read_bytes())
    await store.close()
    await back_up_store(url(left / "state.db"), tmp_path / "b.db")
    assert await count_in(tmp_path / "b.db") == 10


async def test_what_is_there_is_overwritten_only_when_asked_to(tmp_path: Path) -> None:
    await made(tmp_path / "state.db")
    target = tmp_path / "b.db"
    target.write_text("precious")
    with pytest.raises(ConfigurationError, match="there is something") as caught:
        await back_up_store(url(tmp_path / "state.db"), target)
    assert "--force" in caught.value.hint
    assert target.read_text() == "precious"
    await back_up_store(url(tmp_path / "state.db"), target, force=True)
    assert await count_in(target) == 30


async def test_a_store_in_use_is_never_overwritten(tmp_path: Path) -> None:
    await made(tmp_path / "state.db")
    other = await SQLiteStore.open(tmp_path / "other.db")
    await write(other, 1)
    for target in ("other.db", "state.db"):
        with pytest.raises((ConfigurationError, StoreOwned)):
            await back_up_store(url(tmp_path / "state.db"), tmp_path / target, force=True)
    await write(other, 1)
    await other.close()
    assert await count_in(tmp_path / "other.db") == 2


async def test_two_backups_to_one_name_do_not_mix(tmp_path: Path) -> None:
    await made(tmp_path / "state.db", 500, 10_000)
    refusals: list[AgenticFlowError] = []

    def meanwhile(done: int, total: int) -> None:
        if not refusals:
            with pytest.raises(StoreUnavailable, match="somebody else") as caught:
                backup.back_up(tmp_path / "state.db", tmp_path / "b.db")
            refusals.append(caught.value)

    await back_up_store(url(tmp_path / "state.db"), tmp_path / "b.db", progress=meanwhile)
    assert len(refusals) == 1
    assert await count_in(tmp_path / "b.db") == 500
    assert "b.db.part" not in beside(tmp_path)


async def test_a_backup_given_up_leaves_nothing(tmp_path: Path) -> None:
    await made(tmp_path / "state.db", 1_000, 10_000)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(begun.set)

    copying = asyncio.ensure_future(
        back_up_store(
            url(tmp_path / "state.db"),
            tmp_path / "b.db",
            progress=lambda *_: tell(),
        )
    )
    await begun.wait()
    copying.cancel()
    await asyncio.wait([copying])
    assert beside(tmp_path) <= {"state.db", "state.db.lock", "state.db-wal", "state.db-shm", "b.db"}
    if "b.db" in beside(tmp_path):
        assert await count_in(tmp_path / "b.db") == 1_000


async def test_what_a_killed_backup_left_is_overwritten(tmp_path: Path) -> None:
    await made(tmp_path / "state.db")
    (tmp_path / "b.db.part").write_bytes(os.urandom(50_000))
    (tmp_path / "b.db.part-journal").write_bytes(os.urandom(5_000))
    await back_up_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    assert await count_in(tmp_path / "b.db") == 30


@pytest.mark.parametrize("what", ["memory:", "sqlite:///nothing.db"])
async def test_what_is_no_file_cannot_be_backed_up(tmp_path: Path, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await back_up_store(what, tmp_path / "b.db")
    assert caught.value.hint
    assert beside(tmp_path) == set()


async def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    await made(tmp_path / "state.db")
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "b.db", tmp_path / "folder"):
        with pytest.raises(ConfigurationError):
            await back_up_store(url(tmp_path / "state.db"), target, force=True)
    assert not list(tmp_path.glob("*.part"))


async def test_restoring_puts_the_backup_in_place_and_keeps_what_was_there(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    await made(file, 10)
    await back_up_store(url(file), copy)
    await made(file, 5)
    before = copy.read_bytes()
    done = await restore_store(url(file), copy)
    assert done.replaced == tmp_path / "state.db.replaced-1"
    assert await count_in(file) == 10
    assert await count_in(done.replaced) == 15
    assert copy.read_bytes() == before
    second = await restore_store(url(file), copy)
    assert second.replaced == tmp_path / "state.db.replaced-2"
    store = await SQLiteStore.open(file)
    await write(store, 1)
    await store.close()
    assert await count_in(file) == 11


async def test_restoring_where_nothing_is_makes_the_store(tmp_path: Path) -> None:
    await made(tmp_path / "state.db", 10)
    await back_up_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    done = await restore_store(url(tmp_path / "deep" / "er" / "new.db"), tmp_path / "b.db")
    assert (done.replaced, await count_in(tmp_path / "deep" / "er" / "new.db")) == (None, 10)


async def test_what_was_in_the_log_of_the_old_store_is_kept_with_it(tmp_path: Path) -> None:
    await made(tmp_path / "b.db", 3)
    store = await SQLiteStore.open(tmp_path / "live.db")
    await write(store, 10)
    for suffix in ("", "-wal"):
        (tmp_path / f"state.db{suffix}").write_bytes((tmp_path / f"live.db{suffix}").read_bytes())
    await store.close()
    done = await restore_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    assert done.replaced is not None
    assert (await count_in(tmp_path / "state.db"), await count_in(done.replaced)) == (3, 10)


async def test_a_damaged_store_is_replaced_and_kept_with_its_log(tmp_path: Path) -> None:
    await made(tmp_path / "b.db", 3)
    file = tmp_path / "state.db"
    content = bytearray(await made(file, 500, 1_000))
    content[:4_096] = b"\xa5" * 4_096
    file.write_bytes(content)
    (tmp_path / "state.db-wal").write_bytes(b"its log" * 1_000)
    done = await restore_store(url(file), tmp_path / "b.db")
    assert await count_in(file) == 3
    assert done.replaced is not None
    assert done.replaced.read_bytes() == content
    assert (tmp_path / "state.db.replaced-1-wal").read_bytes() == b"its log" * 1_000


async def test_a_log_whose_file_is_gone_is_kept_when_a_backup_is_restored(tmp_path: Path) -> None:
    await made(tmp_path / "b.db", 3)
    (tmp_path / "state.db-wal").write_bytes(b"its log" * 1_000)
    done = await restore_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    assert done.replaced == tmp_path / "state.db.replaced-1"
    assert (tmp_path / "state.db.replaced-1-wal").read_bytes() == b"its log" * 1_000
    assert await count_in(tmp_path / "state.db") == 3


async def test_nothing_is_replaced_by_a_backup_that_is_not_sound(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    before = await made(file, 10)
    await back_up_store(url(file), copy)
    db = apsw.Connection(str(copy))
    db.execute("DELETE FROM events WHERE version = 4")
    db.close()
    with pytest.raises(CorruptStore, match="version 5 where 4 should be") as caught:
        await restore_store(url(file), copy)
    assert "nothing was replaced" in caught.value.message
    content = bytearray(copy.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    copy.write_bytes(content)
    with pytest.raises(CorruptStore):
        await restore_store(url(file), copy)
    copy.write_bytes(content[:5_000])
    with pytest.raises(CorruptStore):
        await restore_store(url(file), copy)
    assert file.read_bytes() == before
    assert {name for name in beside(tmp_path) if "restoring" in name or "replaced" in name} == set()


async def test_a_store_that_somebody_owns_is_not_replaced(tmp_path: Path) -> None:
    await made(tmp_path / "b.db", 3)
    store = await SQLiteStore.open(tmp_path / "state.db")
    await write(store, 1)
    with pytest.raises(StoreOwned):
        await restore_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    await write(store, 1)
    await store.close()
    assert await count_in(tmp_path / "state.db") == 2


async def test_a_store_that_somebody_reads_is_not_replaced_while_its_log_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenticflow.integrations.stores.sqlite.file.BUSY_MILLISECONDS", 10)
    await made(tmp_path / "b.db", 3)
    file = tmp_path / "state.db"
    store = await SQLiteStore.open(file)
    await write(store, 1)
    reader = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").get  # noqa: B018 - begins to read
    await write(store, 1)
    await store.close()
    with pytest.raises(StoreUnavailable, match="reading"):
        await restore_store(url(file), tmp_path / "b.db")
    reader.close()
    assert await count_in(file) == 2
    assert (await restore_store(url(file), tmp_path / "b.db")).replaced is not None


async def test_a_backup_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    version_1(old)
    before = old.read_bytes()
    await back_up_store(url(old), tmp_path / "b.db")
    db = apsw.Connection(str(tmp_path / "b.db"))
    assert db.pragma("user_version") == 1
    db.execute(
        "DELETE FROM streams WHERE sid = 1; DELETE FROM events WHERE sid = 1; DELETE FROM runs; DELETE FROM commands"
    )
    db.close()
    done = await restore_store(url(tmp_path / "state.db"), tmp_path / "b.db")
    assert msgspec.structs.astuple(done) == (0, 0, 0, None)
    assert await count_in(tmp_path / "state.db") == 1
    assert old.read_bytes() == before


@pytest.mark.parametrize("point", failpoints.UPKEEP_POINTS)
async def test_whatever_fails_the_name_has_a_whole_store_and_the_next_try_works(tmp_path: Path, point: str) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    await made(file, 10)
    await made(copy, 3)

    def fail(reached: str) -> None:
        if reached == point:
            failpoints.watch(None)
            raise OSError(28, "no space")

    async def work() -> None:
        await back_up_store(url(file), tmp_path / "c.db", force=True)
        await restore_store(url(file), copy)

    failpoints.watch(fail)
    try:
        with pytest.raises((StoreUnavailable, OSError)):
            await work()
    finally:
        failpoints.watch(None)
    assert await count_in(file) == (3 if point == "restore.named" else 10)
    await work()
    assert await count_in(file) == 3
    assert not {name for name in beside(tmp_path) if name.endswith((".part", ".restoring"))}
