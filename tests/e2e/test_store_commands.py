"""The command socket: every frame, wait and number of connections is bounded, and every answer is what the owner meant."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from agenticflow import errors
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConcurrencyConflict,
    ConfigurationError,
    DefinitionError,
    InvalidInput,
    InvariantError,
    NotSerializable,
    PermanentError,
    StoreOwned,
    StoreUnavailable,
    WorkflowExecutionError,
)
from agenticflow.runtime.ownership import MAX_CONNECTIONS, MAX_FRAME_BYTES, CommandServer, Ownership, send_command

OWNERSHIP = "agenticflow.runtime.ownership"


async def echo(op: str, arguments: dict[str, object]) -> object:
    return {"op": op, **arguments}


@asynccontextmanager
async def serving(
    file: Path, handler: Callable[[str, dict[str, object]], Awaitable[object]] = echo
) -> AsyncIterator[CommandServer]:
    ownership = Ownership.take(file)
    server = CommandServer(ownership, handler)
    await server.start()
    try:
        async with asyncio.timeout(60):
            yield server
    finally:
        await server.stop()
        ownership.release()


@asynccontextmanager
async def connection(file: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(file.with_name(file.name + ".sock")))
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has a limit, and the folders of tests come near it."""
    with tempfile.TemporaryDirectory(prefix="af-") as name:
        yield Path(name)


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "state.db"


async def replied(reader: asyncio.StreamReader) -> dict[str, object]:
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return msgspec.msgpack.decode(await reader.readexactly(size), type=dict[str, object])


async def test_an_answer_comes_back_as_plain_data(file: Path) -> None:
    async with serving(file):
        given: dict[str, object] = {"text": "ü\0", "list": [1, None, 2.5], "raw": b"\xff", "deep": {"er": {}}}
        assert await send_command(file, "echo", given) == {"op": "echo", **given}


EXAMPLES: list[AgenticFlowError] = [
    ConcurrencyConflict("s", 1, 2),
    StoreOwned("owned", owner_pid=7),
    DefinitionError("two mistakes", problems=["one", "two"]),
    WorkflowExecutionError(
        "failed", workflow_id="w", failed={"a": "why"}, remaining=["b"], status="FAILED", hint="look"
    ),
]


def one_of_each() -> list[AgenticFlowError]:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AgenticFlowError)
    ]
    special = {type(example) for example in EXAMPLES}
    return [*EXAMPLES, *(kind("what happened", hint="what to do") for kind in kinds if kind not in special)]


@pytest.mark.parametrize("error", one_of_each(), ids=lambda error: type(error).__name__)
async def test_a_refusal_comes_back_as_the_error_it_was(file: Path, error: AgenticFlowError) -> None:
    async def refuse(op: str, arguments: dict[str, object]) -> object:
        raise error

    async with serving(file, refuse):
        with pytest.raises(AgenticFlowError) as caught:
            await send_command(file, "x", {})
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


async def test_an_error_that_this_release_does_not_know_is_permanent(file: Path) -> None:
    class NewKind(PermanentError):
        code = "of_a_later_release"

    async def refuse(op: str, arguments: dict[str, object]) -> object:
        raise NewKind("something new", hint="update")

    async with serving(file, refuse):
        with pytest.raises(PermanentError, match=r"something new \(update\)"):
            await send_command(file, "x", {})


async def test_a_mistake_in_the_owner_is_told_and_does_not_end_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def stumble(op: str, arguments: dict[str, object]) -> object:
        if op == "stumble":
            raise TimeoutError("inside")
        return lambda: None

    async with serving(file, stumble):
        with pytest.raises(InvariantError, match="TimeoutError"):
            await send_command(file, "stumble", {})
        with pytest.raises(NotSerializable):
            await send_command(file, "answer with a function", {})
    assert "a command of another process failed" in caplog.text


async def test_what_is_too_large_is_refused_on_both_ways(file: Path) -> None:
    async def large(op: str, arguments: dict[str, object]) -> object:
        return bytes(MAX_FRAME_BYTES)

    async with serving(file, large):
        with pytest.raises(BoundExceeded):
            await send_command(file, "x", {"data": bytes(MAX_FRAME_BYTES)})
        with pytest.raises(BoundExceeded, match="1,048,"):
            await send_command(file, "x", {})


async def test_a_frame_that_announces_too_much_is_not_waited_for(file: Path) -> None:
    async with serving(file), connection(file) as (reader, writer):
        writer.write(struct.pack(">I", MAX_FRAME_BYTES + 1))
        reply = await replied(reader)
        assert (reply["is_ok"], reply["code"]) == (False, BoundExceeded.code)
        assert await reader.read() == b""
        assert await send_command(file, "still here", {})


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xc1", b"\x90", b"GET / HTTP/1.1\r\n\r\n", b"\x82\xa2op\x07\xa9arguments\x80", b"\x91" * 5_000, bytes(100)],
    ids=lambda garbage: repr(garbage[:12]),
)
async def test_garbage_is_answered_as_such(file: Path, garbage: bytes) -> None:
    async with serving(file), connection(file) as (reader, writer):
        writer.write(struct.pack(">I", len(garbage)) + garbage)
        reply = await replied(reader)
        assert (reply["is_ok"], reply["code"]) == (False, InvalidInput.code)
        assert await send_command(file, "still here", {})


async def test_a_client_that_hangs_up_disturbs_nobody(file: Path) -> None:
    async with serving(file):
        for begun in (b"", b"\0\0", struct.pack(">I", 100) + b"half"):
            async with connection(file) as (_, writer):
                writer.write(begun)
                await writer.drain()
        assert await send_command(file, "still here", {})


async def test_a_slow_client_is_not_waited_for_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{OWNERSHIP}.IO_SECONDS", 0.05)
    async with serving(file), connection(file) as (reader, writer):
        writer.write(struct.pack(">I", 100) + b"half")
        assert await reader.read() == b""
        assert await send_command(file, "still here", {})


async def test_stopping_does_not_wait_for_a_command_that_is_not_there_yet(file: Path) -> None:
    async with serving(file) as server, connection(file) as (reader, _):
        assert await send_command(file, "the other one is accepted before", {})
        async with asyncio.timeout(5):
            await server.stop()
        assert await reader.read() == b""


async def test_stopping_finishes_what_is_being_answered(file: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(op: str, arguments: dict[str, object]) -> object:
        begun.set()
        await go_on.wait()
        return "done"

    async with serving(file, slow) as server:
        asking = asyncio.create_task(send_command(file, "x", {}))
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        go_on.set()
        assert await asking == "done"
        await stopping
        assert not file.with_name("state.db.sock").exists()


async def test_the_number_of_connections_is_bounded(file: Path) -> None:
    go_on = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow(op: str, arguments: dict[str, object]) -> object:
        begun.release()
        await go_on.wait()
        return op

    async with serving(file, slow):
        asking = [asyncio.create_task(send_command(file, f"{number}", {})) for number in range(MAX_CONNECTIONS)]
        for _ in asking:
            await begun.acquire()
        with pytest.raises(StoreUnavailable, match="already"):
            await send_command(file, "one too many", {})
        go_on.set()
        assert await asyncio.gather(*asking) == [f"{number}" for number in range(MAX_CONNECTIONS)]
        assert await send_command(file, "again", {}) == "again"


async def test_an_owner_that_does_not_answer_is_given_up(file: Path) -> None:
    async def never(op: str, arguments: dict[str, object]) -> object:
        await asyncio.Event().wait()
        return None

    ownership = Ownership.take(file)
    server = CommandServer(ownership, never)
    await server.start()
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.05 s"):
        await send_command(file, "x", {}, timeout_seconds=0.05)
    for task in list(server._connections):
        task.cancel()
    await server.stop()
    ownership.release()


async def test_nobody_listening_is_said(file: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is it running") as caught:
        await send_command(file, "x", {})
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.fixture
def deep_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose socket cannot be beside it, and a folder for temporary files of its own."""
    deep = folder / ("long" * 20) / ("path" * 20)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return deep / "state.db"


async def test_a_path_too_long_for_the_kernel_gets_a_socket_elsewhere(
    folder: Path, deep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(deep_file):
        (place,) = folder.glob("agenticflow-*/*.sock")
        assert place.stat().st_mode & 0o777 == 0o600
        assert place.parent.stat().st_mode & 0o777 == 0o700
        # the client's temporary folder may be another one: where the owner listens stands in its lock
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(tempfile, "tempdir", "/nowhere")
            assert await send_command(deep_file, "echo", {}) == {"op": "echo"}


@pytest.mark.parametrize("trap", ["open to all", "a link"])
async def test_a_socket_is_not_made_where_others_could_reach_it(folder: Path, deep_file: Path, trap: str) -> None:
    private = folder / f"agenticflow-{os.getuid()}"
    if trap == "a link":
        (folder / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(folder / "elsewhere")
    else:
        private.mkdir()
        private.chmod(0o777)
    ownership = Ownership.take(deep_file)
    with pytest.raises(ConfigurationError, match="of this user alone"):
        await CommandServer(ownership, echo).start()
    ownership.release()


async def test_what_is_in_the_way_of_the_socket_is_said(file: Path) -> None:
    file.with_name("state.db.sock").mkdir()
    ownership = Ownership.take(file)
    with pytest.raises(ConfigurationError, match="command socket"):
        await CommandServer(ownership, echo).start()
    ownership.release()


async def test_a_lock_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "state.db.lock").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Ownership.take(tmp_path / "state.db")


async def test_a_lock_is_given_back_once(file: Path) -> None:
    ownership = Ownership.take(file)
    with pytest.raises(StoreOwned, match="open in this process"):
        Ownership.take(file)
    ownership.release()
    ownership.release()
    again = Ownership.take(file)
    file.with_name("state.db.lock").write_text("no json")
    with pytest.raises(StoreOwned) as caught:
        Ownership.take(file)
    assert caught.value.owner_pid is None
    again.release()


async def test_a_stray_socket_is_replaced(file: Path) -> None:
    stray = socket.socket(socket.AF_UNIX)
    stray.bind(str(file.with_name("state.db.sock")))
    stray.close()
    async with serving(file):
        assert await send_command(file, "echo", {}) == {"op": "echo"}
