"""Taking a backup of a store while it is in use, and putting one back when nobody owns the place.

A backup is a store like any other: it can be read, verified and run from. Restoring verifies before it replaces anything, and keeps what it
replaced.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agenticflow.app.upkeep.verification import Verification, verify_store
from agenticflow.app.wiring import back_up_file, restored_file
from agenticflow.errors import CorruptStore, StoreUnavailable

__all__ = ["Restored", "back_up_store", "restore_store"]

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with the bytes done so far and in all, on a thread of the work's own."""


class Restored(msgspec.Struct, frozen=True):
    """What restoring did."""

    runs: int
    events: int
    blobs: int
    replaced: Path | None
    """Where the store is that was there before; ``None`` when there was none."""


class _Stop:
    """Passes progress on until somebody gives up: then the copy ends at its next step."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._is_over = threading.Event()

    def __call__(self, done: int, total: int) -> None:
        if self._is_over.is_set():
            raise StoreUnavailable("the copy was given up", hint="nothing was left behind")
        if self._progress is not None:
            self._progress(done, total)

    async def in_thread(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call ``function`` on a thread; when that is cancelled, end the call first."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *args, **options))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._is_over.set()
            await asyncio.wait([work])
            raise


async def back_up_store(
    url: str | None, target: Path | str, *, force: bool = False, progress: Progress | None = None
) -> int:
    """Copy the store at ``url``, as it is now, to the file ``target``; return its size in bytes.

    Works beside a running owner, which goes on. Under the name ``target`` there is never half a copy, whenever the process ends.

    Raises ``ConfigurationError`` when there is no store, or something at ``target`` and not ``force``; ``StoreOwned`` when that is a
    store somebody owns; ``StoreUnavailable`` without space.
    """
    stop = _Stop(progress)
    return await stop.in_thread(back_up_file, url, Path(target), force=force, progress=stop)


async def restore_store(url: str | None, source: Path | str, *, progress: Progress | None = None) -> Restored:
    """Put the backup ``source`` in the place of the store at ``url``, which nobody may own; ``source`` stays as it is.

    The copy is verified first: with one mistake nothing is replaced. What was there is kept beside it, as ``….replaced-1``. Whenever
    the process ends, the old store or the whole new one has the name.

    Raises ``CorruptStore`` when the backup is not sound, ``StoreOwned`` when somebody owns the store, ``ConfigurationError`` when there
    is no backup, ``StoreUnavailable`` without space or while somebody reads the old store.
    """
    stop = _Stop(progress)
    async with restored_file(url, Path(source), progress=stop, in_thread=stop.in_thread) as (copy, put_in_place):
        try:
            found = await verify_store(copy)
        finally:
            await copy.close()
        _demand_sound(found, source)
        return Restored(found.runs, found.events, found.blobs, await put_in_place())


def _demand_sound(found: Verification, source: Path | str) -> None:
    if not found.is_sound:
        more = f", and {len(found.problems) - 1} more" if len(found.problems) > 1 else ""
        raise CorruptStore(
            f"the backup {str(source)!r} is not sound: {found.problems[0]}{more}; nothing was replaced",
            hint="take another backup",
        )
