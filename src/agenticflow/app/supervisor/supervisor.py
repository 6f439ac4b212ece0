"""``SupervisorAgent``: what answers requests by planning a workflow for each, as a workflow as code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import CodeType
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.analysis import Words, analyse
from agenticflow.agents.decomposition.answers.reading import RESERVED_IDS
from agenticflow.agents.decomposition.decomposer import TaskDecomposer, check_query
from agenticflow.agents.decomposition.decomposition import Bounds
from agenticflow.agents.decomposition.plans import Doer
from agenticflow.agents.decomposition.plans.doers import ANY_TASK
from agenticflow.agents.decomposition.templates import WorkflowTemplateRegistry
from agenticflow.agents.model.client import LLMClient
from agenticflow.app.execution import WorkflowExecution, WorkflowHandle
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.supervisor.given import check_budget, check_kinds, check_parts, check_terms
from agenticflow.app.supervisor.records import PlanRecord, SupervisorResult, Terms
from agenticflow.app.supervisor.runs import Supervision
from agenticflow.app.supervisor.services import services_of
from agenticflow.core.binding import Handler
from agenticflow.errors import CommandRefused, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.orchestration.comparison import Difference
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.orchestration.planning.context import WorkflowContext
from agenticflow.orchestration.planning.declaring import hash_of_source
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.resilience.budgets import Budget

__all__ = ["SupervisorAgent"]

_OF_THE_WHOLE: Final = frozenset({"pause", "resume", "abort"})


class SupervisorAgent:
    """``SupervisorAgent("supervisor", orchestrator, decomposer=TaskDecomposer(client))``.

    ``await supervisor.handle_user_query("…")`` plans a workflow for the request and runs it with the agents of the orchestrator: by a
    template that fits, for one agent when the request is simple, else as the model takes it apart. What a model says is read, mended or
    given back, checked, and only then run. When a task of the plan has failed for good, what is left is planned again.

    It is a workflow as code, named like the supervisor: after a crash it goes on, and nobody is asked again who has answered.
    """

    def __init__(
        self,
        supervisor_id: str,
        orchestrator: Orchestrator,
        *,
        decomposer: TaskDecomposer | LLMClient | None = None,
        templates: WorkflowTemplateRegistry | None = None,
        agents: Collection[str] | None = None,
        words: Words | None = None,
        approval: Approval | str | None = None,
        at_most_once: Collection[str] = (),
        budget: Budget | str | None = None,
        bounds: Bounds | None = None,
        max_replans: int = 2,
        answer_timeout_seconds: float = 300.0,
        timeout_seconds: float | None = None,
        version: str = "1",
    ) -> None:
        """``agents`` are the ids of those that may work for it, by default all; ``words`` other words for a capability, by which requests
        are looked at. ``approval`` has people approve every plan before anything of it runs; ``at_most_once`` are types of tasks that must
        not happen twice. A request is planned again at most ``max_replans`` times; the model has ``answer_timeout_seconds`` for each
        answer, the whole ``timeout_seconds``. ``budget`` is what a request may cost, with the calls of all agents that work for it: a
        budget for each request, or the id of one that is open.

        Raises ``DefinitionError`` for an id that is none or taken and for words that are none, ``InvalidInput`` for the rest.
        """
        check_parts(supervisor_id, orchestrator, version)
        check_kinds(templates=templates, words=words, approval=approval, bounds=bounds)
        check_terms(max_replans, answer_timeout_seconds)
        check_budget(budget)
        self.supervisor_id = supervisor_id
        self.orchestrator = orchestrator
        self.decomposer = _decomposer(decomposer, bounds)
        self.templates = WorkflowTemplateRegistry() if templates is None else templates
        self.words: Words = words or {}
        analyse("", list(self.words), words=self.words)  # so that wrong words are told now
        self.bounds = self.decomposer.bounds if self.decomposer is not None else bounds or Bounds()
        self.at_most_once: Collection[str] = _names("at_most_once", at_most_once)
        self._agents = None if agents is None else _names("agents", agents)
        self._terms = Terms(
            1 if self.decomposer is None else self.decomposer.max_answers,
            max_replans,
            answer_timeout_seconds,
            Approval(approval) if isinstance(approval, str) else approval,
            self.decomposer is not None,
            isinstance(budget, Budget),
        )
        self.workflow = WorkflowFunction(
            _Supervised(self),
            WorkflowDefinition(
                (),
                name=supervisor_id,
                version=version,
                timeout_seconds=timeout_seconds,
                budget=budget,
                code=hash_of_source(Supervision.run),
            ),
        )
        """What its runs are: start it by name, put it on a schedule, or use it as a child of another workflow."""
        self.services = services_of(self)
        """The workers that do its steps."""
        for service in self.services:
            orchestrator.register_worker(service)
        orchestrator.register_workflow(self.workflow)

    # --- requests -------------------------------------------------------------------------------------------------------

    async def handle_user_query(
        self,
        query: str,
        user_context: Mapping[str, Any] | None = None,
        *,
        workflow_id: str | None = None,
        budget: Budget | str | None = None,
    ) -> SupervisorResult:
        """Answer a request. Arguments and errors as for ``start``; waits as long as people take who have to approve.

        Raises ``WorkflowExecutionError`` when there is no plan, nobody approves it, or the last one has failed.
        """
        handle = await self.start(query, user_context, workflow_id=workflow_id, budget=budget)
        result = await handle.result()
        return msgspec.convert({**_mapping(result), "workflow_id": handle.workflow_id}, SupervisorResult)

    async def start(
        self,
        query: str,
        user_context: Mapping[str, Any] | None = None,
        *,
        workflow_id: str | None = None,
        budget: Budget | str | None = None,
    ) -> WorkflowHandle:
        """Begin with a request and return once that is durable. The same ``workflow_id`` twice, with the same request, is one run.

        ``user_context`` is plain data with names for keys. It is the input of the plans: tasks refer to it by ``${context.name}``, and
        handlers take it by name. It and the query are data for whoever plans, never instructions. ``budget`` is what this request may cost,
        instead of what the supervisor says.

        Raises:
            InvalidInput: the query is no text or too long, the data no mapping of names, or there is no such budget.
            NotSerializable: the data have no form on the wire.
            WorkflowIdConflict: the id belongs to another request.
        """
        check_budget(budget)
        given = self.input_of(query, user_context)
        if budget is not None:
            given["terms"]["has_budget"] = isinstance(budget, Budget)
        return await self.orchestrator.start_workflow(self.workflow, given, workflow_id=workflow_id, budget=budget)

    def input_of(self, query: str, user_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the input of a run for this request, for whoever starts ``workflow`` otherwise. Raises ``InvalidInput``."""
        check_query(query)
        context = {} if user_context is None else user_context
        if not isinstance(context, Mapping) or not all(isinstance(name, str) for name in context):
            raise InvalidInput(
                f"the context of a query is {context!r:.60}, not values by name", hint='give {"customer": "c-17"}'
            )
        if taken := sorted(RESERVED_IDS & context.keys()):
            raise InvalidInput(
                f"the context of a query has the key {taken[0]!r}, which means something else in a workflow",
                hint="give it another name",
            )
        return {"query": query, "context": dict(context), "terms": msgspec.to_builtins(self._terms)}

    async def plans(self, workflow_id: str) -> list[PlanRecord]:
        """Return every plan that was made for a request, also those that were rejected, each with its reason.

        Raises ``WorkflowNotFoundError``.
        """
        execution = await self._supervised(workflow_id)
        keys = [key for key in execution.task_results if key.startswith("plan-")]
        found = [execution.task_results[key] for key in sorted(keys, key=lambda key: int(key.removeprefix("plan-")))]
        return [msgspec.convert(result.value, PlanRecord) for result in found if result.is_success()]

    async def plan_id(self, workflow_id: str) -> str | None:
        """Return the workflow id of the plan that runs or ran last for a request; ``None`` before there is one.

        Raises ``WorkflowNotFoundError``.
        """
        children = (await self._supervised(workflow_id)).children
        return children[max(children, key=lambda key: int(key.removeprefix("run-")))] if children else None

    async def handle_intervention(self, workflow_id: str, intervention: UserIntervention) -> Sequence[Difference]:
        """Have a person step in: what concerns the whole (pause, resume, abort) and the steps of the supervisor, ``approve-1`` say, is done
        here, everything else in the plan that runs. Returns what a ``modify`` changes.

        Raises what ``orchestrator.intervene`` does, and ``CommandRefused`` when it is for the plan and there is none yet.
        """
        if not isinstance(intervention, UserIntervention):
            raise InvalidInput(
                f"handle_intervention got a {type(intervention).__name__}",
                hint='give it a UserIntervention("skip", "ada", task_key="report")',
            )
        checked = intervention.checked()
        execution = await self._supervised(workflow_id)
        if checked.type in _OF_THE_WHOLE or (checked.task_key or "") in execution.tasks:
            return await self.orchestrator.intervene(workflow_id, checked)
        plan = await self.plan_id(workflow_id)
        if plan is None:
            raise CommandRefused(
                f"request {workflow_id!r} has no plan that runs yet, and {checked.type!r} is for its tasks",
                hint=f"it waits for this: {'; '.join(execution.waits_for) or 'its plan is being made'}",
            )
        return await self.orchestrator.intervene(plan, checked)

    # --- what its steps use -----------------------------------------------------------------------------------------------

    @property
    def marked_name(self) -> str:
        """Its id with the version, which its steps bear: supervisors of several versions work side by side on one orchestrator."""
        return f"{self.supervisor_id}@{self.workflow.version}"

    @property
    def plan_name(self) -> str:
        """The name of the workflows that it plans."""
        return f"{self.supervisor_id}.plan"

    def doers(self) -> list[Doer]:
        """Return the agents that may work for it, as they stand now, with what they have handlers for."""
        registry = self.orchestrator.agents
        found: list[Doer] = []
        for candidate in registry.candidates({}):
            if self._agents is not None and candidate.agent_id not in self._agents:
                continue
            agent = registry.get(candidate.agent_id)
            handlers: dict[str, Handler] = {}
            for task_type in sorted({*agent.task_types, ANY_TASK}):
                handler = agent.handler_for(task_type)
                if handler is not None and "@" not in task_type:  # those are the seats of crews
                    handlers[task_type] = handler
            if handlers:
                found.append(Doer(candidate, handlers, agent.role))
        return found

    async def _supervised(self, workflow_id: str) -> WorkflowExecution:
        execution = await self.orchestrator.get_execution(workflow_id)
        if execution.definition.name != self.supervisor_id:
            raise WorkflowNotFoundError(
                f"workflow {workflow_id!r} is a {execution.definition.name!r}, and no request of {self.supervisor_id!r}",
                hint="give the id that start() or handle_user_query() was given, or returned",
            )
        return execution

    def __repr__(self) -> str:
        return f"SupervisorAgent({self.supervisor_id!r})"


class _Supervised:
    """The function of the workflow. Its code is that of ``Supervision.run``: errors are told with the line there."""

    __slots__ = ("__code__", "_supervisor")

    def __init__(self, supervisor: SupervisorAgent) -> None:
        self._supervisor = supervisor
        self.__code__: CodeType = Supervision.run.__code__

    async def __call__(self, ctx: WorkflowContext, given: object) -> Any:
        return await Supervision(self._supervisor.marked_name, ctx, _checked(given)).run()


def _names(what: str, given: object) -> frozenset[str]:
    if isinstance(given, (str, Mapping)) or not isinstance(given, Collection):
        raise InvalidInput(f"{what} is {given!r:.60}, not names", hint=f"write {what}=[{given!r:.60}]")
    if wrong := [one for one in given if not isinstance(one, str)]:
        raise InvalidInput(f"{what} has {wrong[0]!r:.60} in it, which is no name", hint="give texts")
    return frozenset(given)


def _checked(given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not {"query", "context", "terms"} <= given.keys():
        raise InvalidInput(
            f"{given!r:.60} is no request of a supervisor",
            hint="start it by supervisor.start(query, context), or with supervisor.input_of(query, context)",
        )
    return given


def _mapping(result: object) -> Mapping[str, Any]:
    assert isinstance(result, Mapping)  # it is what Supervision.run returns
    return result


def _decomposer(given: TaskDecomposer | LLMClient | None, bounds: Bounds | None) -> TaskDecomposer | None:
    if given is None or isinstance(given, TaskDecomposer):
        if given is not None and bounds is not None:
            raise InvalidInput("bounds were given beside a decomposer", hint="the decomposer has its bounds")
        return given
    return TaskDecomposer(given, bounds=bounds)
