"""Agents that work on one query together, as a workflow as code: ``AgentOrchestrator`` and what it does in a run."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from types import CodeType, TracebackType
from typing import Any, Final, Self, Unpack

from agenticflow.agents.agent import Agent
from agenticflow.agents.capabilities import Candidate
from agenticflow.agents.context import AgentContext
from agenticflow.agents.declared import AgentDefinition, get_agent_registry
from agenticflow.agents.guardrails import Guardrail, GuardrailKind, Guardrails
from agenticflow.agents.session.session import AgentSession
from agenticflow.app.crew.member import RUN, Seat, demand
from agenticflow.app.crew.planning import PlanningService
from agenticflow.app.crew.rules.context import context_of, put_findings
from agenticflow.app.crew.rules.routing import RoutingHelper
from agenticflow.app.crew.rules.safety import SafetyGuard
from agenticflow.app.crew.runs import QueryRun, checked_input, turn_of
from agenticflow.app.crew.services import services_of
from agenticflow.app.crew.sessions import CrewSession, DraftSession
from agenticflow.app.execution import WorkflowHandle
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.ids import check_id
from agenticflow.core.results import TaskResult
from agenticflow.errors import (
    AgentNotFoundError,
    CommandRefused,
    DefinitionError,
    GuardrailTripwireTriggered,
    InvalidInput,
    StoreUnavailable,
    WorkflowExecutionError,
)
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.context import StepOptions, WorkflowContext
from agenticflow.orchestration.planning.declaring import hash_of_source
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.storage.store import Store

__all__ = ["AgentOrchestrator", "AgentRunner"]

GUARDED: Final = frozenset({GuardrailKind.INPUT, GuardrailKind.OUTPUT})
"""What of a run there is to guard; a tool's guardrails belong to the tool."""
_RIGHT_EXECUTE: Final = "write async def execute(self, query, session, context): …"

AgentRunner = Callable[[AgentDefinition, str, DraftSession, AgentContext], Awaitable[Any]]
"""Has an agent that is only described answer: ``await runner(definition, query, session, context)``."""


class AgentOrchestrator:
    """``AgentOrchestrator([triage, billing], routing=RoutingHelper(…))``, or a subclass with an ``execute`` of its own.

    ``await crew.run(query)`` asks agents one after the other: those that the routes name, else those that the plan names. Each is an
    ``Agent`` with a handler for ``"run"``, or an ``AgentDefinition``, which ``runner`` has answer; without ``agents``, whoever is described
    in this process by the time a run starts, and has a model or a ``runner``. The run is a workflow as code, named
    ``name`` (the class) in ``version``: after a crash it goes on, and an agent that has answered is not asked again.

    Without ``orchestrator`` it has one of its own over ``store``; ``async with`` (or ``stop``) ends that cleanly.
    """

    def __init__(
        self,
        agents: Iterable[Agent | AgentDefinition] = (),
        *,
        name: str = "",
        version: str = "1",
        routing: RoutingHelper | None = None,
        planning: PlanningService | None = None,
        safety: SafetyGuard | None = None,
        runner: AgentRunner | None = None,
        orchestrator: Orchestrator | None = None,
        store: Store | str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Raises ``DefinitionError`` for an agent without a handler for ``"run"``, a taken name, or an ``execute`` that is not async."""
        kind = type(self)
        if not inspect.iscoroutinefunction(kind.execute):
            raise DefinitionError(f"{kind.__name__}.execute is no async function", hint=_RIGHT_EXECUTE)
        if orchestrator is not None and store is not None:
            raise InvalidInput(
                "an orchestrator and a store were given", hint="the orchestrator has its store: leave store out"
            )
        self.name = name or kind.__name__
        self.routing = routing
        self.safety = SafetyGuard() if safety is None else safety
        self.orchestrator = Orchestrator(store=store) if orchestrator is None else orchestrator
        self._owns_orchestrator = orchestrator is None
        self._runner = runner
        self._agents: dict[str, Agent] = {}
        self._takes_described = True
        """Whether whoever is described in this process answers here: as long as nobody was given."""
        self._rails: dict[str, Guardrails] = {}
        self._run: QueryRun | None = None
        self.workflow = WorkflowFunction(
            _Planned(self),
            WorkflowDefinition(
                (),
                name=self.name,
                version=version,
                timeout_seconds=timeout_seconds,
                code=hash_of_source(kind.execute),
            ),
        )
        """What its runs are: start it by name, put it on a schedule, or use it as a child of another workflow."""
        self.services = services_of(self, planning or PlanningService(), self._candidates)
        """The workers that its steps need beside the agents."""
        for service in self.services:
            self.orchestrator.register_worker(service)
        for agent in agents:
            self.register_agent(agent)
        self._take_described()
        self.orchestrator.register_workflow(self.workflow)

    # --- who, and what guards them ------------------------------------------------------------------------------------

    def register_agent(self, agent: Agent | AgentDefinition) -> Agent:
        """Let an agent answer here: with its handler for ``"run"``, else by asking its model. A description is one or the other: with a
        ``runner`` that one has it answer, else its model is asked.

        Raises ``DefinitionError`` for a taken id, and an agent that has neither a handler for ``"run"`` nor a model.
        """
        self._takes_described = False
        return self._register(agent)

    def _register(self, agent: Agent | AgentDefinition) -> Agent:
        rails: Iterable[Guardrail] = ()
        if isinstance(agent, AgentDefinition):
            if self._runner is not None:
                # those of its tools are the business of whoever runs them
                rails = [one for one in agent.resolve_guardrails().guardrails if one.kinds & GUARDED]
            agent = _performing(agent, self._runner)
        if not isinstance(agent, Agent):
            raise DefinitionError(
                f"{self.name!r} got a {type(agent).__name__} as an agent",
                hint='give it an Agent("triage") with a model or a handler for "run", or an AgentDefinition',
            )
        Seat.of(agent, self, self._step_type)
        self.orchestrator.register_agent(agent)
        self._agents[agent.agent_id] = agent
        for one in rails:
            self._guard_with(agent.agent_id, one)
        return agent

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents by name, as a copy."""
        return dict(self._agents)

    def register_guardrail(
        self,
        name: str,
        check: Guardrail | Callable[[Any, Any], Any],
        *,
        agent: str = "",
        kinds: Collection[GuardrailKind | str] | None = None,
    ) -> Guardrail:
        """Have ``check(context, value)`` guard what one agent is asked and answers, or, without ``agent``, the query and the final answer.

        ``kinds`` are ``"input"`` and ``"output"``; left out, those of a ``Guardrail``, and of a function the input. A function that guards
        an input has its say before anything begins. A refusal raises ``GuardrailTripwireTriggered`` where the agent was asked: ``execute``
        may catch it, else the run fails.

        Raises ``DefinitionError`` for a name that is taken, other kinds, and what is no guardrail.
        """
        if isinstance(check, Guardrail):
            made = Guardrail(
                check.check,
                name=name,
                kinds=check.kinds if kinds is None else kinds,
                timeout_seconds=check.timeout_seconds,
                is_blocking=check.is_blocking,
                is_quick=check.is_quick,
            )
        else:
            made = Guardrail(check, name=name, kinds=("input",) if kinds is None else kinds, is_blocking=True)
        if agent != "":
            check_id(agent, "an agent")
            if agent not in self._agents:
                raise self._unknown(agent)
        self._guard_with(agent, made)
        return made

    def guardrails_of(self, agent: str) -> Guardrails:
        """Return what guards the agent; for the empty name, the whole."""
        if agent != "":
            check_id(agent, "an agent")
        return self._rails.get(agent) or Guardrails()

    def _guard_with(self, agent: str, guardrail: Guardrail) -> None:
        guards = guardrail.kinds & GUARDED
        if not guards:
            raise DefinitionError(
                f"the guardrail {guardrail.name!r} guards {', '.join(sorted(guardrail.kinds))}, which belongs to a tool",
                hint='give kinds=["input"], or ["output"]',
            )
        self._rails[agent] = Guardrails([*self.guardrails_of(agent).guardrails, guardrail.on(*guards)])

    # --- runs -----------------------------------------------------------------------------------------------------------

    async def run(
        self,
        user_query: str,
        context_data: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
        workflow_id: str | None = None,
    ) -> Any:
        """Have the agents answer, and return what ``execute`` returns. Arguments and errors as for ``start``.

        Raises ``GuardrailTripwireTriggered`` when that ended the run, ``WorkflowExecutionError`` when it failed otherwise.
        """
        handle = await self.start(user_query, context_data, session_id=session_id, workflow_id=workflow_id)
        try:
            return await handle.result()
        except WorkflowExecutionError as failed:
            execution = await handle.execution()
            error = execution.error
            if error is not None and error.code == GuardrailTripwireTriggered.code:
                raise _tripwire(error.message, execution.task_results) from failed
            raise

    async def start(
        self,
        user_query: str,
        context_data: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
        workflow_id: str | None = None,
    ) -> WorkflowHandle:
        """Start a run and return once its start is durable. The same ``workflow_id`` twice, with the same query, is one run.

        ``context_data`` is plain data with names for keys. ``session_id`` is the conversation that the run belongs to, by default one of
        its own, named like the workflow.

        Raises:
            AgentNotFoundError: a route or a rate names an agent that is not there.
            InvalidInput: the query is no text, or the data no mapping of names.
            NotSerializable: the data have no form on the wire.
            WorkflowIdConflict: the id belongs to another query.
        """
        given = checked_input({"query": user_query, "context": context_data or {}, "session_id": session_id})
        self._take_seats()
        for name in (*(self.routing.names if self.routing is not None else ()), *self.safety.agent_rates):
            if name not in self._agents:
                raise self._unknown(name)
        return await self.orchestrator.start_workflow(self.workflow, given, workflow_id=workflow_id)

    async def execute(self, query: str, session: CrewSession, context: Any) -> Any:
        """Ask agents until there is an answer, and return it. Subclasses say how: with ``self.run_agent`` and ``self.steps``, and may say
        of what type their ``context`` is.

        It is the function of a workflow as code and runs again from its beginning after a crash, on a copy of this object of its own: no
        clock, randomness, files or network in it, but in agents and steps. This one follows the routes, or else the plan.
        """
        routing, output = self.routing, None
        if routing is None:
            for name in await self.make_plan(query):
                output = await self.run_agent(name, session, context)
            return output
        following: str | None = routing.first or (await self.make_plan(query))[0]
        while following is not None:
            output = await self.run_agent(following, session, context)
            following = routing.get_next_agent(context, output)
        return output

    # --- what execute uses ----------------------------------------------------------------------------------------------

    @property
    def steps(self) -> WorkflowContext:
        """The context of the workflow: ``await self.steps.sleep("pause", 5)``, ``approval``, ``signal``, ``gather``, ``now``."""
        return self._running.ctx

    async def run_agent(
        self,
        name: str,
        session: CrewSession | None = None,
        context: AgentContext | None = None,
        *,
        query: str | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        **options: Unpack[StepOptions],
    ) -> Any:
        """Ask the agent of that name, as a step, and return its answer. Session, context and query are those of the run unless given.

        Its handler for ``"run"`` gets what it has parameters for: ``query``, ``session`` (a ``DraftSession``), ``session_id``,
        ``context`` (what ``make_context`` makes), ``task`` (the ``TaskContext``), and ``params`` by name. What it finds and says comes
        back with the answer; when it adds nothing to the session, question and answer are added. ``key`` tells steps apart, by default
        the name with a number; give one where agents are asked side by side. ``options`` are those of a step: retries, limits, …

        Raises:
            AgentNotFoundError: there is no such agent.
            GuardrailTripwireTriggered: a guardrail refused the question or the answer.
            StepFailed: the agent has failed for good.
            BoundExceeded: the run asks agents more often than its ``SafetyGuard`` allows.
        """
        run = self._running
        key = run.key_of(key, name)
        if name not in self._agents and not (run.ctx.is_recorded(key) or run.ctx.is_recorded(turn_of(key))):
            raise self._unknown(name)
        given = run.given(context)
        session_id = run.session_id_of(session)
        await run.wait_for_turn(name, key)
        asked = run.query if query is None else query
        about: dict[str, Any] = {"query": asked, "session_id": session_id, **run.carried(given)}
        if params:
            about["params"] = dict(params)
        result = await run.ctx.agent(key, name, self._step_type, about, **options)
        demand(result)
        put_findings(given.context, result)
        output = result["output"]
        for field, value in (("last_agent", name), ("last_output", output)):
            if hasattr(given.context, field):
                setattr(given.context, field, value)
        if said := run.to_say(session_id, asked, result):
            await self._serve("remember", f"{key}-said", {"session_id": session_id, "items": said})
        return output

    async def make_plan(self, query: str | None = None, *, key: str | None = None) -> list[str]:
        """Return the names of the agents for the query, in order, as the planning service gave them in a step."""
        run = self._running
        asked = run.query if query is None else query
        names: list[str] = await self._serve("plan", run.key_of(key, "plan"), {"query": asked})
        return names

    def setup_session(self, session_id: str | None = None) -> CrewSession:
        """Return a conversation for the agents: that of the run, or another one."""
        run = self._running
        return CrewSession(run.session_id if session_id is None else session_id, self._say)

    def setup_context(self, /, **data: Any) -> AgentContext:
        """Return a context for the agents, made of ``data`` by ``make_context``."""
        run = self._running
        context = self.make_context(data)
        if not isinstance(context, AgentContext):
            raise DefinitionError(
                f"{type(self).__name__}.make_context gave a {type(context).__name__}", hint="it gives an AgentContext"
            )
        run.keep(context, data)
        return context

    def make_context(self, data: Mapping[str, Any]) -> AgentContext:
        """Return a new context for ``data``. Called in the function and in every step, in any process: it has to give the same each
        time, and to be quick. Override it for a context of your own, with connections that cannot be written in it."""
        return context_of(data)

    # --- outside of runs ------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> AgentSession:
        """Return the conversation itself, outside of runs. Raises ``StoreUnavailable`` while this has not started."""
        return AgentSession(session_id, store=self.orchestrator.store)

    @property
    def marked_name(self) -> str:
        """Its name with the version, which its steps bear: crews of several versions work side by side on one orchestrator."""
        return f"{self.name}@{self.workflow.version}"

    @property
    def is_open(self) -> bool:
        """Whether it has started and not stopped."""
        try:
            return self.orchestrator.store is not None
        except StoreUnavailable:
            return False

    async def stop(self) -> None:
        """Stop the orchestrator when it is its own. What has not ended goes on after the next start."""
        if self._owns_orchestrator:
            await self.orchestrator.stop()

    async def __aenter__(self) -> Self:
        self._take_seats()
        await self.orchestrator.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- inside ---------------------------------------------------------------------------------------------------------

    @property
    def _step_type(self) -> str:
        return f"{self.marked_name}.{RUN}"

    @property
    def _running(self) -> QueryRun:
        if self._run is None:
            raise CommandRefused(
                f"{self.name!r} was asked for a step outside of a run",
                hint="execute() calls this; from outside: await crew.run(query)",
            )
        return self._run

    def _take_seats(self) -> None:
        """Have the agents work for this one, also when another of its name had them before and has stopped."""
        self._take_described()
        for agent in self._agents.values():
            Seat.of(agent, self, self._step_type)

    def _take_described(self) -> None:
        """Without agents of its own, have everybody answer who is described in this process by now, and has something to answer with."""
        if not self._takes_described:
            return
        for definition in get_agent_registry():
            if definition.name not in self._agents and (self._runner is not None or definition.model is not None):
                self._register(definition)

    def _candidates(self) -> list[Candidate]:
        return [one for one in self.orchestrator.agents.candidates({}) if one.agent_id in self._agents]

    def _unknown(self, name: str) -> AgentNotFoundError:
        close = get_close_matches(str(name), self._agents, n=1)
        known = (
            ", ".join(sorted(self._agents))
            or "none; give AgentOrchestrator([…]) some, or describe some that have a model"
        )
        return AgentNotFoundError(
            f"{self.name!r} has no agent {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {known}",
        )

    async def _serve(self, service: str, key: str, params: Mapping[str, Any]) -> Any:
        return await self._running.ctx.task(key, f"{self.marked_name}.{service}", params)

    async def _say(self, service: str, key: str, params: Mapping[str, object]) -> Any:
        return await self._serve(service, self._running.key_of(key, service), params)

    async def _check(self, kind: str, value: Any) -> None:
        """Have the guardrails of the whole look at ``value``; without any there is no step."""
        if not any(kind in one.kinds for one in self.guardrails_of("").guardrails):
            return
        run = self._running
        params = {"kind": kind, "value": value, **run.carried(run.given(None))}
        demand(await self._serve("guard", f"guard-{kind}", params))

    async def _drive(self, ctx: WorkflowContext, given: object) -> Any:
        mine = copy.copy(self)
        run = mine._run = QueryRun(ctx, self.safety.begin(), checked_input(given))
        run.session = mine.setup_session()
        run.context = mine.setup_context(**run.data)
        await mine._check("input", run.query)
        output = await mine.execute(run.query, run.session, run.context)
        await mine._check("output", output)
        return output


class _Planned:
    """The function of the workflow. Its code is that of ``execute``: errors are told with the line there."""

    __slots__ = ("__code__", "_crew")

    def __init__(self, crew: AgentOrchestrator) -> None:
        self._crew = crew
        self.__code__: CodeType = type(crew).execute.__code__

    async def __call__(self, ctx: WorkflowContext, given: object) -> Any:
        return await self._crew._drive(ctx, given)


def _performing(definition: AgentDefinition, runner: AgentRunner | None) -> Agent:
    """Return an agent that answers as it is described."""
    if runner is None and definition.model is not None:
        return Agent.of(definition)
    if runner is None:
        raise DefinitionError(
            f"the agent {definition.name!r} is only described, and nobody has it answer",
            hint="give it a model, or AgentOrchestrator(runner=…): async def runner(definition, query, session, context)",
        )
    agent = Agent(definition.name, role=definition.description)

    @agent.task(RUN)
    async def run(query: str, session: DraftSession, context: Any) -> Any:
        return await runner(definition, query, session, context)

    return agent


def _tripwire(message: str, results: Mapping[str, TaskResult[object]]) -> GuardrailTripwireTriggered:
    """Return the refusal that ended a run, with all that is known of it."""
    for result in reversed(list(results.values())):
        refused = result.value.get("refused") if isinstance(result.value, Mapping) else None
        if isinstance(refused, Mapping) and str(refused.get("message")) in message:
            return GuardrailTripwireTriggered(**refused)
    return GuardrailTripwireTriggered(message)
