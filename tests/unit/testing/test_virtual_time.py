"""Virtual time: waiting costs nothing, order is kept, and what can never end says so."""

from __future__ import annotations

import asyncio
import time

import pytest

from agenticflow.runtime.activities.limits import Limits
from agenticflow.runtime.timers import Tick, Timers
from agenticflow.testing.virtual_time import EPOCH_NS, VirtualClock, VirtualDeadlock, VirtualLoop, run_virtual

YEAR = 365 * 24 * 3_600.0


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def test_a_year_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(YEAR)
        return loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == pytest.approx(YEAR)
    assert time.monotonic() - began < 5


def test_the_clock_tells_the_loops_time() -> None:
    async def main() -> None:
        clock = loop().clock
        assert clock.now_ns() == EPOCH_NS
        await asyncio.sleep(2.5)
        assert clock.now_ns() == EPOCH_NS + 2_500_000_000
        assert clock.elapsed_seconds == 2.5
        assert VirtualClock(loop(), 0).now_ns() == 2_500_000_000

    run_virtual(main())


def test_time_may_begin_anywhere() -> None:
    async def main() -> int:
        return loop().clock.now_ns()

    assert run_virtual(main(), start_ns=5) == 5


def test_work_takes_no_time() -> None:
    async def main() -> int:
        for _ in range(50):
            await asyncio.sleep(0)
        return loop().elapsed_ns

    assert run_virtual(main()) == 0


def test_what_is_due_earlier_happens_earlier() -> None:
    async def main() -> list[float]:
        order: list[float] = []

        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*(wait(seconds) for seconds in (30, 10, 20, 0.001, 10_000)))
        return order

    assert run_virtual(main()) == [0.001, 10, 20, 30, 10_000]


def test_time_limits_of_asyncio_work() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await asyncio.Event().wait()
        return loop().time()

    assert run_virtual(main()) == 100


def test_time_stands_still_while_a_thread_works() -> None:
    def work() -> str:
        time.sleep(0.02)
        return "done"

    async def main() -> tuple[str, float]:
        later = asyncio.ensure_future(asyncio.sleep(3_600))
        answer = await asyncio.to_thread(work)
        at = loop().time()
        await later
        return answer, at

    assert run_virtual(main()) == ("done", 0.0)


def test_a_thread_that_fails_fails_here() -> None:
    def fail() -> None:
        raise LookupError("no")

    async def main() -> None:
        with pytest.raises(LookupError):
            await asyncio.to_thread(fail)

    run_virtual(main())


def test_what_can_never_end_is_a_deadlock_that_names_who_waits() -> None:
    async def hopeless() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(hopeless(), name="the hopeless one")
        await asyncio.sleep(60)
        await task

    with pytest.raises(
        VirtualDeadlock, match=r"no timer is set after 60 s; waiting: .*the hopeless one at .*hopeless, line \d+"
    ):
        run_virtual(main())


def ticking(rung: list[float], seconds: float) -> None:
    """Ring again and again in the background."""
    future: asyncio.Future[None] = loop().create_future()

    def ring(_: object) -> None:
        rung.append(loop().time())
        ticking(rung, seconds)

    future.add_done_callback(ring)
    loop().call_later(seconds, Tick(future))


def test_background_work_is_done_on_the_way_and_no_more_often_than_is_of_use() -> None:
    rung: list[float] = []

    async def main() -> None:
        ticking(rung, 20)
        await asyncio.sleep(50)
        assert rung == [20, 40]
        await asyncio.sleep(YEAR)

    run_virtual(main())
    assert len(rung) < 10_000, "a year is not looked at every 20 seconds"


def test_background_work_hides_no_deadlock() -> None:
    rung: list[float] = []

    async def main() -> None:
        ticking(rung, 20)
        await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlock, match="nothing is ready"):
        run_virtual(main())
    assert rung, "it is done a few times before: it may be what somebody waits for"


def test_background_work_that_was_called_off_is_not_done() -> None:
    async def main() -> None:
        future: asyncio.Future[None] = loop().create_future()
        loop().call_later(5, Tick(future)).cancel()
        await asyncio.sleep(10)
        assert not future.done()
        done: asyncio.Future[None] = loop().create_future()
        done.set_result(None)
        loop().call_later(5, Tick(done))
        await asyncio.sleep(10)

    run_virtual(main())


def test_an_error_comes_out() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("no")

    with pytest.raises(LookupError):
        run_virtual(main())


@pytest.mark.parametrize("years", [0, 0.1, 1, 100])
def test_a_nanosecond_passes_however_late_it_is(years: float) -> None:
    """A float has no nanoseconds left after half a year; time goes on all the same."""

    async def main() -> int:
        await asyncio.sleep(years * YEAR)
        rang = asyncio.Event()
        due: list[int] = []

        def ring(_: str) -> None:
            due.append(clock.now_ns() - moment)
            rang.set()

        clock = loop().clock
        timers = Timers(clock, ring)
        moment = clock.now_ns() + 1
        timers.set("s", moment)
        await rang.wait()
        return due[0]

    assert run_virtual(main()) >= 0


def test_limits_expire_in_virtual_time() -> None:
    async def main() -> list[tuple[str, float]]:
        expired: list[tuple[str, float]] = []
        limits: Limits[str] = Limits(loop(), lambda key: expired.append((key, loop().time())))
        limits.add("a", 60)
        limits.add("b", 3_600)
        limits.add("c", 60)
        limits.add("gone", 60)
        limits.remove("gone", 60)
        limits.remove("never", 7)
        await asyncio.sleep(30)
        limits.add("d", 5)
        limits.add("e", 60)
        await asyncio.sleep(10_000)
        limits.add("stopped", 1)
        limits.stop()
        await asyncio.sleep(10)
        return expired

    assert run_virtual(main()) == [("d", 35), ("a", 60), ("c", 60), ("e", 90), ("b", 3_600)]
