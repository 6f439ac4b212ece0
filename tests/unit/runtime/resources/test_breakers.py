"""Breakers of the process: one for each name, for tasks and threads, visible, with a fallback, moved by people."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow import Agent, CircuitBreaker, RetryPolicy, TaskDefinition, WorkflowDefinition, circuit_breaker
from agenticflow.core.clocks import ManualClock
from agenticflow.errors import BoundExceeded, CircuitOpen, DefinitionError, InvalidInput
from agenticflow.resilience import BreakerState
from agenticflow.runtime.resources import list_breakers
from tests.unit.runtime.engine import in_virtual_time, running, virtual_clock

OPEN, CLOSED, HALF_OPEN = BreakerState.OPEN, BreakerState.CLOSED, BreakerState.HALF_OPEN


async def fails(breaker: CircuitBreaker, times: int, error: type[BaseException] = ConnectionError) -> None:
    for _ in range(times):
        with pytest.raises(error):
            async with breaker:
                raise error("no route")


@in_virtual_time
async def test_five_failures_open_it_and_thirty_seconds_later_one_call_tries() -> None:
    breaker = CircuitBreaker("five", failure_threshold=5, recovery_timeout=30, clock=virtual_clock())
    await fails(breaker, 5)
    with pytest.raises(
        CircuitOpen, match=r"'five' is open: ConnectionError: no route \(try again in 30 s\)"
    ) as refusal:
        async with breaker:
            pytest.fail("nothing may be asked")
    assert (refusal.value.breaker, refusal.value.retry_after_seconds) == ("five", 30)
    await asyncio.sleep(30)
    async with breaker:
        assert breaker.state is HALF_OPEN
        with pytest.raises(CircuitOpen):
            await asyncio.create_task(breaker.__aenter__())
    assert breaker.state is CLOSED


@in_virtual_time
async def test_everybody_who_uses_a_name_has_the_same_breaker() -> None:
    clock = virtual_clock()
    await fails(CircuitBreaker("shared", 2, clock=clock), 1)
    await fails(CircuitBreaker("shared", 2), 1)
    assert CircuitBreaker("shared", 2).state is OPEN
    with pytest.raises(DefinitionError, match="'shared' is there already, with other numbers"):
        CircuitBreaker("shared", 3)


@in_virtual_time
async def test_one_object_serves_many_tasks_at_once_and_the_late_ones_change_nothing() -> None:
    breaker = CircuitBreaker("many", 3, 10, clock=virtual_clock())

    async def call(seconds: float, error: Exception | None) -> None:
        async with breaker:
            await asyncio.sleep(seconds)
            if error is not None:
                raise error

    calls = [call(1, ConnectionError()) for _ in range(3)]
    calls += [call(12, ConnectionError()), call(13, None)]
    tasks = [asyncio.create_task(one) for one in calls]
    await asyncio.sleep(11.5)
    assert breaker.state is OPEN
    async with breaker:
        await asyncio.sleep(3)
        assert breaker.state is HALF_OPEN, "neither failure nor success of earlier calls decides"
    assert breaker.state is CLOSED
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (breaker.status().succeeded, breaker.status().failed) == (2, 4)


@in_virtual_time
async def test_breakers_stand_behind_each_other() -> None:
    outer = CircuitBreaker("outer", 1, clock=virtual_clock())
    inner = CircuitBreaker("inner", 1, clock=virtual_clock())
    await fails(inner, 1)
    with pytest.raises(CircuitOpen):
        async with outer, inner:
            pytest.fail("the inner one is open")
    assert outer.state is CLOSED, "nothing was asked"
    with pytest.raises(ConnectionError):
        async with outer, CircuitBreaker("innermost", 1):
            raise ConnectionError
    assert (outer.state, CircuitBreaker("innermost", 1).state) == (OPEN, OPEN)


@in_virtual_time
async def test_what_is_left_in_another_context_says_nothing() -> None:
    breaker = CircuitBreaker("elsewhere", 1, clock=virtual_clock())
    await asyncio.create_task(breaker.__aenter__())
    error = ConnectionError()
    await breaker.__aexit__(type(error), error, None)
    assert (breaker.state, breaker.status().failed) == (CLOSED, 1)


@in_virtual_time
async def test_generators_that_take_turns_leave_their_breakers_in_any_order() -> None:
    first = CircuitBreaker("first", 1, clock=virtual_clock())
    second = CircuitBreaker("second", 1, clock=virtual_clock())
    for breaker in (first, second):
        await fails(breaker, 1)
    await asyncio.sleep(30)
    await first.__aenter__()
    await second.__aenter__()
    assert (first.state, second.state) == (HALF_OPEN, HALF_OPEN)
    await first.__aexit__(None, None, None)
    assert (first.state, second.state) == (CLOSED, HALF_OPEN)
    await second.__aexit__(None, None, None)
    assert second.state is CLOSED


@in_virtual_time
async def test_cancelled_and_wrong_calls_count_neither_way() -> None:
    breaker = CircuitBreaker("neither", 1, clock=virtual_clock())
    await fails(breaker, 3, InvalidInput)
    await fails(breaker, 3, asyncio.CancelledError)
    assert (breaker.state, breaker.status().ignored) == (CLOSED, 6)
    picky = CircuitBreaker("picky", 1, counted_errors=[OSError], ignored_errors=["ConnectionError"])
    await fails(picky, 1)
    await fails(picky, 1, ValueError)
    assert picky.state is CLOSED
    await fails(picky, 1, OSError)
    assert picky.state is OPEN


@in_virtual_time
async def test_a_person_opens_closes_and_resets_it(caplog: pytest.LogCaptureFixture) -> None:
    breaker = CircuitBreaker("by hand", clock=virtual_clock())
    breaker.open()
    await asyncio.sleep(100_000)
    with pytest.raises(CircuitOpen, match=r"'by hand' is open \(a person opened it, and closes it\)") as refusal:
        async with breaker:
            pass
    assert refusal.value.retry_after_seconds is None
    breaker.close()
    async with breaker:
        pass
    assert (breaker.status().succeeded, breaker.status().refused, breaker.status().opened) == (1, 1, 1)
    breaker.reset()
    assert breaker.status().succeeded == 0
    assert [r.getMessage() for r in caplog.records] == [
        f"circuit breaker 'by hand' was {what} by hand" for what in ("opened", "closed", "reset")
    ]
    assert repr(breaker) == "CircuitBreaker('by hand', CLOSED)"


@in_virtual_time
async def test_all_of_them_are_listed_and_what_they_do_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agenticflow.resources")
    breaker = CircuitBreaker("listed", 2, 5, clock=virtual_clock())
    await fails(breaker, 2)
    found = {status.name: status for status in list_breakers()}["listed"]
    assert (found.state, found.failed, found.last_error) == (OPEN, 2, "ConnectionError: no route")
    await asyncio.sleep(5)
    async with breaker:
        pass
    assert [r.getMessage() for r in caplog.records] == [
        "circuit breaker 'listed' opened for 5 s; last error: ConnectionError: no route",
        "circuit breaker 'listed' tries whether it works again",
        "circuit breaker 'listed' is CLOSED",
    ]
    assert breaker.policy.failure_threshold == 2


# --- decorated ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_decorated_coroutine_stands_behind_a_breaker_of_its_own_name() -> None:
    @circuit_breaker(failure_threshold=2, recovery_timeout=30, clock=virtual_clock())
    async def charge(amount: int) -> int:
        if amount < 0:
            raise ConnectionError("no route")
        return amount

    assert await charge(7) == 7
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await charge(-1)
    with pytest.raises(CircuitOpen):
        await charge(7)
    (name,) = [status.name for status in list_breakers() if status.name.endswith("<locals>.charge")]
    assert name.startswith(__name__)
    assert inspect.signature(charge).parameters.keys() == {"amount"}
    assert Agent("teller").task("charge")(charge) is charge


@in_virtual_time
async def test_the_fallback_answers_while_nothing_goes_through_and_never_hides_an_error() -> None:
    asked: list[int] = []

    async def cached(order: int) -> str:
        return f"cached {order}"

    @circuit_breaker("prices", failure_threshold=1, fallback=cached, clock=virtual_clock())
    async def price(order: int) -> str:
        asked.append(order)
        raise ConnectionError

    @circuit_breaker("prices", failure_threshold=1, fallback=lambda order: f"plain {order}")
    async def other_price(order: int) -> str:
        raise AssertionError("never asked")

    with pytest.raises(ConnectionError):
        await price(1)
    assert await price(2) == "cached 2"
    assert await other_price(3) == "plain 3"
    assert asked == [1]


def test_plain_functions_in_threads_share_it_too() -> None:
    clock = ManualClock()

    @circuit_breaker("threads", failure_threshold=50, clock=clock)
    def query() -> None:
        raise ConnectionError

    @circuit_breaker("threads", failure_threshold=50, fallback=lambda: "none")
    def other() -> str:
        return "some"

    def many() -> None:
        for _ in range(10):
            with pytest.raises(ConnectionError):
                query()

    threads = [threading.Thread(target=many) for _ in range(5)]
    assert other() == "some"
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other() == "none"
    with pytest.raises(CircuitOpen):
        query()
    clock.advance(30)
    assert other() == "some"
    status = CircuitBreaker("threads", 50).status()
    assert (status.state, status.failed, status.refused, status.succeeded) == (CLOSED, 50, 2, 2)


def numbers() -> Any:
    yield 1


async def later() -> None: ...


UNCHECKED: Any = circuit_breaker
"""What the type checker refuses is refused at run time too."""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: UNCHECKED(numbers), "got 'numbers', not a name"),
        (lambda: circuit_breaker("g")(numbers), "guards calls, and 'numbers' is a generator"),
        (
            lambda: circuit_breaker("f", fallback=later)(lambda: None),
            "the fallback of .* is async and the function is not",
        ),
        (lambda: CircuitBreaker(""), "'' is no name of a circuit breaker"),
        (lambda: CircuitBreaker("x", failure_threshold=0), "failure_threshold of a circuit breaker is 0"),
        (lambda: CircuitBreaker("x", recovery_timeout=0), "recovery_seconds of a circuit breaker is 0"),
    ],
)
def test_what_cannot_be_guarded_is_refused(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        wrong()


def test_there_are_not_more_than_a_process_should_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.runtime.resources.breakers.MAX_BREAKERS", len(list_breakers()))
    with pytest.raises(BoundExceeded, match="circuit breakers already"):
        CircuitBreaker("one more")


# --- in tasks -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_tasks_share_a_breaker_spare_the_service_and_come_back_when_it_works() -> None:
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    agent = Agent("teller", concurrency=10)

    @agent.task("charge")
    @circuit_breaker("bank", failure_threshold=3, recovery_timeout=30, clock=virtual_clock())
    async def charge(n: int) -> int:
        asked.append(loop.time())
        if loop.time() < 25:
            raise ConnectionError("no route")
        return n

    policy = RetryPolicy(max_attempts=20, initial_delay_seconds=5, multiplier=1, jitter=False)
    tasks = [TaskDefinition(f"t{n}", "teller", "charge", {"n": n}, retry_policy=policy) for n in range(10)]
    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        assert await handle.result() == {f"t{n}": n for n in range(10)}
    assert [at for at in asked if at < 30] == [asked[0]] * 3, (
        "the other seven did not ask, and nobody did while it was open"
    )
    assert len(asked) == 13


async def test_a_call_that_is_no_block_stands_behind_a_breaker_too() -> None:
    breaker = CircuitBreaker("tickets", 2)
    for _ in range(2):
        ticket = breaker.enter()
        breaker.leave(ticket, None)
    breaker.leave(breaker.enter(), asyncio.CancelledError())
    first, second = breaker.enter(), breaker.enter()
    breaker.leave(first, ConnectionError("down"))
    breaker.leave(second, ConnectionError("down"))
    status = breaker.status()
    assert (status.state, status.succeeded, status.failed, status.ignored) == (BreakerState.OPEN, 2, 2, 1)
    with pytest.raises(CircuitOpen):
        breaker.enter()
