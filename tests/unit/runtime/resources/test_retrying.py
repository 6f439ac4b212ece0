"""``@retry`` around plain calls: the policy's rules, and never around a task."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow import Agent, RetryPolicy
from agenticflow.errors import CircuitOpen, DefinitionError, InvalidInput, PermanentError, TemporaryError, UsageError
from agenticflow.runtime.resources import circuit_breaker, retry
from tests.unit.runtime.engine import in_virtual_time, virtual_clock

STEADY = RetryPolicy(max_attempts=4, initial_delay_seconds=2, jitter=False)


class Service:
    """Fails as often as told; remembers when it was asked."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("no route")
        self.asked: list[float] = []

    async def ask(self, number: int = 7) -> int:
        self.asked.append(asyncio.get_running_loop().time())
        if len(self.asked) <= self.failures:
            raise self.error
        return number


@in_virtual_time
async def test_it_tries_again_after_the_policys_delays() -> None:
    service = Service(3)
    assert await retry(STEADY)(service.ask)(8) == 8
    assert service.asked == [0, 2, 6, 14]


@in_virtual_time
async def test_the_last_error_comes_out_as_it_is() -> None:
    service = Service(9)
    with pytest.raises(ConnectionError) as failure:
        await retry(STEADY)(service.ask)()
    assert failure.value is service.error
    assert len(service.asked) == 4


@pytest.mark.parametrize("error", [PermanentError("no such order"), InvalidInput("no number")])
def test_what_is_permanent_is_not_tried_again(error: Exception) -> None:
    @in_virtual_time
    async def main() -> None:
        service = Service(9, error)
        with pytest.raises(type(error)):
            await retry(service.ask)()
        assert len(service.asked) == 1

    main()


@in_virtual_time
async def test_jitter_keeps_within_the_policy_and_the_defaults_are_three_attempts() -> None:
    service = Service(2)
    assert await retry(service.ask)() == 7
    assert len(service.asked) == 3
    assert service.asked[2] <= 0.5 + 1.0
    five = Service(4)
    assert await retry(max_attempts=5, initial_delay_seconds=0)(five.ask)() == 7


@in_virtual_time
async def test_an_error_that_says_when_is_given_that_time_and_no_more_than_the_policy_allows() -> None:
    service = Service(1, CircuitOpen("open", retry_after_seconds=30))
    await retry(STEADY)(service.ask)()
    assert service.asked == [0, 30]
    patient = Service(1, CircuitOpen("open", retry_after_seconds=3_000))
    await retry(STEADY)(patient.ask)()
    assert patient.asked == [30, 90]


@in_virtual_time
async def test_no_attempt_begins_after_the_total_time() -> None:
    service = Service(9)
    with pytest.raises(ConnectionError):
        await retry(STEADY, total_timeout_seconds=6, clock=virtual_clock())(service.ask)()
    assert service.asked == [0, 2, 6]


@in_virtual_time
async def test_cancelling_ends_it() -> None:
    service = Service(9)
    task = asyncio.create_task(retry(STEADY)(service.ask)())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), len(service.asked)) == (True, 1)


@in_virtual_time
async def test_callables_without_a_name_are_tried_again_too() -> None:
    service = Service(1)
    assert await retry(STEADY)(functools.partial(service.ask, 9))() == 9
    assert await circuit_breaker("partial")(functools.partial(service.ask, 9))() == 9


def test_plain_functions_are_tried_again_in_their_thread() -> None:
    calls: list[int] = []

    @retry(RetryPolicy(max_attempts=3, initial_delay_seconds=0))
    def query(number: int) -> int:
        calls.append(number)
        if len(calls) < 3:
            raise TemporaryError("busy")
        return number

    assert query(7) == 7
    assert calls == [7, 7, 7]
    with pytest.raises(ZeroDivisionError):
        retry(max_attempts=2, initial_delay_seconds=0)(lambda: 1 // 0)()


@in_virtual_time
async def test_plain_functions_do_not_block_the_event_loop() -> None:
    @retry
    def query() -> None:
        raise ConnectionError

    with pytest.raises(UsageError, match="was called on the event loop, which it would block") as refusal:
        query()
    assert isinstance(refusal.value.__cause__, ConnectionError)


@retry
async def fetch() -> None: ...


def numbers() -> Any:
    yield 1


UNCHECKED: Any = retry
"""What the type checker refuses is refused at run time too."""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Agent("a").task("x")(fetch), "the handler 'a.x' is decorated with @retry, and the attempts of a task"),
        (lambda: Agent("a").task("x")(circuit_breaker()(fetch)), "is decorated with @retry"),
        (lambda: Agent("a").task("x")(retry(fetch)), "is decorated with @retry"),
        (lambda: retry(numbers), "@retry repeats calls, and 'numbers' is a generator"),
        (lambda: UNCHECKED(3), "@retry got 3"),
        (lambda: retry(max_attempts=0), "max_attempts is 0"),
    ],
)
def test_what_is_wrong_is_refused(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        wrong()
