"""``agenticflow store backup``, ``restore`` and ``compact``: copies that can be relied on, and room given back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from rich.status import Status

from agenticflow.app.commands.operations import Compact
from agenticflow.app.upkeep.backups import Restored, back_up_store, restore_store
from agenticflow.app.wiring import store_url
from agenticflow.cli.access import Delivered, deliver, store_file
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, print_json, progress_console
from agenticflow.storage.retention import Compacted, RetentionPolicy

__all__ = ["backup", "compact", "restore"]

COMPACT_SECONDS: Final = 3_600.0
"""How long to wait for an owner who compacts."""
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB")


def backup(target: str, *, force: bool, store: str | None, form: Format) -> int:
    """Copy the store as it is now to ``target``."""
    url = store_url(store)
    _demand(store_file(url), url)
    size = run_async(_backed_up(url, target, force=force))
    if form is Format.JSON:
        print_json({"backup": str(Path(target).absolute()), "bytes": size})
    else:
        print(f"backed up to {target}: {_size(size)}")
    return Exit.OK


def restore(source: str, *, store: str | None, form: Format) -> int:
    """Put the backup ``source`` in the place of the store, once it is verified."""
    _demand(Path(source), source)
    url = store_url(store)
    done = run_async(_restored(url, source))
    replaced = None if done.replaced is None else str(done.replaced)
    if form is Format.JSON:
        print_json({"runs": done.runs, "events": done.events, "blobs": done.blobs, "replaced": replaced, "store": url})
    else:
        print(f"restored, sound: {done.runs:,} runs, {done.events:,} events, {done.blobs:,} large values")
        if replaced is not None:
            print(f"the store that was there is now {replaced}")
    return Exit.OK


def compact(policy: RetentionPolicy, *, store: str | None, form: Format) -> int:
    """Have the store compacted: by its owner, or here when there is none."""
    delivered = run_async(_compacted(store, policy))
    done = msgspec.convert(delivered.answer, Compacted)
    if form is Format.JSON:
        print_json({**msgspec.structs.asdict(done), "by_owner": delivered.by_owner})
    else:
        for line in _told(done):
            print(line)
    return Exit.OK


async def _backed_up(url: str, target: str, *, force: bool) -> int:
    console = progress_console()
    if not console.is_terminal:
        return await back_up_store(url, target, force=force)
    with console.status("copying") as status:
        return await back_up_store(url, target, force=force, progress=_shown("copying", status))


async def _restored(url: str, source: str) -> Restored:
    console = progress_console()
    if not console.is_terminal:
        return await restore_store(url, source)
    with console.status("copying") as status:
        return await restore_store(url, source, progress=_shown("copying and verifying", status))


async def _compacted(store: str | None, policy: RetentionPolicy) -> Delivered:
    console = progress_console()
    if not console.is_terminal:
        return await deliver(store, Compact(policy=policy), timeout_seconds=COMPACT_SECONDS)
    with console.status("compacting"):
        return await deliver(store, Compact(policy=policy), timeout_seconds=COMPACT_SECONDS)


def _shown(what: str, status: Status) -> Callable[[int, int], None]:
    return lambda done, total: status.update(f"{what}, {_size(done)} of {_size(total)}")


def _told(done: Compacted) -> list[str]:
    lines = []
    if done.archived_runs or done.archived_events:
        sizes = f"{_size(done.archived_bytes)} as {_size(done.archive_bytes)}"
        lines.append(f"archived {done.archived_runs:,} runs: {done.archived_events:,} events, {sizes}")
    counts = {
        "runs": done.deleted_runs,
        "events of topics": done.deleted_events,
        "snapshots": done.snapshots,
        "large values": done.blobs,
        "expired values": done.values,
    }
    gone = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if gone:
        lines.append(f"deleted {gone}")
    if not lines:
        lines.append("nothing was due")
    lines.append(f"the store is {_size(done.freed_bytes)} smaller, {_size(done.free_bytes)} in its file are free")
    return lines


def _size(count: float) -> str:
    unit = 0
    while count >= 1_024 and unit < len(_UNITS) - 1:
        count /= 1_024
        unit += 1
    return f"{count:,.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:,.1f} {_UNITS[unit]}"


def _demand(file: Path | None, what: str) -> None:
    if file is not None and not file.exists():
        raise NotThere(f"there is nothing at {what!r}", hint="check the path")
