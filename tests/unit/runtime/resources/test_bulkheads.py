"""Bulkheads: so many inside, so many waiting, for so long; a seat is never lost and nobody overtakes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import CommandRefused, DefinitionError, ResourceExhausted
from agenticflow.runtime.resources import Bulkhead
from agenticflow.testing.virtual_time import run_virtual
from tests.unit.runtime.engine import in_virtual_time


async def stay(bulkhead: Bulkhead, seconds: float, inside: list[int], most: list[int], number: int = 0) -> None:
    async with bulkhead:
        inside.append(number)
        most.append(len(inside))
        try:
            await asyncio.sleep(seconds)
        finally:
            inside.remove(number)


@in_virtual_time
async def test_no_more_are_inside_than_may_and_they_come_in_order() -> None:
    bulkhead, order = Bulkhead("b", 2), list[int]()

    async def call(number: int) -> None:
        async with bulkhead:
            order.append(number)
            assert bulkhead.status().in_use <= 2
            await asyncio.sleep(1)

    await asyncio.gather(*(call(number) for number in range(7)))
    assert (order, bulkhead.status().in_use) == (list(range(7)), 0)
    assert repr(bulkhead) == "Bulkhead('b', 0 of 2)"


@in_virtual_time
async def test_who_finds_no_place_in_time_or_too_many_waiting_is_turned_away() -> None:
    bulkhead = Bulkhead("b", 1, max_waiting=1, wait_seconds=5)
    await bulkhead.acquire()
    waiting = asyncio.create_task(bulkhead.acquire())
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="all 1 places of 'b' are taken, and 1 wait already"):
        await bulkhead.acquire()
    with pytest.raises(ResourceExhausted, match="none of the 1 places of 'b' became free within 5 s"):
        await waiting
    status = bulkhead.status()
    assert (status.in_use, status.waiting, status.refused) == (1, 0, 2)
    bulkhead.release()
    await bulkhead.acquire(wait_seconds=0)


@in_virtual_time
async def test_a_closed_one_lets_nobody_in_and_turns_away_who_waits() -> None:
    bulkhead = Bulkhead("b", 1)
    await bulkhead.acquire()
    waiting = asyncio.create_task(bulkhead.acquire())
    await asyncio.sleep(0)
    bulkhead.close()
    with pytest.raises(CommandRefused, match="'b' was closed while waiting for it"):
        await waiting
    with pytest.raises(CommandRefused, match="'b' is closed"):
        await bulkhead.acquire()
    bulkhead.release()
    assert bulkhead.status().in_use == 0


@in_virtual_time
async def test_a_seat_handed_to_who_is_cancelled_goes_on_to_the_next() -> None:
    bulkhead = Bulkhead("b", 1)
    await bulkhead.acquire()
    first, second = (asyncio.create_task(bulkhead.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    bulkhead.release()
    first.cancel()
    await second
    assert first.cancelled()
    assert bulkhead.status().in_use == 1


@in_virtual_time
async def test_a_seat_that_becomes_free_at_the_last_moment_is_taken_or_refused_but_never_lost() -> None:
    for release_at, wait in ((5, 5), (5, 5.000001), (5.000001, 5)):
        bulkhead = Bulkhead("b", 1)
        await bulkhead.acquire()
        asyncio.get_running_loop().call_later(release_at, bulkhead.release)
        has_seat = True
        try:
            await bulkhead.acquire(wait)
        except ResourceExhausted:
            has_seat = False
        await asyncio.sleep(1)
        assert (has_seat, bulkhead.status().in_use) == (release_at <= wait, release_at <= wait)


def test_seats_go_from_one_loop_to_another() -> None:
    bulkhead, inside, most = Bulkhead("loops", 1), list[int](), list[int]()

    async def many(number: int) -> None:
        for _ in range(50):
            await stay(bulkhead, 0, inside, most, number)

    threads = [threading.Thread(target=lambda n=number: asyncio.run(many(n))) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most), bulkhead.status().in_use) == (1, 150, 0)


def test_who_waited_in_a_loop_that_is_gone_is_passed_over() -> None:
    bulkhead = Bulkhead("gone", 1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(bulkhead.acquire())
    waiting = loop.create_task(bulkhead.acquire())
    loop.run_until_complete(asyncio.sleep(0))
    assert bulkhead.status().waiting == 1
    loop.close()
    bulkhead.release()
    assert (bulkhead.status().waiting, bulkhead.status().in_use) == (0, 0)
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # the loop went away with it, on purpose


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.one_of(st.none(), st.floats(0, 8))), max_size=20),
)
def test_whoever_comes_goes_and_gives_up_no_seat_is_lost(
    seats: int, visits: list[tuple[float, float, float | None]]
) -> None:
    async def main() -> None:
        bulkhead, inside, most = Bulkhead("b", seats, wait_seconds=3), list[int](), [0]

        async def visit(number: int, after: float, seconds: float) -> None:
            await asyncio.sleep(after)
            await stay(bulkhead, seconds, inside, most, number)

        tasks = [asyncio.create_task(visit(n, after, stays)) for n, (after, stays, _) in enumerate(visits)]
        for task, (_, _, cancel_after) in zip(tasks, visits, strict=True):
            if cancel_after is not None:
                asyncio.get_running_loop().call_later(cancel_after, task.cancel)
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            assert end is None or isinstance(end, (asyncio.CancelledError, ResourceExhausted))
        assert max(most) <= seats
        assert (bulkhead.status().in_use, bulkhead.status().waiting) == (0, 0)

    run_virtual(main())


@pytest.mark.parametrize("arguments", [{"max_concurrent": 0}, {"max_concurrent": True}, {"max_waiting": -1}])
def test_what_is_no_bulkhead_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(DefinitionError, match="of 'b' is "):
        Bulkhead("b", **arguments)
