"""A program that backs up or restores, to be killed: ``python store_copier.py backup|restore STORE FILE POINT``.

At ``POINT`` (a failpoint, or ``step N`` for the N-th step of the copy) it says so and waits for its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from agenticflow.app.upkeep.backups import back_up_store, restore_store
from agenticflow.runtime import failpoints

LIMIT_SECONDS = 60


def main(what: str, url: str, file: str, point: str) -> None:
    signal.alarm(LIMIT_SECONDS)
    steps = 0

    def stay(reached: str) -> None:
        if reached == point:
            os.write(1, b"here\n")
            while True:
                signal.pause()

    def count(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        stay(f"step {steps}")

    failpoints.watch(stay)
    if what == "backup":
        asyncio.run(back_up_store(url, file, progress=count, force=True))
    else:
        asyncio.run(restore_store(url, file, progress=count))
    os.write(1, b"done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
