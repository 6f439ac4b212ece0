"""Looks at the load of this process and its machine again and again, and lets less, or more, be in work at once.

The rule is ``resilience.adaptation``; here figures are read and the limit is handed to the dispatcher. What is in work when the limit
falls goes on: nothing is interrupted, and nothing of it is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from agenticflow.errors import DefinitionError
from agenticflow.resilience.adaptation import Adaptation, Load
from agenticflow.runtime.resources.machine import CpuMonitor, MemoryMonitor
from agenticflow.runtime.timers import Tick

__all__ = ["Adapting", "Limited", "Parallelism"]

log = logging.getLogger("agenticflow.engine")

SAMPLES: Final = 4
"""Of how late the event loop is, for each look."""
PATIENCE_LOOKS: Final = 5
"""After so many looks at which some waited and none of those in work had ended, one more is let in."""


class Limited(Protocol):
    """Who has attempts in work: the dispatcher."""

    @property
    def limit(self) -> int:
        """How many may be in work at once now."""

    @property
    def most(self) -> int:
        """How many ever may."""

    def limit_to(self, limit: int) -> None:
        """Let so many be in work at once from now on."""

    def waiting_to_start(self) -> int:
        """Return how many could start, if more were let in."""

    def in_work(self) -> frozenset[tuple[str, int]]:
        """Return the attempts in work, by stream and token."""


class Parallelism(msgspec.Struct, frozen=True):
    """How much may be in work at once in this process, and why."""

    limit: int
    most: int
    in_work: int
    waiting: int
    """Attempts that could start, if more were let in."""
    reasons: tuple[str, ...] = ()
    """What was too much at the last look, in words."""


class Adapting:
    """Adapts one engine to the load. Without a policy nothing ever changes."""

    def __init__(self, policy: Adaptation | None) -> None:
        if policy is not None and not isinstance(policy, Adaptation):
            raise DefinitionError(
                f"adaptation of an orchestrator is a {type(policy).__name__}",
                hint="give Adaptation(), or None for a limit that stays",
            )
        self._policy = policy
        self.memory = MemoryMonitor()
        self.cpu = CpuMonitor()
        self._task: asyncio.Task[None] | None = None
        self._reasons: tuple[str, ...] = ()
        self._before: frozenset[tuple[str, int]] = frozenset()
        self._same = 0
        """Looks in a row at which some waited and all that was in work before was so still."""

    def start(self, limited: Limited) -> None:
        """Look again and again, until ``stop``."""
        if self._policy is not None:
            coroutine = self._go_on(self._policy, limited)
            self._task = asyncio.get_running_loop().create_task(coroutine, name="adaptation to load")

    async def stop(self) -> None:
        """Look no more. A second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def status(self, limited: Limited) -> Parallelism:
        """Return how it stands now."""
        return Parallelism(
            limit=limited.limit,
            most=limited.most,
            in_work=len(limited.in_work()),
            waiting=limited.waiting_to_start(),
            reasons=self._reasons,
        )

    async def _go_on(self, policy: Adaptation, limited: Limited) -> None:
        while True:
            lag = 0.0
            for _ in range(SAMPLES):
                lag = max(lag, await _lateness(policy.every_seconds / SAMPLES))
            try:
                self.look(policy, limited, lag)
            except Exception:
                # A figure that cannot be read must not end it: then nobody would let more in again.
                log.exception("the load could not be looked at; it is looked at again")

    def look(self, policy: Adaptation, limited: Limited, lag_seconds: float) -> None:
        """Read the figures, and have the limit follow them."""
        in_work, waiting = limited.in_work(), limited.waiting_to_start()
        self._same = self._same + 1 if waiting and in_work and self._before <= in_work else 0
        self._before = in_work
        load = Load(
            lag_seconds=lag_seconds,
            memory_share=self.memory.look().machine_share,
            cpu_share=self.cpu.look().machine_share,
            in_work=len(in_work),
            waiting=waiting,
            is_stuck=self._same >= PATIENCE_LOOKS,
        )
        before, self._reasons = limited.limit, policy.overload(load)
        limit = policy.next_limit(before, limited.most, load)
        if load.is_stuck:
            self._same = 0
        if limit != before:
            limited.limit_to(limit)
            self._tell(before, limit, limited.most)

    def _tell(self, before: int, limit: int, most: int) -> None:
        if limit < before:
            why = "; ".join(self._reasons)
            log.warning("%d attempts instead of %d may be in work at once: %s", limit, before, why)
        elif limit == most:
            log.info("as many attempts as ever, %d, may be in work at once again", most)


async def _lateness(seconds: float) -> float:
    """Wait so long; return how much longer it took."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    future: asyncio.Future[None] = loop.create_future()
    handle = loop.call_later(seconds, Tick(future))
    try:
        await future
    finally:
        handle.cancel()
    return max(0.0, loop.time() - due)
