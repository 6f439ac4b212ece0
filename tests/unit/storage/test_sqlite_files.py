"""Files that are not ours, damaged, or half there: a clear error, the file as it was, nothing beside it."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from agenticflow.app.wiring import open_store, sqlite_path
from agenticflow.core import codec
from agenticflow.core.codec import content_hash
from agenticflow.errors import AgenticFlowError, ConfigurationError, CorruptStore, StoreOwned, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import Blob, Row, RunRow, Snapshot


async def fill(file: Path, commits: int = 40, *, has_snapshots: bool = True) -> None:
    store = await SQLiteStore.open(file)
    for number in range(commits):
        data = bytes([number]) * 3_000
        events = [NewEvent("happened", codec.encode({"n": number, "pad": "x" * 500}), number) for _ in range(3)]
        row = RunRow(
            stream_id=f"workflow-{number}/1",
            kind="workflow",
            execution_id=f"{number}",
            run_no=1,
            name="n",
            status="RUNNING",
            is_open=True,
        )
        rows: list[Row] = [row, Blob(content_hash(data), data)]
        if has_snapshots:
            rows.append(Snapshot(stream_id=f"s{number % 5}", version=1, data=data))
        await store.commit(Commit(stream_id=f"s{number % 5}", events=events, rows=rows, command_id=f"c{number}"))
    await store.close()


def sqlite_file(application_id: int, user_version: int) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        with sqlite3.connect(file) as db:
            db.execute(f"PRAGMA application_id = {application_id}")
            db.execute(f"PRAGMA user_version = {user_version}")
            db.execute("CREATE TABLE t (x)")
        db.close()

    return make


def of_another_program_in_wal_mode(file: Path) -> None:
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = wal")
    db.execute("CREATE TABLE t (x)")
    db.close()


FOREIGN: dict[str, tuple[Callable[[Path], object], type[AgenticFlowError], str]] = {
    "text": (lambda file: file.write_text("dear diary\n" * 100), CorruptStore, "not a SQLite database"),
    "zeros": (lambda file: file.write_bytes(bytes(8_192)), CorruptStore, "not a SQLite database"),
    "one byte": (lambda file: file.write_bytes(b"S"), CorruptStore, "not a SQLite database"),
    "cut in the header": (
        lambda file: file.write_bytes(b"SQLite format 3\0" + bytes(40)),
        CorruptStore,
        "not a SQLite",
    ),
    "another program": (sqlite_file(0, 0), CorruptStore, "another program"),
    "another program with an id": (sqlite_file(0x0F055112, 1), CorruptStore, "another program"),
    "another program in WAL mode": (of_another_program_in_wal_mode, CorruptStore, "another program"),
    "a later release": (
        sqlite_file(APPLICATION_ID, SCHEMA_VERSION + 1),
        ConfigurationError,
        f"schema version {SCHEMA_VERSION + 1}",
    ),
    "a release that never was": (sqlite_file(APPLICATION_ID, 0), ConfigurationError, "schema version 0"),
    "a folder": (lambda file: file.mkdir(), ConfigurationError, "cannot be read"),
}


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("what", FOREIGN)
async def test_what_is_not_ours_is_named_and_left_as_it_is(tmp_path: Path, what: str, read_only: bool) -> None:
    make, kind, words = FOREIGN[what]
    file = tmp_path / "state.db"
    make(file)
    before = everything_in(tmp_path)
    with pytest.raises(kind, match=words) as caught:
        await SQLiteStore.open(file, read_only=read_only)
    assert str(file) in caught.value.message
    assert caught.value.hint
    assert everything_in(tmp_path) == before


async def test_a_store_that_is_not_there_is_made_but_not_for_reading(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "state.db"
    with pytest.raises(ConfigurationError, match="there is no store"):
        await SQLiteStore.open(file, read_only=True)
    assert everything_in(tmp_path) == {}
    await fill(file, 1)
    assert file.exists()
    assert {path.name for path in file.parent.iterdir()} == {"state.db", "state.db.lock"}


async def test_an_empty_file_becomes_a_store_and_keeps_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.touch(0o600)
    with pytest.raises(ConfigurationError, match="there is no store"):
        await SQLiteStore.open(file, read_only=True)
    assert everything_in(tmp_path) == {"state.db": b""}
    await fill(file, 1)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", ["nothing", "half a page", "a page", "everything but the name"])
async def test_a_store_whose_making_was_interrupted_is_made_again(tmp_path: Path, left: str) -> None:
    await fill(tmp_path / "model.db", 1)
    model = (tmp_path / "model.db").read_bytes()
    new = tmp_path / "state.db.new"
    new.write_bytes({"nothing": b"", "half a page": model[:2_000], "a page": model[:4_096]}.get(left, model))
    (tmp_path / "state.db.new-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(504))
    await fill(tmp_path / "state.db", 2)
    store = await SQLiteStore.open(tmp_path / "state.db")
    assert await store.verify() == []
    assert len(await store.list_runs()) == 2
    await store.close()
    assert not list(tmp_path.glob("*.new*"))


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("empty", [False, True])
async def test_a_log_whose_file_is_gone_is_not_played_into_a_new_one(tmp_path: Path, suffix: str, empty: bool) -> None:
    file = tmp_path / "state.db"
    (tmp_path / f"state.db{suffix}").write_bytes(b"events that somebody may miss" * 1_000)
    if empty:
        file.touch()
    before = everything_in(tmp_path)
    for read_only in (False, True):
        with pytest.raises(CorruptStore, match="its log"):
            await SQLiteStore.open(file, read_only=read_only)
        assert everything_in(tmp_path) == before


async def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError):
        await SQLiteStore.open(tmp_path / "file" / "state.db")
    assert everything_in(tmp_path) == {"file": b"in the way"}


@pytest.mark.parametrize("size", [100, 101, 1_000, 4_095, 4_096, 5_000, 8_192, -4_096, -1])
async def test_an_own_file_that_was_cut_is_reported(tmp_path: Path, size: int) -> None:
    file = tmp_path / "state.db"
    await fill(file)
    content = file.read_bytes()
    file.write_bytes(content[:size])
    damaged = file.read_bytes()
    with pytest.raises(CorruptStore):
        await read_everything(file)
    assert file.read_bytes() == damaged


async def read_everything(file: Path) -> list[str]:
    store = await SQLiteStore.open(file)
    try:
        async for _ in store.read_all():
            pass
        for number in range(40):
            await store.get_run(f"{number}")
            await store.get_blob(content_hash(bytes([number]) * 3_000))
            await store.get_snapshot(f"s{number % 5}")
        await store.list_runs()
        return await store.verify()
    finally:
        await store.close()


async def test_flipped_bits_are_errors_of_ours_and_verify_finds_them(tmp_path: Path) -> None:
    """Wherever a bit flips: no answer from a foreign class, no hanging; most of it is found, and all of it that breaks the structure."""
    file = tmp_path / "state.db"
    await fill(file)
    sound = file.read_bytes()
    chance = random.Random(7)
    found = 0
    for _ in range(60):
        content = bytearray(sound)
        for _ in range(chance.choice((1, 1, 10, 200))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        try:
            found += bool(await asyncio.wait_for(read_everything(file), 30))
        except (CorruptStore, ConfigurationError, StoreUnavailable):
            found += 1
    assert found >= 30


async def test_a_page_of_zeros_is_found(tmp_path: Path) -> None:
    """Except in a snapshot, which nothing can be held against; and a store may lose those."""
    file = tmp_path / "state.db"
    await fill(file, has_snapshots=False)
    sound = file.read_bytes()
    for page in range(1, len(sound) // 4_096):
        file.write_bytes(sound[: page * 4_096] + bytes(4_096) + sound[(page + 1) * 4_096 :])
        try:
            assert await read_everything(file), f"page {page} is gone, and nobody noticed"
        except CorruptStore:
            continue


async def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    await fill(file)
    db = apsw.Connection(str(file))
    db.execute("DELETE FROM events WHERE sid = 1 AND version = 4")
    db.execute("DELETE FROM events WHERE sid = 2 AND version = 24")
    db.execute("UPDATE events SET data = x'c1' WHERE sid = 3 AND version = 2")
    db.execute("UPDATE blobs SET data = x'00' WHERE rowid = 1")
    db.close()
    store = await SQLiteStore.open(file)
    problems = "\n".join(await store.verify())
    await store.close()
    for words in ("'s0' has version 5 where 4 should be", "version 24 of 's1'", "event 2 of 's2'", "does not hash"):
        assert words in problems


async def test_text_that_is_no_text_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    await fill(file, 2)
    db = apsw.Connection(str(file))
    db.execute("UPDATE events SET type = CAST(x'ff00fe' AS TEXT) WHERE position = 1")
    db.close()
    store = await SQLiteStore.open(file)
    with pytest.raises(CorruptStore, match="never written"):
        await store.read_page("s0", 0, 10)
    assert await store.verify()
    await store.close()


async def test_one_file_has_one_lock_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    link = tmp_path / "link.db"
    link.symlink_to(file)
    store = await SQLiteStore.open(file)
    for name in (link, tmp_path / "." / "state.db", os.path.relpath(file)):
        with pytest.raises(StoreOwned, match="open in this process"):
            await SQLiteStore.open(name)
    await store.close()
    await fill(link, 1)
    assert not (tmp_path / "link.db.lock").exists()
    assert file.exists()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("sqlite:///a.db", {}),
        ("sqlite:///a.db?durability=normal", {"durability": "normal"}),
        ("sqlite:///a.db?vfs=layer&durability=full", {"vfs": "layer", "durability": "full"}),
    ],
)
def test_a_url_names_file_and_options(url: str, options: dict[str, str]) -> None:
    assert sqlite_path(url) == (Path("a.db"), options)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite:///",
        "sqlite://host/a.db",
        "sqlite:///a.db?durability=off",
        "sqlite:///a.db?vfs=",
        "sqlite:///a?x",
    ],
)
async def test_a_url_that_says_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        await open_store(url)


async def test_a_durability_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'off' is unknown"):
        await SQLiteStore.open(tmp_path / "state.db", durability="off")  # type: ignore[arg-type]  # the mistake that is meant
    assert everything_in(tmp_path) == {}


async def test_reading_leaves_a_closed_store_as_it_is(tmp_path: Path) -> None:
    """Nobody owns it: the log and its index are absent. Readers may come and go, and writing is refused."""
    file = tmp_path / "state.db"
    await fill(file)
    content = file.read_bytes()
    for _ in range(2):
        store = await SQLiteStore.open(file, read_only=True)
        assert len(await store.list_runs()) == 40
        with pytest.raises(StoreUnavailable, match="for reading only"):
            await store.commit(Commit(stream_id="s", events=[NewEvent("x", b"\x80", 1)]))
        assert await store.verify() == []
        await store.close()
    assert file.read_bytes() == content
    await fill(file, 1)


async def test_bytes_that_are_no_text_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A page is read as one row, its bytes joined as if they were text: no byte may change on that way."""
    chance = random.Random(11)
    events = [
        NewEvent(
            kind, chance.randbytes(size), chance.randrange(-(2**63) + 1, 2**63), chance.randbytes(size % 7), size + 1
        )
        for kind in ("plain", "n\0ul", "émoji 🏳️‍🌈", '"quoted\\"', "\x1b\x7f\u2028")
        for size in (0, 1, 2, 255, 5_000)
    ]
    store = await SQLiteStore.open(tmp_path / "state.db")
    await store.commit(Commit(stream_id="s\0t", events=[*events, NewEvent("x", bytes(range(256)), 0)]))
    for page in (await store.read_page("s\0t", 0, 100), await store.scan_page(0, 100)):
        assert [(e.event_type, e.data, e.timestamp, e.metadata, e.schema_version) for e in page[:-1]] == [
            (e.event_type, e.data, e.timestamp, e.metadata, e.schema_version) for e in events
        ]
        assert (page[-1].stream_id, page[-1].data) == ("s\0t", bytes(range(256)))
    await store.close()
