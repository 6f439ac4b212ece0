"""The tools of an agent: who may be called in its name, by the program and from inside its handlers.

Calls are made by whoever stands behind the port ``core.tools.invokes_tools``; here is only who calls, and what a task may not call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from agenticflow.core.binding import Handler, HandlerFunction
from agenticflow.core.cancelling import CancelReason, Told
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import EffectClass
from agenticflow.core.tools import LOCAL_OWNER, Caller, CallGiven, Move, ToolCall, ToolResult, call_of, invokes_tools
from agenticflow.tools.registry import ToolLike, ToolRegistry

__all__ = ["AgentTools", "HandlerWithTools", "TaskTools"]


class AgentTools:
    """What the agent ``agent_id`` may use."""

    __slots__ = ("agent_id", "registry")

    def __init__(self, agent_id: str, tools: Iterable[ToolLike]) -> None:
        self.agent_id = agent_id
        self.registry = ToolRegistry.of(tools)

    def _caller(self, given: Caller | None) -> Caller:
        return msgspec.structs.replace(given or LOCAL_OWNER, agent_id=self.agent_id)

    async def invoke(self, call: ToolCall, caller: Caller | None = None, *, told: Told | None = None) -> ToolResult:
        """Make one call in the name of the agent."""
        return await invokes_tools.get().invoke(call, self._caller(caller), self.registry, told=told)

    async def invoke_parallel(
        self,
        calls: Sequence[CallGiven],
        caller: Caller | None = None,
        *,
        max_concurrent: int,
        told: Told | None = None,
    ) -> list[ToolResult]:
        """Make several calls in the name of the agent."""
        who, tools = self._caller(caller), self.registry
        return await invokes_tools.get().invoke_parallel(calls, who, tools, max_concurrent=max_concurrent, told=told)


class TaskTools:
    """The same for the handler of one attempt. What must not happen twice is not called from a task that may run twice."""

    __slots__ = ("_context", "_tools")

    def __init__(self, tools: AgentTools, context: TaskContext) -> None:
        self._tools = tools
        self._context = context

    async def invoke(self, call: ToolCall) -> ToolResult:
        return self._refusal(call) or await self._tools.invoke(call, told=self._told)

    async def invoke_parallel(self, calls: Sequence[CallGiven], *, max_concurrent: int) -> list[ToolResult]:
        made = [call_of(given) for given in calls]
        refused = {place: refusal for place, call in enumerate(made) if (refusal := self._refusal(call)) is not None}
        asked = [call for place, call in enumerate(made) if place not in refused]
        answers = iter(await self._tools.invoke_parallel(asked, max_concurrent=max_concurrent, told=self._told))
        return [refused[place] if place in refused else next(answers) for place in range(len(made))]

    def _told(self) -> CancelReason | None:
        """Why the attempt was told to stop: its tools are, for the same reason."""
        return self._context.cancel_reason

    def _refusal(self, call: ToolCall) -> ToolResult | None:
        found = self._tools.registry.find(call.name)
        context = self._context
        if (
            found is None
            or found.definition.effect is not EffectClass.AT_MOST_ONCE
            or context.effect == EffectClass.AT_MOST_ONCE
        ):
            return None
        return ToolResult.failure(
            f"the tool {call.name!r} must not happen twice, and the task {context.task_key!r} may run twice; "
            f'make it a task with effect="at_most_once"',
            code="effect_class",
            move=Move.AUTHOR,
        )


class HandlerWithTools(Handler):
    """A handler whose context has the tools of its agent."""

    __slots__ = ("_tools",)

    def __init__(self, function: HandlerFunction, *, name: str, run_in: str | None, tools: AgentTools) -> None:
        super().__init__(function, name=name, run_in=run_in)
        self._tools = tools

    def arguments(self, params: dict[str, object], context: TaskContext) -> dict[str, Any]:
        context.tools = TaskTools(self._tools, context)
        return super().arguments(params, context)
