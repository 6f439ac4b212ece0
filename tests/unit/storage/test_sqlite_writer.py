"""The writer's corners: what happens between its steps, when it has too much to do, and when something in a batch is rotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import apsw
import pytest

from agenticflow.core import codec
from agenticflow.errors import (
    AgenticFlowError,
    ConcurrencyConflict,
    InvalidInput,
    OutcomeUnknown,
    StoreOwned,
    StoreUnavailable,
)
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.rows import RunRow

WRITER = "agenticflow.integrations.stores.sqlite.writer"
EVENT = NewEvent("happened", b"\x80", 1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    async with asyncio.timeout(60), opened(tmp_path) as store:
        yield store


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(folder / "state.db")
    try:
        yield store
    finally:
        await store.close()


class Gate:
    """Holds the writer's thread at a failpoint until it is opened."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def hold(self) -> None:
        self.arrived.set()
        assert self._open.wait(30)


@contextmanager
def gate_at(point: str) -> Iterator[Gate]:
    gate = Gate()

    def watch(reached: str) -> None:
        if reached == point:
            gate.hold()

    failpoints.watch(watch)
    try:
        yield gate
    finally:
        gate.open()
        failpoints.watch(None)


async def arrival(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.arrived.wait, 30)


def commit(stream_id: str = "s", count: int = 1, **fields: object) -> Commit:
    return Commit(stream_id=stream_id, events=[EVENT] * count, **fields)  # type: ignore[arg-type]  # fields of Commit


async def versions(store: SQLiteStore, stream_id: str = "s") -> list[int]:
    return [event.version for event in await store.read_page(stream_id, 0, 100_000)]


async def test_who_begins_to_follow_while_a_commit_is_written_does_not_miss_it(store: SQLiteStore) -> None:
    """Nobody followed when it began, so nobody kept its events; the follower looked before it was there. It must look again."""
    with gate_at("store.before_commit") as gate:
        committing = asyncio.create_task(store.commit(commit()))
        await arrival(gate)
        following = asyncio.ensure_future(anext(store.stream_events()))
        while not store.followers:
            await asyncio.sleep(0)
        assert await store.scan_page(0, 10) == []
        gate.open()
        answer = await committing
    assert (await asyncio.wait_for(following, 10)).position == answer.position


async def test_commits_that_queue_during_a_transaction_share_the_next_one(store: SQLiteStore) -> None:
    transactions = 0

    def count(point: str) -> None:
        nonlocal transactions
        transactions += point == "store.after_commit"

    with gate_at("store.before_commit") as gate:
        first = asyncio.create_task(store.commit(commit("first")))
        await arrival(gate)
        rest = [asyncio.create_task(store.commit(commit(f"s{number}"))) for number in range(200)]
        await asyncio.sleep(0)
        failpoints.watch(count)
        gate.open()
        await asyncio.gather(first, *rest)
    assert transactions == 2


async def test_no_more_waits_in_the_queue_than_it_may_hold(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{WRITER}.MAX_QUEUED", 10)
    writer = store._writer
    assert writer is not None
    with gate_at("store.before_commit") as gate:
        asking = [asyncio.create_task(store.commit(commit(f"s{number}"))) for number in range(100)]
        await arrival(gate)
        for _ in range(5):
            await asyncio.sleep(0)
        assert writer._queued == 10
        for task in asking[50:75]:
            task.cancel()
        gate.open()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(outcome, Committed) for outcome in outcomes] == [True] * 50 + [False] * 25 + [True] * 25
    assert writer._queued == writer._queued_bytes == 0
    assert len(await store.scan_page(0, 1_000)) == 75, "what was cancelled before it was accepted was not written"


async def test_large_commits_fill_the_queue_by_their_size(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{WRITER}.MAX_QUEUED_BYTES", 1_000_000)
    writer = store._writer
    assert writer is not None
    large = Commit(stream_id="s", events=[NewEvent("large", bytes(200_000), 1)])
    with gate_at("store.before_commit") as gate:
        asking = [asyncio.create_task(store.commit(large)) for _ in range(20)]
        await arrival(gate)
        for _ in range(5):
            await asyncio.sleep(0)
        assert writer._queued == 5
        gate.open()
        await asyncio.gather(*asking)
    assert await versions(store) == list(range(1, 21))


async def test_a_transaction_holds_no_more_than_it_may(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{WRITER}.MAX_BATCH_EVENTS", 10)
    sizes: list[int] = []

    with gate_at("store.before_commit") as gate:
        first = asyncio.create_task(store.commit(commit("first")))
        await arrival(gate)
        rest = [asyncio.create_task(store.commit(commit(f"s{number}", 4))) for number in range(10)]
        await asyncio.sleep(0)

        def look(point: str) -> None:
            if point == "store.after_commit":
                sizes.append(writer_position())

        def writer_position() -> int:
            assert store._writer is not None
            return store._writer._position

        failpoints.watch(look)
        gate.open()
        await asyncio.gather(first, *rest)
    assert sizes == [1, 13, 25, 37, 41], "ten events are enough, and the commit that passes them is still taken"


async def test_closing_writes_what_is_queued_behind_a_slow_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with gate_at("store.before_commit") as gate:
            asking = [asyncio.create_task(store.commit(commit(f"s{n}", can_wait=n % 2 == 0))) for n in range(1, 21)]
            await arrival(gate)
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):
                await store.commit(commit("late"))
            gate.open()
            await asyncio.gather(*asking)
            await closing
    async with opened(tmp_path) as store:
        assert len(await store.scan_page(0, 100)) == 20


async def test_a_second_close_waits_for_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with gate_at("store.before_commit") as gate:
            asking = asyncio.create_task(store.commit(commit()))
            await arrival(gate)
            impatient = asyncio.create_task(store.close())
            await asyncio.sleep(0)
            impatient.cancel()
            await asyncio.wait([impatient])
            second = asyncio.create_task(store.close())
            await asyncio.sleep(0)
            assert not second.done()
            gate.open()
            await second
            assert (await asking).version == 1
        async with opened(tmp_path) as again:
            assert await versions(again) == [1]


@pytest.mark.parametrize("point", ["store.before_commit", "store.after_commit", "store.before_ack"])
async def test_nobody_waits_for_ever_when_something_breaks_inside_the_writer(store: SQLiteStore, point: str) -> None:
    await store.commit(commit())

    def break_at(reached: str) -> None:
        if reached == point:
            failpoints.watch(None)
            raise RuntimeError("broken on purpose")

    failpoints.watch(break_at)
    try:
        outcome = (await asyncio.gather(store.commit(commit(expected=1, command_id="c")), return_exceptions=True))[0]
    finally:
        failpoints.watch(None)
    assert isinstance(outcome, AgenticFlowError)
    assert "broken on purpose" in str(outcome)
    assert isinstance(outcome, OutcomeUnknown) == (point != "store.before_commit")
    again = await store.commit(commit(expected=1, command_id="c"))
    assert again.version == 2
    assert again.is_repeated == (point != "store.before_commit")
    assert await versions(store) == [1, 2]
    assert await store.verify() == []


async def test_a_rotten_row_among_100_concurrent_commits_fails_alone(store: SQLiteStore) -> None:
    """The checks before the queue do not look into rows: what the file cannot hold is found in the middle of a transaction."""

    def with_row(number: int) -> Commit:
        name = "half \ud800" if number == 42 else "whole"
        row = RunRow(
            stream_id=f"workflow-{number}/1",
            kind="workflow",
            execution_id=f"{number}",
            run_no=1,
            name=name,
            status="RUNNING",
            is_open=True,
        )
        return commit(f"s{number}", expected=0, rows=[row])

    following = asyncio.ensure_future(anext(store.stream_events()))
    outcomes = await asyncio.gather(*(store.commit(with_row(number)) for number in range(100)), return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Committed)] == [42]
    assert isinstance(outcomes[42], InvalidInput)
    assert len(await store.list_runs(limit=200)) == 99
    assert await versions(store, "s42") == []
    assert (await following).stream_id == "s0"
    assert (await store.commit(commit("s42", expected=0))).version == 1
    assert await store.verify() == []


async def test_what_follows_and_cannot_be_written_does_not_fail_what_it_follows_from(store: SQLiteStore) -> None:
    """Only SQLite notices that no integer is so large; then all three are in one transaction."""
    wrong = RunRow(
        stream_id="b", kind="workflow", execution_id="b", run_no=2**70, name="", status="RUNNING", is_open=True
    )
    company = [store.commit(commit(f"s{number}", expected=0)) for number in range(20)]
    chain = [commit("a", expected=0), commit("b", expected=0, rows=[wrong]), commit("c", expected=0)]
    following = asyncio.ensure_future(store.commit_in_order(chain))
    others = await asyncio.gather(*company)
    answers = await following
    assert all(isinstance(answer, Committed) for answer in others)
    assert [type(answer) for answer in answers] == [Committed, InvalidInput]
    assert [await versions(store, name) for name in "abc"] == [[1], [], []]
    assert [type(answer) for answer in await store.commit_in_order(chain[1:])] == [InvalidInput]
    assert await store.verify() == []


async def test_commits_in_order_are_one_transaction(store: SQLiteStore) -> None:
    before = store.transactions
    answers = await store.commit_in_order([commit(name, expected=0) for name in "abc"])
    assert [answer.version for answer in answers if isinstance(answer, Committed)] == [1, 1, 1]
    await store.commit(commit("d", expected=0))  # by its answer the first transaction has been counted
    assert store.transactions - before in (1, 2)


async def test_heads_that_fell_out_of_memory_are_looked_up(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{WRITER}.CACHED_HEADS", 20)
    writer = store._writer
    assert writer is not None
    for round_number in range(4):
        for number in range(60):
            assert (await store.commit(commit(f"s{number}", expected=round_number))).version == round_number + 1
    assert len(writer._heads) <= 21
    with pytest.raises(ConcurrencyConflict):
        await store.commit(commit("s0", expected=0))


async def test_the_heads_of_a_busy_stream_stay(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head written in this transaction must not fall out for another one: it is not in the file yet."""
    monkeypatch.setattr(f"{WRITER}.CACHED_HEADS", 20)
    await store.commit(commit("busy"))
    for number in range(19):
        await store.commit(commit(f"old-{number}"))
    with gate_at("store.before_commit") as gate:
        first = asyncio.create_task(store.commit(commit("first")))
        await arrival(gate)
        asking = [
            asyncio.create_task(store.commit(commit(stream)))
            for number in range(15)
            for stream in ("busy", f"new-{number}")
        ]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(first, *asking)
    assert await versions(store, "busy") == list(range(1, 17))
    assert await store.verify() == []


async def test_the_log_is_bounded_even_when_somebody_always_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WRITER}.MAX_LOG_BYTES", 300_000)
    monkeypatch.setattr(f"{WRITER}.LOG_LOOK_EVERY", 1)
    monkeypatch.setattr(f"{WRITER}.LOG_WAIT_MILLISECONDS", 1)
    monkeypatch.setattr(f"{WRITER}.CHECKPOINT_PAGES", 1_000_000)
    monkeypatch.setattr(f"{WRITER}.reserve_log", lambda _: None)
    large = Commit(stream_id="s", events=[NewEvent("large", codec.encode({"pad": bytes(50_000)}), 1)])
    async with opened(tmp_path) as store:
        await store.commit(large)
        log = tmp_path / "state.db-wal"
        reader = apsw.Connection(str(tmp_path / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").get  # noqa: B018 - begins to read
        for _ in range(30):
            await store.commit(large)
        assert log.stat().st_size > 1_000_000, "the reader needs the log as it was"
        reader.execute("COMMIT")
        for _ in range(60):
            await store.commit(large)
        assert log.stat().st_size < 3_500_000
        reader.close()
        for _ in range(10):
            await store.commit(large)
            await store.last_position()
        assert await versions(store) == list(range(1, 102))
        assert await store.verify() == []


async def test_a_store_belongs_to_the_loop_it_was_opened_in(store: SQLiteStore) -> None:
    def elsewhere() -> None:
        with pytest.raises(StoreUnavailable, match="another event loop"):
            asyncio.run(_commit())

    async def _commit() -> None:
        await store.commit(commit())

    await asyncio.to_thread(elsewhere)
    assert (await store.commit(commit())).version == 1


async def test_giving_up_opening_gives_the_lock_back(tmp_path: Path) -> None:
    for _ in range(5):
        opening = asyncio.create_task(SQLiteStore.open(tmp_path / "state.db"))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        async with asyncio.timeout(30):
            while not await can_be_opened(tmp_path):
                await asyncio.sleep(0)


async def can_be_opened(folder: Path) -> bool:
    try:
        async with opened(folder):
            return True
    except StoreOwned:
        return False
