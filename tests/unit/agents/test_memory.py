"""What agents remember: in mind and for long, each its own, for as long as was said, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow import Agent, MemoryStore, open_store
from agenticflow.agents.memory import MemoryBounds, WorkingMemory
from agenticflow.agents.memory import store as memory_module
from agenticflow.core.clocks import ManualClock
from agenticflow.errors import (
    BoundExceeded,
    ConcurrencyConflict,
    DefinitionError,
    InvalidInput,
    NotSerializable,
    StoreUnavailable,
)
from agenticflow.storage import Store
from agenticflow.testing.fakes import FlakyStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


URL: Any = "sqlite:///state.db"


# --- long-term ----------------------------------------------------------------------------------------------------------


async def test_what_is_stored_is_retrieved_as_a_copy(store: Store) -> None:
    memory = MemoryStore(store, agent_id="analyst")
    facts = {"city": "Vienna", "visits": [1, 2]}
    assert await memory.store("customer", facts) == 1
    facts["city"] = "Graz"
    found = await memory.retrieve("customer")
    found["visits"].clear()
    assert await memory.retrieve("customer") == {"city": "Vienna", "visits": [1, 2]}
    assert await memory.store("customer", None) == 2
    assert await memory.retrieve("customer") is None


async def test_what_is_not_there_is_a_key_error_that_helps(store: Store) -> None:
    memory = MemoryStore(store, agent_id="analyst")
    await memory.store("customer", 1)
    with pytest.raises(KeyError, match="'analyst' has no 'custmer' in namespace 'default': did you mean 'customer'"):
        await memory.retrieve("custmer")
    with pytest.raises(KeyError, match="it was never stored, was deleted, or its time is over"):
        await MemoryStore(store).retrieve("customer")
    with pytest.raises(KeyError, match="in namespace 'people'"):
        await memory.retrieve("customer", namespace="people")


async def test_what_is_deleted_is_gone(store: Store) -> None:
    memory = MemoryStore(store)
    await memory.store("customer", 1)
    assert await memory.delete("customer") is True
    assert await memory.delete("customer") is False
    with pytest.raises(KeyError):
        await memory.retrieve("customer")
    assert await memory.store("customer", 1) == 1, "it begins again"


async def test_a_value_is_forgotten_when_its_time_is_over(store: Store, clock: ManualClock) -> None:
    memory = MemoryStore(store, clock=clock)
    await memory.store("token", "abc", ttl_seconds=10)
    await memory.store("name", "Ada", ttl_seconds=10)
    await memory.store("name", "Ada")
    clock.advance(9.999)
    assert await memory.retrieve("token") == "abc"
    clock.advance(0.001)
    with pytest.raises(KeyError, match="its time is over"):
        await memory.retrieve("token")
    assert [entry.key for entry in await memory.list()] == ["name"], "storing it without a time made it last"


async def test_agents_do_not_see_what_others_remember(store: Store) -> None:
    shared = MemoryStore(store)
    everybody = [shared, shared.for_agent("a"), shared.for_agent("b"), MemoryStore(store, agent_id="aa")]
    for number, memory in enumerate(everybody):
        await memory.store("key", number)
        await memory.store("key", -number, namespace="other")
    assert [await memory.retrieve("key") for memory in everybody] == [0, 1, 2, 3]
    assert [await memory.retrieve("key", namespace="other") for memory in everybody] == [0, -1, -2, -3]
    assert await MemoryStore(store, agent_id="a").retrieve("key") == 1, "it is the agent's, not the object's"
    await everybody[1].delete("key")
    assert await everybody[2].retrieve("key") == 2


async def test_entries_are_listed_page_by_page_and_by_the_beginning_of_keys(store: Store, clock: ManualClock) -> None:
    memory = MemoryStore(store, clock=clock)
    for key in ("order-2", "customer", "order-1", "order-10"):
        await memory.store(key, key.upper())
    await memory.store("order-1", "again", ttl_seconds=60)
    assert [entry.key for entry in await memory.list()] == ["customer", "order-1", "order-10", "order-2"]
    assert [entry.key for entry in await memory.list(after="order-1", limit=1)] == ["order-10"]
    assert [entry.key for entry in await memory.list(prefix="order-1")] == ["order-1", "order-10"]
    assert [entry.key for entry in await memory.list(prefix="order-1", after="order-1")] == ["order-10"]
    assert await memory.list(prefix="nothing") == []
    [entry] = await memory.list(prefix="order-1", limit=1)
    now = clock.now_ns()
    assert (entry.value, entry.version, entry.updated_at, entry.expires_at) == ("again", 2, now, now + 60_000_000_000)


async def test_a_version_fences_two_who_change_one_value(store: Store) -> None:
    memory = MemoryStore(store)
    assert await memory.store("plan", "mine", expected_version=0) == 1
    with pytest.raises(ConcurrencyConflict):
        await memory.store("plan", "theirs", expected_version=0)
    assert await memory.store("plan", "mine again", expected_version=1) == 2


async def test_what_was_stored_outlives_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    store = await open_store(url)
    await MemoryStore(store, agent_id="analyst").store("customer", "Ada")
    await store.close()
    store = await open_store(url)
    assert await MemoryStore(store, agent_id="analyst").retrieve("customer") == "Ada"
    await store.close()


# --- bounds -------------------------------------------------------------------------------------------------------------


async def test_a_value_that_is_too_large_is_refused(store: Store) -> None:
    memory = MemoryStore(store, bounds=MemoryBounds(max_value_bytes=100))
    with pytest.raises(BoundExceeded, match="has 102 bytes, the limit of this memory is 100"):
        await memory.store("text", "x" * 100)
    await memory.store("text", "x" * 98)
    with pytest.raises(NotSerializable):
        await memory.store("text", object())


async def test_a_full_namespace_takes_what_it_has_and_nothing_new(store: Store, clock: ManualClock) -> None:
    memory = MemoryStore(store, agent_id="analyst", clock=clock, bounds=MemoryBounds(max_entries=3))
    for key in ("a", "b"):
        await memory.store(key, 1)
    await memory.store("c", 1, ttl_seconds=60)
    with pytest.raises(BoundExceeded, match="namespace 'default' of the memory of 'analyst' has 3 entries"):
        await memory.store("d", 1)
    assert await memory.store("a", 2) == 2
    await memory.store("d", 1, namespace="another")
    await memory.delete("a")
    await memory.delete("a")
    await memory.store("d", 1)
    with pytest.raises(BoundExceeded):
        await memory.store("e", 1)
    clock.advance(60)
    assert await memory.store("e", 1) == 1, "time made room"


async def test_a_full_namespace_is_full_for_everybody_who_looks() -> None:
    store = FlakyStore()
    bounds = MemoryBounds(max_entries=3)
    mine, theirs = (MemoryStore(store, agent_id="a", bounds=bounds) for _ in range(2))
    await mine.store("a", 1)
    for key in ("b", "c"):
        await theirs.store(key, 1)
    for key in ("d", "e"):  # as far as this process knows there is room
        await mine.store(key, 1)
    for memory in (mine, theirs):
        with pytest.raises(BoundExceeded):
            await memory.store("f", 1)
    for key in ("a", "b", "c"):
        await theirs.delete(key)
    await mine.store("f", 1)


async def test_entries_are_counted_once_not_with_every_store() -> None:
    store = FlakyStore()
    memory = MemoryStore(store)
    await asyncio.gather(*(memory.store(f"key-{number}", number) for number in range(50)))
    for number in range(50):
        await memory.store(f"other-{number}", number)
    assert store.calls["list_values"] == 1


async def test_a_count_that_failed_is_made_again() -> None:
    store = FlakyStore()
    memory = MemoryStore(store, bounds=MemoryBounds(max_entries=2))
    for key in ("a", "b"):
        await MemoryStore(store).store(key, 1)
    store.fail("list_values")
    with pytest.raises(StoreUnavailable):
        await memory.store("c", 1)
    with pytest.raises(BoundExceeded):
        await memory.store("c", 1)


async def test_counts_are_bounded_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_COUNTED_NAMESPACES", 4)
    memory = MemoryStore(FlakyStore(), bounds=MemoryBounds(max_entries=2))
    for number in range(20):
        await memory.store("a", 1, namespace=f"n{number}")
    assert len(memory._place.counts) == 4
    await memory.store("b", 1, namespace="n0")
    with pytest.raises(BoundExceeded):
        await memory.store("c", 1, namespace="n0")


@pytest.mark.parametrize("name", ["", "x" * 201, None, 7])
async def test_keys_and_namespaces_are_short_texts(name: Any) -> None:
    memory = MemoryStore(FlakyStore())
    for call in (memory.store(name, 1), memory.retrieve(name), memory.delete(name), memory.list(namespace=name)):
        with pytest.raises(InvalidInput, match="use a text of 1 to 200 characters"):
            await call


@pytest.mark.parametrize("ttl_seconds", [0, -1, float("nan"), float("inf"), True, "10", 1e9])
async def test_a_time_to_live_is_a_positive_number(ttl_seconds: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl_seconds is"):
        await MemoryStore(FlakyStore()).store("key", 1, ttl_seconds=ttl_seconds)


async def test_the_shortest_time_is_over_at_once(clock: ManualClock) -> None:
    memory = MemoryStore(FlakyStore(), clock=clock)
    await memory.store("key", 1, ttl_seconds=1e-12)
    assert await memory.retrieve("key") == 1
    clock.advance(1e-9)
    with pytest.raises(KeyError):
        await memory.retrieve("key")


@pytest.mark.parametrize("wrong", [{"max_entries": 0}, {"max_value_bytes": -1}, {"max_working_items": 0}])
def test_bounds_are_at_least_one(wrong: dict[str, int]) -> None:
    with pytest.raises(DefinitionError, match="at least 1"):
        MemoryBounds(**wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MemoryStore(URL),
        lambda: MemoryStore(agent_id="a/b"),
        lambda: MemoryStore().for_agent(""),
        lambda: MemoryStore().for_agent("x" * 201),
    ],
)
def test_a_memory_that_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput):
        make()


# --- of an agent --------------------------------------------------------------------------------------------------------


async def test_a_memory_that_is_nobodys_is_shared_out() -> None:
    shared = MemoryStore(FlakyStore())
    ada, bob = Agent("ada", memory=shared), Agent("bob", memory=shared)
    await ada.memory.store("key", 1)
    ada.memory.working.remember("key", 1)
    assert "key" not in bob.memory.working
    with pytest.raises(KeyError):
        await bob.memory.retrieve("key")
    assert repr(ada.memory) == "MemoryStore(agent_id='ada')"


async def test_a_memory_that_is_somebodys_is_shared_by_whom_it_is_given_to() -> None:
    team = MemoryStore(FlakyStore(), agent_id="team")
    ada, bob = Agent("ada", memory=team), Agent("bob", memory=team)
    await ada.memory.store("key", 1)
    assert await bob.memory.retrieve("key") == 1
    ada.memory.working.remember("key", 1)
    assert bob.memory.working.recall("key") == 1


def test_an_agent_without_memory_says_how_to_get_one() -> None:
    with pytest.raises(DefinitionError) as refusal:
        _ = Agent("ada").memory
    assert refusal.value.hint == "make it with Agent('ada', memory=MemoryStore())"
    anything: Any = {}
    with pytest.raises(DefinitionError, match="the memory of agent 'ada' is a dict"):
        Agent("ada", memory=anything)


async def test_a_place_is_lent_and_taken_back(clock: ManualClock) -> None:
    ada, store = Agent("ada", memory=MemoryStore()), FlakyStore()
    with pytest.raises(StoreUnavailable, match="the memory of 'ada' has no store now"):
        await ada.memory.store("key", 1)
    ada.remember_in(store, clock)
    await ada.memory.store("key", 1, ttl_seconds=5)
    assert [entry.updated_at for entry in await ada.memory.list()] == [clock.now_ns()]
    ada.remember_in(None)
    with pytest.raises(StoreUnavailable):
        await ada.memory.retrieve("key")
    Agent("bob").remember_in(store)


async def test_a_place_of_ones_own_is_kept() -> None:
    own, lent = FlakyStore(), FlakyStore()
    ada = Agent("ada", memory=MemoryStore(own))
    ada.remember_in(lent)
    await ada.memory.store("key", 1)
    assert (own.calls["put_value"], "put_value" in lent.calls) == (1, False)


# --- working memory -----------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    mind = MemoryStore(bounds=MemoryBounds(max_working_items=2)).working
    mind.remember("a", 1)
    mind.remember("b", 2)
    assert mind.recall("a") == 1
    mind.remember("c", 3)
    assert (list(mind), len(mind), "b" in mind, mind.recall("b", "gone")) == (["a", "c"], 2, False, "gone")
    assert mind.recall("b") is None
    assert mind.forget("a") is True
    assert mind.forget("a") is False
    mind.remember("d", None)
    assert mind.forget("d") is True, "None is a value"
    mind.clear()
    assert list(mind) == []


@given(
    steps=st.lists(st.tuples(st.sampled_from(["remember", "recall", "forget"]), st.sampled_from("abcdefgh"))),
    max_items=st.integers(1, 5),
)
def test_working_memory_holds_the_most_recently_used(steps: list[tuple[str, str]], max_items: int) -> None:
    mind = WorkingMemory(max_items)
    expected: list[str] = []
    for number, (what, key) in enumerate(steps):
        was_there = key in expected
        if was_there:
            expected.remove(key)
        if what == "remember":
            mind.remember(key, number)
            expected.append(key)
        elif what == "recall":
            mind.recall(key)
            expected += [key] * was_there
        else:
            assert mind.forget(key) is was_there
        expected = expected[-max_items:]
        assert list(mind) == expected
