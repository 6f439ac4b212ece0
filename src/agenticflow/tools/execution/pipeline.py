"""The one execution path: authorise, validate, wait for a turn, ask the breaker, run within bounds, check what came, tell who listens.

Whatever goes wrong on the way is a failure in the result that says whose move it is; nothing of it is raised. Only the cancellation of the
task that waits goes through, and what a handler asks a person by. What one call costs of ours is measured by ``benchmarks/tools.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.core.cancelling import Told
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.guards import Guards
from agenticflow.core.interrupts import Interrupted, all_in_one, interrupt_in
from agenticflow.core.tools import (
    LOCAL_OWNER,
    Caller,
    CallGiven,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolSource,
    call_of,
)
from agenticflow.errors import (
    InvalidInput,
)
from agenticflow.tools.context import Cancellation
from agenticflow.tools.definition import ToolDefinition
from agenticflow.tools.execution.authorization import GRANTED, Authorizer
from agenticflow.tools.execution.calling import CallFailed, CallRun, Means
from agenticflow.tools.registry import ToolRegistry, get_tool_registry

__all__ = ["ToolPipeline", "ToolUse", "get_tool_pipeline", "invoke_tool", "invoke_tool_parallel"]

log = logging.getLogger("agenticflow.tools")

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
        self.in_flight = 0
        """Calls that are being made now."""
        self._means = Means(authorizer, guarded_by, clock, max_threads, grace_seconds)
        self._listeners: tuple[Listener, ...] = ()

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
        return self._means.threads.abandoned + len(self._means.lost)

    async def invoke(
        self,
        call: ToolCall,
        caller: Caller = LOCAL_OWNER,
        tools: ToolSource | None = None,
        *,
        cancellation: Cancellation | None = None,
        told: Told | None = None,
        may_retry: bool = True,
    ) -> ToolResult:
        """Make one call of a tool in ``tools`` and return what came of it: a value, or a failure that says whose move it is.

        The call's ``deadline`` and ``cancellation`` end it beside the tool's own time limit. With ``may_retry=False`` there is one attempt,
        for callers that record attempts themselves. Cancelling the task that waits tells the tool to stop, waits a moment for it, and goes
        through as ``CancelledError``; ``told`` says why, for the tool's ``ctx.cancel_reason``.
        """
        began_at = self._now()
        if not call.call_id:
            call = msgspec.structs.replace(call, call_id=f"call-{ambient.ids.next_id()}")
        run = CallRun(self._means, call, caller, cancellation, told)
        self.in_flight += 1
        value: object = None
        failure: ToolFailure | None = None
        try:
            value = await run.through(self._source(tools), may_retry=may_retry)
        except CallFailed as ended:
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
            await CallRun(self._means, call, caller, None).admitted(self._source(tools))
        except CallFailed as ended:
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
        told: Told | None = None,
        may_retry: bool = True,
    ) -> list[ToolResult]:
        """Make all calls, at most ``max_concurrent`` at once; results in the order of the calls, failures in their places.

        When tools ask people, the others are done first, and then everything is asked at once.
        """
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise InvalidInput(f"max_concurrent is {max_concurrent!r:.60}", hint="give a whole number of at least 1")
        results = [ToolResult()] * len(calls)
        asking: list[Interrupted] = []
        places = iter(range(len(calls)))

        async def work() -> None:
            for place in places:
                try:
                    call = call_of(calls[place])
                except InvalidInput as error:
                    results[place] = ToolResult.failure(error)
                    continue
                try:
                    results[place] = await self.invoke(
                        call, caller, tools, cancellation=cancellation, told=told, may_retry=may_retry
                    )
                except BaseException as error:
                    if (interrupt := interrupt_in(error)) is None:
                        raise
                    asking.append(interrupt)

        if len(calls) <= 1:
            await work()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(max_concurrent, len(calls))):
                    group.create_task(work())
        if asking:
            raise all_in_one(asking)
        return results

    # --- inside -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._means.now()

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
