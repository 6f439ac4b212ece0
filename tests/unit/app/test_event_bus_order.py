"""Whatever handlers do, how slow they are and when programs die: each key in order, nothing lost, durable events at least once."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow import AgenticEvent, EventBus, RetryPolicy
from agenticflow.testing.fakes import FlakyStore
from agenticflow.testing.virtual_time import run_virtual

EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.0, 0.1, 1.5]), st.sampled_from([0, 0, 0, 1, 2])), max_size=40
)
"""Key, seconds of work, and how many attempts fail before one succeeds."""


@settings(deadline=None, max_examples=60)
@given(
    events=EVENTS,
    concurrency=st.integers(1, 4),
    queue_size=st.sampled_from([1, 2, 5, 1_000]),
    has_store=st.booleans(),
    publishers=st.integers(1, 3),
)
def test_each_key_is_heard_in_order_and_whole(
    events: list[tuple[int, float, int]], concurrency: int, queue_size: int, has_store: bool, publishers: int
) -> None:
    async def main() -> None:
        bus = EventBus(store=FlakyStore() if has_store else None)
        heard: dict[tuple[int, int], list[int]] = {}
        in_work: set[object] = set()
        left = {number: failures for number, (_, _, failures) in enumerate(events)}

        async def handler(event: AgenticEvent) -> None:
            key, number = event.payload["key"], int(str(event.payload["n"]))
            assert concurrency > 1 or not in_work
            assert key not in in_work
            in_work.add(key)
            try:
                await asyncio.sleep(events[number][1])
                if left[number]:
                    left[number] -= 1
                    raise LookupError("not yet")
                who = int(str(event.payload["who"]))
                heard.setdefault((events[number][0], who), []).append(number)
            finally:
                in_work.discard(key)

        policy = RetryPolicy(max_attempts=3, initial_delay_seconds=0.5)
        key = (lambda event: event.payload["key"]) if concurrency > 1 else None
        await bus.subscribe(
            "counted", handler, concurrency=concurrency, key=key, queue_size=queue_size, retry_policy=policy
        )

        async def publish(who: int) -> None:
            for number, (place, _, _) in list(enumerate(events))[who::publishers]:
                await bus.publish(AgenticEvent("counted", {"key": place, "n": number, "who": who}))

        await asyncio.gather(*(publish(who) for who in range(publishers)))
        await asyncio.sleep(500)
        letters = await bus.dead_letters(limit=100)
        assert all(letter.error.type == "BoundExceeded" for letter in letters), "only what found no room is not heard"
        assert not letters or not has_store
        assert sum(map(len, heard.values())) + len(letters) == len(events)
        assert all(numbers == sorted(numbers) for numbers in heard.values())
        await bus.stop()

    run_virtual(main())


@settings(deadline=None, max_examples=60)
@given(
    lives=st.lists(st.tuples(st.integers(0, 6), st.floats(0, 3), st.booleans()), min_size=1, max_size=5),
    concurrency=st.integers(1, 3),
    queue_size=st.sampled_from([1, 3, 1_000]),
)
def test_a_durable_subscriber_hears_everything_however_its_programs_end(
    lives: list[tuple[int, float, bool]], concurrency: int, queue_size: int
) -> None:
    """Each life publishes some events, goes on for a while, and ends well or by being killed in the middle."""

    async def main() -> None:
        store, published = FlakyStore(), 0
        finished: list[list[int]] = []

        async def one_life(count: int, seconds: float, is_killed: bool) -> None:
            nonlocal published
            bus, done = EventBus(store=store), list[int]()
            finished.append(done)

            async def handler(event: AgenticEvent) -> None:
                await asyncio.sleep(0.2)
                done.append(int(str(event.payload["n"])))

            await bus.subscribe("counted", handler, name="billing", concurrency=concurrency, queue_size=queue_size)
            for _ in range(count):
                await bus.publish(AgenticEvent("counted", {"n": published}))
                published += 1
            await asyncio.sleep(seconds)
            if is_killed:
                store.fail("commit", times=1_000)
            await bus.stop()
            store.heal()

        for count, seconds, is_killed in lives:
            await one_life(count, seconds, is_killed)
        await one_life(1, 60, False)
        assert set().union(*finished) == set(range(published)), "a gap"
        for done in finished:
            assert done == sorted(done), "all are of one stream"
            assert not done or done == list(range(done[0], done[0] + len(done)))
        for life, (_, _, is_killed) in enumerate(lives):
            later = {number for done in finished[life + 1 :] for number in done}
            assert is_killed or not later & set(finished[life]), "after a clean end nothing is repeated"

    run_virtual(main())
