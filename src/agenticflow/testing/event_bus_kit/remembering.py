"""Durable subscriptions and replay: at least once, in order, no gap, whatever happens in between."""

from __future__ import annotations

from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.errors import InvalidInput
from agenticflow.testing.event_bus_kit.place import ONCE, BusPlace, Listener, eventually, numbered
from agenticflow.testing.event_store_kit.place import refused

__all__ = ["RememberingCases"]


class RememberingCases(BusPlace):
    """What a bus with a store remembers."""

    async def test_a_durable_subscriber_goes_on_where_it_stopped(self) -> None:
        first, second = Listener(), Listener()
        async with self.bus(has_store=True) as bus:
            assert await bus.subscribe("counted", first, name="billing") == "billing"
            for number in range(5):
                await bus.publish(numbered(number))
            await eventually(lambda: len(first.heard) == 5)
        async with self.bus(has_store=True) as bus:
            for number in range(5, 10):
                await bus.publish(numbered(number))
            await bus.subscribe("counted", second, name="billing")
            await bus.publish(numbered(10))
            await eventually(lambda: len(second.heard) == 6)
        assert first.numbers == list(range(5))
        assert second.numbers == list(range(5, 11))

    async def test_what_was_not_finished_is_delivered_again(self) -> None:
        interrupted, after = Listener(), Listener()
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", interrupted, name="billing")
            await bus.publish(numbered(0))
            await eventually(lambda: len(interrupted.heard) == 1)
            interrupted.gate.clear()
            for number in range(1, 4):
                await bus.publish(numbered(number))
            await eventually(lambda: interrupted.calls == 2)
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", after, name="billing")
            await eventually(lambda: len(after.heard) == 3)
        assert after.numbers == [1, 2, 3]

    async def test_out_of_order_only_what_is_done_without_a_gap_counts(self) -> None:
        after, first = Listener(), list[object]()

        async def handler(event: AgenticEvent) -> None:
            if event.payload["n"] == 1:
                await never.wait()
            first.append(event.payload["n"])

        never = Listener().gate
        never.clear()
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", handler, name="billing", concurrency=4, key=lambda event: event.id)
            for number in range(5):
                await bus.publish(numbered(number))
            await eventually(lambda: len(first) == 4)
        assert set(first) == {0, 2, 3, 4}
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", after, name="billing")
            await eventually(lambda: len(after.heard) == 4)
        assert after.numbers == [1, 2, 3, 4], "what came after the unfinished one is delivered again, never less"

    async def test_a_dead_letter_counts_as_done(self) -> None:
        after = Listener()
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", Listener(lambda event: True), name="billing", retry_policy=ONCE)
            await bus.publish(numbered(0))
            await eventually(lambda: bus.statistics()[0].dead)
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", after, name="billing")
            await bus.publish(numbered(1))
            await eventually(lambda: after.heard)
        assert after.numbers == [1]

    async def test_a_new_subscriber_may_hear_all_that_ever_was(self) -> None:
        async with self.bus(has_store=True) as bus:
            for number in range(30):
                await bus.publish(numbered(number))
                await bus.publish(AgenticEvent("noise"))
            one, other = Listener(), Listener()
            await bus.subscribe("counted", one, replay="all", queue_size=7)
            await bus.subscribe("counted", other, name="history", replay="all", queue_size=7)
            await bus.publish(numbered(30))
            await eventually(lambda: len(one.heard) >= 31 and len(other.heard) >= 31)
            assert one.numbers == other.numbers == list(range(31))
            assert all(isinstance(event, RecordedEvent) for event in one.heard)

    async def test_a_new_subscriber_may_begin_at_a_position(self) -> None:
        async with self.bus(has_store=True) as bus:
            witness, listener = Listener(), Listener()
            await bus.subscribe("counted", witness)
            for number in range(6):
                await bus.publish(numbered(number))
            await eventually(lambda: len(witness.heard) == 6)
            third = witness.heard[2]
            assert isinstance(third, RecordedEvent)
            await bus.subscribe("counted", listener, from_position=third.position)
            await eventually(lambda: len(listener.heard) == 3)
            assert listener.numbers == [3, 4, 5]

    async def test_history_and_what_happens_meanwhile_join_without_gap_or_duplicate(self) -> None:
        async with self.bus(has_store=True) as bus:
            listener = Listener()
            for number in range(100):
                await bus.publish(numbered(number))
            await bus.subscribe("counted", listener, replay="all", queue_size=10)
            for number in range(100, 300):
                await bus.publish(numbered(number))
            await eventually(lambda: len(listener.heard) >= 300)
            assert listener.numbers == list(range(300))

    async def test_replay_counts_the_first_time_only(self) -> None:
        async with self.bus(has_store=True) as bus:
            await bus.publish(numbered(0))
            first = Listener()
            await bus.subscribe("counted", first, name="billing", replay="all")
            await eventually(lambda: first.heard)
        async with self.bus(has_store=True) as bus:
            second = Listener()
            await bus.subscribe("counted", second, name="billing", replay="all")
            await bus.publish(numbered(1))
            await eventually(lambda: second.heard)
            assert second.numbers == [1]

    async def test_a_name_is_used_once_at_a_time(self) -> None:
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", Listener(), name="billing")
            with refused(InvalidInput):
                await bus.subscribe("counted", Listener(), name="billing")
            await bus.unsubscribe("billing")
            await bus.subscribe("counted", Listener(), name="billing")

    async def test_subscribers_to_everything_are_not_told_of_their_own_bookkeeping(self) -> None:
        async with self.bus(has_store=True) as bus:
            listener = Listener()
            await bus.subscribe("*", listener, name="everything", replay="all")
            await bus.subscribe("*", Listener(), name="other")
            await bus.publish(numbered(0))
            await eventually(lambda: listener.heard)
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("*", listener, name="everything")
            await bus.publish(numbered(1))
            await eventually(lambda: len(listener.heard) == 2)
        assert [event.event_type for event in listener.heard] == ["counted", "counted"]

    async def test_ephemeral_events_are_not_recorded(self) -> None:
        async with self.bus(has_store=True) as bus:
            listener, late = Listener(), Listener()
            await bus.subscribe("counted", listener)
            await bus.publish(numbered(0), durable=False)
            await bus.publish(numbered(1))
            await eventually(lambda: len(listener.heard) == 2)
            await bus.subscribe("counted", late, replay="all")
            await eventually(lambda: late.heard)
            assert late.numbers == [1]
