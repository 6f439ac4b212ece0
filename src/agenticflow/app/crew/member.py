"""An agent's ``run`` handler as a step: with the conversation and the shared context at hand, and guardrails around it.

What the step returns is everything that came of it, so that it is recorded at once: the answer, what was said, what was found. A refusal
is such a result, too: nothing is tried again, and the error is raised where the agent was asked.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, get_type_hints

from agenticflow.agents.agent import Agent
from agenticflow.agents.context import AgentContext
from agenticflow.agents.guardrails import Guardrails
from agenticflow.agents.session.session import AgentSession
from agenticflow.app.crew.rules.context import Baseline, put_changes
from agenticflow.app.crew.sessions import DraftSession
from agenticflow.core.binding import RunsIn
from agenticflow.core.context import TaskContext
from agenticflow.core.plain import called
from agenticflow.errors import DefinitionError, GuardrailTripwireTriggered, InvalidInput

__all__ = ["RUN", "Crew", "Seat", "demand", "given_to", "refusal_of"]

RUN: Final = "run"
"""The type of the handler with which an agent answers a query."""
_OURS: Final = ("query", "session", "session_id", "context", "task")
_RIGHT: Final = '@agent.task("run") above async def run(query, session, context)'


class Crew(Protocol):
    """What a step needs of the orchestrator that it belongs to."""

    @property
    def name(self) -> str:
        """The name of its workflow."""

    @property
    def marked_name(self) -> str:
        """That with the version, which its steps bear: crews of several versions work side by side."""

    @property
    def is_open(self) -> bool:
        """Whether it works."""

    def guardrails_of(self, agent: str) -> Guardrails:
        """Return what guards the agent; for the empty name, the whole."""

    def make_context(self, data: Mapping[str, Any]) -> AgentContext:
        """Return a context for this data."""

    def session(self, session_id: str) -> AgentSession:
        """Return the conversation itself."""


def given_to(crew: Crew, params: Mapping[str, Any], task: TaskContext) -> AgentContext:
    """Return the context as the function has it that asks for the step. Raises ``InvalidInput`` when its fields have changed since."""
    data = params.get("data")
    if data is None:
        given = task.input
        data = given.get("context") if isinstance(given, Mapping) else None
    context = crew.make_context(data or {})
    put_changes(context, params.get("changes", {}))
    return context


def refusal_of(error: GuardrailTripwireTriggered) -> dict[str, Any]:
    """Return the refusal as the result of a step."""
    return {
        "refused": {
            "message": error.message,
            "hint": error.hint,
            "guardrail": error.guardrail,
            "kind": error.kind,
            "reason": error.reason,
        }
    }


def demand(result: Mapping[str, Any]) -> None:
    """Raise ``GuardrailTripwireTriggered`` when the result of a step is a refusal."""
    refused = result.get("refused")
    if refused is not None:
        about = {name: value for name, value in refused.items() if name != "message"}
        raise GuardrailTripwireTriggered(refused["message"], **about)


class Seat:
    """Where an agent works for one crew: the handler of its steps, beside the agent's own handlers."""

    def __init__(self, agent: Agent, crew: Crew) -> None:
        """Raises ``DefinitionError`` when the agent cannot answer."""
        handler = agent.handler_for(RUN)
        if handler is None:
            known = ", ".join(sorted(map(repr, agent.task_types))) or "none at all"
            raise DefinitionError(
                f"agent {agent.agent_id!r} has no handler for {RUN!r}, and asks no model; its handlers are {known}",
                hint=f"write {_RIGHT}, or give it model=",
            )
        if handler.runs_in is RunsIn.PROCESS:
            raise DefinitionError(
                f"the handler {handler.name!r} runs in a process of its own, where there is neither session nor context",
                hint="leave run_in away, and do what computes for long in a task of another type",
            )
        self._agent = agent
        self._crew = crew
        self._function = handler.function
        self._is_async = handler.runs_in is RunsIn.LOOP
        self._asks_model = agent.definition is not None and RUN not in agent.task_types
        self._ways = [] if self._asks_model else _ways_of(handler.function)

    @staticmethod
    def of(agent: Agent, crew: Crew, task_type: str) -> Seat:
        """Return the agent's seat for steps of that type, now that of ``crew``.

        Raises ``DefinitionError`` when it works for another crew of that name, or cannot answer.
        """
        handler = agent.handler_for(task_type)
        if handler is None or task_type not in agent.task_types:
            seat = Seat(agent, crew)
            agent.task(task_type)(seat)
            return seat
        if not isinstance(handler.function, Seat):
            raise DefinitionError(
                f"agent {agent.agent_id!r} has a handler for {task_type!r}, the type of the steps of {crew.name!r}",
                hint="give the orchestrator another name",
            )
        seat = handler.function
        if seat._crew is not crew and seat._crew.is_open:
            raise DefinitionError(
                f"agent {agent.agent_id!r} works for another {crew.name!r} in this process",
                hint="stop that one, use it, or make agents of its own for this one",
            )
        seat._crew = crew
        return seat

    async def __call__(self, params: dict[str, Any], context: TaskContext) -> dict[str, Any]:
        crew = self._crew
        shared = given_to(crew, params, context)
        before = Baseline(shared)
        session = DraftSession(crew.session(params["session_id"]))
        query = params["query"]
        given = {"query": query, "session": session, "session_id": session.session_id, "context": shared}
        arguments = self._arguments({**given, "task": context}, params.get("params", {}))
        rails = crew.guardrails_of(self._agent.agent_id)
        try:
            if self._asks_model:
                agent = self._agent
                output = await rails.around(
                    shared, query, lambda: agent.answer(query, session=session, context=shared, task=context)
                )
            else:
                output = await rails.around(shared, query, lambda: self._answer(arguments))
            await rails.check("output", shared, output)
        except GuardrailTripwireTriggered as error:
            return refusal_of(error)
        result: dict[str, Any] = {"output": output, **before.findings(shared)}
        if session.added:
            result["said"] = session.added
        return result

    def _arguments(self, given: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        known = {**more, **given}
        arguments: dict[str, Any] = {}
        for name, way, is_needed in self._ways:
            if way in known:
                arguments[name] = known[way]
            elif is_needed:
                raise InvalidInput(
                    f"nothing fills the parameter {name!r} of the handler {self._agent.agent_id}.{RUN}",
                    hint=f"it may take {', '.join(_OURS)}, and what run_agent(…, params={{{name!r}: …}}) gives",
                )
        return arguments

    async def _answer(self, arguments: dict[str, Any]) -> Any:
        if self._is_async:
            answer = self._function(**arguments)
            assert inspect.isawaitable(answer)
            return await answer
        working = asyncio.ensure_future(asyncio.to_thread(called, self._function, **arguments))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # A thread cannot be stopped: the agent's place stays taken until it has ended.
            await asyncio.wait({working})
            working.exception()  # seen, so that nobody is warned about it
            raise


def _ways_of(function: Callable[..., object]) -> list[tuple[str, str, bool]]:
    """Return of each parameter its name, what fills it, and whether it needs that."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}  # something that is only imported for the type checker
    ways: list[tuple[str, str, bool]] = []
    for one in inspect.signature(function).parameters.values():
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            continue
        way = "task" if hints.get(one.name) is TaskContext else one.name
        ways.append((one.name, way, one.default is one.empty))
    return ways
