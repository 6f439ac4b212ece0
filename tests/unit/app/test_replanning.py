"""``Orchestrator(replan=…)``: who is asked for another plan, over crashes and with everything a planner may do wrong."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agenticflow import (
    InvalidInput,
    Orchestrator,
    RetryPolicy,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    worker,
)
from agenticflow.orchestration.definition import Compensation
from agenticflow.orchestration.repair.planner import FailedRun, NewPlan, Plans, Replanner
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, virtual_clock

ONCE = RetryPolicy(max_attempts=1)
undone: list[int] = []


@worker("fail")
async def fail(value: object = None) -> object:
    raise ValueError("no luck")


@worker("say")
async def say(value: object = None) -> object:
    return value


@worker("undo")
async def undo(value: object = None) -> None:
    undone.append(1)


FLOW = WorkflowDefinition(
    [
        TaskDefinition("good", "say", params={"value": 1}, compensation=Compensation("undo")),
        TaskDefinition("bad", "fail", params={"value": "${size}"}, dependencies={"good"}, retry_policy=ONCE),
        TaskDefinition("after", "say", params={"value": "${bad}"}, dependencies={"bad"}),
    ],
    name="flow",
    context={"size": 3},
)
OTHER = {"replace": TaskDefinition("bad", "say", params={"value": 7}, dependencies={"good"})}


def orchestrating(plans: Replanner | Plans | None, store: MemoryStore | None = None) -> Orchestrator:
    orchestrator = Orchestrator(store=store or MemoryStore(), clock=virtual_clock(), replan=plans)
    for one in (fail, say, undo):
        orchestrator.register_worker(one)
    return orchestrator


async def events_of(orchestrator: Orchestrator, workflow_id: str) -> list[str]:
    engine = await orchestrator._running()
    return [event.event_type for event in await engine.store.read_page(f"workflow-{workflow_id}/1", 0, 1_000)]


@in_virtual_time
async def test_a_plan_lets_the_run_go_on_and_is_recorded_with_who_and_why() -> None:
    seen: list[FailedRun] = []

    async def planner(run: FailedRun) -> NewPlan:
        seen.append(run)
        await asyncio.sleep(30)
        return NewPlan([OTHER], "say it instead")

    async with orchestrating(planner) as orchestrator:
        assert await orchestrator.execute_workflow(FLOW, workflow_id="w") == "w"
        assert await orchestrator.wait("w") == {"after": 7}
        execution = await orchestrator.get_execution("w")
        assert execution.status == "COMPLETED"
        events = await events_of(orchestrator, "w")
        assert events.count("replan_requested") == events.count("workflow_modified") == 1
        assert "compensation_started" not in events
    [run] = seen
    assert (run.workflow_id, run.run_no, run.number, run.key) == ("w", 1, 1, "workflow-w/1#1")
    assert run.failed["bad"].message == "no luck"
    assert run.statuses == {"good": "COMPLETED", "bad": "FAILED"}
    assert run.definition.name == "flow"
    assert run.input == {"size": 3}


@in_virtual_time
async def test_without_a_plan_the_run_fails_and_undoes_as_it_would_have() -> None:
    async def planner(run: FailedRun) -> None:
        return None

    undone.clear()
    async with orchestrating(planner) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="no luck"):
            await orchestrator.execute_workflow(FLOW, workflow_id="w")
        assert undone == [1]
        events = await events_of(orchestrator, "w")
        assert events.index("replan_refused") < events.index("compensation_started")


async def raises(run: FailedRun) -> Any:
    raise RuntimeError("the model is down")


async def nonsense(run: FailedRun) -> Any:
    return 7


async def wrong(run: FailedRun) -> Any:
    return [{"add": TaskDefinition("x", "say", dependencies={"nowhere"})}]


async def unknown_agent(run: FailedRun) -> Any:
    return [{"add": TaskDefinition("x", "nobody")}]


@pytest.mark.parametrize(
    ("planner", "words"),
    [
        (raises, "RuntimeError: the model is down"),
        (nonsense, "the modifications are 7"),
        (wrong, "task 'x' depends on 'nowhere', which does not exist"),
        (unknown_agent, "task 'x' is for 'nobody', which is not registered here"),
    ],
    ids=["raises", "nonsense", "wrong", "unknown agent"],
)
@in_virtual_time
async def test_a_bad_plan_is_refused_with_reasons_and_told(
    planner: Plans, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with orchestrating(planner) as orchestrator:
            with pytest.raises(WorkflowExecutionError, match="no luck"):
                await orchestrator.execute_workflow(FLOW, workflow_id="w")
    assert "has no plan for workflow-w/1" in caplog.text
    assert words in caplog.text


@in_virtual_time
async def test_who_does_not_answer_in_time_keeps_no_run_waiting(caplog: pytest.LogCaptureFixture) -> None:
    is_cancelled = False

    async def planner(run: FailedRun) -> None:
        nonlocal is_cancelled
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            is_cancelled = True
            raise

    with caplog.at_level(logging.WARNING):
        async with orchestrating(Replanner(plans=planner, timeout_seconds=5, name="slow")) as orchestrator:
            with pytest.raises(WorkflowExecutionError, match="no luck"):
                await orchestrator.execute_workflow(FLOW, workflow_id="w")
    assert is_cancelled
    assert "replan:slow has not planned for workflow-w/1 in time" in caplog.text


@in_virtual_time
async def test_a_planner_is_asked_so_often_and_no_more() -> None:
    numbers: list[int] = []

    async def planner(run: FailedRun) -> Any:
        numbers.append(run.number)
        return [{"replace": TaskDefinition("bad", "fail", dependencies={"good"}, retry_policy=ONCE)}]

    async with orchestrating(Replanner(plans=planner, max_replans=2)) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(FLOW, workflow_id="w")
    assert numbers == [1, 2]


@in_virtual_time
async def test_it_plans_for_the_workflows_it_names() -> None:
    async def planner(run: FailedRun) -> Any:
        return [OTHER]

    async with orchestrating(Replanner(plans=planner, workflows=("another",))) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(FLOW)


@in_virtual_time
async def test_a_request_that_was_open_at_a_stop_is_asked_again_and_answered_once() -> None:
    store, keys = MemoryStore(), list[str]()

    async def hanging(run: FailedRun) -> Any:
        keys.append(run.key)
        await asyncio.sleep(3_600)

    async def planner(run: FailedRun) -> Any:
        keys.append(run.key)
        return [OTHER]

    first = orchestrating(hanging, store)
    await first.start_workflow(FLOW, workflow_id="w")
    while not keys:
        await asyncio.sleep(0.1)
    await first.stop()
    async with orchestrating(planner, store) as second:
        assert await second.wait("w") == {"after": 7}
    assert keys == ["workflow-w/1#1"] * 2


@in_virtual_time
async def test_a_restart_without_a_planner_waits_for_the_limit_and_fails() -> None:
    store, keys = MemoryStore(), list[str]()

    async def hanging(run: FailedRun) -> Any:
        keys.append(run.key)
        await asyncio.sleep(3_600)

    first = orchestrating(hanging, store)
    await first.start_workflow(FLOW, workflow_id="w")
    while not keys:
        await asyncio.sleep(0.1)
    await first.stop()
    async with orchestrating(None, store) as second:
        with pytest.raises(WorkflowExecutionError, match="no luck"):
            await second.wait("w")


@in_virtual_time
async def test_the_next_run_asks_again_and_a_sub_workflow_leaves_it_to_its_parent() -> None:
    asked: list[str] = []

    async def planner(run: FailedRun) -> Any:
        asked.append(run.key)
        return None if run.workflow_id == "w" else [{"replace": TaskDefinition("child", "say", params={"value": 5})}]

    async with orchestrating(planner) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(FLOW, workflow_id="w")
        handle = await orchestrator.resume_workflow("w")
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        outer = WorkflowDefinition([TaskDefinition("child", workflow=FLOW, retry_policy=ONCE)])
        await orchestrator.execute_workflow(outer, workflow_id="outer")
    assert asked == ["workflow-w/1#1", "workflow-w/2#1", "workflow-outer/1#1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"plans": 7}, "a replanner is given 7"),
        ({"timeout_seconds": 0}, "timeout_seconds of a replanner is 0"),
        ({"timeout_seconds": True}, "timeout_seconds of a replanner is True"),
        ({"max_replans": 0}, "max_replans of a replanner is 0"),
        ({"max_replans": 1_000}, "max_replans of a replanner is 1000"),
    ],
)
def test_a_replanner_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Replanner(**{"plans": raises, **options})
