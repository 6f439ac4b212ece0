"""The journal of a task in the engine: attempts go on where the one before was, stale ones write nothing, the store is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    Orchestrator,
    OutcomeUnknown,
    RetryPolicy,
    StoreUnavailable,
    TaskContext,
    TaskStatus,
    WorkflowDefinition,
    WorkflowExecutionError,
    open_store,
)
from agenticflow.core.context import effect_key
from agenticflow.errors import DefinitionError, TaskCancelled
from agenticflow.resilience.journal import JournalState, journal_of
from agenticflow.runtime.clock import SystemClock
from agenticflow.runtime.coordination import journals as room
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.storage.store import Store
from tests.unit.runtime.engine import in_virtual_time, kinds, running, until
from tests.unit.runtime.tasks import single

TWICE = RetryPolicy(max_attempts=2, initial_delay_seconds=0.01, max_delay_seconds=0.01)
STREAM = journal_of("w", effect_key("w", "work", 0)).stream_id


def one_task(**options: Any) -> WorkflowDefinition:
    return single(**{"retry_policy": TWICE, **options})


async def result(orchestrator: Orchestrator, workflow_id: str = "w") -> Any:
    """Return what came of the task."""
    found = await orchestrator.wait(workflow_id)
    assert isinstance(found, dict)
    return found["work"]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.close()


@in_virtual_time
async def test_another_attempt_goes_on_where_the_first_was() -> None:
    agent, done, store = Agent("agent"), list[str](), MemoryStore()

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        async def step(name: str) -> str:
            done.append(name)
            return name.upper()

        found = await asyncio.gather(*(context.journal.call(name, partial(step, name)) for name in "abc"))
        if context.attempt == 1:
            raise ConnectionError("the wire is cut")
        return [*found, await context.journal.call("d", lambda: step("d"))]

    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        assert await result(orchestrator) == ["A", "B", "C", "D"]
        assert STREAM not in orchestrator._engine.host.actors  # type: ignore[union-attr]  # what is in memory
    assert sorted(done) == ["a", "b", "c", "d"]
    assert await kinds(store, STREAM) == [
        "journal_opened",
        *["journal_call_ended"] * 3,
        "journal_opened",
        "journal_call_ended",
    ]
    row = await store.get_run(journal_of("w", effect_key("w", "work", 0)).id, kind="journal")
    assert row is not None
    assert (row.name, row.is_open) == ("work", False)


async def test_it_is_there_after_a_restart_and_large_values_too(tmp_path: Path) -> None:
    url, calls = f"sqlite:///{tmp_path / 'state.db'}", list[int]()
    large = "x" * 200_000

    def team(*, is_stuck: bool) -> Agent:
        agent = Agent("agent")

        @agent.task("do")
        async def do(context: TaskContext) -> int:
            async def fetch() -> str:
                calls.append(1)
                return large

            text = await context.journal.call("fetch", fetch)
            if is_stuck:
                await asyncio.Event().wait()
            return len(str(text))

        return agent

    async with opened(url) as store, running(team(is_stuck=True), store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        await until(lambda: calls)

        async def is_recorded() -> bool:
            return "journal_call_ended" in await kinds(store, STREAM)

        await until(is_recorded)
    async with opened(url) as store, running(team(is_stuck=False), store=store) as orchestrator:
        assert await result(orchestrator) == len(large)
    assert calls == [1]


@in_virtual_time
async def test_the_next_run_of_the_chain_has_the_same_journal() -> None:
    agent, done, is_well = Agent("agent"), list[str](), [False]

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        async def step() -> str:
            done.append("a")
            return "A"

        found = await context.journal.call("a", step)
        if not is_well[0]:
            raise ValueError("not yet")
        return found

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(one_task(), workflow_id="w")
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        is_well[0] = True
        await orchestrator.resume_workflow("w")
        assert await result(orchestrator) == "A"
    assert done == ["a"]


@in_virtual_time
async def test_an_attempt_that_was_superseded_writes_nothing() -> None:
    agent, refused, first_may_go = Agent("agent", concurrency=2), list[BaseException](), threading.Event()

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        if context.attempt == 1:
            journal = context.journal

            async def late() -> None:
                await asyncio.sleep(5)
                try:
                    await journal.call("late", lambda: asyncio.sleep(0, "late"))
                except TaskCancelled as error:
                    refused.append(error)

            await journal.call("a", lambda: asyncio.sleep(0, 1))
            strays.append(asyncio.create_task(late()))
            raise ConnectionError("no")
        return await context.journal.call("b", lambda: asyncio.sleep(0, 2))

    strays: list[asyncio.Task[None]] = []
    async with running(agent) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        assert await result(orchestrator) == 2
        await asyncio.gather(*strays)
    assert "is over" in str(refused[0])
    first_may_go.set()


async def test_an_attempt_in_a_thread_that_was_given_up_writes_nothing() -> None:
    agent, refused, gate = Agent("agent", concurrency=2), list[BaseException](), threading.Event()

    @agent.task("do")
    def do(context: TaskContext) -> object:
        if context.attempt == 1:
            context.journal.call_from_thread("a", lambda: 1)
            gate.wait(20)
            try:
                context.journal.call_from_thread("b", lambda: "stale")
            except TaskCancelled as error:
                refused.append(error)
                raise
        return [context.journal.call_from_thread(key, lambda: 2) for key in "ab"]

    store = MemoryStore()
    async with running(agent, store=store) as orchestrator:
        host = orchestrator._engine.host  # type: ignore[union-attr]  # another attempt, as a second process would make it
        await orchestrator.start_workflow(one_task(), workflow_id="w")

        async def is_there() -> bool:
            return "journal_call_ended" in await kinds(store, STREAM)

        await until(is_there)
        desk = room.Journals(host, SystemClock()).desk(
            workflow_id="w", run_no=1, task_key="work", generation=0, token=9_999, attempt=9
        )
        assert await desk.find("b") is None
        gate.set()
        await until(lambda: refused)
        await asyncio.sleep(0.05)
        assert "task_failed" not in await kinds(store, "workflow-w/1"), "who has the journal says how the task ends"
        desk.close()
        state: JournalState = await host.read(STREAM)
        assert list(state.entries) == ["a"]
    assert "another attempt has opened the journal" in str(refused[0])


@in_virtual_time
async def test_what_must_not_happen_twice_is_not_made_again_after_a_cut() -> None:
    agent, charged, store = Agent("agent"), list[int](), MemoryStore()

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        async def charge() -> None:
            charged.append(1)
            await asyncio.Event().wait()

        return await context.journal.call("charge", charge, effect="at_most_once")

    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        await until(lambda: charged)
    async with running(agent, store=store) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="nobody knows what came of the call 'charge'"):
            await result(orchestrator)
    assert charged == [1]


@in_virtual_time
async def test_an_unknown_call_makes_an_at_most_once_task_unknown() -> None:
    agent = Agent("agent")

    @agent.task("do")
    async def do(context: TaskContext) -> None:
        raise OutcomeUnknown("gone")

    async with running(agent) as orchestrator:
        await orchestrator.start_workflow(one_task(effect=EffectClass.AT_MOST_ONCE, retry_policy=None), workflow_id="w")
        await asyncio.sleep(1)
        state = await orchestrator.get_workflow_state("w")
        assert state.tasks["work"].status is TaskStatus.UNKNOWN


@in_virtual_time
async def test_what_is_done_is_recorded_though_the_caller_is_cancelled() -> None:
    agent, done = Agent("agent"), list[int]()

    class Slow(MemoryStore):
        async def commit(self, commit: Commit) -> Committed:
            if commit.stream_id.startswith("journal-"):
                await asyncio.sleep(1)
            return await super().commit(commit)

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        async def pay() -> int:
            done.append(1)
            await asyncio.sleep(1)
            return 1

        return await context.journal.call("pay", pay)

    store = Slow()
    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(timeout_seconds=2.5), workflow_id="w")
        assert await result(orchestrator) == 1
    assert done == [1]


@in_virtual_time
async def test_a_store_that_is_away_is_waited_for_and_not_for_ever() -> None:
    agent, raised = Agent("agent"), list[BaseException]()

    class Away(MemoryStore):
        away_until = 0.0

        async def commit(self, commit: Commit) -> Committed:
            is_away = asyncio.get_running_loop().time() < self.away_until
            if is_away and commit.stream_id.startswith("journal-"):
                raise StoreUnavailable("away")
            return await super().commit(commit)

    store = Away()

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        now = asyncio.get_running_loop().time()
        store.away_until = now + 20
        assert await context.journal.call("a", lambda: asyncio.sleep(0, 1)) == 1
        store.away_until = now + 1_000
        try:
            await context.journal.call("b", lambda: asyncio.sleep(0, 1))
        except StoreUnavailable as error:
            raised.append(error)
        return asyncio.get_running_loop().time() - now

    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        lasted = await result(orchestrator)
    assert 80 <= lasted < 90
    assert len(raised) == 1


@in_virtual_time
async def test_a_journal_that_could_not_be_opened_is_opened_when_the_store_is_back() -> None:
    agent = Agent("agent")

    class Away(MemoryStore):
        away_until = 0.0

        async def commit(self, commit: Commit) -> Committed:
            if commit.stream_id.startswith("journal-") and asyncio.get_running_loop().time() < self.away_until:
                raise StoreUnavailable("away")
            return await super().commit(commit)

    store = Away()

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        store.away_until = asyncio.get_running_loop().time() + 70
        with pytest.raises(StoreUnavailable):
            await context.journal.call("a", lambda: asyncio.sleep(0, 1))
        await asyncio.sleep(20)
        return await context.journal.call("a", lambda: asyncio.sleep(0, 1))

    async with running(agent, store=store) as orchestrator:
        await orchestrator.start_workflow(one_task(), workflow_id="w")
        assert await result(orchestrator) == 1


async def test_a_handler_on_the_loop_does_not_wait_for_itself() -> None:
    agent, raised = Agent("agent"), list[str]()

    @agent.task("do")
    async def do(context: TaskContext) -> None:
        with pytest.raises(DefinitionError) as error:
            context.journal.call_from_thread("a", lambda: 1)
        raised.append(str(error.value))

    async with running(agent) as orchestrator:
        await (await orchestrator.start_workflow(one_task(), workflow_id="w")).result()
    assert "await context.journal.call" in raised[0]


async def test_it_goes_with_its_workflow_and_not_before(tmp_path: Path) -> None:
    agent = Agent("agent")

    @agent.task("do")
    async def do(context: TaskContext) -> object:
        value = await context.journal.call("a", lambda: asyncio.sleep(0, "x" * 100_000))
        return len(str(value))

    for url in ("memory:", f"sqlite:///{tmp_path / 'state.db'}"):
        async with opened(url) as store, running(agent, store=store) as orchestrator:
            for name in ("w", "w2"):
                await (await orchestrator.start_workflow(one_task(), workflow_id=name)).result()
            hour_later = SystemClock().now_ns() + 3_600 * 10**9
            await orchestrator.stop()
            await store.compact(RetentionPolicy(delete_after_days=0.5), now=hour_later)
            assert await kinds(store, STREAM)
            kept = await store.compact(RetentionPolicy(delete_after_days=0.0, keep_last=1), now=hour_later)
            assert not await kinds(store, STREAM)
            assert kept.deleted_runs == 2
            assert await kinds(store, journal_of("w2", effect_key("w2", "work", 0)).stream_id)
