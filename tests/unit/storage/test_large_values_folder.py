"""Which folder belongs to a store: remembered, moved, shared, refused – and nothing left behind by an open that was refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from agenticflow.app.wiring import open_store, sqlite_path
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreOwned
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.file import SCHEMA_VERSION
from tests.unit.storage.test_large_values import LARGE, OTHER, encoded, files_in, own_folder, put
from tests.unit.storage.test_sqlite_migration import version_1


def everything_in(folder: Path) -> list[str]:
    """Return all names below ``folder``, without what SQLite needs to read beside others and makes again."""
    paths = (path for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal")))
    return sorted(str(path.relative_to(folder)) for path in paths)


async def made(file: Path, folder: Path, data: bytes = LARGE) -> str:
    """Make a store with one large value in ``folder``; return its name."""
    store = await SQLiteStore.open(file, blobs=folder)
    (name,) = await put(store, data)
    await store.close()
    return name


def recorded(file: Path) -> str:
    db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return str(db.execute("SELECT path FROM blob_folder").get)
    finally:
        db.close()


async def test_a_url_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sqlite_path("sqlite:///a.db?blobs=./my%20values&durability=normal") == (
        Path("a.db"),
        {"blobs": "./my values", "durability": "normal"},
    )
    store = await open_store("sqlite:///data/a.db?blobs=./my%20values")
    assert isinstance(store, SQLiteStore)
    (name,) = await put(store, LARGE)
    await store.close()
    assert files_in(tmp_path / "my values") == [name], "relative to the working directory, as the file is"
    assert recorded(tmp_path / "data" / "a.db") == str(tmp_path / "my values"), "not below the database: absolute"


async def test_a_store_moves_with_a_folder_that_lies_below_its_own(tmp_path: Path) -> None:
    name = await made(tmp_path / "here" / "state.db", tmp_path / "here" / "deep" / "values")
    assert recorded(tmp_path / "here" / "state.db") == "deep/values"
    (tmp_path / "here").rename(tmp_path / "there")
    for read_only in (True, False):
        store = await SQLiteStore.open(tmp_path / "there" / "state.db", read_only=read_only)
        assert await store.get_blob(name) == encoded(LARGE)
        await store.close()


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_folder_that_is_gone_is_asked_for_and_where_it_is_now_is_remembered(
    tmp_path: Path, read_only: bool
) -> None:
    file, folder, now = tmp_path / "state.db", tmp_path / "values", tmp_path / "elsewhere"
    name = await made(file, folder)
    folder.rename(now)
    before = everything_in(tmp_path)
    with pytest.raises(ConfigurationError, match="are not in") as caught:
        await SQLiteStore.open(file, read_only=read_only)
    assert "blobs=" in caught.value.hint
    assert everything_in(tmp_path) == before
    reader = await SQLiteStore.open(file, read_only=True, blobs=now)
    assert await reader.get_blob(name) == encoded(LARGE)
    assert await reader.verify() == []
    await reader.close()
    await (await SQLiteStore.open(file, blobs=now)).close()
    assert recorded(file) == "elsewhere"
    store = await SQLiteStore.open(file, read_only=read_only)
    assert await store.get_blob(name) == encoded(LARGE)
    await store.close()


@pytest.mark.parametrize("read_only", [True, False])
async def test_another_folder_is_refused_while_the_values_are_in_the_first(tmp_path: Path, read_only: bool) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    await made(file, folder)
    before = everything_in(tmp_path)
    with pytest.raises(ConfigurationError, match="keeps its large values in") as caught:
        await SQLiteStore.open(file, blobs=tmp_path / "other", read_only=read_only)
    assert "move" in caught.value.hint
    assert everything_in(tmp_path) == before


async def test_a_store_without_values_may_change_its_folder(tmp_path: Path) -> None:
    file, folder, other = tmp_path / "state.db", tmp_path / "values", tmp_path / "other"
    await (await SQLiteStore.open(file, blobs=folder)).close()
    (own_folder(folder) / ("a" * 40)).write_bytes(b"left over")
    name = await made(file, other)
    assert files_in(other) == [name]
    assert list(folder.iterdir()) == []


async def test_a_folder_without_values_that_is_gone_is_made_again(tmp_path: Path) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    await (await SQLiteStore.open(file, blobs=folder)).close()
    shutil.rmtree(folder)
    await (await SQLiteStore.open(file, read_only=True)).close()
    assert not folder.exists()
    store = await SQLiteStore.open(file)
    (name,) = await put(store, LARGE)
    assert files_in(folder) == [name]
    await store.close()


async def test_two_stores_may_name_one_folder_and_never_touch_each_others_files(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    stores = [await SQLiteStore.open(tmp_path / f"{name}.db", blobs=folder) for name in "ab"]
    (name,) = await put(stores[0], LARGE)
    assert [await store.get_blob(name) is not None for store in stores] == [True, False]
    await put(stores[1], LARGE, OTHER, refers=False)
    assert (await stores[1].compact(now=1)).blobs == 2
    assert await stores[0].get_blob(name) == encoded(LARGE)
    for store in stores:
        assert await store.verify() == []
        await store.close()


async def test_a_database_that_was_copied_by_hand_cannot_share_the_files(tmp_path: Path) -> None:
    """Each would remove what only the other refers to."""
    file, copy = tmp_path / "state.db", tmp_path / "copy.db"
    name = await made(file, tmp_path / "values")
    shutil.copy(file, copy)
    with pytest.raises(ConfigurationError, match="is a copy") as caught:
        await SQLiteStore.open(copy)
    assert "store backup" in caught.value.hint
    for read_only in (True, False):
        store = await SQLiteStore.open(file, read_only=read_only)
        assert await store.get_blob(name) == encoded(LARGE)
        await store.close()
    file.unlink()
    (tmp_path / "state.db").write_text("something else by now")
    store = await SQLiteStore.open(copy)  # it was moved
    assert await store.get_blob(name) == encoded(LARGE)
    await store.close()


async def test_a_store_that_was_copied_with_its_folder_is_one_of_its_own(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    name = await made(here / "state.db", here / "values")
    shutil.copytree(here, there)
    store = await SQLiteStore.open(there / "state.db")
    (other,) = await put(store, OTHER)
    await store.close()
    assert files_in(here / "values") == [name]
    assert set(files_in(there / "values")) == {name, other}
    store = await SQLiteStore.open(here / "state.db")
    assert await store.verify() == []
    await store.close()


def a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (a_file, "it is not a folder"),
        (lambda folder: a_file(folder) / "below", "Not a directory"),
        (lambda folder: Path("/proc/nothing"), "No such file"),
        (lambda folder: Path("/proc/self"), "cannot be kept in"),
        (lambda folder: folder / ("n" * 300), "too long"),
        (lambda folder: folder / "\ud800", "surrogates"),
        (lambda folder: "a\0b", "null"),
        (lambda folder: "", "no name"),
    ],
    ids=["a file", "below a file", "not to be made", "not to be written", "too long", "no text", "zero", "empty"],
)
@pytest.mark.parametrize("is_there", [False, True])
async def test_a_folder_that_cannot_be_used_is_told_and_nothing_is_left(
    tmp_path: Path, place: object, words: str, is_there: bool
) -> None:
    file = tmp_path / "deep" / "state.db"
    if is_there:
        await (await SQLiteStore.open(file)).close()
    folder = place(tmp_path)  # type: ignore[operator]  # a table of functions
    before = everything_in(tmp_path)
    with pytest.raises(ConfigurationError, match=words) as caught:
        await SQLiteStore.open(file, blobs=folder)
    assert "blobs=" in caught.value.hint
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("what", ["owned", "foreign", "later"])
async def test_a_refused_open_leaves_no_folder(tmp_path: Path, what: str) -> None:
    file = tmp_path / "state.db"
    owner = await SQLiteStore.open(file)
    if what != "owned":
        await owner.close()
        content = bytearray(file.read_bytes())
        content[60 if what == "later" else 68 : 64 if what == "later" else 72] = b"\0\0\1\0"
        file.write_bytes(content)
    before = everything_in(tmp_path)
    with pytest.raises(AgenticFlowError) as caught:
        await SQLiteStore.open(file, blobs=tmp_path / "deep" / "values")
    assert isinstance(caught.value, {"owned": StoreOwned, "foreign": CorruptStore, "later": ConfigurationError}[what])
    assert everything_in(tmp_path) == before
    await owner.close()


@pytest.mark.parametrize("url", ["sqlite:///a.db?blobs=", "sqlite:///a.db?blobs", "sqlite:///a.db?blob=./values"])
async def test_a_url_that_names_none_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        await open_store(url)
    assert "blobs=" in caught.value.hint
    assert everything_in(tmp_path) == []


async def test_a_store_that_names_files_and_no_folder_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    name = await made(file, tmp_path / "values")
    db = apsw.Connection(str(file))
    db.execute("DELETE FROM blob_folder")
    db.close()
    with pytest.raises(CorruptStore, match="does not say where"):
        await SQLiteStore.open(file)
    reader = await SQLiteStore.open(file, read_only=True)
    with pytest.raises(CorruptStore, match="does not say where"):
        await reader.get_blob(name)
    (problem,) = await reader.verify()
    assert "does not say where" in problem
    await reader.close()


async def test_a_reader_that_was_there_before_the_folder_finds_its_values(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    await (await SQLiteStore.open(file)).close()
    reader = await SQLiteStore.open(file, read_only=True)
    name = await made(file, tmp_path / "values")
    assert await reader.get_blob(name) == encoded(LARGE)
    await reader.close()


async def test_a_file_of_an_earlier_release_begins_to_keep_values_in_files(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    version_1(file)
    name = await made(file, tmp_path / "values", OTHER)
    assert int.from_bytes(file.read_bytes()[60:64], "big") == SCHEMA_VERSION
    store = await SQLiteStore.open(file)
    assert await store.get_blob(name) == encoded(OTHER)
    assert await store.verify() == []
    await store.close()
