"""Usage that the type checker must accept, and the types it must find. Checked by ``make types``, never run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from agenticflow import (
    Agent,
    AgentRegistry,
    AgentState,
    BackPressure,
    CapabilityMatcher,
    CircuitBreaker,
    EffectClass,
    EventBus,
    MemoryStore,
    Orchestrator,
    RetryPolicy,
    SchemaRegistry,
    StateMachine,
    StateManager,
    StateTransition,
    Steps,
    TaskContext,
    TaskDefinition,
    ToolResult,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowDefinition,
    WorkflowExecution,
    WorkflowHandle,
    WorkflowState,
    WorkflowStatus,
    circuit_breaker,
    get_tool_registry,
    load_workflow,
    open_store,
    register_tool,
    tool,
    worker,
    workflow,
)
from agenticflow.agents import (
    AgentHealth,
    AgentStatus,
    Candidate,
    CapabilityMatch,
    HashingEmbedder,
    HealthPolicy,
    LLMClient,
    MemoryBounds,
    Model,
    ModelRequest,
    ModelResponse,
)
from agenticflow.agents.asked.doors import RunOptions
from agenticflow.agents.loop.results import AgentResult, AgentUpdate
from agenticflow.agents.model import Delta, system, user
from agenticflow.app.catalogue import event_catalogue
from agenticflow.app.crew import AgentOrchestrator, CrewSession, QueryContext, Route, RoutingHelper
from agenticflow.app.execution import TaskView
from agenticflow.app.models import model_from
from agenticflow.communication import BusMonitor, DeadLetter, SubscriptionStatistics
from agenticflow.config import Settings
from agenticflow.core.assignment import Assigner
from agenticflow.core.catalogue import EventKind
from agenticflow.core.clocks import Clock, IdSource, ManualClock, VectorClock
from agenticflow.core.decider import Command, Decider, fold
from agenticflow.core.events import AgenticEvent, EventPredicate, TimeRange
from agenticflow.core.results import ErrorInfo, TaskResult
from agenticflow.core.tools import CallGiven
from agenticflow.core.types import Position, StreamId, TaskKey, WorkflowId
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, UsageError
from agenticflow.observability import Metrics, increment_counter, measure_latency
from agenticflow.orchestration import Approval, ApprovalRequest, Ask, Escalation, Reply, Step, WorkflowFunction
from agenticflow.resilience import BreakerPolicy, BreakerState, BreakerStatus, Budget, Rate
from agenticflow.runtime.resources import (
    PoolStatus,
    RateLimiter,
    ResourceManager,
    ResourcePool,
    list_breakers,
    resource_bounded,
    retry,
)
from agenticflow.storage import Store
from agenticflow.testing.virtual_time import run_virtual
from agenticflow.tools import Caller, Tool, ToolCall, ToolContext


def events_are_written_by_type_and_payload() -> None:
    event = AgenticEvent("order_placed", {"order_id": 7})
    assert_type(event.payload, Mapping[str, object])
    assert_type(event.with_causality("clerk"), AgenticEvent)
    assert_type(event.causality_vector, VectorClock)


def predicates_take_any_collection_of_types() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    EventPredicate(event_types={"order_placed"}, time_range=TimeRange(now - timedelta(hours=1), now))
    EventPredicate(event_types=["order_placed"], payload={"order.status": "paid"})


def ids_are_texts_with_a_name() -> None:
    def read(stream: StreamId, after: Position) -> str:
        return f"{stream} after {after}"

    assert_type(read(StreamId("workflow-1/1"), Position(3)), str)
    text: str = TaskKey("load")
    assert_type(WorkflowId(text), WorkflowId)


def a_clock_is_whatever_tells_the_time(clock: Clock, ids: IdSource) -> None:
    clock = ManualClock()
    assert_type(clock.now_ns(), int)
    assert_type(ids.next_id(), str)


def a_decider_keeps_the_type_of_its_state(decider: Decider[list[int]], command: Command) -> None:
    state = decider.initial("counter-1")
    assert_type(state, list[int])
    assert_type(fold(decider, state, ()), list[int])


def results_keep_their_type() -> None:
    assert_type(TaskResult.success(3).unwrap(), int)


def every_error_is_ours_and_says_more(error: ConcurrencyConflict) -> AgenticFlowError:
    assert_type(error.expected, int)
    usage: UsageError = error
    return usage


# --- agents and workers -------------------------------------------------------------------------------------------------


def an_agent_takes_any_collection_of_capabilities() -> None:
    Agent("analyst", {"sql"})
    Agent("analyst", ["sql", "charts"])
    Agent("analyst", ("sql",), role="reads numbers", concurrency=4)
    Agent("analyst", frozenset({"sql"}), state_machine=StateMachine([StateTransition(None, AgentState.ERROR, "x")]))
    Agent("analyst", breaker=BreakerPolicy(failure_threshold=3, counted_errors=("OSError",)))
    assert_type(Agent("analyst").get_state(), AgentState)
    assert_type(Agent("analyst").capabilities, frozenset[str])


def a_task_stays_the_function_it_was(agent: Agent) -> None:
    @agent.task("analyze")
    def analyze(rows: list[int], limit: int = 3) -> dict[str, int]:
        return {}

    @agent.task("wait", run_in="loop")
    async def wait(context: TaskContext) -> str:
        return context.effect_key

    assert_type(analyze([1], limit=2), dict[str, int])
    as_function: Callable[[list[int]], dict[str, int]] = analyze
    assert_type(as_function([1]), dict[str, int])

    async def call(context: TaskContext) -> None:
        assert_type(await wait(context), str)


def a_registry_is_what_engine_and_matcher_ask(orchestrator: Orchestrator) -> None:
    registry = AgentRegistry(policy=HealthPolicy(heartbeat_seconds=10), clock=ManualClock())
    assert_type(orchestrator.agents, AgentRegistry)
    assigner: Assigner = registry
    assert_type(assigner.choose("analyst", "query", frozenset(), {"analyst": (1, 0)}), str)
    assert_type(registry.register(Agent("analyst"), cost=2), Agent)
    assert_type(registry.find(role="analyst", capabilities=["sql"], is_available=True), list[Agent])
    assert_type(registry.status("analyst"), AgentStatus)
    assert_type(registry.heartbeat("analyst"), AgentHealth)
    assert_type(CapabilityMatcher(registry).find_best_agent({"sql"}), CapabilityMatch)
    CapabilityMatcher([Candidate(agent_id="analyst", capabilities=frozenset({"sql"}))]).rank(["sql"])


async def shared_state_is_modified_by_functions_of_both_kinds(store: Store) -> None:
    async def one_more(count: int | None) -> int:
        return (count or 0) + 1

    states = StateManager(store)
    changed = await states.modify_state("analyst", "count", one_more)
    assert_type(changed.version, int)
    _, version = await states.modify_state("analyst", "plan", lambda plan: [*(plan or ()), "step"])
    assert_type(version, int)
    async for change in states.history("analyst", "plan", from_version=2):
        assert_type(change.at, int)


async def a_memory_is_given_a_store_or_lent_one(store: Store) -> None:
    Agent("analyst", memory=MemoryStore(bounds=MemoryBounds(max_entries=10)))
    memory = MemoryStore(store, agent_id="analyst")
    assert_type(await memory.store("key", {"any": 1}, ttl_seconds=0.5), int)
    assert_type(await memory.delete("key", namespace="other"), bool)
    assert_type([entry.key for entry in await memory.list(prefix="k")], list[str])
    found = MemoryStore(store, agent_id="analyst", embedder=HashingEmbedder())
    assert_type([match.score for match in await found.search("a", min_score=0.5)], list[float])


async def a_model_answers_in_the_form_asked_for(model: Model) -> None:
    @dataclass
    class Forecast:
        degrees: float

    client = LLMClient(model, temperature=0.1)
    assert_type(await client.generate("words"), str)
    assert_type(await client.generate("a value", Forecast, temperature=0.0), Forecast)
    assert_type(await client.generate("several", list[Forecast]), list[Forecast])
    assert_type(await client.generate(user("a schema"), {"type": "object"}), object)
    request = ModelRequest(messages=(system("s"), user("u")))
    assert_type(await model.respond(request), ModelResponse)
    async for delta in model.stream(request):
        assert_type(delta, Delta)
    assert_type(model_from("openai:gpt-5"), Model)


def a_worker_keeps_its_signature() -> None:
    @worker("double", run_in="process", concurrency=2)
    def double(number: int, *, times: int = 2) -> float:
        return number * times

    assert_type(double(4, times=3), float)
    assert_type(double.name, str)

    @worker("later")
    async def later(number: int) -> int:
        return number

    async def call() -> None:
        assert_type(await later(3), int)

    Orchestrator().register_worker(double)
    Orchestrator().register_worker(later)


def a_handler_reads_its_context(context: TaskContext) -> None:
    assert_type(context["load"], object)
    assert_type(context.attempt, int)
    assert_type(context.deadline, int | None)
    context.logger.info("attempt %d", context.attempt)


# --- workflows ----------------------------------------------------------------------------------------------------------


def dependencies_are_any_collection_of_ids() -> WorkflowDefinition:
    return WorkflowDefinition(
        [
            TaskDefinition("a", "analyst", "analyze", {"rows": [1, 2]}),
            TaskDefinition("b", "analyst", "analyze", dependencies={"a"}),
            TaskDefinition("c", "analyst", "analyze", {}, ["a"], retry_policy=RetryPolicy(max_attempts=5)),
            TaskDefinition(
                "d", "double", params={"number": "${a.rows}"}, dependencies=("a", "b"), timeout_seconds=None
            ),
            TaskDefinition("e", "analyst", "analyze", dependencies=frozenset({"a"}), effect=EffectClass.AT_MOST_ONCE),
            TaskDefinition("f", "analyst", "analyze", for_each="${a}", max_parallel=2, when="${a} != null", join="any"),
            TaskDefinition.timer("t", 60, {"a"}),
            TaskDefinition.wait_for("g", "open", ["t"], total_timeout_seconds=3_600),
        ],
        name="orders",
        context={"limit": 3},
        output="${f}",
    )


def a_builder_builds_a_definition() -> None:
    assert_type(WorkflowBuilder("orders").add_step("reserve", "reserve_stock").build(), WorkflowDefinition)


async def a_run_is_started_and_looked_at(orchestrator: Orchestrator, definition: WorkflowDefinition) -> None:
    assert_type(await orchestrator.execute_workflow(definition), str)
    assert_type(await orchestrator.execute_workflow("orders", {"limit": 5}, workflow_id="w"), str)
    handle = await orchestrator.start_workflow(definition, ["any", "input"])
    assert_type(handle, WorkflowHandle)
    assert_type(await handle.result(), object)
    assert_type(await handle.status(), WorkflowStatus)
    execution = await handle.execution()
    assert_type(execution, WorkflowExecution)
    assert_type(execution.task_results, dict[str, TaskResult[object]])
    assert_type(execution.tasks["a"], TaskView)
    assert_type(execution.error, ErrorInfo | None)
    assert_type(await orchestrator.get_workflow_state("w"), WorkflowState)
    await orchestrator.signal("w", "open", {"by": "Ann"}, signal_id="s1")
    await orchestrator.resolve("w", "charge", "completed", value=3)
    async with Orchestrator(store="memory:", workflows=[definition]) as same:
        assert_type(same, Orchestrator)


# --- stores and the bus -------------------------------------------------------------------------------------------------


async def a_store_is_opened_by_url_and_read() -> None:
    store = await open_store("memory:")
    assert_type(store, Store)
    await store.append("order-7", [AgenticEvent("order_placed")], expected_version=0)
    async for event in store.read_stream("order-7"):
        assert_type(event.version, int)
    Orchestrator(EventBus(store=store))


async def handlers_of_the_bus_may_wait_or_not(bus: EventBus) -> None:
    async def hears(event: AgenticEvent) -> None: ...
    def hears_too(event: AgenticEvent) -> None: ...

    class Listener:
        async def hear(self, event: AgenticEvent) -> None: ...

    assert_type(await bus.subscribe("task_completed", hears), str)
    await bus.subscribe("*", hears_too)
    await bus.subscribe("order_*", Listener().hear)
    await bus.subscribe("order_*", lambda event: None)
    await bus.subscribe(
        "order.>",
        hears,
        name="billing",
        replay="all",
        concurrency=4,
        key=lambda event: event.payload["order_id"],
        retry_policy=RetryPolicy(max_attempts=5),
        back_pressure=BackPressure(starts_at=0.5, when_full="drop_oldest"),
        queue_size=10,
    )


async def a_bus_tells_how_it_is_doing(monitor: BusMonitor) -> None:
    bus = EventBus("memory", event_monitor=monitor, logger=logging.getLogger("bus"), schemas=SchemaRegistry())
    assert_type(bus.statistics(), list[SubscriptionStatistics])
    letters = await bus.dead_letters("billing", limit=10)
    assert_type(letters, list[DeadLetter])
    assert_type(await bus.retry_dead_letter(letters[0].letter_id), bool)
    await bus.discard_dead_letter(letters[0].letter_id, reason="a test")
    await bus.publish(letters[0].event, durable=False)


def the_catalogue_is_data() -> None:
    assert_type(event_catalogue(), tuple[EventKind, ...])


def schemas_are_classes_or_names_and_types() -> None:
    @dataclass
    class Placed:
        order_id: int

    schemas = SchemaRegistry()
    schemas.register("order_placed", 1, Placed)
    schemas.register("order_lost", 1, {"order_id": int, "by": str | None})
    assert_type(schemas.validate_and_migrate({"order_id": 7}, "1.0"), dict[str, object])


# --- measuring ----------------------------------------------------------------------------------------------------------


async def measured_functions_keep_their_types() -> None:
    @measure_latency
    def price(order: int, *, rate: float = 0.2) -> float:
        return order * rate

    @measure_latency("checkout_duration")
    async def checkout(order: int) -> str:
        return str(order)

    assert_type(price(7, rate=0.1), float)
    assert_type(await checkout(7), str)
    increment_counter("orders_placed", 1, {"kind": "new", "express": True})
    Orchestrator(telemetry=Metrics(), settings=Settings(store="memory:"))


def virtual_time_keeps_the_type_of_what_it_runs() -> None:
    async def main() -> int:
        return 3

    assert_type(run_virtual(main()), int)


# --- building -----------------------------------------------------------------------------------------------------------


def a_builder_stays_a_builder_and_branches_stay_branches() -> None:
    branch = Steps().add_step("a", "x", locks=["shelf"]).add_timer("t", 1)
    assert_type(branch, Steps)
    builder = WorkflowBuilder("w", timeout_seconds=5).add_parallel(branch).add_map("m", "x", for_each=[1, 2], enough=1)
    assert_type(builder, WorkflowBuilder)
    assert_type(builder.add_choice("c", {"${n} > 1": Steps().add_step("b", "x")}).build(), WorkflowDefinition)
    assert_type(load_workflow(Path("w.yaml")).definition, WorkflowDefinition)


# --- guarding -----------------------------------------------------------------------------------------------------------


async def guarded_functions_keep_their_types() -> None:
    def cached(order: int, *, rate: float = 0.2) -> float:
        return 0.0

    @circuit_breaker(
        failure_threshold=5, recovery_timeout=30, ignored_errors=(LookupError, "NotFound"), fallback=cached
    )
    def price(order: int, *, rate: float = 0.2) -> float:
        return order * rate

    @circuit_breaker("checkout")
    @retry(RetryPolicy(max_attempts=5))
    async def checkout(order: int) -> str:
        return str(order)

    @retry
    async def ask(order: int) -> str:
        return str(order)

    @resource_bounded(max_memory="1GB", max_cpu_time=timedelta(seconds=30), timeout="60s")
    async def crunch(order: int) -> list[int]:
        return [order]

    assert_type(price(7, rate=0.1), float)
    assert_type(await checkout(7), str)
    assert_type(await ask(7), str)
    assert_type(await crunch(7), list[int])
    async with (
        CircuitBreaker("payments", failure_threshold=5, recovery_timeout=30) as breaker,
        RateLimiter("payments", 5),
    ):
        assert_type(breaker.state, BreakerState)
    assert_type(list_breakers(), tuple[BreakerStatus, ...])


async def pools_know_what_they_lend() -> None:
    async def connect() -> bytearray:
        return bytearray()

    async def disconnect(connection: bytearray) -> None: ...

    pool = ResourcePool("connection", 10, connect, disconnect)
    assert_type(pool, ResourcePool[bytearray])
    async with pool.acquire() as connection:
        assert_type(connection, bytearray)
    async with ResourceManager() as resources:
        plain = resources.create_pool("numbers", "number", 3, lambda: 7, max_age_seconds=60)
        assert_type(plain, ResourcePool[int])
        assert_type((await resources.health_check()).pools, dict[str, PoolStatus])


async def an_inbox_has_requests(orchestrator: Orchestrator, context: TaskContext) -> None:
    page = await orchestrator.approvals.list("ada", limit=10)
    assert_type(page, Sequence[ApprovalRequest])
    assert_type(await orchestrator.approvals.answer(page[0].approval_id, {"amount": 3}, by="ada"), ApprovalRequest)
    assert_type(context.interrupt("Which?", key="title", response_schema={"type": "string"}), object)
    assert_type(context.interrupt("Sure?", on_rejection="return", quorum=2, assignees=["ada", "eve"]), Reply)
    assert_type(Ask.of("Sure?", key="a", escalation=[Escalation(60, ["eve"])]), Ask)
    TaskDefinition.ask("may", Approval("Pay?", assignees=["ada"], escalation=[Escalation(60, ["eve"])]))
    WorkflowBuilder("w").add_approval("sure", Approval("Go on?", deadline_seconds=60, on_deadline="reject"))


async def a_function_is_a_workflow(orchestrator: Orchestrator) -> None:
    @workflow
    async def inner(ctx: WorkflowContext, given: dict[str, int]) -> int:
        return given["n"]

    @workflow(name="order", version="2", timeout_seconds=60)
    async def order(ctx: WorkflowContext, given: object) -> str:
        step: Step = ctx.task("a", "double", {"n": 1}, effect="at_most_once", retry_policy=None)
        assert_type(step.key, str)
        await ctx.gather(step, ctx.child("c", inner, {"n": 3}), ctx.sleep("nap", 1))
        await ctx.agent("b", "warehouse", "reserve", capabilities={"stock"})
        winner = await ctx.first(ctx.signal("go"), ctx.approval("sure", "Sure?"))
        assert_type(ctx.now(), datetime)
        assert_type(ctx.random(), float)
        assert_type(ctx.patched("change"), bool)
        return str(winner.result())

    assert_type(inner, WorkflowFunction)
    assert_type(order.version, str)
    orchestrator.register_workflow(order)
    assert_type(await orchestrator.start_workflow(order, {"n": 1}), WorkflowHandle)


@tool
async def weather(city: str, days: int = 1) -> list[str]:
    """Tell the weather."""
    return [city] * days


@tool(effect="at_most_once", retries=0, timeout="5s", permissions=["money:send"], rate_limit=Rate(5))
def pay(cents: int, ctx: ToolContext) -> float:
    """Pay."""
    return float(cents)


@register_tool("shout", "Shout.", "text", effect=EffectClass.PURE)
def shout(text: str) -> str:
    return text.upper()


class Lookup(Tool):
    """Look something up."""

    name = "lookup"
    options = {"effect": "pure", "permissions": ["data:read"]}

    async def execute(self, params: Mapping[str, object], context: ToolContext) -> ToolResult:
        return ToolResult.success(params)


async def tools_keep_the_types_of_their_functions(context: TaskContext) -> None:
    assert_type(await weather("Oslo", days=2), list[str])
    assert_type(shout("x"), str)
    agent = Agent("clerk", tools=[weather, pay, shout, Lookup(), "by_name", lambda: None])
    result = await agent.invoke_tool("weather", {"city": "Oslo"}, caller=Caller(principal="ada"))
    assert_type(result, ToolResult)
    assert_type(result.value, object)
    calls: list[CallGiven] = [("weather", {"city": "Oslo"}), ToolCall("weather"), {"name": "weather"}]
    assert_type(await agent.invoke_tool_parallel(calls, max_concurrent=3), list[ToolResult])
    assert_type(await context.invoke_tool_parallel([("weather", {})]), list[ToolResult])
    assert_type(get_tool_registry().get("weather"), Tool)


@dataclass(kw_only=True)
class ShopContext(QueryContext):
    """A context with a field of its own."""

    currency: str = "EUR"


class Shop(AgentOrchestrator):
    """Says of what type its context is."""

    def make_context(self, data: Mapping[str, object]) -> ShopContext:
        return ShopContext(data=data)

    async def execute(self, query: str, session: CrewSession, context: ShopContext) -> str:
        price: int = await self.run_agent("clerk", session, context, key="price", timeout_seconds=5, priority=1)
        assert_type(await self.make_plan(), list[str])
        assert_type(await session.add_items([{"role": "user", "content": "more"}]), None)
        return f"{price} {context.currency} {self.steps.now():%Y}"


async def a_crew_is_started_or_run(agent: Agent) -> None:
    routing = RoutingHelper([Route("clerk", when=lambda context, output: output is None), Route(None)], first="clerk")
    async with Shop([agent], routing=routing, store="memory:") as shop:
        assert_type(shop, Shop)
        assert_type(await shop.start("tea", {"a": 1}, session_id="s", workflow_id="w"), WorkflowHandle)
        answer: str = await shop.run("tea")
        shop.register_guardrail("short", lambda context, value: len(value) < 9, agent="clerk", kinds=["input"])
        assert_type(routing.get_next_agent(QueryContext(), answer), str | None)


async def an_agent_is_run(agent: Agent) -> None:
    options: RunOptions = {"session": "ada", "max_turns": 3, "tool_choice": "none"}
    assert_type(await agent.run("go", **options), AgentResult)
    assert_type(agent.run_sync("go", timeout_seconds=5, workflow_id=None), AgentResult)
    stream = await agent.run_stream("go", budget=Budget(tokens=5), context={"user": "ada"})
    async for update in stream:
        assert_type(update, AgentUpdate)
    assert_type(await stream.result(), AgentResult)
