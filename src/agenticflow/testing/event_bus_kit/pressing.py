"""Slow subscribers: publishers are held back as the policy says, nobody else is, and memory is bounded."""

from __future__ import annotations

import asyncio
import unittest

from agenticflow.errors import BoundExceeded
from agenticflow.resilience import BackPressure
from agenticflow.testing.event_bus_kit.place import BusPlace, Listener, eventually, numbered
from agenticflow.testing.event_store_kit.place import refused

__all__ = ["PressingCases"]


class PressingCases(BusPlace):
    """Full queues."""

    def _needs_pressure(self) -> None:
        if not self.holds_publishers_back:
            raise unittest.SkipTest("this broker takes events without waiting for subscribers, and declares it")

    async def test_a_full_queue_holds_the_publisher_back_until_there_is_room(self) -> None:
        self._needs_pressure()
        async with self.bus() as bus:
            slow = Listener()
            slow.gate.clear()
            await bus.subscribe("counted", slow, queue_size=5)
            published = 0

            async def publish() -> None:
                nonlocal published
                for number in range(20):
                    await bus.publish(numbered(number))
                    published += 1

            publishing = asyncio.ensure_future(publish())
            await eventually(lambda: published >= 4)
            for _ in range(20):
                await asyncio.sleep(0)
            assert published <= 5, "one in work and four of five places: from there on it waits"
            slow.gate.set()
            await publishing
            await eventually(lambda: len(slow.heard) == 20)
            assert slow.numbers == list(range(20))

    async def test_a_slow_subscriber_delays_no_other_beyond_the_policy(self) -> None:
        self._needs_pressure()
        async with self.bus() as bus:
            stuck, quick = Listener(), Listener()
            stuck.gate.clear()
            pressure = BackPressure(max_delay_seconds=0.01)
            await bus.subscribe("counted", stuck, queue_size=2, back_pressure=pressure)
            await bus.subscribe("counted", quick)
            for number in range(10):
                await bus.publish(numbered(number))
            await eventually(lambda: len(quick.heard) == 10)
            letters = await bus.dead_letters()
            assert [letter.error.code for letter in letters] == ["bound_exceeded"] * len(letters)
            stuck.gate.set()
            await eventually(lambda: len(stuck.heard) + len(letters) == 10)
            assert stuck.numbers + [letter.event.payload["n"] for letter in letters] == list(range(10))

    async def test_a_policy_may_reject_and_the_others_are_told_all_the_same(self) -> None:
        self._needs_pressure()
        async with self.bus() as bus:
            stuck, quick = Listener(), Listener()
            stuck.gate.clear()
            pressure = BackPressure(max_delay_seconds=0, when_full="reject")
            await bus.subscribe("counted", stuck, queue_size=1, back_pressure=pressure)
            await bus.subscribe("counted", quick)
            await bus.publish(numbered(0))
            await eventually(lambda: stuck.calls)
            await bus.publish(numbered(1))
            with refused(BoundExceeded):
                await bus.publish(numbered(2))
            await eventually(lambda: len(quick.heard) == 3)
            stuck.gate.set()
            await eventually(lambda: len(stuck.heard) == 2)
            assert stuck.numbers == [0, 1]

    async def test_a_policy_may_drop_the_oldest_and_counts_it(self) -> None:
        async with self.bus() as bus:
            slow = Listener()
            slow.gate.clear()
            pressure = BackPressure(max_delay_seconds=0, when_full="drop_oldest")
            await bus.subscribe("counted", slow, queue_size=3, back_pressure=pressure)
            await bus.publish(numbered(0))
            await eventually(lambda: slow.calls)
            for number in range(1, 11):
                await bus.publish(numbered(number))
            await eventually(lambda: bus.statistics()[0].dropped == 7)
            slow.gate.set()
            await eventually(lambda: len(slow.heard) == 4)
            assert slow.numbers == [0, 8, 9, 10]

    async def test_with_a_store_a_stuck_subscriber_misses_nothing_and_stops_nobody(self) -> None:
        async with self.bus(has_store=True) as bus:
            stuck, quick = Listener(), Listener()
            stuck.gate.clear()
            pressure = BackPressure(max_delay_seconds=0.001)
            await bus.subscribe("counted", stuck, queue_size=3, back_pressure=pressure)
            await bus.subscribe("counted", quick)
            for number in range(50):
                await bus.publish(numbered(number))
            await eventually(lambda: len(quick.heard) == 50)
            statistics = bus.statistics()[0]
            assert statistics.is_behind
            assert statistics.queued <= 3
            stuck.gate.set()
            await eventually(lambda: len(stuck.heard) == 50)
            assert stuck.numbers == list(range(50))
            assert await bus.dead_letters() == []
            await bus.publish(numbered(50))
            await eventually(lambda: len(stuck.heard) == 51)
            assert not bus.statistics()[0].is_behind

    async def test_who_leaves_with_a_full_queue_lets_the_publisher_go(self) -> None:
        self._needs_pressure()
        async with self.bus() as bus:
            stuck = Listener()
            stuck.gate.clear()
            subscription = await bus.subscribe("counted", stuck, queue_size=1)
            await bus.publish(numbered(0))
            await eventually(lambda: stuck.calls)
            await bus.publish(numbered(1))
            publishing = asyncio.ensure_future(bus.publish(numbered(2)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not publishing.done()
            await bus.unsubscribe(subscription)
            await publishing
