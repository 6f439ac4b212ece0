"""The engine without the façade: a real host and dispatcher over one store, in real or virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

from agenticflow.agents import Agent
from agenticflow.app.engine.sub_workflows import SubWorkflows
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.clocks import Clock
from agenticflow.core.engine import Performer
from agenticflow.errors import WorkflowNotFoundError
from agenticflow.orchestration.plan import Plan
from agenticflow.resilience.gate import GateGuest
from agenticflow.resilience.journal import JournalGuest
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.clock import SystemClock
from agenticflow.runtime.coordination.children import Children
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.host import Host
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from tests.unit.runtime.countdown import CountdownGuest

__all__ = ["Engine", "in_virtual_time", "kinds", "passes", "running", "until", "virtual_clock"]

P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the decorated test in a loop whose time jumps."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def virtual_clock() -> Clock:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "decorate the test with @in_virtual_time"
    return loop.clock


async def until(holds: Callable[[], object] | Callable[[], Awaitable[object]], *, seconds: float = 10) -> None:
    """Wait until ``holds()``; it is asked again at every turn of the loop, then every few milliseconds."""
    async with asyncio.timeout(seconds):
        for turn in range(1_000_000):
            answer = holds()
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0 if turn < 20 else 0.005)


async def passes(seconds: float) -> None:
    """Let virtual time pass."""
    virtual_clock()
    await asyncio.sleep(seconds)


async def kinds(store: Store, stream_id: str) -> list[str]:
    """Return the event types of a stream."""
    return [event.event_type async for event in store.read_stream(stream_id)]


@asynccontextmanager
async def running(
    *performers: Performer, store: Store | None = None, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Orchestrator]:
    """An orchestrator with these performers; stopped at the end without waiting for stragglers."""
    loop = asyncio.get_running_loop()
    if clock is None and isinstance(loop, VirtualLoop):
        clock = loop.clock
    orchestrator = Orchestrator(store=store or MemoryStore(), clock=clock, **options)
    for performer in performers:
        if isinstance(performer, Agent):
            orchestrator.register_agent(performer)
        else:
            orchestrator.register_worker(performer)  # type: ignore[arg-type]  # a worker is the other performer there is
    await orchestrator.start()
    try:
        yield orchestrator
    finally:
        await orchestrator.stop(drain_seconds=0.05)


def _unnamed(name: str) -> Plan:
    raise WorkflowNotFoundError(f"no workflow {name!r} is registered")


class Engine:
    """Host and dispatcher over a store, running countdowns."""

    def __init__(self, store: Store, *, clock: Clock | None = None, **options: Any) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self.host = Host(store, self.clock, **options)
        self.host.add_guest(CountdownGuest())
        self.host.add_guest(GateGuest())
        self.host.add_guest(JournalGuest())
        self.gates = Gatekeeper(self.host, store, self.clock)
        self.children = Children(
            self.host, self.gates, self.clock, SubWorkflows(self.host, store, self.clock, _unnamed)
        )
        self.dispatcher = Dispatcher(self.host, self.clock, self.gates, self.children)

    async def stop(self, *, drain_seconds: float = 0.05) -> None:
        await self.dispatcher.stop(drain_seconds=drain_seconds)
        await self.children.close()
        await self.host.stop()

    async def crash(self) -> None:
        """Stop at once, as a process does that is killed: nothing is finished, nothing more is committed."""
        await self.stop(drain_seconds=0)
