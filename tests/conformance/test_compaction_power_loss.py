"""Power goes in the middle of a compaction: what was to stay is whole, what goes goes whole, and the next call ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import msgspec
import pytest

from agenticflow.errors import AgenticFlowError
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.testing.faulty_disk import faulty_disk
from agenticflow.testing.retention_kit import NOW, large_value, run

RUNS = 8
POLICY = RetentionPolicy(archive_after_days=30, delete_after_days=30, keep_last=RUNS // 2, topic_events=2)


async def whole(store: SQLiteStore, stream_id: str) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    while page := await store.read_page(stream_id, len(found), 1_000):
        found += page
    return found


async def filled(store: SQLiteStore, chance: Random) -> dict[str, list[StoredEvent]]:
    """Fill the store; return what is in each of its runs."""
    for number in range(RUNS):
        reference, blob = large_value(number // 2)
        await run(store, f"w{number}", count=chance.choice((1, 5, 400)), rows=(blob,), payload=msgspec.Raw(reference))
    await run(store, "open", ended_at=None)
    await store.put_value("n", "a", b"1", now=1, expires_at=2)
    rows = await store.list_runs(limit=100)
    return {row.stream_id: await whole(store, row.stream_id) for row in rows}


async def cut_short(seed: int, folder: Path) -> int:
    """Compact until power goes; look at what is left, and finish it. Return how many runs were gone when power went."""
    chance = Random(seed)
    machine = folder / "machine"
    machine.mkdir()
    store = await SQLiteStore.open(machine / "state.db")
    before = await filled(store, chance)
    await store.close()
    with faulty_disk(machine) as (disk, layer):
        store = await SQLiteStore.open(machine / "state.db", vfs=layer)
        disk.cut_at = disk.operations + chance.randint(1, chance.choice((10, 60, 250)))
        try:
            await store.compact(POLICY, now=NOW)
        except AgenticFlowError:
            assert disk.is_off
        disk.is_off = True
        await store.close()
        survivors = disk.survivors(chance)
    copy = folder / "copy"
    copy.mkdir()
    for name, content in survivors.items():
        (copy / name).write_bytes(content)
    store = await SQLiteStore.open(copy / "state.db")
    assert await store.verify() == []
    left = {row.stream_id: await whole(store, row.stream_id) for row in await store.list_runs(limit=100)}
    assert left.items() <= before.items(), "what is there is whole"
    kept = {"workflow-open/1", *(f"workflow-w{number}/1" for number in range(RUNS // 2, RUNS))}
    assert kept <= set(left)
    last = await store.last_position()
    await store.compact(POLICY, now=NOW)
    assert {row.stream_id for row in await store.list_runs(limit=100)} == kept
    assert [await whole(store, name) for name in sorted(kept)] == [before[name] for name in sorted(kept)]
    there = [await store.get_blob(large_value(number)[1].hash) is not None for number in range(RUNS // 2)]
    assert there == [number >= RUNS // 4 for number in range(RUNS // 2)]
    assert await store.last_position() == last
    assert await store.verify() == []
    await store.close()
    return len(before) - len(left)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_no_power_cut_during_a_compaction_loses_what_was_to_stay(first: int, tmp_path: Path) -> None:
    gone = []
    for seed in range(first, first + 10):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        gone.append(asyncio.run(cut_short(seed, folder)))
    assert min(gone) == 0, "some are cut before anything has gone"
