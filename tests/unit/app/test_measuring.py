"""What an operator sees of a working engine: attempts, states, queues, commits, timers; and nothing when nobody listens."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from agenticflow import Agent, RetryPolicy, TaskDefinition, TemporaryError, WorkflowDefinition, open_store, worker
from agenticflow.observability import Metrics, get_metrics
from agenticflow.observability.registry import Spread
from agenticflow.runtime import host as host_module
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running
from tests.unit.runtime.tasks import chain, parallel, single


def sleeper(agent_id: str = "agent", *, role: str = "", concurrency: int = 1, seconds: float = 1.0) -> Agent:
    agent = Agent(agent_id, role=role, concurrency=concurrency)

    @agent.task("do")
    async def do(n: int = 0) -> int:
        await asyncio.sleep(seconds)
        return n

    return agent


def spread(metrics: Metrics, name: str, *labels: str) -> Spread:
    found = next(family for family in metrics.look() if family.name == name).series[labels]
    assert isinstance(found, Spread)
    return found


@in_virtual_time
async def test_how_long_attempts_took_by_type_and_outcome() -> None:
    metrics, agent = Metrics(), Agent("agent")

    @agent.task("flaky")
    async def flaky() -> str:
        await asyncio.sleep(2)
        if metrics.value("task_execution_duration", "flaky", "failed") < 2:
            raise TemporaryError("not yet")
        return "done"

    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=10, jitter=False)
    async with running(agent, telemetry=metrics) as orchestrator:
        await orchestrator.execute_workflow(single("flaky", retry_policy=policy))
    assert spread(metrics, "task_execution_duration", "flaky", "failed").total == 4
    assert spread(metrics, "task_execution_duration", "flaky", "succeeded").total == 2
    assert metrics.value("task_retries", "flaky") == 2
    assert metrics.value("events_recorded", "task_retry_scheduled") == 2


@in_virtual_time
async def test_a_time_limit_counts_once_even_when_the_handler_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    metrics, agent = Metrics(), Agent("agent")

    @agent.task("deaf")
    async def deaf() -> None:
        for _ in range(5):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                continue

    once = RetryPolicy(max_attempts=1)
    async with running(agent, telemetry=metrics) as orchestrator:
        definition = single("deaf", timeout_seconds=5, retry_policy=once)
        run = await orchestrator.start_workflow(definition, workflow_id="deaf-7")
        await passes(200)
        assert (await run.execution()).error is not None
    assert metrics.value("task_execution_duration", "deaf", "timed_out") == 1
    (told,) = [vars(record) for record in caplog.records if "does not stop" in record.getMessage()]
    assert [told[name] for name in ("workflow_id", "run_no", "task_key", "attempt")] == ["deaf-7", 1, "work", 1]


@in_virtual_time
async def test_agents_by_role_and_runs_by_status() -> None:
    metrics = Metrics()
    first, second = sleeper("agent", role="analyst"), sleeper("other", role="analyst")
    definition = WorkflowDefinition([TaskDefinition("a", "agent", "do"), TaskDefinition("b", "other", "do")])
    async with running(first, second, telemetry=metrics) as orchestrator:
        await orchestrator.execute_workflow(definition)
    assert metrics.value("agent_state_transitions", "analyst", "IDLE", "PROCESSING") == 2
    assert metrics.value("agent_state_transitions", "analyst", "PROCESSING", "IDLE") == 2
    assert metrics.value("run_state_transitions", "workflow", "NEW", "RUNNING") == 1
    assert metrics.value("run_state_transitions", "workflow", "RUNNING", "COMPLETED") == 1
    assert metrics.value("events_recorded", "workflow_completed") == 1


@in_virtual_time
async def test_what_is_in_work_and_what_queues_when_somebody_looks() -> None:
    metrics = Metrics()

    @worker("tool", concurrency=1)
    async def tool(n: int = 0) -> int:
        await asyncio.sleep(10)
        return n

    tasks = [TaskDefinition(f"w{n}", "tool") for n in range(3)]
    async with running(sleeper(concurrency=2, seconds=10), tool, telemetry=metrics) as orchestrator:
        first = await orchestrator.start_workflow(parallel(5))
        second = await orchestrator.start_workflow(WorkflowDefinition(tasks, name="tools"))
        await passes(1)
        assert metrics.value("tasks_in_flight", "agent") == 2
        assert metrics.value("tasks_queued", "agent") == 3
        assert metrics.value("tasks_in_flight", "worker") == 1
        assert metrics.value("tasks_queued", "worker") == 2
        await first.result()
        await second.result()
        assert metrics.value("tasks_in_flight", "agent") == 0
    assert metrics.value("tasks_queued", "worker") == 0


@in_virtual_time
async def test_what_was_in_work_when_it_stopped_is_not_in_work_any_more() -> None:
    metrics = Metrics()
    async with running(sleeper(seconds=1_000), telemetry=metrics) as orchestrator:
        await orchestrator.start_workflow(single("do"))
        await passes(1)
        assert metrics.value("tasks_in_flight", "agent") == 1
    assert metrics.value("tasks_in_flight", "agent") == 0


@in_virtual_time
async def test_a_restart_counts_what_it_took_up_and_goes_on_with_its_status() -> None:
    store, metrics = MemoryStore(), Metrics()
    async with running(sleeper(seconds=100), store=store) as orchestrator:
        run = await orchestrator.start_workflow(single("do"))
        await passes(1)
    async with running(sleeper(seconds=1), store=store, telemetry=metrics) as orchestrator:
        await orchestrator.wait(run.workflow_id)
    assert metrics.value("runs_recovered") == 1
    assert metrics.value("run_state_transitions", "workflow", "RUNNING", "COMPLETED") == 1
    assert metrics.value("run_state_transitions", "workflow", "NEW", "COMPLETED") == 0


@in_virtual_time
async def test_timers_and_commits() -> None:
    metrics = Metrics()
    definition = WorkflowDefinition([TaskDefinition("wait", delay_seconds=60)])
    async with running(telemetry=metrics) as orchestrator:
        await orchestrator.execute_workflow(definition)
    assert metrics.value("timer_lateness") == 1
    assert spread(metrics, "timer_lateness").total < 0.01
    commits = spread(metrics, "store_commit_events")
    assert commits.count == metrics.value("store_commit_duration")
    events = sum(
        value
        for family in metrics.look()
        if family.name == "events_recorded"
        for value in family.series.values()
        if isinstance(value, float)
    )
    assert commits.total == events


async def test_commits_share_transactions(tmp_path: Path) -> None:
    metrics = Metrics()
    store = await open_store(f"sqlite:///{tmp_path}/state.db")
    agent = sleeper(concurrency=50, seconds=0)
    try:
        async with running(agent, store=store, telemetry=metrics) as orchestrator:
            await asyncio.gather(*(orchestrator.execute_workflow(chain(3)) for _ in range(50)))
        assert 0 < metrics.value("store_transactions") < metrics.value("store_commit_duration")
    finally:
        await store.close()


@in_virtual_time
async def test_nobody_listens_by_default() -> None:
    before = get_metrics().value("task_execution_duration", "do", "succeeded")
    async with running(sleeper()) as orchestrator:
        await orchestrator.execute_workflow(single("do"))
    assert get_metrics().value("task_execution_duration", "do", "succeeded") == before


@in_virtual_time
async def test_labels_never_carry_ids() -> None:
    def labels() -> set[str]:
        return {label for family in metrics.look() for series in family.series for label in series}

    metrics = Metrics()
    async with running(sleeper("agent-with-an-id-7", role="analyst"), telemetry=metrics) as orchestrator:
        before = labels()  # the breakers and bulkheads of the process, which other tests have opened
        definition = WorkflowDefinition([TaskDefinition("task-17", "agent-with-an-id-7", "do")], name="of-this-name")
        await orchestrator.execute_workflow(definition, workflow_id="workflow-of-9")
        added = labels() - before
    assert "do" in added
    assert not [label for label in added if re.search(r"\d|of-this-name", label)]


async def test_a_long_history_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(host_module, "ADVISED_RUN_EVENTS", 30)
    with caplog.at_level(logging.WARNING, "agenticflow.engine"):
        async with running(sleeper(seconds=0)) as orchestrator:
            run = await orchestrator.start_workflow(chain(30), workflow_id="long")
            await run.result()
    told = [record.getMessage() for record in caplog.records if "events; split it" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("workflow-long/1 has 3")
