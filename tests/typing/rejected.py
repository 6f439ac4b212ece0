"""Usage that the type checker must refuse. ``# E: code`` marks each line it must complain about, and as what.

Kept out of `make types`; tests/typing/test_rejected.py compares the marks with what mypy says.
"""

from __future__ import annotations

from agenticflow import (
    Agent,
    AgentRegistry,
    CapabilityMatcher,
    CircuitBreaker,
    EventBus,
    MemoryStore,
    Orchestrator,
    RetryPolicy,
    StateManager,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowHandle,
    circuit_breaker,
    worker,
)
from agenticflow.agents import LLMClient, Model, ModelRequest
from agenticflow.agents.model import user
from agenticflow.core.clocks import Clock, VectorClock
from agenticflow.core.decider import Command, Decider, fold
from agenticflow.core.events import AgenticEvent, EventPredicate, TimeRange
from agenticflow.runtime.resources import RateLimiter, ResourcePool
from agenticflow.core.interrupts import Ask
from agenticflow.core.types import Position, StreamId, TaskKey, WorkflowId
from agenticflow.errors import ConcurrencyConflict


def a_task_key_is_no_stream(stream: StreamId, task: TaskKey, workflow: WorkflowId) -> None:
    stream = task  # E: assignment
    workflow = stream  # E: assignment


def a_plain_text_is_no_id() -> None:
    stream: StreamId = "workflow-1/1"  # E: assignment
    position: Position = 3  # E: assignment


def a_payload_has_names(event: AgenticEvent) -> None:
    AgenticEvent("order_placed", ["order_id", 7])  # E: arg-type
    AgenticEvent()  # E: call-arg


def a_fact_does_not_change(event: AgenticEvent) -> None:
    event.event_type = "order_refused"  # E: misc
    event.payload["order_id"] = 8  # E: index


def a_predicate_is_spelled_out() -> None:
    EventPredicate("clerk")  # E: call-arg
    EventPredicate(agent_id="clerk")  # E: call-arg
    TimeRange("yesterday")  # E: arg-type


def a_clock_tells_whole_nanoseconds() -> None:
    class Watch:
        def now_ns(self) -> float:
            return 0.5

    clock: Clock = Watch()  # E: assignment


def counts_are_numbers() -> None:
    VectorClock({"clerk": "two"})  # E: dict-item


def a_command_brings_its_moment() -> None:
    Command()  # E: call-arg
    Command(0)  # E: call-arg


def a_state_belongs_to_its_decider(decider: Decider[list[int]], state: str) -> None:
    fold(decider, state, ())  # E: misc


def a_conflict_names_both_versions() -> None:
    ConcurrencyConflict("order-7")  # E: call-arg


def an_agent_has_an_id_and_options_by_name() -> None:
    Agent()  # E: call-arg
    Agent(7)  # E: arg-type
    Agent("analyst", {"sql"}, "reads numbers")  # E: call-arg
    Agent("analyst", 3)  # E: arg-type
    Agent("analyst", concurrency="four")  # E: arg-type
    Agent("analyst", breaker="open")  # E: arg-type


def a_task_is_called_as_it_was_written(agent: Agent) -> None:
    @agent.task("analyze")
    def analyze(rows: list[int]) -> int:
        return len(rows)

    analyze("rows")  # E: arg-type
    analyze()  # E: call-arg
    text: str = analyze([1])  # E: assignment
    agent.task(analyze)  # E: arg-type


def a_registry_holds_agents(registry: AgentRegistry) -> None:
    registry.register("analyst")  # E: arg-type
    registry.find("analyst")  # E: call-arg
    registry.mark_unhealthy("analyst")  # E: call-arg
    CapabilityMatcher([Agent("analyst")])  # E: list-item
    CapabilityMatcher(registry).find_best_agent(7)  # E: arg-type


async def shared_state_is_modified_by_a_function_of_the_state(states: StateManager) -> None:
    await states.modify_state("analyst", "count", 7)  # E: arg-type
    await states.modify_state("analyst", lambda count: 1)  # E: call-arg, arg-type
    states.get_state("analyst", "count").version  # E: attr-defined
    StateManager("sqlite:///state.db")  # E: arg-type


async def a_memory_has_options_by_name(memory: MemoryStore) -> None:
    MemoryStore("sqlite:///state.db")  # E: arg-type
    Agent("analyst", memory={})  # E: arg-type
    await memory.store("key", 1, "namespace")  # E: call-arg
    await memory.store("key", 1, ttl_seconds="soon")  # E: arg-type
    MemoryStore(embedder="openai:text-embedding-3-small")  # E: arg-type
    await memory.search("a", "namespace")  # E: call-arg


def a_worker_is_called_as_it_was_written() -> None:
    @worker("double")
    def double(number: int) -> int:
        return 2 * number

    double("two")  # E: arg-type
    double(number=2, times=3)  # E: call-arg
    worker()  # E: call-arg
    worker("double", run_in=3)  # E: arg-type


def a_context_is_only_read(context: TaskContext) -> None:
    context["load"] = 3  # E: index
    number: int = context["load"]  # E: assignment


def a_task_definition_is_spelled_out() -> None:
    TaskDefinition()  # E: call-arg
    TaskDefinition("a", "agent", "do", {"n": 1}, {"b"}, 30)  # E: call-arg, arg-type
    TaskDefinition("a", "agent", "do", ["n"])  # E: arg-type
    TaskDefinition("a", "agent", "do", dependencies=7)  # E: arg-type
    TaskDefinition("a", "agent", "do", join="some")  # E: arg-type
    TaskDefinition("a", "agent", "do", retries=3)  # E: call-arg
    TaskDefinition("a", "agent", "do", retry_policy=3)  # E: arg-type
    RetryPolicy(max_attempts="many")  # E: arg-type


def a_definition_does_not_change(definition: WorkflowDefinition, task: TaskDefinition) -> None:
    definition.name = "other"  # E: misc
    task.timeout_seconds = 3  # E: misc
    WorkflowDefinition(task)  # E: arg-type


async def a_run_is_awaited(orchestrator: Orchestrator, handle: WorkflowHandle, definition: WorkflowDefinition) -> None:
    handle.result()  # E: unused-coroutine
    await orchestrator.start_workflow(definition.tasks)  # E: arg-type
    await orchestrator.start_workflow(definition, {}, "w")  # E: call-arg
    workflow: WorkflowHandle = await orchestrator.execute_workflow(definition)  # E: assignment
    await handle.signal(7)  # E: arg-type
    orchestrator.register_agent("analyst")  # E: arg-type
    Orchestrator("memory:")  # E: arg-type


async def a_handler_of_the_bus_takes_an_event(bus: EventBus) -> None:
    def takes_nothing() -> None: ...
    def takes_a_text(event: str) -> None: ...
    def answers(event: AgenticEvent) -> int:
        return 3

    await bus.subscribe("a", takes_nothing)  # E: arg-type
    await bus.subscribe("a", takes_a_text)  # E: arg-type
    await bus.subscribe("a", answers)  # E: arg-type
    await bus.publish("order_placed")  # E: arg-type


async def what_guards_calls_is_told_in_numbers(pool: ResourcePool[int]) -> None:
    CircuitBreaker()  # E: call-arg
    CircuitBreaker("payments", "five")  # E: arg-type
    circuit_breaker(5, 30)  # E: arg-type, call-arg
    RateLimiter("payments", rate="fast")  # E: arg-type
    ResourcePool("connection", 10)  # E: call-overload
    with CircuitBreaker("payments"):  # E: attr-defined
        pass
    connection: str = await pool.acquire().__aenter__()  # E: assignment


async def a_model_is_asked_for_what_can_be_a_form(client: LLMClient, model: Model) -> None:
    await client.generate("a value", 7)  # E: call-overload
    words: int = await client.generate("words")  # E: assignment
    LLMClient("openai:gpt-5")  # E: arg-type
    await model.respond("hello")  # E: arg-type
    ModelRequest((user("hello"),))  # E: call-arg


async def a_run_of_an_agent_has_known_options(agent: Agent, context: TaskContext) -> None:
    await agent.run("go", max_turn=3)  # E: call-arg
    await agent.run_stream("go", max_turns="three")  # E: arg-type
    agent.run_sync("go", tool_choice=5)  # E: arg-type
    context.interrupt("Sure?", quorum="two")  # E: call-overload
    Ask.of("Sure?", who="ada")  # E: call-arg
