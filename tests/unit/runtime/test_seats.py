"""Performers work within their concurrency, in order; an agent's state says what it does, on a stream of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agenticflow import (
    Agent,
    AgentState,
    Orchestrator,
    PermanentError,
    RetryPolicy,
    StateMachine,
    StateTransition,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    worker,
)
from agenticflow.agents.events import NAMED_CHANGES
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, passes, running
from tests.unit.runtime.tasks import chain, parallel, single


class Sleeper:
    """An agent whose tasks take a second each, and who remembers how many ran at once."""

    def __init__(self, concurrency: int = 1) -> None:
        self.agent = Agent("agent", concurrency=concurrency)
        self.running = self.most = 0
        self.order: list[int] = []

        @self.agent.task("do")
        async def do(n: int) -> int:
            self.running += 1
            self.most = max(self.most, self.running)
            self.order.append(n)
            await asyncio.sleep(1)
            self.running -= 1
            return n


async def transitions(store: Store, agent_id: str = "agent") -> list[tuple[str, str, str]]:
    """Return what the agent's stream says: from, to, cause."""
    events = [event async for event in store.read_stream(f"agent-{agent_id}")]
    assert {event.event_type for event in events} <= {"agent_state_changed", *NAMED_CHANGES}
    payloads: list[Any] = [event.payload for event in events]
    return [(p["from_state"], p["to_state"], p["cause"]) for p in payloads]


WORKED = [("IDLE", "PROCESSING", "task_assigned"), ("PROCESSING", "IDLE", "task_completed")]


@pytest.mark.parametrize(("concurrency", "seconds"), [(1, 12), (3, 4), (12, 1), (50, 1)])
@in_virtual_time
async def test_no_more_run_at_once_than_the_agent_has_seats(concurrency: int, seconds: int) -> None:
    sleeper = Sleeper(concurrency)
    loop = asyncio.get_running_loop()
    async with running(sleeper.agent) as orchestrator:
        began = loop.time()
        await orchestrator.execute_workflow(parallel(12))
        assert loop.time() - began == pytest.approx(seconds, abs=0.01)
    assert sleeper.most == min(concurrency, 12)
    assert sleeper.order == list(range(12)), "first come, first served"


@in_virtual_time
async def test_seats_are_shared_by_all_runs() -> None:
    sleeper = Sleeper(2)
    async with running(sleeper.agent) as orchestrator:
        await asyncio.gather(*(orchestrator.execute_workflow(parallel(3)) for _ in range(4)))
    assert sleeper.most == 2
    assert len(sleeper.order) == 12


@in_virtual_time
async def test_an_engine_runs_no_more_at_once_than_it_was_told() -> None:
    sleeper = Sleeper(100)
    async with running(sleeper.agent, max_concurrency=5) as orchestrator:
        await orchestrator.execute_workflow(parallel(20))
    assert sleeper.most == 5


@pytest.mark.parametrize("concurrency", [1, 3])
@in_virtual_time
async def test_an_agent_is_processing_while_it_has_work(concurrency: int) -> None:
    store, sleeper = MemoryStore(), Sleeper(concurrency)
    async with running(sleeper.agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(parallel(3))
        await passes(0.5)
        assert sleeper.agent.get_state() is AgentState.PROCESSING
        await handle.result()
        assert sleeper.agent.get_state() is AgentState.IDLE
    recorded = await transitions(store)
    assert recorded == WORKED * (3 if concurrency == 1 else 1)


@in_virtual_time
async def test_an_agent_is_idle_between_attempts_and_in_error_after_the_last() -> None:
    store, agent = MemoryStore(), Agent("agent")
    seen: list[AgentState] = []

    @agent.task("do")
    async def do() -> None:
        seen.append(agent.get_state())
        raise OSError("no")

    async with running(agent, store=store) as orchestrator:
        policy = RetryPolicy(max_attempts=2, initial_delay_seconds=5, jitter=False)
        handle = await orchestrator.start_workflow(single(retry_policy=policy))
        await passes(2)
        assert agent.get_state() is AgentState.IDLE
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        await passes(1)
        assert agent.get_state() is AgentState.ERROR
        assert agent.handle_event("error_resolved")
        assert agent.get_state() is AgentState.IDLE
    assert seen == [AgentState.PROCESSING] * 2
    assert await transitions(store) == [
        ("IDLE", "PROCESSING", "task_assigned"),
        ("PROCESSING", "IDLE", "attempt_ended"),
        ("IDLE", "PROCESSING", "task_assigned"),
        ("PROCESSING", "ERROR", "task_failed"),
        ("ERROR", "IDLE", "error_resolved"),
    ]


@in_virtual_time
async def test_a_permanent_failure_is_terminal_at_once() -> None:
    store, agent = MemoryStore(), Agent("agent")

    @agent.task("do")
    async def do() -> None:
        raise PermanentError("no")

    async with running(agent, store=store) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(single())
        await passes(1)
    assert await transitions(store) == [
        ("IDLE", "PROCESSING", "task_assigned"),
        ("PROCESSING", "ERROR", "task_failed"),
    ]


@in_virtual_time
async def test_a_suspended_agent_takes_no_work_until_it_is_resumed() -> None:
    store, sleeper = MemoryStore(), Sleeper()
    agent = sleeper.agent
    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(chain(3))
        await passes(0.5)
        agent.suspend()
        await passes(100)
        assert sleeper.order == [0], "what is in work goes on, nothing else starts"
        assert agent.get_state() is AgentState.SUSPENDED
        agent.resume()
        await passes(0.1)
        assert sleeper.order == [0, 1]
        assert agent.get_state() is AgentState.PROCESSING
        await handle.result()
        assert agent.get_state() is AgentState.IDLE
    states = [(before, after) for before, after, _ in await transitions(store)]
    assert states[:3] == [("IDLE", "PROCESSING"), ("PROCESSING", "SUSPENDED"), ("SUSPENDED", "PROCESSING")]
    assert states[-1] == ("PROCESSING", "IDLE")


@in_virtual_time
async def test_an_agent_resumed_with_nothing_to_do_is_idle() -> None:
    """It was suspended at work, and the work ended meanwhile."""
    sleeper = Sleeper()
    async with running(sleeper.agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"n": 0}))
        await passes(0.5)
        sleeper.agent.suspend()
        await handle.result()
        sleeper.agent.resume()
        await passes(1)
        assert sleeper.agent.get_state() is AgentState.IDLE


@in_virtual_time
async def test_an_agent_suspended_before_it_was_registered_waits() -> None:
    sleeper = Sleeper()
    sleeper.agent.suspend()
    async with running(sleeper.agent) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"n": 7}))
        await passes(5)
        assert sleeper.order == []
        sleeper.agent.resume()
        assert await handle.result() == {"work": 7}


@in_virtual_time
async def test_work_told_to_stop_while_it_queues_never_starts() -> None:
    sleeper = Sleeper()
    loop = asyncio.get_running_loop()
    async with running(sleeper.agent) as orchestrator:
        first = await orchestrator.start_workflow(single(params={"n": 1}))
        queued = await orchestrator.start_workflow(single(params={"n": 2}))
        await passes(0.1)
        asked = loop.time()
        await queued.abort("not needed")
        with pytest.raises(WorkflowExecutionError, match="not needed"):
            await queued.result()
        assert loop.time() - asked < 0.1, "nothing ran, so there is nothing to wait for"
        await first.result()
    assert sleeper.order == [1]


@in_virtual_time
async def test_a_handler_that_is_missing_is_waited_for_visibly() -> None:
    agent = Agent("agent")
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(single())
        await passes(5)
        view = await handle.execution()
        assert view.waits_for == ["task 'work' waits for an agent or worker 'agent', which is not registered here"]
        orchestrator.register_agent(agent)
        await passes(5)
        view = await handle.execution()
        assert view.waits_for == ["task 'work' waits for 'agent' to get a handler for 'do'"]

        @agent.task("do")
        async def do() -> str:
            return "at last"

        assert await handle.result() == {"work": "at last"}
        assert (await handle.execution()).waits_for == []


@in_virtual_time
async def test_waiting_for_a_handler_does_not_keep_a_run_from_being_aborted() -> None:
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(parallel(5))
        await passes(5)
        assert (await handle.execution()).waits_for == [
            "task 't0', 't1', 't2' … waits for an agent or worker 'agent', which is not registered here"
        ]
        await handle.abort("nobody there")
        with pytest.raises(WorkflowExecutionError, match="nobody there"):
            async with asyncio.timeout(1):
                await handle.result()


@in_virtual_time
async def test_a_machine_of_its_own_moves_as_its_author_says() -> None:
    store = MemoryStore()
    machine = StateMachine(
        [
            StateTransition(AgentState.IDLE, AgentState.WAITING_RESOURCE, "task_assigned"),
            StateTransition(AgentState.WAITING_RESOURCE, AgentState.IDLE, "task_completed"),
        ]
    )
    agent = Agent("agent", state_machine=machine)

    @agent.task("do")
    async def do() -> str:
        return agent.get_state()

    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(single())
        assert await handle.result() == {"work": "WAITING_RESOURCE"}
    assert [after for _, after, _ in await transitions(store)] == ["WAITING_RESOURCE", "IDLE"]


@in_virtual_time
async def test_states_that_cannot_be_recorded_are_lost_and_nothing_else_is() -> None:
    store, sleeper = FlakyStore(), Sleeper()
    store.fail("commit", times=2, only=lambda commit: getattr(commit, "stream_id", "").startswith("agent-"))
    async with running(sleeper.agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(chain(4))
    recorded = await transitions(store)
    assert 0 < len(recorded) < 8


@in_virtual_time
async def test_workers_have_no_state_and_many_seats() -> None:
    most = 0
    at_work = 0

    @worker("sleeper")
    async def sleep(n: int) -> int:
        nonlocal most, at_work
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1)
        at_work -= 1
        return n

    definition = WorkflowDefinition([TaskDefinition(f"t{n}", "sleeper", params={"n": n}) for n in range(200)])
    async with running(sleep) as orchestrator:
        await orchestrator.execute_workflow(definition)
    assert most == 200


@pytest.fixture
async def idle() -> AsyncIterator[Orchestrator]:
    async with running() as orchestrator:
        yield orchestrator


async def test_load_is_told_per_performer(idle: Orchestrator) -> None:
    agent, go = Agent("agent", concurrency=2), asyncio.Event()

    @agent.task("do")
    async def do(n: int) -> None:
        await go.wait()

    idle.register_agent(agent)
    handle = await idle.start_workflow(parallel(5))
    assert idle._engine is not None
    await asyncio.sleep(0.01)
    assert idle._engine.dispatcher.load() == {"agent": (2, 3)}
    go.set()
    await handle.result()
    assert idle._engine.dispatcher.load() == {"agent": (0, 0)}
