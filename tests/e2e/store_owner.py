"""A program that owns a store: run as ``python store_owner.py FILE ROLE``. Says ``ready``, then does as it is told, a line at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime.ownership import CommandServer
from agenticflow.storage.commits import Commit, NewEvent

LIMIT_SECONDS = 60
STAYS = f"import signal; signal.alarm({LIMIT_SECONDS}); print('here', flush=True); signal.pause()"


def say(text: object) -> None:
    os.write(
        1, f"{text}\n".encode()
    )  # in one piece: print writes the end of the line by itself, and a fork speaks in between


async def heard() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def write(store: SQLiteStore, stream_id: str = "s") -> int:
    event = NewEvent("happened", codec.encode({"by": os.getpid()}), 1)
    return (await store.commit(Commit(stream_id=stream_id, events=[event]))).version


async def answer(op: str, arguments: dict[str, object]) -> object:
    if op == "refuse":
        raise ConcurrencyConflict("s", 1, 2)
    return {"op": op, "pid": os.getpid(), "arguments": arguments}


async def fork(store: SQLiteStore) -> None:
    """Fork as a library might; the child says what it can do with the store, and stays."""
    child = os.fork()
    if child:
        say(child)
        return
    try:
        await store.commit(Commit(stream_id="s", events=[NewEvent("x", b"\x80", 1)]))
        said = "it could write"
    except AgenticFlowError as error:
        said = type(error).__name__
    await store.close()
    os.write(1, f"{said}\n".encode())
    signal.alarm(LIMIT_SECONDS)
    signal.pause()


async def main(file: Path, role: str) -> None:
    store = await SQLiteStore.open(file)
    server: CommandServer | None = None
    child: subprocess.Popen[str] | None = None
    if role == "forgetful":
        await asyncio.gather(*(write(store) for _ in range(20)))
        return
    if role == "serving":
        assert store.ownership is not None
        server = CommandServer(store.ownership, answer)
        await server.start()
    if role == "with a child":
        child = subprocess.Popen([sys.executable, "-c", STAYS], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
    say("ready")
    if child is not None:
        say(child.pid)
    while order := await heard():
        if order == "write":
            say(await write(store))
        elif order == "fork":
            await fork(store)
        elif order == "stop":
            break
    if server is not None:
        await server.stop()
    await store.close()
    say("closed")


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
    except StoreUnavailable as error:
        say(error)
        sys.exit(1)
