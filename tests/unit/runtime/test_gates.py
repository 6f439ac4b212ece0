"""Locks and limits: what one attempt holds, and what others wait for, over all runs of a store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow.agents.workers import Worker, worker
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import WorkflowExecutionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.resilience.gate import GateState
from agenticflow.resilience.limits import Limit
from agenticflow.runtime.coordination import gates
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import RunRow
from tests.unit.runtime.engine import in_virtual_time, kinds, running, until, virtual_clock


class Book:
    """Who is in, and how many were at most; when each began."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self.order: list[str] = []
        self.began: list[float] = []

    def worker(self, name: str = "stay") -> Worker[..., Any]:
        @worker(name)
        async def stay(who: str, seconds: float = 10) -> str:
            self.inside.append(who)
            self.order.append(who)
            self.began.append(asyncio.get_running_loop().time())
            self.most = max(self.most, len(self.inside))
            try:
                await asyncio.sleep(seconds)
            finally:
                self.inside.remove(who)
            return who

        return stay


def stays(*names: str, **options: Any) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition(name, "stay", params={"who": name}, **options) for name in names])


@in_virtual_time
async def test_a_lock_is_held_by_one_at_a_time_over_all_runs() -> None:
    book = Book()
    async with running(book.worker()) as orchestrator:
        handles = [await orchestrator.start_workflow(stays("a", "b", locks={"stock"})) for _ in range(3)]
        for handle in handles:
            await handle.result()
        assert (book.most, len(book.order)) == (1, 6)


@in_virtual_time
async def test_locks_are_told_apart_by_what_their_names_refer_to() -> None:
    book = Book()
    definition = WorkflowDefinition(
        [
            TaskDefinition(
                "each", "stay", params={"who": "${item}"}, for_each=["x", "y", "x"], locks={"customer ${item}"}
            )
        ]
    )
    async with running(book.worker()) as orchestrator:
        await orchestrator.execute_workflow(definition)
        assert (book.order, book.most) == (["x", "y", "x"], 2)


@in_virtual_time
async def test_a_limit_lets_so_many_in_and_the_numbers_asked_for_last_count() -> None:
    book = Book()
    async with running(book.worker()) as orchestrator:
        await orchestrator.execute_workflow(stays(*"abcde", limits=[Limit("api", max_concurrent=2)]))
        assert book.most == 2
        await orchestrator.execute_workflow(stays(*"abcde", limits=[Limit("api", max_concurrent=4)]))
        assert book.most == 4


@in_virtual_time
async def test_a_rate_spreads_starts_over_time_also_over_a_restart() -> None:
    book, store = Book(), MemoryStore()
    definition = stays(*"abcdefg", limits=[Limit("mail", rate=2, per_seconds=60)])
    first = Orchestrator(store=store, clock=virtual_clock())
    first.register_worker(book.worker())
    began = asyncio.get_running_loop().time()
    await first.start_workflow(definition, workflow_id="w")
    await asyncio.sleep(30)
    assert len(book.order) == 2
    await first.stop(drain_seconds=0)
    async with running(book.worker(), store=store) as second:
        await second.wait("w")
    assert [round(at - began) for at in book.began] == [0, 0, 60, 60, 120, 120, 180]


@in_virtual_time
async def test_several_locks_are_taken_in_one_order_so_that_nobody_waits_for_ever() -> None:
    book = Book()
    definition = WorkflowDefinition(
        [
            TaskDefinition("ab", "stay", params={"who": "ab"}, locks=["a", "b"]),
            TaskDefinition("ba", "stay", params={"who": "ba"}, locks=["b", "a"]),
        ]
    )
    async with running(book.worker()) as orchestrator:
        for _ in range(5):
            await orchestrator.execute_workflow(definition)
        assert (book.most, len(book.order)) == (1, 10)


@in_virtual_time
async def test_whoever_has_the_higher_priority_goes_first() -> None:
    book = Book()
    tasks = [
        TaskDefinition(name, "stay", params={"who": name}, locks={"door"}, priority=priority)
        for name, priority in (("first", 9), ("low", 0), ("high", 5), ("middle", 3))
    ]
    async with running(book.worker()) as orchestrator:
        await orchestrator.execute_workflow(WorkflowDefinition(tasks))
        assert book.order == ["first", "high", "middle", "low"]


@in_virtual_time
async def test_the_lock_is_given_back_after_a_failure_a_limit_and_a_retry() -> None:
    calls = 0

    @worker("fail")
    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise ValueError("no")

    book = Book()
    async with running(fail, book.worker()) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(WorkflowDefinition([TaskDefinition("f", "fail", locks={"x"})]))
        assert calls == 3
        with pytest.raises(WorkflowExecutionError, match="its total limit of"):
            await orchestrator.execute_workflow(
                WorkflowDefinition(
                    [
                        TaskDefinition(
                            "s", "stay", params={"who": "s"}, locks={"x"}, timeout_seconds=1, total_timeout_seconds=1.5
                        )
                    ]
                )
            )
        await orchestrator.execute_workflow(stays("after", locks={"x"}))


@in_virtual_time
async def test_who_is_cancelled_while_waiting_waits_no_more() -> None:
    book = Book()
    async with running(book.worker()) as orchestrator:
        holding = await orchestrator.start_workflow(stays("holds", locks={"x"}))
        waiting = await orchestrator.start_workflow(stays("waits", locks={"x"}))
        await asyncio.sleep(1)
        await waiting.abort("not needed")
        with pytest.raises(WorkflowExecutionError, match="cancelled"):
            await waiting.result()
        last = await orchestrator.start_workflow(stays("last", locks={"x"}))
        await holding.result()
        await last.result()
        assert book.order == ["holds", "last"]


@in_virtual_time
async def test_locks_survive_a_restart_with_those_who_hold_them_and_their_places() -> None:
    book, store = Book(), MemoryStore()
    first = Orchestrator(store=store, clock=virtual_clock())
    first.register_worker(book.worker())
    for name in ("a", "b", "c"):
        await first.start_workflow(stays(name, locks={"x"}), workflow_id=name)
    await until(lambda: book.inside == ["a"])
    await first.stop(drain_seconds=0)
    async with running(book.worker(), store=store) as second:
        for name in ("a", "b", "c"):
            await second.wait(name)
    assert book.order == ["a", "a", "b", "c"]
    assert book.most == 1


@in_virtual_time
async def test_what_nobody_can_give_back_any_more_is_released_at_the_start() -> None:
    book, store = Book(), MemoryStore()
    first = Orchestrator(store=store, clock=virtual_clock())
    first.register_worker(book.worker())
    await first.start_workflow(stays("a", locks={"x"}), workflow_id="a")
    await until(lambda: book.inside == ["a"])
    await first.stop(drain_seconds=0)
    # The run is ended by somebody who performs nothing: the permit stays behind.
    burying = Orchestrator(store=store, clock=virtual_clock(), performs=False)
    await burying.abort("a", "gone")
    assert (await burying.get_execution("a")).status is WorkflowStatus.CANCELLED
    await burying.stop()
    async with running(book.worker(), store=store) as second:
        await second.execute_workflow(stays("b", locks={"x"}))
    assert (await kinds(store, "gate-x/1"))[-1] == "permit_released"


@in_virtual_time
async def test_a_gate_goes_on_in_another_stream_when_its_own_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.resilience.gate.MAX_EVENTS", 4)
    book, store = Book(), MemoryStore()
    async with running(book.worker(), store=store) as orchestrator:
        for _ in range(5):
            await orchestrator.execute_workflow(stays("a", locks={"x"}))
        await asyncio.sleep(1)
        assert (await kinds(store, "gate-x/1"))[-1] == "gate_closed"
        assert (await kinds(store, "gate-x/3")) == ["permit_granted", "permit_released"]
    async with running(book.worker(), store=store) as orchestrator:
        await orchestrator.execute_workflow(stays("a", locks={"x"}))
        await orchestrator.execute_workflow(stays("a", locks={"x"}))
    assert (await kinds(store, "gate-x/4")) == ["permit_granted", "permit_released"]


@in_virtual_time
async def test_an_idle_gate_is_nothing_a_restart_has_to_look_at() -> None:
    book, store = Book(), MemoryStore()
    async with running(book.worker(), store=store) as orchestrator:
        await orchestrator.execute_workflow(stays("a", locks={"x"}))
        await asyncio.sleep(1)
    rows = await store.list_runs(kind="gate")
    assert [(row.execution_id, row.status, row.is_open) for row in rows] == [("x", "FREE", False)]
    assert GateState("gate-x/1").next_due is None


class Asked(MemoryStore):
    """Remembers which gates were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[str] = []

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        if kind == gates.KIND:
            self.gates.append(execution_id)
        return await super().get_run(execution_id, run_no, kind=kind)


@in_virtual_time
async def test_the_gate_used_last_is_remembered_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "CACHED_GATES", 2)
    store, book = Asked(), Book()
    async with running(book.worker(), store=store) as orchestrator:
        for lock in ("hot", "a", "hot", "b", "hot", "a"):
            await orchestrator.execute_workflow(stays("one", locks={lock}))
    assert store.gates == ["hot", "a", "b", "a"]
