"""A program that brings, removes and copies large values, to be killed: ``python large_values_program.py FILE FOLDER ROUND POINT``.

Says ``acknowledged NAME`` for each value whose commit was answered, and ``here`` when it has come to ``POINT`` for the second time; there
it waits for its end. ``never`` is a point it does not come to: then it says ``done``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from agenticflow.app.upkeep.backups import back_up_store
from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import Blob

LIMIT_SECONDS = 60
VALUES = 6


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def content(round_: int, number: int, *, is_kept: bool) -> bytes:
    return codec.encode(["kept" if is_kept else "dropped", round_, number, bytes(70_000)])


async def bring(store: SQLiteStore, data: bytes, *, is_kept: bool) -> None:
    """Commit a value, and an event that refers to it when it is to be kept."""
    reference, (blob,) = store_form(data)
    event = NewEvent("happened", codec.encode(msgspec.Raw(reference) if is_kept else None), 1)
    await store.commit(Commit(stream_id=f"s-{blob[0]}", events=[event], rows=[Blob(*blob)]))
    if is_kept:
        say(f"acknowledged {blob[0]}")


async def main(file: Path, folder: Path, round_: int, point: str) -> None:
    signal.alarm(LIMIT_SECONDS)
    arrivals = 0

    def stay(reached: str) -> None:
        nonlocal arrivals
        arrivals += reached == point
        if arrivals == 2:
            say("here")
            while True:
                signal.pause()

    store = await SQLiteStore.open(file, blobs=folder)
    failpoints.watch(stay)
    for _ in range(2):
        values = ((content(round_, number, is_kept=kept), kept) for number in range(VALUES) for kept in (True, False))
        for data, is_kept in values:
            await bring(store, data, is_kept=is_kept)
        await store.compact(now=1)
        await back_up_store(f"sqlite:///{file}", file.with_name("copy.db"), force=True)
        round_ += 1_000
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
