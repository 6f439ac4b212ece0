"""Sub-executions: started for a task of their parent, watched to their end, told to stop when the task is, and reported as its outcome.

A parent knows only *child requested* (its scheduled task) and *child finished* (the outcome); both are idempotent, so after a crash
recovery asks for every open child again: one that is there is watched, one that has ended is reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agenticflow.core.clocks import Clock
from agenticflow.core.engine import ActivityFinished, ContinueExecution, RunChild
from agenticflow.core.results import Outcome, OutcomeKind, describe_error
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    OutcomeUnknown,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.host import Host

__all__ = ["Children", "Launcher"]

log = logging.getLogger("agenticflow.engine")

RETRY_SECONDS: Final = 0.2
COMPLAIN_SECONDS: Final = 1.0
Blobs = tuple[tuple[str, bytes], ...]


class Launcher(Protocol):
    """Knows what a child is: how it is started, and what its end means."""

    async def launch(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> str:
        """Start the child of the attempt, or find it; return its stream. A second call for the same attempt finds it.

        Raises ``WorkflowNotFoundError`` when nothing of that name is registered, other errors when it cannot be started.
        """

    async def carry_on(self, stream_id: str, effect: ContinueExecution) -> None:
        """Start the run that continues the one of this stream, and tell that one. A second call changes nothing."""

    def successor(self, child: str, state: Any) -> str | None:
        """Return the stream that goes on in the place of one that has ended, ``None`` when there is none."""

    async def find(self, effect: RunChild) -> str | None:
        """Return the stream of the child's latest run, ``None`` when it was never started."""

    async def abort(self, child: str, reason: str) -> None:
        """End the child. Raises ``CommandRefused`` when it has ended."""

    async def pause(self, child: str, *, is_paused: bool) -> None:
        """Pause the child, or have it go on. Raises ``CommandRefused`` when it has ended."""

    async def outcome(self, child: str, state: Any) -> tuple[Outcome, Blobs]:
        """Return what the end of the child means for the task."""


class _Child:
    __slots__ = ("effect", "is_told", "parent", "stream_id", "task", "waits_for")

    def __init__(self, parent: str, effect: RunChild) -> None:
        self.parent = parent
        self.effect = effect
        self.stream_id: str | None = None
        self.is_told = False
        """Whether it was told to stop."""
        self.task: asyncio.Task[None] | None = None
        self.waits_for: asyncio.Event | None = None
        """Set while no workflow of its name is registered."""


class Children:
    """The children of the executions that run here."""

    def __init__(self, host: Host, gates: Gatekeeper, clock: Clock, launcher: Launcher) -> None:
        self._host = host
        self._gates = gates
        self._clock = clock
        self._launcher = launcher
        self._children: dict[tuple[str, int], _Child] = {}
        self._requested: deque[_Child] = deque()
        """Those that nobody has begun to look after."""
        self._is_waking = False
        self._continuing: set[str] = set()
        """Whose next run somebody is about starting."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def run(self, parent: str, effect: RunChild) -> None:
        """Take a committed request."""
        key = (parent, effect.token)
        if key in self._children or self._is_stopping:
            return
        child = self._children[key] = _Child(parent, effect)
        self._requested.append(child)
        if not self._is_waking:
            # Not at once: whoever is reporting the end of a child right now takes the next one itself.
            self._is_waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._is_waking = False
        while self._requested and not self._is_stopping:
            child = self._requested.popleft()
            child.task = asyncio.get_running_loop().create_task(self._look_after(child))

    def carry_on(self, stream_id: str, effect: ContinueExecution) -> None:
        """Take a committed request for the next run."""
        if not self._is_stopping and stream_id not in self._continuing:
            self._continuing.add(stream_id)
            self._spawn(self._carry_on(stream_id, effect))

    def stop(self, parent: str, token: int, reason: str) -> bool:
        """The task was told to stop; ``False`` when it has no child here."""
        child = self._children.get((parent, token))
        if child is None:
            return False
        if not child.is_told:
            child.is_told = True
            self._spawn(self._end(child, reason))
        return True

    def pause(self, parent: str, *, is_paused: bool) -> None:
        """The parent was paused, or goes on: so do its children."""
        for child in list(self._children.values()):
            if child.parent == parent and child.stream_id is not None and not child.effect.is_detached:
                self._spawn(self._pause(child.stream_id, is_paused=is_paused))

    def missing(self, parent: str | None = None) -> list[str]:
        """Return, in words, which workflows children (of one execution) wait for."""
        return [
            f"task {child.effect.task_key!r} waits for a workflow {child.effect.name!r}, which is not registered here"
            for child in self._children.values()
            if child.waits_for is not None and parent in (None, child.parent)
        ]

    def watched(self) -> list[tuple[str, RunChild, str | None]]:
        """Return what somebody is about here: the parent, its request, and the child's stream once it has started."""
        return [
            (child.parent, child.effect, child.stream_id)
            for child in self._children.values()
            if child.task is None or not child.task.done()
        ]

    def is_continuing(self, stream_id: str) -> bool:
        """Whether somebody is about starting the run after this one."""
        return stream_id in self._continuing

    def look_again(self) -> None:
        """Another workflow was registered."""
        for child in self._children.values():
            if child.waits_for is not None:
                child.waits_for.set()

    async def close(self) -> None:
        """Watch no more; the children stay in the store, and are watched again after the next start."""
        self._is_stopping = True
        tasks = {child.task for child in self._children.values() if child.task is not None} | self._tasks
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    # --- the life of a child ----------------------------------------------------------------------------------------

    async def _look_after(self, child: _Child) -> None:
        """See the child to its end and report that, then the next that was requested meanwhile, until there is none."""
        task = child.task
        while await self._live(child) and self._requested and not self._is_stopping:
            child = self._requested.popleft()
            child.task = task

    async def _live(self, child: _Child) -> bool:
        """See the child to its end and report that; ``False`` when the engine stops first: it goes on after the next start."""
        effect = child.effect
        try:
            outcome, blobs = await self._outcome(child)
        except asyncio.CancelledError:
            self._forget(child)
            raise
        except AgenticFlowError as error:
            if self._is_stopping or self._host.is_closing:
                return False
            outcome, blobs = Outcome(OutcomeKind.FAILED, error=describe_error(error)), ()
        self._forget(child)
        child.task = None  # which may go on with another that must not be cancelled in its place
        reach("children.before_report")
        finished = ActivityFinished(
            now=self._clock.now_ns(), task_key=effect.task_key, token=effect.token, outcome=outcome, blobs=blobs
        )
        try:
            await self._host.report(child.parent, finished)
        except AgenticFlowError as error:
            log.error("the outcome of %s in %s was not recorded: %s", effect.task_key, child.parent, error)
        if effect.permits:
            self._gates.release(child.parent, effect.token)
        return True

    async def _outcome(self, child: _Child) -> tuple[Outcome, Blobs]:
        effect = child.effect
        if effect.permits:
            await self._gates.acquire(child.parent, effect.token, effect.permits, effect.priority)
        params = (await self._host.inputs(child.parent, effect.task_key)).params
        while child.stream_id is None:
            if not child.is_told:
                child.stream_id = await self._launch(child, params)
                continue
            # It may be there all the same, started by a process that died before it could tell it to stop.
            child.stream_id = await self._launcher.find(effect)
            if child.stream_id is None:
                return Outcome(OutcomeKind.CANCELLED), ()
        if child.is_told:
            if effect.is_detached:
                return Outcome(OutcomeKind.CANCELLED), ()
            await self._end(child, "it is not wanted any more")
        state = await self._host.ended(child.stream_id)
        while (following := self._launcher.successor(child.stream_id, state)) is not None:
            child.stream_id = following
            state = await self._host.ended(following)
        outcome, blobs = await self._launcher.outcome(child.stream_id, state)
        if child.is_told and outcome.kind is OutcomeKind.FAILED:
            return Outcome(OutcomeKind.CANCELLED), ()
        return outcome, blobs

    async def _carry_on(self, stream_id: str, effect: ContinueExecution) -> None:
        try:
            await self._start_next(stream_id, effect)
        finally:
            self._continuing.discard(stream_id)

    async def _start_next(self, stream_id: str, effect: ContinueExecution) -> None:
        reach("children.before_launch")
        while True:
            try:
                await self._launcher.carry_on(stream_id, effect)
                return
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                if self._host.is_closing:
                    return  # the next start asks again
                log.warning("cannot start the run after %s, trying again: %s", stream_id, error)
                await asyncio.sleep(RETRY_SECONDS)
            except AgenticFlowError as error:
                log.critical("the run after %s cannot be started: %s", stream_id, error)
                return

    async def _launch(self, child: _Child, params: dict[str, object]) -> str | None:
        """Start the child; ``None`` when that has to be tried again."""
        reach("children.before_launch")
        try:
            return await self._launcher.launch(child.parent, child.effect, params)
        except WorkflowNotFoundError:
            child.waits_for = asyncio.Event()
            try:
                async with asyncio.timeout(COMPLAIN_SECONDS):
                    await child.waits_for.wait()
            except TimeoutError:
                # Not at once: a program that starts its orchestrator first and registers its workflows next is fine.
                log.warning("%s", self.missing(child.parent)[0])
                await child.waits_for.wait()
            finally:
                child.waits_for = None
        except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
            if self._host.is_closing:
                raise
            log.warning(
                "cannot start the sub-workflow %s of %s, trying again: %s", child.effect.task_key, child.parent, error
            )
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _end(self, child: _Child, reason: str) -> None:
        """Have the child end, or let it go."""
        if child.effect.is_detached or child.stream_id is None:
            if child.waits_for is not None:
                child.waits_for.set()
            if child.stream_id is not None or self._gates.waits(child.parent, child.effect.token):
                await self._let_go(child)
            return
        try:
            await self._launcher.abort(child.stream_id, reason)
        except CommandRefused:
            return  # it has ended, or is about to
        except AgenticFlowError as error:
            log.error("the sub-workflow %s could not be told to stop: %s", child.stream_id, error)

    async def _let_go(self, child: _Child) -> None:
        if child.task is not None:
            child.task.cancel()
        effect = child.effect
        finished = ActivityFinished(
            now=self._clock.now_ns(),
            task_key=effect.task_key,
            token=effect.token,
            outcome=Outcome(OutcomeKind.CANCELLED),
        )
        if effect.permits:
            self._gates.release(child.parent, effect.token)
        await self._host.report(child.parent, finished)

    async def _pause(self, stream_id: str, *, is_paused: bool) -> None:
        try:
            await self._launcher.pause(stream_id, is_paused=is_paused)
        except CommandRefused:
            return  # it has ended
        except AgenticFlowError as error:
            log.error("the sub-workflow %s was not paused with its parent: %s", stream_id, error)

    def _forget(self, child: _Child) -> None:
        self._children.pop((child.parent, child.effect.token), None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
