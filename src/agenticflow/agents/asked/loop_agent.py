"""The part of an agent that asks a model: what it was told to be, how it is run, and how it serves as a tool of another agent.

What drives it is loaded when an agent first has a model: an agent with handlers alone costs what it did before.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, Self, Unpack

from agenticflow.agents.asked.agent_tool import AgentTool, tool_name_of
from agenticflow.agents.asked.doors import (
    AgentStream,
    Conversing,
    Described,
    Loops,
    RunOptions,
    describes_agents,
    runs_agents,
)
from agenticflow.core.binding import Handler
from agenticflow.core.context import TaskContext
from agenticflow.core.guards import AttemptGuard
from agenticflow.errors import DefinitionError

if typing.TYPE_CHECKING:
    from agenticflow.agents.loop.results import AgentResult

__all__ = ["LoopAgent", "RunsLoops"]

SEATS: Final = 1
"""Tasks at once of an agent with handlers alone, unless it is told otherwise."""
MODEL_SEATS: Final = 20
"""Tasks at once of an agent that asks a model, unless it is told otherwise: it mostly waits."""
_SAID_AS: Final = {"role": "description"}
"""Options of the constructor that are called otherwise in a definition."""
_MAX_TYPES: Final = 100
"""Of tasks whose handlers are kept."""


class RunsLoops(Protocol):
    """What an agent is given by the engine it is registered with, as far as its loop is concerned."""

    @property
    def loops(self) -> Loops:
        """Who drives loops."""


class LoopAgent(ABC):
    """An agent as whoever wants it to run its loop sees it."""

    __slots__ = ("_definition", "_looping")

    agent_id: str
    role: str
    capabilities: frozenset[str]
    _definition: Described | None
    _looping: dict[str, Handler] | None
    _breaker: AttemptGuard | None

    @property
    def definition(self) -> Described | None:
        """What it was told to be; ``None`` for an agent that asks no model."""
        return self._definition

    async def run(self, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """Have the agent work on ``prompt`` (words, or a ``Message`` of a user) to the end, and return what it came to.

        It is a run of a workflow with one task, with the orchestrator that the agent is registered with; an agent that is not gets one in
        memory for the occasion, of which nothing is left. ``session`` (an ``AgentSession`` or its id) is the conversation that it goes on
        with and adds to. ``context`` is what tools see as ``ctx.context`` and instructions are given: plain data, or an object of this
        process. With a ``workflow_id`` asking again gives the same run, which has ``timeout_seconds``. ``budget`` (a ``Budget``, or the id
        of an open one) is what it may spend, inside the agent's own. ``max_turns`` and ``tool_choice`` take the place of the agent's.

        Raises what the loop ends with: ``MaxTurnsExceeded``, ``GuardrailTripwireTriggered``, ``BudgetExceeded``, ``ModelOutputInvalid``, an
        error of the model …; ``DefinitionError`` for an agent that asks no model and for a tool that it does not have, ``InvalidInput``
        for what is no option; ``WorkflowExecutionError`` when somebody ended the run.
        """
        return await self._loops().run(self, prompt, **options)

    async def run_stream(self, prompt: Any, **options: Unpack[RunOptions]) -> AgentStream:
        """As ``run``, seen as it goes on: ``async for update in await agent.run_stream("…")``, then ``await stream.result()``."""
        return await self._loops().run_stream(self, prompt, **options)

    def run_sync(self, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """As ``run``, for programs without an event loop. Raises ``InvalidInput`` where one is running."""
        return self._loops().run_sync(lambda: self.run(prompt, **options))

    async def answer(self, query: Any, *, session: Conversing, context: Any, task: TaskContext) -> Any:
        """Work on ``query`` inside the task of somebody else, with a conversation and what is shared at hand; return the answer.

        Raises what ``run`` raises, and ``DefinitionError`` when the agent is registered with no orchestrator.
        """
        return await self._loops().answer(self, query, session, context, task)

    def as_tool(self, name: str = "", description: str = "") -> AgentTool:
        """Return the agent as a tool of another one: it works in a loop of its own, and its answer is the result.

        Raises ``DefinitionError`` for an agent that asks no model, or does not say what it is for.
        """
        self._loops()
        what = description or self.role
        if not what:
            raise DefinitionError(
                f"nobody knows what agent {self.agent_id!r} is for", hint="give it role=, or as_tool(description=…)"
            )
        return AgentTool(self, name or tool_name_of(self.agent_id), what)

    def clone(self, agent_id: str, **changes: Any) -> Self:
        """Return an agent like this one that is called ``agent_id``; ``changes`` are options of the constructor: ``model=`` …

        It belongs to no orchestrator yet. Raises ``DefinitionError`` for an agent that asks no model, and for wrong changes.
        """
        self._loops()
        told: Any = self._definition
        said = {_SAID_AS.get(name, name): value for name, value in changes.items()}
        described = {name: said.pop(name) for name in list(said) if hasattr(told, name)}
        capabilities = said.pop("capabilities", self.capabilities)
        return type(self).of(replace(told, **{**described, "name": agent_id}), capabilities, **said)

    @classmethod
    def of(cls, definition: Described, capabilities: Collection[str] = (), **options: Any) -> Self:
        """Return the agent that ``definition`` describes; ``options`` are those of the constructor. Raises ``DefinitionError``."""
        options = {"concurrency": MODEL_SEATS, "role": definition.description, **options}
        make: Callable[..., Self] = cls
        agent = make(definition.name, capabilities, tools=definition.tools, **options)
        agent._definition = definition
        return agent

    # --- inside -----------------------------------------------------------------------------------------------------

    def _describe(self, said: Mapping[str, Any]) -> None:
        """Be what the constructor ``said``, when that is more than an agent with handlers. Raises ``DefinitionError``."""
        self._looping = None
        self._definition = None
        if any(value is not None and value != () for name, value in said.items() if name != "tools"):
            self._definition = describes_agents.get()(self.agent_id, self.role, said)

    @property
    def _usual_seats(self) -> int:
        """How many tasks it does at once when nobody says: one that asks a model mostly waits."""
        return SEATS if self._definition is None else MODEL_SEATS

    def _loops(self) -> Loops:
        if self._definition is None:
            raise DefinitionError(
                f"agent {self.agent_id!r} asks no model, so it cannot be run by itself",
                hint="give it model= and instructions=, or start a workflow with a task for it",
            )
        engine = self._engine
        return engine.loops if engine is not None else runs_agents.get()

    @property
    @abstractmethod
    def _engine(self) -> RunsLoops | None:
        """The engine it is registered with."""

    @abstractmethod
    def _handler(self, function: Callable[..., object], name: str, run_in: str | None) -> Handler:
        """Return ``function`` as a handler of this agent, with its tools at hand."""

    def _loop_for(self, task_type: str) -> Handler:
        """Return what works on tasks that have no handler of their own: the loop."""
        if self._looping is None:
            self._looping = {}
        found = self._looping.get(task_type)
        if found is None:

            async def loop(params: dict[str, object], context: TaskContext) -> object:
                return await self._loops().perform(self, task_type, params, context)

            found = self._handler(loop, f"{self.agent_id}.{task_type}", None)
            found.guard = self._breaker
            if len(self._looping) < _MAX_TYPES:
                self._looping[task_type] = found
        return found
