"""``@resource_bounded``: what one call may need at most, enforced, never advisory.

Time and concurrency of an async function are kept on the event loop. Memory and processor time can only be kept from outside, by the
kernel, for a process as a whole: such a function runs in a process of its own, as a handler through the engine's pool
(``runtime.activities.processes``), called by hand through one pool that this process keeps for it. What cannot be enforced is refused
when the function is defined.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

from agenticflow import errors
from agenticflow.core import codec
from agenticflow.core.binding import Handler, HandlerRule, rule_of, set_rule
from agenticflow.core.results import ErrorInfo, OutcomeKind
from agenticflow.errors import (
    DefinitionError,
    InvalidInput,
    OutcomeUnknown,
    PermanentError,
    TaskTimeout,
    TemporaryError,
    UsageError,
)
from agenticflow.resilience.bounds import ResourceBounds
from agenticflow.runtime.activities.processes import ProcessPool
from agenticflow.runtime.activities.restraints import bounds_in_force, bounds_of, can_enforce, is_child, set_bounds
from agenticflow.runtime.resources.bulkheads import Bulkhead

__all__ = ["resource_bounded"]

P = ParamSpec("P")
R = TypeVar("R")
_NEEDS_PROCESS: Final = HandlerRule(needs_process=True)


def resource_bounded(
    *,
    max_memory: str | int | None = None,
    max_cpu_time: str | float | timedelta | None = None,
    timeout: str | float | timedelta | None = None,
    max_concurrent: int | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Hold every call of the decorated function to bounds: ``@resource_bounded(max_memory="1GB", max_cpu_time="30s", timeout="60s")``.

    An async function with ``timeout`` and ``max_concurrent`` alone stays on the event loop. With ``max_memory`` (what it may take beyond
    what its process had) or ``max_cpu_time``, and whenever it is a plain function, each call runs in a process of its own: the function
    stands at the top level of a module, values go there and back as data, and a handler made of it runs in a process by itself.

    Raises ``ResourceLimitExceeded`` for memory and processor time, ``TaskTimeout`` for time; other errors come back as they are where
    they are built in or ours. Raises ``DefinitionError`` for what cannot be enforced: on a machine without Linux, on a function no
    process finds, in a thread (``run_in="thread"``), ``max_concurrent`` of a plain function.
    """
    bounds = ResourceBounds.written(
        max_memory=max_memory, max_cpu_time=max_cpu_time, timeout=timeout, max_concurrent=max_concurrent
    )

    def hold(function: Callable[P, R]) -> Callable[P, R]:
        name = getattr(function, "__qualname__", repr(function))
        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"@resource_bounded holds calls, and {name!r} is a generator or no function")
        if bounds_of(function) is not None:
            raise DefinitionError(f"{name!r} has bounds already", hint="write all of them in one @resource_bounded(…)")
        is_async = inspect.iscoroutinefunction(function)
        if bounds.needs_process and not can_enforce():
            raise DefinitionError(
                f"max_memory and max_cpu_time of {name!r} cannot be enforced on {sys.platform}", hint="they need Linux"
            )
        if not is_async and bounds.max_concurrent is not None:
            raise DefinitionError(
                f"max_concurrent of {name!r} cannot be enforced: it is no async function",
                hint='make it async, or give its task limits=[Limit("name", max_concurrent=…)]',
            )
        if is_async and not bounds.needs_process:
            return cast("Callable[P, R]", _on_the_loop(function, bounds, name))
        return cast("Callable[P, R]", _apart(function, bounds, name, is_async=is_async))

    return hold


def _on_the_loop(function: Callable[..., Any], bounds: ResourceBounds, name: str) -> Any:
    awaited = cast("Callable[..., Awaitable[object]]", function)
    bulkhead = None if bounds.max_concurrent is None else Bulkhead(name, bounds.max_concurrent)

    @wraps(function)
    async def held(*args: object, **kwargs: object) -> object:
        if bulkhead is None:
            return await _in_time(awaited(*args, **kwargs), bounds.timeout_seconds, name)
        async with bulkhead:
            return await _in_time(awaited(*args, **kwargs), bounds.timeout_seconds, name)

    return held


async def _in_time(call: Awaitable[object], seconds: float | None, name: str) -> object:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call
    except TimeoutError as error:
        if not limit.expired():
            raise  # its own
        raise TaskTimeout(f"{name!r} was not done within its bound of {seconds:g} s") from error


# --- in a process of its own ------------------------------------------------------------------------------------------


class _Pool:
    """The processes for calls by hand: one per core, as many calls at once, and a bounded line before them."""

    def __init__(self) -> None:
        self.processes = ProcessPool()
        self.seats = Bulkhead("the processes for bounded functions", self.processes.limit, wait_seconds=3_600)


_POOL: Final = _Pool()


def _apart(function: Callable[..., Any], bounds: ResourceBounds, name: str, *, is_async: bool) -> Any:
    signature = inspect.signature(function)
    bulkhead = None if bounds.max_concurrent is None else Bulkhead(name, bounds.max_concurrent)
    # Made of the function itself, for its checks: what a process cannot find or be told by name is refused now.
    checked = Handler(function, name=name)
    _demand_reachable(checked)
    handler: Handler

    async def call(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        params = _named(signature, name, args, kwargs)
        if bulkhead is None:
            return await _called(handler, params)
        async with bulkhead:
            return await _called(handler, params)

    held: Any
    if is_async:

        @wraps(function)
        async def held_async(*args: object, **kwargs: object) -> object:
            if _is_right_here(bounds, name):
                return await function(*args, **kwargs)
            return await call(args, kwargs)

        held = held_async
    else:

        @wraps(function)
        def held_plain(*args: object, **kwargs: object) -> object:
            if _is_right_here(bounds, name):
                return function(*args, **kwargs)
            _refuse_to_block(name)
            return asyncio.run(call(args, kwargs))

        held = held_plain
        rule = rule_of(function)
        set_rule(held, rule if rule.refusal else _NEEDS_PROCESS)
    set_bounds(held, bounds)
    handler = Handler(held, name=checked.name)
    return held


def _demand_reachable(handler: Handler) -> None:
    """Raise ``DefinitionError`` for what a process cannot find, or be given."""
    if "<" in handler.name:
        raise DefinitionError(
            f"{handler.name!r} runs in a process of its own and must be importable by name",
            hint="define it at the top level of a module",
        )
    if handler.takes_context:
        raise DefinitionError(
            f"{handler.name!r} runs in a process of its own and cannot take the context there",
            hint="take the values it needs as parameters",
        )


def _is_right_here(bounds: ResourceBounds, name: str) -> bool:
    """Whether this is the process that was made for the call. Raises ``UsageError`` in that of another call."""
    if not is_child():
        return False
    if bounds_in_force() is not bounds:
        raise UsageError(
            f"{name!r} was called inside the process of another call, where its own bounds cannot be enforced",
            hint="call it from where the engine runs, or give all of it to the bounds of the outer function",
        )
    return True


async def _called(handler: Handler, params: dict[str, object]) -> object:
    async with _POOL.seats:
        kill: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        outcome = await _POOL.processes.run(handler, params, {}, kill)
    if outcome.kind is OutcomeKind.SUCCEEDED:
        return codec.decode(outcome.value)
    error = outcome.error or ErrorInfo("ProcessDied", f"the process of {handler.name!r} ended")
    raise _rebuilt(error, handler.name, is_unknown=outcome.kind is OutcomeKind.UNKNOWN)


def _rebuilt(error: ErrorInfo, name: str, *, is_unknown: bool) -> Exception:
    """Return the error of the other process as one of here: itself where its class is built in or ours."""
    if is_unknown:
        return OutcomeUnknown(f"{name!r}: {error.message}", hint="nobody can say how far it came")
    kind = getattr(errors, error.type, None) or getattr(builtins, error.type, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(error.message)
        except TypeError:
            pass  # it is made of more than words
    wrapper = PermanentError if error.is_permanent else TemporaryError
    return wrapper(f"{name!r} failed in its process: {error}")


def _named(
    signature: inspect.Signature, name: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> dict[str, object]:
    """Return the arguments by name, which is how they travel."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidInput(f"{name!r} cannot be called like that: {error}") from error
    named: dict[str, object] = {}
    for key, value in bound.arguments.items():
        if signature.parameters[key].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[key] = value
    return named


def _refuse_to_block(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"{name!r} is a plain function that runs in a process of its own, and was called on the event loop, which would wait for it",
        hint=f"await asyncio.to_thread({name}, …), or make it a handler of a task",
    )
