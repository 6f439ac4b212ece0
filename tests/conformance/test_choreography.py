"""Agents that react to events, over every store: one reaction recorded for each event and agent, whatever dies in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agenticflow import Agent, AgenticEvent, EventBus, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.agents.choreography import ReactionContext, trace_causes
from agenticflow.app.engine import reacting
from agenticflow.communication.delivery.positions import Bookmark
from agenticflow.core.events import RecordedEvent
from agenticflow.errors import DefinitionError, InvalidInput, OutcomeUnknown, StoreUnavailable
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store

PATIENCE_SECONDS = 10


class World:
    """A store, and the programs that live on it one after the other."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._memory = MemoryStore()

    @asynccontextmanager
    async def life(self, *agents: Agent, bus: EventBus | None = None) -> AsyncIterator[Life]:
        store: Store = self._memory if self._file is None else await SQLiteStore.open(self._file, durability="normal")
        orchestrator = Orchestrator(bus or EventBus(), store=store)
        for agent in agents:
            orchestrator.register_agent(agent)
        await orchestrator.start()
        try:
            yield Life(orchestrator, store)
        finally:
            await orchestrator.stop(drain_seconds=0)
            if self._file is not None:
                await store.close()


class Life:
    def __init__(self, orchestrator: Orchestrator, store: Store) -> None:
        self.orchestrator = orchestrator
        self.store = store
        assert orchestrator.event_bus is not None
        self.bus = orchestrator.event_bus

    async def publish(self, event_type: str, **payload: object) -> AgenticEvent:
        event = AgenticEvent(event_type, payload)
        await self.bus.publish(event)
        return event

    async def events(self, event_type: str) -> list[RecordedEvent]:
        return [event async for event in self.store.read_all() if event.event_type == event_type]

    async def until(self, event_type: str, count: int) -> list[RecordedEvent]:
        """Return the events of a type once there are so many, and nothing is in work any more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := await self.events(event_type)) < count or not self.is_quiet:
                await asyncio.sleep(0.005)
        return found

    @property
    def is_quiet(self) -> bool:
        return all(not one.queued and not one.in_work for one in self.bus.statistics())

    async def quiet(self) -> None:
        """Return when everything that is recorded has been dealt with."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                last = await self.store.last_position()
                places = [one.position for one in self.bus.statistics()]
                if self.is_quiet and all(place is not None for place in places):
                    await asyncio.sleep(0.05)
                    if self.is_quiet and last == await self.store.last_position():
                        return
                await asyncio.sleep(0.005)


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "state.db" if request.param == "sqlite" else None)


def payers() -> list[Agent]:
    """Two agents that react to one event, and one that reacts to what the first emits."""
    till, stock, mail = Agent("till"), Agent("stock"), Agent("mail")

    @till.on("order.placed")
    async def pay(event: AgenticEvent) -> AgenticEvent:
        return AgenticEvent("order.paid", {"order_id": event.payload["order_id"]})

    @stock.on("order.*")
    def reserve(event: AgenticEvent, context: ReactionContext) -> None:
        if event.event_type == "order.placed":
            context.emit(AgenticEvent("stock.reserved", {"order_id": event.payload["order_id"]}))

    @mail.on("order.paid")
    @mail.on("stock.reserved")
    async def write(event: AgenticEvent) -> list[AgenticEvent]:
        return [AgenticEvent("mail.sent", {**event.payload, "about": event.event_type})]

    return [till, stock, mail]


async def test_an_agent_reacts_and_what_it_emits_is_reacted_to(world: World) -> None:
    async with world.life(*payers()) as life:
        placed = await life.publish("order.placed", order_id=7)
        mails = await life.until("mail.sent", 2)
        assert {mail.payload["about"] for mail in mails} == {"order.paid", "stock.reserved"}
        (paid,) = await life.events("order.paid")
        assert (paid.stream_id, paid.causation_id, paid.correlation_id) == ("reaction-till", placed.id, placed.id)
        assert (paid.actor_id, paid.depth) == ("till", 1)
        assert {(mail.actor_id, mail.depth, mail.correlation_id) for mail in mails} == {("mail", 2, placed.id)}
        facts = await life.events("agent_reacted")
        made = [
            (fact.payload["agent_id"], fact.payload["reacted_to_type"], fact.payload["emitted"])
            for fact in facts
            if "emitted" in fact.payload
        ]
        assert sorted(made) == [
            ("mail", "order.paid", 1),
            ("mail", "stock.reserved", 1),
            ("stock", "order.placed", 1),
            ("till", "order.placed", 1),
        ]
        # a reaction that emits nothing is recorded too
        assert len(facts) == 5


async def test_an_orchestrator_without_a_bus_has_its_agents_react(tmp_path: Path) -> None:
    heard: list[str] = []
    agent = Agent("watcher")

    @agent.on("task_completed")
    async def note(event: AgenticEvent) -> None:
        heard.append(str(event.payload["task_key"]))

    @agent.task("work")
    async def work() -> int:
        return 1

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.execute_workflow(WorkflowDefinition([TaskDefinition("a", "watcher", "work")]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while heard != ["a"]:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("point", failpoints.REACTION_POINTS)
@pytest.mark.parametrize("arrival", [1, 2, 3, 7])
async def test_a_crash_anywhere_leaves_one_reaction_and_one_emission(
    world: World, point: str, arrival: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        """Positions are as lost as a crash can make them: everything comes again."""

    monkeypatch.setattr(Bookmark, "save", lost)
    count = 0

    def die(arrived_at: str) -> None:
        nonlocal count
        count += arrived_at == point
        if arrived_at == point and count >= arrival:
            raise _Died

    orders = 4
    failpoints.watch(die)
    try:
        async with world.life(*payers()) as life:
            for order in range(orders):
                await life.publish("order.placed", order_id=order)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while count < arrival:
                    await asyncio.sleep(0.005)
    finally:
        failpoints.watch(None)
    for _ in range(2):  # the second life has nothing to do
        async with world.life(*payers()) as life:
            mails = await life.until("mail.sent", 2 * orders)
            await life.quiet()
            assert len(await life.events("agent_reacted")) == 5 * orders
            for event_type in ("order.paid", "stock.reserved"):
                numbers = [str(one.payload["order_id"]) for one in await life.events(event_type)]
                assert sorted(numbers) == [str(order) for order in range(orders)]
            assert len(mails) == len(await life.events("mail.sent")) == 2 * orders


class _Died(BaseException):
    """The process is gone."""


async def test_what_was_reacted_to_in_an_earlier_life_does_not_run_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        """No position is ever written."""

    monkeypatch.setattr(Bookmark, "save", lost)
    calls: list[object] = []

    def counter() -> Agent:
        agent = Agent("counter")

        @agent.on("n")
        async def count(event: AgenticEvent) -> None:
            calls.append(event.payload["n"])

        return agent

    async with world.life(counter()) as life:
        for n in range(5):
            await life.publish("n", n=n)
        await life.until("agent_reacted", 5)
    async with world.life(counter()) as life:
        await life.publish("n", n=5)
        await life.until("agent_reacted", 6)
    assert calls == [0, 1, 2, 3, 4, 5]


async def test_a_loop_of_agents_ends_and_is_reported(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ping, pong = Agent("ping"), Agent("pong")
    ping.on("ball.to_ping")(lambda event: AgenticEvent("ball.to_pong"))
    pong.on("ball.to_pong")(lambda event: AgenticEvent("ball.to_ping"))
    with caplog.at_level(logging.ERROR, "agenticflow.reactions"):
        async with world.life(ping, pong) as life:
            first = await life.publish("ball.to_ping")
            (reached,) = await life.until("reaction_limit_reached", 1)
            await life.quiet()
            assert len(await life.events("agent_reacted")) == reacting.MAX_DEPTH
            assert (reached.payload["depth"], reached.payload["limit"]) == (50, "depth")
            assert reached.payload["chain"] == ("ball.to_ping by pong", "ball.to_pong by ping") * 5
            assert reached.correlation_id == first.id
    assert "agents answer each other in a loop: … ball.to_ping by pong ← ball.to_pong by ping" in caplog.text


async def test_a_loop_that_spreads_ends_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reacting, "MAX_REACTIONS", 30)
    rabbit = Agent("rabbit")
    rabbit.on("rabbit.born")(lambda event: [AgenticEvent("rabbit.born"), AgenticEvent("rabbit.born")])
    async with world.life(rabbit) as life:
        await life.publish("rabbit.born")
        await life.until("reaction_limit_reached", 1)
        await life.quiet()
        assert len(await life.events("agent_reacted")) == 31
        ends = await life.events("reaction_limit_reached")
        assert {end.payload["limit"] for end in ends} == {"reactions"}
        assert len(ends) == 2 * 31 - 30


async def test_a_loop_through_workflows_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reacting, "MAX_DEPTH", 3)
    agent = Agent("restless")
    again = WorkflowDefinition([TaskDefinition("a", "restless", "work")], name="again")

    @agent.task("work")
    async def work() -> int:
        return 1

    @agent.on("workflow_completed")
    async def once_more(event: AgenticEvent, context: ReactionContext) -> None:
        await context.start_workflow(again)

    async with world.life(agent) as life:
        await life.orchestrator.execute_workflow(again, workflow_id="first")
        await life.until("reaction_limit_reached", 1)
        assert len(await life.events("workflow_completed")) == 4


async def test_an_agent_that_hears_everything_does_not_hear_its_own_reactions(world: World) -> None:
    agent = Agent("everything")
    agent.on("*")(lambda event: None)
    async with world.life(agent) as life:
        await life.publish("a")
        await life.publish("b.c")
        await life.until("agent_reacted", 2)
        await life.quiet()
        assert [one.payload["reacted_to_type"] for one in await life.events("agent_reacted")] == ["a", "b.c"]


async def test_all_functions_of_an_agent_that_match_make_one_reaction(world: World) -> None:
    agent = Agent("auditor")
    agent.on("order.*")(lambda event: AgenticEvent("seen.wide"))
    agent.on("order.placed")(lambda event: AgenticEvent("seen.narrow"))
    async with world.life(agent) as life:
        await life.publish("order.placed")
        await life.publish("order.item.added")
        (fact,) = await life.until("agent_reacted", 1)
        await life.quiet()
        assert fact.payload["patterns"] == ("order.*", "order.placed")
        assert len(await life.events("agent_reacted")) == 1
        assert (len(await life.events("seen.wide")), len(await life.events("seen.narrow"))) == (1, 1)


async def test_order_is_kept_for_each_stream(world: World) -> None:
    agent = Agent("ledger", concurrency=8)

    @agent.on("booked.*")
    async def book(event: AgenticEvent) -> AgenticEvent:
        await asyncio.sleep(0.001 * (int(str(event.payload["n"])) % 3))
        return AgenticEvent(f"noted.{event.event_type}", {"n": event.payload["n"]})

    async with world.life(agent) as life:
        for n in range(30):
            await life.publish("booked.x", n=n)
        notes = await life.until("noted.booked.x", 30)
        assert [note.payload["n"] for note in notes] == list(range(30))


async def test_agents_and_functions_may_come_after_the_start(world: World) -> None:
    early, late = Agent("early"), Agent("late")
    early.on("a")(lambda event: AgenticEvent("early.a"))
    late.on("a")(lambda event: AgenticEvent("late.a"))
    async with world.life(early) as life:
        await life.publish("a")
        await life.until("early.a", 1)
        life.orchestrator.register_agent(late)
        early.on("b")(lambda event: AgenticEvent("early.b"))
        await life.orchestrator.start()
        assert {one.pattern for one in life.bus.statistics()} == {"a | b", "a"}
        await life.publish("a")
        await life.publish("b")
        assert len(await life.until("late.a", 1)) == 1
        assert len(await life.until("early.a", 2)) == 2
        assert len(await life.until("early.b", 1)) == 1


async def test_events_wait_for_an_agent_that_takes_no_work(world: World) -> None:
    agent = Agent("sleeper")
    agent.on("a")(lambda event: AgenticEvent("b"))
    async with world.life(agent) as life:
        life.orchestrator.agents.stop("sleeper")
        await life.publish("a")
        await asyncio.sleep(0.2)
        assert await life.events("b") == []
        life.orchestrator.agents.start("sleeper")
        assert len(await life.until("b", 1)) == 1


async def test_a_function_that_fails_is_tried_again_and_then_its_event_is_a_dead_letter(world: World) -> None:
    agent = Agent("shaky")
    tries: list[str] = []

    @agent.on("wrong.*")
    async def react(event: AgenticEvent) -> object:
        tries.append(event.event_type)
        if event.event_type == "wrong.answer":
            return "no event"
        if event.event_type == "wrong.again":
            return event
        if len(tries) < 2:
            raise ConnectionError
        return AgenticEvent("fine")

    async with world.life(agent) as life:
        for event_type in ("wrong.once", "wrong.answer", "wrong.again"):
            await life.publish(event_type)
        await life.until("event_dead_lettered", 2)
        assert tries == ["wrong.once", "wrong.once", "wrong.answer", "wrong.again"]
        assert len(await life.events("fine")) == len(await life.events("agent_reacted")) == 1
        letters = await life.bus.dead_letters("reactions-shaky")
        assert [letter.event.event_type for letter in letters] == ["wrong.answer", "wrong.again"]


async def test_a_reaction_is_recorded_when_the_store_is_well_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    agent = Agent("patient")

    @agent.on("a")
    async def react(event: AgenticEvent) -> AgenticEvent:
        calls.append(event.id)
        return AgenticEvent("b")

    failures = [StoreUnavailable("the disk is away"), OutcomeUnknown("nobody knows")]
    async with world.life(agent) as life:
        commit = life.store.commit

        async def fail(wanted: Commit) -> Committed:
            if wanted.stream_id == "reaction-patient" and failures:
                raise failures.pop()
            return await commit(wanted)

        monkeypatch.setattr(life.store, "commit", fail)
        await life.publish("a")
        await life.until("b", 1)
        monkeypatch.undo()
        assert (len(calls), failures) == (1, [])
        assert len(await life.events("b")) == len(await life.events("agent_reacted")) == 1


async def test_what_takes_too_long_and_what_only_the_engine_records_become_dead_letters(world: World) -> None:
    agent = Agent("slow")

    @agent.on("long", timeout_seconds=0.01)
    async def wait(event: AgenticEvent) -> None:
        await asyncio.Event().wait()

    agent.on("false")(lambda event: AgenticEvent("agent_reacted"))
    async with world.life(agent) as life:
        await life.publish("false")
        await life.publish("long")
        await life.until("event_dead_lettered", 2)
        errors = [letter.error.type for letter in await life.bus.dead_letters("reactions-slow")]
        assert errors == ["InvalidInput", "TimeoutError"]
        assert await life.events("agent_reacted") == []


async def test_an_agent_with_an_unusual_id_has_a_subscription_too(world: World) -> None:
    agents = [Agent("a@b"), Agent("x" * 200), Agent("zoë")]
    for agent in agents:
        agent.on("a")(lambda event: None)
    async with world.life(*agents) as life:
        await life.publish("a")
        facts = await life.until("agent_reacted", 3)
        assert {fact.payload["agent_id"] for fact in facts} == {agent.agent_id for agent in agents}


async def test_an_event_published_twice_is_one_event_and_an_ephemeral_one_counts(world: World) -> None:
    agent = Agent("once")
    agent.on("a")(lambda event: None)
    async with world.life(agent) as life:
        event = AgenticEvent("a")
        await life.bus.publish(event)
        await life.bus.publish(event)
        await life.bus.publish(AgenticEvent("a"), durable=False)
        await life.until("agent_reacted", 2)
        await life.quiet()
        assert len(await life.events("agent_reacted")) == 2


async def test_one_trace_shows_orchestration_and_choreography(world: World) -> None:
    clerk, carrier = Agent("clerk"), Agent("carrier")
    shipping = WorkflowDefinition([TaskDefinition("ship", "carrier", "ship")], name="shipping")

    @clerk.task("check")
    async def check() -> str:
        return "good"

    @carrier.task("ship")
    async def ship() -> str:
        return "gone"

    @clerk.on("workflow_completed")
    async def tell(event: AgenticEvent) -> AgenticEvent | None:
        return AgenticEvent("order.accepted") if event.correlation_id == "order-1" else None

    @carrier.on("order.accepted")
    async def start(event: AgenticEvent, context: ReactionContext) -> None:
        await context.start_workflow(shipping)

    async with world.life(clerk, carrier) as life:
        await life.orchestrator.execute_workflow(
            WorkflowDefinition([TaskDefinition("check", "clerk", "check")], name="order"), workflow_id="order-1"
        )
        await life.publish("unrelated")
        await life.until("workflow_completed", 2)
        await life.until("agent_reacted", 3)
        trace = await trace_causes(life.store, "order-1")
        drawn = [f"{'  ' * one.depth}{one.event.event_type}" for one in trace.events]
        assert drawn == _EXPECTED
        assert not trace.is_cut
        assert (await trace_causes(life.store, "order-1", limit=3)).is_cut
        with pytest.raises(InvalidInput, match="limit is 0"):
            await trace_causes(life.store, "order-1", limit=0)


async def test_a_trace_goes_into_sub_workflows_and_not_in_circles(world: World) -> None:
    agent = Agent("agent")

    @agent.task("work")
    async def work() -> int:
        return 1

    inner = WorkflowDefinition([TaskDefinition("in", "agent", "work")], name="inner")
    outer = WorkflowDefinition([TaskDefinition("sub", workflow=inner)], name="outer")
    async with world.life(agent) as life:
        await life.orchestrator.execute_workflow(outer, workflow_id="o")
        trace = await trace_causes(life.store, "o")
        drawn = [(one.depth, one.event.event_type, one.event.correlation_id) for one in trace.events]
        assert drawn == [
            (0, "workflow_started", "o"),
            (1, "task_scheduled", "o"),
            (2, "workflow_started", "o~sub"),
            (3, "task_scheduled", "o~sub"),
            (4, "task_completed", "o~sub"),
            (4, "workflow_completed", "o~sub"),
            (2, "task_completed", "o"),
            (2, "workflow_completed", "o"),
        ]
        for mine, other in (("hen", "egg"), ("egg", "hen")):
            await life.bus.publish(AgenticEvent(mine, id=mine, causation_id=other, correlation_id="farm"))
        farm = await trace_causes(life.store, "farm")
        assert [(one.depth, one.event.id) for one in farm.events] == [(0, "hen"), (1, "egg")]


async def test_a_name_that_is_taken_is_reported(world: World, caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent("late")
    agent.on("a")(lambda event: None)
    async with world.life() as life:
        await life.bus.subscribe("x", lambda event: None, name="reactions-late")
        life.orchestrator.register_agent(agent)
        await life.orchestrator.start()
    assert "agent 'late' does not react to events" in caplog.text


_EXPECTED = [
    "workflow_started",
    "  task_scheduled",
    "    task_completed",
    "    workflow_completed",
    "      agent_reacted",
    "        order.accepted",
    "          agent_reacted",
    "            workflow_started",
    "              task_scheduled",
    "                task_completed",
    "                workflow_completed",
    "                  agent_reacted",
]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: None, "cannot be called with an event"),
        (lambda event, context, more: None, "cannot be called with an event"),
        ("text", "not a function"),
    ],
)
def test_what_cannot_be_called_with_an_event_is_refused(function: Callable[..., object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Agent("a").on("x")(function)


def test_wrong_patterns_and_time_limits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="nothing between two dots"):
        Agent("a").on("order..x")(lambda event: None)
    with pytest.raises(DefinitionError, match="timeout_seconds=0"):
        Agent("a").on("x", timeout_seconds=0)(lambda event: None)
