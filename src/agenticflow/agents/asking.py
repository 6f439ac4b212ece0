"""An agent that asks a model, seen from outside: as the performer of tasks, as something to run, as a tool of another agent.

Who drives its loop stands behind two doors: that of the engine it is registered with (``Recorder.loops``), and ``runs_agents`` for an agent
that is not registered anywhere. What is recorded of a loop is ``agents.loop``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

from agenticflow.agents.declared.definition import AgentDefinition
from agenticflow.agents.loop.results import AgentResult, AgentUpdate
from agenticflow.agents.loop_agent import runs_agents
from agenticflow.core.context import TaskContext
from agenticflow.core.tools import ToolResult
from agenticflow.errors import DefinitionError
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolOptions
from agenticflow.tools.tool import Tool

__all__ = [
    "USUAL_INSTRUCTIONS",
    "AgentStream",
    "AgentTool",
    "AskedAgent",
    "Loops",
    "Nested",
    "describe",
    "nested",
    "tool_name_of",
]

USUAL_INSTRUCTIONS: Final = "Do what you are asked, with your tools where they help, and answer when it is done."
TOOL_SECONDS: Final = 3_600.0
"""Limit of an agent that works as a tool."""


class AskedAgent(Protocol):
    """An agent that asks a model."""

    agent_id: str

    @property
    def definition(self) -> AgentDefinition | None:
        """What it was told to be."""


class AgentStream(Protocol):
    """An agent at work, as it is seen: iterate for what happens, then ask for the ``result``."""

    def __aiter__(self) -> AsyncIterator[AgentUpdate]:
        """Yield what happens until the agent is done. Leaving early does not stop the agent."""

    async def result(self) -> AgentResult:
        """Wait for the end and return what it came to. Raises what ``Agent.run`` raises."""


class Loops(Protocol):
    """Drives loops."""

    async def perform(self, agent: AskedAgent, task_type: str, params: Mapping[str, Any], context: TaskContext) -> Any:
        """Work on a task to the end and return the answer, or go on where another attempt stopped."""

    async def run(self, agent: Any, prompt: Any, **options: Any) -> AgentResult:
        """Have the agent work on ``prompt``; see ``Agent.run``."""

    async def run_stream(self, agent: Any, prompt: Any, **options: Any) -> AgentStream:
        """The same, seen as it goes on."""

    def run_sync(self, run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        """Wait for a run in a program without an event loop. Raises ``InvalidInput`` where one is running."""


Nested = Callable[[AskedAgent, str, str], Awaitable[object]]
nested: Final[ContextVar[Nested | None]] = ContextVar("agenticflow_nested_loop", default=None)
"""Inside a call that an agent makes: drives the loop of another one as a part of it, given that agent, the call id and what is asked."""


class AgentTool(Tool):
    """An agent as a tool of another one: it is asked with a prompt, works in a loop of its own, and its answer is the result.

    It may be called again after a crash: then it goes on where it was.
    """

    options = ToolOptions(timeout=TOOL_SECONDS)
    category = "agents"

    def __init__(self, agent: AskedAgent, name: str, description: str) -> None:
        self.agent = agent
        self.name = name
        self.description = description

    def get_schema(self) -> Mapping[str, Any]:
        return {
            "type": "object",
            "properties": {
                "prompt": {"type": "string", "description": "What it is asked, with all that it has to know."}
            },
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


def tool_name_of(agent_id: str) -> str:
    """Return ``agent_id`` as a name that models take: letters, digits, ``_`` and ``-``."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in agent_id)
    return (name if name[:1].isalpha() or name[:1] == "_" else f"_{name}")[:50]


def describe(agent_id: str, role: str, said: Mapping[str, Any]) -> AgentDefinition:
    """Return what an agent's constructor ``said`` it is. Raises ``DefinitionError`` with every mistake found."""
    options = {name: value for name, value in said.items() if value is not None and name != "instructions"}
    if "model" not in options:
        given = ", ".join(f"{name}=" for name, value in said.items() if value and name != "tools")
        raise DefinitionError(
            f"agent {agent_id!r} is given {given} and asks no model",
            hint='give it model="openai:gpt-5", or a Model; without these it has handlers: @agent.task("…")',
        )
    instructions = said["instructions"]
    return AgentDefinition(
        agent_id, role, instructions if instructions is not None else (role or USUAL_INSTRUCTIONS), **options
    )
