"""What random schedules found in the engine, each as the shortest story that shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agenticflow import EffectClass, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.agents import Worker
from agenticflow.errors import CommandRefused, StoreUnavailable
from agenticflow.orchestration.facts import WorkflowResumed
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.runtime.host import Host
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import RunRow
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running, virtual_clock


def doing(calls: list[str], seconds: float = 0.1) -> Worker[[TaskContext], Coroutine[Any, Any, str]]:
    """Return a worker that takes a while and writes down what it was called for."""

    @worker("do")
    async def do(context: TaskContext) -> str:
        calls.append(context.task_key)
        await asyncio.sleep(seconds)
        return context.task_key

    return do


def of_commit(event_type: str, stream: str = "") -> Callable[[object], bool]:
    """Pick the commits that record such an event."""

    def picks(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return stream in commit.stream_id and any(event.event_type == event_type for event in commit.events)

    return picks


class SlowForChildren(MemoryStore):
    """Takes its time over what belongs to a sub-workflow."""

    async def commit(self, commit: Commit) -> Committed:
        await asyncio.sleep("~child" in commit.stream_id)
        return await super().commit(commit)


def with_child(*inner: TaskDefinition) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition("child", workflow=WorkflowDefinition(inner, name="inner"))])


@in_virtual_time
async def test_a_paused_run_that_is_aborted_with_nothing_in_work_is_undone() -> None:
    """The end of the pause and the beginning of undoing are one decision."""
    calls: list[str] = []
    tasks = [TaskDefinition("a", "do", compensation="do"), TaskDefinition("b", "do", dependencies=["a"])]
    async with running(doing(calls)) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        await passes(0.05)
        await handle.pause()
        await passes(1)
        await handle.abort()
        await passes(1)
        assert await handle.status() is WorkflowStatus.COMPENSATED
    assert calls == ["a", "undo:a"]


@in_virtual_time
async def test_a_refusal_that_rests_on_what_did_not_become_true_is_none() -> None:
    """Two say no at once, and the disk is full: nobody is told that the other was faster."""
    store = FlakyStore(delay_seconds=0.01)
    async with running(store=store) as orchestrator:
        definition = WorkflowDefinition([TaskDefinition.ask("a", "May I?"), TaskDefinition.wait_for("b", "never")])
        handle = await orchestrator.start_workflow(definition)
        store.fail("commit", only=of_commit("approval_rejected"))
        answers = await asyncio.gather(
            handle.signal("other"),
            *(orchestrator.reject(handle.workflow_id, "a", rejected_by=who) for who in ("ada", "bob", "eve")),
            return_exceptions=True,
        )
        # the first goes into a commit of its own, or into that of the signal
        assert {type(answer) for answer in answers[1:]} == {StoreUnavailable}, answers
        again = await asyncio.gather(
            *(orchestrator.reject(handle.workflow_id, "a", rejected_by=who) for who in ("ada", "bob")),
            return_exceptions=True,
        )
        assert [type(answer) for answer in again] == [type(None), CommandRefused]


@in_virtual_time
async def test_a_store_that_cannot_be_read_is_no_outcome_of_a_sub_workflow() -> None:
    """It has ended, and is not in memory any more, before anybody looks how."""
    store = FlakyStore()
    async with running(doing([]), store=store) as orchestrator:
        store.fail("read_page", times=3, only=lambda name: "~child" in str(name))
        handle = await orchestrator.start_workflow(with_child(TaskDefinition("a", "do", when="1 == 2")))
        assert await handle.result() == {"child": {}}
        assert store.failures == 3


@in_virtual_time
async def test_a_store_that_cannot_be_read_is_no_outcome_of_an_attempt_that_asks_for_a_permit() -> None:
    calls: list[str] = []
    store = FlakyStore()
    async with running(doing(calls), store=store) as orchestrator:
        store.fail("get_run", times=3, only=lambda name: name == "till")
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("a", "do", locks=["till"])]))
        assert await handle.result() == {"a": "a"}
        assert store.failures == 3


@in_virtual_time
async def test_a_permit_is_not_taken_for_an_attempt_that_nobody_wants_any_more() -> None:
    """The disk is full while it is asked for; before it is asked for again the run is aborted."""
    store = FlakyStore()
    async with running(doing([]), store=store) as orchestrator:
        store.fail("commit", times=2, only=of_commit("permit_granted"))
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("a", "do", locks=["till"])]))
        await passes(0.1)
        await handle.abort()
        await passes(5)
        assert await handle.status() is WorkflowStatus.CANCELLED
        assert "permit_granted" not in await kinds(store, "gate-till/1")


@in_virtual_time
@pytest.mark.parametrize("event_type", ["workflow_paused", "workflow_resumed", "workflow_cancel_requested"])
async def test_a_sub_workflow_hears_what_became_of_its_parent_although_the_disk_was_full(event_type: str) -> None:
    calls: list[str] = []
    store = FlakyStore()
    inner = [TaskDefinition("a", "do"), TaskDefinition("b", "do", dependencies=["a"])]
    async with running(doing(calls, 2), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(with_child(*inner))
        store.fail("commit", times=3, only=of_commit(event_type, "~child"))
        await passes(1)
        if event_type == "workflow_cancel_requested":
            await handle.abort(grace_seconds=60)
            await passes(70)
            child = await orchestrator.get_execution(f"{handle.workflow_id}~child")
            assert child.status is WorkflowStatus.CANCELLED
        else:
            await handle.pause()
            await passes(10)
            assert calls == ["a"]
            await handle.resume()
            assert await handle.result() == {"child": {"b": "b"}}
        assert store.failures == 3


@in_virtual_time
async def test_a_sub_workflow_that_is_only_now_being_started_is_paused_with_its_parent() -> None:
    calls: list[str] = []
    store = SlowForChildren()
    inner = [TaskDefinition("a", "do"), TaskDefinition("b", "do", dependencies=["a"])]
    async with running(doing(calls, 2), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(with_child(*inner))
        await handle.pause()
        await passes(30)
        assert calls == ["a"]
        await handle.resume()
        assert await handle.result() == {"child": {"b": "b"}}


@in_virtual_time
@pytest.mark.parametrize("by_parent", [True, False])
async def test_a_sub_workflow_that_was_paused_with_its_parent_goes_on_after_a_death_in_between(by_parent: bool) -> None:
    """The parent goes on and the process dies before the child does. A child that a person has paused stays paused."""
    store = FlakyStore()
    inner = [TaskDefinition("a", "do"), TaskDefinition("b", "do", dependencies=["a"])]
    async with running(doing([], 2), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(with_child(*inner))
        await passes(1)
        child_id = f"{handle.workflow_id}~child"
        store.fail("commit", times=1_000, only=of_commit(WorkflowResumed.event_type, "~child"))
        if by_parent:
            await handle.pause()
            await passes(1)
            await handle.resume()
        else:
            await orchestrator.pause(child_id)
        await passes(5)
        assert (await orchestrator.get_execution(child_id)).status is WorkflowStatus.PAUSED
    store.heal()
    async with running(doing([], 2), store=store) as orchestrator:
        await passes(60)
        expected = WorkflowStatus.COMPLETED if by_parent else WorkflowStatus.PAUSED
        assert (await orchestrator.get_execution(child_id)).status is expected


@in_virtual_time
async def test_work_that_a_failed_start_has_handed_out_does_not_go_on_beside_the_next_try() -> None:
    store, calls = FlakyStore(), list[str]()
    tasks = [TaskDefinition("a", "do"), TaskDefinition("b", "do", dependencies=["a"])]
    async with running(doing(calls, 5), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        await passes(1)
    assert calls == ["a"]
    calls.clear()
    second = Orchestrator(store=store, clock=virtual_clock())
    second.register_worker(doing(calls, 5))
    store.fail("list_runs", skip=2)  # the runs are taken up, the gates are not looked at any more
    with pytest.raises(StoreUnavailable):
        await second.start()
    await passes(60)
    assert "task_completed" not in await kinds(store, f"workflow-{handle.workflow_id}/1")
    await second.start()
    assert await second.wait(handle.workflow_id) == {"b": "b"}
    await second.stop()


@in_virtual_time
async def test_a_child_is_taken_up_from_its_history_also_when_its_parent_asks_for_it_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of many open runs the parent is taken up in one batch and its child in a later one."""
    assert Host.recover.__kwdefaults__ is not None
    monkeypatch.setitem(Host.recover.__kwdefaults__, "batch", 1)
    store, calls = FlakyStore(delay_seconds=0.01), list[str]()
    inner = [
        TaskDefinition("a", "do"),
        TaskDefinition("b", "do", dependencies=["a"]),
        TaskDefinition("c", "do", dependencies=["b"], effect=EffectClass.AT_MOST_ONCE),
    ]
    async with running(doing(calls, 3), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(with_child(*inner))
        await passes(4)
        assert calls == ["a", "b"]
    calls.clear()
    orchestrator = Orchestrator(store=store, clock=virtual_clock())
    orchestrator.register_worker(doing(calls, 3))
    whole = store.list_runs

    async def parents_first(**options: Any) -> list[RunRow]:
        return sorted(await whole(**options), key=lambda row: "~child" in row.stream_id)

    monkeypatch.setattr(store, "list_runs", parents_first)
    await orchestrator.start()
    assert await orchestrator.wait(handle.workflow_id) == {"child": {"c": "c"}}
    assert calls == ["b", "c"]
    await orchestrator.stop()
