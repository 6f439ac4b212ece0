"""Files of earlier releases: the owner brings them up to date on opening, readers wait for it, a crash leaves them as they were."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import apsw
import pytest

from agenticflow.core.codec import content_hash, encode
from agenticflow.errors import ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite import file as sqlite_file
from agenticflow.integrations.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import RunRow, Snapshot

SCHEMAS = resources.files("agenticflow.integrations.stores.sqlite").joinpath("sql")
LARGE = b"l" * 100_000


def version_1(file: Path) -> None:
    """Make a store as the first release did, with something in every table."""
    db = apsw.Connection(str(file))
    with db:
        db.pragma("application_id", APPLICATION_ID)
        db.execute(SCHEMAS.joinpath("schema_0001.sql").read_text("utf-8"))
        db.pragma("user_version", 1)
    db.pragma("journal_mode", "wal")
    with db:
        db.execute("INSERT INTO streams (sid, name) VALUES (1, 'workflow-a/1'), (2, 'order-7')")
        for position, sid, version in ((1, 1, 1), (2, 2, 1), (3, 1, 2)):
            db.execute(
                "INSERT INTO events VALUES (?, ?, ?, 'happened', 7, 1, ?, x'')",
                (position, sid, version, encode({"n": position})),
            )
        db.execute("INSERT INTO commands VALUES ('start-a', 'workflow-a/1', 1, 1)")
        db.execute(
            "INSERT INTO runs VALUES (1, 'workflow-a/1', 'workflow', 'a', 1, 'report', 'RUNNING', 1, NULL, 'f', 1, NULL, 2)"
        )
        db.execute("INSERT INTO snapshots VALUES ('workflow-a/1', 2, 1, x'00')")
        db.execute("INSERT INTO blobs VALUES (?, ?)", (content_hash(LARGE), LARGE))
    db.close()


def schema_of(file: Path) -> list[tuple[str, str]]:
    """Return every table and index with its columns, in order of name."""
    db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        names = [row for (row,) in db.execute("SELECT name FROM sqlite_schema ORDER BY name")]
        columns = {name: list(db.execute(f"PRAGMA table_xinfo('{name}')")) for name in names}
        return [(name, repr(columns[name] or list(db.execute(f"PRAGMA index_xinfo('{name}')")))) for name in names]
    finally:
        db.close()


def version_of(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[60:64], "big")


async def test_the_owner_brings_a_file_of_the_first_release_up_to_date_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    version_1(file)
    store = await SQLiteStore.open(file)
    try:
        assert version_of(file) == SCHEMA_VERSION, "in the header, where others look"
        assert await store.verify() == []
        assert [event.position for event in await store.scan_page(0, 9)] == [1, 2, 3]
        assert [event.version for event in await store.read_page("workflow-a/1", 0, 9)] == [1, 2]
        run = await store.get_run("a")
        assert isinstance(run, RunRow)
        assert (run.status, run.fingerprint, run.version) == ("RUNNING", "f", 2)
        assert await store.get_snapshot("workflow-a/1") == Snapshot(stream_id="workflow-a/1", version=2, data=b"\0")
        assert await store.get_blob(content_hash(LARGE)) == LARGE
        event = NewEvent("happened", encode({}), 8)
        assert (await store.commit(Commit(stream_id="x", events=[event], command_id="start-a"))).is_repeated
        after = await store.commit(Commit(stream_id="workflow-a/1", expected=2, events=[event]))
        assert (after.version, after.position) == (3, 4)
        assert await store.put_value("n", "a", b"1", now=1) == 1
    finally:
        await store.close()
    again = await SQLiteStore.open(file)
    assert await again.get_value("n", "a", now=1) is not None
    await again.close()


async def test_a_raised_file_has_the_same_schema_as_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    version_1(old)
    for file in (old, new):
        await (await SQLiteStore.open(file)).close()
    assert schema_of(old) == schema_of(new)


async def test_who_only_reads_is_told_to_let_the_owner_raise_the_file_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    version_1(file)
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="schema version 1") as caught:
        await SQLiteStore.open(file, read_only=True)
    assert "agenticflow store compact" in caught.value.hint
    assert file.read_bytes() == before
    await (await SQLiteStore.open(file)).close()
    await (await SQLiteStore.open(file, read_only=True)).close()


async def test_a_version_that_stands_only_in_the_log_counts(tmp_path: Path) -> None:
    """An owner that was killed after raising the file leaves an old header behind."""
    file, copy = tmp_path / "state.db", tmp_path / "copy.db"
    version_1(file)
    db = apsw.Connection(str(file))
    sqlite_file._raise(db, 1)
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(file.with_name(file.name + suffix).read_bytes())
    db.close()
    assert version_of(copy) == 1
    reader = await SQLiteStore.open(copy, read_only=True)
    assert len(await reader.scan_page(0, 9)) == 3
    await reader.close()
    store = await SQLiteStore.open(copy)
    assert version_of(copy) == SCHEMA_VERSION
    assert await store.verify() == []
    await store.close()


async def test_a_file_that_cannot_be_raised_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.db"
    version_1(file)
    right = sqlite_file._schema

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_file, "_schema", lambda version: right(version) + "INSERT INTO nothing VALUES (1);")
        with pytest.raises((CorruptStore, StoreUnavailable)):
            await SQLiteStore.open(file)
    db = apsw.Connection(str(file))
    assert db.pragma("user_version") == 1
    assert "key_values" not in [name for (name,) in db.execute("SELECT name FROM sqlite_schema")]
    db.close()
    store = await SQLiteStore.open(file)
    assert await store.verify() == []
    await store.close()
