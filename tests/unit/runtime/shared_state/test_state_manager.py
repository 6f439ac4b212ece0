"""Shared state under many hands: no update is lost, whoever modifies, over whatever store, and whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenticflow import AgenticEvent, open_store
from agenticflow.core.clocks import ManualClock
from agenticflow.errors import (
    BoundExceeded,
    CommandRefused,
    ConcurrencyConflict,
    CorruptStore,
    InvalidInput,
    NotSerializable,
    OutcomeUnknown,
    StoreUnavailable,
)
from agenticflow.runtime.shared_state import StateManager
from agenticflow.runtime.shared_state import folds as folds_module
from agenticflow.runtime.shared_state import state_manager as manager_module
from agenticflow.storage import Commit, Snapshot, Store
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.testing.fakes import FlakyStore

MANY = 200


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db")
    yield opened
    await opened.close()


def one_more(count: int | None) -> int:
    return (count or 0) + 1


async def slowly_one_more(count: int | None) -> int:
    await asyncio.sleep(0)
    return one_more(count)


# --- no lost update -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [one_more, slowly_one_more])
async def test_no_update_is_lost(store: Store, function: Any) -> None:
    manager = StateManager(store)
    answers = await asyncio.gather(*(manager.modify_state("analyst", "count", function) for _ in range(MANY)))
    assert sorted(answers) == [(number, number) for number in range(1, MANY + 1)], "each saw its own version"
    assert await manager.get_state("analyst", "count") == (MANY, MANY)


async def test_no_update_is_lost_between_managers_of_one_store(store: Store) -> None:
    managers = [StateManager(store), StateManager(store)]
    await asyncio.gather(
        *(managers[number % 2].modify_state("analyst", "count", slowly_one_more) for number in range(MANY))
    )
    for manager in (*managers, StateManager(store)):
        assert await manager.get_state("analyst", "count") == (MANY, MANY)


async def test_keys_and_agents_do_not_disturb_each_other(store: Store) -> None:
    managers = [StateManager(store), StateManager(store)]
    places = [(agent, key) for agent in ("ada", "bob") for key in ("x", "y", "z")]
    await asyncio.gather(
        *(
            managers[number % 2].modify_state(agent, key, slowly_one_more)
            for agent, key in places
            for number in range(20)
        )
    )
    assert [await managers[0].get_state(agent, key) for agent, key in places] == [(20, 20)] * len(places)
    assert await managers[1].list_keys("bob") == ["x", "y", "z"]
    assert await managers[1].list_keys("eve") == []


async def test_a_function_runs_again_only_when_its_own_key_moved() -> None:
    store = FlakyStore(delay_seconds=0)
    mine, other = StateManager(store), StateManager(store)
    await mine.modify_state("analyst", "count", one_more)
    calls: list[int | None] = []

    async def disturbed(count: int | None) -> int:
        calls.append(count)
        if len(calls) == 1:
            await other.modify_state("analyst", "something else", one_more)
        if len(calls) == 2:
            await other.modify_state("analyst", "count", one_more)
        return one_more(count)

    assert await mine.modify_state("analyst", "count", disturbed) == (2, 2)
    assert calls == [1], "another key moved: the commit was tried again, the function was not"
    assert await mine.modify_state("analyst", "count", disturbed) == (4, 4)
    assert calls == [1, 2, 3]


async def test_who_loses_too_often_is_told() -> None:
    store = MemoryStore()
    mine, other = StateManager(store, max_conflicts=3), StateManager(store)
    calls: list[int | None] = []

    async def overtaken(count: int | None) -> int:
        calls.append(count)
        await other.modify_state("analyst", "count", one_more)
        return 1_000

    with pytest.raises(ConcurrencyConflict, match="is at version 3, not at the expected version 2"):
        await mine.modify_state("analyst", "count", overtaken)
    assert calls == [None, 1, 2]
    assert await mine.get_state("analyst", "count") == (3, 3)


async def test_other_keys_may_not_hold_it_up_for_ever() -> None:
    class Overtaking(MemoryStore):
        """Somebody else always appends first."""

        async def commit(self, commit: Commit) -> Any:
            raise ConcurrencyConflict(commit.stream_id, commit.expected, commit.expected + 1)

    calls: list[int | None] = []

    def counted(count: int | None) -> int:
        calls.append(count)
        return 1

    with pytest.raises(ConcurrencyConflict):
        await StateManager(Overtaking(), max_conflicts=5).modify_state("analyst", "count", counted)
    assert calls == [None]


# --- what is kept -------------------------------------------------------------------------------------------------------


async def test_state_is_plain_data_and_comes_back_as_a_copy(store: Store) -> None:
    manager = StateManager(store)
    kept = await manager.modify_state("analyst", "plan", lambda _: {"steps": ("load", "draw"), "done": 0})
    kept.state["steps"].append("print")
    assert kept.state == {"steps": ["load", "draw", "print"], "done": 0}
    again = await manager.get_state("analyst", "plan")
    assert again.state["steps"] == ["load", "draw"]


async def test_a_state_that_never_was_is_none_at_version_0(store: Store) -> None:
    assert await StateManager(store).get_state("analyst", "plan") == (None, 0)


async def test_history_tells_every_modification(store: Store) -> None:
    clock = ManualClock(1_000)
    manager = StateManager(store, clock=clock)
    for value in ("a", "b", "c"):

        def to_value(_: object, value: str = value) -> str:
            return value

        await manager.modify_state("analyst", "plan", to_value)
        await manager.modify_state("analyst", "count", one_more)
        clock.advance(1)
    told = [(change.version, change.state, change.at) async for change in manager.history("analyst", "plan")]
    assert told == [(1, "a", 1_000), (2, "b", 1_000_001_000), (3, "c", 2_000_001_000)]
    late = [change async for change in manager.history("analyst", "plan", from_version=3)]
    assert [(change.state, change.event_id) for change in late] == [("c", "state-analyst@5")]
    assert [change async for change in manager.history("nobody", "plan")] == []


async def test_modifications_are_events_that_anybody_can_read(store: Store) -> None:
    await StateManager(store).modify_state("analyst", "plan", lambda _: ["load"])
    [event] = [event async for event in store.read_stream("state-analyst")]
    assert (event.event_type, dict(event.payload)) == (
        "state_modified",
        {"key": "plan", "version": 1, "value": ("load",)},
    )
    with pytest.raises(InvalidInput, match="belongs to the engine"):
        await store.append("state-analyst", [AgenticEvent("noise")])


async def test_a_large_state_lies_apart_and_comes_back_whole(store: Store) -> None:
    manager = StateManager(store)
    await manager.modify_state("analyst", "report", lambda _: "x" * 100_000)
    await manager.modify_state("analyst", "report", lambda report: report + "y")
    fresh = StateManager(store)
    assert await fresh.get_state("analyst", "report") == ("x" * 100_000 + "y", 2)
    assert [len(change.state) async for change in fresh.history("analyst", "report")] == [100_000, 100_001]
    page = await store.read_page("state-analyst", 0, 10)
    assert all(len(stored.data) < 200 for stored in page)


async def test_compacting_the_store_keeps_every_state_and_its_history(store: Store) -> None:
    manager = StateManager(store)
    await manager.modify_state("analyst", "report", lambda _: "a" * 100_000)
    await manager.modify_state("analyst", "report", lambda _: "b" * 100_000)
    everything = RetentionPolicy(archive_after_days=0, delete_after_days=0, topic_events=0)
    await store.compact(everything, now=2**62)
    assert [change.state[0] async for change in StateManager(store).history("analyst", "report")] == ["a", "b"]
    assert (await manager.get_state("analyst", "report")).state == "b" * 100_000


async def test_a_large_state_that_is_gone_is_a_corrupt_store() -> None:
    class Forgetful(MemoryStore):
        async def get_blob(self, name: str) -> bytes | None:
            return None

    manager = StateManager(Forgetful())
    await manager.modify_state("analyst", "report", lambda _: "x" * 100_000)
    with pytest.raises(CorruptStore, match="of shared state is gone"):
        await manager.get_state("analyst", "report")


# --- long streams -------------------------------------------------------------------------------------------------------


async def test_a_long_stream_is_folded_from_its_snapshot() -> None:
    store = FlakyStore()
    manager = StateManager(store)
    for _ in range(2_600):
        await manager.modify_state("analyst", "count", one_more)
    snapshot = await store.get_snapshot("state-analyst")
    assert snapshot is not None
    assert snapshot.version == 2_500
    read_before = store.calls["read_page"]
    assert await StateManager(store).get_state("analyst", "count") == (2_600, 2_600)
    assert store.calls["read_page"] - read_before == 1, "the tail fits on a page"


async def test_a_large_state_is_not_copied_into_snapshots_all_the_time() -> None:
    store = MemoryStore()
    manager = StateManager(store)
    await manager.modify_state("analyst", "table", lambda _: "x" * 60_000)
    for _ in range(600):
        await manager.modify_state("analyst", "count", one_more)
    assert await store.get_snapshot("state-analyst") is not None, "the first 60,000 bytes of events paid for it"
    first = await store.get_snapshot("state-analyst")
    for _ in range(600):
        await manager.modify_state("analyst", "count", one_more)
    assert await store.get_snapshot("state-analyst") == first, "600 small events did not"


@pytest.mark.parametrize("is_readable", [True, False])
async def test_a_snapshot_of_another_release_is_passed_over(is_readable: bool) -> None:
    store = MemoryStore()
    await StateManager(store).modify_state("analyst", "count", one_more)
    data = b"\x80" if is_readable else b"\xc1"
    await store.commit(
        Commit(
            stream_id="state-analyst",
            rows=[Snapshot(stream_id="state-analyst", version=1, data=data, schema_version=99)],
        )
    )
    assert await StateManager(store).get_state("analyst", "count") == (1, 1)


async def test_a_damaged_snapshot_is_said_to_be_damaged() -> None:
    store = MemoryStore()
    row = Snapshot(stream_id="state-analyst", version=1, data=b"\xc1")
    await store.commit(Commit(stream_id="state-analyst", rows=[row]))
    with pytest.raises(CorruptStore, match="the snapshot of 'state-analyst' cannot be read"):
        await StateManager(store).get_state("analyst", "count")


async def test_folds_and_turns_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds_module, "MAX_FOLDS", 3)
    manager = StateManager(MemoryStore())
    for number in range(10):
        await manager.modify_state(f"agent-{number}", "count", one_more)
    assert len(manager._folds) == 3
    assert manager._turns == {}
    assert [(await manager.get_state(f"agent-{number}", "count")).version for number in range(10)] == [1] * 10
    monkeypatch.setattr(folds_module, "MAX_FOLDED_BYTES", 50_000)
    for number in range(10):
        await manager.modify_state(f"agent-{number}", "table", lambda _: "x" * 40_000)
    await manager.get_state("agent-0", "table")
    assert len(manager._folds) <= 2


async def test_too_many_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "MAX_WAITING", 3)
    manager = StateManager(MemoryStore())
    answers = await asyncio.gather(
        *(manager.modify_state("analyst", "count", slowly_one_more) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [BoundExceeded, BoundExceeded]
    assert await manager.get_state("analyst", "count") == (3, 3)


# --- what goes wrong ----------------------------------------------------------------------------------------------------


async def test_what_the_function_raises_comes_out_and_changes_nothing(store: Store) -> None:
    manager = StateManager(store)

    def fails(count: int | None) -> int:
        raise ZeroDivisionError("not today")

    with pytest.raises(ZeroDivisionError, match="not today"):
        await manager.modify_state("analyst", "count", fails)
    with pytest.raises(NotSerializable):
        await manager.modify_state("analyst", "count", lambda _: object())
    with pytest.raises(BoundExceeded):
        await manager.modify_state("analyst", "count", lambda _: b"x" * (64 * 1024 * 1024 + 1))
    assert await manager.modify_state("analyst", "count", one_more) == (1, 1)


@pytest.mark.parametrize("start", [{"a": 1}, ["a"]])
async def test_changing_in_place_and_returning_nothing_is_a_mistake(start: Any) -> None:
    manager = StateManager(MemoryStore())
    await manager.modify_state("analyst", "plan", lambda _: start)
    with pytest.raises(InvalidInput, match="changed the state in place and returned None"):
        await manager.modify_state("analyst", "plan", lambda plan: plan.clear())
    assert await manager.modify_state("analyst", "plan", lambda plan: None) == (None, 2), "None itself is a state"


async def test_a_modification_does_not_wait_for_itself() -> None:
    manager = StateManager(MemoryStore())

    async def nested(count: int | None) -> int:
        return (await manager.modify_state("analyst", "other", one_more)).version

    with pytest.raises(CommandRefused, match="a modification only computes"):
        await manager.modify_state("analyst", "count", nested)
    assert await manager.modify_state("analyst", "count", one_more) == (1, 1)


async def test_a_modification_may_look() -> None:
    manager = StateManager(MemoryStore())
    await manager.modify_state("analyst", "limit", lambda _: 7)

    async def up_to_limit(count: int | None) -> int:
        limit: int = (await manager.get_state("analyst", "limit")).state
        return limit

    assert await manager.modify_state("analyst", "count", up_to_limit) == (7, 1)


async def test_who_gives_up_waiting_leaves_no_trace(store: Store) -> None:
    manager = StateManager(store)
    begun, go = asyncio.Event(), asyncio.Event()

    async def held(count: int | None) -> int:
        begun.set()
        await go.wait()
        return one_more(count)

    first = asyncio.create_task(manager.modify_state("analyst", "count", held))
    await begun.wait()
    second = asyncio.create_task(manager.modify_state("analyst", "count", one_more))
    await asyncio.sleep(0)
    second.cancel()
    go.set()
    assert await first == (1, 1)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await manager.modify_state("analyst", "count", one_more) == (2, 2)
    assert manager._turns == {}


async def test_a_refused_commit_changes_nothing() -> None:
    store = FlakyStore()
    manager = StateManager(store)
    store.fail("commit")
    with pytest.raises(StoreUnavailable):
        await manager.modify_state("analyst", "count", one_more)
    assert await manager.modify_state("analyst", "count", one_more) == (1, 1)


async def test_after_an_unknown_outcome_the_truth_is_read_again() -> None:
    store = FlakyStore()
    manager = StateManager(store)
    store.fail("commit", is_written=True)
    with pytest.raises(OutcomeUnknown):
        await manager.modify_state("analyst", "count", one_more)
    assert await manager.modify_state("analyst", "count", one_more) == (2, 2)


async def test_with_a_command_id_it_happens_once_whatever_happens_between() -> None:
    store = FlakyStore()
    store.fail("commit", is_written=True)
    with pytest.raises(OutcomeUnknown):
        await StateManager(store).modify_state("analyst", "count", one_more, command_id="effect-1")
    manager = StateManager(store)  # the process died and another took over
    await manager.modify_state("analyst", "count", one_more, command_id="effect-2")
    assert await manager.modify_state("analyst", "count", one_more, command_id="effect-1") == (1, 1)
    assert await manager.modify_state("analyst", "other", one_more, command_id="effect-1") == (1, 1), "per key"
    assert await manager.get_state("analyst", "count") == (2, 2)


async def test_a_repeated_answer_whose_event_is_gone_is_a_corrupt_store() -> None:
    class Shortened(MemoryStore):
        is_short = False

        async def read_page(self, stream_id: str, after_version: int, limit: int) -> Any:
            return [] if self.is_short else await super().read_page(stream_id, after_version, limit)

    store = Shortened()
    manager = StateManager(store)
    await manager.modify_state("analyst", "count", one_more, command_id="once")
    store.is_short = True
    with pytest.raises(CorruptStore, match="event 1 of 'state-analyst' is gone"):
        await manager.modify_state("analyst", "count", one_more, command_id="once")


async def test_nothing_that_was_answered_is_lost_when_the_process_dies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    answered = 0
    for life in range(3):
        store = await open_store(url)
        manager = StateManager(store)
        assert await manager.get_state("analyst", "count") == (answered or None, answered)
        tasks = [asyncio.create_task(manager.modify_state("analyst", "count", one_more)) for _ in range(20)]
        await tasks[5 * life]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        done = [task.result().version for task in tasks if not task.cancelled() and task.exception() is None]
        await store.close()
        store = await open_store(url)
        found = await StateManager(store).get_state("analyst", "count")
        assert found.state == found.version >= max(done)
        answered = found.version
        await store.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "key", one_more), "is no id of an agent"),
        (("a/b", "key", one_more), "is no id of an agent"),
        (("analyst", "", one_more), "is no key"),
        (("analyst", ["key"], one_more), "is no key"),
        (("analyst", "key", 7), "is a int, not a function"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await StateManager(MemoryStore()).modify_state(*arguments)


def test_it_works_on_an_open_store() -> None:
    url: Any = "sqlite:///state.db"
    with pytest.raises(InvalidInput, match="works on an open store, not on a str"):
        StateManager(url)
    with pytest.raises(InvalidInput, match="max_conflicts is 0"):
        StateManager(MemoryStore(), max_conflicts=0)
