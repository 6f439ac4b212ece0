"""A bus and a store: whose events are told, what a failing store costs, and two stores that do not belong together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from agenticflow import (
    AgenticEvent,
    BackPressure,
    BoundExceeded,
    EventBus,
    InvalidInput,
    Orchestrator,
    RetryPolicy,
    SchemaRegistry,
)
from agenticflow.communication import DeadLetter
from agenticflow.communication.delivery.feed import Feed
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import ConfigurationError, CorruptStore, PermanentError
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.app.test_event_bus import Listener, worker_agent
from tests.unit.runtime.engine import in_virtual_time, passes, until, virtual_clock
from tests.unit.runtime.tasks import single

ONCE = RetryPolicy(max_attempts=1)


class Counter:
    """A monitor that counts, and fails on request."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.is_broken = False

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.is_broken:
            raise LookupError("the monitor is out of order")

    def event_published(self, event: AgenticEvent) -> None:
        self.count("published")

    def event_delivered(self, event: AgenticEvent, subscription: str) -> None:
        self.count(f"delivered to {subscription}")

    def delivery_failed(self, event: AgenticEvent, subscription: str, error: ErrorInfo, attempt: int) -> None:
        self.count(f"attempt {attempt} failed")

    def event_dead_lettered(self, letter: DeadLetter) -> None:
        self.count(f"dead in {letter.subscription}")


def fails(event: AgenticEvent) -> None:
    raise LookupError("oops")


# --- whose store ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_bus_on_another_store_than_the_orchestrator_is_an_error() -> None:
    bus = EventBus(store=MemoryStore())
    orchestrator = Orchestrator(bus, store=MemoryStore(), clock=virtual_clock())
    with pytest.raises(ConfigurationError, match="the event bus has another store than the orchestrator"):
        await orchestrator.start()
    await orchestrator.stop()


@in_virtual_time
async def test_a_bus_and_its_orchestrator_may_share_a_store() -> None:
    store, listener = MemoryStore(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("task_completed", listener)
    orchestrator = Orchestrator(bus, clock=virtual_clock())
    orchestrator.register_agent(worker_agent())
    async with orchestrator:
        await orchestrator.execute_workflow(single())
        await passes(1)
    assert listener.types == ["task_completed"]


@in_virtual_time
async def test_a_durable_subscription_may_be_there_before_the_orchestrator_brings_its_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    for expected in (["task_completed"], ["task_completed"]):
        bus, listener = EventBus(), Listener()
        await bus.subscribe("task_completed", listener, name="billing", replay="all")
        assert "keeps and replays nothing until the bus has a store" in caplog.text
        orchestrator = Orchestrator(bus, store=store, clock=virtual_clock())
        orchestrator.register_agent(worker_agent())
        async with orchestrator:
            await orchestrator.execute_workflow(single())
            await passes(1)
        assert listener.types == expected, "each hears of the run of its own time only"


@in_virtual_time
async def test_nobody_but_the_bus_writes_into_its_streams() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidInput, match="'bus-subscription-billing' belongs to the engine"):
        await store.append("bus-subscription-billing", [AgenticEvent("a")])


# --- a store that fails ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_dead_letter_waits_until_the_store_takes_it() -> None:
    store = FlakyStore()
    bus = EventBus(store=store)
    await bus.subscribe("a", fails, name="billing", retry_policy=ONCE)
    store.fail("commit", times=3, only=lambda commit: getattr(commit, "stream_id", "") == "bus-deadletter-billing")
    await bus.publish(AgenticEvent("a"))
    await passes(2)
    assert bus.statistics()[0].dead == 0
    assert bus.statistics()[0].in_work == 1
    await passes(10)
    assert bus.statistics()[0].dead == 1
    assert len(await bus.dead_letters()) == 1
    await bus.stop()


@in_virtual_time
async def test_what_no_store_takes_is_kept_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    bus, listener = EventBus(store=MemoryStore()), Listener()
    subscription = await bus.subscribe("a", fails, retry_policy=ONCE)
    event = AgenticEvent("a", {"socket": object()})
    await bus.publish(event, durable=False)
    await passes(1)
    (letter,) = await bus.dead_letters(subscription)
    assert letter.letter_id == "memory-1"
    assert letter.event is event
    assert "has no place in the store" in caplog.text
    assert not await bus.retry_dead_letter("memory-1")
    await bus.discard_dead_letter("memory-1")
    assert await bus.dead_letters() == []
    assert listener.heard == []
    await bus.stop()


@in_virtual_time
async def test_a_position_that_cannot_be_saved_is_saved_later() -> None:
    store, first, second = FlakyStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", first, name="billing")
    store.fail("commit", times=2, only=lambda commit: getattr(commit, "stream_id", "").startswith("bus-subscription"))
    await bus.publish(AgenticEvent("a"))
    await passes(5)
    assert store.failures == 2
    # the process dies here: nothing is written down any more
    store.fail("commit", times=100)
    await bus.stop()
    store.heal()
    again = EventBus(store=store)
    await again.subscribe("a", second, name="billing")
    await passes(5)
    assert (len(first.heard), second.heard) == (1, [])
    await again.stop()


@in_virtual_time
async def test_a_crash_repeats_at_most_what_half_a_second_brought() -> None:
    store, first, second = FlakyStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", first, name="billing")
    for number in range(3):
        await bus.publish(AgenticEvent("a", {"n": number}))
        await passes(1)
    for number in range(3, 5):
        await bus.publish(AgenticEvent("a", {"n": number}))
    await passes(0.1)
    store.fail("commit", times=100)
    await bus.stop()
    store.heal()
    again = EventBus(store=store)
    await again.subscribe("a", second, name="billing")
    await passes(1)
    assert [event.payload["n"] for event in first.heard] == [0, 1, 2, 3, 4]
    assert [event.payload["n"] for event in second.heard] == [3, 4]
    await again.stop()


@in_virtual_time
async def test_of_many_events_a_crash_repeats_a_bounded_number() -> None:
    store, first, second = FlakyStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", first, name="billing")
    for number in range(1_000):
        await bus.publish(AgenticEvent("a", {"n": number}))
        await asyncio.sleep(0)
    await until(lambda: len(first.heard) == 1_000)
    await passes(0.1)
    store.fail("commit", times=100)
    await bus.stop()
    store.heal()
    again = EventBus(store=store)
    await again.subscribe("a", second, name="billing")
    await passes(1)
    assert len(second.heard) < 2 * 200
    await again.stop()


@in_virtual_time
async def test_a_lost_snapshot_costs_repetitions_and_no_event() -> None:
    store, first, second = MemoryStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", first, name="billing")
    await bus.publish(AgenticEvent("a", {"n": 0}))
    await passes(1)
    await bus.stop()
    bus = EventBus(store=store)
    await bus.subscribe("a", first, name="billing")
    await bus.publish(AgenticEvent("a", {"n": 1}))
    await passes(1)
    store._snapshots.clear()
    again = EventBus(store=store)
    await again.subscribe("a", second, name="billing")
    await passes(1)
    assert [event.payload["n"] for event in second.heard] == [1], "the last clean stop is a fact"
    await again.stop()
    await bus.stop()


@in_virtual_time
async def test_a_busy_subscription_does_not_fill_the_store() -> None:
    store, listener = MemoryStore(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", listener, name="billing")
    for _ in range(50):
        await bus.publish(AgenticEvent("a"))
        await passes(1)
    await bus.stop()
    kept = [event.event_type async for event in store.read_stream("bus-subscription-billing")]
    assert kept == ["subscription_started", "subscription_advanced"]


@in_virtual_time
async def test_a_position_that_is_damaged_is_an_error_and_not_a_guess() -> None:
    store = MemoryStore()
    bus = EventBus(store=store)
    await bus.subscribe("a", Listener(), name="billing")
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    await bus.stop()
    row = store._snapshots["bus-subscription-billing"]
    store._snapshots["bus-subscription-billing"] = msgspec.structs.replace(row, data=b"\xc1")
    with pytest.raises(CorruptStore, match="the position of 'bus-subscription-billing' is damaged"):
        await bus.subscribe("a", Listener(), name="billing")
    assert bus.statistics() == [], "who could not begin is not there"
    await bus.stop()


@in_virtual_time
async def test_history_is_read_when_the_store_can_be_read_again() -> None:
    store, listener = FlakyStore(), Listener()
    bus = EventBus(store=store)
    await bus.publish(AgenticEvent("a"))
    await bus.subscribe("noise", Listener())
    await passes(1)
    store.fail("scan_page", times=3)
    await bus.subscribe("a", listener, replay="all")
    await until(lambda: listener.heard, seconds=60)
    await bus.stop()


@in_virtual_time
async def test_who_cannot_read_history_for_good_is_told_nothing_and_the_others_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, stopped, other = FlakyStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", other)
    await passes(1)
    store.fail("scan_page", error=CorruptStore("page 7 is damaged"))
    await bus.subscribe("a", stopped, replay="all")
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert (stopped.heard, len(other.heard)) == ([], 1)
    assert "is not told any more: page 7 is damaged" in caplog.text
    await bus.stop()


@in_virtual_time
async def test_an_event_newer_than_the_program_becomes_a_dead_letter_and_the_next_is_delivered() -> None:
    store, live, replaying = MemoryStore(), Listener(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", live, name="live")
    await passes(1)
    await store.commit(Commit(stream_id="topic-a", events=[NewEvent("a", b"\x80", 1, schema_version=9)]))
    await bus.publish(AgenticEvent("a", {"n": 2}))
    await bus.subscribe("a", replaying, replay="all", name="replaying")
    await passes(1)
    assert [event.payload["n"] for event in live.heard] == [2]
    assert [event.payload["n"] for event in replaying.heard] == [2]
    assert {letter.subscription for letter in await bus.dead_letters()} == {"live", "replaying"}
    first = (await bus.dead_letters("live"))[0]
    assert (first.error.type, first.event.id, first.attempts) == ("PermanentError", "topic-a@1", 0)
    with pytest.raises(PermanentError, match="was written in version 9"):
        await bus.retry_dead_letter(first.letter_id)
    await bus.discard_dead_letter(first.letter_id)
    assert await bus.dead_letters("live") == []
    await bus.stop()


@in_virtual_time
async def test_a_store_that_is_damaged_ends_the_telling_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    store, listener = FlakyStore(), Listener()
    bus = EventBus(store=store)
    store.fail("scan_page", error=CorruptStore("page 7 is damaged"))
    await bus.subscribe("a", listener)
    await passes(1)
    assert "subscribers are not told any more: page 7 is damaged" in caplog.text
    store.heal()
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    await bus.start()
    await passes(1)
    assert len(listener.heard) == 1, "whoever mends it may start the bus again, and nothing was missed"
    await bus.stop()


@in_virtual_time
async def test_the_place_of_a_subscription_moves_on_while_nothing_concerns_it() -> None:
    store, listener = MemoryStore(), Listener()
    bus = EventBus(store=store)
    await bus.subscribe("a", listener, name="billing")
    await bus.publish(AgenticEvent("a"))
    for _ in range(20):
        await bus.publish(AgenticEvent("noise"))
    await passes(1)
    last = await store.last_position()
    assert bus.statistics()[0].position == last, "it need not look at them again after a restart"
    await bus.stop()


# --- policies -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_publishers_of_recorded_events_wait_for_slow_subscribers_too() -> None:
    bus, gate, clock = EventBus(store=MemoryStore()), asyncio.Event(), asyncio.get_running_loop()

    async def slow(event: AgenticEvent) -> None:
        await gate.wait()

    await bus.subscribe("a", slow, queue_size=5, back_pressure=BackPressure(max_delay_seconds=4))
    await passes(1)
    for _ in range(6):
        await bus.publish(AgenticEvent("a"))
        await passes(0)
    started = clock.time()
    await bus.publish(AgenticEvent("a"))
    assert clock.time() - started == pytest.approx(4)
    gate.set()
    await passes(1)
    started = clock.time()
    await bus.publish(AgenticEvent("a"))
    assert clock.time() == started
    await bus.stop()


@in_virtual_time
async def test_a_handler_that_publishes_to_itself_does_not_wait_for_itself() -> None:
    bus, loop = EventBus(), asyncio.get_running_loop()
    calls = 0

    async def echo(event: AgenticEvent) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            for _ in range(10):
                await bus.publish(AgenticEvent("a"))

    await bus.subscribe("a", echo, queue_size=4)
    await bus.publish(AgenticEvent("a"))
    await until(lambda: calls == 5)
    assert loop.time() == 0
    assert len(await bus.dead_letters()) == 6, "what did not fit is not lost"
    await bus.stop()


@in_virtual_time
async def test_of_several_publishers_all_get_their_turn() -> None:
    bus, heard = EventBus(), list[tuple[object, object]]()

    async def slow(event: AgenticEvent) -> None:
        await asyncio.sleep(0.1)
        heard.append((event.payload["who"], event.payload["n"]))

    async def publish(who: int) -> None:
        for number in range(10):
            await bus.publish(AgenticEvent("a", {"who": who, "n": number}))

    await bus.subscribe("a", slow, queue_size=4)
    await asyncio.gather(*(publish(who) for who in range(5)))
    await passes(10)
    assert len(heard) == 50
    for who in range(5):
        assert [number for told, number in heard if told == who] == list(range(10))
    await bus.stop()


@in_virtual_time
async def test_a_key_that_cannot_be_told_delivers_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    bus, listener = EventBus(), Listener()
    await bus.subscribe("a", listener, concurrency=2, key=lambda event: event.payload["customer"])
    await bus.subscribe("b", listener, concurrency=2, key=lambda event: [])  # type: ignore[arg-type,return-value]  # a list is no key
    await bus.publish(AgenticEvent("a"))
    await bus.publish(AgenticEvent("b"))
    await passes(1)
    assert sorted(listener.types) == ["a", "b"]
    assert caplog.text.count("cannot be told") == 2
    await bus.stop()


@in_virtual_time
async def test_a_handler_that_awaits_what_was_cancelled_has_failed() -> None:
    bus, listener = EventBus(), Listener()

    async def handler(event: AgenticEvent) -> None:
        sleeper = asyncio.ensure_future(asyncio.sleep(100))
        sleeper.cancel()
        await sleeper

    await bus.subscribe("a", handler, retry_policy=ONCE)
    await bus.subscribe("a", listener)
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert [letter.error.type for letter in await bus.dead_letters()] == ["CancelledError"]
    await bus.stop()


@in_virtual_time
async def test_retries_wait_as_the_policy_says_and_keep_the_order() -> None:
    bus, moments, loop = EventBus(), list[tuple[object, float]](), asyncio.get_running_loop()

    def handler(event: AgenticEvent) -> None:
        moments.append((event.payload["n"], loop.time()))
        if event.payload["n"] == 0:
            raise LookupError("oops")

    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=1, multiplier=3, jitter=False)
    await bus.subscribe("a", handler, retry_policy=policy)
    for number in range(2):
        await bus.publish(AgenticEvent("a", {"n": number}))
    await passes(10)
    assert [(number, round(moment)) for number, moment in moments] == [(0, 0), (0, 1), (0, 4), (1, 4)]
    await bus.stop()


# --- watching -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_monitor_is_told_and_cannot_disturb(caplog: pytest.LogCaptureFixture) -> None:
    monitor, listener = Counter(), Listener()
    bus = EventBus(event_monitor=monitor)
    one = await bus.subscribe("a", listener)
    other = await bus.subscribe("a", fails, retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=0))
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    expected = {
        "published": 1,
        f"delivered to {one}": 1,
        "attempt 1 failed": 1,
        "attempt 2 failed": 1,
        f"dead in {other}": 1,
    }
    assert monitor.counts == expected
    monitor.is_broken = True
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert monitor.counts == {name: 2 * count for name, count in expected.items()}
    assert caplog.text.count("the monitor of the bus failed") == 5
    await bus.stop()


@in_virtual_time
async def test_a_logger_of_ones_own_is_used(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus(logger=logging.getLogger("mine"))
    await bus.subscribe("a", fails, retry_policy=ONCE)
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert {record.name for record in caplog.records} == {"mine"}
    await bus.stop()


@in_virtual_time
async def test_statistics_say_how_each_subscription_is_doing() -> None:
    bus, gate = EventBus(store=MemoryStore()), asyncio.Event()

    async def slow(event: AgenticEvent) -> None:
        await gate.wait()

    await bus.subscribe("a", slow, name="billing")
    await bus.subscribe("b", Listener())
    for _ in range(3):
        await bus.publish(AgenticEvent("a"))
    await passes(7)
    billing, other = bus.statistics()
    assert (billing.subscription_id, billing.pattern, billing.is_durable) == ("billing", "a", True)
    assert (billing.delivered, billing.queued, billing.in_work) == (0, 2, 1)
    assert billing.lag_seconds >= 0
    assert (other.is_durable, other.queued, other.in_work, other.lag_seconds) == (False, 0, 0, 0.0)
    gate.set()
    await passes(1)
    billing = bus.statistics()[0]
    assert (billing.delivered, billing.queued, billing.in_work, billing.lag_seconds) == (3, 0, 0, 0.0)
    await bus.stop()


# --- schemas --------------------------------------------------------------------------------------------------------------


class OrderPlaced(msgspec.Struct):
    order_id: int


@pytest.mark.parametrize("has_store", [False, True])
@in_virtual_time
async def test_a_payload_that_does_not_fit_its_schema_is_not_published(has_store: bool) -> None:
    schemas, listener = SchemaRegistry(), Listener()
    schemas.register("order_placed", 1, OrderPlaced)
    store = MemoryStore(schemas) if has_store else None
    bus = EventBus(store=store, schemas=None if has_store else schemas)
    await bus.subscribe("*", listener)
    await bus.publish(AgenticEvent("order_placed", {"order_id": 7}))
    await bus.publish(AgenticEvent("mail_sent", {"anything": "goes"}))
    for durable in (True, False):
        with pytest.raises(InvalidInput, match="does not fit its schema at 'order_id': expected `int`, got `str`"):
            await bus.publish(AgenticEvent("order_placed", {"order_id": "seven"}), durable=durable)
    await passes(1)
    assert listener.types == ["order_placed", "mail_sent"]
    await bus.stop()


# --- what makes no sense --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "'' is no name for a subscription"),
        ({"name": "a@b"}, "'a@b' is no name for a subscription"),
        ({"name": "x" * 201}, "is no name for a subscription"),
        ({"replay": "some"}, "has replay='some'"),
        ({"from_position": -1}, "has from_position=-1 and replay='new'"),
        ({"from_position": True}, "has from_position=True"),
        ({"from_position": 3, "replay": "all"}, "has from_position=3 and replay='all'"),
        ({"concurrency": 0}, "has concurrency=0"),
        ({"concurrency": 1.5}, "has concurrency=1.5"),
        ({"queue_size": 2_000_000}, "has queue_size=2000000"),
        ({"key": "customer"}, "has key='customer'"),
        ({"retry_policy": 3}, "has retry_policy=3"),
        ({"back_pressure": 0.8}, "has back_pressure=0.8"),
    ],
)
@in_virtual_time
async def test_a_subscription_that_makes_no_sense_is_refused(options: Mapping[str, Any], words: str) -> None:
    bus = EventBus(store=MemoryStore())
    with pytest.raises(InvalidInput) as refusal:
        await bus.subscribe("a", Listener(), **options)
    assert words in str(refusal.value)
    assert bus.statistics() == []
    await bus.stop()


@pytest.mark.parametrize("limit", [0, 10_001, True, "all"])
@in_virtual_time
async def test_a_listing_is_bounded(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit is"):
        await EventBus().dead_letters(limit=limit)


@in_virtual_time
async def test_of_dead_letters_in_memory_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenticflow.communication.delivery.deadletters.MAX_IN_MEMORY", 3)
    bus = EventBus()
    await bus.subscribe("a", fails, retry_policy=ONCE)
    for number in range(5):
        await bus.publish(AgenticEvent("a", {"n": number}))
    await passes(1)
    assert [letter.event.payload["n"] for letter in await bus.dead_letters()] == [2, 3, 4]
    assert [letter.event.payload["n"] for letter in await bus.dead_letters(limit=1)] == [2]
    assert caplog.text.count("is lost: more than 3") == 2
    await bus.stop()
    assert len(await bus.dead_letters()) == 3, "they are there until the process ends"


@in_virtual_time
async def test_a_letter_whose_subscriber_leaves_stays() -> None:
    bus, gate = EventBus(), asyncio.Event()
    is_broken = True

    async def handler(event: AgenticEvent) -> None:
        if is_broken:
            raise LookupError("oops")
        await gate.wait()

    subscription = await bus.subscribe("a", handler, retry_policy=ONCE)
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    (letter,) = await bus.dead_letters()
    is_broken = False
    retrying = asyncio.ensure_future(bus.retry_dead_letter(letter.letter_id))
    await passes(1)
    await bus.unsubscribe(subscription)
    assert await retrying is False
    assert len(await bus.dead_letters()) == 1
    await bus.stop()


@in_virtual_time
async def test_what_is_recorded_makes_no_room_for_what_is_not() -> None:
    bus, gate, heard = EventBus(store=MemoryStore()), asyncio.Event(), list[object]()

    async def slow(event: AgenticEvent) -> None:
        await gate.wait()
        heard.append(event.payload["n"])

    policy = BackPressure(max_delay_seconds=0, when_full="drop_oldest")
    await bus.subscribe("a", slow, queue_size=2, back_pressure=policy)
    for number in range(3):
        await bus.publish(AgenticEvent("a", {"n": number}))
        await passes(0.1)
    await bus.publish(AgenticEvent("a", {"n": "ephemeral"}), durable=False)
    assert bus.statistics()[0].dropped == 1
    gate.set()
    await passes(1)
    assert heard == [0, 1, 2]
    await bus.stop()


@in_virtual_time
async def test_a_handler_that_would_wait_for_itself_is_told() -> None:
    bus = EventBus()

    async def handler(event: AgenticEvent) -> None:
        letters = await bus.dead_letters()
        if letters:
            await bus.retry_dead_letter(letters[0].letter_id)
        raise LookupError("oops")

    await bus.subscribe("a", handler, retry_policy=ONCE)
    for _ in range(2):
        await bus.publish(AgenticEvent("a"))
    await passes(1)
    errors = [letter.error.type for letter in await bus.dead_letters()]
    assert errors == ["LookupError", "InvalidInput"]
    await bus.stop()


@in_virtual_time
async def test_a_broker_that_cannot_be_reached_is_asked_again_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, listener = EventBus(), Listener()
    listen = bus._broker.listen
    answers: list[Exception | None] = [PermanentError("no route"), None]

    async def sometimes(deliver: Any) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer
        await listen(deliver)

    monkeypatch.setattr(type(bus._broker), "listen", lambda self, deliver: sometimes(deliver))
    with pytest.raises(PermanentError, match="no route"):
        await bus.subscribe("a", listener)
    assert bus.statistics() == []
    await bus.subscribe("a", listener)
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert listener.types == ["a"]
    await bus.stop()


@in_virtual_time
async def test_a_subscriber_that_rejects_tells_the_publisher_which_it_was() -> None:
    bus, gate = EventBus(), asyncio.Event()

    async def stuck(event: AgenticEvent) -> None:
        await gate.wait()

    policy = BackPressure(max_delay_seconds=2, when_full="reject")
    subscription = await bus.subscribe("a", stuck, queue_size=1, back_pressure=policy)
    await bus.publish(AgenticEvent("a"))
    await passes(0)
    await bus.publish(AgenticEvent("a"))
    with pytest.raises(
        BoundExceeded, match=f"the queue of subscription '{subscription}' to 'a' is full: 1 events wait"
    ):
        await bus.publish(AgenticEvent("a"))
    await bus.stop()


@in_virtual_time
async def test_the_feed_is_opened_once() -> None:
    store = MemoryStore()
    bus, one, other = EventBus(store=store), Listener(), Listener()
    await asyncio.gather(bus.subscribe("a", one), bus.subscribe("a", other), bus.start())
    await bus.publish(AgenticEvent("a"))
    await passes(1)
    assert (len(one.heard), len(other.heard)) == (1, 1)
    assert isinstance(bus._side.feed if bus._side else None, Feed)
    await bus.stop()
