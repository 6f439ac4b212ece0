"""What ``@agent.on`` makes of a function, and what that function is given: the event and a context to emit by.

Nothing here reads or writes a store; that a reaction is called, recorded once and bounded is the business of ``app.engine.reacting``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from agenticflow.communication.matching import EventPattern
from agenticflow.core.binding import Handler, RunsIn
from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.errors import BoundExceeded, DefinitionError, InvalidInput

__all__ = ["MAX_EMITTED", "Reaction", "ReactionContext", "ReactionFunction", "StartWorkflow"]

ReactionFunction = Callable[..., object]
"""``f(event)`` or ``f(event, context)``, async or plain; returns ``None``, an ``AgenticEvent`` or several."""
MAX_EMITTED: Final = 100
"""Events emitted, or workflows started, by one reaction."""
DEFAULT_TIMEOUT_SECONDS: Final = 300.0
MAX_TIMEOUT_SECONDS: Final = 86_400.0
_RIGHT_CALL: Final = 'write @agent.on("order.*") above async def react(event)'


class StartWorkflow(Protocol):
    """Starts a workflow under an id, once."""

    async def __call__(self, definition: Any, context: object = None, *, workflow_id: str) -> object: ...


class ReactionContext:
    """What a handler may take as its second argument."""

    __slots__ = ("_start", "agent_id", "depth", "emitted", "event", "reaction_id", "started")

    def __init__(self, event: AgenticEvent, agent_id: str, depth: int, reaction_id: str, start: StartWorkflow) -> None:
        self.event = event
        self.agent_id = agent_id
        self.depth = depth
        """Reactions from what began the chain, this one included."""
        self.reaction_id = reaction_id
        """The same whenever the handler runs for this event: a key to have the outside world do something once."""
        self.emitted: list[AgenticEvent] = []
        self.started: list[str] = []
        self._start = start

    def emit(self, event: object) -> None:
        """Have ``event`` recorded together with this reaction. It gets the cause, the correlation and, if it names nobody, the actor.

        Raises ``InvalidInput`` for what is no event or has been recorded already, ``BoundExceeded`` after 100 of them.
        """
        if not isinstance(event, AgenticEvent):
            raise InvalidInput(
                f"agent {self.agent_id!r} emits {type(event).__name__}, which is no event",
                hint='return or emit AgenticEvent("order.checked", {…}), a list of them, or None',
            )
        if isinstance(event, RecordedEvent) or event.id == self.event.id:
            raise InvalidInput(
                f"agent {self.agent_id!r} emits event {event.id!r}, which has happened already",
                hint="make a new one: AgenticEvent(event.event_type, event.payload)",
            )
        if len(self.emitted) >= MAX_EMITTED:
            raise BoundExceeded(
                f"agent {self.agent_id!r} emits more than {MAX_EMITTED} events in reaction to {self.event.event_type!r}",
                hint="emit one event that stands for all of them",
            )
        self.emitted.append(event)

    async def start_workflow(self, definition: Any, context: object = None) -> str:
        """Start a workflow, once for this reaction and place in it, however often the handler runs; return its id.

        Arguments and errors as for ``Orchestrator.start_workflow``; for async handlers. The depth is part of the id, so that a loop that
        goes through a workflow is counted too.
        """
        if len(self.started) >= MAX_EMITTED:
            raise BoundExceeded(
                f"agent {self.agent_id!r} starts more than {MAX_EMITTED} workflows in reaction to {self.event.event_type!r}",
                hint="start one with a map over them",
            )
        workflow_id = f"reaction-{self.depth}-{self.reaction_id[-24:]}-{len(self.started)}"
        self.started.append(workflow_id)
        await self._start(definition, context, workflow_id=workflow_id)
        return workflow_id


class Reaction(msgspec.Struct, frozen=True):
    """One handler of ``@agent.on`` and what it is for."""

    pattern: EventPattern
    name: str
    function: ReactionFunction
    is_async: bool
    takes_context: bool
    timeout_seconds: float

    @classmethod
    def of(
        cls,
        function: ReactionFunction,
        pattern: str,
        *,
        agent_id: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Reaction:
        """Return ``function`` as a handler. Raises ``DefinitionError`` when it cannot be called with an event, ``InvalidInput`` for a wrong
        pattern."""
        name = f"{agent_id}.on({pattern!r:.80})"
        compiled = EventPattern(pattern)
        if not isinstance(timeout_seconds, (int, float)) or not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise DefinitionError(
                f"the handler {name} has timeout_seconds={timeout_seconds!r}",
                hint=f"give seconds, above 0 and at most {MAX_TIMEOUT_SECONDS:,.0f}",
            )
        handler = Handler(function, name=name)
        if handler.runs_in is RunsIn.PROCESS:
            raise DefinitionError(
                f"the handler {name} would need a process of its own", hint="start a workflow with such a task from it"
            )
        signature = inspect.signature(function)
        places = [one for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
        takes_context = len(places) > 1 and (places[1].name == "context" or places[1].default is places[1].empty)
        try:
            signature.bind(*(2 if takes_context else 1) * (None,))
        except TypeError as error:
            raise DefinitionError(
                f"the handler {name} cannot be called with an event: {error}",
                hint=f"{_RIGHT_CALL}, or (event, context)",
            ) from None
        return cls(compiled, name, function, handler.runs_in is RunsIn.LOOP, takes_context, float(timeout_seconds))

    def take(self, answer: object, context: ReactionContext) -> None:
        """Emit what the handler returned. Raises ``InvalidInput`` for what is no event."""
        if answer is None:
            return
        many = answer if isinstance(answer, Iterable) and not isinstance(answer, (str, bytes, dict)) else (answer,)
        for event in many:
            context.emit(event)
