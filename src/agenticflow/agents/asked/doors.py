"""What an agent that asks a model needs from elsewhere, as protocols and doors: who drives its loop, and who makes descriptions. Pure.

Its loop is driven by the engine it is registered with (``Recorder.loops``), or by whoever stands behind the door ``runs_agents``.
"""

from __future__ import annotations

import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypedDict, Unpack

from agenticflow.core.context import TaskContext
from agenticflow.core.late import Late

if typing.TYPE_CHECKING:  # an agent with handlers alone loads nothing of models
    from agenticflow.agents.loop.policy import LoopPolicy
    from agenticflow.agents.loop.results import AgentResult, AgentUpdate

__all__ = [
    "AgentStream",
    "AskedAgent",
    "Conversing",
    "Described",
    "Describes",
    "Loops",
    "Nested",
    "RunOptions",
    "describes_agents",
    "nested",
    "runs_agents",
]


class RunOptions(TypedDict, total=False):
    """How an agent is run by itself: keyword arguments of ``run``, ``run_stream`` and ``run_sync``."""

    session: Any
    """An ``AgentSession`` or its id: the conversation that it goes on with and adds to."""
    context: Any
    """What tools see as ``ctx.context`` and instructions are given: plain data, or an object of this process."""
    workflow_id: str | None
    """Asking again under the same one gives the same run."""
    timeout_seconds: float | None
    """Of the whole run; an hour by default."""
    budget: Any
    """What this run may spend, inside the agent's own: a ``Budget``, or the id of an open one."""
    max_turns: int | None
    """How many answers it may take, instead of the agent's."""
    tool_choice: str | None
    """Whether it calls tools, instead of the agent's: ``auto``, ``none``, ``required`` or the name of one."""


class Described(Protocol):
    """What an agent was told to be: an ``AgentDefinition``."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def instructions(self) -> Any: ...
    @property
    def tools(self) -> Sequence[Any]: ...
    @property
    def guardrails(self) -> Sequence[Any]: ...
    @property
    def model(self) -> Any: ...
    @property
    def output_type(self) -> Any: ...
    @property
    def handoffs(self) -> Sequence[Any]: ...
    @property
    def budget(self) -> Any: ...
    @property
    def loop(self) -> LoopPolicy: ...
    @property
    def tool_choice(self) -> str: ...


class AskedAgent(Protocol):
    """An agent that asks a model."""

    agent_id: str

    @property
    def definition(self) -> Described | None:
        """What it was told to be."""


class Conversing(Protocol):
    """A conversation as an agent at work sees it: an ``AgentSession``, or a draft of one."""

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return what was said, oldest first."""

    async def add_items(self, items: Iterable[Any]) -> None:
        """Add what is said now."""


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

    async def answer(
        self, agent: AskedAgent, query: Any, session: Conversing, shared: Any, context: TaskContext
    ) -> Any:
        """The same for a task that has its conversation and what is shared at hand."""

    async def run(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """Have the agent work on ``prompt``; see ``Agent.run``."""

    async def run_stream(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentStream:
        """The same, seen as it goes on."""

    def run_sync(self, run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        """Wait for a run in a program without an event loop. Raises ``InvalidInput`` where one is running."""


class Describes(Protocol):
    """Makes descriptions of what a constructor is told, and checks them."""

    def __call__(self, agent_id: str, role: str, said: Mapping[str, Any]) -> Described:
        """Return what an agent's constructor ``said`` it is. Raises ``DefinitionError`` with every mistake found."""


runs_agents: Final[Late[Loops]] = Late("agents")
"""Who drives the loops of agents that are not registered with an orchestrator."""

describes_agents: Final[Late[Describes]] = Late("descriptions")

Nested = Callable[[AskedAgent, str, str], Awaitable[object]]
nested: Final[ContextVar[Nested | None]] = ContextVar("agenticflow_nested_loop", default=None)
"""Inside a call that an agent makes: drives the loop of another one as a part of it, given that agent, the call id and what is asked."""
