"""One process of a schedule: an orchestrator with a clock and a view of the disk of its own, which may end at any moment.

It knows nothing of plans: whatever it passes it tells the ``Surroundings``, which say what goes wrong there.
"""

from __future__ import annotations

import contextvars
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agenticflow.app.orchestrator import Orchestrator
from agenticflow.config import Settings
from agenticflow.core.context import TaskContext
from agenticflow.core.telemetry import NO_TELEMETRY
from agenticflow.errors import AgenticFlowError, OutcomeUnknown, StoreUnavailable, TemporaryError
from agenticflow.orchestration.guest import stream_of
from agenticflow.runtime.clock import SystemClock
from agenticflow.storage.commits import Commit, Committed
from agenticflow.testing.crashes.cases import CrashCase
from agenticflow.testing.crashes.watch import Calls, watched_agent, watched_worker
from agenticflow.testing.simulation.disk import Disk, ProcessStore
from agenticflow.testing.simulation.faults import FaultKind
from agenticflow.testing.simulation.loop import PROCESS, Killed, Mortal, SimulatedLoop

__all__ = ["ProcessClock", "SimulatedProcess", "Surroundings"]

NANOSECONDS: Final = 1_000_000_000
MOST_LOST: Final = 1_000
"""Of processes that a task may lose: they are killed here for no fault of what they run."""


class Surroundings(Protocol):
    """What a process lives in."""

    def arrived(self, process: SimulatedProcess, point: str) -> None:
        """The process is at a fail-point; it may be dead after this."""

    def commit_asked(self, process: SimulatedProcess) -> FaultKind | None:
        """Return what goes wrong with the commit it asks for."""

    def fails_to_read(self) -> bool:
        """Return whether a read fails."""

    def latency(self) -> float:
        """Return how long something is on its way to the disk or back."""

    def became_true(self, process: SimulatedProcess, commit: Commit, committed: Committed) -> None:
        """A commit of it became true."""

    def conflicted(self, process: SimulatedProcess, commit: Commit) -> None:
        """A commit of it was refused."""

    def gave_up(self, process: SimulatedProcess, error: AgenticFlowError) -> None:
        """It could not start."""


class ProcessClock(SystemClock):
    """The clock of a process on a machine whose clock somebody may set."""

    def __init__(self, loop: SimulatedLoop, offset_seconds: float) -> None:
        super().__init__(lambda: loop.now_ns() + round(self.offset_seconds * NANOSECONDS))
        self.offset_seconds = offset_seconds


class SimulatedProcess(Mortal):
    """An orchestrator that may be killed."""

    def __init__(
        self,
        number: int,
        case: CrashCase,
        calls: Calls,
        loop: SimulatedLoop,
        disk: Disk,
        surroundings: Surroundings,
        outside: contextvars.Context,
        *,
        offset_seconds: float,
    ) -> None:
        self.number = number
        self.is_ready = False
        self.cut_off_until = 0.0
        """On the loop's time."""
        self.clock = ProcessClock(loop, offset_seconds)
        self._loop = loop
        self._around = surroundings
        self._context = outside.copy()
        self._context.run(PROCESS.set, self)
        self.orchestrator = Orchestrator(
            store=ProcessStore(disk, self),
            clock=self.clock,
            orchestrator_id=f"process-{number}",
            settings=Settings(),
            max_lost_processes=MOST_LOST,
            telemetry=NO_TELEMETRY,
            workflows=case.functions,
        )
        for agent in case.agents:
            self.orchestrator.register_agent(watched_agent(agent, calls))
        for worker in case.workers:
            self.orchestrator.register_worker(watched_worker(worker, calls))

    def __str__(self) -> str:
        return f"process {self.number}"

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have ``work`` done in this process, as long as it lives."""
        self._loop.call_soon(self._loop.create_task, work, context=self._context.copy())

    def begin(self) -> None:
        """Start the orchestrator; ``is_ready`` when it takes commands."""
        self.spawn(self._begin())

    async def _begin(self) -> None:
        try:
            await self.orchestrator.start()
        except (TemporaryError, OutcomeUnknown) as error:
            self._around.gave_up(self, error)
        else:
            self.is_ready = True

    # --- what its store and its fail-points ask -----------------------------------------------------------------------

    def demand(self) -> None:
        if self.is_dead:
            raise Killed("after the end")
        if self._loop.time() < self.cut_off_until:
            raise StoreUnavailable("the store cannot be reached", hint="try again")

    def arrive(self, point: str) -> None:
        if self.is_dead:
            raise Killed("after the end")
        self._around.arrived(self, point)
        if self.is_dead:
            raise Killed(point)

    def fault_of_commit(self) -> FaultKind | None:
        return self._around.commit_asked(self)

    def fails_to_read(self) -> bool:
        return self._around.fails_to_read()

    def latency(self) -> float:
        return self._around.latency()

    def became_true(self, commit: Commit, committed: Committed) -> None:
        self._around.became_true(self, commit, committed)

    def conflicted(self, commit: Commit) -> None:
        self._around.conflicted(self, commit)


def stream_of_call(context: TaskContext) -> str:
    """Return the stream of the run a handler is called for."""
    return stream_of(context.workflow_id, context.run_no)
