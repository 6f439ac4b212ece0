"""Running a workflow in this process until it has ended, somebody interrupts, or it waits for a person.

The process owns the store meanwhile: it takes up what is unfinished there, and other processes' commands reach it. SIGTERM and Ctrl-C
drain: handlers get time to end, what ended is recorded, and the run goes on later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import typing
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.app.definitions import Performing
from agenticflow.app.execution import WorkflowExecution, WorkflowHandle, WorkflowState
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.cli.exits import Exit, code_of_status
from agenticflow.cli.terminal import note, progress_console
from agenticflow.config import load_settings
from agenticflow.errors import StoreOwned, StoreUnavailable, WorkflowExecutionError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.orchestration.waiting import HandedOut, InQueue, InWork, NeedsCode, NeedsPermit, SubWorkflow

if typing.TYPE_CHECKING:
    from agenticflow.cli.progress import Progress

__all__ = ["Attended", "Interrupts", "attend", "leave_when_stuck", "orchestrating", "run_async"]

T = TypeVar("T")
HANDLER_THREADS: Final = "agenticflow-handler"
LAST_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.1
LOOK_SHARE: Final = 20
"""Looking at a run of ten thousand tasks takes its time: at most one part in twenty goes there."""


class Attended(msgspec.Struct):
    """How a run stood when this process left it."""

    code: Exit
    status: WorkflowStatus
    execution: WorkflowExecution
    result: object = None
    error: WorkflowExecutionError | None = None
    is_interrupted: bool = False


class Interrupts:
    """SIGINT and SIGTERM: the first asks for an orderly end, the second for a quick one."""

    def __init__(self, drain_seconds: float) -> None:
        self.drain_seconds = drain_seconds
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.name = ""

    def arrive(self, number: int) -> None:
        """A signal has come."""
        if self.first.is_set():
            self.second.set()
        self.name = signal.Signals(number).name
        self.first.set()


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on an event loop, the faster one when it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # late: an extra
    except ImportError:
        return None
    return uvloop.new_event_loop


@asynccontextmanager
async def orchestrating(
    store: str | None, performers: Iterable[Performing], workflows: Iterable[WorkflowDefinition | WorkflowFunction] = ()
) -> AsyncIterator[tuple[Orchestrator, Interrupts]]:
    """Own the store and perform; at the end drain, however the body ended. ``workflows`` are known by name."""
    settings = load_settings().settings
    orchestrator = Orchestrator(store=store, settings=settings, workflows=workflows)
    for performer in performers:
        if isinstance(performer, Agent):
            orchestrator.register_agent(performer)
        else:
            orchestrator.register_worker(performer)
    interrupts = Interrupts(settings.engine.drain_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupts.arrive, number)
    try:
        try:
            await orchestrator.start()
        except StoreOwned as error:
            error.hint = "stop it, or give another --store; `agenticflow run --detach` hands a run to it"
            raise
        yield orchestrator, interrupts
    finally:
        await _drain(orchestrator, interrupts)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _drain(orchestrator: Orchestrator, interrupts: Interrupts) -> None:
    stopping = asyncio.ensure_future(orchestrator.stop(drain_seconds=interrupts.drain_seconds))
    hurried = asyncio.ensure_future(interrupts.second.wait())
    try:
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            leave(Exit.STILL_RUNNING)
        await stopping
    finally:
        hurried.cancel()


async def attend(
    orchestrator: Orchestrator,
    handle: WorkflowHandle,
    interrupts: Interrupts,
    *,
    waits: bool = True,
    is_quiet: bool = False,
) -> Attended:
    """Show the run until it has ended, or cannot go on without a person, or a signal came.

    With ``waits=False`` a run that waits for nothing but a signal, or is paused, is left too. One with an unknown outcome always is, and
    one whose function is not known here or does not repeat what is recorded: nothing in this process will change that.
    """
    from agenticflow.cli.progress import progress_for  # late: only who runs something shows it

    execution = await handle.execution()
    progress = progress_for(progress_console(), execution.definition, handle.workflow_id, is_quiet=is_quiet)
    ended = asyncio.ensure_future(handle.result())
    interrupted = asyncio.ensure_future(interrupts.first.wait())
    loop = asyncio.get_running_loop()
    try:
        pause = LOOK_SECONDS
        while True:
            before = loop.time()
            state = await orchestrator.get_workflow_state(handle.workflow_id, handle.run_no)
            if state.status is WorkflowStatus.CONTINUED:
                handle = WorkflowHandle(orchestrator, handle.workflow_id, handle.run_no + 1)
                continue  # the next run is there, and goes on in its place
            progress.look(state)
            if ended.done() or interrupted.done():
                break
            if execution.definition.code:
                execution = await handle.execution()  # its steps come as it goes
                if await _needs_code(orchestrator, state):
                    break
            if _needs_a_person(state, execution, waits):
                break
            pause = max(LOOK_SECONDS, LOOK_SHARE * (loop.time() - before))
            await asyncio.wait({ended, interrupted}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        return await _attended(handle, ended, progress, interrupts)
    finally:
        progress.close()
        interrupted.cancel()
        ended.cancel()
        with contextlib.suppress(asyncio.CancelledError, WorkflowExecutionError, StoreUnavailable):
            await ended


async def _attended(
    handle: WorkflowHandle, ended: asyncio.Future[object], progress: Progress, interrupts: Interrupts
) -> Attended:
    execution = await handle.execution()
    if ended.done():
        try:
            return Attended(Exit.OK, execution.status, execution, result=ended.result())
        except WorkflowExecutionError as error:
            return Attended(code_of_status(execution.status), execution.status, execution, error=error)
    if interrupts.first.is_set():
        seconds = interrupts.drain_seconds
        progress.say(f"{interrupts.name}: running handlers get {seconds:g} s to end; once more ends them at once")
        return Attended(Exit.STILL_RUNNING, execution.status, execution, is_interrupted=True)
    return Attended(Exit.WAITS_FOR_A_PERSON, execution.status, execution)


def _needs_a_person(state: WorkflowState, execution: WorkflowExecution, waits: bool) -> bool:
    if state.status is WorkflowStatus.NEEDS_ATTENTION:
        return True
    if waits:
        return False
    if state.status is WorkflowStatus.PAUSED:
        return not any(view.status in (TaskStatus.SCHEDULED, TaskStatus.RUNNING) for view in state.tasks.values())
    if state.status is not WorkflowStatus.WAITING:
        return False
    limits = {task.task_id: task.total_timeout_seconds for task in execution.definition.tasks}
    open_waits = [view for view in state.tasks.values() if view.status in (TaskStatus.WAITING, TaskStatus.RETRYING)]
    # A timer, a retry or a limit on a signal comes by itself.
    return all(view.waits_until is None and limits.get(view.task_id) is None for view in open_waits)


async def _needs_code(orchestrator: Orchestrator, state: WorkflowState) -> bool:
    """Return whether the function of a workflow as code cannot go on, and nothing that it asked for is in work any more."""
    reasons = [wait.reason for wait in (await orchestrator.why(state.workflow_id, run_no=state.run_no)).waits]
    in_work = (InWork, HandedOut, InQueue, NeedsPermit, SubWorkflow)
    return any(isinstance(reason, NeedsCode) for reason in reasons) and not any(
        isinstance(reason, in_work) for reason in reasons
    )


def leave_when_stuck(code: Exit, others: Collection[threading.Thread]) -> None:
    """End the process at once when the thread of a handler would keep it alive; else do nothing, the caller returns its code.

    ``others`` are threads that were there before the command and are not its business.
    """
    for thread in threading.enumerate():
        if thread not in others and thread.name.startswith(HANDLER_THREADS):
            thread.join(LAST_SECONDS)
            if thread.is_alive():
                note("a handler does not end; leaving it behind")
                leave(code)


def leave(code: Exit) -> None:
    """End the process without waiting for anything. What is not recorded runs again: that is what the store is for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
