"""A follower's buffer is bounded, knows what its reader has seen, and never leaves anybody asleep."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.errors import StoreUnavailable
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.followers import Follower, Followers


def stored(*positions: int) -> list[StoredEvent]:
    return [StoredEvent("s", position, position, "happened", b"\x80", 1) for position in positions]


async def drained(follower: Follower, after_position: int = 0) -> list[int]:
    return [event.position async for event in follower.drain(after_position)]


async def test_what_the_reader_has_seen_is_passed_over() -> None:
    followers = Followers()
    with followers.follow(limit=4) as follower:
        followers.tell(stored(1, 2, 3))
        events = follower.drain(after_position=2)
        assert (await anext(events)).position == 3


async def test_an_overflow_forgets_everything_and_sends_the_reader_back() -> None:
    with Followers().follow(limit=4) as follower:
        follower.offer(stored(1, 2, 3))
        follower.offer(stored(4, 5))
        assert await drained(follower) == []


async def test_after_an_overflow_nothing_is_kept_until_the_reader_went_back() -> None:
    with Followers().follow(limit=2) as follower:
        follower.offer(stored(1, 2, 3))
        follower.offer(stored(4))  # kept, it would look as if 1 to 3 had been seen
        assert await drained(follower) == []
        follower.offer(stored(5))
        assert (await anext(follower.drain(4))).position == 5


async def test_falling_behind_wakes_whoever_sleeps() -> None:
    followers = Followers()
    with followers.follow() as follower:
        waiting = asyncio.create_task(drained(follower))
        await asyncio.sleep(0)
        followers.fall_behind()
        assert await waiting == []


async def test_closing_wakes_whoever_sleeps_with_an_error() -> None:
    followers = Followers()
    with followers.follow() as follower:
        waiting = asyncio.create_task(drained(follower))
        await asyncio.sleep(0)
        followers.close()
        with pytest.raises(StoreUnavailable):
            await waiting


async def test_what_came_before_closing_is_still_handed_out() -> None:
    followers = Followers()
    with followers.follow() as follower:
        followers.tell(stored(1))
        followers.close()
        events = follower.drain(0)
        assert (await anext(events)).position == 1
        with pytest.raises(StoreUnavailable):
            await anext(events)


async def test_followers_are_truthy_while_there_is_one() -> None:
    followers = Followers()
    assert not followers
    with followers.follow():
        assert followers
    assert not followers
