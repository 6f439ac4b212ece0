"""The façade over the engine: register agents and workflows, start runs, look at them, steer them.

One orchestrator owns one store in this process. It starts by itself on first use; ``async with`` (or ``stop``) ends it cleanly.
Nothing here decides: it checks what callers give, stamps time and ids into commands, and hands them to the host.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from agenticflow.agents.agent import Agent
from agenticflow.agents.registry import AgentRegistry
from agenticflow.agents.workers import Worker
from agenticflow.app.approvals.approvals import Approvals
from agenticflow.app.budgets.budgets import Budgets
from agenticflow.app.budgets.runs import RunBudgets
from agenticflow.app.commands.door import open_door
from agenticflow.app.engine.assembly import Engine, assemble
from agenticflow.app.engine.liveness import Watch
from agenticflow.app.engine.lives import check_lost_limit, check_setting
from agenticflow.app.engine.measuring import measure
from agenticflow.app.engine.reacting import Choreography
from agenticflow.app.engine.starting import (
    check_new_id,
    check_same,
    checked_id,
    first_run,
    forked_run,
    id_after,
    next_run,
)
from agenticflow.app.event_bus import EventBus
from agenticflow.app.execution import WorkflowExecution, WorkflowHandle, failure_of, view_of
from agenticflow.app.intervening import Intervening
from agenticflow.app.letters.dead_letters import DeadLetters
from agenticflow.app.looking import Looking
from agenticflow.app.registration.adapting import Adapting, Parallelism
from agenticflow.app.registration.admission import Admission
from agenticflow.app.registration.workflows import AnyWorkflow, Workflows
from agenticflow.app.repair.replanner import Replans
from agenticflow.app.schedules.schedules import Schedules
from agenticflow.app.steering import LOCAL_OWNER
from agenticflow.app.wiring import open_store
from agenticflow.config import Settings, load_settings
from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.decider import Command
from agenticflow.core.engine import Effect, Performer
from agenticflow.core.ids import check_run
from agenticflow.core.telemetry import NO_TELEMETRY, Telemetry
from agenticflow.errors import (
    CommandRefused,
    DefinitionError,
    InvalidInput,
    StoreUnavailable,
    WorkflowIdConflict,
)
from agenticflow.observability.metrics import get_metrics
from agenticflow.orchestration.chain import carry_over, fork_of
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.guest import WorkflowGuest, run_output, stream_of
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.repair.planner import Plans, Replanner
from agenticflow.orchestration.state import Phase, RunState, WorkflowStatus
from agenticflow.resilience import Adaptation, BackPressure
from agenticflow.resilience.budgets import Budget
from agenticflow.runtime.actors import Answer
from agenticflow.runtime.clock import SystemClock
from agenticflow.runtime.replay import state_at
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy
from agenticflow.storage.store import Store

__all__ = ["Orchestrator"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
BETWEEN_RUNS_SECONDS: Final = 10
"""How long a command that comes while a run is continued in the next waits for that."""
MOST_RUNS_BETWEEN: Final = 10
"""Of a chain that continues all the time: so often a command may come in between."""
_DEFAULT_PRESSURE: Final = BackPressure()
UNCHANGED: Final = object()
"""Stands for the input of the run that is forked."""


class Orchestrator(Looking, Intervening):
    """``Orchestrator(EventBus())`` or ``Orchestrator(store="sqlite:///orders.db")``.

    ``store`` is a URL or an open ``Store`` (which stays open when the orchestrator stops). Without one it is the bus's, else the file
    ``.agenticflow/state.db`` under the working directory, or what ``AGENTICFLOW_STORE`` says.

    What is not given is taken from ``settings``; without these, from the settings file and the environment (``agenticflow.config``), when
    it starts. ``telemetry`` is who listens to what it measures; without one, the metrics of this process, when ``metrics.enabled`` says so.
    ``replan`` is asked for another plan when a run would fail: a ``Replanner``, or an async function.
    ``max_lost_processes`` is how many processes may die while a task is in work before it becomes a dead letter.
    ``back_pressure`` says how long a start waits while much work is open in this process; ``None``: never.
    ``adaptation`` lets less be in work at once while there is too much to do; without one, always ``max_concurrency``.
    ``agents`` is the registry to use, for a health policy or a vocabulary of capabilities of one's own.

    With ``performs=False`` it only reads, and records commands: it takes up no run and starts no activity; the next owner does.
    """

    def __init__(
        self,
        event_bus: EventBus | None = None,
        *,
        store: Store | str | None = None,
        orchestrator_id: str | None = None,
        workflows: Iterable[WorkflowDefinition | WorkflowFunction] = (),
        max_concurrency: int | None = None,
        max_threads: int | None = None,
        max_lost_processes: int | None = None,
        clock: Clock | None = None,
        agents: AgentRegistry | None = None,
        replan: Replanner | Plans | None = None,
        performs: bool = True,
        back_pressure: BackPressure | None = _DEFAULT_PRESSURE,
        adaptation: Adaptation | None = None,
        settings: Settings | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        if max_lost_processes is not None:
            check_lost_limit(max_lost_processes)
        for name, count in (("max_concurrency", max_concurrency), ("max_threads", max_threads)):
            check_setting(name, count)
        if settings is not None and not isinstance(settings, Settings):
            raise InvalidInput(
                f"settings is a {type(settings).__name__}, not Settings", hint="write settings=load_settings().settings"
            )
        if event_bus is not None and not isinstance(event_bus, EventBus):
            raise InvalidInput(
                f"the first argument is a {type(event_bus).__name__}, not an EventBus",
                hint='write Orchestrator(EventBus()), or Orchestrator(store="sqlite:///state.db")',
            )
        self.event_bus = event_bus
        self.orchestrator_id = orchestrator_id or f"orchestrator-{ambient.ids.next_id()}"
        self._store = store if store is not None else (event_bus.store if event_bus is not None else None)
        self._clock: Clock = clock or SystemClock()
        self._max_concurrency = max_concurrency
        self._max_threads = max_threads
        self._max_lost_processes = max_lost_processes
        self._performs = performs
        self._admission = Admission(back_pressure, self._clock)
        self._adapting = Adapting(adaptation)
        self._replans = Replans(replan, self._clock, self._unperformed)
        self._settings = settings
        self._telemetry = telemetry
        self._performers: dict[str, Performer] = {}
        self.agents = agents if agents is not None else AgentRegistry(clock=self._clock)
        """Who there is, who is in service and who is well."""
        self._workflows = Workflows()
        self._engine: Engine | None = None
        self._opened: Store | None = None
        self._starting: asyncio.Lock | None = None
        self.schedules = Schedules(self._running, self._workflows, self._clock, performs=performs)
        self.approvals = Approvals(self._running, self._clock)
        """What waits for people."""
        self.dead_letters = DeadLetters(self._running, self._clock, event_bus)
        """Tasks that have lost too many processes."""
        self.budgets = Budgets(self._running)
        """What may be spent, and what was."""
        for definition in workflows:
            self.register_workflow(definition)

    # --- who and what -----------------------------------------------------------------------------------------------

    def register_agent(self, agent: Agent) -> Agent:
        """Let ``agent`` perform tasks here; work that waited for it starts. Raises ``DefinitionError`` for a taken id."""
        if not isinstance(agent, Agent):
            raise DefinitionError(
                f"register_agent got a {type(agent).__name__}",
                hint='give it an Agent("id", {"capability"}); functions go to register_worker',
            )
        self._register(agent)
        return self.agents.register(agent)

    def register_worker(self, worker: Worker[..., Any]) -> None:
        """Let a ``@worker`` function perform tasks here. Raises ``DefinitionError`` for a taken name."""
        if not isinstance(worker, Worker):
            raise DefinitionError(
                f"register_worker got a {type(worker).__name__}", hint='decorate the function with @worker("name")'
            )
        self._register(worker)

    def register_workflow(self, workflow: WorkflowDefinition | WorkflowFunction) -> None:
        """Make a workflow known by its name; a function also in its version, and runs that waited for that go on.

        Raises ``DefinitionError`` with every mistake in it.
        """
        self._workflows.add(workflow)
        if self._engine is not None:
            self._engine.children.look_again()
            self._engine.ask_functions(self._clock.now_ns())

    def get_agent(self, agent_id: str) -> Agent:
        """Return the registered agent. Raises ``AgentNotFoundError``."""
        return self.agents.get(agent_id)

    def _register(self, performer: Performer) -> None:
        known = self._performers.get(performer.performer_id)
        if known is not None and known is not performer:
            raise DefinitionError(
                f"there is an agent or worker {performer.performer_id!r} already", hint="give each its own id"
            )
        self._performers[performer.performer_id] = performer
        if self._engine is not None:
            self._engine.dispatcher.seat(performer)

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, take up every unfinished run, begin to work. Implied by use; a later call waits for agents to hear events."""
        if self._engine is not None:
            await self._engine.settle()
            return
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._engine is not None:
                return
            settings = self._settings or load_settings().settings
            store = self._store
            if not isinstance(store, Store):
                store = await open_store(store or settings.store_url)
            self._opened = store
            engine = assemble(
                store,
                self._clock,
                settings,
                workflows=self._workflows,
                max_concurrency=self._max_concurrency,
                max_threads=self._max_threads,
            )
            telemetry = self._telemetry or (get_metrics() if settings.metrics.enabled else NO_TELEMETRY)
            engine.end_measuring = measure(telemetry, engine, self._performers)
            self.agents.attach(engine.recorder, store)
            engine.dispatcher.assign_with(self.agents)
            for performer in self._performers.values():
                engine.dispatcher.seat(performer)
            try:
                if self.event_bus is not None:
                    await self.event_bus.attach(store)
                if self._performs:
                    self._replans.begin(engine)
                    engine.choreography = Choreography(self.event_bus, store, self.agents, self.start_workflow)
                    engine.door = await open_door(store, self)
                    await engine.choreography.start()
                    limit = self._max_lost_processes or settings.engine.max_lost_processes
                    resumed = await engine.host.recover(died=await engine.lives.begin(limit))
                    await engine.gates.clear()
                    await engine.loops.begin(self)
                    engine.watch = Watch(engine, self._clock)
                    engine.watch.start()
                    self._adapting.start(engine.dispatcher)
                else:
                    engine.host.perform_with(_leave_to_the_next_owner)
                    resumed = 0
            except BaseException:
                # Recovery may have handed out work already; nothing of it may go on beside the next try.
                await engine.lives.end()
                await engine.dispatcher.stop(drain_seconds=0)
                await self._shut(engine)
                raise
            self._engine = engine
            if resumed:
                log.info("%s took up %d unfinished runs", self.orchestrator_id, resumed)

    async def stop(self, *, drain_seconds: float | None = None) -> None:
        """Start nothing new, give running handlers ``drain_seconds`` (the setting) to end, record what ended, close.

        A second call does nothing.

        What did not end runs again after the next start; at-most-once work that was running is then unknown.
        """
        engine = self._engine
        if engine is None:
            return
        # First the door: a command answered from here on would ask an engine that is not there any more.
        door, engine.door = engine.door, None
        if door is not None:
            await door.stop()
        if engine.choreography is not None:
            await engine.choreography.stop()  # a handler that starts a workflow would start the engine again
        if self._engine is not engine:
            return
        self._engine = None
        await engine.lives.end()
        if engine.watch is not None:
            await engine.watch.stop()
        await engine.dispatcher.stop(
            drain_seconds=engine.settings.engine.drain_seconds if drain_seconds is None else drain_seconds
        )
        await self._shut(engine)

    async def _shut(self, engine: Engine) -> None:
        await self._replans.end()
        await self._adapting.stop()
        await engine.stop()
        self.agents.detach()
        if self.event_bus is not None:
            await self.event_bus.stop()
        self._opened = None
        if not isinstance(self._store, Store):
            await engine.store.close()

    @property
    def store(self) -> Store:
        """The open store it works on. Raises ``StoreUnavailable`` before it has started and after it has stopped."""
        if self._opened is None:
            raise StoreUnavailable(f"{self.orchestrator_id!r} has no open store", hint="start it: async with …")
        return self._opened

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _running(self) -> Engine:
        if self._engine is None or self._engine.is_settling:
            await self.start()
        if self._engine is None:
            raise StoreUnavailable(
                "the orchestrator was stopped while it was asked for something", hint="start it again"
            )
        return self._engine

    # --- starting runs ----------------------------------------------------------------------------------------------

    async def execute_workflow(
        self,
        definition: AnyWorkflow,
        context: object = None,
        *,
        workflow_id: str | None = None,
        budget: Budget | str | None = None,
    ) -> str:
        """Run a workflow to its end and return its id. Arguments and errors as for ``start_workflow``.

        Raises ``WorkflowExecutionError`` when the run fails or is cancelled.
        """
        handle = await self.start_workflow(definition, context, workflow_id=workflow_id, budget=budget)
        await handle.result()
        return handle.workflow_id

    async def start_workflow(
        self,
        definition: AnyWorkflow,
        context: object = None,
        *,
        workflow_id: str | None = None,
        budget: Budget | str | None = None,
    ) -> WorkflowHandle:
        """Start a run of ``definition`` (or of the registered workflow of that name) and return once its start is durable.

        ``context`` is the workflow input, usually a dict. With a ``workflow_id`` the call is idempotent: the same definition and
        input under the same id are one chain of runs, whoever calls and however often; a finished one hands back its result.
        ``budget`` is what its calls of models and tools may cost, instead of what the definition says.

        Raises:
            DefinitionError: the definition or its references are wrong; nothing was started.
            InvalidInput: the id is none, or there is no budget of that id.
            WorkflowIdConflict: the id belongs to another definition or input.
            NotSerializable: the input has no form on the wire.
            BoundExceeded: more starts wait than may, or ``back_pressure`` rejects them.
        """
        plan = self._workflows.plan_of(definition, budget)
        engine = await self._running()
        if workflow_id is None:
            workflow_id = id_after(plan.definition.name)
        else:
            workflow_id = await checked_id(engine.store, workflow_id)
        if isinstance(plan.definition.budget, str):
            await engine.budgets.get(plan.definition.budget)
        terms = self._replans.terms_of(plan.definition.name)
        now = self._clock.now_ns()
        command = first_run(plan, context, workflow_id, requested_by=LOCAL_OWNER, now=now, replan=terms)
        try:
            await self._admission.submit(engine.host, engine.dispatcher, stream_of(workflow_id, 1), command)
        except CommandRefused:
            # It exists already, or somebody else started it in the same moment: the store let one of us through.
            row = await engine.store.get_run(workflow_id)
            if row is None:
                raise
            check_same(row, command.fingerprint)
            return WorkflowHandle(self, workflow_id, row.run_no)
        return WorkflowHandle(self, workflow_id, 1)

    async def resume_workflow(self, workflow_id: str, from_task: str | None = None) -> WorkflowHandle:
        """Go on with a workflow: an open run is going on already; a failed or cancelled one gets its next run.

        The next run keeps every recorded result, or, with ``from_task``, goes on there: a completed ``from_task`` is kept and what depends
        on it runs again, any other is run. A completed workflow without ``from_task`` hands back its finished run.

        Raises ``WorkflowNotFoundError``, ``CommandRefused`` for ``from_task`` while the run is open, ``InvalidInput`` for an unknown task.
        """
        engine = await self._running()
        row = await self._row(engine, workflow_id)
        if from_task is None and (row.is_open or row.status == WorkflowStatus.COMPLETED):
            return WorkflowHandle(self, workflow_id, row.run_no)
        state: RunState = await engine.host.read(row.stream_id)
        carried = carry_over(state, from_task)
        terms, now = self._replans.terms_of(state.laid_out.definition.name), self._clock.now_ns()
        command = next_run(state, carried, requested_by=LOCAL_OWNER, now=now, replan=terms)
        try:
            await engine.host.submit(stream_of(workflow_id, row.run_no + 1), command)
        except CommandRefused:
            # Somebody else resumed it in the same moment: theirs is the run that was asked for, unless it begins elsewhere.
            if from_task is not None:
                raise
        return WorkflowHandle(self, workflow_id, row.run_no + 1)

    async def fork_workflow(
        self,
        workflow_id: str,
        *,
        run_no: int | None = None,
        at_version: int | None = None,
        from_task: str | None = None,
        input: object = UNCHANGED,
        definition: AnyWorkflow | None = None,
        new_workflow_id: str | None = None,
    ) -> WorkflowHandle:
        """Start another workflow where a run stands, or stood after event ``at_version``, with another ``input`` or ``definition``.

        What was completed there is kept, as far as the definition has it; with ``from_task`` it goes on there, as ``resume_workflow``
        does. The run that is forked does not notice. Work of the fork has effect keys of its own.

        Raises ``WorkflowNotFoundError``, ``InvalidInput`` for an unknown version or task, ``CommandRefused`` when at-most-once work was
        in work or in question there and would run again, ``DefinitionError``, ``WorkflowIdConflict`` for an id that is taken.
        """
        engine = await self._running()
        stream_id = (await self._row(engine, workflow_id, run_no)).stream_id
        state: RunState = await state_at(engine.store, WorkflowGuest(), stream_id, at_version)
        plan = state.laid_out if definition is None else self._workflows.plan_of(definition)
        given = await engine.pure(stream_id, lambda s: codec.decode(s.values.resolve(s.input)), state)
        fork_id = id_after(f"{workflow_id}-fork") if new_workflow_id is None else new_workflow_id
        check_new_id(fork_id)
        command = forked_run(
            plan,
            given if input is UNCHANGED else input,
            fork_id,
            fork_of(state, from_task),
            requested_by=f"fork of {stream_id}@{state.version}",
            now=self._clock.now_ns(),
            replan=self._replans.terms_of(plan.definition.name),
        )
        try:
            await engine.host.submit(stream_of(fork_id, 1), command)
        except CommandRefused as error:
            raise WorkflowIdConflict(
                f"workflow id {fork_id!r} is taken", hint="give the fork another new_workflow_id"
            ) from error
        return WorkflowHandle(self, fork_id, 1)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def wait(self, workflow_id: str, run_no: int | None = None) -> object:
        """Wait for the end of a run (by default the latest) and return its output. Raises ``WorkflowExecutionError``."""
        check_run(workflow_id, run_no)
        engine = await self._running()
        if run_no is None:
            run_no = (await self._row(engine, workflow_id)).run_no
        stream_id = stream_of(workflow_id, run_no)
        state: RunState = await engine.host.ended(stream_id)
        while state.outcome is WorkflowStatus.CONTINUED:
            stream_id = stream_of(workflow_id, state.run_no + 1)
            state = await engine.host.ended(stream_id)
        if state.outcome is not WorkflowStatus.COMPLETED:
            raise failure_of(state)
        return await engine.pure(stream_id, run_output, state)

    async def get_execution(
        self, workflow_id: str, run_no: int | None = None, *, at_version: int | None = None
    ) -> WorkflowExecution:
        """Return a run (by default the latest) as it stands, or as it stood after event ``at_version`` of its stream.

        Raises ``WorkflowNotFoundError``, ``InvalidInput`` for a version it has not.
        """
        engine = await self._running()
        await asyncio.sleep(0)  # who asks in a loop must not keep the engine from going on, whatever the store
        stream_id = (await self._row(engine, workflow_id, run_no)).stream_id
        if at_version is not None:
            past: RunState = await state_at(engine.store, WorkflowGuest(), stream_id, at_version)
            return await engine.pure(stream_id, lambda state: view_of(self, state, [], {}), past)
        missing = engine.missing(stream_id)
        progress = engine.dispatcher.progress(stream_id)
        return await engine.pure(stream_id, lambda state: view_of(self, state, missing, progress))

    async def parallelism(self) -> Parallelism:
        """Return how many attempts may be in work at once in this process, and how many are and wait."""
        return self._adapting.status((await self._running()).dispatcher)

    async def compact(self, policy: RetentionPolicy = KEEP_ALL) -> Compacted:
        """Archive and delete what ``policy`` lets go, give back what nobody needs; see ``Store.compact``. Goes on beside running work."""
        engine = await self._running()
        engine.host.actors.forget_ended()
        try:
            now = self._clock.now_ns()
            budgets, due = RunBudgets(engine.host, engine.store, engine.budgets), policy.deletes_before(now)
            await budgets.keep_for_parts(due)
            await budgets.close_ended(due)
            return await engine.store.compact(policy, now=now)
        finally:
            engine.host.actors.forget_ended()

    # --- steering: what `Steering` needs ------------------------------------------------------------------------------

    async def _look(self, workflow_id: str, read: Callable[[RunState], T]) -> T:
        engine = await self._running()
        return await engine.pure((await self._row(engine, workflow_id)).stream_id, read)

    async def _bury(self, workflow_id: str) -> None:
        if self._performs:
            return
        # Nobody performs, so whoever had attempts of this run in work is gone: record how they ended, as the next start would.
        engine = await self._running()
        row = await self._row(engine, workflow_id)
        state: RunState = await engine.host.read(row.stream_id)
        for command in WorkflowGuest().recover(state, self._clock.now_ns()).commands:
            await engine.host.submit(row.stream_id, command)

    async def _command(self, workflow_id: str, command: Command, command_id: str | None = None) -> Answer:
        engine = await self._running()
        times_between = 0
        while True:
            stream_id = (await self._row(engine, workflow_id)).stream_id
            try:
                return await engine.host.submit(stream_id, command, command_id)
            except CommandRefused as refusal:
                times_between += 1
                is_last = times_between == MOST_RUNS_BETWEEN
                if is_last or not self._performs or not await self._goes_on(engine, stream_id):
                    raise
                try:  # it came between two runs: the next one takes it
                    async with asyncio.timeout(BETWEEN_RUNS_SECONDS):
                        await engine.host.ended(stream_id)
                except TimeoutError:
                    raise refusal from None

    async def _goes_on(self, engine: Engine, stream_id: str) -> bool:
        """Whether the run takes nothing any more because the next one of its chain is about to begin, or has begun."""
        state: RunState = await engine.host.read(stream_id)
        return state.phase is Phase.CONTINUING or state.outcome is WorkflowStatus.CONTINUED


def _leave_to_the_next_owner(stream_id: str, effect: Effect) -> None:
    """The recorded request is the work order: whoever owns the store next finds it there."""
