"""Handlers that fail: tried again, given up, looked at, tried once more; and nobody else is disturbed."""

from __future__ import annotations

from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.errors import InvalidInput, PermanentError
from agenticflow.testing.event_bus_kit.place import AT_ONCE, ONCE, BusPlace, Listener, eventually, numbered
from agenticflow.testing.event_store_kit.place import refused

__all__ = ["FailingCases"]


def _is_second(event: AgenticEvent) -> bool:
    return event.payload["n"] == 1


class FailingCases(BusPlace):
    """Retries and dead letters, without a store and with one."""

    async def test_a_handler_that_recovers_misses_nothing(self) -> None:
        for has_store in (False, True):
            await self._a_handler_that_recovers_misses_nothing(has_store)

    async def _a_handler_that_recovers_misses_nothing(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            left = 2

            def fails_twice(event: AgenticEvent) -> bool:
                nonlocal left
                left -= _is_second(event)
                return _is_second(event) and left >= 0

            listener = Listener(fails_twice)
            await bus.subscribe("counted", listener, retry_policy=AT_ONCE)
            for number in range(3):
                await bus.publish(numbered(number))
            await eventually(lambda: len(listener.heard) == 3)
            assert listener.numbers == [0, 1, 2], "in order, though the second needed three attempts"
            assert listener.calls == 5
            assert await bus.dead_letters() == []
            statistics = bus.statistics()[0]
            assert (statistics.delivered, statistics.failed, statistics.dead) == (3, 2, 0)

    async def test_what_fails_for_good_becomes_a_dead_letter_and_the_next_is_delivered(self) -> None:
        for has_store in (False, True):
            await self._what_fails_for_good_becomes_a_dead_letter_and_the_next_is_delivered(has_store)

    async def _what_fails_for_good_becomes_a_dead_letter_and_the_next_is_delivered(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener, bystander = Listener(_is_second), Listener()
            subscription = await bus.subscribe("counted", listener, retry_policy=AT_ONCE)
            await bus.subscribe("counted", bystander)
            events = [numbered(number) for number in range(3)]
            for event in events:
                await bus.publish(event)
            await eventually(lambda: len(listener.heard) == 2 and len(bystander.heard) == 3)
            assert (listener.numbers, listener.calls) == ([0, 2], 5)
            (letter,) = await bus.dead_letters()
            assert (letter.subscription, letter.pattern, letter.attempts) == (subscription, "counted", 3)
            assert (letter.event.id, letter.event.payload) == (events[1].id, {"n": 1})
            assert (letter.error.type, letter.error.message) == ("LookupError", f"no place for {events[1].id}")
            assert isinstance(letter.event, RecordedEvent) == has_store
            assert await bus.dead_letters("somebody else") == []

    async def test_a_permanent_error_is_not_tried_again(self) -> None:
        async with self.bus() as bus:
            calls = 0

            def handler(event: AgenticEvent) -> None:
                nonlocal calls
                calls += 1
                raise PermanentError("never")

            await bus.subscribe("counted", handler, retry_policy=AT_ONCE)
            await bus.publish(numbered(1))
            await eventually(lambda: bus.statistics()[0].dead)
            assert calls == 1

    async def test_a_dead_letter_may_be_delivered_after_all(self) -> None:
        for has_store in (False, True):
            await self._a_dead_letter_may_be_delivered_after_all(has_store)

    async def _a_dead_letter_may_be_delivered_after_all(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener = Listener(_is_second)
            await bus.subscribe("counted", listener, retry_policy=ONCE)
            await bus.publish(numbered(1))
            await eventually(lambda: bus.statistics()[0].dead)
            (letter,) = await bus.dead_letters()
            assert not await bus.retry_dead_letter(letter.letter_id), "it still fails"
            assert len(await bus.dead_letters()) == 1, "and is still there, once"
            listener.fails = lambda event: False
            assert await bus.retry_dead_letter(letter.letter_id)
            assert listener.numbers == [1]
            assert await bus.dead_letters() == []
            with refused(InvalidInput):
                await bus.retry_dead_letter(letter.letter_id)

    async def test_a_dead_letter_may_be_discarded(self) -> None:
        for has_store in (False, True):
            await self._a_dead_letter_may_be_discarded(has_store)

    async def _a_dead_letter_may_be_discarded(self, has_store: bool) -> None:
        async with self.bus(has_store=has_store) as bus:
            listener = Listener(lambda event: True)
            await bus.subscribe("counted", listener, retry_policy=ONCE)
            for number in range(2):
                await bus.publish(numbered(number))
            await eventually(lambda: bus.statistics()[0].dead == 2)
            first, second = await bus.dead_letters()
            await bus.discard_dead_letter(first.letter_id, reason="a test order")
            assert [letter.letter_id for letter in await bus.dead_letters()] == [second.letter_id]
            with refused(InvalidInput):
                await bus.discard_dead_letter(first.letter_id)
            with refused(InvalidInput):
                await bus.discard_dead_letter("never heard of")

    async def test_with_a_store_dead_letters_are_there_after_a_restart(self) -> None:
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", Listener(_is_second), name="billing", retry_policy=ONCE)
            for number in range(3):
                await bus.publish(numbered(number))
            await eventually(lambda: bus.statistics()[0].delivered == 2)
        async with self.bus(has_store=True) as bus:
            (letter,) = await bus.dead_letters("billing")
            with refused(InvalidInput):
                await bus.retry_dead_letter(letter.letter_id)
            listener = Listener()
            await bus.subscribe("counted", listener, name="billing")
            assert await bus.retry_dead_letter(letter.letter_id)
            assert listener.numbers == [1]
        async with self.bus(has_store=True) as bus:
            assert await bus.dead_letters() == []

    async def test_a_dead_letter_can_be_subscribed_to(self) -> None:
        async with self.bus(has_store=True) as bus:
            watcher = Listener()
            await bus.subscribe("event_dead_lettered", watcher)
            await bus.subscribe("counted", Listener(_is_second), name="billing", retry_policy=ONCE)
            await bus.publish(numbered(1))
            await eventually(lambda: watcher.heard)
            told = watcher.heard[0]
            assert isinstance(told, RecordedEvent)
            assert (told.stream_id, told.payload["original_stream"]) == ("bus-deadletter-billing", "topic-counted")

    async def test_who_fails_on_dead_letters_makes_no_more_of_them(self) -> None:
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("*", Listener(lambda event: True), name="hopeless", retry_policy=ONCE)
            await bus.publish(numbered(1))
            await eventually(lambda: bus.statistics()[0].dead == 2)
            assert [letter.event.event_type for letter in await bus.dead_letters()] == ["counted"]

    async def test_an_ephemeral_event_of_a_bus_with_a_store_is_kept_whole_in_its_letter(self) -> None:
        async with self.bus(has_store=True) as bus:
            await bus.subscribe("counted", Listener(_is_second), retry_policy=ONCE)
            event = AgenticEvent("counted", {"n": 1, "lines": [1, 2]}, correlation_id="c").with_causality("ada")
            await bus.publish(event, durable=False)
            await eventually(lambda: bus.statistics()[0].dead)
            (letter,) = await bus.dead_letters()
            kept = letter.event
            assert (kept.id, kept.payload, kept.timestamp) == (event.id, event.payload, event.timestamp)
            assert (kept.correlation_id, kept.causality_vector) == ("c", event.causality_vector)
