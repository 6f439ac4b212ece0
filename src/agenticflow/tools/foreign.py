"""Tools of other frameworks, taken for what they look like: nothing of theirs is imported.

The OpenAI Agents SDK's function tools have a ``name``, a ``description``, a ``params_json_schema`` and an async ``on_invoke_tool(context,
arguments as JSON)``; by default they turn what goes wrong into a text, which then looks like any other value, unless they were made with
``failure_error_function=None``. LangChain's have ``name``, ``description``, ``args_schema`` and an async ``ainvoke(params)``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.json_schema import JsonSchema, understood_part
from agenticflow.core.tools import ToolResult
from agenticflow.errors import DefinitionError
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolDefinition, ToolOptions, define
from agenticflow.tools.tool import Tool

__all__ = ["ForeignTool", "foreign_tool_of"]

Invoke = Callable[[Mapping[str, Any], ToolContext], Awaitable[object]]
_SDK_CONTEXTS: Final = "agents.tool_context"


class ForeignTool(Tool):
    """A tool of another framework. It checks its params once more itself; ``original`` is the framework's own object."""

    def __init__(self, original: object, definition: ToolDefinition, invoke: Invoke) -> None:
        self.original = original
        self._definition = definition
        self._invoke = invoke
        self.name = definition.name
        self.description = definition.description
        self.category = definition.category

    def get_schema(self) -> JsonSchema:
        return self.definition.input_schema

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult.success(await self._invoke(params, context))


class SdkContext:
    """What tools in the shape of the Agents SDK's look at in their context, where the SDK itself is not there to make one."""

    def __init__(self, *, context: object, tool_name: str, tool_call_id: str, tool_arguments: str) -> None:
        self.context = context
        self.tool_name = tool_name
        self.tool_call_id = tool_call_id
        self.tool_arguments = tool_arguments
        self.agent = self.run_config = self.usage = None


def foreign_tool_of(
    thing: object,
    options: ToolOptions,
    *,
    name: str | None = None,
    description: str | None = None,
    category: str = "general",
    parameters_description: Mapping[str, str] | None = None,
    returns_description: str | None = None,
) -> ForeignTool | None:
    """Return ``thing`` as a tool when it looks like one of another framework, else ``None``. Raises ``DefinitionError``."""
    shape = _shape_of(thing)
    if shape is None:
        return None
    schema, invoke = shape
    called = name if name is not None else str(getattr(thing, "name", ""))
    properties = dict(schema.get("properties", {}))
    for parameter, words in (parameters_description or {}).items():
        if parameter not in properties:
            raise DefinitionError(
                f"a description of tool {called!r} is for the parameter {parameter!r}, which it has not",
                hint=f"it has {', '.join(properties) or 'none'}",
            )
        properties[parameter] = {**properties[parameter], "description": words}
    definition = define(
        called,
        description if description is not None else str(getattr(thing, "description", "")),
        {**schema, "type": "object", "properties": properties},
        options,
        category=category,
        returns=returns_description or "",
    )
    return ForeignTool(thing, definition, invoke)


def _shape_of(thing: object) -> tuple[dict[str, Any], Invoke] | None:
    if isinstance(thing, type) or not isinstance(getattr(thing, "name", None), str):
        return None
    invoke_json, schema = getattr(thing, "on_invoke_tool", None), getattr(thing, "params_json_schema", None)
    if callable(invoke_json) and isinstance(schema, Mapping):
        return understood_part(schema), _of_agents_sdk(invoke_json)
    ainvoke, args = getattr(thing, "ainvoke", None), getattr(thing, "args_schema", None)
    if callable(ainvoke) and args is not None:
        describe = getattr(args, "model_json_schema", None)
        found = describe() if callable(describe) else args
        if isinstance(found, Mapping):
            return understood_part(found), _of_langchain(ainvoke)
    return None


def _of_agents_sdk(invoke_json: Callable[..., Any]) -> Invoke:
    async def invoke(params: Mapping[str, Any], context: ToolContext) -> object:
        arguments = msgspec.json.encode(codec.decode(codec.encode(params))).decode()
        return await invoke_json(_sdk_context(context, arguments), arguments)

    return invoke


def _sdk_context(context: ToolContext, arguments: str) -> object:
    """Return the context for a tool of the SDK: of its own making where it is loaded, which it is when the tool is one of its."""
    made = getattr(sys.modules.get(_SDK_CONTEXTS), "ToolContext", SdkContext)
    return made(
        context=context.context,
        tool_name=context.tool_name,
        tool_call_id=context.call_id,
        tool_arguments=arguments,
    )


def _of_langchain(ainvoke: Callable[..., Any]) -> Invoke:
    async def invoke(params: Mapping[str, Any], context: ToolContext) -> object:
        return await ainvoke(dict(params))

    return invoke
