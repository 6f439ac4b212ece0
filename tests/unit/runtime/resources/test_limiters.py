"""Rate limiters of the process: turns in order, bounded waiting, nothing lost by those who go away."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.errors import BoundExceeded, DefinitionError, ResourceExhausted
from agenticflow.runtime.resources import RateLimiter, list_limiters
from tests.unit.runtime.engine import in_virtual_time, virtual_clock


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


@in_virtual_time
async def test_so_many_go_at_once_and_the_others_in_the_order_in_which_they_asked() -> None:
    limiter = RateLimiter("openai", rate=2, per_seconds=10, clock=virtual_clock())
    went: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        async with limiter:
            went.append((number, now()))

    await asyncio.gather(*(call(number) for number in range(5)))
    assert went == [(0, 0), (1, 0), (2, 10), (3, 10), (4, 20)]
    assert await limiter.acquire() == 0


@in_virtual_time
async def test_it_says_how_long_it_took_and_refuses_at_once_what_would_take_too_long() -> None:
    limiter = RateLimiter("slow", rate=1, per_seconds=10, clock=virtual_clock())
    assert [await limiter.acquire(), await limiter.acquire()] == [0, 10]
    with pytest.raises(
        ResourceExhausted, match=r"'slow' has no turn within 5 s \(its next one is in 10 s\)"
    ) as refusal:
        await limiter.acquire(timeout_seconds=5)
    assert (refusal.value.retry_after_seconds, now()) == (10, 10)
    assert not limiter.try_acquire()
    await asyncio.sleep(10)
    assert limiter.try_acquire()
    status = limiter.status()
    assert (status.taken, status.refused, status.waiting) == (3, 2, 0)


@in_virtual_time
async def test_no_more_wait_than_may() -> None:
    limiter = RateLimiter("crowded", 1, 10, max_waiting=2, clock=virtual_clock())
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(4)]
    await asyncio.sleep(0)
    assert limiter.status().waiting == 2
    assert [isinstance(end, ResourceExhausted) for end in await asyncio.gather(*tasks, return_exceptions=True)] == [
        *(False, False, False),
        True,
    ]


@in_virtual_time
async def test_who_is_cancelled_leaves_the_turn_to_the_next_one() -> None:
    limiter = RateLimiter("left", 1, 10, clock=virtual_clock())
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await limiter.acquire() == 9
    assert (limiter.status().taken, now()) == (2, 10)


@in_virtual_time
async def test_everybody_who_uses_a_name_shares_its_turns() -> None:
    await RateLimiter("common", 1, 10, clock=virtual_clock()).acquire()
    assert not RateLimiter("common", 1, 10).try_acquire()
    with pytest.raises(DefinitionError, match="'common' is there already, with 1 per 10 s, 1000 waiting"):
        RateLimiter("common", 2, 10)
    assert [status.rate for status in list_limiters() if status.name == "common"] == [1]
    assert repr(RateLimiter("common", 1, 10)) == "RateLimiter('common', rate=1, per_seconds=10)"


def test_what_is_no_limiter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match="'' is no name of a rate limiter"):
        RateLimiter("")
    with pytest.raises(DefinitionError, match="the rate of a limiter is 0"):
        RateLimiter("x", 0)
    with pytest.raises(DefinitionError, match="max_waiting of the rate limiter 'x' is -1"):
        RateLimiter("x", max_waiting=-1)
    monkeypatch.setattr("agenticflow.runtime.resources.limiters.MAX_LIMITERS", len(list_limiters()))
    with pytest.raises(BoundExceeded, match="rate limiters already"):
        RateLimiter("one more")
