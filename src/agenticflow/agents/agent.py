"""An agent: an identity with capabilities, handlers by task type, and a state machine.

What an agent *is* lives here; that its handlers are called, timed, retried and recorded is the engine's business, which knows it only as a
``Performer``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec

from agenticflow.agents.asked.given import check_id, check_lists, check_parts, checked_capabilities
from agenticflow.agents.asked.loop_agent import LoopAgent, RunsLoops
from agenticflow.agents.choreography.reactions import DEFAULT_TIMEOUT_SECONDS, Reaction, ReactionFunction
from agenticflow.agents.events import NAMED_CHANGES, AgentStateChanged, stream_of_agent
from agenticflow.agents.memory.store import MemoryStore
from agenticflow.agents.states import AgentState, StateMachine
from agenticflow.agents.tooling import AgentTools, HandlerWithTools
from agenticflow.core.binding import CHECK_SECONDS, Check, Handler, HandlerFunction
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.context import PARALLEL_CALLS
from agenticflow.core.events import AgenticEvent
from agenticflow.core.guards import AttemptEnded, Leave, guards
from agenticflow.core.results import SUCCEEDED, CheckAnswer, Outcome, OutcomeKind
from agenticflow.core.tools import Caller, CallGiven, ToolCall, ToolResult
from agenticflow.errors import DefinitionError, PermanentError, TemporaryError
from agenticflow.resilience.breaker import BreakerPolicy
from agenticflow.storage.key_values import KeyValues
from agenticflow.tools.registry import ToolLike, ToolRegistry

__all__ = ["Agent", "AgentStateChanged", "Recorder", "Watcher"]

F = TypeVar("F", bound=HandlerFunction)
R = TypeVar("R", bound=ReactionFunction)
_FAILURES: Final = frozenset({OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN})
_SUSPENDED: Final = AgentState.SUSPENDED
_NO_HANDLERS: Mapping[str, Handler] = {}
_NO_PAYLOAD: Mapping[str, object] = {}


class Recorder(RunsLoops, Protocol):
    """Where an agent's changes of state go, who is told that it can take other work than before, and who drives its loop."""

    def record(self, stream_id: str, event_type: str, payload: msgspec.Struct, now: int) -> None:
        """Have the entry recorded soon."""

    def look_again(self, performer_id: str) -> None:
        """The performer can take more, or other, work than before."""


class Watcher(Protocol):
    """Who looks after an agent's health: the registry it is in."""

    noted: Container[str]
    """Ids of agents of whom anything is known but that they are there: of others only what went wrong is news."""

    def work_ended(self, agent: Agent, in_flight: int, now: int, outcome: Outcome | None) -> None:
        """An attempt has ended, ``in_flight`` still run."""


class AgentBreaker:
    """The circuit breaker before the handlers of an agent, ``agent:<id>`` among the breakers of the process.

    It is told of outcomes, not of exceptions: that a time limit passed, or that a process died, is known outside the handler only.
    """

    __slots__ = ("name", "policy")

    def __init__(self, agent_id: str, policy: BreakerPolicy) -> None:
        self.name = f"agent:{agent_id}"
        self.policy = policy

    def enter(self) -> AttemptEnded:
        policy = self.policy
        leave = guards.get().enter(
            self.name, policy.failure_threshold, policy.window_seconds, policy.recovery_seconds, policy.max_probes
        )
        return partial(self._ended, leave)

    def _ended(self, leave: Leave, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.kind is OutcomeKind.SUCCEEDED:
            leave(None)
            return
        error = outcome.error if outcome is not None and outcome.kind in _FAILURES else None
        if error is not None and self.policy.counts_kinds(error.kinds, is_permanent=error.is_permanent):
            leave(TemporaryError(str(error)))
        else:
            leave(PermanentError("it says nothing about the agent"))


class Agent(LoopAgent):
    """``Agent("analyst", {"data_analysis"}, role="reads numbers", concurrency=4)``.

    Handlers are registered with ``@agent.task("analyze")``, or as methods of a subclass with ``@task("analyze")`` left to the
    author. At most ``concurrency`` tasks are in work at once; others queue. Creating one costs about a microsecond and
    half a kilobyte: ten thousand idle agents are nothing.
    """

    __slots__ = (
        "__weakref__",
        "_breaker",
        "_handlers",
        "_in_work",
        "_is_taking_work",
        "_machine",
        "_memory",
        "_reactions",
        "_reactor",
        "_recorder",
        "_seats",
        "_stream_id",
        "_tools",
        "_watcher",
        "agent_id",
        "capabilities",
        "role",
    )

    def __init__(
        self,
        agent_id: str,
        capabilities: Collection[str] = (),
        *,
        role: str = "",
        memory: MemoryStore | None = None,
        concurrency: int | None = None,
        state_machine: StateMachine | None = None,
        tools: Collection[ToolLike] = (),
        breaker: BreakerPolicy | None = None,
        instructions: Any = None,
        model: Any = None,
        handoffs: Sequence[Any] = (),
        output_type: Any = None,
        guardrails: Sequence[Any] = (),
        budget: Any = None,
        loop: Any = None,
        tool_choice: str = "auto",
    ) -> None:
        """``memory`` is what the agent remembers; one that belongs to nobody yet is shared out, each agent gets its own part.

        ``tools`` are what it may use: ``@tool`` functions, plain ones, ``Tool`` objects, names of registered tools, function tools of the
        OpenAI Agents SDK. ``breaker`` says after which failures of its handlers no attempt begins for a while: attempts then fail at once
        with ``CircuitOpen``, which is temporary. ``concurrency`` is how many tasks it does at once: one, or twenty when it asks a model.

        With a ``model`` (``"openai:gpt-5"``, or a ``Model``) it works on tasks without a handler of their own in a loop: the model is
        asked, the tools it asks for are called, until it answers. ``instructions``, ``handoffs``, ``output_type``, ``guardrails``,
        ``budget``, ``loop`` (a ``LoopPolicy``) and ``tool_choice`` are those of an ``AgentDefinition``.

        Raises ``DefinitionError`` with the right call when the arguments are mixed up.
        """
        check_id(agent_id)
        check_lists(agent_id, tools=tools, handoffs=handoffs, guardrails=guardrails)
        self.agent_id = agent_id
        self.capabilities: frozenset[str] = checked_capabilities(agent_id, capabilities)
        self.role = role
        self._describe(
            {
                "tools": tuple(tools),
                "instructions": instructions,
                "model": model,
                "handoffs": handoffs,
                "output_type": output_type,
                "guardrails": guardrails,
                "budget": budget,
                "loop": loop,
                "tool_choice": None if tool_choice == "auto" else tool_choice,
            }
        )
        self._seats = self._usual_seats if concurrency is None else concurrency
        check_parts(agent_id, concurrency=self._seats, memory=memory, breaker=breaker)
        self._breaker = AgentBreaker(agent_id, breaker) if breaker is not None else None
        self._memory = memory.for_agent(agent_id) if memory is not None else None
        self._in_work = 0
        self._is_taking_work = True
        self._handlers: dict[str, Handler] | None = None
        self._machine = state_machine
        self._reactions: tuple[Reaction, ...] = ()
        self._reactor: Callable[[Agent], None] | None = None
        self._recorder: Recorder | None = None
        self._stream_id = ""
        self._tools = AgentTools(agent_id, tools) if tools else None
        self._watcher: Watcher | None = None

    # --- what authors use -------------------------------------------------------------------------------------------

    def task(
        self,
        task_type: str,
        *,
        run_in: str | None = None,
        check: Callable[..., CheckAnswer | Awaitable[CheckAnswer]] | None = None,
        check_timeout_seconds: float = CHECK_SECONDS,
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler for tasks of ``task_type``; the function stays as it is.

        ``run_in`` is ``"loop"`` (the default of async functions), ``"thread"`` (of plain ones) or ``"process"`` (CPU-bound work).
        ``check`` says, when nobody knows whether at-most-once work has happened, what it finds: ``Happened(value)``, ``NOT_HAPPENED`` or
        ``None``. It looks and changes nothing, and is given what the handler is given, as far as it takes it.
        Raises ``DefinitionError`` for a type that has a handler already.
        """
        if not isinstance(task_type, str) or not task_type:
            raise DefinitionError(
                f"@{self.agent_id}.task got {task_type!r:.60}",
                hint=f'write @{self.agent_id}.task("analyze") above the function',
            )

        def register(function: F) -> F:
            if self._handlers is None:
                self._handlers = {}
            if task_type in self._handlers:
                raise DefinitionError(f"agent {self.agent_id!r} has a handler for {task_type!r} already")
            name = f"{self.agent_id}.{task_type}"
            handler = self._handler(function, name, run_in)
            handler.guard = self._breaker
            if check is not None:
                handler.check = Check.of(self._handler(check, f"check of {name}", None), check_timeout_seconds)
            self._handlers[task_type] = handler
            if self._recorder is not None:
                self._recorder.look_again(self.agent_id)
            return function

        return register

    def _handler(self, function: HandlerFunction, name: str, run_in: str | None) -> Handler:
        if self._tools is None:
            return Handler(function, name=name, run_in=run_in)
        return HandlerWithTools(function, name=name, run_in=run_in, tools=self._tools)

    @property
    def _engine(self) -> RunsLoops | None:
        return self._recorder

    def on(self, pattern: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Callable[[R], R]:
        """Have the decorated function react to every recorded event whose type matches ``pattern``; the function stays as it is.

        It is called with the event, or with the event and a ``ReactionContext``; ``async`` on the loop, a plain one in a thread. What it
        returns, an ``AgenticEvent``, several or ``None``, is recorded in one commit with the fact that the agent has reacted: once for each
        event and agent, though the function may run again after a crash or an error. Of an agent every function whose pattern matches
        takes part in that one reaction. Patterns are those of ``EventBus.subscribe``. Raises ``DefinitionError`` for what cannot be called
        with an event, ``InvalidInput`` for a wrong pattern.
        """

        def register(function: R) -> R:
            reaction = Reaction.of(function, pattern, agent_id=self.agent_id, timeout_seconds=timeout_seconds)
            self._reactions = (*self._reactions, reaction)
            if self._reactor is not None:
                self._reactor(self)
            return function

        return register

    def get_capabilities(self) -> frozenset[str]:
        """Return what the agent can do."""
        return self.capabilities

    @property
    def memory(self) -> MemoryStore:
        """What the agent remembers. Raises ``DefinitionError`` when it was made without a memory."""
        if self._memory is None:
            raise DefinitionError(
                f"agent {self.agent_id!r} has no memory",
                hint=f"make it with Agent({self.agent_id!r}, memory=MemoryStore())",
            )
        return self._memory

    @property
    def tools(self) -> ToolRegistry:
        """What the agent may use. Raises ``DefinitionError`` when it was made without tools."""
        return self._own_tools().registry

    @property
    def has_tools(self) -> bool:
        """Whether it may use any."""
        return self._tools is not None

    async def invoke_tool(
        self, name: str, params: Mapping[str, object] | None = None, *, caller: Caller | None = None
    ) -> ToolResult:
        """Call one of the agent's tools and return what came of it: a value, or a failure that says whose move it is.

        ``caller`` is on whose behalf and what was granted; without one it is the program itself, which may do everything. Nothing of it is
        recorded: in a handler use ``context.invoke_tool``. Raises ``DefinitionError`` when the agent was made without tools.
        """
        call = ToolCall(name, params if params is not None else {})
        return await self._own_tools().invoke(call, caller)

    async def invoke_tool_parallel(
        self, calls: Sequence[CallGiven], *, caller: Caller | None = None, max_concurrent: int = PARALLEL_CALLS
    ) -> list[ToolResult]:
        """Call several of the agent's tools at once: results in the order of ``calls``, failures in their places."""
        return await self._own_tools().invoke_parallel(calls, caller, max_concurrent=max_concurrent)

    def _own_tools(self) -> AgentTools:
        if self._tools is None:
            raise DefinitionError(
                f"agent {self.agent_id!r} has no tools", hint=f"make it with Agent({self.agent_id!r}, tools=[…])"
            )
        return self._tools

    def get_state(self) -> AgentState:
        """Return where the agent stands now."""
        return self._machine.state if self._machine is not None else AgentState.IDLE

    def handle_event(self, event: AgenticEvent | str) -> bool:
        """Take an event (or its type); return whether it moved the state machine."""
        if isinstance(event, str):
            return self._take(event, ambient.clock.now_ns(), 0)
        return self._take(event.event_type, event.timestamp, 0, event.payload)

    def transition_to(self, state: AgentState) -> None:
        """Move to ``state``. Raises ``IllegalTransition`` when no transition leads there."""
        moved = self._own_machine().transition_to(AgentState(state))
        self._moved(moved, "transition_to", ambient.clock.now_ns(), 0)

    def suspend(self) -> None:
        """Take no further work; what is in work goes on."""
        self.handle_event("suspend_agent")

    def resume(self) -> None:
        """Take work again."""
        self.handle_event("resume_agent")

    # --- what the engine uses ---------------------------------------------------------------------------------------

    @property
    def performer_id(self) -> str:
        return self.agent_id

    @property
    def concurrency(self) -> int:
        machine = self._machine
        is_open = self._is_taking_work and (machine is None or machine.state is not _SUSPENDED)
        return self._seats if is_open else 0

    @property
    def in_work(self) -> int:
        """Attempts whose handlers run now."""
        return self._in_work

    @property
    def task_types(self) -> frozenset[str]:
        """The types of tasks it has handlers for."""
        return frozenset(self._handlers or ())

    def handler_for(self, task_type: str) -> Handler | None:
        handlers = self._handlers
        found = handlers.get(task_type) if handlers is not None else None
        return found if found is not None or self._definition is None else self._loop_for(task_type)

    @property
    def seats(self) -> int:
        """How much it does at once while it takes work at all."""
        return self._seats

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        """What it does about events, in the order in which it was registered."""
        return self._reactions

    def react_with(self, reactor: Callable[[Agent], None] | None) -> None:
        """Tell ``reactor`` from now on, and now, that there is something to react to."""
        self._reactor = reactor
        if reactor is not None and self._reactions:
            reactor(self)

    def record_with(self, recorder: Recorder | None) -> None:
        """Send changes of state to ``recorder`` from now on."""
        self._recorder = recorder

    def remember_in(self, values: KeyValues | None, clock: Clock | None = None) -> None:
        """Keep the long-term memory there from now on, if the agent has one without a place of its own."""
        if self._memory is not None:
            self._memory.lend(values, clock)

    def watch_with(self, watcher: Watcher | None) -> None:
        """Tell ``watcher`` of every end of an attempt from now on."""
        self._watcher = watcher

    def take_work(self, is_taking_work: bool) -> None:
        """Begin or cease to take new work, whatever the state: the registry's way to take an agent out of service."""
        self._is_taking_work = is_taking_work
        if is_taking_work and self._recorder is not None:
            self._recorder.look_again(self.agent_id)

    def work_began(self, in_flight: int, now: int) -> None:
        self._in_work = in_flight
        if in_flight == 1:
            self._take("task_assigned", now, in_flight)

    def work_ended(self, in_flight: int, now: int, outcome: Outcome | None) -> None:
        self._in_work = in_flight
        is_done = outcome is not None and outcome.kind is SUCCEEDED
        if in_flight == 0:
            self._take("task_completed" if is_done else "attempt_ended", now, in_flight)
        if self._watcher is not None and (not is_done or self.agent_id in self._watcher.noted):
            self._watcher.work_ended(self, in_flight, now, outcome)

    def told(self, event_type: str, now: int) -> None:
        self._take(event_type, now, 0)

    def _own_machine(self) -> StateMachine:
        if self._machine is None:
            self._machine = StateMachine()
        return self._machine

    def _take(self, event_type: str, now: int, in_flight: int, payload: Mapping[str, object] = _NO_PAYLOAD) -> bool:
        machine = self._machine or self._own_machine()
        moved = machine.handle(event_type, payload)
        if moved is None:
            return False
        self._moved(moved, event_type, now, in_flight)
        if moved[0] is _SUSPENDED:
            # Back to where it was; but its work may have ended meanwhile, or a last one begun.
            if moved[1] is AgentState.PROCESSING and not self._in_work:
                self._take("attempt_ended", now, 0)
            elif moved[1] is AgentState.IDLE and self._in_work:
                self._take("task_assigned", now, self._in_work)
        return True

    def _moved(self, moved: tuple[AgentState, AgentState], cause: str, now: int, in_flight: int) -> None:
        recorder = self._recorder
        if recorder is not None:
            before, after = moved
            if not self._stream_id:
                self._stream_id = stream_of_agent(self.agent_id)
            change = NAMED_CHANGES.get(cause, AgentStateChanged)(before, after, cause, in_flight)
            recorder.record(self._stream_id, change.event_type, change, now)
            if before is _SUSPENDED:
                recorder.look_again(self.agent_id)

    def __repr__(self) -> str:
        return f"Agent({self.agent_id!r}, {set(self.capabilities) or '{}'}, {self.get_state()})"
