"""Pools: made when needed, lent to one at a time, replaced when unfit or old, never lost, and a leak has a name."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import CommandRefused, DefinitionError, ResourceExhausted, StoreUnavailable, TemporaryError
from agenticflow.runtime.resources import ResourcePool, list_pools
from agenticflow.testing.virtual_time import run_virtual
from tests.unit.runtime.engine import in_virtual_time, virtual_clock


class Factory:
    """Makes connections that can break; remembers which there are."""

    def __init__(self) -> None:
        self.made = 0
        self.alive: set[int] = set()
        self.broken: set[int] = set()
        self.error: BaseException | None = None

    async def make(self) -> int:
        await asyncio.sleep(0.5)
        if self.error is not None:
            raise self.error
        self.made += 1
        self.alive.add(self.made)
        return self.made

    async def end(self, connection: int) -> None:
        await asyncio.sleep(0.1)
        self.alive.remove(connection)

    async def check(self, connection: int) -> bool:
        if connection < 0:
            raise ConnectionError
        return connection not in self.broken

    def pool(self, size: int = 2, **options: Any) -> ResourcePool[int]:
        return ResourcePool("connection", size, self.make, self.end, clock=virtual_clock(), **options)


@pytest.mark.parametrize("functions", [(None,), (5,), (int, 5)])
def test_what_makes_and_ends_them_has_to_be_a_function(functions: Any) -> None:
    with pytest.raises(DefinitionError, match=r'write ResourcePool\("connection", 1, connect, disconnect\)'):
        ResourcePool("connection", 1, *functions)


@in_virtual_time
async def test_they_are_made_when_needed_and_used_again() -> None:
    factory = Factory()
    pool = factory.pool()
    async with pool.acquire() as first, pool.acquire() as second:
        assert {first, second} == factory.alive == {1, 2}
    for _ in range(5):
        async with pool.acquire() as connection:
            assert connection in {1, 2}
    status = pool.status()
    assert (status.created, status.idle, status.in_use, factory.made) == (2, 2, 0, 2)


@in_virtual_time
async def test_there_are_never_more_and_callers_wait_in_order_for_a_while() -> None:
    factory = Factory()
    pool, order = factory.pool(2, wait_seconds=4, max_waiting=2), list[int]()

    async def use(number: int, seconds: float = 3) -> None:
        async with pool.acquire():
            order.append(number)
            assert len(factory.alive) <= 2
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(use(number)) for number in range(4)]
    await asyncio.sleep(1)
    assert pool.status().waiting == 2
    with pytest.raises(ResourceExhausted, match="all 2 places of 'pool connection' are taken, and 2 wait already"):
        async with pool.acquire():
            pass
    await asyncio.sleep(3)
    with pytest.raises(ResourceExhausted, match="none of the 2 places of 'pool connection' became free within 1 s"):
        async with pool.acquire(wait_seconds=1):
            pass
    await asyncio.gather(*tasks)
    assert (order, pool.status().refused) == ([0, 1, 2, 3], 2)


@in_virtual_time
async def test_what_is_unfit_or_old_is_replaced() -> None:
    factory = Factory()
    pool = factory.pool(1, health_check=factory.check, max_age_seconds=60)
    async with pool.acquire() as connection:
        factory.broken.add(connection)
    async with pool.acquire() as connection:
        assert (connection, factory.alive) == (2, {2})
    await asyncio.sleep(59)
    async with pool.acquire() as connection:
        assert connection == 2
        await asyncio.sleep(2)
    assert factory.alive == set(), "it grew old while it was lent"
    async with pool.acquire() as connection:
        assert connection == 3
    await asyncio.sleep(61)
    async with pool.acquire() as connection:
        assert connection == 4
    status = pool.status()
    assert (status.created, status.destroyed, status.failed) == (4, 3, 1)


@in_virtual_time
async def test_a_holder_says_that_one_is_broken() -> None:
    factory = Factory()
    pool = factory.pool(1)
    lease = pool.acquire()
    async with lease as connection:
        with pytest.raises(CommandRefused, match="the lease is in use already"):
            await lease.__aenter__()
        lease.discard()
    assert connection not in factory.alive
    async with pool.acquire() as connection:
        assert connection == 2


@in_virtual_time
async def test_plain_functions_and_a_failing_check_do_as_well() -> None:
    ended: list[int] = []

    def check(connection: int) -> bool:
        raise ConnectionError(connection)

    pool = ResourcePool("number", 1, iter(range(9)).__next__, ended.append, health_check=check)
    for expected in range(3):
        async with pool.acquire() as number:
            assert number == expected
    assert ended == [0, 1]
    assert await pool.check_idle() == 1
    keeps = ResourcePool("number", 1, lambda: 7)
    async with keeps, keeps.acquire() as number:
        assert number == 7
        assert await keeps.check_idle() == 0
    assert repr(keeps) == "ResourcePool('number', 1, name='number')"


@in_virtual_time
async def test_one_that_cannot_be_made_costs_no_place() -> None:
    factory = Factory()
    pool = factory.pool(1)
    factory.error = OSError("no route")
    with pytest.raises(TemporaryError, match=r"the pool 'connection' cannot make a connection: OSError\('no route'\)"):
        async with pool.acquire():
            pass
    factory.error = StoreUnavailable("closed")
    with pytest.raises(StoreUnavailable):
        async with pool.acquire():
            pass
    factory.error = None
    making = asyncio.create_task(pool.acquire().__aenter__())
    await asyncio.sleep(0.1)
    making.cancel()
    await asyncio.wait([making])
    async with pool.acquire() as connection:
        assert connection == 1
    assert (pool.status().failed, pool.status().in_use) == (2, 0)


@in_virtual_time
async def test_making_one_does_not_take_for_ever() -> None:
    async def never() -> int:
        await asyncio.Event().wait()
        return 7

    pool = ResourcePool("ghost", 1, never)
    with pytest.raises(TemporaryError, match="cannot make a ghost: TimeoutError"):
        async with pool.acquire():
            pass
    assert asyncio.get_running_loop().time() == 30


@in_virtual_time
async def test_who_holds_one_for_too_long_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pool = Factory().pool(2, leak_seconds=60, name="orders")

    async def forget() -> None:
        async with pool.acquire():
            await asyncio.sleep(100)

    task = asyncio.create_task(forget(), name="forgetful")
    await asyncio.sleep(50.5)
    async with pool.acquire(holder="the report"):
        await asyncio.sleep(20)
        forgetful, report = pool.status().holders
    assert (forgetful.holder, forgetful.is_suspect, round(forgetful.held_seconds)) == ("forgetful", True, 70)
    assert (report.holder, report.is_suspect) == ("the report", False)
    assert [r.getMessage() for r in caplog.records] == [
        "forgetful has held a connection of pool orders for 60 s: is it ever given back?"
    ]
    await task
    assert pool.status().suspects == ()


@in_virtual_time
async def test_closing_waits_for_what_is_lent_and_ends_everything() -> None:
    factory = Factory()
    pool = factory.pool(2)

    async def use(seconds: float) -> None:
        async with pool.acquire():
            await asyncio.sleep(seconds)

    async with pool.acquire():
        pass
    tasks = [asyncio.create_task(use(5)), asyncio.create_task(use(5)), asyncio.create_task(use(5))]
    await asyncio.sleep(1)
    assert await pool.close() == 0
    assert factory.alive == set()
    assert asyncio.get_running_loop().time() < 7
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), type(None), CommandRefused]
    with pytest.raises(CommandRefused, match="'pool connection' is closed"):
        async with pool.acquire():
            pass


@in_virtual_time
async def test_what_is_made_while_the_pool_closes_is_not_lent() -> None:
    factory = Factory()
    pool = factory.pool(2)
    making = asyncio.create_task(pool.acquire().__aenter__())
    await asyncio.sleep(0.1)
    assert await pool.close() == 0
    with pytest.raises(CommandRefused, match="the pool 'connection' was closed meanwhile"):
        await making
    assert (factory.alive, pool.status().in_use) == (set(), 0)


@in_virtual_time
async def test_looking_at_idle_ones_takes_their_places_and_loses_none() -> None:
    async def slow_check(connection: int) -> bool:
        await asyncio.sleep(1)
        return True

    factory = Factory()
    pool = factory.pool(2, health_check=slow_check)
    async with pool.acquire(), pool.acquire():
        pass
    looking = asyncio.create_task(pool.check_idle())
    await asyncio.sleep(0.5)
    async with pool.acquire(), pool.acquire():
        assert factory.alive == {1, 2}
        assert looking.done()
    looking = asyncio.create_task(pool.check_idle())
    await asyncio.sleep(0.5)
    looking.cancel()
    await asyncio.wait([looking])
    status = pool.status()
    assert (status.in_use, status.idle, len(factory.alive)) == (0, 1, 1), (
        "what was not looked at to the end is not trusted"
    )


@in_virtual_time
async def test_what_is_still_out_after_closing_is_said_and_ended_when_it_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = Factory()
    pool = factory.pool(2, name="orders")
    lease = pool.acquire(holder="the report")
    connection = await lease.__aenter__()
    assert await pool.close(drain_seconds=3) == 1
    assert "pool orders is closed with 1 resources still out, held by the report" in caplog.text
    await lease.__aexit__(None, None, None)
    assert connection not in factory.alive


@in_virtual_time
async def test_an_end_that_fails_is_logged_and_the_place_is_free(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agenticflow.resources")

    def end(connection: int) -> None:
        raise OSError("gone already")

    pool = ResourcePool("connection", 1, lambda: 7, end, max_age_seconds=1e-9, clock=virtual_clock())
    for _ in range(2):
        async with pool.acquire():
            await asyncio.sleep(1)
    assert pool.status().in_use == 0
    assert caplog.messages == ["a connection of pool connection could not be ended: gone already"] * 2


@in_virtual_time
async def test_pools_of_the_process_are_listed() -> None:
    kept = Factory().pool(name="listed")
    assert [status.max_size for status in list_pools() if status.name == "listed"] == [kept.max_size]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", 1, int), "'' is no type of resource"),
        (("x", 0, int), "max_concurrent of 'pool x' is 0"),
        (("x", 1, 7), "create_fn of the pool of 'x' is 7, not a function"),
        (("x", 1, int, "y"), "destroy_fn of the pool of 'x' is 'y', not a function"),
    ],
)
def test_what_is_no_pool_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        ResourcePool(*arguments)
    with pytest.raises(DefinitionError, match="leak_seconds of the pool of 'x' is 0"):
        ResourcePool("x", 1, int, leak_seconds=0)


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.floats(0, 4), st.floats(0, 4), st.sampled_from(["fine", "broken", "discarded", "cancelled"])),
        max_size=15,
    ),
)
def test_whatever_its_users_do_the_pool_keeps_count(size: int, visits: list[tuple[float, float, str]]) -> None:
    async def main() -> None:
        factory = Factory()
        pool = factory.pool(size, health_check=factory.check, wait_seconds=3)
        lent: set[int] = set()

        async def use(after: float, seconds: float, what: str) -> None:
            await asyncio.sleep(after)
            lease = pool.acquire()
            async with lease as connection:
                assert connection not in lent
                lent.add(connection)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    lent.discard(connection)
                if what == "broken":
                    factory.broken.add(connection)
                elif what == "discarded":
                    lease.discard()

        tasks = [asyncio.create_task(use(*visit)) for visit in visits]
        for task, (after, seconds, what) in zip(tasks, visits, strict=True):
            if what == "cancelled":
                asyncio.get_running_loop().call_later(after + seconds / 2, task.cancel)
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            assert end is None or isinstance(end, (asyncio.CancelledError, ResourceExhausted))
        status = pool.status()
        assert (status.in_use, status.waiting, status.holders) == (0, 0, ())
        assert status.created - status.destroyed == status.idle <= size
        assert await pool.close() == 0

    run_virtual(main())
