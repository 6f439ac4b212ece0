"""The proof that power may go at any moment: a store lives on a faulty disk, dies, and is compared with what it had promised.

One seed is a few lives of one store. In each, commits run side by side, single operations of the disk may fail, and at some operation power
goes. What the disk kept is opened again, and the ledger says what must be there: everything acknowledged, nothing refused, of the rest
all or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251 - everything follows from the caller's seed
from typing import Final

import apsw

from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, OutcomeUnknown, StoreUnavailable
from agenticflow.storage.commits import Committed
from agenticflow.storage.store import Store
from agenticflow.testing.faulty_disk.disk import Disk
from agenticflow.testing.faulty_disk.layer import faulty_disk
from agenticflow.testing.faulty_disk.ledger import Entry, Ledger

__all__ = ["Opener", "Played", "play"]

LIMIT_SECONDS: Final = 120.0
NAME: Final = "state.db"

Opener = Callable[[Path, str], Awaitable[Store]]
"""Opens the store at a path through the file system layer of that name."""


@dataclass
class Played:
    """What became of one seed."""

    seed: int
    lives: int = 0
    acknowledged: int = 0
    unknown: int = 0
    lost: int = 0
    """Acknowledged and gone: a violation, unless the store promises to keep up to a tail only."""
    problems: list[str] = field(default_factory=list)


async def play(
    seed: int, folder: Path, open_store: Opener, *, may_lose_tail: bool = False, obeys_sync: bool = True
) -> Played:
    """Play one seed in the empty ``folder``; return what was found.

    ``may_lose_tail`` is for stores that promise no more than that; ``obeys_sync=False`` is a disk that lies, which must be noticed.
    """
    chance = Random(seed)  # noqa: S311 - repeatable by its seed
    played = Played(seed)
    ledger = Ledger(may_lose_tail=may_lose_tail)
    image: dict[str, bytes] = {}
    async with asyncio.timeout(LIMIT_SECONDS):
        for life in range(chance.randint(1, 3)):
            machine = _machine(folder / f"{life}", image)
            _reserve_log(machine, chance)
            image = await _live(machine, chance, open_store, ledger, obeys_sync)
            played.lives += 1
            copy = _machine(folder / f"{life}-after", image)
            played.problems += [f"life {life}: {problem}" for problem in await _examine(copy, open_store, ledger)]
            if played.problems:
                break
    played.acknowledged, played.unknown, played.lost = ledger.acknowledged, ledger.unknown, ledger.lost
    return played


def _machine(folder: Path, image: dict[str, bytes]) -> Path:
    """Set up a machine with what the last one's disk had kept."""
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return folder


def _reserve_log(folder: Path, chance: Random) -> None:
    """Write room for a log ahead, as an owner may do before it opens the store."""
    log = folder / f"{NAME}-wal"
    if (folder / NAME).exists() and not log.exists() and chance.random() < 0.3:
        log.write_bytes(bytes(chance.choice((4_120 * 20, 100_000))))


async def _live(folder: Path, chance: Random, open_store: Opener, ledger: Ledger, obeys_sync: bool) -> dict[str, bytes]:
    """Live until power goes; return what the disk kept."""
    with faulty_disk(folder) as (disk, layer):
        disk.obeys_sync = obeys_sync
        disk.cut_at = chance.randint(1, chance.choice((30, 120, 500, 1_500)))
        if chance.random() < 0.35:
            disk.trouble = _passing_trouble(chance)
        for _ in range(chance.choice((1, 1, 2, 3))):
            try:
                store = await open_store(folder / NAME, layer)
            except AgenticFlowError:
                if disk.is_off:
                    break
                continue
            try:
                await _work(store, disk, chance, ledger)
            finally:
                await store.close()
        disk.is_off = True
        return disk.survivors(chance)


def _passing_trouble(chance: Random) -> Callable[[str, str], None]:
    """Return a trouble that begins some time, fails a few operations, and passes."""
    operation = chance.choice(("write", "sync", "committed", "truncate"))
    suffix = chance.choice(("-wal", "-wal", ".db"))
    kind = chance.choice((apsw.IOError, apsw.IOError, apsw.FullError))
    begins, times = chance.randint(0, 60), chance.choice((1, 1, 2, 5))
    met = 0

    def trouble(met_operation: str, name: str) -> None:
        nonlocal met
        if met_operation == operation and name.endswith(suffix):
            met += 1
            if begins < met <= begins + times:
                raise kind(f"{operation} of {name} fails this time")

    return trouble


async def _work(store: Store, disk: Disk, chance: Random, ledger: Ledger) -> None:
    size = chance.choice((10, 10, 500, 5_000, 100_000))
    for _ in range(chance.randint(1, 30)):
        entries = [ledger.plan(chance, size) for _ in range(chance.choice((1, 1, 2, 5, 12)))]
        await asyncio.gather(*(_commit(store, entry, ledger) for entry in entries))
        if disk.is_off:
            return


async def _commit(store: Store, entry: Entry, ledger: Ledger) -> None:
    try:
        entry.answer = await store.commit(entry.commit)
        entry.state = "acknowledged"
    except OutcomeUnknown:
        entry.state = "unknown"
    except (StoreUnavailable, ConcurrencyConflict):
        entry.state = "refused"
    except AgenticFlowError as error:
        entry.state = "unknown"
        ledger.complaints.append(f"{entry.name} was refused with {error!r}")


async def _examine(folder: Path, open_store: Opener, ledger: Ledger) -> list[str]:
    """Open a copy of what the disk kept, and compare it with the ledger."""
    with faulty_disk(folder) as (_, layer):
        try:
            store = await open_store(folder / NAME, layer)  # a new one, when power went before there was any
        except AgenticFlowError as error:
            return [f"the store cannot be opened: {error!r}"]
        try:
            problems = await ledger.compare(store)
            verify = getattr(store, "verify", None)
            if verify is not None:
                problems += [f"verify: {problem}" for problem in await verify()]
            problems += await _ask_again(store, ledger)
        except AgenticFlowError as error:
            problems = [f"the store cannot be read: {error!r}"]
        finally:
            await store.close()
    return problems


async def _ask_again(store: Store, ledger: Ledger) -> list[str]:
    """Send every recorded command again: it must be answered as it was."""
    problems = []
    for entry in ledger.entries:
        if entry.state != "acknowledged" or entry.commit.command_id is None:
            continue
        answer = await store.commit(entry.commit)
        if not answer.is_repeated:
            problems.append(f"{entry.name} was acknowledged, and its command is not known any more")
        elif entry.answer is not None and answer != Committed(entry.answer.version, entry.answer.position, True):
            problems.append(f"{entry.name} was answered {entry.answer}, and is now answered {answer}")
    return problems
