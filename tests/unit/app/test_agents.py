"""The orchestrator's agents: one registry, fed by their work, recorded in their streams, remembering in its store."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    Agent,
    AgentNotFoundError,
    AgentRegistry,
    CapabilityMatcher,
    DefinitionError,
    EventBus,
    MemoryStore,
    Orchestrator,
    RetryPolicy,
    StateManager,
    StoreUnavailable,
    TaskContext,
    TaskDefinition,
    TemporaryError,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.agents import AgentHealth, AgentLife, CapabilityRegistry, HealthPolicy
from agenticflow.core.events import AgenticEvent
from agenticflow.storage.memory import MemoryStore as EventMemory

ONCE = RetryPolicy(max_attempts=1)


def flaky(agent_id: str) -> Agent:
    agent = Agent(agent_id, {"work"})

    @agent.task("fail")
    async def fail() -> None:
        raise TemporaryError("busy")

    @agent.task("work")
    async def work() -> str:
        return agent_id

    return agent


def one(task_type: str) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition("t", "ada", task_type, retry_policy=ONCE)])


async def test_the_registry_is_the_orchestrators() -> None:
    orchestrator = Orchestrator(store="memory:")
    ada = orchestrator.register_agent(flaky("ada"))
    assert orchestrator.get_agent("ada") is orchestrator.agents.get("ada") is ada
    with pytest.raises(AgentNotFoundError, match="no agent 'bob' is registered"):
        orchestrator.get_agent("bob")
    assert CapabilityMatcher(orchestrator.agents).find_best_agent({"work"}).agent_id == "ada"


async def test_a_registry_of_ones_own_brings_its_policy_and_its_words() -> None:
    words = CapabilityRegistry()
    words.define("play")
    agents = AgentRegistry(capabilities=words)
    orchestrator = Orchestrator(store="memory:", agents=agents)
    assert orchestrator.agents is agents
    with pytest.raises(DefinitionError, match="nobody has defined the capability 'work'"):
        orchestrator.register_agent(flaky("ada"))


async def test_work_that_fails_tells_on_its_agent_and_the_stream_keeps_it() -> None:
    store = EventMemory()
    agents = AgentRegistry(policy=HealthPolicy(degraded_after_failures=1, unhealthy_after_failures=2))
    bus = EventBus()
    heard: list[AgenticEvent] = []
    await bus.subscribe("agent_health_changed", heard.append)
    async with Orchestrator(bus, store=store, agents=agents) as orchestrator:
        orchestrator.register_agent(flaky("ada"))
        for _ in range(2):
            with pytest.raises(WorkflowExecutionError):
                await orchestrator.execute_workflow(one("fail"))
        assert agents.health("ada") is AgentHealth.UNHEALTHY
        agents.restart("ada", reason="mended")
        await orchestrator.execute_workflow(one("work"))
        assert agents.health("ada") is AgentHealth.HEALTHY
        while len(heard) < 3:
            await asyncio.sleep(0)
    assert [(event.payload["from_health"], event.payload["to_health"]) for event in heard] == [
        ("HEALTHY", "DEGRADED"),
        ("DEGRADED", "UNHEALTHY"),
        ("UNHEALTHY", "HEALTHY"),
    ]
    recorded = [event.event_type async for event in store.read_stream("agent-ada")]
    assert [kind for kind in recorded if kind not in ("agent_state_changed", "task_assigned")] == [
        "agent_health_changed",
        "agent_health_changed",
        "agent_stopped",
        "agent_health_changed",
        "agent_started",
    ]


async def test_a_drained_agent_ends_what_it_has_and_leaves_the_rest_until_it_is_started() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    ada = Agent("ada", {"work"})

    @ada.task("work")
    async def work(number: int) -> int:
        begun.set()
        await go.wait()
        return number

    tasks = [TaskDefinition(f"t{number}", "ada", "work", {"number": number}) for number in range(2)]
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(ada)
        run = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        await begun.wait()
        orchestrator.agents.drain("ada")
        begun.clear()
        go.set()
        while orchestrator.agents.status("ada").life is not AgentLife.STOPPED:
            await asyncio.sleep(0)
        assert not begun.is_set(), "the second has not begun"
        assert (await run.execution()).status == "RUNNING"
        orchestrator.agents.start("ada")
        assert await run.result() == {"t0": 0, "t1": 1}


async def test_an_agent_remembers_in_the_orchestrators_store_from_run_to_run() -> None:
    store = EventMemory()
    ada = Agent("ada", {"work"}, memory=MemoryStore())

    @ada.task("greet")
    async def greet(name: str) -> str:
        seen = [entry.key for entry in await ada.memory.list(prefix="guest ")]
        await ada.memory.store(f"guest {name}", True)
        return f"{name} after {len(seen)}"

    def hello(name: str) -> WorkflowDefinition:
        return WorkflowDefinition([TaskDefinition("t", "ada", "greet", {"name": name})], output="${t}")

    for number, name in enumerate(("Bob", "Eve")):
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_agent(ada)
            assert await (await orchestrator.start_workflow(hello(name))).result() == f"{name} after {number}"
        with pytest.raises(StoreUnavailable, match="the memory of 'ada' has no store now"):
            await ada.memory.retrieve("guest Bob")
    assert await MemoryStore(store, agent_id="ada").retrieve("guest Bob") is True


async def test_an_agent_that_comes_late_is_lent_a_place_too() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        ada = orchestrator.register_agent(Agent("ada", memory=MemoryStore()))
        assert await ada.memory.store("key", 1) == 1


async def test_a_handler_that_runs_again_modifies_shared_state_once() -> None:
    store = EventMemory()
    states = StateManager(store)
    ada = Agent("ada", {"work"}, concurrency=5)

    @ada.task("count")
    async def count(context: TaskContext) -> int:
        _, version = await states.modify_state("ada", "count", lambda n: (n or 0) + 1, command_id=context.effect_key)
        if context.attempt == 1:
            raise TemporaryError("the answer got lost")
        return version

    quick = RetryPolicy(max_attempts=3, initial_delay_seconds=0.001)
    tasks = [TaskDefinition(f"t{number}", "ada", "count", retry_policy=quick) for number in range(5)]
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(ada)
        answers = await (await orchestrator.start_workflow(WorkflowDefinition(tasks))).result()
    assert isinstance(answers, dict)
    assert sorted(answers.values()) == [1, 2, 3, 4, 5]
    assert await states.get_state("ada", "count") == (5, 5)
