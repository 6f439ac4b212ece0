"""Circuit breakers of this process: shared by everybody who uses a name, from the event loop and from threads.

``resilience.breaker`` decides; here are the clock, the lock, the registry of names, and the two ways to stand behind a breaker: ``async
with`` and a decorator. What a breaker knows is not recorded and begins anew with the process: it is about the service of now.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.results import describe_error
from agenticflow.errors import BoundExceeded, CircuitOpen, DefinitionError
from agenticflow.resilience.breaker import Breaker, BreakerPolicy, BreakerState, BreakerStatus

__all__ = ["CircuitBreaker", "circuit_breaker", "list_breakers"]

log = logging.getLogger("agenticflow.resources")

P = ParamSpec("P")
R = TypeVar("R")
ErrorKinds = Iterable[str | type[BaseException]]
MAX_BREAKERS: Final = 10_000
MAX_NAME_CHARS: Final = 210
"""The longest id of an agent, after ``agent:``."""
MAX_WORDS: Final = 200
"""Characters of the last error that a status shows."""


class _Shared:
    """What all users of one name share."""

    __slots__ = ("asked", "breaker", "clock", "lock")

    def __init__(self, name: str, policy: BreakerPolicy, clock: Clock | None, asked: tuple[object, ...]) -> None:
        self.asked = asked
        """The numbers as they were written by the first who asked."""
        self.breaker = Breaker(name, policy)
        self.clock = clock
        self.lock = threading.Lock()

    def now(self) -> int:
        return (self.clock or ambient.clock).now_ns()

    def enter(self) -> int:
        """Return a ticket, or raise ``CircuitOpen``."""
        breaker = self.breaker
        free = breaker.free_ticket
        if free is not None:
            return free
        with self.lock:
            before = breaker.state
            now = self.now()
            ticket = breaker.admit(now)
            if ticket is not None:
                if before is not BreakerState.CLOSED:
                    log.info("circuit breaker %r tries whether it works again", breaker.name)
                return ticket
            wait = breaker.wait_seconds(now)
            words = f": {breaker.last_error}" if breaker.last_error and not breaker.is_held else ""
        raise CircuitOpen(
            f"the circuit breaker {breaker.name!r} is open{words}",
            hint="a person opened it, and closes it" if wait is None else f"try again in {wait:.3g} s",
            breaker=breaker.name,
            retry_after_seconds=wait,
        )

    def leave(self, ticket: int | None, error: BaseException | None) -> None:
        """Tell the breaker how the call ended."""
        breaker = self.breaker
        if error is None and ticket == breaker.free_ticket:
            with self.lock:  # should it open right now, a success of before still says nothing but that it was one
                breaker.succeeded_calls += 1
            return
        if ticket is None:
            ticket = -1  # left in another context than it was entered in: its stretch is not known, so it says nothing
        with self.lock:
            before = breaker.state
            if error is None:
                breaker.succeeded(ticket, self.now())
            elif breaker.policy.counts(error):
                breaker.failed(ticket, self.now(), str(describe_error(error))[:MAX_WORDS])
            else:
                breaker.released(ticket)
            after = breaker.state
        if after is not before:
            _log_change(breaker, after)


def _log_change(breaker: Breaker, state: BreakerState) -> None:
    if state is BreakerState.OPEN:
        seconds = breaker.policy.recovery_seconds
        log.warning("circuit breaker %r opened for %g s; last error: %s", breaker.name, seconds, breaker.last_error)
    else:
        log.info("circuit breaker %r is %s", breaker.name, state)


_SHARED: Final[dict[str, _Shared]] = {}
_REGISTRY_LOCK: Final = threading.Lock()
_Inside = tuple[_Shared, int, Any]
_INSIDE: Final[ContextVar[_Inside | None]] = ContextVar("agenticflow_breakers", default=None)
"""The innermost breaker that the running task stands behind, its ticket, and the same of those around it."""


class CircuitBreaker:
    """``async with CircuitBreaker("payments"): …`` raises ``CircuitOpen`` instead of asking a service that does not work.

    It opens at ``failure_threshold`` failures within ``window_seconds``, and ``recovery_timeout`` seconds later lets ``max_probes``
    calls try. An object may be used by many tasks at once, and every breaker of one name in the process is the same one; asking for it
    with other numbers is a ``DefinitionError``. ``counted_errors`` and ``ignored_errors`` are exception classes or their names, as in
    ``BreakerPolicy``. ``clock`` is for tests, and that of the first to name it.
    """

    __slots__ = ("_shared", "name")

    def __init__(
        self,
        name: str,
        failure_threshold: int = 5,
        recovery_timeout: float = 30,
        *,
        window_seconds: float = 30,
        max_probes: int = 1,
        counted_errors: ErrorKinds = (),
        ignored_errors: ErrorKinds = (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        asked = (failure_threshold, recovery_timeout, window_seconds, max_probes, counted_errors, ignored_errors)
        known = _SHARED.get(name) if isinstance(name, str) else None
        if known is not None and known.asked == asked:
            self._shared = known  # made on the spot, call after call: checked once is enough
            return
        policy = BreakerPolicy(
            failure_threshold=failure_threshold,
            window_seconds=window_seconds,
            recovery_seconds=recovery_timeout,
            max_probes=max_probes,
            counted_errors=cast("tuple[str, ...]", counted_errors),  # the policy takes classes for their names
            ignored_errors=cast("tuple[str, ...]", ignored_errors),
        )
        self._shared = _shared(name, policy, clock, asked)

    @property
    def state(self) -> BreakerState:
        """Whether calls go through. One that is open stays so until somebody asks after its recovery time."""
        return self._shared.breaker.state

    @property
    def policy(self) -> BreakerPolicy:
        return self._shared.breaker.policy

    def status(self) -> BreakerStatus:
        """Return how it stands, with its counts."""
        shared = self._shared
        with shared.lock:
            return shared.breaker.status(shared.now())

    def open(self) -> None:
        """Let nothing through until ``close()`` or ``reset()``, whatever happens meanwhile."""
        self._told(Breaker.open, "opened by hand")

    def close(self) -> None:
        """Let everything through again; earlier failures are forgotten."""
        self._told(Breaker.close, "closed by hand")

    def reset(self) -> None:
        """Close it, and count from nothing."""
        self._told(Breaker.reset, "reset by hand")

    def _told(self, command: Callable[[Breaker, int], None], words: str) -> None:
        shared = self._shared
        with shared.lock:
            command(shared.breaker, shared.now())
        log.warning("circuit breaker %r was %s", self.name, words)

    def enter(self) -> int:
        """Let a call through that is no block, such as a stream, and return its ticket for ``leave``. Raises ``CircuitOpen``."""
        return self._shared.enter()

    def leave(self, ticket: int, error: BaseException | None) -> None:
        """Tell how the call with that ticket ended: well, or with ``error``. Every ticket is given back once."""
        self._shared.leave(ticket, error)

    async def __aenter__(self) -> CircuitBreaker:
        shared = self._shared
        _INSIDE.set((shared, shared.enter(), _INSIDE.get()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shared = self._shared
        inside = _INSIDE.get()
        if inside is not None and inside[0] is shared:
            _INSIDE.set(inside[2])
            shared.leave(inside[1], error)
        else:
            shared.leave(_taken_out(inside, shared), error)

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, {self.state})"


def _taken_out(inside: _Inside | None, shared: _Shared) -> int | None:
    """Return the ticket of a breaker that is not left last of all, as generators do that take turns; ``None``: not entered here."""
    around: list[_Inside] = []
    while inside is not None and inside[0] is not shared:
        around.append(inside)
        inside = inside[2]
    if inside is None:
        return None
    ticket, rest = inside[1], inside[2]
    for breaker, other, _ in reversed(around):
        rest = (breaker, other, rest)
    _INSIDE.set(rest)
    return ticket


def list_breakers() -> tuple[BreakerStatus, ...]:
    """Return how every breaker of this process stands, in order of name."""
    with _REGISTRY_LOCK:
        shared = sorted(_SHARED.items())
    found: list[BreakerStatus] = []
    for _, one in shared:
        with one.lock:
            found.append(one.breaker.status(one.now()))
    return tuple(found)


def circuit_breaker(
    name: str | None = None,
    *,
    failure_threshold: int = 5,
    recovery_timeout: float = 30,
    window_seconds: float = 30,
    max_probes: int = 1,
    counted_errors: ErrorKinds = (),
    ignored_errors: ErrorKinds = (),
    fallback: Callable[..., Any] | None = None,
    clock: Clock | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Put the decorated function, async or plain, behind a breaker: ``@circuit_breaker(failure_threshold=5, recovery_timeout=30)``.

    Without a ``name`` it is that of the function. While nothing goes through, ``fallback`` is called with the same arguments, if there is
    one, else ``CircuitOpen`` is raised; what the function itself raises is never replaced. A plain function takes a plain fallback.
    Raises ``DefinitionError`` for what cannot be guarded: generators, whose work is done while they are iterated.
    """
    if name is not None and not isinstance(name, str):
        raise DefinitionError(
            f"@circuit_breaker got {getattr(name, '__name__', name)!r}, not a name",
            hint='write @circuit_breaker(), or @circuit_breaker("payments"), above a function',
        )

    def guard(function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(
                f"@circuit_breaker guards calls, and {getattr(function, '__qualname__', function)!r} is a generator or no function"
            )
        called = getattr(function, "__qualname__", None) or type(function).__qualname__
        is_async = inspect.iscoroutinefunction(function)
        if fallback is not None and not is_async and inspect.iscoroutinefunction(fallback):
            raise DefinitionError(
                f"the fallback of {called!r} is async and the function is not",
                hint="give a plain fallback to a plain function",
            )
        breaker = CircuitBreaker(
            name or f"{function.__module__}.{called}",
            failure_threshold,
            recovery_timeout,
            window_seconds=window_seconds,
            max_probes=max_probes,
            counted_errors=counted_errors,
            ignored_errors=ignored_errors,
            clock=clock,
        )
        guarded = _guarded_async if is_async else _guarded
        return cast("Callable[P, R]", guarded(function, breaker._shared, fallback))

    return guard


def _guarded_async(function: Callable[..., Any], shared: _Shared, fallback: Callable[..., Any] | None) -> Any:
    awaited = cast("Callable[..., Awaitable[object]]", function)

    @wraps(function)
    async def guarded(*args: object, **kwargs: object) -> object:
        try:
            ticket = shared.enter()
        except CircuitOpen:
            if fallback is None:
                raise
            value = fallback(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        try:
            value = await awaited(*args, **kwargs)
        except BaseException as error:
            shared.leave(ticket, error)
            raise
        shared.leave(ticket, None)
        return value

    return guarded


def _guarded(function: Callable[..., Any], shared: _Shared, fallback: Callable[..., Any] | None) -> Any:
    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> object:
        try:
            ticket = shared.enter()
        except CircuitOpen:
            if fallback is None:
                raise
            return fallback(*args, **kwargs)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            shared.leave(ticket, error)
            raise
        shared.leave(ticket, None)
        return value

    return guarded


def _shared(name: str, policy: BreakerPolicy, clock: Clock | None, asked: tuple[object, ...]) -> _Shared:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise DefinitionError(
            f"{name!r:.60} is no name of a circuit breaker", hint=f"give a text of 1 to {MAX_NAME_CHARS} characters"
        )
    with _REGISTRY_LOCK:
        found = _SHARED.get(name)
        if found is None:
            if len(_SHARED) >= MAX_BREAKERS:
                raise BoundExceeded(
                    f"this process has {MAX_BREAKERS:,} circuit breakers already",
                    hint="name them after services, not after customers or runs",
                )
            found = _SHARED[name] = _Shared(name, policy, clock, asked)
    known = found.breaker.policy
    if known != policy:
        raise DefinitionError(
            f"the circuit breaker {name!r} is there already, with other numbers: {known}",
            hint="write it once and import it, or give it the same numbers everywhere",
        )
    return found
