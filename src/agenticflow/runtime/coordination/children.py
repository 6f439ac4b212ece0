"""Sub-executions: started for a task of their parent, watched to their end, told to stop when the task is, and reported as its outcome.

A parent knows only *child requested* (its scheduled task) and *child finished* (the outcome); both are idempotent, so after a crash
recovery asks for every open child again: one that is there is watched, one that has ended is reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.engine import ActivityFinished, ContinueExecution, RunChild
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind, describe_error
from agenticflow.core.types import Blobs
from agenticflow.core.values import BlobMissing
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    OutcomeUnknown,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.runtime.actors import Answer
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.host import Host

__all__ = ["Children", "Launcher"]

log = logging.getLogger("agenticflow.engine")

RETRY_SECONDS: Final = 0.2
COMPLAIN_SECONDS: Final = 1.0


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

    def question(self, state: Any) -> ErrorInfo | None:
        """Return what a child that undoes what it did waits for a person about, ``None`` when it does not."""

    async def outcome(self, child: str, state: Any) -> tuple[Outcome, Blobs]:
        """Return what the end of the child means for the task."""

    def first(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> tuple[str, Command] | None:
        """Return the stream of a child that nobody has started yet and the command that starts it; ``None`` when that is not known
        without a look into the store. Raises like ``launch``."""

    def outcome_at_hand(self, state: Any) -> tuple[Outcome, Blobs]:
        """Return what the end of the child means for the task. Raises ``BlobMissing``: then ``outcome`` fetches it."""


class _Child(msgspec.Struct, eq=False):
    parent: str
    effect: RunChild
    stream_id: str | None = None
    is_told: bool = False
    """Whether it was told to stop."""
    is_hearing: bool = False
    """Whether somebody is about telling it that its parent was paused, or goes on."""
    task: asyncio.Task[None] | None = None
    waits_for: asyncio.Event | None = None
    """Set while no workflow of its name is registered."""


class _Start(msgspec.Struct, eq=False):
    """The command that starts a child, and who waits for its answer."""

    _children: Children
    _child: _Child
    effect: RunChild
    stream_id: str
    command: Command

    def taken(self) -> None:
        self._children.take(self._child, self.stream_id)

    def done(self) -> bool:
        return False

    def set_result(self, answer: Answer, /) -> None:
        self._children.started(self._child)

    def set_exception(self, error: Exception, /) -> None:
        self._children.not_started(self._child)


class _Report(msgspec.Struct, eq=False):
    """The report of a child's end, along with that."""

    _children: Children
    _child: _Child
    stream_id: str
    command: ActivityFinished
    effect: None = None

    def taken(self) -> None:
        self._children.reported(self._child)


class _Reporter(msgspec.Struct, eq=False):
    """Who reports the end of a child."""

    _children: Children
    _child: _Child
    stream_id: str

    def foresee(self, state: Any) -> _Report | None:
        finished = self._children.finished(self._child, state)
        return None if finished is None else _Report(self._children, self._child, self.stream_id, finished)

    def ended(self, state: Any) -> None:
        self._children.ended(self._child, state)


class Children:
    """The children of the executions that run here."""

    def __init__(self, host: Host, gates: Gatekeeper, clock: Clock, launcher: Launcher) -> None:
        self._host = host
        self._gates = gates
        self._clock = clock
        self._launcher = launcher
        self._loop = asyncio.get_running_loop()
        self._children: dict[tuple[str, int], _Child] = {}
        self._continuing: set[str] = set()
        """Whose next run somebody is about starting."""
        self._paused: set[str] = set()
        """The parents that were paused and do not go on yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def run(self, parent: str, effect: RunChild) -> None:
        """Take a committed request."""
        key = (parent, effect.token)
        if key in self._children or self._is_stopping:
            return
        child = self._children[key] = _Child(parent, effect)
        if not self._begin(child):
            self._look_after(child)

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
        """The parent was paused, or goes on: so do its children, those that are only now being started too."""
        if is_paused:
            self._paused.add(parent)
        else:
            self._paused.discard(parent)
        for child in list(self._children.values()):
            if child.parent == parent:
                self._pause_too(child)

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

    def foresee(self, parent: str, effect: RunChild) -> _Start | None:
        """Return how the child is started that ``effect``, which is not committed yet, asks for; ``None`` when that takes a while."""
        if (parent, effect.token) in self._children or self._is_stopping:
            return None
        return self._start_of(_Child(parent, effect))

    def _begin(self, child: _Child) -> bool:
        """Have the child started by whoever takes the turn that asks for it, and reported by whoever takes its last: nearly always
        there is nothing to wait for in between. Return whether that is so."""
        if not self._host.is_taking_effect or (start := self._start_of(child)) is None:
            return False
        child.stream_id = start.stream_id
        self._host.ask(start.stream_id, start.command, start)
        return True

    def _start_of(self, child: _Child) -> _Start | None:
        effect, parent = child.effect, child.parent
        if effect.attempt > 1 or effect.permits or effect.is_undoing or parent in self._paused:
            return None
        try:
            given = self._host.inputs_at_hand(parent, effect.task_key)
            first = self._launcher.first(parent, effect, given.params)
        except (BlobMissing, AgenticFlowError):
            return None  # what is wrong shows when it is looked after
        if first is None:
            return None
        reach("children.before_launch")
        return _Start(self, child, effect, *first)

    def take(self, child: _Child, stream_id: str) -> None:
        """The child was started in the transaction of what asked for it."""
        child.stream_id = stream_id
        self._children[child.parent, child.effect.token] = child
        self.started(child)

    def not_started(self, child: _Child) -> None:
        """The child was not started as quickly as usual: it is there already, or the store could not take it."""
        if self._is_current(child) and not self._host.is_closing:
            child.stream_id = None
            self._look_after(child)

    def started(self, child: _Child) -> None:
        """The child has started, and may have ended."""
        if child.stream_id is None or not self._is_current(child):
            return
        if not self._host.actors.report_with(child.stream_id, _Reporter(self, child, child.parent)):
            self._look_after(child)

    def finished(self, child: _Child, state: Any) -> ActivityFinished | None:
        """Return the report of the child's end, ``None`` when that is not at hand, or not the end of it."""
        if child.stream_id is None or child.is_told or not self._is_current(child):
            return None
        if self._launcher.successor(child.stream_id, state) is not None:
            return None
        try:
            outcome, blobs = self._launcher.outcome_at_hand(state)
        except BlobMissing:
            return None
        reach("children.before_report")
        return self._finished(child.effect, outcome, blobs)

    def ended(self, child: _Child, state: Any) -> None:
        """The child has ended."""
        if child.stream_id is None or not self._is_current(child):
            return
        if (finished := self.finished(child, state)) is None:
            self._look_after(child)
            return
        self._forget(child)
        self._host.tell(child.parent, finished)

    def reported(self, child: _Child) -> None:
        """The end of the child was reported in its own transaction."""
        self._forget(child)

    def _is_current(self, child: _Child) -> bool:
        return not self._is_stopping and self._children.get((child.parent, child.effect.token)) is child

    def _look_after(self, child: _Child) -> None:
        child.task = self._loop.create_task(self._live(child))
        if child.effect.permits:
            child.task.add_done_callback(self._gates.announce(child.effect.permits))

    async def _live(self, child: _Child) -> None:
        """See the child to its end, whatever has to be waited for, and report that."""
        effect = child.effect
        try:
            try:
                outcome, blobs = await self._outcome(child)
            except TemporaryError as error:
                outcome, blobs = await self._outcome_later(child, error)
        except asyncio.CancelledError:
            self._forget(child)
            raise
        except AgenticFlowError as error:
            if self._is_stopping or self._host.is_closing:
                return  # the child goes on after the next start
            outcome, blobs = Outcome(OutcomeKind.FAILED, error=describe_error(error)), ()
        self._forget(child)
        reach("children.before_report")
        try:
            await self._host.report(child.parent, self._finished(effect, outcome, blobs))
        except AgenticFlowError as error:
            log.error("the outcome of %s in %s was not recorded: %s", effect.task_key, child.parent, error)
        if effect.permits:
            self._gates.release(child.parent, effect.token)

    def _finished(self, effect: RunChild, outcome: Outcome, blobs: Blobs = ()) -> ActivityFinished:
        return ActivityFinished(
            now=self._clock.now_ns(), task_key=effect.task_key, token=effect.token, outcome=outcome, blobs=blobs
        )

    async def _outcome_later(self, child: _Child, error: TemporaryError) -> tuple[Outcome, Blobs]:
        """Follow the child to its end when the store could not be read: that is no outcome of it."""
        while not (self._is_stopping or self._host.is_closing):
            log.warning("cannot follow the sub-workflow %s, trying again: %s", child.effect.task_key, error)
            await asyncio.sleep(RETRY_SECONDS)
            try:
                return await self._outcome(child)
            except TemporaryError as again:
                error = again
        raise error

    async def _outcome(self, child: _Child) -> tuple[Outcome, Blobs]:
        effect = child.effect
        if effect.permits:
            await self._gates.acquire(child.parent, effect.token, effect.permits, effect.priority)
        params = (await self._host.inputs(child.parent, effect.task_key)).params
        while child.stream_id is None:
            if not child.is_told:
                reach("children.before_launch")
                try:
                    child.stream_id = await self._launcher.launch(child.parent, effect, params)
                except AgenticFlowError as error:
                    await self._wait_to_launch(child, error)
                continue
            # It may be there all the same, started by a process that died before it could tell it to stop.
            child.stream_id = await self._launcher.find(effect)
            if child.stream_id is None:
                return Outcome(OutcomeKind.CANCELLED), ()
        if child.parent in self._paused:
            self._pause_too(child)
        if child.is_told:
            if effect.is_detached:
                return Outcome(OutcomeKind.CANCELLED), ()
            await self._end(child, "it is not wanted any more")
        if effect.is_undoing:
            await self._undone(child, child.stream_id)
        state = await self._host.ended(child.stream_id)
        while (following := self._launcher.successor(child.stream_id, state)) is not None:
            child.stream_id = following
            state = await self._host.ended(following)
        outcome, blobs = await self._launcher.outcome(child.stream_id, state)
        if child.is_told and outcome.kind is OutcomeKind.FAILED:
            return Outcome(OutcomeKind.CANCELLED), ()
        return outcome, blobs

    async def _undone(self, child: _Child, stream_id: str) -> None:
        """Return when the child has undone what it did. While it waits for a person, the parent needs one too, and is told so."""
        state = await self._host.read(stream_id)
        is_asking = False
        while state.is_open:
            question = self._launcher.question(state)
            if question is not None and not is_asking:
                reach("children.before_report")
                self._host.tell(
                    child.parent, self._finished(child.effect, Outcome(OutcomeKind.UNKNOWN, error=question))
                )
            is_asking = question is not None
            state = await self._changed(stream_id, state.version)

    async def _changed(self, stream_id: str, since: int) -> Any:
        """Wait until the execution has more than ``since`` events; return its state."""
        while (state := await self._host.read(stream_id)).version <= since:
            actor = self._host.actors.of(stream_id)
            future: asyncio.Future[None] = self._loop.create_future()
            actor.watched.append(future)
            try:
                await future
            finally:
                if future in actor.watched:
                    actor.watched.remove(future)
        return state

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

    async def _wait_to_launch(self, child: _Child, error: AgenticFlowError) -> None:
        """Return when it is worth trying to start the child again, which has just failed; otherwise raise ``error``."""
        if isinstance(error, WorkflowNotFoundError):
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
        elif isinstance(error, (ConcurrencyConflict, OutcomeUnknown, TemporaryError)) and not self._host.is_closing:
            log.warning(
                "cannot start the sub-workflow %s of %s, trying again: %s", child.effect.task_key, child.parent, error
            )
            await asyncio.sleep(RETRY_SECONDS)
        else:
            raise error

    async def _end(self, child: _Child, reason: str) -> None:
        """Have the child end, or let it go."""
        if child.effect.is_detached or child.stream_id is None:
            if child.waits_for is not None:
                child.waits_for.set()
            if child.stream_id is not None or self._gates.waits(child.parent, child.effect.token):
                await self._let_go(child)
            return
        await self._until_recorded(partial(self._launcher.abort, child.stream_id, reason), child.stream_id)

    async def _let_go(self, child: _Child) -> None:
        if child.task is not None:
            child.task.cancel()
        effect = child.effect
        self._forget(child)
        if effect.permits:
            self._gates.release(child.parent, effect.token)
        await self._host.report(child.parent, self._finished(effect, Outcome(OutcomeKind.CANCELLED)))

    def _pause_too(self, child: _Child) -> None:
        if child.stream_id is not None and not child.effect.is_detached and not child.is_hearing:
            child.is_hearing = True
            self._spawn(self._tell_pause(child, child.stream_id))

    async def _tell_pause(self, child: _Child, stream_id: str) -> None:
        """Tell the child how its parent stands, and once more if that has changed meanwhile."""
        try:
            while True:
                is_paused = child.parent in self._paused
                await self._until_recorded(partial(self._launcher.pause, stream_id, is_paused=is_paused), stream_id)
                if is_paused == (child.parent in self._paused):
                    return
        finally:
            child.is_hearing = False

    async def _until_recorded(self, tell: Callable[[], Awaitable[None]], stream_id: str) -> None:
        """Have the child told something, however long the store takes to come back. One that has ended does not mind."""
        while True:
            try:
                await tell()
                return
            except CommandRefused:
                return  # it has ended, or is about to
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                if self._is_stopping or self._host.is_closing:
                    return  # the next start tells it again
                log.warning("the sub-workflow %s could not be told, trying again: %s", stream_id, error)
                await asyncio.sleep(RETRY_SECONDS)
            except AgenticFlowError as error:
                log.error("the sub-workflow %s could not be told: %s", stream_id, error)
                return

    def _forget(self, child: _Child) -> None:
        self._children.pop((child.parent, child.effect.token), None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
