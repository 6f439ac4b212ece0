"""Back-pressure on new runs: while much work is open in this process, who starts a run waits a while.

A run that is started is durable and waits in the store for nothing; what is spared is the memory of this process, and the time of
what is open already. Runs that the engine itself starts (sub-workflows, schedules, recovery) never come by here.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

import msgspec

from agenticflow.core.clocks import Clock
from agenticflow.errors import BoundExceeded, DefinitionError
from agenticflow.orchestration.commands import StartRun
from agenticflow.resilience.backpressure import BackPressure
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.host import Host

__all__ = ["Admission"]

MAX_OPEN_ATTEMPTS: Final = 20_000
"""Attempts open in this process, in work or queueing, at which it is full."""
MAX_WAITING: Final = 100_000
"""Starts that wait at once."""
LOOK_SECONDS: Final = 0.05
"""How often one looks whether there is room. Nobody is told of it: the end of an attempt is where every nanosecond counts."""


class Admission:
    """Lets starts in, first come, first served. Without a policy at once."""

    def __init__(self, policy: BackPressure | None, clock: Clock) -> None:
        if policy is not None and not isinstance(policy, BackPressure):
            raise DefinitionError(
                f"back_pressure of an orchestrator is a {type(policy).__name__}",
                hint="give BackPressure(), or None for no delay",
            )
        if policy is not None and policy.when_full == "drop_oldest":
            raise DefinitionError(
                "back_pressure of an orchestrator cannot drop the oldest: what is started is kept",
                hint="write when_full='reject' to refuse starts, or leave it out to let them in after the wait",
            )
        self._policy = policy
        self._clock = clock
        self._threshold = policy.threshold(MAX_OPEN_ATTEMPTS) if policy is not None else 0
        self._starting = 0
        """Starts that were let in and whose attempts nobody has seen yet."""
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._look: asyncio.TimerHandle | None = None

    async def submit(self, host: Host, dispatcher: Dispatcher, stream_id: str, command: StartRun) -> None:
        """Have ``command`` recorded, after a wait when there is much to do. Cancelled during the wait, nothing was started.

        Raises what ``Host.submit`` does, and ``BoundExceeded`` when too many wait, or by ``when_full="reject"`` at full load.
        """
        policy = self._policy
        if policy is not None:
            load = dispatcher.open_attempts + self._starting
            if load >= self._threshold or self._waiting:
                await self._wait(policy, host, dispatcher, load)
                command = msgspec.structs.replace(command, now=self._clock.now_ns())
        self._starting += 1
        try:
            await host.submit(stream_id, command)
        finally:
            self._starting -= 1

    async def _wait(self, policy: BackPressure, host: Host, dispatcher: Dispatcher, load: int) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise BoundExceeded(f"{MAX_WAITING:,} starts of workflows wait already", hint="start them more slowly")
        load = max(load, self._threshold)  # who comes behind others that wait does not overtake them
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        if self._look is None:
            self._look_later(host, dispatcher)
        try:
            async with asyncio.timeout(policy.delay_seconds(load, MAX_OPEN_ATTEMPTS)):
                await turn
        except TimeoutError:
            open_now = dispatcher.open_attempts + self._starting
            if policy.when_full == "reject" and open_now >= MAX_OPEN_ATTEMPTS:
                raise BoundExceeded(
                    f"{open_now:,} attempts are open in this process, and it takes no more runs at {MAX_OPEN_ATTEMPTS:,}",
                    hint="start runs more slowly, or have another process perform some of them",
                ) from None
        finally:
            self._waiting.pop(turn, None)

    def _look_later(self, host: Host, dispatcher: Dispatcher) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(LOOK_SECONDS, self._let_in, host, dispatcher)

    def _let_in(self, host: Host, dispatcher: Dispatcher) -> None:
        room = self._threshold - dispatcher.open_attempts - self._starting
        if host.is_closing:
            room = len(self._waiting)  # they are refused, and need not wait for that
        for turn in islice(self._waiting, max(0, room)):
            if not turn.done():
                turn.set_result(None)
        self._look = None
        if self._waiting:
            self._look_later(host, dispatcher)
