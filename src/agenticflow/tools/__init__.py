"""What agents may use: tools made of functions and classes, a registry, and one path by which every call is made."""

from agenticflow.core.tools import LOCAL_OWNER, Caller, Move, ToolCall, ToolFailure, ToolResult
from agenticflow.tools.context import Cancellation, ToolContext
from agenticflow.tools.definition import ToolDefinition
from agenticflow.tools.execution.authorization import Authorizer
from agenticflow.tools.execution.pipeline import (
    ToolPipeline,
    ToolUse,
    get_tool_pipeline,
    invoke_tool,
    invoke_tool_parallel,
)
from agenticflow.tools.registry import ToolRegistry, get_tool_registry, register_tool
from agenticflow.tools.tool import FunctionTool, Tool, tool

__all__ = [
    "LOCAL_OWNER",
    "Authorizer",
    "Caller",
    "Cancellation",
    "FunctionTool",
    "Move",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolDefinition",
    "ToolFailure",
    "ToolPipeline",
    "ToolRegistry",
    "ToolResult",
    "ToolUse",
    "get_tool_pipeline",
    "get_tool_registry",
    "invoke_tool",
    "invoke_tool_parallel",
    "register_tool",
    "tool",
]
