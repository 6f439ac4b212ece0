"""The dispatcher: takes committed effects, finds who performs them, and keeps each performer within its concurrency.

Worker tasks are started on demand and go on as long as something is ready, so a chain of quick steps costs no task switch. Nothing
here decides; outcomes go to the host, which records them before anything else sees them.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final

from agenticflow.core.assignment import Assigner
from agenticflow.core.binding import Handler
from agenticflow.core.clocks import Clock
from agenticflow.core.context import CancelReason, HasAccounts, Progress
from agenticflow.core.engine import (
    ActivityFinished,
    AskForPlan,
    CheckActivity,
    ContinueExecution,
    Effect,
    GrantPermit,
    InformActivity,
    PauseActivities,
    Performer,
    RunActivity,
    RunChild,
    StopActivity,
)
from agenticflow.core.results import SUCCEEDED, Outcome, OutcomeKind, describe_error
from agenticflow.core.types import Blobs
from agenticflow.errors import AgenticFlowError
from agenticflow.runtime.activities.attempts import Attempt, Seat, StopCause
from agenticflow.runtime.activities.isolation import Isolation
from agenticflow.runtime.activities.placement import Homeless, Placement
from agenticflow.runtime.activities.reports import LastReports
from agenticflow.runtime.activities.worker import LocalWorker
from agenticflow.runtime.actors import Sequel
from agenticflow.runtime.coordination.checks import Checks
from agenticflow.runtime.coordination.children import Children
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.host import Host

__all__ = ["Dispatcher"]

log = logging.getLogger("agenticflow.engine")

MAX_WORKERS: Final = 1_000
MAX_THREADS: Final = 32
COMPLAIN_SECONDS: Final = 1.0
"""How long work waits for a performer before the log says so."""
LOOK_SECONDS: Final = 1.0
"""How often one looks for a performer for what nobody can perform."""
REPORT_SECONDS: Final = 10.0
"""How long stopping waits for outcomes that are being recorded."""
TURN_NANOSECONDS: Final = 2_000_000
"""How long a worker goes on without giving the event loop to others."""


class Dispatcher:
    """Runs activities in this process."""

    def __init__(
        self,
        host: Host,
        clock: Clock,
        gates: Gatekeeper,
        children: Children,
        *,
        max_workers: int = MAX_WORKERS,
        max_threads: int = MAX_THREADS,
        accounts: HasAccounts | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._gates = gates
        self._children = children
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._worker = LocalWorker(host, clock, max_threads=max_threads, accounts=accounts)
        self._placement = Placement()
        self._seats = self._placement.seats
        self._isolation = Isolation()
        self._ready: deque[Attempt] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self.most = max_workers
        """How many attempts may be in work at once at the most."""
        self.limit = max_workers
        """How many may now."""
        self._is_waking = False
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self.checks = Checks(host, clock, self._handler_of, self._attempts.__contains__)
        """Ask whether work of unknown outcome has happened."""
        self._complained: set[str] = set()
        self._end_listening: Callable[[], None] = lambda: None
        self._asking: set[asyncio.Task[None]] = set()
        """Attempts on their way through gates."""
        self._reports: set[asyncio.Task[None]] = set()
        self._is_draining = False
        self._complaint: asyncio.TimerHandle | None = None
        self._plan: Callable[[str, AskForPlan], None] = _nobody_plans
        host.perform_with(self.perform, self._foresee)

    # --- who performs -----------------------------------------------------------------------------------------------

    def seat(self, performer: Performer) -> None:
        """Let ``performer`` work here. What waited for it is dispatched. Raises ``DefinitionError`` for a taken id."""
        self._placement.add(performer)
        self.find_homes()

    def assign_with(self, assigner: Assigner) -> None:
        """Let ``assigner`` say who stands in for a performer that is not well, and move what queues for one that ceases to be."""
        self._placement.assign_with(assigner)
        self._end_listening = assigner.when_changed(self._health_changed)

    def plan_with(self, plan: Callable[[str, AskForPlan], None]) -> None:
        """Hand requests for another plan to ``plan(stream_id, request)``. Without anybody they end with their time."""
        self._plan = plan

    def _health_changed(self, performer_id: str) -> None:
        # Not at once: it is said in the middle of a report.
        self._loop.call_soon(self._move, performer_id)

    def _move(self, performer_id: str) -> None:
        """The health of the performer has changed: place anew what queues for it, and what waits for somebody."""
        seat = self._seats.get(performer_id)
        if seat is not None and not self._is_draining:
            queue, seat.queue = seat.queue, deque()
            for attempt in queue:
                if attempt.cause is not None:
                    self._done_with(attempt)
                elif (found := self._placement.find(attempt.effect)) is not None:
                    attempt.seat, attempt.handler = found
                    self._queue(attempt)
                else:
                    self._done_with(attempt)
                    self._keep(attempt.stream_id, attempt.effect)
        self.find_homes()

    def find_homes(self) -> None:
        """Try again to dispatch what nobody could perform."""
        for stream_id, effect in self._placement.housed():
            self.perform(stream_id, effect)
        self.checks.look_again()

    def _handler_of(self, effect: RunActivity) -> Handler | None:
        found = self._placement.find(effect)
        return None if found is None else found[1]

    def missing(self, stream_id: str | None = None) -> list[str]:
        """Return, in words, which performers and handlers work (of one execution) waits for."""
        return self._placement.missing(stream_id)

    def _keep(self, stream_id: str, effect: RunActivity) -> None:
        self._placement.keep(stream_id, effect)
        if self._complaint is None:
            # Not at once: a program that starts its orchestrator first and registers its agents next is fine.
            self._complaint = self._loop.call_later(COMPLAIN_SECONDS, self._complain)

    def _complain(self) -> None:
        self._complaint = None
        self.find_homes()
        complaints = self.missing()
        for what in complaints:
            if what not in self._complained:
                log.warning("%s", what)
        self._complained = set(complaints)
        if complaints and not self._is_draining:
            # Somebody may be well again after a while, without anybody saying so.
            self._complaint = self._loop.call_later(LOOK_SECONDS, self._complain)

    # --- effects ----------------------------------------------------------------------------------------------------

    def perform(self, stream_id: str, effect: Effect) -> None:
        """Take a committed effect."""
        if isinstance(effect, RunActivity):
            self._run(stream_id, effect)
        elif isinstance(effect, RunChild):
            self._children.run(stream_id, effect)
        elif isinstance(effect, GrantPermit):
            self._gates.granted(stream_id, effect.holder)
        elif isinstance(effect, ContinueExecution):
            self._children.carry_on(stream_id, effect)
        elif isinstance(effect, StopActivity):
            if not self._children.stop(stream_id, effect.token, effect.reason):
                self._stop(stream_id, effect.token, effect.cancel_reason)
        elif isinstance(effect, PauseActivities):
            self._pause(stream_id, is_paused=effect.is_paused)
            self._children.pause(stream_id, is_paused=effect.is_paused)
        elif isinstance(effect, InformActivity):
            attempt = self._attempts.get((stream_id, effect.token))
            if attempt is not None and attempt.context is not None:
                attempt.context.feedback = effect.feedback
        elif isinstance(effect, CheckActivity):
            self.checks.ask(stream_id, effect)
        elif isinstance(effect, AskForPlan):
            self._plan(stream_id, effect)
        elif (seat := self._seats.get(effect.performer_id)) is not None:
            seat.performer.told(effect.event_type, self._clock.now_ns())

    def _foresee(self, stream_id: str, effect: RunChild | RunActivity) -> Sequel | None:
        """Return what follows elsewhere from ``effect``, which is not committed yet: a sub-workflow starts, a gate lets an attempt in."""
        if isinstance(effect, RunChild):
            return self._children.foresee(stream_id, effect)
        if self._is_draining or (stream_id, effect.token) in self._attempts or self._placement.find(effect) is None:
            return None
        return self._gates.foresee(stream_id, effect, partial(self._run, stream_id, effect, is_let_in=True))

    def _run(self, stream_id: str, effect: RunActivity, *, is_let_in: bool = False) -> None:
        """Take up an attempt. One that ``is_let_in`` has its permits already."""
        if (stream_id, effect.token) in self._attempts:
            return
        found = self._placement.find(effect)
        if found is None:
            if is_let_in:
                self._gates.release(stream_id, effect.token)
            self._keep(stream_id, effect)
            return
        attempt = Attempt(stream_id, effect, found[1], found[0])
        self._attempts[stream_id, effect.token] = attempt
        if effect.permits and not is_let_in:
            asking = self._loop.create_task(self._ask_for_permits(attempt), context=self._context.copy())
            attempt.worker = asking
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            asking.add_done_callback(self._gates.announce(effect.permits))
        else:
            self._queue(attempt)

    async def _ask_for_permits(self, attempt: Attempt) -> None:
        """Get what the attempt has to hold; only then does it queue for its performer, so that nobody's time is held meanwhile."""
        effect, stream_id = attempt.effect, attempt.stream_id
        try:
            await self._gates.acquire(stream_id, effect.token, effect.permits, effect.priority)
        except AgenticFlowError as error:
            if attempt.cause is not None or self._is_draining:
                return
            self._done_with(attempt)
            if not self._host.is_closing:
                outcome = Outcome(OutcomeKind.FAILED, error=describe_error(error))
                await self._report(stream_id, effect, outcome)
            return
        if attempt.cause is None and not self._is_draining:
            self._queue(attempt)
        else:
            self._done_with(attempt)

    def _done_with(self, attempt: Attempt) -> None:
        """Nothing more is done for the attempt here."""
        effect = attempt.effect
        self._attempts.pop((attempt.stream_id, effect.token), None)
        if effect.permits and not self._is_draining:
            self._gates.release(attempt.stream_id, effect.token)

    def _queue(self, attempt: Attempt) -> None:
        """Let the attempt in, or have it wait for a seat, for the end of the pause, or for the end of other suspects."""
        seat = attempt.seat
        if attempt.stream_id in self._worker.paused:
            self._worker.paused[attempt.stream_id].append(attempt)
        elif seat.in_flight >= seat.performer.concurrency:
            seat.add(attempt)
        elif not attempt.effect.caution or self._isolation.enter(attempt):
            self._admit(attempt)

    def _end_isolation(self, attempt: Attempt) -> None:
        """A suspected attempt is in work no more, or not now: others may be."""
        for other in self._isolation.leave(attempt):
            if other.cause is None and not self._is_draining:
                self._queue(other)
            else:
                self._done_with(other)

    def _pause(self, stream_id: str, *, is_paused: bool) -> None:
        if is_paused:
            self._worker.paused.setdefault(stream_id, [])
            return
        for attempt in self._worker.paused.pop(stream_id, ()):
            if attempt.cause is None:
                self._queue(attempt)
            else:
                self._done_with(attempt)

    def _admit(self, attempt: Attempt) -> None:
        attempt.seat.in_flight += 1
        self._ready.append(attempt)
        if not self._workers:
            self._hire()  # nobody is at work who could take it
        elif not self._is_waking:
            # Not at once: the worker that is reporting right now will take it, unless there is more than it can do.
            self._is_waking = True
            self._loop.call_soon(self._wake)

    def limit_to(self, limit: int) -> None:
        """Let so many attempts, from 1 to ``most``, be in work at once from now on. What is in work goes on; what is ready waits."""
        self.limit = max(1, min(limit, self.most))
        if self._ready and not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_waking = False
        if self._is_draining:
            return
        for _ in range(min(len(self._ready), self.limit - len(self._workers))):
            self._hire()

    def _hire(self) -> None:
        # In the context of whoever started the engine: this runs in that of a handler, as likely as not.
        worker = self._loop.create_task(self._work(), context=self._context.copy())
        self._workers.add(worker)
        worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            log.critical("a worker of the engine ended: %s", error, exc_info=error)
        if self._ready and not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._wake)

    def _stop(self, stream_id: str, token: int, reason: CancelReason) -> None:
        """The attempt is not wanted any more. Running: tell its handler. Not started: it ends here."""
        attempt = self._attempts.get((stream_id, token))
        if attempt is None:
            effect = self._placement.take_back(stream_id, token)
            if effect is not None:
                self._spawn(self._report(stream_id, effect, Outcome(OutcomeKind.CANCELLED)))
        elif attempt.started_at or attempt.context is not None:
            self._worker.stop(attempt, StopCause.TOLD, reason)
        elif attempt.cause is None:
            # It still queues: whoever meets it there passes it over.
            attempt.cause = StopCause.TOLD
            if attempt.effect.permits:
                # It never began, so nobody has to wait until it is met in a queue.
                self._gates.release(stream_id, token)
            self._spawn(self._report(stream_id, attempt.effect, Outcome(OutcomeKind.CANCELLED)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, context=self._context.copy())
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, stream_id: str, effect: RunActivity, outcome: Outcome) -> None:
        finished = ActivityFinished(
            now=self._clock.now_ns(), task_key=effect.task_key, token=effect.token, outcome=outcome
        )
        await self._host.report(stream_id, finished)

    # --- workers ----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Perform what is ready until nothing is."""
        task = asyncio.current_task()
        assert task is not None  # a coroutine of ours runs in a task
        clean = contextvars.copy_context()
        turn_ends = self._clock.now_ns() + TURN_NANOSECONDS
        while self._ready and not self._is_draining and len(self._workers) <= self.limit:
            attempt = self._ready.popleft()
            now = await self._perform(attempt, task)
            if contextvars.copy_context() != clean:
                # The handler left context variables behind; the next one shall not see them.
                return
            if now > turn_ends:
                await asyncio.sleep(0)
                turn_ends = self._clock.now_ns() + TURN_NANOSECONDS

    async def _perform(self, attempt: Attempt, task: asyncio.Task[None]) -> int:
        """Perform one attempt and have its outcome recorded; return when the outcome came."""
        seat, worker, effect, stream_id = attempt.seat, self._worker, attempt.effect, attempt.stream_id
        performer = seat.performer
        attempt.worker = task
        outcome: Outcome | None = None
        blobs: Blobs = ()
        is_working = is_over = False
        try:
            if attempt.cause is None and stream_id not in worker.paused:
                is_working = True
                seat.working += 1
                performer.work_began(seat.working, self._clock.now_ns())
                outcome, blobs = await worker.run(attempt, task) or (None, ())
                if attempt.context is not None and attempt.context.is_superseded:
                    outcome = None  # whoever has the journal says how it ends
        finally:
            seat.in_flight -= 1
            if outcome is None and attempt.cause is None and stream_id in worker.paused and not attempt.is_over:
                attempt.worker = None  # that task goes on with something else, which is not this attempt's to interrupt
                worker.paused[stream_id].append(attempt)
            else:
                self._attempts.pop((stream_id, effect.token), None)
                is_over = True
            if effect.caution and outcome is None:
                self._end_isolation(attempt)
            now = self._clock.now_ns()
            if is_working:
                seat.working -= 1
                if outcome is None or outcome.kind is SUCCEEDED:
                    performer.work_ended(seat.working, now, outcome)
            if seat.queue:
                self.refill(seat)
        if outcome is not None:
            try:
                if effect.permits and not worker.is_stopping:
                    await worker.report(attempt, outcome, blobs, now, self._gates.leaving(stream_id, effect.token))
                else:
                    await worker.report(attempt, outcome, blobs, now)
            except AgenticFlowError as error:
                log.error("the outcome of %s in %s was not recorded: %s", effect.task_key, stream_id, error)
            if is_working and outcome.kind is not SUCCEEDED:
                # After the report: whether the failure is for good is decided there, and an agent's state depends on it.
                performer.work_ended(seat.working, self._clock.now_ns(), outcome)
        if is_over and (effect.permits or effect.caution or self.checks.waiting):  # hardly ever
            self._let_go(attempt, outcome)
        return now

    def _let_go(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """The attempt is over, and its outcome reported: tell those who wait for that."""
        effect, stream_id = attempt.effect, attempt.stream_id
        if self.checks.waiting:
            # After the report: a late one may have said what happened.
            self.checks.attempt_ended(stream_id, effect.token)
        if outcome is not None and effect.caution:
            # After the report: what is known to have ended has not killed anything.
            self._end_isolation(attempt)
            if (last_reports := self._worker.last_reports) is not None:
                last_reports.forget(attempt)
        if effect.permits and not self._worker.is_stopping:
            # After the report: whoever comes next finds what this one did.
            self._gates.release(stream_id, effect.token)

    def refill(self, seat: Seat) -> None:
        """Let the seat's queue move up as far as its concurrency allows."""
        while seat.queue and seat.in_flight < seat.performer.concurrency and not self._is_draining:
            attempt = seat.queue.popleft()
            if attempt.cause is None:
                self._queue(attempt)
            else:
                self._done_with(attempt)

    def look_again(self, performer_id: str) -> None:
        """The performer can take more, or other, work than before."""
        if (seat := self._seats.get(performer_id)) is not None:
            self.refill(seat)
            self.find_homes()

    async def stop(self, *, drain_seconds: float) -> None:
        """Start nothing new, give running handlers ``drain_seconds`` to end, then interrupt them.

        What is interrupted stays scheduled in the store and runs again after a restart (at-most-once work: is unknown).
        """
        self._is_draining = True
        self._end_listening()
        await self.checks.stop()
        if self._complaint is not None:
            self._complaint.cancel()
        for asking in self._asking:
            asking.cancel()  # who waits asks again after the next start, and keeps its place
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=drain_seconds)
        self._worker.is_stopping = True
        # Only handlers are interrupted: a worker that reports has something that must be recorded.
        for attempt in self._attempts.values():
            self._worker.interrupt(attempt)
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=drain_seconds + 1)
        self._host.is_closing = True  # from here on what cannot be recorded is not tried again
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=REPORT_SECONDS)
        for worker in self._workers:
            worker.cancel()
        if self._reports:
            await asyncio.wait(set(self._reports), timeout=drain_seconds + 1)
        await self._worker.close()
        if self._worker.last_reports is not None:
            await self._worker.last_reports.close()

    def keep_reports_with(self, last_reports: LastReports) -> None:
        """Have what suspects report last kept."""
        self._worker.last_reports = last_reports

    def progress(self, stream_id: str) -> dict[str, Progress]:
        """Return, by task key, how far attempts of an execution that are in work here say they are."""
        return {
            attempt.effect.task_key: attempt.context.progress
            for (stream, _), attempt in self._attempts.items()
            if stream == stream_id and attempt.context is not None and attempt.context.progress is not None
        }

    def attempts(self, stream_id: str | None = None) -> Iterator[Attempt]:
        """Yield every attempt (of one execution) somebody is about: it is in work, queues, is held back by a pause, or asks gates.

        Not those that nobody can perform now: they are ``kept``.
        """
        places = [
            self._ready,
            self._isolation.waiting,
            *(seat.queue for seat in self._seats.values()),
            *self._worker.paused.values(),
        ]
        placed = {id(attempt) for place in places for attempt in place}
        for attempt in self._attempts.values():
            is_in_work = attempt.worker is not None and not attempt.worker.done()
            if stream_id in (None, attempt.stream_id) and (is_in_work or id(attempt) in placed):
                yield attempt

    def waiting_to_start(self) -> int:
        """Return how many attempts could start, if more were let in."""
        return len(self._ready)

    def in_work(self) -> frozenset[tuple[str, int]]:
        """Return the attempts whose handlers have begun and not ended, by stream and token."""
        return frozenset(key for key, attempt in self._attempts.items() if attempt.started_at)

    def kept(self) -> Iterator[tuple[Homeless, str]]:
        """Yield what is kept until somebody can perform it, each with what is missing in words."""
        return self._placement.kept()

    @property
    def open_attempts(self) -> int:
        """How many attempts were handed to this process and have not ended: in work, in queues, held back."""
        return len(self._attempts)

    def load(self) -> dict[str, tuple[int, int]]:
        """Return, by performer id, how many attempts are in work and how many queue."""
        return {performer_id: (seat.in_flight, len(seat.queue)) for performer_id, seat in self._seats.items()}


def _nobody_plans(stream_id: str, request: AskForPlan) -> None:
    """The run waits for its time, and fails then."""
