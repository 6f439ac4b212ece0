"""Backup and restore of a store with large values in files: database and files are of one moment, and each copy has its own."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import apsw
import pytest

from agenticflow.app.upkeep.backups import back_up_store, restore_store
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.large import copying
from agenticflow.integrations.stores.sqlite.large.folder import BlobFolder
from tests.unit.storage.test_large_values import LARGE, OTHER, at, encoded, files_in, full_disk, own_folder, put
from tests.unit.storage.test_large_values_folder import everything_in, made, recorded


def url(file: Path) -> str:
    return f"sqlite:///{file}"


async def values_in(file: Path, *names: str) -> list[bytes | None]:
    """Return values of a store, which must be sound."""
    store = await SQLiteStore.open(file, read_only=True)
    try:
        assert (await verify_store(store)).problems == []
        return [await store.get_blob(name) for name in names]
    finally:
        await store.close()


async def test_a_backup_has_files_of_its_own_and_is_a_store_like_any_other(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "copies" / "b.db"
    name = await made(file, tmp_path / "values")
    progress: list[tuple[int, int]] = []
    size = await back_up_store(url(file), copy, progress=lambda done, total: progress.append((done, total)))
    assert size == copy.stat().st_size + len(encoded(LARGE))
    assert progress[-1] == (size, size)
    assert progress == sorted(progress)
    assert files_in(copy.parent) == sorted(["b.db", name])
    assert recorded(copy) == "b.db.values"
    copy.parent.rename(tmp_path / "moved")
    copy = tmp_path / "moved" / "b.db"
    assert await values_in(copy, name) == [encoded(LARGE)]
    store = await SQLiteStore.open(copy)
    await store.compact(now=1)
    (other,) = await put(store, OTHER)
    assert await store.get_blob(other) == encoded(OTHER)
    await store.close()
    assert await values_in(file, name, other) == [encoded(LARGE), None]


async def test_a_backup_that_is_overwritten_takes_its_files_with_it(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    name = await made(file, tmp_path / "values")
    await made(copy, tmp_path / "old values", OTHER)
    for _ in range(3):
        await back_up_store(url(file), copy, force=True)
        assert files_in(tmp_path / "b.db.values") == [name]
        assert files_in(tmp_path / "old values") == []
        assert await values_in(copy, name) == [encoded(LARGE)]
        store = await SQLiteStore.open(copy)  # from now on the folder is marked as that of the copy
        await store.close()


async def test_a_store_whose_folder_is_empty_is_backed_up_with_its_folder(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    await (await SQLiteStore.open(file, blobs=tmp_path / "values")).close()
    (own_folder(tmp_path / "values") / "store").unlink()
    own_folder(tmp_path / "values").rmdir()
    await back_up_store(url(file), copy)
    store = await SQLiteStore.open(copy)
    (name,) = await put(store, LARGE)
    assert files_in(tmp_path / "b.db.values") == [name]
    await store.close()


async def test_a_restored_store_stands_beside_the_one_it_replaced(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "copies" / "b.db"
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), copy)
    store = await SQLiteStore.open(file)
    (later,) = await put(store, OTHER)
    await store.close()
    done = await restore_store(url(file), copy)
    assert done.replaced is not None
    assert recorded(file) == "values", "the URL that the program opens it with is right as before"
    assert await values_in(file, name, later) == [encoded(LARGE), None]
    store = await SQLiteStore.open(file, blobs=tmp_path / "values")
    (third,) = await put(store, b"t" * 70_000)
    await store.compact(now=1)
    await store.close()
    assert await values_in(done.replaced, name, later) == [encoded(LARGE), encoded(OTHER)]
    store = await SQLiteStore.open(done.replaced)
    await store.compact(now=1)
    await store.close()
    assert await values_in(file, name, third) == [encoded(LARGE), encoded(b"t" * 70_000)]
    assert await values_in(copy, name) == [encoded(LARGE)]


async def test_stores_that_were_restored_and_never_opened_keep_their_files(tmp_path: Path) -> None:
    file, copies = tmp_path / "state.db", [tmp_path / "copies" / f"{number}.db" for number in range(4)]
    names = []
    for number, copy in enumerate(copies):
        names.append(await made(copy, copy.with_name(f"{number} values"), bytes([number]) * 70_000))
    replaced = [(await restore_store(url(file), copy)).replaced for copy in copies]
    assert replaced[0] is None
    for store, name in zip([*replaced[1:], file], names, strict=True):
        assert store is not None
        assert None not in await values_in(store, name)


async def test_a_restore_that_was_killed_when_it_was_done_is_not_undone_by_the_next(tmp_path: Path) -> None:
    """The folder is still marked as that of a half-made copy."""
    file, copy = tmp_path / "state.db", tmp_path / "copies" / "b.db"
    name = await made(copy, tmp_path / "copies" / "values")

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with at("restore.named", kill), pytest.raises(Killed):
        await restore_store(url(file), copy)
    assert await values_in(file, name) == [encoded(LARGE)]
    done = await restore_store(url(file), copy)
    assert done.replaced is not None
    for store in (file, done.replaced):
        assert await values_in(store, name) == [encoded(LARGE)]


@pytest.mark.parametrize(
    "spoil", ["UPDATE blob_files SET hash = '../../x'", "UPDATE blob_folder SET store_id = '../x'"]
)
async def test_names_that_lead_elsewhere_are_not_followed(tmp_path: Path, spoil: str) -> None:
    copy = tmp_path / "copies" / "b.db"
    await made(copy, tmp_path / "copies" / "values")
    db = apsw.Connection(str(copy))
    db.execute(spoil)
    db.close()
    before = everything_in(tmp_path)
    with pytest.raises(CorruptStore, match="is not the"):
        await restore_store(url(tmp_path / "state.db"), copy)
    with pytest.raises(CorruptStore, match="is not the"):
        await back_up_store(url(copy), tmp_path / "c.db")
    left = {"state.db.lock", "state.db.values", "c.db.values"}
    assert set(everything_in(tmp_path)) - set(before) <= left


async def test_values_are_restored_to_where_the_url_says_or_beside_the_store(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "copies" / "b.db"
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), copy)
    await restore_store(f"{url(tmp_path / 'x.db')}?blobs={tmp_path / 'mine'}", copy)
    await restore_store(url(tmp_path / "y.db"), copy)
    assert files_in(tmp_path / "mine") == files_in(tmp_path / "y.db.values") == [name]
    for restored in ("x.db", "y.db"):
        assert await values_in(tmp_path / restored, name) == [encoded(LARGE)]


async def test_a_backup_without_files_replaces_a_store_with_them_and_the_other_way_round(tmp_path: Path) -> None:
    plain, file = tmp_path / "plain.db", tmp_path / "state.db"
    store = await SQLiteStore.open(plain)
    (row,) = await put(store, OTHER)
    await store.close()
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), tmp_path / "b.db")
    done = await restore_store(url(file), plain)
    assert await values_in(file, row, name) == [encoded(OTHER), None]
    assert done.replaced is not None
    assert await values_in(done.replaced, name) == [encoded(LARGE)]
    await restore_store(url(file), tmp_path / "b.db")
    assert await values_in(file, row, name) == [None, encoded(LARGE)]


@pytest.mark.parametrize("spoil", ["missing", "cut", "rotten"])
async def test_half_a_copy_is_not_made(tmp_path: Path, spoil: str) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    await made(file, tmp_path / "values", OTHER)
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), copy)
    for folder in ("values", "b.db.values"):
        value = own_folder(tmp_path / folder) / name
        value.write_bytes(b"cut" if spoil == "cut" else bytes(value.stat().st_size))
        if spoil == "missing":
            value.unlink()
    before = everything_in(tmp_path)
    with pytest.raises(CorruptStore, match=name):
        await back_up_store(url(file), tmp_path / "c.db")
    with pytest.raises(CorruptStore, match=name):
        await restore_store(url(tmp_path / "new.db"), copy)
    assert set(everything_in(tmp_path)) - set(before) <= {"c.db.values", "new.db.values", "new.db.lock"}
    assert files_in(tmp_path / "c.db.values") == files_in(tmp_path / "new.db.values") == []


async def test_a_folder_that_is_gone_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    name = await made(file, tmp_path / "values")
    (tmp_path / "values").rename(tmp_path / "moved")
    with pytest.raises(ConfigurationError, match="are not in"):
        await back_up_store(url(file), tmp_path / "b.db")
    await back_up_store(f"{url(file)}?blobs={tmp_path / 'moved'}", tmp_path / "b.db")
    assert await values_in(tmp_path / "b.db", name) == [encoded(LARGE)]


@pytest.mark.parametrize("point", ["blob.copied", "backup.copied", "restore.prepared", "restore.kept"])
async def test_a_full_disk_leaves_no_files_behind(tmp_path: Path, point: str) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "copies" / "b.db"
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), copy)
    before = files_in(tmp_path / "values")

    async def work() -> None:
        if point == "backup.copied":
            await back_up_store(url(file), tmp_path / "c.db")
        else:
            await restore_store(url(file), copy)

    with at(point, full_disk), pytest.raises((StoreUnavailable, OSError)):
        await work()
    assert files_in(tmp_path / "c.db.values") == []
    if point != "restore.prepared":
        assert files_in(tmp_path / "values") == before
    assert await values_in(file, name) == [encoded(LARGE)]
    await restore_store(url(file), copy)
    assert len(list((tmp_path / "values").iterdir())) == 2, "of the old store and of the new one"


async def test_a_copy_that_is_given_up_leaves_no_files_behind(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    await made(file, tmp_path / "values", os.urandom(5_000_000))
    steps = 0

    def give_up(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if done > 2_500_000:
            raise StoreUnavailable("given up")

    with pytest.raises(StoreUnavailable, match="given up"):
        await back_up_store(url(file), tmp_path / "b.db", progress=give_up)
    assert steps > 2, "in the middle of a file"
    assert files_in(tmp_path / "b.db.values") == []
    assert not (tmp_path / "b.db.part").exists()


async def test_a_backup_taken_in_the_middle_of_a_compaction_is_whole(tmp_path: Path) -> None:
    """What the copy of the database names stays until it is copied, although it goes meanwhile from the store."""
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    store = await SQLiteStore.open(file, blobs=tmp_path / "values")
    datas = [bytes([number]) * 70_000 for number in range(30)]
    names = await put(store, *datas, refers=False)
    go_on, waits = threading.Event(), threading.Event()

    def stay(done: int, total: int) -> None:
        if len(files_in(tmp_path / "b.db.values")) == 3:
            waits.set()
            assert go_on.wait(30)

    backup = asyncio.create_task(back_up_store(url(file), copy, progress=stay))
    assert await asyncio.to_thread(waits.wait, 30)
    done = await store.compact(now=1)
    assert done.blobs == 0, "the copy needs them"
    go_on.set()
    await backup
    assert await values_in(copy, *names) == [encoded(data) for data in datas]
    assert (await store.compact(now=1)).blobs == 30
    assert files_in(tmp_path / "values") == []
    await store.close()
    assert await values_in(copy, *names) == [encoded(data) for data in datas]


async def test_backups_beside_commits_and_compactions_are_always_whole(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    store = await SQLiteStore.open(file, blobs=tmp_path / "values", durability="normal")
    is_over = False

    async def write() -> None:
        number = 0
        while not is_over:
            number += 1
            await put(store, number.to_bytes(4, "big") * 20_000, stream=f"s{number}", refers=number % 3 == 0)

    async def compact() -> None:
        while not is_over:
            await store.compact(now=1)

    work = [asyncio.create_task(write()), asyncio.create_task(compact())]
    for number in range(6):
        await back_up_store(url(file), tmp_path / f"b{number}.db")
        await values_in(tmp_path / f"b{number}.db")
    is_over = True
    await asyncio.gather(*work)
    await store.compact(now=1)
    assert await store.verify() == []
    await store.close()


async def test_who_removes_all_the_time_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.db"
    await made(file, tmp_path / "values")
    monkeypatch.setattr(copying, "LOCK_TRIES", 2)
    with (
        BlobFolder(own_folder(tmp_path / "values")).held(alone=True),
        pytest.raises(StoreUnavailable, match="removing large values"),
    ):
        await back_up_store(url(file), tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()
    await back_up_store(url(file), tmp_path / "b.db")


async def test_what_a_killed_copy_left_goes_and_never_what_a_living_store_has(tmp_path: Path) -> None:
    """A half-made copy has the id of its source until its files are copied: that one must not be taken for its own."""
    file = tmp_path / "state.db"
    name = await made(file, tmp_path / "values")
    await back_up_store(url(file), tmp_path / "b.db")
    for part in ("b.db.part", "state.db.restoring", "new.db.restoring"):
        (tmp_path / part).write_bytes(file.read_bytes())
    left = tmp_path / "b.db.values" / "0123456789abcdef"
    left.mkdir()
    (left / "store").write_text(str(tmp_path / "b.db.part"))
    await back_up_store(url(file), tmp_path / "b.db", force=True)
    assert not left.exists()
    left = tmp_path / "values" / "0123456789abcdef"
    left.mkdir()
    (left / "store").write_text(str(tmp_path / "state.db.restoring"))
    done = await restore_store(url(file), tmp_path / "b.db")
    await restore_store(url(tmp_path / "new.db"), tmp_path / "b.db")
    assert not left.exists()
    assert done.replaced is not None
    for store in (file, done.replaced, tmp_path / "b.db", tmp_path / "new.db"):
        assert await values_in(store, name) == [encoded(LARGE)]


async def test_a_backup_of_the_second_release_is_brought_up_to_date(tmp_path: Path) -> None:
    file, copy = tmp_path / "state.db", tmp_path / "b.db"
    store = await SQLiteStore.open(file)
    (name,) = await put(store, LARGE)
    await store.close()
    db = apsw.Connection(str(file))
    db.execute("DROP TABLE blob_files; DROP TABLE blob_folder; PRAGMA user_version = 2")
    db.close()
    await back_up_store(url(file), copy)
    with pytest.raises(AgenticFlowError, match="schema version 2"):
        await values_in(copy, name)
    await restore_store(url(file), copy)
    assert await values_in(file, name) == [encoded(LARGE)]
