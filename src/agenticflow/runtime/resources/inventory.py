"""``ResourceManager``: the pools and bulkheads of a program by name, and how they, memory and processor stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, TypeVar, overload

import msgspec

from agenticflow.core.clocks import Clock
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.runtime.resources.bulkheads import Bulkhead, BulkheadStatus
from agenticflow.runtime.resources.machine import CpuFigures, CpuMonitor, MemoryFigures, MemoryMonitor
from agenticflow.runtime.resources.pools import DRAIN_SECONDS, PoolStatus, ResourcePool

__all__ = ["ResourceHealth", "ResourceManager"]

T = TypeVar("T")
MAX_RESOURCES: Final = 1_000


class ResourceHealth(msgspec.Struct, frozen=True):
    """How everything stands. ``problems`` says in words what is not well."""

    is_healthy: bool
    problems: tuple[str, ...]
    memory: MemoryFigures
    cpu: CpuFigures
    pools: dict[str, PoolStatus]
    bulkheads: dict[str, BulkheadStatus]


class ResourceManager:
    """``async with ResourceManager() as resources: pool = resources.create_pool("orders", "connection", 10, connect, disconnect)``.

    ``health_check`` finds a problem where the machine has more of its memory in use than ``max_memory_share``, this process has more than
    ``max_memory_bytes``, the load by cores is above ``max_load_share``, or a pool has somebody waiting or suspected of a leak.
    """

    def __init__(
        self,
        *,
        max_memory_share: float = 0.95,
        max_memory_bytes: int | None = None,
        max_load_share: float = 4.0,
        memory: MemoryMonitor | None = None,
        cpu: CpuMonitor | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._max_memory_share = max_memory_share
        self._max_memory_bytes = max_memory_bytes
        self._max_load_share = max_load_share
        self._memory = memory or MemoryMonitor()
        self._cpu = cpu or CpuMonitor(clock)
        self._clock = clock
        self._pools: dict[str, ResourcePool[Any]] = {}
        self._bulkheads: dict[str, Bulkhead] = {}

    @overload
    def create_pool(
        self,
        name: str,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], Awaitable[T]],
        destroy_fn: Callable[[T], object] | None = ...,
        **options: Any,
    ) -> ResourcePool[T]: ...

    @overload
    def create_pool(
        self,
        name: str,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], T],
        destroy_fn: Callable[[T], object] | None = ...,
        **options: Any,
    ) -> ResourcePool[T]: ...

    def create_pool(
        self,
        name: str,
        resource_type: str,
        max_size: int,
        create_fn: Callable[[], T | Awaitable[T]],
        destroy_fn: Callable[[T], object] | None = None,
        **options: Any,
    ) -> ResourcePool[T]:
        """Return a new pool of that name; ``options`` as for ``ResourcePool``. Raises ``DefinitionError`` for a name that is taken."""
        self._check_name(name, self._pools)
        options.setdefault("clock", self._clock)
        make: Callable[[], Any] = create_fn  # either kind
        pool: ResourcePool[T] = ResourcePool(resource_type, max_size, make, destroy_fn, name=name, **options)
        self._pools[name] = pool
        return pool

    def pool(self, name: str) -> ResourcePool[Any]:
        """Return the pool ``name``. Raises ``InvalidInput`` when there is none."""
        found = self._pools.get(name)
        if found is None:
            raise InvalidInput(
                f"there is no pool {name!r}", hint=f"there are {', '.join(sorted(self._pools)) or 'none'}"
            )
        return found

    def create_bulkhead(self, name: str, max_concurrent: int, **options: Any) -> Bulkhead:
        """Return a new bulkhead of that name; ``options`` as for ``Bulkhead``. Raises ``DefinitionError`` for a name that is taken."""
        self._check_name(name, self._bulkheads)
        self._bulkheads[name] = bulkhead = Bulkhead(name, max_concurrent, **options)
        return bulkhead

    async def health_check(self) -> ResourceHealth:
        """Look at everything, and end idle resources that are unfit."""
        for pool in list(self._pools.values()):
            await pool.check_idle()
        memory, cpu = self._memory.look(), self._cpu.look()
        pools = {name: pool.status() for name, pool in self._pools.items()}
        problems = [*self._problems_of_machine(memory, cpu), *_problems_of_pools(pools.values())]
        return ResourceHealth(
            is_healthy=not problems,
            problems=tuple(problems),
            memory=memory,
            cpu=cpu,
            pools=pools,
            bulkheads={name: bulkhead.status() for name, bulkhead in self._bulkheads.items()},
        )

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> int:
        """Close everything, one after the other; return how many resources are still out."""
        for bulkhead in self._bulkheads.values():
            bulkhead.close()
        return sum([await pool.close(drain_seconds) for pool in self._pools.values()])

    async def __aenter__(self) -> ResourceManager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _check_name(self, name: str, taken: dict[str, Any]) -> None:
        if not isinstance(name, str) or not name:
            raise DefinitionError(f"{name!r:.60} is no name of a resource", hint="give a text")
        if name in taken:
            raise DefinitionError(
                f"the name {name!r} is taken", hint="ask for the one that is there, or take another name"
            )
        if len(taken) >= MAX_RESOURCES:
            raise DefinitionError(
                f"there are {MAX_RESOURCES:,} already", hint="name them after services, not after runs"
            )

    def _problems_of_machine(self, memory: MemoryFigures, cpu: CpuFigures) -> list[str]:
        problems: list[str] = []
        share = memory.machine_share
        if share is not None and share > self._max_memory_share:
            problems.append(f"the machine has {share:.0%} of its memory in use")
        if self._max_memory_bytes is not None and memory.used_bytes > self._max_memory_bytes:
            problems.append(
                f"this process has {memory.used_bytes:,} bytes of memory, more than {self._max_memory_bytes:,}"
            )
        load = cpu.machine_share
        if load is not None and load > self._max_load_share:
            problems.append(f"the machine has {load:.1f} times as much to do as it can")
        return problems


def _problems_of_pools(statuses: Iterable[PoolStatus]) -> list[str]:
    problems: list[str] = []
    for status in statuses:
        if status.waiting:
            problems.append(f"{status.waiting} wait for a {status.resource_type} of pool {status.name!r}")
        for holder in status.suspects:
            problems.append(
                f"{holder.holder} has held a {status.resource_type} of pool {status.name!r} for {holder.held_seconds:.0f} s"
            )
    return problems
