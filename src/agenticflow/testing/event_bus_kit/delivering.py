"""Who is told, in which order, and what becomes of it when subscriptions end."""

from __future__ import annotations

import asyncio

from agenticflow.core.events import AgenticEvent
from agenticflow.errors import InvalidInput
from agenticflow.testing.event_bus_kit.place import BusPlace, Listener, eventually, numbered
from agenticflow.testing.event_store_kit.place import refused

__all__ = ["DeliveringCases"]


class DeliveringCases(BusPlace):
    """Patterns, order, concurrency, ends."""

    async def test_events_of_one_publisher_arrive_in_the_order_published(self) -> None:
        for has_store in (False, True):
            await self._events_of_one_publisher_arrive_in_the_order_published(has_store)

    async def _events_of_one_publisher_arrive_in_the_order_published(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener = Listener()
            await bus.subscribe("counted", listener)
            for number in range(100):
                await bus.publish(numbered(number))
            await eventually(lambda: len(listener.heard) == 100)
            assert listener.numbers == list(range(100))

    async def test_a_pattern_means_what_it_says(self) -> None:
        async with self.bus() as bus:
            told: dict[str, Listener] = {}
            for pattern in ("order.placed", "order.*", "order.>", "*", "order.pl*"):
                told[pattern] = Listener()
                await bus.subscribe(pattern, told[pattern])
            for event_type in ("order.placed", "order.paid", "order.item.added", "mail_sent"):
                await bus.publish(AgenticEvent(event_type))
            await eventually(lambda: len(told["*"].heard) == 4)
            await eventually(lambda: len(told["order.>"].heard) == 3)
            await eventually(lambda: len(told["order.*"].heard) == 2)
            assert [event.event_type for event in told["order.placed"].heard] == ["order.placed"]
            assert [event.event_type for event in told["order.pl*"].heard] == ["order.placed"]

    async def test_several_at_a_time_keep_the_order_of_each_key(self) -> None:
        async with self.bus() as bus:
            heard: dict[object, list[object]] = {}
            in_work: dict[object, int] = {}
            most = 0

            async def handler(event: AgenticEvent) -> None:
                nonlocal most
                customer = event.payload["customer"]
                in_work[customer] = in_work.get(customer, 0) + 1
                assert in_work[customer] == 1, "two events of one key at once"
                most = max(most, sum(in_work.values()))
                for _ in range(int(str(event.payload["n"])) % 5):
                    await asyncio.sleep(0)
                heard.setdefault(customer, []).append(event.payload["n"])
                in_work[customer] -= 1

            await bus.subscribe("counted", handler, concurrency=4, key=lambda event: event.payload["customer"])
            for number in range(200):
                await bus.publish(numbered(number, customer=number % 7))
            await eventually(lambda: sum(map(len, heard.values())) == 200)
            assert all(numbers == sorted(numbers) for numbers in _texts(heard))
            assert most > 1, "nothing ran side by side"

    async def test_with_a_store_the_order_of_each_stream_is_kept(self) -> None:
        async with self.bus(has_store=True) as bus:
            heard: dict[str, list[object]] = {}

            async def handler(event: AgenticEvent) -> None:
                for _ in range(20 if event.payload["n"] in (0, 30, 60) else 0):
                    await asyncio.sleep(0)
                heard.setdefault(event.event_type.partition(".")[0], []).append(event.payload["n"])

            await bus.subscribe("*", handler, concurrency=3)
            for number in range(90):
                await bus.publish(numbered(number, f"topic{number // 30}.counted"))
            await eventually(lambda: sum(map(len, heard.values())) == 90)
            assert heard == {f"topic{place}": list(range(30 * place, 30 * place + 30)) for place in range(3)}

    async def test_who_subscribes_hears_what_is_published_afterwards(self) -> None:
        for has_store in (False, True):
            await self._who_subscribes_hears_what_is_published_afterwards(has_store)

    async def _who_subscribes_hears_what_is_published_afterwards(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener = Listener()
            await bus.publish(numbered(1))
            await bus.subscribe("counted", listener)
            await bus.publish(numbered(2))
            await eventually(lambda: listener.heard)
            assert listener.numbers == [2]

    async def test_who_has_unsubscribed_hears_nothing_more(self) -> None:
        async with self.bus() as bus:
            one, other = Listener(), Listener()
            first = await bus.subscribe("counted", one)
            await bus.subscribe("counted", other)
            await bus.publish(numbered(1))
            await eventually(lambda: one.heard and other.heard)
            await bus.unsubscribe(first)
            await bus.unsubscribe(first)
            await bus.publish(numbered(2))
            await eventually(lambda: len(other.heard) == 2)
            assert one.numbers == [1]

    async def test_a_stopped_bus_may_be_used_again(self) -> None:
        async with self.bus() as bus:
            before, after = Listener(), Listener()
            await bus.subscribe("counted", before)
            await bus.stop()
            await bus.stop()
            await bus.subscribe("counted", after)
            await bus.publish(numbered(1))
            await eventually(lambda: after.heard)
            assert not before.heard

    async def test_a_handler_may_publish(self) -> None:
        async with self.bus() as bus:
            listener = Listener()

            async def answer(event: AgenticEvent) -> None:
                await bus.publish(AgenticEvent("answered", event.payload, causation_id=event.id))

            await bus.subscribe("asked", answer)
            await bus.subscribe("answered", listener)
            for number in range(50):
                await bus.publish(numbered(number, "asked"))
            await eventually(lambda: len(listener.heard) == 50)
            assert listener.numbers == list(range(50))

    async def test_an_event_arrives_as_it_was_sent(self) -> None:
        for has_store in (False, True):
            await self._an_event_arrives_as_it_was_sent(has_store)

    async def _an_event_arrives_as_it_was_sent(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener = Listener()
            await bus.subscribe("placed", listener)
            sent = AgenticEvent("placed", {"lines": [{"sku": "a"}]}, correlation_id="c").with_causality("ada")
            await bus.publish(sent)
            await eventually(lambda: listener.heard)
            got = listener.heard[0]
            assert (got.id, got.payload, got.timestamp) == (sent.id, sent.payload, sent.timestamp)
            assert (got.correlation_id, got.actor_id, got.causality_vector) == ("c", "ada", sent.causality_vector)

    async def test_what_is_no_event_or_no_pattern_is_refused(self) -> None:
        async with self.bus() as bus:
            with refused(InvalidInput):
                await bus.subscribe("order..placed", Listener())
            with refused(InvalidInput):
                await bus.subscribe("order.>.placed", Listener())


def _texts(heard: dict[object, list[object]]) -> list[list[str]]:
    return [[str(number).zfill(4) for number in numbers] for numbers in heard.values()]
