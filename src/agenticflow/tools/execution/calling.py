"""One call on its way: from the name to the checked value, or to the failure that says whose move it is."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Final, NoReturn

import msgspec

from agenticflow.core import codec
from agenticflow.core.cancelling import CancelReason, Told
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.engine import EffectClass
from agenticflow.core.guards import Guards, Leave, guards
from agenticflow.core.interrupts import interrupt_in
from agenticflow.core.results import ErrorInfo
from agenticflow.core.tools import Caller, Move, ToolCall, ToolFailure, ToolResult
from agenticflow.errors import (
    AgenticFlowError,
    NotSerializable,
    OutcomeUnknown,
    PermanentError,
    TemporaryError,
    ToolExecutionTimeoutError,
    ToolNotFoundError,
)
from agenticflow.tools.context import Cancellation, ToolContext
from agenticflow.tools.definition import ToolDefinition
from agenticflow.tools.execution.authorization import Authorizer
from agenticflow.tools.execution.threads import Job, Threads
from agenticflow.tools.registry import ToolRegistry
from agenticflow.tools.schemas.hints import BadParams
from agenticflow.tools.tool import Tool

__all__ = ["CallFailed", "CallRun", "Means"]

log = logging.getLogger("agenticflow.tools")

NANOSECONDS: Final = 1_000_000_000
MAX_PARAMS_BYTES: Final = 1024 * 1024


class CallFailed(Exception):
    """Ends a call early; the pipeline makes a result of it."""

    def __init__(self, failure: ToolFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _fail(code: str, message: str, move: Move, hint: str = "", problems: tuple[str, ...] = ()) -> NoReturn:
    raise CallFailed(ToolFailure(code, message, move, hint, problems))


class Means:
    """What calls are made with: who authorises, who guards, the clock, the threads, and what does not stop."""

    __slots__ = ("authorizer", "clock", "grace_seconds", "guards", "lost", "threads")

    def __init__(
        self,
        authorizer: Authorizer,
        guarded_by: Guards | None,
        clock: Clock | None,
        max_threads: int,
        grace_seconds: float,
    ) -> None:
        self.authorizer = authorizer
        self.guards = guarded_by
        self.clock = clock
        self.threads = Threads(max_threads)
        self.grace_seconds = grace_seconds
        self.lost: set[asyncio.Task[object]] = set()
        """Async tools that will not be interrupted."""

    def now(self) -> int:
        return (self.clock or ambient.clock).now_ns()

    def give_up(self, work: asyncio.Task[object] | Job) -> None:
        """A tool does not stop: count it until it does."""
        if isinstance(work, Job):
            self.threads.abandon(work)
            return
        self.lost.add(work)
        work.add_done_callback(self._found)

    def _found(self, work: asyncio.Task[object]) -> None:
        self.lost.discard(work)
        if not work.cancelled():
            work.exception()


class CallRun:
    """One call on its way."""

    __slots__ = (
        "attempt",
        "call",
        "caller",
        "cancellation",
        "definition",
        "has_begun",
        "is_abandoned",
        "means",
        "told",
    )

    def __init__(
        self,
        means: Means,
        call: ToolCall,
        caller: Caller,
        cancellation: Cancellation | None,
        told: Told | None = None,
    ) -> None:
        self.means = means
        self.call = call
        self.caller = caller
        self.cancellation = cancellation
        self.told = told
        self.definition: ToolDefinition | None = None
        self.attempt = call.attempt
        self.has_begun = False
        self.is_abandoned = False

    async def through(self, source: ToolRegistry, *, may_retry: bool) -> object:
        """Return the value. Raises ``CallFailed``."""
        tool, bound = await self.admitted(source)
        definition = tool.definition
        retry = definition.retry if may_retry else None
        while True:
            try:
                return await self._attempt(tool, definition, bound)
            except CallFailed as ended:
                failure = ended.failure
                if retry is None or not failure.is_temporary:
                    raise
                info = failure.error or ErrorInfo(failure.code, failure.message)
                delay = retry.delay_after(self.attempt, info, seed=self.call.call_id, task_key=self.call.name)
                if delay is None:
                    raise
                delay = max(delay, failure.retry_after_seconds or 0.0)
                left = self._left()
                if left is not None and delay >= left:
                    raise
            await self._pause(delay)
            self.attempt += 1
            bound = self._validated(tool)  # what a tool does to its arguments is not seen by its next attempt

    async def admitted(self, source: ToolRegistry) -> tuple[Tool, Mapping[str, Any]]:
        """Return the tool and its arguments when the call may be made. Raises ``CallFailed``."""
        try:
            tool = source.get(self.call.name)
        except ToolNotFoundError as error:
            raise CallFailed(ToolFailure.of(error)) from None
        definition = self.definition = tool.definition
        await self._authorise(definition)
        bound = self._validated(tool)
        if definition.needs_approval and not self.call.approved_by:
            _fail(
                "approval_required",
                f"a person has to allow this call of {self.call.name!r}",
                Move.OPERATOR,
                "make it again with approved_by= when somebody has",
            )
        return tool, bound

    async def _authorise(self, definition: ToolDefinition) -> None:
        try:
            refusal = await self.means.authorizer.refusal(definition, self.call, self.caller)
        except Exception as error:
            log.exception("whether %r may be called could not be found out", self.call.name)
            refusal = f"whether it may be called could not be found out: {type(error).__name__}"
        if refusal is not None:
            _fail(
                "security",
                f"the call of {self.call.name!r} was refused: {refusal}",
                Move.OPERATOR,
                "somebody has to grant it; until then use another tool",
            )

    def _validated(self, tool: Tool) -> Mapping[str, Any]:
        """Return the arguments; they share nothing with the params, nor with those of another attempt."""
        params = self.call.params
        try:
            if params:
                encoded = codec.encode(params)
                if len(encoded) > MAX_PARAMS_BYTES:
                    _fail(
                        "bound_exceeded",
                        f"the params of {self.call.name!r} have {len(encoded):,} bytes, above the limit of {MAX_PARAMS_BYTES:,}",
                        Move.CALLER,
                        "write large values to a file and give its name",
                    )
                plain = codec.decode(encoded)
                if isinstance(plain, dict):
                    return tool.bind(plain)
                _fail("invalid_input", f"the params of {self.call.name!r} are no mapping", Move.CALLER)
            return tool.bind({})
        except BadParams as error:
            _fail("invalid_input", error.message, Move.CALLER, "mend the params and call it again", error.problems)
        except NotSerializable as error:
            raise CallFailed(ToolFailure.of(error)) from None

    def interrupted(self) -> ToolFailure:
        """Return what is known when whoever waited does not any more."""
        if self.has_begun and self.definition is not None and self.definition.effect is EffectClass.AT_MOST_ONCE:
            words = (
                f"whoever waited for {self.call.name!r} does not any more, and nobody can say whether it has happened"
            )
            return ToolFailure("outcome_unknown", words, Move.OPERATOR)
        return ToolFailure("cancelled", f"whoever waited for {self.call.name!r} does not any more", Move.CALLER)

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _attempt(self, tool: Tool, definition: ToolDefinition, bound: Mapping[str, Any]) -> object:
        self._stop_if_cancelled()
        leave: Leave | None = None
        if definition.rate_limit is not None or definition.circuit_breaker is not None:
            leave = await self._past_guards(definition)
        error: BaseException | None = asyncio.CancelledError()
        try:
            value = self._checked(tool, definition, await self._performed(tool, definition, bound))
            error = None
            return value
        except CallFailed as ended:
            failure = ended.failure
            error = TemporaryError(failure.message) if failure.is_temporary else PermanentError(failure.message)
            raise
        finally:
            if leave is not None:
                leave(error)

    async def _past_guards(self, definition: ToolDefinition) -> Leave | None:
        keepers = self.means.guards or guards.get()
        name = f"tool:{definition.name}"
        rate, breaker = definition.rate_limit, definition.circuit_breaker
        try:
            if rate is not None:
                left = self._left()
                limit = definition.timeout_seconds if left is None else min(left, definition.timeout_seconds)
                await keepers.turn(name, rate.rate, rate.per_seconds, timeout_seconds=limit)
            if breaker is None:
                return None
            return keepers.enter(
                name, breaker.failure_threshold, breaker.window_seconds, breaker.recovery_seconds, breaker.max_probes
            )
        except TemporaryError as error:
            raise CallFailed(ToolFailure.of(error)) from None
        except AgenticFlowError as error:
            _fail(error.code, error.message, Move.AUTHOR, error.hint)

    async def _performed(self, tool: Tool, definition: ToolDefinition, bound: Mapping[str, Any]) -> object:
        """Run the tool within its limits and return what it returned. Raises ``CallFailed``."""
        now = self.means.now()
        limit = definition.timeout_seconds
        deadline = now + int(limit * NANOSECONDS)
        if self.call.deadline is not None and self.call.deadline < deadline:
            deadline = self.call.deadline
            limit = (deadline - now) / NANOSECONDS
            if limit <= 0:
                _fail("tool_timeout", f"the deadline of the call of {definition.name!r} has passed", Move.WORLD)
        context = ToolContext(definition, self.call, self.caller, attempt=self.attempt, deadline=deadline)
        work: asyncio.Task[object] | Job
        self.has_begun = True
        if tool.is_async:
            work = asyncio.get_running_loop().create_task(_awaited(tool, bound, context))
            ending: asyncio.Future[object] = work
        else:
            try:
                work = await self.means.threads.start(partial(tool.perform, bound, context))
            except TemporaryError as error:
                raise CallFailed(ToolFailure.of(error)) from None
            ending = work.future
        try:
            await self._wait(ending, limit)
            if not ending.done():
                is_told = self.cancellation is not None and self.cancellation.is_cancelled
                context.tell(self._why() if is_told else CancelReason.TIMEOUT)
                await self._stop(work, ending)
        except asyncio.CancelledError:
            context.tell(self._why())
            await self._stop(work, ending)
            raise
        return self._outcome(definition, ending, context, limit)

    def _why(self) -> CancelReason:
        """Return why the tool is told to stop, when it is not for its time."""
        if self.cancellation is not None and self.cancellation.is_cancelled:
            return self.cancellation.cause
        return (None if self.told is None else self.told()) or CancelReason.CANCELLED

    async def _wait(self, ending: asyncio.Future[object], limit: float) -> None:
        cancellation = self.cancellation
        if cancellation is None:
            await asyncio.wait((ending,), timeout=limit)
            return
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            loop.call_soon_threadsafe(_set, told)

        forget = cancellation.listen(tell)
        try:
            await asyncio.wait((ending, told), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()

    async def _stop(self, work: asyncio.Task[object] | Job, ending: asyncio.Future[object]) -> None:
        """Tell a tool to stop, and give it up when it does not."""
        if not isinstance(work, Job):
            work.cancel()
        try:
            await asyncio.wait((ending,), timeout=self.means.grace_seconds)
        finally:
            if not ending.done():
                self.is_abandoned = True
                self.means.give_up(work)
                log.error("call %s of the tool %r does not stop; it is given up", self.call.call_id, self.call.name)

    def _outcome(
        self, definition: ToolDefinition, ending: asyncio.Future[object], context: ToolContext, limit: float
    ) -> object:
        name = definition.name
        error: BaseException | None = None
        if ending.done() and not ending.cancelled():
            error = ending.exception()
            if error is None:
                return ending.result()  # finished work is not thrown away, not even late
            if interrupt_in(error) is not None or isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error
        if context.is_cancelled:
            is_told = self.cancellation is not None and self.cancellation.is_cancelled
            cause = "was told to stop" if is_told else f"was not done within {limit:g} s"
            if definition.effect is EffectClass.AT_MOST_ONCE:
                _fail(
                    "outcome_unknown",
                    f"the tool {name!r} {cause}, and nobody can say whether it has happened",
                    Move.OPERATOR,
                    "find out before it is called again",
                )
            if is_told:
                self._stop_if_cancelled()
            expired = ToolExecutionTimeoutError(
                f"the tool {name!r} {cause}" + ("; it still runs, out of reach" if self.is_abandoned else ""),
                hint="ask for less, or allow it more time",
            )
            raise CallFailed(ToolFailure.of(expired))
        if error is None:
            _fail("tool_failed", f"the tool {name!r} cancelled itself", Move.AUTHOR)
        if definition.effect is EffectClass.AT_MOST_ONCE and not isinstance(error, AgenticFlowError):
            # it does not say that trying again makes sense, and may have come halfway
            failure = ToolFailure.of(error)
            hint = "it may have happened, or half of it: find out before it is called again"
            unknown = msgspec.structs.replace(failure, code=OutcomeUnknown.code, move=Move.OPERATOR, hint=hint)
            raise CallFailed(unknown) from error
        raise CallFailed(ToolFailure.of(error)) from error

    def _checked(self, tool: Tool, definition: ToolDefinition, value: object) -> object:
        """Return the value as it flows on: plain data, not too large, and what was promised. Raises ``CallFailed``."""
        name = definition.name
        if isinstance(value, ToolResult):
            if value.error is not None:
                raise CallFailed(value.error)
            value = value.value
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            _fail("invalid_tool_output", f"the tool {name!r} returned an awaitable", Move.AUTHOR, "make it async def")
        try:
            encoded = codec.encode(value)
        except NotSerializable as error:
            _fail(error.code, f"the result of {name!r}: {error.message}", Move.AUTHOR, error.hint)
        if len(encoded) > definition.max_result_bytes:
            _fail(
                "result_too_large",
                f"the result of {name!r} has {len(encoded):,} bytes, above its limit of {definition.max_result_bytes:,}",
                Move.CALLER,
                "ask for less at once",
            )
        plain = codec.decode(encoded)
        words = tool.misfit(plain)
        if words is not None:
            _fail(
                "invalid_tool_output",
                f"the tool {name!r} returned something else than it promises: {words}",
                Move.AUTHOR,
            )
        return plain

    # --- time -------------------------------------------------------------------------------------------------------

    def _left(self) -> float | None:
        if self.call.deadline is None:
            return None
        return max(0.0, (self.call.deadline - self.means.now()) / NANOSECONDS)

    def _stop_if_cancelled(self) -> None:
        if self.cancellation is not None and self.cancellation.is_cancelled:
            reason = f": {self.cancellation.reason}" if self.cancellation.reason else ""
            _fail("cancelled", f"the call of {self.call.name!r} was cancelled{reason}", Move.CALLER)

    async def _pause(self, seconds: float) -> None:
        never: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        await self._wait(never, seconds)


async def _awaited(tool: Tool, bound: Mapping[str, Any], context: ToolContext) -> object:
    value = tool.perform(bound, context)
    return await value if isinstance(value, Awaitable) else value


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
