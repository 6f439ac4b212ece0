"""An agent as a tool of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agenticflow.agents.asked.doors import AskedAgent, nested, runs_agents
from agenticflow.core.tools import ToolResult
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolOptions
from agenticflow.tools.tool import Tool

__all__ = ["HANDOFF", "AgentTool", "handoff_name_of", "tool_name_of"]

TOOL_SECONDS: Final = 3_600.0
"""Limit of an agent that works as a tool."""
MAX_NAME_CHARS: Final = 50
HANDOFF: Final = "transfer_to_"


class AgentTool(Tool):
    """An agent as a tool: it is asked with a prompt, works in a loop of its own, and its answer is the result.

    It may be called again after a crash: then it goes on where it was.
    """

    options = ToolOptions(timeout=TOOL_SECONDS)
    category = "agents"

    def __init__(self, agent: AskedAgent, name: str, description: str) -> None:
        self.agent = agent
        self.name = name
        self.description = description

    def get_schema(self) -> Mapping[str, Any]:
        what = "What it is asked, with all that it has to know."
        return {
            "type": "object",
            "properties": {"prompt": {"type": "string", "description": what}},
            "required": ["prompt"],
            "additionalProperties": False,
        }

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Drive the agent's loop inside that of whoever calls, or by itself when nobody's does."""
        within = nested.get()
        if within is not None:
            return ToolResult.success(await within(self.agent, context.call_id, params["prompt"]))
        result = await runs_agents.get().run(self.agent, params["prompt"])
        return ToolResult.success(result.output)


def handoff_name_of(agent_id: str) -> str:
    """Return the name of the tool by which a model passes the conversation on to that agent."""
    return HANDOFF + tool_name_of(agent_id)


def tool_name_of(agent_id: str) -> str:
    """Return ``agent_id`` as a name that models take: letters, digits, ``_`` and ``-``."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in agent_id)
    return (name if name[:1].isalpha() or name[:1] == "_" else f"_{name}")[:MAX_NAME_CHARS]
