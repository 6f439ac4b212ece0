"""What follows from a commit for other executions goes into its transaction, and nothing depends on that."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    Agent,
    AgenticFlowError,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time
from tests.unit.runtime.together import INNER, Watched, chain, each_failure


def counter(calls: list[str]) -> Agent:
    agent = Agent("agent")

    @agent.task("count")
    async def count(context: TaskContext) -> int:
        calls.append(context.workflow_id)
        await asyncio.sleep(0.5)
        return len(calls)

    return agent


async def run(definition: WorkflowDefinition, store: FlakyStore, calls: list[str]) -> None:
    """Run it to its good end."""
    orchestrator = Orchestrator(store=store)
    orchestrator.register_agent(counter(calls))
    async with orchestrator:
        await orchestrator.execute_workflow(definition, workflow_id="w")


@in_virtual_time
async def test_the_end_of_a_child_its_report_and_the_start_of_the_next_are_handed_over_together() -> None:
    store, calls = Watched(), list[str]()
    await run(chain(3), store, calls)
    assert calls == ["w~s0", "w~s1", "w~s2"]
    assert store.together[-3:] == [["w~s0", "w", "w~s1"], ["w~s1", "w", "w~s2"], ["w~s2", "w"]]


@in_virtual_time
async def test_executions_inside_each_other_end_together() -> None:
    definition = INNER
    for _ in range(3):
        definition = chain(1, definition)
    store, calls = Watched(), list[str]()
    await run(definition, store, calls)
    assert store.together[-1] == ["w~s0~s0~s0", "w~s0~s0", "w~s0", "w"]


@in_virtual_time
async def test_no_more_than_eight_are_handed_over_together() -> None:
    definition = INNER
    for _ in range(12):
        definition = chain(1, definition)
    store, calls = Watched(), list[str]()
    await run(definition, store, calls)
    assert max(map(len, store.together)) == 8


@in_virtual_time
async def test_of_many_children_that_start_at_once_none_is_first() -> None:
    tasks = [TaskDefinition(f"s{number}", workflow=INNER) for number in range(5)]
    store, calls = Watched(), list[str]()
    await run(WorkflowDefinition(tasks), store, calls)
    assert all("w" not in streams[:1] for streams in store.together)


@pytest.mark.parametrize("stream", ["w~s1", "w", "w~s2"])
@each_failure
@in_virtual_time
async def test_whichever_of_them_fails_everything_happens_once(
    error: AgenticFlowError, is_written: bool, stream: str
) -> None:
    """The second child ends, is reported, the third starts: one of the three commits fails."""
    store, calls = Watched(), list[str]()

    store.fail_one_of([f"workflow-{one}/1" for one in ("w~s1", "w", "w~s2")], f"workflow-{stream}/1", error, is_written)
    await run(chain(4), store, calls)
    assert store.failures == 1
    assert calls == ["w~s0", "w~s1", "w~s2", "w~s3"]
    events = [event.event_type async for event in store.read_stream("workflow-w/1")]
    assert (events.count("task_scheduled"), events.count("task_completed")) == (4, 4)


@in_virtual_time
async def test_nobody_is_shown_what_was_decided_along_and_is_not_committed() -> None:
    store, calls = Watched(), list[str]()
    store.delayed, store.delay_seconds = {"commit"}, 1.0
    orchestrator = Orchestrator(store=store)
    orchestrator.register_agent(counter(calls))
    shown: list[int] = []
    async with orchestrator:
        handle = await orchestrator.start_workflow(chain(3), workflow_id="w")
        ended = asyncio.ensure_future(handle.result())
        while not ended.done():
            await asyncio.wait([ended], timeout=0.3)
            state = await orchestrator.get_execution("w")
            told = sum(task.status == "COMPLETED" for task in state.tasks.values())
            recorded = [event.event_type async for event in store.read_stream("workflow-w/1")].count("task_completed")
            assert told <= recorded
            shown.append(told)
        await ended
    assert max(shown) == 3 > min(shown)


@in_virtual_time
async def test_a_child_whose_run_was_begun_by_somebody_else_is_started_in_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An earlier release let anybody use such ids."""
    store, calls = Watched(), list[str]()
    orchestrator = Orchestrator(store=store)
    orchestrator.register_agent(counter(calls))
    async with orchestrator:
        with monkeypatch.context() as earlier:
            earlier.setattr("agenticflow.app.engine.starting.check_new_id", lambda workflow_id: None)
            await orchestrator.execute_workflow(INNER, workflow_id="w~s1")
        with pytest.raises(WorkflowExecutionError, match="somebody else started"):
            await orchestrator.execute_workflow(chain(3), workflow_id="w")
    assert calls == ["w~s1", "w~s0"]
