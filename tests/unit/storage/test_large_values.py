"""Large values in files: which become files, how they are read, what is told when one is not as it was, and how they go."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
import pytest

from agenticflow import Orchestrator, TaskDefinition, WorkflowDefinition, worker
from agenticflow.core import codec
from agenticflow.core.codec import content_hash
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.core.values import store_form
from agenticflow.errors import ConfigurationError, CorruptStore, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.large.folder import BLOCK_BYTES, OVERLAP_BYTES, BlobFolder
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.retention import references_within
from agenticflow.storage.rows import Blob
from agenticflow.testing.faulty_disk import faulty_disk

LARGE = b"l" * 100_000
OTHER = b"o" * 200_000


async def put(store: SQLiteStore, *datas: bytes, stream: str = "s", refers: bool = True) -> list[str]:
    """Commit the values, with one event that refers to each of them; return their names."""
    references, rows = [], []
    for data in datas:
        stand_in, (blob,) = store_form(codec.encode(data))
        references.append(msgspec.Raw(stand_in))
        rows.append(Blob(*blob))
    event = NewEvent("happened", codec.encode(references if refers else []), 1)
    await store.commit(Commit(stream_id=stream, events=[event], rows=rows))
    return [row.hash for row in rows]


def encoded(data: bytes) -> bytes:
    return codec.encode(data)


def files_in(folder: Path) -> list[str]:
    """Return the names of all files of values below ``folder``."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "store")


def own_folder(folder: Path) -> Path:
    (own,) = folder.iterdir()
    return own


@contextmanager
def at(point: str, act: Callable[[], None]) -> Iterator[None]:
    """Have ``act`` done once, at the first arrival at ``point``."""

    def watch(reached: str) -> None:
        if reached == point:
            failpoints.watch(None)
            act()

    failpoints.watch(watch)
    try:
        yield
    finally:
        failpoints.watch(None)


def full_disk() -> None:
    raise OSError(28, "No space left on device")


async def rows_of(file: Path) -> tuple[int, int]:
    """Return how many blobs are rows, and how many files."""
    db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute("SELECT count(*) FROM blobs").get, db.execute("SELECT count(*) FROM blob_files").get
    finally:
        db.close()


async def test_large_values_become_files_and_are_found_again_without_the_option(tmp_path: Path) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    store = await SQLiteStore.open(file, blobs=folder)
    names = await put(store, LARGE, OTHER)
    assert files_in(folder) == sorted(names)
    assert await store.get_blob(names[0]) == encoded(LARGE)
    await store.close()
    assert await rows_of(file) == (0, 2)
    for read_only in (True, False):
        store = await SQLiteStore.open(file, read_only=read_only)
        assert [await store.get_blob(name) for name in names] == [encoded(LARGE), encoded(OTHER)]
        assert await store.verify() == []
        await store.close()
    store = await SQLiteStore.open(file)
    (third,) = await put(store, b"t" * 70_000)
    assert third in files_in(folder), "the option need be given only once"
    await store.close()


async def test_what_is_small_stays_a_row_and_old_rows_stay_rows(tmp_path: Path) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    store = await SQLiteStore.open(file)
    (old,) = await put(store, LARGE)
    await store.close()
    store = await SQLiteStore.open(file, blobs=folder)
    await put(store, LARGE)
    at_the_bound, above = b"\0" * MAX_INLINE_BYTES, b"\0" * (MAX_INLINE_BYTES + 1)
    rows = [Blob(content_hash(data), data) for data in (at_the_bound, above)]
    await store.commit(Commit(stream_id="s", rows=rows))
    assert files_in(folder) == [content_hash(above)]
    assert await store.get_blob(old) == encoded(LARGE)
    assert await store.get_blob(content_hash(at_the_bound)) == at_the_bound
    await store.close()
    assert await rows_of(file) == (2, 1)


async def test_a_name_that_is_no_hash_never_becomes_the_name_of_a_file(tmp_path: Path) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    store = await SQLiteStore.open(file, blobs=folder)
    await store.commit(Commit(stream_id="s", rows=[Blob("../../escaped", LARGE), Blob("A" * 40, LARGE)]))
    assert files_in(folder) == []
    await store.close()
    db = apsw.Connection(str(file))
    db.execute("INSERT INTO blob_files VALUES ('../../escaped-too', 5, 0)")
    db.close()
    (tmp_path / "escaped-too").write_bytes(b"hello")
    store = await SQLiteStore.open(file)
    with pytest.raises(CorruptStore, match="not the name"):
        await store.get_blob("../../escaped-too")
    with pytest.raises(CorruptStore):
        await store.compact(now=1)
    await store.close()
    assert (tmp_path / "escaped-too").read_bytes() == b"hello"


async def test_everything_is_on_disk_before_the_commit_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between any two lines of this log leaves each acknowledged value whole; also with durability=normal."""
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder, durability="normal")
    log: list[str] = []
    right = os.fsync

    def fsync(descriptor: int) -> None:
        log.append(f"synced {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    failpoints.watch(log.append)
    try:
        names = await put(store, LARGE, OTHER)
    finally:
        failpoints.watch(None)
    first, second = names
    assert log[: log.index("store.after_commit")] == [
        f"synced {first}.new",
        "blob.written",
        "blob.named",
        f"synced {second}.new",
        "blob.written",
        "blob.named",
        f"synced {own_folder(folder).name}",
        "blob.synced",
        "store.before_commit",
    ], "one sync of the folder for both"
    await store.close()


async def test_a_group_of_commits_shares_the_sync_of_the_folder(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=tmp_path / "values")
    log: list[str] = []
    failpoints.watch(log.append)
    try:
        await asyncio.gather(*(put(store, bytes([number]) * 70_000, stream=f"s{number}") for number in range(30)))
    finally:
        failpoints.watch(None)
    assert log.count("blob.written") == 30
    assert log.count("blob.synced") == log.count("store.after_commit") < 10
    await store.close()


async def test_a_value_that_is_kept_already_is_not_written_again_unless_its_file_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (name,) = await put(store, LARGE)
    file = own_folder(folder) / name
    before = file.stat().st_ino
    await put(store, LARGE, LARGE)
    assert file.stat().st_ino == before
    file.write_bytes(b"cut")
    await put(store, LARGE)
    assert await store.get_blob(name) == encoded(LARGE), "cut short, it is mended by the next commit that brings it"
    file.unlink()
    await put(store, LARGE)
    assert await store.get_blob(name) == encoded(LARGE)
    await store.close()


async def test_a_file_that_no_row_names_is_not_trusted(tmp_path: Path) -> None:
    """Left over by a crash, it may have rotted since; its size says nothing."""
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    data = encoded(LARGE)
    (own_folder(folder) / content_hash(data)).write_bytes(b"\0" * len(data))
    (name,) = await put(store, LARGE)
    assert await store.get_blob(name) == data
    await store.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "is missing in"),
        (lambda file: file.write_bytes(b"cut"), "has 3 bytes where 100,005 should be"),
        (lambda file: file.write_bytes(bytes(file.stat().st_size)), "does not hash to its name"),
    ],
    ids=["missing", "cut", "rotten"],
)
async def test_a_file_that_is_not_as_it_was_is_told(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    names = await put(store, LARGE, OTHER)
    spoil(own_folder(folder) / names[0])
    with pytest.raises(CorruptStore, match=words):
        await store.get_blob(names[0])
    (problem,) = await store.verify()
    assert words in problem
    assert await store.get_blob(names[1]) == encoded(OTHER), "the other one is untouched"
    await store.close()


async def test_verify_finds_a_row_that_tells_something_else(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    store = await SQLiteStore.open(file, blobs=tmp_path / "values")
    (inner,) = await put(store, LARGE)
    await put(store, encoded(OTHER) + store_form(encoded(LARGE))[0], stream="t")
    assert await store.verify() == []
    await store.close()
    db = apsw.Connection(str(file))
    db.execute("UPDATE blob_files SET has_references = NOT has_references WHERE hash <> ?", (inner,))
    db.close()
    store = await SQLiteStore.open(file)
    (problem,) = await store.verify()
    assert "does not tell what is in its file" in problem, "its inner value would be swept"
    await store.close()


async def test_a_value_that_goes_and_comes_again_while_it_is_read_is_found(tmp_path: Path) -> None:
    """Between the look at the row and the look at the file both went, and came again: the reader looks again."""
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (name,) = await put(store, LARGE)
    file = own_folder(folder) / name
    reader = store._reader
    seen = 0

    class Slow:
        """The reading connection; behind the first look the file goes, behind the second it is back."""

        def execute(self, sql: str, bound: tuple[str, ...] = ()) -> object:
            nonlocal seen
            answer = reader.execute(sql, bound)
            if "blob_files WHERE hash" in sql:
                seen += 1
                if seen == 1:
                    file.rename(file.with_name("aside"))
                else:
                    file.with_name("aside").rename(file)
            return answer

    store._reader = Slow()  # type: ignore[assignment]  # only what is used of it
    assert await store.get_blob(name) == encoded(LARGE)
    store._reader = reader
    assert seen == 2
    await store.close()


async def test_a_full_disk_refuses_leaves_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    await put(store, OTHER)
    before = files_in(folder)
    with at("blob.written", full_disk), pytest.raises(StoreUnavailable, match="no space for large values") as caught:
        await put(store, LARGE)
    assert caught.value.hint == "make room, then go on"
    assert files_in(folder) == before
    assert len(await store.read_page("s", 0, 9)) == 1
    (name,) = await put(store, LARGE)
    assert await store.get_blob(name) == encoded(LARGE)
    assert await store.verify() == []
    await store.close()


async def test_of_a_commit_with_several_values_that_fails_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    count = 0

    def fail(point: str) -> None:
        nonlocal count
        if point == "blob.written":
            count += 1
            if count == 3:
                full_disk()

    failpoints.watch(fail)
    try:
        with pytest.raises(StoreUnavailable):
            await put(store, LARGE, OTHER, b"t" * 70_000)
    finally:
        failpoints.watch(None)
    assert files_in(folder) == []
    await store.close()


async def test_trouble_with_the_folder_refuses_what_follows_and_not_what_it_follows_from(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=tmp_path / "values")
    _, (blob,) = store_form(codec.encode(LARGE))

    def chain(prefix: str) -> list[Commit]:
        rows: list[list[Blob]] = [[], [Blob(*blob)], []]
        return [
            Commit(stream_id=f"{prefix}{number}", events=[NewEvent("happened", b"\x80", 1)], rows=own)
            for number, own in enumerate(rows)
        ]

    def fail(point: str) -> None:
        if point == "blob.written":
            raise OSError(errno.EIO, "broken")

    failpoints.watch(fail)
    try:
        alone = await store.commit_in_order(chain("alone"))
        together = await asyncio.gather(*(store.commit_in_order(chain(prefix)) for prefix in "abc"))
    finally:
        failpoints.watch(None)
    for answers in (alone, *together):
        assert [type(answer) for answer in answers] == [Committed, StoreUnavailable]
    assert sorted(one.stream_id for one in await store.scan_page(0, 9)) == ["a0", "alone0", "b0", "c0"]
    assert await store.verify() == []
    await store.close()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS, errno.ENOENT, errno.ENOSPC])
async def test_trouble_with_the_folder_refuses_who_needs_it_and_nobody_else(tmp_path: Path, number: int) -> None:
    """Whatever it is, it is temporary for the engine: outcomes are kept and tried again until somebody has mended it."""
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=tmp_path / "values")

    def fail(point: str) -> None:
        if point == "blob.written":
            raise OSError(number, os.strerror(number))

    async def small(name: str) -> None:
        await store.commit(Commit(stream_id=name, events=[NewEvent("happened", b"\x80", 1)]))

    failpoints.watch(fail)
    try:
        before = store.transactions
        work = [small("a"), put(store, LARGE), small("b"), put(store, OTHER, stream="t"), small("c")]
        answers = await asyncio.gather(*work, return_exceptions=True)
    finally:
        failpoints.watch(None)
    kinds = [type(answer) for answer in answers]
    assert kinds == [type(None), StoreUnavailable, type(None), StoreUnavailable, type(None)]
    assert store.transactions - before < 5, "some of them shared a transaction"
    assert sorted(one.stream_id for one in await store.scan_page(0, 9)) == ["a", "b", "c"]
    assert files_in(tmp_path / "values") == []
    await put(store, LARGE)
    assert await store.verify() == []
    await store.close()


async def test_a_folder_that_cannot_be_written_is_told_when_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as somebody who may do anything: what ``access`` would say to others is said here."""
    file = tmp_path / "state.db"
    await (await SQLiteStore.open(file, blobs=tmp_path / "values")).close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await SQLiteStore.open(file)
        await (await SQLiteStore.open(file, read_only=True)).close()
    await (await SQLiteStore.open(file)).close()


async def test_a_commit_that_fails_behind_its_files_leaves_them_over_until_the_next_compaction(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)

    def fail() -> None:
        raise apsw.FullError("the database is full")

    with at("store.before_commit", fail), pytest.raises(StoreUnavailable):
        await put(store, LARGE)
    assert len(files_in(folder)) == 1
    half = own_folder(folder) / f"{'a' * 40}.new"
    half.write_bytes(b"half")
    foreign = own_folder(folder) / "readme.txt"
    foreign.write_text("not ours")
    assert await store.verify() == [], "harmless"
    done = await store.compact(now=1)
    assert files_in(folder) == ["readme.txt"], "what is not ours is not touched"
    assert (done.blobs, done.freed_bytes >= len(LARGE)) == (0, True)
    await store.close()


async def test_what_nothing_refers_to_goes_with_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (kept,) = await put(store, LARGE)
    await put(store, OTHER, refers=False)
    done = await store.compact(now=1)
    size = len(encoded(OTHER))
    assert (done.blobs, done.blob_bytes) == (1, size)
    assert done.freed_bytes >= size
    assert files_in(folder) == [kept]
    assert (await store.compact(now=1)).blobs == 0
    await store.close()


@pytest.mark.parametrize("offset", [0, 1, 15, OVERLAP_BYTES, OVERLAP_BYTES + 1])
async def test_a_reference_across_two_blocks_of_a_file_is_found(tmp_path: Path, offset: int) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (inner,) = await put(store, LARGE, refers=False)
    reference = store_form(encoded(LARGE))[0]
    outer = bytes(2 * BLOCK_BYTES - offset) + reference + bytes(100)
    assert references_within(outer) == {inner}
    names = [content_hash(outer)]
    event = NewEvent("happened", b"\xc7\x1c\x07" + bytes.fromhex(names[0]) + bytes(8), 1)
    await store.commit(Commit(stream_id="o", events=[event], rows=[Blob(names[0], outer)]))
    assert (await store.compact(now=1)).blobs == 0
    assert await store.get_blob(inner) == encoded(LARGE)
    await store.close()


async def test_nothing_is_swept_while_a_file_that_may_refer_to_it_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (inner,) = await put(store, LARGE, refers=False)
    (outer,) = await put(store, encoded(OTHER) + store_form(encoded(LARGE))[0], stream="t")
    file = own_folder(folder) / outer
    aside = file.rename(tmp_path / "aside")
    with pytest.raises(CorruptStore, match="no large value was removed"):
        await store.compact(now=1)
    aside.rename(file)
    assert await store.get_blob(inner) == encoded(LARGE)
    assert (await store.compact(now=1)).blobs == 0
    await store.close()


async def test_a_value_that_comes_again_in_the_middle_of_a_sweep_stays(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    await put(store, *(bytes([number]) * 70_000 for number in range(8)), refers=False)
    names: list[str] = []

    async def bring() -> None:
        for number in range(8):
            names.extend(await put(store, bytes([number]) * 70_000, stream=f"t{number}"))

    await asyncio.gather(store.compact(now=1), bring())
    assert [await store.get_blob(name) is not None for name in names] == [True] * 8
    assert await store.verify() == []
    assert files_in(folder) == sorted(names)
    await store.close()


async def test_while_somebody_holds_the_folder_no_file_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "values"
    store = await SQLiteStore.open(tmp_path / "state.db", blobs=folder)
    (name,) = await put(store, LARGE, refers=False)
    own = own_folder(folder)
    (own / ("b" * 40)).write_bytes(b"left over")
    with BlobFolder(own).held(alone=False) as is_free, caplog.at_level("INFO", "agenticflow.engine"):
        assert is_free
        assert (await store.compact(now=1)).blobs == 0
    assert "until the next compaction" in caplog.text
    assert files_in(folder) == sorted([name, "b" * 40])
    assert await store.get_blob(name) == encoded(LARGE)
    assert (await store.compact(now=1)).blobs == 1
    assert files_in(folder) == []
    await store.close()


async def test_a_file_has_the_rights_of_the_database(tmp_path: Path) -> None:
    file, folder = tmp_path / "state.db", tmp_path / "values"
    file.touch(mode=0o600)
    file.chmod(0o600)
    store = await SQLiteStore.open(file, blobs=folder)
    (name,) = await put(store, LARGE)
    assert (own_folder(folder) / name).stat().st_mode & 0o777 == 0o600
    await store.close()


@pytest.mark.parametrize(("operation", "suffix"), [("committed", ".db"), ("sync", "-wal"), ("write", "-wal")])
@pytest.mark.parametrize("has_events", [True, False])
async def test_a_commit_whose_outcome_was_unknown_for_a_moment_has_its_file(
    tmp_path: Path, operation: str, suffix: str, has_events: bool
) -> None:
    """The disk of the database fails: the writer looks what is true, or writes the rows again; the file stays where it is."""
    failed = False

    def trouble(met: str, name: str) -> None:
        nonlocal failed
        if not failed and met == operation and name.endswith(suffix):
            failed = True
            raise apsw.IOError(f"{operation} of {name}")

    with faulty_disk(tmp_path) as (disk, layer):
        store = await SQLiteStore.open(tmp_path / "state.db", vfs=layer, blobs=tmp_path / "values")
        disk.trouble = trouble
        events = [NewEvent("happened", b"\x80", 1)] if has_events else []
        one = Commit(stream_id="s", events=events, rows=[Blob(content_hash(LARGE), LARGE)], command_id="c")
        try:
            await store.commit(one)
        except StoreUnavailable:
            assert has_events, "it had not happened"
            await store.commit(one)
        assert failed
        assert (await store.commit(one)).is_repeated
        assert await store.get_blob(content_hash(LARGE)) == LARGE
        await store.close()
    store = await SQLiteStore.open(tmp_path / "state.db")
    assert await store.get_blob(content_hash(LARGE)) == LARGE
    assert await store.verify() == []
    await store.close()


async def test_a_run_waits_until_its_folder_is_mended_and_does_nothing_twice(tmp_path: Path) -> None:
    calls, refused = 0, 0

    @worker("fill")
    async def fill() -> str:
        nonlocal calls
        calls += 1
        return "x" * 70_000

    def fail(point: str) -> None:
        nonlocal refused
        if point == "blob.written" and refused < 4:
            refused += 1
            raise OSError(errno.EACCES, "Permission denied")

    definition = WorkflowDefinition([TaskDefinition("fill", "fill")], name="filled", output={"size": "${fill}"})
    async with Orchestrator(store=f"sqlite:///{tmp_path / 'state.db'}?blobs={tmp_path / 'values'}") as orchestrator:
        orchestrator.register_worker(fill)
        failpoints.watch(fail)
        try:
            async with asyncio.timeout(30):
                result = await orchestrator.wait(await orchestrator.execute_workflow(definition))
        finally:
            failpoints.watch(None)
    assert result == {"size": "x" * 70_000}
    assert (calls, refused) == (1, 4)
