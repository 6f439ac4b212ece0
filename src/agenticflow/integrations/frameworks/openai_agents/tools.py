"""Our tools as function tools of the SDK: the same pipeline makes the call, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from agents import FunctionTool
from agents.tool_context import ToolContext

from agenticflow.core.engine import EffectClass
from agenticflow.core.tools import LOCAL_OWNER, Move, ToolCall, ToolResult, invokes_tools, tool_effect_key
from agenticflow.integrations.frameworks.openai_agents.durable.scope import current
from agenticflow.tools import Tool, get_tool_registry
from agenticflow.tools.foreign import ForeignTool
from agenticflow.tools.registry import ToolLike, ToolRegistry

__all__ = ["function_tools", "to_function_tool"]


class _Invoker:
    """Makes the calls of one tool."""

    def __init__(self, tool: Tool) -> None:
        self._registry = ToolRegistry.of([tool])
        self._name = tool.definition.name
        self.effect: EffectClass = tool.definition.effect
        self._needs_approval = tool.definition.needs_approval

    async def __call__(self, context: ToolContext[Any], arguments: str) -> str:
        try:
            params: object = msgspec.json.decode(arguments or "{}")
        except msgspec.DecodeError as error:
            return _refused(f"the arguments are no JSON: {error}")
        if not isinstance(params, dict):
            return _refused("the arguments are no JSON object")
        place = current()
        call_id = context.tool_call_id
        scope = call_id if place is None else place.run.task.effect_key
        call = ToolCall(
            self._name,
            params,
            call_id=call_id,
            effect_key=tool_effect_key(scope, self._name, params, call_id),
            # the SDK does not invoke a tool that waits for approval
            approved_by="openai-agents" if self._needs_approval else "",
        )
        caller = msgspec.structs.replace(
            LOCAL_OWNER, agent_id=getattr(context.agent, "name", ""), context=context.context
        )
        return (await invokes_tools.get().invoke(call, caller, self._registry)).text()


def to_function_tool(tool: ToolLike) -> FunctionTool:
    """Return a tool of ours (or its name, or a function) as a function tool of the SDK; one that is the SDK's own as it is.

    Calls keep the tool's terms: permissions, time limit, retries, breaker, rate. What fails is told to the model with whose move it is.
    A tool that needs approval interrupts the run. Raises ``DefinitionError`` for what is no tool, ``ToolNotFoundError`` for an unknown
    name.
    """
    if isinstance(tool, FunctionTool):
        return tool
    registry = get_tool_registry() if isinstance(tool, str) else ToolRegistry.of([tool])
    found = registry.get(tool if isinstance(tool, str) else registry.names()[0])
    if isinstance(found, ForeignTool) and isinstance(found.original, FunctionTool):
        return found.original
    function = found.definition.as_function()
    schema: Any = function["parameters"]
    return FunctionTool(
        name=found.definition.name,
        description=str(function["description"]),
        params_json_schema=dict(schema),
        on_invoke_tool=_Invoker(found),
        strict_json_schema=False,
        needs_approval=found.definition.needs_approval,
    )


def function_tools(names: Iterable[ToolLike]) -> list[FunctionTool]:
    """Return registered tools as the SDK takes them: ``Agent(…, tools=function_tools(["weather", "search"]))``."""
    return [to_function_tool(name) for name in names]


def _refused(words: str) -> str:
    return ToolResult.failure(words, code="invalid_input", move=Move.CALLER).text()
