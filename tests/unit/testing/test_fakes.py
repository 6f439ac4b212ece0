"""A store that fails on request fails exactly as it was told, and is a good store otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from agenticflow import AgenticEvent, OutcomeUnknown, StoreUnavailable
from agenticflow.core.interrupts import Interrupted
from agenticflow.errors import CorruptStore
from agenticflow.storage.commits import Commit
from agenticflow.testing.fakes import FlakyStore, MemoryJournals, StoreMethod
from tests.unit.core.test_context import context
from tests.unit.runtime.engine import in_virtual_time, virtual_clock

EVENT = AgenticEvent("order_placed")


async def test_it_fails_as_often_as_told() -> None:
    store = FlakyStore()
    store.fail("commit", times=2, skip=1)
    await store.append("a", [EVENT])
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="as it was told to"):
            await store.append("a", [EVENT])
    assert await store.append("a", [EVENT]) == 2
    assert (store.calls["commit"], store.failures) == (4, 2)


async def test_it_fails_with_the_error_it_was_given_where_it_was_told() -> None:
    store = FlakyStore()
    store.fail(
        "commit", error=CorruptStore("x"), only=lambda commit: isinstance(commit, Commit) and commit.stream_id == "b"
    )
    await store.append("a", [EVENT])
    with pytest.raises(CorruptStore):
        await store.append("b", [EVENT])


async def test_a_commit_of_unknown_outcome_is_written() -> None:
    store = FlakyStore()
    store.fail("commit", is_written=True)
    with pytest.raises(OutcomeUnknown):
        await store.append("a", [EVENT])
    assert [event async for event in store.read_stream("a")] == [EVENT]


async def test_every_way_of_reading_can_fail_and_be_healed() -> None:
    store = FlakyStore()
    reads: dict[StoreMethod, Callable[[], Awaitable[object]]] = {
        "read_page": partial(store.read_page, "a", 0, 1),
        "scan_page": partial(store.scan_page, 0, 1),
        "get_run": partial(store.get_run, "a"),
        "list_runs": store.list_runs,
        "get_snapshot": partial(store.get_snapshot, "workflow-a/1"),
        "get_blob": partial(store.get_blob, "a"),
    }
    for name, read in reads.items():
        store.fail(name, times=5)
        with pytest.raises(StoreUnavailable, match=f"{name} failed"):
            await read()
    store.heal()
    for read in reads.values():
        assert not await read()


@in_virtual_time
async def test_it_takes_its_time() -> None:
    store, clock = FlakyStore(delay_seconds=2), virtual_clock()
    began = clock.now_ns()
    await store.append("a", [EVENT])
    assert clock.now_ns() - began == 2_000_000_000


async def test_journals_in_memory_serve_handlers_that_are_called_by_hand() -> None:
    journals, done = MemoryJournals(), list[str]()

    async def step(name: str) -> str:
        done.append(name)
        return name

    async def attempt(asked: str = "a") -> object:
        by_hand = context()
        by_hand.journals = journals
        first = await by_hand.journal.call("a", partial(step, "a"), request=asked, on_difference="forget")
        await by_hand.journal.call("b", partial(step, "b"), effect="idempotent")
        return first

    assert await attempt() == await attempt() == "a"
    assert done == ["a", "b"]
    await attempt("another")
    assert done == ["a", "b", "a", "b"]
    by_hand = context(generation=1)
    by_hand.journals = journals
    with pytest.raises(Interrupted):
        await by_hand.journal.call("ask", partial(_raise, Interrupted(())), effect="at_most_once")
    assert by_hand.journal.numbered("x") == "x-1"
    by_hand.close_journal()


def test_journals_in_memory_serve_plain_handlers() -> None:
    by_hand = context()
    by_hand.journals = MemoryJournals()
    assert by_hand.journal.call_from_thread("pay", lambda: 7, effect="at_most_once") == 7


async def _raise(error: BaseException) -> object:
    raise error
