"""Following: what is recorded first, then what comes, without gap, without duplicate, without end, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, cast

from agenticflow.core.events import EventPredicate, RecordedEvent
from agenticflow.errors import ConcurrencyConflict, StoreUnavailable
from agenticflow.storage.followers import BUFFER_EVENTS
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit.place import Place, commit, everything, fact, refused, take

__all__ = ["FollowingCases"]

LAST: Final = "the_last"


def _follow(
    store: Store, predicate: EventPredicate | None = None, after_position: int = 0
) -> aclosing[AsyncGenerator[RecordedEvent, None]]:
    events: AsyncIterator[RecordedEvent] = store.stream_events(predicate, after_position=after_position)
    return aclosing(cast("AsyncGenerator[RecordedEvent, None]", events))


async def _until_last(store: Store, predicate: EventPredicate | None = None, after_position: int = 0) -> list[int]:
    """Follow until the event called ``LAST``; return the positions seen."""
    seen: list[int] = []
    async with _follow(store, predicate, after_position) as events:
        async for event in events:
            seen.append(event.position)
            if event.event_type == LAST:
                break
    return seen


class FollowingCases(Place):
    """What ``stream_events`` promises."""

    async def test_first_what_is_recorded_then_what_comes(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("old_1"), fact("old_2"))
            async with _follow(store) as events:
                assert [event.event_type for event in await take(events, 2)] == ["old_1", "old_2"]
                await commit(store, "b", fact("new_1"))
                await commit(store, "a", fact("new_2"))
                assert [event.event_type for event in await take(events, 2)] == ["new_1", "new_2"]

    async def test_a_follower_who_waits_is_woken(self) -> None:
        async with self.store() as store, _follow(store) as events:
            waiting = asyncio.ensure_future(anext(events))
            for _ in range(5):  # until it has found the store empty, and sleeps
                await store.last_position()
                await asyncio.sleep(0)
            await commit(store, "a", fact("wake_up"))
            assert (await waiting).event_type == "wake_up"

    async def test_what_lies_at_or_below_the_position_is_passed_over(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("one"), fact("two"))
            second = (await everything(store))[0].position
            async with _follow(store, after_position=second) as events:
                assert (await anext(events)).event_type == "two"

    async def test_who_starts_at_the_last_position_sees_only_what_is_new(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("old"))
            async with _follow(store, after_position=await store.last_position()) as events:
                waiting = asyncio.ensure_future(anext(events))
                await commit(store, "a", fact("new"))
                assert (await waiting).event_type == "new"

    async def test_only_what_matches_is_seen_both_recorded_and_live(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("wanted"), fact("other"))
            async with _follow(store, EventPredicate(event_types={"wanted"}, stream_id="a")) as events:
                assert (await anext(events)).version == 1
                await commit(store, "b", fact("wanted"))
                await commit(store, "a", fact("other"), fact("wanted"))
                assert (await anext(events)).version == 4

    async def test_no_gap_and_no_duplicate_beside_concurrent_writers(self) -> None:
        async with self.store() as store:

            async def write(writer: int) -> None:
                for _ in range(40):
                    await commit(store, f"w{writer}", fact(), fact())

            following = [asyncio.create_task(_until_last(store)) for _ in range(3)]
            await asyncio.gather(*(write(writer) for writer in range(10)))
            await commit(store, "end", fact(LAST))
            written = [event.position for event in await everything(store)]
            assert len(written) == 801
            for task in following:
                assert await task == written

    async def test_whoever_begins_in_the_middle_of_writing_misses_nothing(self) -> None:
        async with self.store() as store:
            following: list[asyncio.Task[list[int]]] = []

            async def write(writer: int) -> None:
                for turn in range(30):
                    if turn % 5 == writer % 5:
                        following.append(asyncio.create_task(_until_last(store)))
                    await commit(store, f"w{writer}", fact())

            await asyncio.gather(*(write(writer) for writer in range(8)))
            await commit(store, "end", fact(LAST))
            written = [event.position for event in await everything(store)]
            assert len(following) == 48
            for task in following:
                assert await task == written

    async def test_whoever_begins_during_a_commit_does_not_miss_it(self) -> None:
        async with self.store() as store:
            for number in range(60):
                writing = asyncio.create_task(commit(store, f"s{number}", fact(), fact(LAST)))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                after = await store.last_position() if number % 2 else 0
                following = asyncio.create_task(_until_last(store, EventPredicate(stream_id=f"s{number}"), after))
                answer = await writing
                if after < answer.position:
                    assert (await following)[-1] == answer.position
                else:
                    following.cancel()

    async def test_who_falls_behind_goes_back_to_the_store(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("begin"))
            async with _follow(store) as events:
                seen = [(await anext(events)).position]
                half = [fact() for _ in range(BUFFER_EVENTS // 2)]
                for _ in range(4):  # twice what the buffer holds, while nobody reads
                    await commit(store, "a", *half)
                await commit(store, "a", fact(LAST))
                async for event in events:
                    seen.append(event.position)
                    if event.event_type == LAST:
                        break
            assert seen == [event.position for event in await everything(store)]

    async def test_one_commit_larger_than_the_buffer_arrives_whole(self) -> None:
        async with self.store() as store:
            following = asyncio.create_task(_until_last(store))
            await commit(store, "a", *(fact() for _ in range(BUFFER_EVENTS + 500)), fact(LAST))
            assert len(await following) == BUFFER_EVENTS + 501

    async def test_followers_do_not_wait_for_each_other(self) -> None:
        async with self.store() as store, _follow(store) as slow, _follow(store) as quick:
            await commit(store, "a", fact("one"))
            assert (await anext(slow)).event_type == "one"
            for number in range(5):
                await commit(store, "a", fact(f"more_{number}"))
            assert len(await take(quick, 6)) == 6
            assert (await anext(slow)).event_type == "more_0"

    async def test_a_refused_commit_is_shown_to_nobody(self) -> None:
        async with self.store() as store:
            following = asyncio.create_task(_until_last(store))
            await commit(store, "a", fact())
            refusals = [commit(store, "a", fact("never"), expected=0) for _ in range(5)]
            for result in await asyncio.gather(*refusals, return_exceptions=True):
                assert isinstance(result, ConcurrencyConflict)
            await commit(store, "a", fact(LAST))
            assert len(await following) == 2

    async def test_a_repeated_command_is_shown_once(self) -> None:
        async with self.store() as store:
            following = asyncio.create_task(_until_last(store))
            await asyncio.gather(*(commit(store, "a", fact(), command_id="once") for _ in range(5)))
            await commit(store, "a", fact(LAST))
            assert len(await following) == 2

    async def test_what_a_follower_is_shown_can_be_read(self) -> None:
        async with self.store() as store, _follow(store) as events:
            writing = asyncio.gather(*(commit(store, f"s{number}", fact()) for number in range(50)))
            for event in await take(events, 50):
                assert await store.read_page(event.stream_id, 0, 9), "shown before it was true"
            await writing

    async def test_closing_the_store_ends_its_followers(self) -> None:
        async with self.store() as store, _follow(store) as events:
            await commit(store, "a", fact())
            await anext(events)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            await store.close()
            with refused(StoreUnavailable):
                await waiting

    async def test_who_stops_following_is_forgotten(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            async with _follow(store) as events:
                await anext(events)
                assert store.followers
            assert not store.followers
            following = asyncio.create_task(_until_last(store))
            await commit(store, "a", fact())
            following.cancel()
            await asyncio.wait({following})
            assert not store.followers
