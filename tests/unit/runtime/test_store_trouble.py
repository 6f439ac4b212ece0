"""The store fails for a while: callers are told, outcomes are kept and recorded later, nothing is lost and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    ConcurrencyConflict,
    EffectClass,
    OutcomeUnknown,
    RetryPolicy,
    StoreUnavailable,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
)
from agenticflow.errors import CorruptStore
from agenticflow.storage.commits import Commit
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.countdown import Begin, GiveUp, stream_of
from tests.unit.runtime.engine import Engine, in_virtual_time, kinds, passes, running, virtual_clock

CHAIN = WorkflowDefinition(
    [
        TaskDefinition("a", "agent", "count"),
        TaskDefinition("b", "agent", "count", dependencies=["a"]),
        TaskDefinition("c", "agent", "count", dependencies=["b"]),
    ],
    name="chain",
)


def counter(calls: list[str], *, concurrency: int = 1) -> Agent:
    agent = Agent("agent", concurrency=concurrency)

    @agent.task("count")
    async def count(context: TaskContext) -> int:
        calls.append(context.task_id)
        await asyncio.sleep(0.05)
        return len(calls)

    return agent


def is_report(commit: object) -> bool:
    assert isinstance(commit, Commit)
    return any(event.event_type == "task_completed" for event in commit.events)


def is_to_run(commit: object) -> bool:
    assert isinstance(commit, Commit)
    return commit.stream_id.startswith("workflow-")


def has_event(event_type: str) -> Callable[[object], bool]:
    def holds(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return any(event.event_type == event_type for event in commit.events)

    return holds


@in_virtual_time
async def test_reports_are_kept_and_recorded_when_the_store_is_back() -> None:
    store, calls = FlakyStore(), list[str]()
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=6, only=is_report)
        handle = await orchestrator.start_workflow(CHAIN)
        assert await handle.result() == {"c": 3}
    assert calls == ["a", "b", "c"], "a handler ran again because its report was slow"
    assert store.failures == 6


@in_virtual_time
async def test_whoever_asks_is_told_and_may_ask_again() -> None:
    store = FlakyStore()
    async with running(counter([]), store=store) as orchestrator:
        store.fail("commit", only=is_to_run)
        with pytest.raises(StoreUnavailable):
            await orchestrator.start_workflow(CHAIN, workflow_id="w")
        handle = await orchestrator.start_workflow(CHAIN, workflow_id="w")
        assert await handle.result() == {"c": 3}


@pytest.mark.parametrize("event_type", ["workflow_started", "task_completed"])
@in_virtual_time
async def test_a_commit_whose_outcome_is_unknown_happened_once(event_type: str) -> None:
    """The commit was made and its answer lost: what it scheduled is dispatched all the same, and nothing is recorded twice."""
    store, calls = FlakyStore(), list[str]()
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=2, is_written=True, only=has_event(event_type))
        for _ in range(2):
            with contextlib.suppress(OutcomeUnknown):
                await orchestrator.start_workflow(CHAIN, workflow_id="w")
        async with asyncio.timeout(60):
            assert await orchestrator.wait("w") == {"c": 3}
    types = await kinds(store, "workflow-w/1")
    assert types.count("workflow_started") == 1
    assert types.count("task_completed") == 3
    assert calls == ["a", "b", "c"]


@in_virtual_time
async def test_a_start_whose_outcome_is_unknown_runs_without_being_asked_again() -> None:
    store, calls = FlakyStore(), list[str]()
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", is_written=True, only=is_to_run)
        with pytest.raises(OutcomeUnknown):
            await orchestrator.start_workflow(CHAIN, workflow_id="w")
        async with asyncio.timeout(60):
            assert await orchestrator.wait("w") == {"c": 3}
    assert calls == ["a", "b", "c"]


@in_virtual_time
async def test_a_report_survives_more_conflicts_than_anybody_is_patient_for() -> None:
    store, calls = FlakyStore(), list[str]()
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=30, error=ConcurrencyConflict("workflow-w/1", 2, 3), only=is_report)
        handle = await orchestrator.start_workflow(CHAIN, workflow_id="w")
        async with asyncio.timeout(600):
            assert await handle.result() == {"c": 3}
    assert calls == ["a", "b", "c"]


@in_virtual_time
async def test_inputs_that_cannot_be_read_for_a_while_delay_the_task() -> None:
    store = FlakyStore()
    agent = Agent("agent")

    @agent.task("make")
    async def make() -> str:
        return "x" * 100_000

    @agent.task("take")
    async def take(text: str) -> int:
        return len(text)

    definition = WorkflowDefinition(
        [
            TaskDefinition("load", "agent", "make"),
            TaskDefinition.timer("pause", 5, ["load"]),
            TaskDefinition("use", "agent", "take", {"text": "${load}"}, dependencies=["load", "pause"]),
        ]
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
    async with running(agent, store=store) as orchestrator:  # a new one, which has no large value at hand
        store.fail("get_blob", times=4)
        async with asyncio.timeout(60):
            assert await orchestrator.wait(handle.workflow_id) == {"use": 100_000}
    assert store.failures == 4


@in_virtual_time
async def test_a_large_value_that_is_gone_fails_the_task_for_good() -> None:
    store = FlakyStore()
    agent = Agent("agent")

    @agent.task("make")
    async def make() -> str:
        return "x" * 100_000

    @agent.task("take")
    async def take(text: str) -> int:
        return len(text)

    definition = WorkflowDefinition(
        [
            TaskDefinition("load", "agent", "make"),
            TaskDefinition.timer("pause", 5, ["load"]),
            TaskDefinition("use", "agent", "take", {"text": "${load}"}, dependencies=["load", "pause"]),
        ]
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
    store._blobs.clear()
    async with running(agent, store=store) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="is gone"):
            async with asyncio.timeout(60):
                await orchestrator.wait(handle.workflow_id)
        assert (await orchestrator.get_workflow_state(handle.workflow_id)).tasks["use"].attempt == 1


@in_virtual_time
async def test_a_decision_that_broke_off_in_the_middle_leaves_no_trace() -> None:
    """Deciding needs a large value that cannot be read just now: the half-folded state is thrown away with the command."""
    store = FlakyStore()
    agent = Agent("agent")

    @agent.task("make")
    async def make() -> dict[str, object]:
        return {"text": "x" * 100_000, "go": True}

    @agent.task("take")
    async def take() -> str:
        return "taken"

    definition = WorkflowDefinition(
        [
            TaskDefinition("load", "agent", "make"),
            TaskDefinition.wait_for("gate", "open", ["load"]),
            TaskDefinition("use", "agent", "take", when="${load.go}", dependencies=["load", "gate"]),
        ]
    )
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
    async with running(agent, store=store) as orchestrator:
        store.fail("get_blob")
        with pytest.raises(StoreUnavailable):
            await orchestrator.signal(handle.workflow_id, "open")
        assert (await orchestrator.get_workflow_state(handle.workflow_id)).status is WorkflowStatus.WAITING
        await orchestrator.signal(handle.workflow_id, "open")
        async with asyncio.timeout(60):
            assert await orchestrator.wait(handle.workflow_id) == {"use": "taken"}
    types = await kinds(store, f"workflow-{handle.workflow_id}/1")
    assert types.count("signal_received") == 1
    assert types[-1] == "workflow_completed"


@in_virtual_time
async def test_the_intent_of_at_most_once_work_is_recorded_before_it_runs_however_long_that_takes() -> None:
    store, calls = FlakyStore(), list[str]()
    definition = WorkflowDefinition([TaskDefinition("pay", "agent", "count", effect=EffectClass.AT_MOST_ONCE)])
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=5, only=has_event("task_started"))
        handle = await orchestrator.start_workflow(definition)
        assert calls == []
        assert await handle.result() == {"pay": 1}
    assert (await kinds(store, f"workflow-{handle.workflow_id}/1")).count("task_started") == 1


@in_virtual_time
async def test_an_intent_whose_outcome_is_unknown_leaves_the_decision_to_a_person() -> None:
    store, calls = FlakyStore(), list[str]()
    definition = WorkflowDefinition([TaskDefinition("pay", "agent", "count", effect=EffectClass.AT_MOST_ONCE)])
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", is_written=True, only=has_event("task_started"))
        handle = await orchestrator.start_workflow(definition)
        await passes(5)
        assert await handle.status() is WorkflowStatus.NEEDS_ATTENTION
        assert calls == []
        await orchestrator.resolve(handle.workflow_id, "pay", "run_again")
        async with asyncio.timeout(600):
            assert await handle.result() == {"pay": 1}
    assert calls == ["pay"]


@in_virtual_time
async def test_two_owners_by_mistake_disturb_each_other_but_agree_on_the_history() -> None:
    """The append is the fence: both work on the same run, one of them wins each commit, both see the same history."""
    store, calls = FlakyStore(delay_seconds=0.01), list[str]()
    async with (
        running(counter(calls, concurrency=2), store=store) as one,
        running(counter(calls, concurrency=2), store=store) as two,
    ):
        handle = await one.start_workflow(CHAIN, workflow_id="w")
        same = await two.start_workflow(CHAIN, workflow_id="w")
        assert same.workflow_id == "w"
        await two.signal("w", "hello")
        await one.signal("w", "hello")
        async with asyncio.timeout(600):
            await handle.result()
        with pytest.raises(CommandRefused, match="is COMPLETED"):
            await two.signal("w", "too late")
    types = await kinds(store, "workflow-w/1")
    assert types.count("task_completed") == 3
    assert types.count("workflow_completed") == 1


@in_virtual_time
async def test_somebody_else_ended_the_run_while_we_waited() -> None:
    store, hang = FlakyStore(), asyncio.Event()
    agent = Agent("agent")

    @agent.task("count")
    async def count() -> str:
        await hang.wait()
        return "ours"

    async with running(agent, store=store) as ours, running(store=store) as theirs:
        handle = await ours.start_workflow(CHAIN, workflow_id="w")
        waiting = asyncio.ensure_future(handle.result())
        await passes(1)
        await theirs.abort("w", "not needed any more", grace_seconds=1)
        await passes(5)
        hang.set()
        with pytest.raises(WorkflowExecutionError, match="not needed any more"):
            async with asyncio.timeout(60):
                await waiting


@in_virtual_time
async def test_a_corrupt_stream_is_an_error_and_not_a_guess() -> None:
    store = FlakyStore()
    engine = Engine(store, clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=1))
    stored = store._streams[stream_of("a")]
    stored[0] = type(stored[0])(stream_of("a"), 1, stored[0].position, "countdown_begun", b"\xc1", 1)
    await engine.crash()
    second = Engine(store, clock=virtual_clock())
    with pytest.raises(CorruptStore):
        await second.host.submit(stream_of("a"), GiveUp(now=2))
    await second.stop()


@in_virtual_time
async def test_stopping_while_the_store_is_away_answers_everybody() -> None:
    store, calls = FlakyStore(), list[str]()
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=1_000, only=is_report)
        handle = await orchestrator.start_workflow(CHAIN, workflow_id="w")
        await passes(3)
        waiting = asyncio.ensure_future(handle.result())
        pausing = asyncio.ensure_future(handle.pause())
        await passes(0.1)
        await orchestrator.stop(drain_seconds=1)
        with pytest.raises(StoreUnavailable):
            await waiting
        async with asyncio.timeout(60):
            done = await asyncio.gather(pausing, return_exceptions=True)
        assert done[0] is None or isinstance(done[0], StoreUnavailable)
    store.heal()
    async with running(counter(calls), store=store) as orchestrator:
        assert await orchestrator.wait("w") == {"c": 4}
    assert calls == ["a", "a", "b", "c"], "what could not be recorded ran again, nothing else did"


@in_virtual_time
async def test_a_slow_commit_is_not_broken_off_by_stopping() -> None:
    store, calls, go = FlakyStore(), list[str](), asyncio.Event()
    agent = Agent("agent", concurrency=8)

    @agent.task("count")
    async def count(context: TaskContext) -> None:
        calls.append(context.task_id)
        await go.wait()

    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(
            WorkflowDefinition(
                [
                    TaskDefinition(f"t{n}", "agent", "count", effect=EffectClass.AT_MOST_ONCE, retry_policy=None)
                    for n in range(8)
                ]
            ),
            workflow_id="w",
        )
        await passes(1)
        store.delay_seconds = 2.0
        go.set()
        await orchestrator.stop(drain_seconds=0.5)
    store.delay_seconds = None
    async with running(agent, store=store) as orchestrator:
        await passes(1)
        state = await orchestrator.get_workflow_state("w")
    assert handle.workflow_id == "w"
    assert len(calls) == 8, calls
    assert state.status is WorkflowStatus.COMPLETED, {key: task.status for key, task in state.tasks.items()}


@in_virtual_time
async def test_retry_policy_is_not_spent_on_the_store() -> None:
    store, calls = FlakyStore(), list[str]()
    once = RetryPolicy(max_attempts=1)
    definition = WorkflowDefinition([TaskDefinition("a", "agent", "count", retry_policy=once)])
    async with running(counter(calls), store=store) as orchestrator:
        store.fail("commit", times=3, only=is_report)
        handle = await orchestrator.start_workflow(definition)
        assert await handle.result() == {"a": 1}
