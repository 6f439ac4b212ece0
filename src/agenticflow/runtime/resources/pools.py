"""A pool of things that are dear to make: connections, sessions, models. Lent to one at a time, counted, looked after.

Everything is bounded: how many there are, how many wait for one and how long, how long making one may take. Who has had one for too long is
named in the log: that is how a leak shows before the pool is empty. A pool belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Generic, TypeVar, cast, overload
from weakref import WeakSet

import msgspec

from agenticflow.core.clocks import Clock, ambient
from agenticflow.errors import AgenticFlowError, CommandRefused, DefinitionError, TemporaryError
from agenticflow.runtime.resources.bulkheads import MAX_WAITING, WAIT_SECONDS, Bulkhead

__all__ = ["Holder", "Lease", "PoolStatus", "ResourcePool", "list_pools"]

log = logging.getLogger("agenticflow.resources")

T = TypeVar("T")
NANOSECONDS: Final = 1_000_000_000
CALL_SECONDS: Final = 30.0
"""How long making, destroying or checking one may take."""
LEAK_SECONDS: Final = 300.0
DRAIN_SECONDS: Final = 10.0
_POOLS: Final[WeakSet[ResourcePool[object]]] = WeakSet()


class Holder(msgspec.Struct, frozen=True):
    """Who has a resource, and since when."""

    holder: str
    since: int
    """Nanoseconds since the epoch."""
    held_seconds: float
    is_suspect: bool
    """Whether it has been held for longer than the pool thinks right: a leak, perhaps."""


class PoolStatus(msgspec.Struct, frozen=True):
    """How a pool stands, as data."""

    name: str
    resource_type: str
    max_size: int
    in_use: int
    idle: int
    waiting: int
    created: int
    destroyed: int
    failed: int
    """Resources that could not be made, or were found unfit."""
    refused: int
    """Callers turned away: too many waited, or their time was up."""
    holders: tuple[Holder, ...]
    """Longest first."""

    @property
    def suspects(self) -> tuple[Holder, ...]:
        """Who has held one for too long."""
        return tuple(holder for holder in self.holders if holder.is_suspect)


class _Kept(Generic[T]):
    __slots__ = ("born", "resource")

    def __init__(self, resource: T, born: int) -> None:
        self.resource = resource
        self.born = born


class ResourcePool(Generic[T]):
    """``ResourcePool("connection", 10, connect, disconnect)``: at most ``max_size`` resources, made when first needed and lent one at a
    time.

    ``create_fn()`` makes one, ``destroy_fn(resource)`` ends one, ``health_check(resource)`` says before each lending whether it is still
    good (``False`` or an error: another one is taken); each sync or async, the sync ones on the event loop. One older than
    ``max_age_seconds`` is replaced. At most ``max_waiting`` callers wait, each for at most ``wait_seconds``.
    """

    @overload
    def __init__(
        self,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], Awaitable[T]],
        destroy_fn: Callable[[T], object] | None = ...,
        *,
        name: str | None = ...,
        health_check: Callable[[T], object] | None = ...,
        max_age_seconds: float | None = ...,
        wait_seconds: float = ...,
        max_waiting: int = ...,
        leak_seconds: float = ...,
        clock: Clock | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], T],
        destroy_fn: Callable[[T], object] | None = ...,
        *,
        name: str | None = ...,
        health_check: Callable[[T], object] | None = ...,
        max_age_seconds: float | None = ...,
        wait_seconds: float = ...,
        max_waiting: int = ...,
        leak_seconds: float = ...,
        clock: Clock | None = ...,
    ) -> None: ...

    def __init__(
        self,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], T | Awaitable[T]],
        destroy_fn: Callable[[T], object] | None = None,
        *,
        name: str | None = None,
        health_check: Callable[[T], object] | None = None,
        max_age_seconds: float | None = None,
        wait_seconds: float = WAIT_SECONDS,
        max_waiting: int = MAX_WAITING,
        leak_seconds: float = LEAK_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(resource_type, str) or not resource_type:
            raise DefinitionError(
                f"{resource_type!r:.60} is no type of resource",
                hint='write ResourcePool("connection", 10, connect, disconnect)',
            )
        for field, function in (("create_fn", create_fn), ("destroy_fn", destroy_fn), ("health_check", health_check)):
            if not callable(function) and (function is not None or field == "create_fn"):
                raise DefinitionError(
                    f"{field} of the pool of {resource_type!r} is {function!r:.60}, not a function",
                    hint=f'write ResourcePool("{resource_type}", {max_size}, connect, disconnect)',
                )
        for field, seconds in (("max_age_seconds", max_age_seconds), ("leak_seconds", leak_seconds)):
            if seconds is not None and not seconds > 0:
                raise DefinitionError(
                    f"{field} of the pool of {resource_type!r} is {seconds!r}", hint="give seconds above 0"
                )
        self.name = name or resource_type
        self.resource_type = resource_type
        self.max_size = max_size
        self.leak_seconds = leak_seconds
        self._create = create_fn
        self._destroy = destroy_fn
        self._check = health_check
        self._max_age = None if max_age_seconds is None else int(max_age_seconds * NANOSECONDS)
        self._clock = clock
        self._seats = Bulkhead(f"pool {self.name}", max_size, max_waiting=max_waiting, wait_seconds=wait_seconds)
        self._idle: list[_Kept[T]] = []
        self._leases: dict[Lease[T], None] = {}
        self._created = self._destroyed = self._failed = 0
        self._is_closed = False
        self._all_back: asyncio.Event | None = None
        _POOLS.add(cast("ResourcePool[object]", self))

    def acquire(self, *, wait_seconds: float | None = None, holder: str | None = None) -> Lease[T]:
        """Return a lease: ``async with pool.acquire() as resource``.

        Raises ``ResourceExhausted`` when none becomes free within ``wait_seconds`` or too many wait already, ``TemporaryError`` when one
        cannot be made, ``CommandRefused`` after ``close``. ``holder`` is who is named when it does not come back, by default the running
        task.
        """
        return Lease(self, wait_seconds, holder)

    def status(self) -> PoolStatus:
        """Return how the pool stands, with who has what since when."""
        now = self._now()
        seats = self._seats.status()
        holders = [
            Holder(lease.holder, lease.since, held, held >= self.leak_seconds)
            for lease in self._leases
            for held in ((now - lease.since) / NANOSECONDS,)
        ]
        return PoolStatus(
            name=self.name,
            resource_type=self.resource_type,
            max_size=self.max_size,
            in_use=seats.in_use,
            idle=len(self._idle),
            waiting=seats.waiting,
            created=self._created,
            destroyed=self._destroyed,
            failed=self._failed,
            refused=seats.refused,
            holders=tuple(sorted(holders, key=lambda holder: -holder.held_seconds)),
        )

    async def check_idle(self) -> int:
        """Look at all that are idle, and end those that are unfit or too old; return how many that were."""
        ended = 0
        for kept in list(self._idle):
            if kept not in self._idle or self._is_closed:
                continue  # somebody has it meanwhile
            # What is looked at has a place, like what is lent: otherwise another one could be made beside it. There is one: it is idle.
            await self._seats.acquire(0)
            self._idle.remove(kept)
            is_fit = False
            try:
                is_fit = await self._is_fit(kept)
            finally:
                ended += not is_fit
                await self._put_back(kept, is_fit=is_fit)
        return ended

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> int:
        """Lend nothing more, wait up to ``drain_seconds`` for what is lent, and end what is there; return how many are still out.

        Those are ended when they come back. A second call waits again.
        """
        self._is_closed = True
        self._seats.close()
        await self._end_idle()
        if self._leases:
            self._all_back = asyncio.Event()
            try:
                async with asyncio.timeout(drain_seconds):
                    await self._all_back.wait()
            except TimeoutError:
                out = ", ".join(sorted(lease.holder for lease in self._leases))
                log.warning(
                    "pool %s is closed with %d resources still out, held by %s", self.name, len(self._leases), out
                )
        return len(self._leases)

    async def __aenter__(self) -> ResourcePool[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- lending ----------------------------------------------------------------------------------------------------

    async def _lend(self, lease: Lease[T], wait_seconds: float | None) -> _Kept[T]:
        await self._seats.acquire(wait_seconds)
        try:
            kept = await self._fit_or_new()
        except BaseException:
            self._seats.release()
            raise
        if self._is_closed:  # while it was made
            await self._put_back(kept, is_fit=False)
            raise CommandRefused(f"the pool {self.name!r} was closed meanwhile", hint="make another one")
        lease.since = self._now()
        self._leases[lease] = None
        return kept

    async def _take_back(self, lease: Lease[T], kept: _Kept[T], *, is_fit: bool) -> None:
        try:
            await self._put_back(kept, is_fit=is_fit)
        finally:
            self._leases.pop(lease, None)
            if not self._leases and self._all_back is not None:
                self._all_back.set()

    async def _put_back(self, kept: _Kept[T], *, is_fit: bool) -> None:
        """Keep it for the next, or end it; its place is free in any case."""
        try:
            if is_fit and not self._is_closed and not self._is_old(kept):
                self._idle.append(kept)
            else:
                await self._end(kept)
        finally:
            self._seats.release()

    async def _fit_or_new(self) -> _Kept[T]:
        while self._idle:
            kept = self._idle.pop()  # the one used last: the others grow old and go
            is_fit = False
            try:
                is_fit = await self._is_fit(kept)
            finally:
                if not is_fit:
                    await self._end(kept)
            if is_fit:
                return kept
        try:
            resource = await _within(self._create())
        except AgenticFlowError:
            self._failed += 1
            raise
        except Exception as error:
            self._failed += 1
            raise TemporaryError(f"the pool {self.name!r} cannot make a {self.resource_type}: {error!r}") from error
        self._created += 1
        return _Kept(resource, self._now())

    async def _is_fit(self, kept: _Kept[T]) -> bool:
        if self._is_old(kept):
            return False
        if self._check is None:
            return True
        try:
            is_fit = await _within(self._check(kept.resource))
        except Exception as error:  # noqa: BLE001 - whatever the check raises, the resource is not fit
            log.info("a %s of pool %s is unfit: %s", self.resource_type, self.name, error)
            is_fit = False
        if not is_fit:
            self._failed += 1
        return bool(is_fit)

    def _is_old(self, kept: _Kept[T]) -> bool:
        return self._max_age is not None and self._now() - kept.born >= self._max_age

    async def _end_idle(self) -> None:
        while self._idle:
            await self._end(self._idle.pop())

    async def _end(self, kept: _Kept[T]) -> None:
        self._destroyed += 1
        if self._destroy is None:
            return
        try:
            await _within(self._destroy(kept.resource))
        except Exception as error:  # noqa: BLE001 - it is gone either way
            log.warning("a %s of pool %s could not be ended: %s", self.resource_type, self.name, error)

    def _now(self) -> int:
        return (self._clock or ambient.clock).now_ns()

    def __repr__(self) -> str:
        return f"ResourcePool({self.resource_type!r}, {self.max_size}, name={self.name!r})"


class Lease(Generic[T]):
    """One lending: entered once, with ``async with``. ``discard()`` says that the resource is broken and must not be lent again."""

    __slots__ = ("_is_fit", "_kept", "_pool", "_wait_seconds", "_warning", "holder", "since")

    def __init__(self, pool: ResourcePool[T], wait_seconds: float | None, holder: str | None) -> None:
        self._pool = pool
        self._wait_seconds = wait_seconds
        self._kept: _Kept[T] | None = None
        self._is_fit = True
        self._warning: asyncio.TimerHandle | None = None
        self.holder = holder or ""
        self.since = 0

    def discard(self) -> None:
        """End the resource when it comes back, instead of lending it again."""
        self._is_fit = False

    async def __aenter__(self) -> T:
        if self._kept is not None:
            raise CommandRefused("the lease is in use already", hint="ask pool.acquire() for another one")
        if not self.holder:
            task = asyncio.current_task()
            self.holder = task.get_name() if task is not None else "nobody"
        self._kept = await self._pool._lend(self, self._wait_seconds)
        self._warning = asyncio.get_running_loop().call_later(self._pool.leak_seconds, self._warn)
        return self._kept.resource

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kept, self._kept = self._kept, None
        if self._warning is not None:
            self._warning.cancel()
        if kept is not None:
            await self._pool._take_back(self, kept, is_fit=self._is_fit)

    def _warn(self) -> None:
        pool = self._pool
        log.warning(
            "%s has held a %s of pool %s for %g s: is it ever given back?",
            self.holder,
            pool.resource_type,
            pool.name,
            pool.leak_seconds,
        )


def list_pools() -> tuple[PoolStatus, ...]:
    """Return how every pool of this process stands, in order of name."""
    return tuple(sorted((pool.status() for pool in list(_POOLS)), key=lambda status: status.name))


async def _within(given: T | Awaitable[T]) -> T:
    """Return what a function of the pool's owner gave, waiting for it when it is async."""
    if not inspect.isawaitable(given):
        return given
    async with asyncio.timeout(CALL_SECONDS):
        return await cast("Awaitable[T]", given)
