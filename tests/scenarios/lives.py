"""A place where processes live one after the other: one store that stays, workers that come again, and time that goes on meanwhile.

``async with place.process() as one:`` is the life of one process with an orchestrator. At the end of the block it is killed: from that
moment nothing of it reaches the store, nothing of it goes on, and nobody was told. ``ends="stopped"`` ends it in good order. All in virtual
time; what is outside – what the handlers did, ``began``, ``done``, and how often they still fail – survives, as the outside does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

from agenticflow import Orchestrator, RetryPolicy, TaskContext, TaskDefinition, TaskStatus, worker
from agenticflow.agents import Worker
from agenticflow.errors import TemporaryError
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.crashes.watch import FencedStore, Recorded
from tests.unit.runtime.engine import virtual_clock

__all__ = ["ONCE", "Place", "passes", "statuses", "step"]

ONCE = RetryPolicy(max_attempts=1)
MAX_TURNS = 1_000
_PARAMS = ("gives", "seconds", "fails", "cleans_up")


class _Life:
    """Of one process, as its store sees it."""

    def __init__(self) -> None:
        self.is_dead = False

    def demand(self) -> None:
        if self.is_dead:
            raise asyncio.CancelledError("its process was killed")

    def arrive(self, _: str) -> None:
        self.demand()


class Place:
    """One store, one worker ``work``, and what was seen of it from outside."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.began: list[str] = []
        """Task keys, at each call of a handler; of a sub-workflow ``workflow_id:task_key``."""
        self.done: list[str] = []
        """Task keys, when a handler had come to its end."""
        self.times: dict[str, float] = {}
        """Task key: when its handler was called last, in seconds."""
        self.effect_keys: dict[str, list[str]] = {}
        """Task key: the effect key of each call."""
        self.failures: dict[str, int] = {}
        """Task key: how often its handler still fails."""

    def worker(self) -> Worker[..., Any]:
        @worker("work", concurrency=100)
        async def work(
            context: TaskContext, gives: object = None, seconds: float = 0, fails: int = 0, cleans_up: float = 0
        ) -> object:
            key = context.task_key if "~" not in context.workflow_id else f"{context.workflow_id}:{context.task_key}"
            self.began.append(key)
            self.times[key] = asyncio.get_running_loop().time()
            self.effect_keys.setdefault(key, []).append(context.effect_key)
            left = self.failures.setdefault(key, fails)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                if not cleans_up:
                    raise
                await asyncio.sleep(cleans_up)
            if left:
                self.failures[key] -= 1
                raise TemporaryError(f"{key} is not there yet")
            self.done.append(key)
            return gives

        return work

    @asynccontextmanager
    async def process(
        self,
        *others: Worker[..., Any],
        ends: Literal["killed", "stopped"] = "killed",
        works: bool = True,
        **options: Any,
    ) -> AsyncIterator[Orchestrator]:
        """The life of one process; without ``works`` the worker ``work`` is not there."""
        life, before = _Life(), asyncio.all_tasks()
        store = FencedStore(self.store, Recorded(), life, lambda: 0.0)
        orchestrator = Orchestrator(store=store, clock=virtual_clock(), **options)
        for one in ([self.worker()] if works else []) + list(others):
            orchestrator.register_worker(one)
        await orchestrator.start()
        try:
            yield orchestrator
            if ends == "stopped":
                await orchestrator.stop(drain_seconds=1)
        finally:
            life.is_dead = True
            # For itself it stops in order, and starts nothing in place of what ends; what it wants to record the store does not hear.
            stopping = asyncio.create_task(orchestrator.stop(drain_seconds=0))
            await asyncio.wait({stopping}, timeout=0.001)
            await _bury(before)

    async def recorded(self, stream_id: str) -> list[str]:
        """Return the event types of a stream."""
        return [event.event_type async for event in self.store.read_stream(stream_id)]


async def _bury(before: set[asyncio.Task[Any]]) -> None:
    """End whatever a dead process left, which may try what it likes: the store does not hear it."""
    for _ in range(MAX_TURNS):
        left = asyncio.all_tasks() - before
        if not left:
            return
        for task in left:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left, timeout=0.001)
    raise AssertionError(f"these would not end: {asyncio.all_tasks() - before}")


def step(task_id: str, *after: str, **options: Any) -> TaskDefinition:
    """Return a task for ``work``: ``gives``, ``seconds``, ``fails`` and ``cleans_up`` are its params, the rest are options of the task."""
    params: dict[str, object] = {name: options.pop(name) for name in _PARAMS if name in options}
    options.setdefault("timeout_seconds", None)
    return TaskDefinition(task_id, "work", params=params or None, dependencies=after, **options)


async def passes(seconds: float) -> None:
    """Let time pass, whoever lives."""
    await asyncio.sleep(seconds)


def statuses(tasks: Mapping[str, Any]) -> dict[str, TaskStatus]:
    """Return status by task key."""
    return {key: task.status for key, task in tasks.items()}
