"""One owner per store file, with real processes: who lives keeps it, who dies gives it back, however it dies."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agenticflow.errors import ConcurrencyConflict, ConfigurationError, StoreOwned, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime.ownership import owner_of, send_command
from agenticflow.storage.commits import Commit, NewEvent

PROGRAM = Path(__file__).with_name("store_owner.py")
LIMIT_SECONDS = 60


class Owner:
    """A process that owns a store."""

    def __init__(self, file: Path, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, file, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.hears() == "ready"

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, order: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return self.hears()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_SECONDS)

    def end(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def owner_of_a_store(file: Path, role: str = "plain") -> Iterator[Owner]:
    owner = Owner(file, role)
    try:
        yield owner
    finally:
        owner.end()


@pytest.fixture
def file() -> Iterator[Path]:
    """A store in a folder with a short name: a socket's path has a limit, and the folders of tests come near it."""
    with tempfile.TemporaryDirectory(prefix="af-") as folder:
        yield Path(folder, "state.db")


async def versions(file: Path, *, read_only: bool = False) -> list[int]:
    store = await SQLiteStore.open(file, read_only=read_only)
    try:
        assert await store.verify() == []
        return [event.version for event in await store.read_page("s", 0, 1_000)]
    finally:
        await store.close()


async def test_while_the_owner_lives_nobody_else_may_write(file: Path) -> None:
    with owner_of_a_store(file) as owner:
        assert owner.tell("write") == "1"
        with pytest.raises(StoreOwned) as caught:
            await SQLiteStore.open(file)
        assert caught.value.owner_pid == owner.process.pid == owner_of(file)
        assert f"pid {owner.process.pid}" in str(caught.value)
        assert caught.value.hint
        assert owner.tell("write") == "2"
        assert owner.tell("stop") == "closed"
        assert owner_of(file) is None
        assert await versions(file) == [1, 2]


async def test_a_killed_owner_leaves_a_store_that_can_be_opened(file: Path) -> None:
    for round_number in range(3):
        with owner_of_a_store(file) as owner:
            for number in range(5):
                assert owner.tell("write") == f"{5 * round_number + number + 1}"
            owner.kill()
            assert owner_of(file) == owner.process.pid, "the note stays behind, but the lock is what counts"
    assert await versions(file) == list(range(1, 16))


async def test_an_orphaned_child_does_not_keep_the_lock(file: Path) -> None:
    with owner_of_a_store(file, "with a child") as owner:
        child = int(owner.hears())
        assert owner.tell("write") == "1"
        owner.kill()
        os.kill(child, 0)  # it lives
        assert await versions(file) == [1]
        os.kill(child, signal.SIGKILL)


async def test_a_forked_child_has_no_store_and_does_not_keep_the_lock(file: Path) -> None:
    with owner_of_a_store(file) as owner:
        assert owner.tell("write") == "1"
        said = {owner.tell("fork"), owner.hears()}
        (pid,) = [text for text in said if text.isdecimal()]
        assert said - {pid} == {"StoreUnavailable"}
        assert owner.tell("write") == "2", "the parent goes on"
        owner.kill()
        os.kill(int(pid), 0)
        assert await versions(file) == [1, 2]
        os.kill(int(pid), signal.SIGKILL)


async def test_a_program_that_forgets_to_close_ends_and_loses_nothing(file: Path) -> None:
    done = subprocess.run([sys.executable, PROGRAM, file, "forgetful"], timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0
    assert await versions(file) == list(range(1, 21))


async def test_a_reader_beside_the_owner_sees_what_is_committed(file: Path) -> None:
    with owner_of_a_store(file) as owner:
        reader = None
        for number in range(1, 4):
            assert owner.tell("write") == f"{number}"
            reader = reader or await SQLiteStore.open(file, read_only=True)
            assert len(await reader.read_page("s", 0, 100)) == number
        assert reader is not None
        with pytest.raises(StoreUnavailable, match="for reading only"):
            await reader.commit(Commit(stream_id="s", events=[NewEvent("x", b"\x80", 1)]))
        owner.kill()
        assert len(await reader.read_page("s", 0, 100)) == 3
        await reader.close()
    assert await versions(file, read_only=True) == [1, 2, 3], "the log of the killed owner is read as well"
    assert await versions(file) == [1, 2, 3]


async def test_other_processes_send_their_commands_to_the_owner(file: Path) -> None:
    with owner_of_a_store(file, "serving") as owner:
        socket = file.with_name("state.db.sock")
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        answer = await send_command(file, "look", {"id": "w", "n": 7, "raw": b"\0"})
        assert answer == {"op": "look", "pid": owner.process.pid, "arguments": {"id": "w", "n": 7, "raw": b"\0"}}
        with pytest.raises(ConcurrencyConflict) as caught:
            await send_command(file, "refuse", {})
        assert (caught.value.stream_id, caught.value.expected, caught.value.actual) == ("s", 1, 2)
        owner.kill()
        assert socket.exists()
        with pytest.raises(StoreUnavailable, match="cannot be reached") as gone:
            await send_command(file, "look", {})
        assert isinstance(gone.value.__cause__, ConnectionRefusedError)
    with owner_of_a_store(file, "serving") as owner:  # what the killed one left is no obstacle
        assert await send_command(file, "look", {})
        assert owner.tell("stop") == "closed"
        assert not socket.exists()


READ_AS_SOMEBODY_ELSE = """
import asyncio, concurrent.futures.thread, os, sys, traceback
from pathlib import Path
from agenticflow.errors import AgenticFlowError
from agenticflow.integrations.stores.sqlite import SQLiteStore

if os.getuid() == 0:  # may do anything; the one it becomes here may only look, and could not even import any more
    os.setgid(65534)
    os.setuid(65534)

async def main(read_only):
    try:
        store = await SQLiteStore.open(Path(sys.argv[1]), read_only=read_only)
    except AgenticFlowError as error:
        return print(type(error).__name__)
    print([event.version for event in await store.read_page("s", 0, 10)])
    await store.close()

asyncio.run(main(True)); asyncio.run(main(False))
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that any user may look into: the ones of tests are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="agenticflow-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_store_in_a_folder_that_cannot_be_written_is_read_all_the_same(
    public_folder: Path, is_killed: bool
) -> None:
    file = public_folder / "state.db"
    with owner_of_a_store(file) as owner:
        assert [owner.tell("write"), owner.tell("write")] == ["1", "2"]
        if not is_killed:
            assert owner.tell("stop") == "closed"
    assert file.with_name("state.db-wal").exists() == is_killed
    before = {path.name: path.stat().st_size for path in public_folder.iterdir()}
    public_folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_SOMEBODY_ELSE, file],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        # Somebody else cannot write the measurements of a coverage run.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    assert (done.stdout.splitlines(), done.stderr) == (["[1, 2]", ConfigurationError.__name__], "")
    assert {path.name: path.stat().st_size for path in public_folder.iterdir()} == before
