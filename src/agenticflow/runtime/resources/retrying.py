"""``@retry`` for plain calls of infrastructure: a query, a request, a file elsewhere. Never around a task, which the engine retries.

Ours, on the same ``RetryPolicy``, instead of another package: the rule is there already, and so is what tells permanent from temporary.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast, overload

import msgspec

from agenticflow.core.binding import HandlerRule, rule_of, set_rule
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.results import describe_error
from agenticflow.errors import DefinitionError, UsageError
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.runtime.clock import new_seed

__all__ = ["retry"]

log = logging.getLogger("agenticflow.resources")

P = ParamSpec("P")
R = TypeVar("R")
NANOSECONDS: Final = 1_000_000_000
TOTAL_SECONDS: Final = 300.0
"""No attempt begins later than so long after the first one did."""
_NO_TASK: Final = HandlerRule(
    refusal="is decorated with @retry, and the attempts of a task are the engine's: recorded, and resumed after a crash",
    hint="take @retry away and give the task a retry_policy=; @retry belongs on what a handler calls",
)


@overload
def retry(given: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry(
    given: RetryPolicy | None = None,
    /,
    *,
    max_attempts: int = 3,
    initial_delay_seconds: float = 0.5,
    total_timeout_seconds: float = TOTAL_SECONDS,
    clock: Clock | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry(
    given: Any = None,
    /,
    *,
    max_attempts: int = 3,
    initial_delay_seconds: float = 0.5,
    total_timeout_seconds: float = TOTAL_SECONDS,
    clock: Clock | None = None,
) -> Any:
    """Call the decorated function again when it fails: ``@retry``, ``@retry(max_attempts=5)``, ``@retry(RetryPolicy(…))``.

    Async and plain functions; a plain one waits in its thread and is refused on the event loop. What is permanent is not tried again,
    and an error with ``retry_after_seconds`` is given that time, up to the policy's longest delay. The last error is raised as it is. No
    attempt begins later than ``total_timeout_seconds`` after the first. A function decorated so is no handler of a task
    (``DefinitionError``).
    """
    if isinstance(given, RetryPolicy):
        policy = given
    elif given is None or callable(given):
        policy = RetryPolicy(max_attempts=max_attempts, initial_delay_seconds=initial_delay_seconds)
        if policy.contradiction:  # of the longest delay nothing was said, and nothing can be said here
            policy = msgspec.structs.replace(policy, max_delay_seconds=initial_delay_seconds)
    else:
        raise DefinitionError(
            f"@retry got {given!r:.60}", hint="write @retry, @retry(max_attempts=5) or @retry(RetryPolicy(…))"
        )
    if policy.contradiction:
        raise DefinitionError(f"@retry: {policy.contradiction}")
    repeat = _Repeat(policy, total_timeout_seconds, clock)
    if given is not None and given is not policy:
        return repeat.around(given)
    return repeat.around


class _Repeat:
    """How one decorated function is tried again."""

    def __init__(self, policy: RetryPolicy, total_seconds: float, clock: Clock | None) -> None:
        self._policy = policy
        self._total_seconds = total_seconds
        self._clock = clock

    def around(self, function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(
                f"@retry repeats calls, and {getattr(function, '__qualname__', function)!r} is a generator or no function"
            )
        repeated: Any = self._async(function) if inspect.iscoroutinefunction(function) else self._plain(function)
        rule = rule_of(function)
        set_rule(repeated, _NO_TASK if not rule.refusal else rule)
        return cast("Callable[P, R]", repeated)

    def _async(self, function: Callable[..., Any]) -> Any:
        awaited = cast("Callable[..., Awaitable[object]]", function)

        @wraps(function)
        async def repeated(*args: object, **kwargs: object) -> object:
            began, seed, attempt = self._now(), "", 1
            while True:
                try:
                    return await awaited(*args, **kwargs)
                except Exception as error:
                    seed = seed or new_seed()
                    delay = self._delay(function, attempt, error, seed, began)
                    if delay is None:
                        raise
                await asyncio.sleep(delay)
                attempt += 1

        return repeated

    def _plain(self, function: Callable[..., Any]) -> Any:
        @wraps(function)
        def repeated(*args: object, **kwargs: object) -> object:
            began, seed, attempt = self._now(), "", 1
            while True:
                try:
                    return function(*args, **kwargs)
                except Exception as error:
                    seed = seed or new_seed()
                    delay = self._delay(function, attempt, error, seed, began)
                    if delay is None:
                        raise
                    _refuse_to_block(function, error)
                threading.Event().wait(delay)
                attempt += 1

        return repeated

    def _now(self) -> int:
        return (self._clock or ambient.clock).now_ns()

    def _delay(
        self, function: Callable[..., Any], attempt: int, error: Exception, seed: str, began: int
    ) -> float | None:
        """Return how long to wait before the next attempt; ``None``: there is none."""
        name = _name_of(function)
        delay = self._policy.delay_after(attempt, describe_error(error), seed=seed, task_key=name)
        if delay is None:
            return None
        wished = getattr(error, "retry_after_seconds", None)
        if isinstance(wished, (int, float)):
            delay = max(delay, min(float(wished), self._policy.max_delay_seconds))
        if (self._now() - began) / NANOSECONDS + delay > self._total_seconds:
            return None
        log.info("%s failed at attempt %d, again in %.3g s: %s", name, attempt, delay, error)
        return delay


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _refuse_to_block(function: Callable[..., Any], error: Exception) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"{_name_of(function)!r} is a plain function with @retry and was called on the event loop, which it would block while it waits",
        hint="make it async, or call it with asyncio.to_thread",
    ) from error
