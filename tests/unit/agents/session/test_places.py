"""Where a conversation is, when others write to it too, when the disk fails, and when nobody knows what came of a commit."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agenticflow.agents.session import AgentSession
from agenticflow.agents.session import places as places_module
from agenticflow.agents.session.facts import AddItems, PopItem
from agenticflow.agents.session.items import encode_items
from agenticflow.agents.session.places import ProcessPlace, StorePlace
from agenticflow.core import codec
from agenticflow.errors import ConcurrencyConflict, CorruptStore, OutcomeUnknown, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import Snapshot
from agenticflow.testing.fakes import FlakyStore


class SharedFile(SQLiteStore):
    """A file that does not say that nobody else writes: as a store of many processes."""

    @property
    def is_exclusive(self) -> bool:
        return False


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SharedFile]:
    opened = await SharedFile.open(tmp_path / "state.db")
    yield opened
    await opened.close()


def add(*texts: object, keep: int = 50) -> AddItems:
    items, blobs = encode_items({"role": "user", "content": str(text)} for text in texts)
    return AddItems(now=1, items=items, keep=keep, blobs=blobs)


async def texts(place: StorePlace | ProcessPlace) -> list[str]:
    window = await place.current()
    found: list[str] = []
    for item in list(window.items):
        value = codec.decode(await place.resolve(item.data))
        assert isinstance(value, dict)
        found.append(value["content"])
    return found


async def test_places_that_do_not_know_each_other_lose_nothing(store: SharedFile) -> None:
    """As in several processes: each has a window of its own, and the store is all they share."""
    places = [StorePlace("a", store) for _ in range(6)]
    taken: list[str] = []

    async def work(number: int) -> None:
        for count in range(12):
            await places[number].add(add(f"{number}:{count}"), None)
            if (number + count) % 3 == 0:
                settled = await places[number].settle(PopItem(now=1))
                assert settled.newest is not None
                value = codec.decode(settled.newest.data)
                assert isinstance(value, dict)
                taken.append(value["content"])

    await asyncio.gather(*(work(number) for number in range(6)))
    seen = [await texts(place) for place in places]
    assert all(one == seen[0] for one in seen)
    assert len(taken) == 24
    assert sorted([*seen[0], *taken]) == sorted(f"{number}:{count}" for number in range(6) for count in range(12))
    for number in range(6):
        own = [int(text.partition(":")[2]) for text in seen[0] if text.startswith(f"{number}:")]
        assert own == sorted(own)


async def test_who_always_loses_is_told(store: SharedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "MAX_CONFLICTS", 3)

    class Unlucky(MemoryStore):
        conflicts = 0

        async def commit(self, commit: Commit) -> Committed:
            if commit.expected >= 0:
                self.conflicts += 1
                raise ConcurrencyConflict(commit.stream_id, commit.expected, commit.expected + 1)
            return await super().commit(commit)

    unlucky = Unlucky()
    place = StorePlace("a", unlucky)
    await place.add(add("one"), None)
    with pytest.raises(ConcurrencyConflict):
        await place.settle(PopItem(now=1))
    assert unlucky.conflicts == 3
    assert await texts(place) == ["one"]


async def test_a_cancelled_addition_that_happens_later_is_seen(tmp_path: Path) -> None:
    """The writer may take a commit after its caller has gone: the place must not believe that it knows."""
    store = await SQLiteStore.open(tmp_path / "state.db")
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    work = asyncio.ensure_future(place.add(add("two"), None))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await store.commit(Commit(stream_id="other", events=[NewEvent("happened", codec.encode({}), 1)]))
    assert await texts(place) in (["one", "two"], ["one"])
    assert await texts(place) == await texts(StorePlace("a", store))
    await store.close()


@pytest.mark.parametrize("happens", [True, False])
async def test_after_an_unknown_outcome_the_store_is_asked(happens: bool) -> None:
    store = FlakyStore()
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    store.fail("commit", error=OutcomeUnknown("the disk is gone"), is_written=happens)
    with pytest.raises(OutcomeUnknown):
        await place.add(add("two"), "id-2")
    assert await texts(place) == (["one", "two"] if happens else ["one"])
    assert await place.add(add("two"), "id-2") is not happens
    assert await texts(place) == ["one", "two"]


async def test_what_was_refused_leaves_the_place_sure() -> None:
    store = MemoryStore()
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    events = [NewEvent("session_item_popped", codec.encode({}), 1)]
    await store.commit(Commit(stream_id="session-a", events=events))
    assert await texts(place) == ["one"], "nobody else writes there, so the store is not asked"
    settled = await place.settle(PopItem(now=1))
    assert not settled.is_changed, "a conflict makes the place look again"
    assert await texts(place) == []


async def test_a_reader_beside_a_commit_under_way_sees_what_is_committed(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "state.db")
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    work = [asyncio.ensure_future(place.add(add(f"more {number}"), None)) for number in range(5)]
    await asyncio.sleep(0)
    during = await texts(place)
    await asyncio.gather(*work)
    after = await texts(place)
    assert after[: len(during)] == during
    assert sorted(after) == ["more 0", "more 1", "more 2", "more 3", "more 4", "one"]
    await store.close()


async def test_two_who_load_at_once_load_the_same(store: SharedFile) -> None:
    writer = StorePlace("a", store)
    for number in range(150):
        await writer.add(add(number, keep=5), None)
    place = StorePlace("a", store)
    first, second = await asyncio.gather(texts(place), texts(place))
    assert first == second == ["145", "146", "147", "148", "149"]


async def test_a_window_of_large_items_is_kept_after_a_thousand_events() -> None:
    """Small events may never pay for a snapshot of a large window; the tail is bounded all the same."""
    store = MemoryStore()
    place = StorePlace("a", store)
    await place.add(add(*("x" * 60_000 for _ in range(40)), keep=10_000), None)
    for _ in range(600):
        await place.add(add("s", keep=10_000), None)
        await place.settle(PopItem(now=1))
    snapshot = await store.get_snapshot("session-a")
    assert snapshot is not None
    assert len(await store.read_page("session-a", snapshot.version, 10_000)) <= 1_000
    assert len(await texts(StorePlace("a", store))) == 40


async def test_damage_is_told() -> None:
    store = MemoryStore()
    data = codec.encode({"items": [], "keep": 1})
    events = [NewEvent("session_items_added", data, 1), NewEvent("something_else", data, 1)]
    await store.commit(Commit(stream_id="session-unknown", events=events))
    with pytest.raises(CorruptStore, match="something_else"):
        await texts(StorePlace("unknown", store))
    row = Snapshot(stream_id="session-snap", version=1, data=b"\xc1")
    await store.commit(Commit(stream_id="session-snap", events=events[:1], rows=[row]))
    with pytest.raises(CorruptStore, match="snapshot"):
        await texts(StorePlace("snap", store))
    place = StorePlace("blob", store)
    await place.add(add("x" * 100_000), None)
    store._blobs.clear()
    with pytest.raises(CorruptStore, match="restore"):
        await texts(place)
    store._trimmed["session-gone"] = 3
    await store.commit(Commit(stream_id="session-gone", events=events[:1]))
    with pytest.raises(CorruptStore, match="event 1 "):
        await texts(StorePlace("gone", store))


async def test_a_snapshot_of_another_release_is_not_used() -> None:
    store = MemoryStore()
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    await store.commit(
        Commit(stream_id="session-a", rows=[Snapshot(stream_id="session-a", version=1, data=b"?", schema_version=99)])
    )
    assert await texts(StorePlace("a", store)) == ["one"]


async def test_places_are_shared_while_they_are_used() -> None:
    store = MemoryStore()
    first, second = AgentSession("a", store=store), AgentSession("a", store=store)
    assert first._place is second._place
    assert AgentSession("a", store=MemoryStore())._place is not first._place
    del first, second
    gc.collect()
    assert not places_module._places[store]


async def test_without_a_store_a_conversation_keeps_its_window_only() -> None:
    place = ProcessPlace("a")
    assert await place.add(add("x" * 100_000, "two", keep=2), "id-1")
    assert not await place.add(add("again"), "id-1")
    assert await texts(place) == ["x" * 100_000, "two"]
    assert place.window.size_bytes > 100_000
    for number in range(1_100):
        await place.add(add(number, keep=2), f"more-{number}")
    assert await texts(place) == ["1098", "1099"]
    assert await place.add(add("forgotten by now"), "id-1")


async def test_a_store_that_is_closed_is_told_at_once() -> None:
    store = MemoryStore()
    place = StorePlace("a", store)
    await place.add(add("one"), None)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await place.current()
