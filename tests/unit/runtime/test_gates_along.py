"""A permit nobody has to wait for is had, and given back, in the transaction of what asks for it, and nothing depends on that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow import (
    Agent,
    AgenticFlowError,
    Limit,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
)
from agenticflow.runtime.coordination import gates
from agenticflow.runtime.turns import sequels
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, kinds, running, virtual_clock
from tests.unit.runtime.together import Watched, chain, each_failure

PRESS: dict[str, Any] = {"locks": ("press",)}


class Shop:
    """An agent that notes who is at work, and when each began."""

    def __init__(self, concurrency: int = 16) -> None:
        self.inside: list[str] = []
        self.order: list[str] = []
        self.began: list[float] = []
        self.most = 0
        self.agent = Agent("agent", {"work"}, concurrency=concurrency)

        @self.agent.task("work")
        async def work(context: TaskContext, seconds: float = 1.0) -> None:
            name = f"{context.workflow_id}.{context.task_key}"
            self.inside.append(name)
            self.order.append(name)
            self.began.append(asyncio.get_running_loop().time())
            self.most = max(self.most, len(self.inside))
            await asyncio.sleep(seconds)
            self.inside.remove(name)


def steps(*options: dict[str, Any]) -> WorkflowDefinition:
    """Return a chain of tasks with these options."""
    tasks = [
        TaskDefinition(f"s{number}", "agent", "work", dependencies=[f"s{number - 1}"] if number else [], **given)
        for number, given in enumerate(options)
    ]
    return WorkflowDefinition(tasks)


def together(store: Watched, *streams: str) -> int:
    """Return how often these streams, without the numbers of their runs, were committed together."""
    return sum([stream.partition("/")[0] for stream in group] == list(streams) for group in store.together)


async def run(definition: WorkflowDefinition, store: FlakyStore) -> Shop:
    """Run it as ``w`` to its good end."""
    shop = Shop()
    async with running(shop.agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(definition, workflow_id="w")
        await asyncio.sleep(1)
        assert not await store.list_runs(kind="gate", is_open=True), "every permit is given back"
    return shop


@in_virtual_time
async def test_a_chain_of_attempts_with_one_lock_commits_it_along() -> None:
    store = Watched()
    await run(steps(*[PRESS] * 5), store)
    assert store.together == [["w", "gate-press"]] * 5
    assert await kinds(store, "gate-press/1") == ["permit_granted", "permit_released"] * 5


@in_virtual_time
async def test_several_gates_are_committed_along_one_by_one() -> None:
    """One gives a lock back that the next does not want, which wants one that is known by then."""
    store = Watched()
    await run(steps(*[{"locks": ("a",)}, {"locks": ("b",)}] * 3), store)
    assert (together(store, "w", "gate-a", "gate-b"), together(store, "w", "gate-b", "gate-a")) == (2, 2)
    for gate in ("gate-a/1", "gate-b/1"):
        assert await kinds(store, gate) == ["permit_granted", "permit_released"] * 3


@in_virtual_time
async def test_several_locks_of_one_attempt_are_given_back_along_and_asked_for_one_by_one() -> None:
    store = Watched()
    shop = await run(steps(*[{"locks": ("a", "b")}] * 3), store)
    assert store.together == [["w", "gate-a", "gate-b"]] * 3
    assert shop.most == 1


@in_virtual_time
async def test_who_needs_several_locks_is_not_let_in_with_the_free_one() -> None:
    store, shop, both = Watched(), Shop(), {"locks": ("a", "b")}
    async with running(shop.agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(steps(both), workflow_id="known")
        second = await orchestrator.start_workflow(steps({}, both), workflow_id="second")
        await asyncio.sleep(0.5)
        holder = await orchestrator.start_workflow(steps({"locks": ("b",)}), workflow_id="holder")
        await second.result()
        await holder.result()
    began = dict(zip(shop.order, shop.began, strict=True))
    assert began["second.s1"] - began["holder.s0"] == 1, "b was held until then"


@in_virtual_time
async def test_no_more_than_eight_streams_are_committed_together() -> None:
    store, names = Watched(), [f"l{number}" for number in range(sequels.MOST_TOGETHER + 3)]
    await run(steps(*[{"locks": names}] * 2), store)
    assert max(map(len, store.together)) == sequels.MOST_TOGETHER


@in_virtual_time
async def test_the_last_attempt_of_a_sub_workflow_gives_its_lock_back_before_the_end_is_reported() -> None:
    store = Watched()
    await run(chain(3, steps(PRESS)), store)
    assert together(store, "w~s0", "gate-press", "w", "w~s1") == 1
    assert together(store, "w~s2", "gate-press", "w") == 1


@pytest.mark.parametrize("stream", ["workflow-w/1", "gate-a/1", "gate-b/1"])
@each_failure
@in_virtual_time
async def test_whichever_of_them_fails_everything_happens_once(
    error: AgenticFlowError, is_written: bool, stream: str
) -> None:
    """The third attempt ends and gives ``a`` back, the fourth gets ``b``: one of the three commits fails."""
    store = Watched()
    store.fail_one_of(["workflow-w/1", "gate-a/1", "gate-b/1"], stream, error, is_written)
    shop = await run(steps(*[{"locks": ("a",)}, {"locks": ("b",)}] * 3), store)
    assert store.failures == 1
    assert (shop.order, shop.most) == ([f"w.s{number}" for number in range(6)], 1)
    for gate in ("gate-a/1", "gate-b/1"):
        assert await kinds(store, gate) == ["permit_granted", "permit_released"] * 3
    events = await kinds(store, "workflow-w/1")
    assert (events.count("task_scheduled"), events.count("task_completed")) == (6, 6)


@in_virtual_time
async def test_who_waits_is_let_in_by_the_end_of_who_holds_and_nobody_overtakes() -> None:
    store, shop = Watched(), Shop()
    async with running(shop.agent, store=store) as orchestrator:
        first = await orchestrator.start_workflow(steps(*[PRESS] * 3), workflow_id="first")
        await asyncio.sleep(0.5)
        second = await orchestrator.start_workflow(steps(PRESS), workflow_id="second")
        await first.result()
        await second.result()
    assert shop.order == ["first.s0", "second.s0", "first.s1", "first.s2"]
    assert shop.most == 1
    assert (await kinds(store, "gate-press/1"))[:4] == [
        "permit_granted",
        "permit_requested",
        "permit_released",
        "permit_granted",
    ]


@in_virtual_time
async def test_who_is_on_the_way_to_the_gate_is_not_overtaken() -> None:
    """Both first attempts end at the same moment, the one without the lock first: what follows it asks first, if only a moment later."""
    store, shop = Watched(), Shop()
    async with running(shop.agent, store=store) as orchestrator:
        free = await orchestrator.start_workflow(steps({}, PRESS), workflow_id="free")
        held = await orchestrator.start_workflow(steps(PRESS, PRESS), workflow_id="held")
        await free.result()
        await held.result()
    assert shop.began[0] == shop.began[1]
    assert shop.order == ["free.s0", "held.s0", "free.s1", "held.s1"]
    assert shop.most == 2, "the first has no lock"


@in_virtual_time
async def test_more_than_one_gets_in_along_as_far_as_the_limit_goes() -> None:
    store, shop = Watched(), Shop()
    api: dict[str, Any] = {"limits": [Limit("api", max_concurrent=2)]}
    async with running(shop.agent, store=store) as orchestrator:
        handles = []
        for number in range(3):
            handles.append(await orchestrator.start_workflow(steps(*[api] * 3), workflow_id=f"w{number}"))
            await asyncio.sleep(0.3)
        for handle in handles:
            await handle.result()
    assert (shop.most, len(shop.order)) == (2, 9)


@in_virtual_time
async def test_a_rate_is_kept() -> None:
    store = Watched()
    shop = await run(steps(*[{"limits": [Limit("mail", rate=2, per_seconds=60)]}] * 5), store)
    assert [round(at - shop.began[0]) for at in shop.began] == [0, 1, 60, 61, 120]
    assert together(store, "w", "gate-mail") == 5


@in_virtual_time
async def test_a_gate_that_has_gone_on_in_another_stream_is_asked_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.resilience.gate.MAX_EVENTS", 4)
    store = Watched()
    shop = await run(steps(*[PRESS] * 7), store)
    assert (shop.most, len(shop.order)) == (1, 7)
    for number in (1, 2, 3):
        assert await kinds(store, f"gate-press/{number}") == ["permit_granted", "permit_released"] * 2 + ["gate_closed"]
    assert await kinds(store, "gate-press/4") == ["permit_granted", "permit_released"]


@in_virtual_time
async def test_a_gate_that_has_left_memory_is_asked_in_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "CACHED_GATES", 1)
    store = Watched()
    shop = await run(steps(*[{"locks": ("a",)}, {"locks": ("b",)}] * 3), store)
    assert (shop.most, len(shop.order)) == (1, 6)
    assert not together(store, "w", "gate-a", "gate-b")


@in_virtual_time
async def test_what_nobody_can_perform_any_more_when_it_has_its_lock_gives_it_back() -> None:
    """The agent falls ill while the end of one attempt and the scheduling of the next are being committed."""
    store, shop, other = Watched(delay_seconds=0.4), Shop(), Agent("other")

    @other.task("work")
    async def work(context: TaskContext) -> None:
        shop.order.append(f"{context.workflow_id}.{context.task_key}")

    async with running(shop.agent, other, store=store) as orchestrator:
        store.before = lambda commits: orchestrator.agents.mark_unhealthy("agent", "its disk is full")
        handle = await orchestrator.start_workflow(
            steps({"locks": ("press",), "params": {"seconds": 0.5}}, PRESS), workflow_id="w"
        )
        lone = WorkflowDefinition([TaskDefinition("lone", "other", "work", locks=("press",))])
        await asyncio.sleep(10)
        assert together(store, "w", "gate-press") == 1
        assert not await store.list_runs(kind="gate", is_open=True)
        await orchestrator.execute_workflow(lone, workflow_id="lone")
        store.before = lambda commits: None
        orchestrator.agents.mark_healthy("agent")
        await handle.result()
    assert shop.order == ["w.s0", "lone.lone", "w.s1"]


@in_virtual_time
async def test_what_is_not_wanted_any_more_gives_its_lock_back() -> None:
    """An attempt that was let in along and waits for its agent is cancelled: the lock is free for others."""
    store, shop = Watched(), Shop(concurrency=1)
    async with running(shop.agent, store=store) as orchestrator:
        first = await orchestrator.start_workflow(steps(PRESS, PRESS), workflow_id="first")
        await asyncio.sleep(0.5)
        busy = await orchestrator.start_workflow(steps({"params": {"seconds": 100}}), workflow_id="busy")
        await asyncio.sleep(10)
        assert (shop.inside, (await store.list_runs(kind="gate"))[0].status) == (["busy.s0"], "HELD")
        await first.abort("not needed")
        await asyncio.sleep(1)
        assert (await store.list_runs(kind="gate"))[0].status == "FREE"
        await busy.result()


@in_virtual_time
async def test_a_restart_in_the_middle_of_a_chain_finds_the_lock_with_who_had_it() -> None:
    store, shop = Watched(), Shop()
    first = Orchestrator(store=store, clock=virtual_clock())
    first.register_agent(shop.agent)
    await first.start_workflow(steps(*[PRESS] * 3), workflow_id="w")
    await asyncio.sleep(1.5)
    assert shop.inside == ["w.s1"]
    await first.stop(drain_seconds=0)
    again = Shop()
    async with running(again.agent, store=store) as second:
        await second.wait("w")
    assert again.order == ["w.s1", "w.s2"]
    assert await kinds(store, "gate-press/1") == ["permit_granted", "permit_released"] * 3
