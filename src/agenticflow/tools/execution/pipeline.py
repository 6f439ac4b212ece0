"""The one execution path: authorise, validate, wait for a turn, ask the breaker, run within bounds, check what came, tell who listens.

Whatever goes wrong on the way is a failure in the result that says whose move it is; nothing of it is raised. Only the cancellation of the
task that waits goes through, and what a handler asks a person by. What one call costs of ours is measured by ``benchmarks/tools.py``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import msgspec

from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.engine import EffectClass
from agenticflow.core.guards import Guards, Leave, guards
from agenticflow.core.interrupts import interrupt_in
from agenticflow.core.results import ErrorInfo
from agenticflow.core.tools import (
    LOCAL_OWNER,
    Caller,
    CallGiven,
    Move,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolSource,
    call_of,
)
from agenticflow.errors import (
    AgenticFlowError,
    InvalidInput,
    NotSerializable,
    PermanentError,
    TemporaryError,
    ToolExecutionTimeoutError,
    ToolNotFoundError,
)
from agenticflow.tools.context import Cancellation, ToolContext
from agenticflow.tools.definition import ToolDefinition
from agenticflow.tools.execution.authorization import GRANTED, Authorizer
from agenticflow.tools.execution.threads import Job, Threads
from agenticflow.tools.registry import ToolRegistry, get_tool_registry
from agenticflow.tools.schemas.hints import BadParams
from agenticflow.tools.tool import Tool

__all__ = ["ToolPipeline", "ToolUse", "get_tool_pipeline", "invoke_tool", "invoke_tool_parallel"]

log = logging.getLogger("agenticflow.tools")

NANOSECONDS: Final = 1_000_000_000
MAX_PARAMS_BYTES: Final = 1024 * 1024
MAX_THREADS: Final = 32
GRACE_SECONDS: Final = 1.0
"""How long a tool that was told to stop may take to do so."""
MAX_CONCURRENT_CALLS: Final = 10
"""Of ``invoke_parallel``, unless it is told otherwise."""


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """One call from beginning to end, for whoever listens: an audit, metrics, a trace."""

    call: ToolCall
    caller: Caller
    definition: ToolDefinition | None
    """``None`` when there is no such tool."""
    result: ToolResult
    began_at: int
    ended_at: int
    is_abandoned: bool = False
    """Whether the tool still runs, out of reach."""

    @property
    def outcome(self) -> str:
        """``succeeded``, or the code of the failure."""
        return "succeeded" if self.result.error is None else self.result.error.code


Listener = Callable[[ToolUse], None]


class _Failed(Exception):
    """Ends a call early; never leaves this module."""

    def __init__(self, failure: ToolFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _fail(code: str, message: str, move: Move, hint: str = "", problems: tuple[str, ...] = ()) -> NoReturn:
    raise _Failed(ToolFailure(code, message, move, hint, problems))


class ToolPipeline:
    """Makes calls. One for the process is enough (``get_tool_pipeline``); it may be used from several event loops."""

    def __init__(
        self,
        registry: ToolRegistry | None = None,
        *,
        authorizer: Authorizer = GRANTED,
        guarded_by: Guards | None = None,
        clock: Clock | None = None,
        max_threads: int = MAX_THREADS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """``registry`` is where tools are looked up for calls that bring no set of their own, by default that of the process."""
        self.registry = registry if registry is not None else get_tool_registry()
        self.authorizer = authorizer
        self.in_flight = 0
        """Calls that are being made now."""
        self._guards = guarded_by
        self._clock = clock
        self._threads = Threads(max_threads)
        self._grace_seconds = grace_seconds
        self._listeners: tuple[Listener, ...] = ()
        self._lost: set[asyncio.Task[object]] = set()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of every call at its end, refused ones included, before its result is given; return what ends that.

        A listener that raises is logged and changes nothing.
        """
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end

    @property
    def abandoned(self) -> int:
        """Tools that were given up and still run."""
        return self._threads.abandoned + len(self._lost)

    async def invoke(
        self,
        call: ToolCall,
        caller: Caller = LOCAL_OWNER,
        tools: ToolSource | None = None,
        *,
        cancellation: Cancellation | None = None,
        may_retry: bool = True,
    ) -> ToolResult:
        """Make one call of a tool in ``tools`` and return what came of it: a value, or a failure that says whose move it is.

        The call's ``deadline`` and ``cancellation`` end it beside the tool's own time limit. With ``may_retry=False`` there is one attempt,
        for callers that record attempts themselves. Cancelling the task that waits tells the tool to stop, waits a moment for it, and goes
        through as ``CancelledError``.
        """
        began_at = self._now()
        if not call.call_id:
            call = msgspec.structs.replace(call, call_id=f"call-{ambient.ids.next_id()}")
        run = _Run(self, call, caller, cancellation)
        self.in_flight += 1
        value: object = None
        failure: ToolFailure | None = None
        try:
            value = await run.through(self._source(tools), may_retry=may_retry)
        except _Failed as ended:
            failure = ended.failure
        except BaseException:
            failure = run.interrupted()
            raise
        finally:
            result = ToolResult(value, failure, call.call_id, call.name, run.attempt)
            self.in_flight -= 1
            if self._listeners:
                self._tell(
                    ToolUse(
                        call=call,
                        caller=caller,
                        definition=run.definition,
                        result=result,
                        began_at=began_at,
                        ended_at=self._now(),
                        is_abandoned=run.is_abandoned,
                    )
                )
        return result

    async def refusal(
        self, call: ToolCall, caller: Caller = LOCAL_OWNER, tools: ToolSource | None = None
    ) -> ToolFailure | None:
        """Return why ``call`` would be refused before its tool runs, ``None`` when it would not.

        For whoever first asks a person, or records what is going to be done. Nobody who listens is told.
        """
        try:
            await _Run(self, call, caller, None).admitted(self._source(tools))
        except _Failed as ended:
            return ended.failure
        return None

    async def invoke_parallel(
        self,
        calls: Sequence[CallGiven],
        caller: Caller = LOCAL_OWNER,
        tools: ToolSource | None = None,
        *,
        max_concurrent: int = MAX_CONCURRENT_CALLS,
        cancellation: Cancellation | None = None,
        may_retry: bool = True,
    ) -> list[ToolResult]:
        """Make all calls, at most ``max_concurrent`` at once; results in the order of the calls, failures in their places."""
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise InvalidInput(f"max_concurrent is {max_concurrent!r:.60}", hint="give a whole number of at least 1")
        results = [ToolResult()] * len(calls)
        places = iter(range(len(calls)))

        async def work() -> None:
            for place in places:
                try:
                    call = call_of(calls[place])
                except InvalidInput as error:
                    results[place] = ToolResult.failure(error)
                    continue
                results[place] = await self.invoke(call, caller, tools, cancellation=cancellation, may_retry=may_retry)

        if len(calls) <= 1:
            await work()
            return results
        async with asyncio.TaskGroup() as group:
            for _ in range(min(max_concurrent, len(calls))):
                group.create_task(work())
        return results

    # --- inside -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return (self._clock or ambient.clock).now_ns()

    def _source(self, tools: ToolSource | None) -> ToolRegistry:
        if tools is None:
            return self.registry
        if not isinstance(tools, ToolRegistry):
            raise InvalidInput(f"tools are a {type(tools).__name__}", hint="give a ToolRegistry: ToolRegistry.of([…])")
        return tools

    def _tell(self, use: ToolUse) -> None:
        for listener in self._listeners:
            try:
                listener(use)
            except Exception:
                log.exception("who listens to calls of tools failed at %s of %r", use.call.call_id, use.call.name)

    def give_up(self, work: asyncio.Task[object] | Job) -> None:
        """A tool does not stop: count it until it does."""
        if isinstance(work, Job):
            self._threads.abandon(work)
            return
        self._lost.add(work)
        work.add_done_callback(self._found)

    def _found(self, work: asyncio.Task[object]) -> None:
        self._lost.discard(work)
        if not work.cancelled():
            work.exception()


class _Run:
    """One call on its way."""

    __slots__ = ("attempt", "call", "caller", "cancellation", "definition", "has_begun", "is_abandoned", "pipeline")

    def __init__(
        self, pipeline: ToolPipeline, call: ToolCall, caller: Caller, cancellation: Cancellation | None
    ) -> None:
        self.pipeline = pipeline
        self.call = call
        self.caller = caller
        self.cancellation = cancellation
        self.definition: ToolDefinition | None = None
        self.attempt = call.attempt
        self.has_begun = False
        self.is_abandoned = False

    async def through(self, source: ToolRegistry, *, may_retry: bool) -> object:
        """Return the value. Raises ``_Failed``."""
        tool, bound = await self.admitted(source)
        definition = tool.definition
        retry = definition.retry if may_retry else None
        while True:
            try:
                return await self._attempt(tool, definition, bound)
            except _Failed as ended:
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
        """Return the tool and its arguments when the call may be made. Raises ``_Failed``."""
        try:
            tool = source.get(self.call.name)
        except ToolNotFoundError as error:
            raise _Failed(ToolFailure.of(error)) from None
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
            refusal = await self.pipeline.authorizer.refusal(definition, self.call, self.caller)
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
            raise _Failed(ToolFailure.of(error)) from None

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
        except _Failed as ended:
            failure = ended.failure
            error = TemporaryError(failure.message) if failure.is_temporary else PermanentError(failure.message)
            raise
        finally:
            if leave is not None:
                leave(error)

    async def _past_guards(self, definition: ToolDefinition) -> Leave | None:
        keepers = self.pipeline._guards or guards.get()
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
            raise _Failed(ToolFailure.of(error)) from None
        except AgenticFlowError as error:
            _fail(error.code, error.message, Move.AUTHOR, error.hint)

    async def _performed(self, tool: Tool, definition: ToolDefinition, bound: Mapping[str, Any]) -> object:
        """Run the tool within its limits and return what it returned. Raises ``_Failed``."""
        now = self.pipeline._now()
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
                work = await self.pipeline._threads.start(partial(tool.perform, bound, context))
            except TemporaryError as error:
                raise _Failed(ToolFailure.of(error)) from None
            ending = work.future
        try:
            await self._wait(ending, limit)
            if not ending.done():
                context.is_cancelled = True
                await self._stop(work, ending)
        except asyncio.CancelledError:
            context.is_cancelled = True
            await self._stop(work, ending)
            raise
        return self._outcome(definition, ending, context, limit)

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
            await asyncio.wait((ending,), timeout=self.pipeline._grace_seconds)
        finally:
            if not ending.done():
                self.is_abandoned = True
                self.pipeline.give_up(work)
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
            raise _Failed(ToolFailure.of(expired))
        if error is None:
            _fail("tool_failed", f"the tool {name!r} cancelled itself", Move.AUTHOR)
        if definition.effect is EffectClass.AT_MOST_ONCE and not isinstance(error, AgenticFlowError):
            # it does not say that trying again makes sense, and may have come halfway
            failure = ToolFailure.of(error)
            hint = "it may have happened, or half of it: find out before it is called again"
            raise _Failed(msgspec.structs.replace(failure, move=Move.OPERATOR, hint=hint)) from error
        raise _Failed(ToolFailure.of(error)) from error

    def _checked(self, tool: Tool, definition: ToolDefinition, value: object) -> object:
        """Return the value as it flows on: plain data, not too large, and what was promised. Raises ``_Failed``."""
        name = definition.name
        if isinstance(value, ToolResult):
            if value.error is not None:
                raise _Failed(value.error)
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
        return max(0.0, (self.call.deadline - self.pipeline._now()) / NANOSECONDS)

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


_PROCESS: list[ToolPipeline] = []


def get_tool_pipeline() -> ToolPipeline:
    """Return the pipeline of the process, made when it is first asked for."""
    if not _PROCESS:
        _PROCESS.append(ToolPipeline())
    return _PROCESS[0]


async def invoke_tool(
    name: str,
    params: Mapping[str, object] | None = None,
    *,
    caller: Caller = LOCAL_OWNER,
    tools: ToolSource | None = None,
    cancellation: Cancellation | None = None,
) -> ToolResult:
    """Call a registered tool, or one of ``tools``, and return what came of it; see ``ToolPipeline.invoke``."""
    call = ToolCall(name, params if params is not None else {})
    return await get_tool_pipeline().invoke(call, caller, tools, cancellation=cancellation)


async def invoke_tool_parallel(
    calls: Sequence[CallGiven],
    *,
    caller: Caller = LOCAL_OWNER,
    tools: ToolSource | None = None,
    max_concurrent: int = MAX_CONCURRENT_CALLS,
    cancellation: Cancellation | None = None,
) -> list[ToolResult]:
    """Call several tools at once: results in the order of ``calls``, failures in their places; see ``ToolPipeline.invoke_parallel``."""
    return await get_tool_pipeline().invoke_parallel(
        calls, caller, tools, max_concurrent=max_concurrent, cancellation=cancellation
    )
