"""Coming back to life: folding from the beginning or a snapshot, in pages, with large values, and after strange ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agenticflow import (
    Agent,
    EffectClass,
    OutcomeUnknown,
    StoreUnavailable,
    TaskDefinition,
    WorkflowDefinition,
)
from agenticflow.errors import CorruptStore
from agenticflow.runtime import actors, loading
from agenticflow.storage.commits import Commit
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import Snapshot
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running
from tests.unit.runtime.tasks import chain, parallel, single


def recording(calls: list[int], *, concurrency: int = 1, seconds: float = 1) -> Agent:
    agent = Agent("agent", concurrency=concurrency)

    @agent.task("do")
    async def do(n: int) -> int:
        await asyncio.sleep(seconds)
        calls.append(n)
        return n

    return agent


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots every twenty events, pages of seven."""
    monkeypatch.setattr(actors, "SNAPSHOT_EVERY", 20)
    monkeypatch.setattr(loading, "PAGE_EVENTS", 7)


@pytest.mark.parametrize("snapshot", ["kept", "lost", "damaged"])
@pytest.mark.usefixtures("small_steps")
@in_virtual_time
async def test_a_long_run_goes_on_from_its_snapshot_or_without_it(snapshot: str) -> None:
    store, calls = FlakyStore(), list[int]()
    async with running(recording(calls), store=store) as orchestrator:
        await orchestrator.start_workflow(chain(40), workflow_id="w")
        await passes(25.5)
        await orchestrator.stop(drain_seconds=0)
    assert calls == list(range(25))
    stream = "workflow-w/1"
    assert stream in store._snapshots
    if snapshot == "lost":
        store._snapshots.clear()
    elif snapshot == "damaged":
        store._snapshots[stream] = Snapshot(stream_id=stream, version=40, data=b"\xc1")
    store.calls.clear()
    async with running(recording(calls), store=store) as orchestrator:
        pages = store.calls["read_page"]
        assert await orchestrator.wait("w") == {"t39": 39}
    assert calls == list(range(40))
    assert pages < 5 if snapshot == "kept" else pages > 6


@pytest.mark.usefixtures("small_steps")
@in_virtual_time
async def test_a_snapshot_written_by_a_commit_of_unknown_outcome_hides_nothing() -> None:
    store, calls = FlakyStore(), list[int]()

    def takes_a_snapshot(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return any(isinstance(row, Snapshot) for row in commit.rows)

    async with running(recording(calls), store=store) as orchestrator:
        store.fail("commit", times=3, is_written=True, only=takes_a_snapshot)
        handle = await orchestrator.start_workflow(chain(40))
        async with asyncio.timeout(1_000):
            await handle.result()
    assert calls == list(range(40))
    assert store.failures == 3


@in_virtual_time
async def test_a_run_that_hangs_on_large_values_is_folded_again() -> None:
    """A definition, an input and a list to map over, all of them too large to lie in an event."""
    store, calls = MemoryStore(), list[int]()
    agent = recording(calls, concurrency=3)

    @agent.task("make")
    async def make() -> list[dict[str, object]]:
        return [{"n": n, "text": "x" * 30_000} for n in range(6)]

    definition = WorkflowDefinition(
        [
            TaskDefinition("rows", "agent", "make"),
            TaskDefinition("each", "agent", "do", {"n": "${item.n}"}, ["rows"], for_each="${rows}", max_parallel=2),
            TaskDefinition.timer("pause", 10, ["each"]),
            TaskDefinition("last", "agent", "do", {"n": 99}, ["pause", "rows"], when="len(${rows}) == 6"),
        ],
        context={"note": "n" * 100_000},
    )
    for _ in range(4):
        async with running(agent, store=store) as orchestrator:
            await orchestrator.start_workflow(definition, {"more": "m" * 100_000}, workflow_id="w")
            await passes(1.2)
            await orchestrator.stop(drain_seconds=0)
    async with running(agent, store=store) as orchestrator:
        async with asyncio.timeout(100):
            assert await orchestrator.wait("w") == {"last": 99}
    assert sorted(calls) == [0, 1, 2, 3, 4, 5, 99]


@in_virtual_time
async def test_a_large_result_that_is_gone_is_an_error_for_who_asks() -> None:
    store, agent = MemoryStore(), Agent("agent")

    @agent.task("do")
    async def do() -> str:
        return "x" * 100_000

    async with running(agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(single(), workflow_id="w")
    store._blobs.clear()
    async with running(agent, store=store) as orchestrator:
        with pytest.raises(CorruptStore, match=r"the value .* of 'workflow-w/1' is gone"):
            await orchestrator.wait("w")


@in_virtual_time
async def test_an_index_that_still_calls_a_finished_run_open_does_no_harm() -> None:
    store, calls = MemoryStore(), list[int]()
    async with running(recording(calls, seconds=0.1), store=store) as orchestrator:
        await orchestrator.execute_workflow(chain(1), workflow_id="w")
    row = store._runs["workflow-w/1"]
    store._runs["workflow-w/1"] = msgspec.structs.replace(row, is_open=True)
    async with running(recording(calls), store=store) as orchestrator:
        await passes(10)
        assert await orchestrator.wait("w") == {"t0": 0}
    assert calls == [0]
    assert len(await kinds(store, "workflow-w/1")) == 4


@in_virtual_time
async def test_a_store_that_hangs_does_not_keep_the_engine_from_stopping() -> None:
    store, calls = FlakyStore(), list[int]()
    async with running(recording(calls, seconds=5), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(chain(2), workflow_id="w")
        await passes(1)
        store.delay_seconds, store.delayed = 10_000, ["commit"]
        pausing = asyncio.ensure_future(handle.pause())
        await passes(1)
        also = asyncio.ensure_future(handle.signal("x"))
        await passes(1)
        await orchestrator.stop(drain_seconds=5)
        assert asyncio.get_running_loop().time() < 200
        for waiting in (pausing, also):
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(waiting, 1)
    store.delay_seconds = None
    async with running(recording(calls), store=store) as orchestrator:
        assert await orchestrator.wait("w") == {"t1": 1}


@in_virtual_time
async def test_reports_that_are_too_much_for_one_commit_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "MAX_BATCH_BYTES", 100_000)
    store, agent = FlakyStore(delay_seconds=0.5), Agent("agent", concurrency=50)
    largest: list[int] = []

    @agent.task("do")
    async def do(n: int) -> str:
        return "x" * 30_000

    def is_small(commit: object) -> bool:
        assert isinstance(commit, Commit)
        largest.append(sum(len(event.data) for event in commit.events))
        return False

    store.fail("commit", only=is_small)
    async with running(agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(parallel(50))
    assert 60_000 < max(largest) < 200_000


@in_virtual_time
async def test_an_abort_of_unknown_outcome_stops_its_handlers_all_the_same() -> None:
    store, stopped = FlakyStore(), asyncio.Event()
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> None:
        try:
            await asyncio.sleep(100_000)
        finally:
            stopped.set()

    def is_abort(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return any(event.event_type == "workflow_cancel_requested" for event in commit.events)

    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(single(timeout_seconds=None))
        await passes(1)
        store.fail("commit", is_written=True, only=is_abort)
        with pytest.raises(OutcomeUnknown):
            await handle.abort("enough")
        async with asyncio.timeout(5):
            await stopped.wait()
        await passes(1)
        assert await handle.status() == "CANCELLED"


def records_a_start(commit: object) -> bool:
    return isinstance(commit, Commit) and "task_started" in [event.event_type for event in commit.events]


@in_virtual_time
async def test_work_that_was_superseded_while_its_start_was_recorded_never_starts() -> None:
    store, calls = FlakyStore(), list[int]()
    async with running(recording(calls), store=store) as orchestrator:
        # Its first try to record the start fails; before the second the run is aborted.
        store.fail("commit", only=records_a_start)
        handle = await orchestrator.start_workflow(single(params={"n": 1}, effect=EffectClass.AT_MOST_ONCE))
        await passes(0.1)
        await handle.abort("no")
        await passes(100)
        assert await handle.status() == "CANCELLED"
    assert calls == []
