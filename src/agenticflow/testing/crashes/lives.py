"""The lives of one case: each an event loop of its own that stops for ever where it dies, over a store that survives.

Nothing of a dead life runs on: the loop stops at once, what was suspended is cancelled behind the fence, and every fail-point and every
access to the store that is met on the way out raises again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from agenticflow.app.approvals.approvals import Approvals
from agenticflow.app.execution import WorkflowHandle
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.wiring import open_store
from agenticflow.core.clocks import Clock
from agenticflow.errors import CommandRefused, WorkflowExecutionError, WorkflowNotFoundError
from agenticflow.orchestration.state import TaskStatus
from agenticflow.runtime import failpoints
from agenticflow.runtime.clock import SystemClock
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.crashes.cases import CrashCase, Resolution
from agenticflow.testing.crashes.record import problems_of_run
from agenticflow.testing.crashes.watch import (
    Calls,
    FencedStore,
    Recorded,
    watched_agent,
    watched_worker,
)
from agenticflow.testing.virtual_time import EPOCH_NS, VirtualLoop

__all__ = ["FileMedium", "Medium", "MemoryMedium", "Play"]

WORKFLOW_ID: Final = "crash"
POLL_SECONDS: Final = 0.02
MAX_RUNS: Final = 1_000
MOST_LOST: Final = 1_000
"""Of processes that a task may lose: whatever is in work dies again and again here, and is not to blame."""
MAX_BURIAL_ROUNDS: Final = 1_000


class _Killed(KeyboardInterrupt):
    """The process ends here. Of this kind because the event loop lets it through at once and no handler of errors takes it."""


class Medium(Protocol):
    """What survives a process, and the time its processes live in."""

    def new_loop(self) -> tuple[asyncio.AbstractEventLoop, Clock]:
        """Return the event loop and the clock of the next life."""

    async def open(self) -> Store:
        """Return the store as the next life finds it."""

    async def release(self, store: Store) -> None:
        """The life that opened ``store`` has ended, well or not."""


class MemoryMedium:
    """One ``MemoryStore`` object, in virtual time that goes on from life to life."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._loop: VirtualLoop | None = None

    def new_loop(self) -> tuple[asyncio.AbstractEventLoop, Clock]:
        self._loop = VirtualLoop(EPOCH_NS if self._loop is None else self._loop.clock.now_ns())
        return self._loop, self._loop.clock

    async def open(self) -> Store:
        return self._store

    async def release(self, store: Store) -> None:
        """The object survives."""


class FileMedium:
    """One SQLite file, in real time; ``large_in_files`` with a folder beside it for large values."""

    def __init__(self, path: Path, *, large_in_files: bool = False) -> None:
        self._path = path
        self._options = f"?blobs={path}.values" if large_in_files else ""

    def new_loop(self) -> tuple[asyncio.AbstractEventLoop, Clock]:
        return asyncio.new_event_loop(), SystemClock()

    async def open(self) -> Store:
        return await open_store(f"sqlite:///{self._path}{self._options}")

    async def release(self, store: Store) -> None:
        """What was handed to the writer before the death may still become true: so it is after a real one, too."""
        await store.close()

    def remove(self) -> None:
        """Take the file and what lies beside it away."""
        for path in self._path.parent.glob(f"{self._path.name}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class _Life:
    """One life of a process: an event loop of its own, that stops for ever at arrival ``dies_at``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dies_at: int | None) -> None:
        self.loop = loop
        self.arrivals: list[str] = []
        self.is_dead = False
        self.problems: list[str] = []
        self._dies_at = dies_at
        self._lock = threading.Lock()

    def arrive(self, point: str) -> None:
        """Called on the loop's thread, and on the threads of a store."""
        with self._lock:
            if self.is_dead:
                raise _Killed(point)
            self.arrivals.append(point)
            if len(self.arrivals) != self._dies_at:
                return
            self.is_dead = True
        # Somebody may hold the exception up on its way out: the loop stops all the same.
        self.loop.call_soon_threadsafe(self.loop.stop)
        raise _Killed(point)

    def demand(self) -> None:
        if self.is_dead:
            raise _Killed("after the end")

    def note(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Take what the event loop has to say: errors that nobody waits for."""
        error = context.get("exception")
        if not self.is_dead and not isinstance(error, _Killed):
            self.problems.append(f"{context.get('message', '')} {error!r}")

    def bury(self) -> None:
        """End every coroutine of this life; whatever they try on their way out fails at the fence."""
        for _ in range(MAX_BURIAL_ROUNDS):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            try:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=0.01))
            except (_Killed, RuntimeError):
                continue  # one of them met the fence, or stopped the loop once more
        raise AssertionError(f"these would not end: {asyncio.all_tasks(self.loop)}")

    def settle(self, last: Coroutine[Any, Any, None]) -> None:
        """Run ``last`` to its end; callbacks of the dead that come up meanwhile end at the fence."""
        task = self.loop.create_task(last)
        while not task.done():
            with suppress(_Killed, RuntimeError):
                self.loop.run_until_complete(task)
        task.result()


class _CriticalLog(logging.Handler):
    """Takes what the engine calls critical: a worker that ended, an invariant that broke."""

    def __init__(self, life: _Life) -> None:
        super().__init__(logging.CRITICAL)
        self._life = life

    def emit(self, record: logging.LogRecord) -> None:
        if not self._life.is_dead:
            self._life.problems.append(f"the engine reported: {record.getMessage()}")


@contextmanager
def _what_goes_wrong(life: _Life) -> Iterator[None]:
    """Have problems that nobody waits for end up with ``life``; threads that meet its death end silently."""
    log, handler = logging.getLogger("agenticflow"), _CriticalLog(life)
    before, propagates = threading.excepthook, log.propagate

    def thread_ended(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not _Killed:
            before(arguments)

    log.addHandler(handler)
    log.propagate = False
    threading.excepthook = thread_ended
    try:
        with warnings.catch_warnings():
            # a coroutine that was to start when its process died never will
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        failpoints.watch(None)
        threading.excepthook, log.propagate = before, propagates
        log.removeHandler(handler)


class Play:
    """One case from its start to its end, over as many lives as it takes."""

    def __init__(
        self, case: CrashCase, medium: Medium, time_limit_seconds: float, latency: Callable[[], float]
    ) -> None:
        self._case = case
        self._limit = time_limit_seconds
        self._latency = latency
        self._medium = medium
        once_only = case.once_only
        self._recorded = Recorded()
        self.calls = Calls(self._recorded, once_only)
        self.lives: list[_Life] = []
        self.violations: list[str] = []
        self.outcome: object = None

    @property
    def deaths(self) -> tuple[str, ...]:
        return tuple(f"{life.arrivals[-1]}#{len(life.arrivals)}" for life in self.lives if life.is_dead)

    def run(self, deaths: Sequence[int]) -> None:
        """Live and die ``deaths`` times at the given arrivals, then live to the end."""
        for dies_at in (*deaths, None):
            life = self._live(dies_at)
            if not life.is_dead:
                break  # the end came before the arrival
        self.violations += self.calls.violations
        self.violations += self._case.check()

    def _live(self, dies_at: int | None) -> _Life:
        loop, clock = self._medium.new_loop()
        life = _Life(loop, dies_at)
        self.lives.append(life)
        loop.set_exception_handler(life.note)
        try:
            store = loop.run_until_complete(self._open())
        except BaseException:
            loop.close()
            raise
        with _what_goes_wrong(life):
            failpoints.watch(life.arrive)
            try:
                loop.run_until_complete(self._carry_on(self._fenced(store, life), life, clock))
            except (_Killed, Exception) as error:  # noqa: BLE001 - no error has a place here: it is what the search is for
                if not life.is_dead:
                    life.problems.append(f"a life ended with {error!r}")
            finally:
                was_killed, life.is_dead = life.is_dead, True
                life.bury()
                failpoints.watch(None)
                life.settle(self._close(store, is_last=not was_killed))
                life.settle(loop.shutdown_default_executor())
                loop.close()
        life.is_dead = was_killed
        self.violations += life.problems
        return life

    def _fenced(self, store: Store, life: _Life) -> Store:
        return FencedStore(store, self._recorded, life, self._latency)

    async def _open(self) -> Store:
        store = await self._medium.open()
        await self._recorded.reload(store, [row.stream_id for row in await store.list_runs(kind="workflow")])
        return store

    async def _close(self, store: Store, *, is_last: bool) -> None:
        if is_last:
            runs = {(row.execution_id, row.run_no) for row in await store.list_runs(kind="workflow", limit=MAX_RUNS)}
            for workflow_id, run_no in sorted({(WORKFLOW_ID, 1), *runs}):
                self.violations += await problems_of_run(store, workflow_id, run_no)
            for row in await store.list_runs(kind="gate", is_open=True):
                self.violations.append(f"the permit of {row.execution_id!r} was never given back")
            verify = getattr(store, "verify", None)
            if verify is not None:
                self.violations += [f"verify: {problem}" for problem in await verify()]
        await self._medium.release(store)

    # --- one life, from the inside ----------------------------------------------------------------------------------

    async def _carry_on(self, store: Store, life: _Life, clock: Clock) -> None:
        case, limit = self._case, self._limit
        orchestrator = Orchestrator(store=store, clock=clock, max_lost_processes=MOST_LOST, workflows=case.functions)
        for agent in case.agents:
            orchestrator.register_agent(watched_agent(agent, self.calls))
        for worker in case.workers:
            orchestrator.register_worker(watched_worker(worker, self.calls))
        helpers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(limit):
                start = partial(orchestrator.start_workflow, case.definition, case.input, workflow_id=WORKFLOW_ID)
                handle = await start()
                helpers.append(asyncio.create_task(self._send_signals(handle)))
                helpers.append(asyncio.create_task(self._operate(orchestrator)))
                if case.steer is None:
                    self.outcome = await _outcome(handle)
                else:
                    steered = await case.steer(orchestrator, WORKFLOW_ID)
                    self.outcome = (await _outcome(await start()), steered)
        except TimeoutError:
            self.violations.append(f"the run was stuck: no end within {limit:g} s, {await _standing(orchestrator)}")
        finally:
            for helper in helpers:
                helper.cancel()
            if not life.is_dead:
                await orchestrator.stop(drain_seconds=1)
        for helper in helpers:
            if not helper.cancelled() and helper.done() and (error := helper.exception()) is not None:
                raise error

    async def _send_signals(self, handle: WorkflowHandle) -> None:
        passed = 0.0
        for number, signal in sorted(enumerate(self._case.signals), key=lambda item: item[1].after_seconds):
            await asyncio.sleep(signal.after_seconds - passed)
            passed = signal.after_seconds
            try:
                await handle.signal(signal.name, signal.value, signal_id=f"{signal.name}-{number}")
            except CommandRefused:
                if (await handle.execution()).completed_at is None:
                    raise

    async def _operate(self, orchestrator: Orchestrator) -> None:
        """Be the person who is asked what became of at-most-once work."""
        while True:
            state = await orchestrator.get_workflow_state(WORKFLOW_ID)
            for key, task in state.tasks.items():
                if task.status is TaskStatus.UNKNOWN:
                    said = self._case.resolve(key)
                    with suppress(CommandRefused):  # the run has ended meanwhile
                        await orchestrator.resolve(WORKFLOW_ID, key, said.decision, value=said.value)
            if self._case.answer:
                await self._answer(orchestrator.approvals, self._case.answer)
            await asyncio.sleep(POLL_SECONDS)

    async def _answer(self, approvals: Approvals, answer: Callable[[str], Resolution]) -> None:
        for request in await approvals.list(workflow_id=WORKFLOW_ID):
            said = answer(request.task_key)
            with suppress(CommandRefused):
                if said.decision == "approved":
                    await approvals.answer(request.approval_id, said.value)
                else:
                    await approvals.reject(request.approval_id)


async def _outcome(handle: WorkflowHandle) -> object:
    try:
        return await handle.result()
    except WorkflowExecutionError as error:
        return (error.status, sorted(error.failed))


async def _standing(orchestrator: Orchestrator) -> str:
    try:
        execution = await orchestrator.get_execution(WORKFLOW_ID)
    except WorkflowNotFoundError:
        return "it had not even started"
    in_work = [f"{key} {task.status}" for key, task in execution.tasks.items() if task.ended_at is None]
    return f"it is {execution.status}; {', '.join([*in_work, *execution.waits_for]) or 'nothing is in work'}"
