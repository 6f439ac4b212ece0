"""The local worker: runs the handler of one attempt inside its time limit and reports how it ended.

Async handlers run on the loop and are interrupted by cancellation, plain ones run in threads and are asked to stop, CPU-bound ones run
in processes and are killed. First the fact, then the acknowledgement: an outcome counts when the host has recorded it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from agenticflow.core import codec
from agenticflow.core.binding import RunsIn
from agenticflow.core.clocks import Clock
from agenticflow.core.context import CancelReason, HasAccounts, TaskContext
from agenticflow.core.engine import ActivityFinished, ActivityInput, ActivityStarted, EffectClass
from agenticflow.core.guards import AttemptGuard
from agenticflow.core.interrupts import Replies, interrupt_in, question_in
from agenticflow.core.plain import called
from agenticflow.core.results import SUCCEEDED, ErrorInfo, Outcome, OutcomeKind, describe_error
from agenticflow.core.types import Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    InvalidInput,
    OutcomeUnknown,
    TemporaryError,
    UsageError,
)
from agenticflow.runtime.activities.attempts import Attempt, StopCause
from agenticflow.runtime.activities.limits import Limits
from agenticflow.runtime.activities.processes import ProcessPool
from agenticflow.runtime.activities.reports import LastReports
from agenticflow.runtime.actors import Sequel
from agenticflow.runtime.coordination.journals import Journals
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.host import Host

__all__ = ["LocalWorker"]

log = logging.getLogger("agenticflow.engine")

_AT_MOST_ONCE: Final = EffectClass.AT_MOST_ONCE
_LOOP: Final = RunsIn.LOOP
NANOSECONDS: Final = 1_000_000_000
NOTICE_SECONDS: Final = 1.0
"""A handler that runs longer is recorded as started, with the moment of its time limit, so that a restart does not restart it."""
GRACE_SECONDS: Final = 10.0
INTENT_RETRY_SECONDS: Final = 0.2
LOOKS_PER_SILENCE: Final = 4
"""How often one looks for a report of progress within its limit: the end of a silence is noticed a quarter late at most."""


Ended = tuple[Outcome, Blobs]
"""How an attempt ended, and the large values that its outcome refers to."""


class LocalWorker:
    """Performs attempts in this process."""

    def __init__(self, host: Host, clock: Clock, *, max_threads: int, accounts: HasAccounts | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._host = host
        self._clock = clock
        self._max_threads = max_threads
        self._threads: ThreadPoolExecutor | None = None
        self._processes = ProcessPool()
        self._journals = Journals(host, clock)
        self._accounts = accounts
        self._slots = {
            RunsIn.THREAD: asyncio.Semaphore(max_threads),
            RunsIn.PROCESS: asyncio.Semaphore(self._processes.limit),
        }
        self._time_limits: Limits[Attempt] = Limits(loop, self._time_is_up)
        self._notices: Limits[Attempt] = Limits(loop, self._notice)
        self._graces: Limits[Attempt] = Limits(loop, self._abandon)
        self._silences: Limits[Attempt] = Limits(loop, self._listen)
        self._reports: set[asyncio.Task[None]] = set()
        self.last_reports: LastReports | None = None
        """Who keeps what suspects report."""
        self.paused: dict[str, list[Attempt]] = {}
        """Executions of which no handler may start, and the attempts that wait for the end of that."""
        self.is_stopping = False
        """Whether a worker task that is cancelled is meant to end. Otherwise only its handler was."""

    async def record_intent(self, attempt: Attempt) -> bool:
        """Record that at-most-once or suspected work starts. ``False`` means the attempt is superseded and must not run."""
        effect = attempt.effect
        reach("worker.before_intent")
        is_doubtful = False
        while True:
            now = self._clock.now_ns()
            started = ActivityStarted(
                now=now, task_key=effect.task_key, token=effect.token, deadline=self._deadline(attempt, now)
            )
            try:
                answer = await self._host.submit(attempt.stream_id, started)
            except CommandRefused:
                return False
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                if self._host.is_closing:
                    return False
                is_doubtful |= isinstance(error, OutcomeUnknown)
                log.warning(
                    "cannot record the start of %s in %s, trying again: %s",
                    effect.task_key,
                    attempt.stream_id,
                    error,
                    extra=attempt.log_fields,
                )
                await asyncio.sleep(INTENT_RETRY_SECONDS)
            else:
                reach("worker.after_intent")
                if is_doubtful and not answer.facts and effect.effect is not EffectClass.AT_MOST_ONCE:
                    # Suspected work may run again: it goes on, unless it is superseded.
                    return await self._host.is_in_work(attempt.stream_id, effect.token)
                if is_doubtful and not answer.facts:
                    # Either it is superseded, and this changes nothing, or its start is recorded, and somebody has to decide.
                    await self.report(attempt, Outcome(OutcomeKind.UNKNOWN), (), self._clock.now_ns())
                return answer.facts > 0

    async def _inputs_later(self, attempt: Attempt, error: TemporaryError) -> ActivityInput:
        """Return what the handler is given; the store could not be read, which delays it."""
        while not self._host.is_closing:
            log.warning(
                "cannot read the inputs of %s in %s, trying again: %s",
                attempt.effect.task_key,
                attempt.stream_id,
                error,
                extra=attempt.log_fields,
            )
            await asyncio.sleep(INTENT_RETRY_SECONDS)
            try:
                return await self._settled_inputs(attempt)
            except TemporaryError as again:
                error = again
        raise error

    async def _settled_inputs(self, attempt: Attempt) -> ActivityInput:
        """Return what the handler is given when what is being committed is true, or is not: nobody hears what may not come true."""
        await self._host.read(attempt.stream_id)
        return await self._host.inputs(attempt.stream_id, attempt.effect.task_key)

    def run(self, attempt: Attempt, task: asyncio.Task[None]) -> Coroutine[Any, Any, Ended | None]:
        """Run the handler to its end, whatever that is; return the outcome and the large values it refers to.

        ``None`` means that the handler did not start: the execution is paused, or (``attempt.is_over``) the attempt is superseded.
        """
        guard = attempt.handler.guard
        if guard is not None:
            return self._run_guarded(attempt, task, guard)
        return self._run(attempt, task) if attempt.handler.runs_in is _LOOP else self._run_in_turn(attempt, task)

    async def _run_guarded(self, attempt: Attempt, task: asyncio.Task[None], guard: AttemptGuard) -> Ended | None:
        """Ask the guard before the intent is recorded: what it does not let begin has not begun, at-most-once work neither."""
        try:
            tell = guard.enter()
        except AgenticFlowError as error:
            attempt.is_over = True
            return Outcome(OutcomeKind.FAILED, error=describe_error(error)), ()
        ended: Ended | None = None
        try:
            is_on_loop = attempt.handler.runs_in is RunsIn.LOOP
            ended = await (self._run(attempt, task) if is_on_loop else self._run_in_turn(attempt, task))
            return ended
        finally:
            tell(ended[0] if ended is not None else None)

    async def _run_in_turn(self, attempt: Attempt, task: asyncio.Task[None]) -> Ended | None:
        # The intent and the time limit belong to the handler, not to the wait for a thread or process to run it.
        async with self._slots[attempt.handler.runs_in]:
            if attempt.stream_id in self.paused or attempt.cause is not None:
                return None
            return await self._run(attempt, task)

    async def _run(self, attempt: Attempt, task: asyncio.Task[None]) -> Ended | None:
        effect, handler = attempt.effect, attempt.handler
        attempt.is_over = True
        is_recorded_first = effect.effect is _AT_MOST_ONCE or effect.caution
        if is_recorded_first and not await self.record_intent(attempt):
            return None
        blobs: Blobs = ()
        try:
            try:
                given = await self._host.inputs(attempt.stream_id, effect.task_key)
                if given.feedback:
                    given = await self._settled_inputs(attempt)
            except TemporaryError as error:
                given = await self._inputs_later(attempt, error)
            now = attempt.started_at = self._clock.now_ns()
            context = attempt.context = TaskContext(
                workflow_id=given.workflow_id,
                run_no=given.run_no,
                task_id=given.task_id,
                task_key=effect.task_key,
                agent_id=attempt.seat.performer_id,
                attempt=effect.attempt,
                generation=effect.generation,
                deadline=self._deadline(attempt, now),
                params=given.params,
                results=given.results,
                encoded_input=given.encoded_input,
                feedback=given.feedback,
                effect=effect.effect,
            )
            if given.replies:
                context.replies = Replies(given.replies)
            context.journals, context.token = self._journals, effect.token
            if effect.caution and self.last_reports is not None:
                self.last_reports.follow(attempt)
            context.accounts = self._accounts
            arguments = handler.arguments(given.params, context)
        except TemporaryError:
            raise
        except Exception as error:  # noqa: BLE001 - a hint's own validation is the author's code: what it raises is the outcome
            return Outcome(OutcomeKind.FAILED, error=describe_error(error)), blobs
        if attempt.cause is not None:
            return self._interrupted(attempt), blobs
        self._start_limits(attempt, now)
        reach("worker.before_handler")
        try:
            if handler.runs_in is _LOOP:
                attempt.task = task
                value = await handler.function(**arguments)  # type: ignore[misc]  # RunsIn.LOOP means a coroutine function
            elif handler.runs_in is RunsIn.THREAD:
                value = await self._in_thread(partial(handler.function, **arguments))
            else:
                return await self._in_process(attempt, given.params, handler.gather(given.params, context))
            attempt.task = None
            reach("worker.after_handler")
            stored, blobs = store_form(codec.encode(value))
            return Outcome(SUCCEEDED, stored), blobs
        except asyncio.CancelledError:
            attempt.task = None
            if self.is_stopping and attempt.cause is None and task.cancelling():
                raise
            return self._interrupted(attempt), ()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its outcome
            attempt.task = None
            if attempt.cause is not None:
                return self._interrupted(attempt), ()
            if (asked := _asked_by(context, error)) is not None:
                return asked, ()
            trace = "" if isinstance(error, UsageError) else traceback.format_exc(limit=-8)
            return _said_by(attempt, Outcome(OutcomeKind.FAILED, error=describe_error(error, trace=trace)), error), ()
        finally:
            attempt.task = None
            self._end_limits(attempt)
            context.close_journal()
            if task.cancelling() and not self.is_stopping:
                await _take_back_cancellation(task)

    async def report(
        self,
        attempt: Attempt,
        outcome: Outcome,
        blobs: Blobs,
        now: int,
        sequels: Sequence[Sequel] = (),
    ) -> None:
        """Have the outcome, which came at ``now``, recorded, and with it what follows from that elsewhere."""
        reach("worker.before_report")
        effect = attempt.effect
        measures = self._host.measures
        if measures is not None and (outcome.is_abandoned or not attempt.is_abandoned):
            lasted = now - attempt.started_at if attempt.started_at else 0
            measures.attempt_ended(effect.task_type or effect.performer_id, outcome.kind, effect.attempt, lasted)
        await self._host.report(
            attempt.stream_id,
            ActivityFinished(now=now, task_key=effect.task_key, token=effect.token, outcome=outcome, blobs=blobs),
            sequels,
        )
        reach("worker.after_report")

    def stop(self, attempt: Attempt, cause: StopCause, reason: CancelReason) -> None:
        """Tell a running handler to stop, and why: interrupt it, ask it, or kill its process, by where it runs."""
        if attempt.cause is not None:
            return
        attempt.cause = cause
        _tell(attempt, reason)
        if attempt.task is not None:
            attempt.task.cancel()
        if attempt.process is not None and not attempt.process.done():
            attempt.process.set_result(None)
        if cause is not StopCause.TOLD:
            self._graces.add(attempt, GRACE_SECONDS)

    def interrupt(self, attempt: Attempt) -> None:
        """The engine stops: interrupt whoever is about the attempt. Nothing is decided about it."""
        _tell(attempt, CancelReason.DRAIN)
        if attempt.worker is not None:
            attempt.worker.cancel()

    async def close(self) -> None:
        """End limits, reports, threads and processes. Threads still running are left to end by themselves."""
        for limits in (self._time_limits, self._notices, self._graces, self._silences):
            limits.stop()
        await self._journals.settle()
        if self._reports:
            await asyncio.wait(set(self._reports), timeout=GRACE_SECONDS)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._processes.close)

    # --- where handlers run -----------------------------------------------------------------------------------------

    async def _in_thread(self, call: partial[object]) -> object:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._max_threads, thread_name_prefix="agenticflow-handler")
        return await self._loop.run_in_executor(self._threads, contextvars.copy_context().run, called, call)

    async def _in_process(self, attempt: Attempt, params: dict[str, object], values: dict[str, object]) -> Ended:
        attempt.process = self._loop.create_future()
        outcome = await self._processes.run(attempt.handler, params, values, attempt.process)
        if outcome.kind is OutcomeKind.SUCCEEDED:
            stored, blobs = store_form(outcome.value)
            return Outcome(OutcomeKind.SUCCEEDED, stored), blobs
        if attempt.cause is not None:
            return self._interrupted(attempt), ()
        return _said_by(attempt, outcome), ()

    def _interrupted(self, attempt: Attempt) -> Outcome:
        if attempt.cause in (StopCause.TIME, StopCause.SILENCE):
            return Outcome(OutcomeKind.TIMED_OUT, error=self._timeout_error(attempt))
        if attempt.cause is StopCause.TOLD:
            return Outcome(OutcomeKind.CANCELLED)
        error = ErrorInfo("CancelledError", "the handler cancelled itself", kinds=("CancelledError",))
        return Outcome(OutcomeKind.FAILED, error=error)

    def _timeout_error(self, attempt: Attempt) -> ErrorInfo:
        if attempt.cause is StopCause.SILENCE:
            silence = attempt.effect.stall_seconds or 0.0
            message = f"task {attempt.effect.task_key!r} reported no progress for {silence:g} s"
            return ErrorInfo("TaskStalled", message, "stalled", kinds=("TaskStalled", "TaskTimeout", "TemporaryError"))
        limit = attempt.effect.timeout_seconds or 0.0
        message = f"task {attempt.effect.task_key!r} was not done within its limit of {limit:g} s per attempt"
        return ErrorInfo("TaskTimeout", message, "timeout", kinds=("TaskTimeout", "TemporaryError"))

    # --- time -------------------------------------------------------------------------------------------------------

    def _deadline(self, attempt: Attempt, now: int) -> int | None:
        effect = attempt.effect
        if effect.deadline is not None or effect.timeout_seconds is None:
            return effect.deadline
        return now + int(effect.timeout_seconds * NANOSECONDS)

    def _start_limits(self, attempt: Attempt, now: int) -> None:
        effect = attempt.effect
        if effect.stall_seconds is not None:
            attempt.listen_seconds = effect.stall_seconds / LOOKS_PER_SILENCE
            self._silences.add(attempt, attempt.listen_seconds)
        limit = effect.timeout_seconds
        if effect.deadline is not None:
            limit = max(0.0, (effect.deadline - now) / NANOSECONDS)
        elif effect.effect is not _AT_MOST_ONCE and not effect.caution:
            # The time limit is armed with the notice: most handlers are done by then and pay for one timer only.
            attempt.notice_seconds = NOTICE_SECONDS if limit is None else min(NOTICE_SECONDS, limit / 4)
            self._notices.add(attempt, attempt.notice_seconds)
            return
        self._arm(attempt, limit)

    def _arm(self, attempt: Attempt, limit: float | None) -> None:
        attempt.limit_seconds = limit
        if limit is not None:
            self._time_limits.add(attempt, limit)

    def _end_limits(self, attempt: Attempt) -> None:
        if attempt.limit_seconds is not None:
            self._time_limits.remove(attempt, attempt.limit_seconds)
        if attempt.notice_seconds is not None:
            self._notices.remove(attempt, attempt.notice_seconds)
        if attempt.listen_seconds is not None:
            self._silences.remove(attempt, attempt.listen_seconds)
        if attempt.cause is not None:
            self._graces.remove(attempt, GRACE_SECONDS)

    def _listen(self, attempt: Attempt) -> None:
        """Look for news several times within the limit: reports come from threads, which nobody wakes the loop for."""
        progress = attempt.context.progress if attempt.context is not None else None
        number = -1 if progress is None else progress.number
        attempt.silence = 0 if number != attempt.heard else attempt.silence + 1
        attempt.heard = number
        if attempt.silence >= LOOKS_PER_SILENCE:
            self.stop(attempt, StopCause.SILENCE, CancelReason.STALLED)
        elif attempt.listen_seconds is not None:
            self._silences.add(attempt, attempt.listen_seconds)

    def _time_is_up(self, attempt: Attempt) -> None:
        self.stop(attempt, StopCause.TIME, CancelReason.TIMEOUT)

    def _notice(self, attempt: Attempt) -> None:
        """The handler has been running for a while: record that, and when its limit is."""
        effect = attempt.effect
        if effect.timeout_seconds is not None and attempt.notice_seconds is not None:
            self._arm(attempt, effect.timeout_seconds - attempt.notice_seconds)
        started = ActivityStarted(
            now=self._clock.now_ns(),
            task_key=effect.task_key,
            token=effect.token,
            deadline=self._deadline(attempt, attempt.started_at),
        )
        self._later(partial(self._host.report, attempt.stream_id, started))

    def _abandon(self, attempt: Attempt) -> None:
        """The handler did not stop within the grace. Its slot stays held; the attempt is given up."""
        attempt.is_abandoned = True
        effect = attempt.effect
        outcome = Outcome(OutcomeKind.TIMED_OUT, error=self._timeout_error(attempt), is_abandoned=True)
        log.error(
            "the handler of %s in %s does not stop; its slot stays held until it does",
            effect.task_key,
            attempt.stream_id,
            extra=attempt.log_fields,
        )
        self._later(partial(self.report, attempt, outcome, (), self._clock.now_ns()))

    def _later(self, work: Callable[[], Awaitable[None]]) -> None:
        task = self._loop.create_task(_logged(work))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)


def _tell(attempt: Attempt, reason: CancelReason) -> None:
    """Let the handler see that it shall stop: the reason first, for threads that look at the other."""
    context = attempt.context
    if context is not None and context.cancel_reason is None:
        context.cancel_reason = reason
        context.is_cancelled = True


def _asked_by(context: TaskContext, error: BaseException) -> Outcome | None:
    """Return that the handler asks people, when that is what ended it, or that it must not ask so."""
    if (interrupt := interrupt_in(error)) is None:
        return None
    try:
        return Outcome(OutcomeKind.INTERRUPTED, question_in(interrupt, context.replies, context.task_key))
    except InvalidInput as refused:
        return Outcome(OutcomeKind.FAILED, error=describe_error(refused))


def _said_by(attempt: Attempt, outcome: Outcome, error: BaseException | None = None) -> Outcome:
    """Return what a handler's error means: of work that must not run twice it may say that nobody knows whether it has happened."""
    if attempt.effect.effect is not EffectClass.AT_MOST_ONCE or outcome.error is None:
        return outcome
    # A task group wraps what its tasks raise.
    within: BaseException | None = error.subgroup(OutcomeUnknown) if isinstance(error, BaseExceptionGroup) else None
    while isinstance(within, BaseExceptionGroup):
        within = within.exceptions[0]
    told = outcome.error if within is None else describe_error(within, trace=outcome.error.trace)
    return Outcome(OutcomeKind.UNKNOWN, error=told) if told.code == OutcomeUnknown.code else outcome


async def _take_back_cancellation(task: asyncio.Task[None]) -> None:
    """A handler was told to stop, or cancelled the task it runs in: that ends the handler, not the worker."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # a request that was not delivered yet would hit the report
    while task.cancelling():
        task.uncancel()


async def _logged(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except AgenticFlowError as error:
        log.error("a report was not recorded: %s", error)
