"""The memory store keeps the port's promises (tests/conformance); here is what it adds on purpose."""

from __future__ import annotations

import itertools

from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.memory import MemoryStore


async def test_positions_have_gaps_so_that_nobody_learns_to_count_with_them() -> None:
    store = MemoryStore()
    positions = [
        (await store.commit(Commit(stream_id="s", events=[NewEvent("a", b"\x80", 1)]))).position for _ in "abc"
    ]
    assert any(after - before > 1 for before, after in itertools.pairwise(positions))


async def test_nobody_who_holds_a_page_sees_it_change() -> None:
    store = MemoryStore()
    await store.commit(Commit(stream_id="s", events=[NewEvent("a", b"\x80", 1)]))
    page, scan = await store.read_page("s", 0, 9), await store.scan_page(0, 9)
    await store.commit(Commit(stream_id="s", events=[NewEvent("b", b"\x80", 1)]))
    assert (len(page), len(scan)) == (1, 1)
