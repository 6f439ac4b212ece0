"""The event bus: who is interested is told, in order, and nobody's trouble is another's."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from agenticflow import Agent, AgenticEvent, EventBus, InvalidInput, Orchestrator, StoreUnavailable
from agenticflow.errors import ConfigurationError
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, passes, until, virtual_clock
from tests.unit.runtime.tasks import chain, single


class Listener:
    def __init__(self) -> None:
        self.heard: list[AgenticEvent] = []

    async def __call__(self, event: AgenticEvent) -> None:
        self.heard.append(event)

    @property
    def types(self) -> list[str]:
        return [event.event_type for event in self.heard]


def worker_agent() -> Agent:
    agent = Agent("agent")

    @agent.task("do")
    async def do(n: int = 0) -> int:
        return n

    return agent


def buses() -> list[EventBus]:
    return [EventBus(), EventBus("memory", store=MemoryStore())]


@pytest.mark.parametrize("has_store", [False, True])
@in_virtual_time
async def test_subscribers_are_told_in_order(has_store: bool) -> None:
    bus, listener, plain = buses()[has_store], Listener(), list[str]()
    await bus.subscribe("order_placed", listener)
    await bus.subscribe("order_placed", lambda event: plain.append(event.id))
    for number in range(20):
        await bus.publish(AgenticEvent("order_placed", {"n": number}, id=f"e{number}"))
        await bus.publish(AgenticEvent("order_refused"))
    await passes(1)
    assert [event.payload["n"] for event in listener.heard] == list(range(20))
    assert plain == [f"e{number}" for number in range(20)]
    await bus.stop()


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*", {"order_placed", "order_paid", "orders", "order.placed"}),
        ("order_*", {"order_placed", "order_paid"}),
        ("order_p?id", {"order_paid"}),
        ("order.*", {"order.placed"}),
        ("orders", {"orders"}),
        ("ORDERS", set()),
        ("order_p[al]*", {"order_placed", "order_paid"}),
        ("order.>", {"order.placed"}),
        (">", {"order_placed", "order_paid", "orders", "order.placed"}),
    ],
)
@in_virtual_time
async def test_patterns(pattern: str, matched: set[str]) -> None:
    bus, listener = EventBus(), Listener()
    await bus.subscribe(pattern, listener)
    for event_type in ("order_placed", "order_paid", "orders", "order.placed"):
        await bus.publish(AgenticEvent(event_type))
    await passes(1)
    assert set(listener.types) == matched
    await bus.stop()


@in_virtual_time
async def test_a_handler_that_fails_is_tried_again_then_given_up_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus, listener, calls = EventBus(), Listener(), list[int]()

    async def fails(event: AgenticEvent) -> None:
        calls.append(1)
        raise LookupError("oops")

    def fails_plainly(event: AgenticEvent) -> None:
        calls.append(1)
        raise LookupError("oops")

    await bus.subscribe("*", fails)
    await bus.subscribe("*", fails_plainly)
    await bus.subscribe("*", listener)
    for _ in range(3):
        await bus.publish(AgenticEvent("order_placed"))
    await passes(0)
    assert len(listener.heard) == 3, "while the others wait for their next attempt"
    await passes(60)
    assert len(calls) == 2 * 3 * 3
    assert len([record for record in caplog.records if "for good" in record.message]) == 6
    assert len(await bus.dead_letters()) == 6
    await bus.stop()


@in_virtual_time
async def test_who_has_unsubscribed_hears_nothing_more() -> None:
    bus, one, other = EventBus(), Listener(), Listener()
    first = await bus.subscribe("*", one)
    second = await bus.subscribe("*", other)
    assert first != second
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    await bus.unsubscribe(first)
    await bus.unsubscribe(first)
    await bus.unsubscribe("never heard of")
    await bus.publish(AgenticEvent("b"))
    await passes(1)
    assert (one.types, other.types) == (["a"], ["a", "b"])
    await bus.stop()


@in_virtual_time
async def test_a_handler_may_unsubscribe_itself_and_finish() -> None:
    bus, finished, mine = EventBus(), list[str](), list[str]()

    async def once(event: AgenticEvent) -> None:
        await bus.unsubscribe(mine[0])
        await asyncio.sleep(1)
        finished.append(event.event_type)

    mine.append(await bus.subscribe("*", once))
    await bus.publish(AgenticEvent("a"))
    await bus.publish(AgenticEvent("b"))
    await passes(10)
    assert finished == ["a"]
    await bus.stop()


@in_virtual_time
async def test_a_handler_may_stop_the_bus() -> None:
    bus, stopped = EventBus(), asyncio.Event()

    async def stop(event: AgenticEvent) -> None:
        await bus.stop()
        stopped.set()

    await bus.subscribe("*", stop)
    await bus.publish(AgenticEvent("a"))
    async with asyncio.timeout(1):
        await stopped.wait()


@in_virtual_time
async def test_a_full_queue_makes_the_publisher_wait() -> None:
    bus, heard, go = EventBus(), list[int](), asyncio.Event()

    async def slow(event: AgenticEvent) -> None:
        await go.wait()
        heard.append(int(str(event.payload["n"])))

    async def publish_all() -> None:
        for number in range(10):
            await bus.publish(AgenticEvent("a", {"n": number}))

    await bus.subscribe("*", slow, queue_size=3)
    publishing = asyncio.ensure_future(publish_all())
    await passes(1)
    assert not publishing.done()
    go.set()
    await publishing
    await passes(1)
    assert heard == list(range(10))
    await bus.stop()


@pytest.mark.parametrize("has_store", [False, True])
@in_virtual_time
async def test_who_leaves_with_a_full_queue_holds_up_nobody(has_store: bool) -> None:
    bus, listener = buses()[has_store], Listener()

    async def hangs(event: AgenticEvent) -> None:
        await asyncio.Event().wait()

    async def publish_all() -> None:
        for _ in range(10):
            await bus.publish(AgenticEvent("a"))

    stuck = await bus.subscribe("*", hangs, queue_size=3)
    await bus.subscribe("*", listener)
    publishing = asyncio.ensure_future(publish_all())
    await passes(1)
    await bus.unsubscribe(stuck)
    async with asyncio.timeout(1):
        await publishing
    await passes(1)
    assert len(listener.heard) == 10
    await bus.stop()


@in_virtual_time
async def test_events_of_the_engine_are_heard() -> None:
    bus, listener, done = EventBus(), Listener(), Listener()
    orchestrator = Orchestrator(bus, store="memory:", clock=virtual_clock())
    orchestrator.register_agent(worker_agent())
    await bus.subscribe("task_completed", done)
    await bus.subscribe("*", listener)
    async with orchestrator:
        workflow_id = await orchestrator.execute_workflow(chain(3))
        await passes(1)
    assert [event.payload["task_key"] for event in done.heard] == ["t0", "t1", "t2"]
    assert {event.correlation_id for event in done.heard} == {workflow_id}
    assert "agent_state_changed" in listener.types
    assert [kind for kind in listener.types if kind.startswith("workflow_")] == [
        "workflow_started",
        "workflow_completed",
    ]


@in_virtual_time
async def test_who_subscribes_later_hears_from_then_on() -> None:
    store = MemoryStore()
    bus, early, late = EventBus(store=store), Listener(), Listener()
    await bus.subscribe("*", early)
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    await bus.subscribe("*", late)
    await bus.publish(AgenticEvent("b"))
    await passes(1)
    assert (early.types, late.types) == (["a", "b"], ["b"])
    await bus.stop()


@in_virtual_time
async def test_with_a_store_publishing_is_recording() -> None:
    store = MemoryStore()
    bus = EventBus(store=store)
    event = AgenticEvent("order.placed", {"n": 1})
    await bus.publish(event)
    recorded = [recorded async for recorded in store.read_stream("topic-order")]
    assert recorded == [event]
    assert recorded[0].payload == {"n": 1}
    await bus.stop()


@in_virtual_time
async def test_a_bus_lent_to_an_orchestrator_is_free_again_after_it() -> None:
    """The store that came with the orchestrator goes with it; the next one brings its own."""
    bus = EventBus()
    for _ in range(2):
        listener = Listener()
        orchestrator = Orchestrator(bus, store="memory:", clock=virtual_clock())
        orchestrator.register_agent(worker_agent())
        async with orchestrator:
            await bus.subscribe("task_completed", listener)
            await orchestrator.execute_workflow(single())
            await passes(1)
        assert listener.types == ["task_completed"]
    after = Listener()
    await bus.subscribe("*", after)
    await bus.publish(AgenticEvent("still_alive"))
    await passes(1)
    assert after.types == ["still_alive"]
    await bus.stop()


@in_virtual_time
async def test_a_store_that_fails_for_a_while_delays_what_is_heard() -> None:
    store = FlakyStore()
    bus, listener = EventBus(store=store), Listener()
    store.fail("scan_page", times=3)
    await bus.subscribe("*", listener)
    store.fail("commit")
    with pytest.raises(StoreUnavailable):
        await bus.publish(AgenticEvent("lost"))
    for number in range(5):
        await bus.publish(AgenticEvent("a", {"n": number}))
    await until(lambda: len(listener.heard) == 5, seconds=60)
    await bus.stop()


@in_virtual_time
async def test_a_closed_store_is_the_end_and_stopping_twice_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    bus = EventBus(store=store)
    await bus.subscribe("*", Listener())
    await store.close()
    await passes(60)
    with pytest.raises(StoreUnavailable):
        await bus.publish(AgenticEvent("a"))
    await bus.stop()
    await bus.stop()


@in_virtual_time
async def test_starting_is_implied_and_harmless() -> None:
    store = MemoryStore()
    bus, listener = EventBus(store=store), Listener()
    await bus.subscribe("a", listener)
    await bus.start()
    await bus.start()
    await bus.publish(AgenticEvent("a"))
    await until(lambda: listener.heard)
    assert len(listener.heard) == 1, "a second start does not follow the store twice"
    await bus.stop()


@in_virtual_time
async def test_what_makes_no_sense_is_refused() -> None:
    bus = EventBus()
    nonsense: Any = 7
    with pytest.raises(ConfigurationError, match="the store of an event bus is an open store, not 'memory:'"):
        EventBus(store=cast(Any, "memory:"))
    with pytest.raises(InvalidInput, match="7 is no pattern"):
        await bus.subscribe(nonsense, Listener())
    with pytest.raises(InvalidInput, match="the handler for 'a' is a int, not a function"):
        await bus.subscribe("a", nonsense)
    for handler in (lambda: None, lambda event, other: None, lambda *, event: None):
        with pytest.raises(InvalidInput, match="the handler for 'a' cannot be called with an event alone"):
            await bus.subscribe("a", cast(Any, handler))
    with pytest.raises(InvalidInput, match="only AgenticEvent can be published, not int"):
        await bus.publish(nonsense)
    with pytest.raises(ConfigurationError, match="no event bus is known for 'carrier-pigeon'"):
        EventBus("carrier-pigeon")
