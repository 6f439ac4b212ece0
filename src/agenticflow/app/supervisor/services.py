"""What a supervised request needs done, each a step: analyse, ask a model, make a plan, look at one that has failed, close the budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from agenticflow.agents.decomposition.analysis import Complexity, QueryAnalysis, Words, analyse
from agenticflow.agents.decomposition.answers import read_answer
from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.decomposition.decomposition import Bounds
from agenticflow.agents.decomposition.plans import Doer, lay_out, single_task
from agenticflow.agents.decomposition.templates import WorkflowTemplateRegistry
from agenticflow.agents.workers import Worker, worker
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.supervisor.records import Way, record_of, rejected
from agenticflow.app.supervisor.spending import check_paid, close_budget, paying
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, PermanentError
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.state import WorkflowStatus

__all__ = ["Supervising", "services_of"]


class Supervising(Protocol):
    """What the steps need of the supervisor that they belong to."""

    orchestrator: Orchestrator
    decomposer: TaskDecomposer | None
    templates: WorkflowTemplateRegistry
    bounds: Bounds
    words: Words
    at_most_once: Collection[str]

    @property
    def marked_name(self) -> str:
        """Its id with the version, which its steps bear."""

    @property
    def plan_name(self) -> str:
        """The name of the workflows that it plans."""

    def doers(self) -> list[Doer]:
        """Return who there is now."""


def services_of(supervisor: Supervising) -> list[Worker[..., Any]]:
    """Return the workers ``<id>@<version>.analyse``, ``.ask``, ``.plan``, ``.look`` and ``.close``."""

    @worker(f"{supervisor.marked_name}.analyse")
    async def analyse_query(query: str, params: dict[str, Any]) -> dict[str, Any]:
        return _analysed(supervisor, query, params["context"])

    @worker(f"{supervisor.marked_name}.ask")
    async def ask(query: str, context: TaskContext, params: dict[str, Any]) -> dict[str, Any]:
        return await _asked(supervisor, query, context, params)

    @worker(f"{supervisor.marked_name}.plan")
    async def plan(query: str, number: int, way: str, params: dict[str, Any]) -> dict[str, Any]:
        return _planned(supervisor, number, Way(way), params)

    @worker(f"{supervisor.marked_name}.look")
    async def look(run_key: str, problem: str, context: TaskContext, params: dict[str, Any]) -> dict[str, Any]:
        return await _looked_at(supervisor, run_key, problem, context)

    @worker(f"{supervisor.marked_name}.close")
    async def close(context: TaskContext, params: dict[str, Any]) -> dict[str, Any] | None:
        return await close_budget(supervisor.orchestrator.budgets, context)

    return [analyse_query, ask, plan, look, close]


def _analysed(supervisor: Supervising, query: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the analysis, and which way to a plan follows from it."""
    doers = supervisor.doers()
    known = {name for doer in doers for name in doer.capabilities}
    analysis = analyse(query, known, words=supervisor.words, context_keys=sorted(context))
    template = supervisor.templates.find_matching_template(analysis)
    if template is not None:
        way, reason = Way.TEMPLATE, "; ".join(analysis.reasons) or "the request is simple"
    elif analysis.complexity is Complexity.COMPLEX:
        way, reason = Way.MODEL, "; ".join(analysis.reasons)
    elif single_task(analysis, doers) is not None:
        way, reason = Way.SINGLE, "the request is simple"
    else:
        way, reason = Way.MODEL, "it names nothing that an agent can do"
    plain: dict[str, Any] = msgspec.to_builtins(analysis)
    del plain["query"]  # every step has it
    return {**plain, "way": way.value, "template": None if template is None else template.name, "reason": reason}


async def _asked(
    supervisor: Supervising, query: str, context: TaskContext, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the model says, and why it is no answer to this request, if so."""
    decomposer = supervisor.decomposer
    if decomposer is None:
        raise DefinitionError(
            "this request was begun with a decomposer, and its supervisor has none now",
            hint="make the SupervisorAgent with decomposer=TaskDecomposer(…) again",
        )
    decomposer = await paying(decomposer, supervisor.orchestrator.budgets, context)
    answer = await decomposer.ask(
        query,
        params["context"],
        supervisor.doers(),
        problems=params["problems"],
        answered=params["answered"],
        done=params["done"],
        failed=params["failed"],
    )
    told = (params["context"], params["done"], params["failed"])
    return {"answer": answer, "foreign": decomposer.foreign(answer, query, *told)}


def _planned(supervisor: Supervising, number: int, way: Way, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as it is recorded."""
    doers = supervisor.doers()
    repairs: tuple[str, ...] = ()
    why: str = params["why"]
    if way in (Way.SINGLE, Way.TEMPLATE):
        given = params["analysis"]
        known = {name: given[name] for name in given if name in QueryAnalysis.__struct_fields__}
        analysis = msgspec.convert({**known, "query": params["query"]}, QueryAnalysis)
        template = supervisor.templates.get(given["template"] or "")
        made = single_task(analysis, doers) if template is None else template.customised(analysis)
        problems: Sequence[str] = () if made is not None else ("its words do not say who could do it",)
    elif foreign := params.get("foreign"):
        made, problems = None, (foreign,)
    else:
        reading = read_answer(
            params["answer"], bounds=supervisor.bounds, done=params["done"], context_keys=params["context_keys"]
        )
        made, repairs, problems = reading.decomposition, reading.repairs, reading.problems
        why = "; ".join(part for part in (why, "a person has changed it" if way is Way.PERSON else "") if part)
    if made is None:
        record = rejected(number, way, why, repairs, tuple(problems))
    else:
        laid_out = lay_out(
            made,
            doers,
            name=supervisor.plan_name,
            bounds=supervisor.bounds,
            done=params["done"],
            context_keys=params["context_keys"],
            at_most_once=supervisor.at_most_once,
            happened=msgspec.convert(params["happened"], list[TaskDefinition]),
            vocabulary=supervisor.orchestrator.agents.capabilities,
        )
        record = record_of(number, way, made, laid_out, repairs, why)
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


async def _looked_at(supervisor: Supervising, run_key: str, problem: str, context: TaskContext) -> dict[str, Any]:
    """Return what came of a plan that has failed. Raises ``PermanentError`` when somebody has ended it."""
    execution = await supervisor.orchestrator.get_execution(context.workflow_id)
    found = await supervisor.orchestrator.get_execution(execution.children[run_key])
    results = found.task_results
    # What ends a request fails here, and is looked at anew when it is resumed.
    if found.status is WorkflowStatus.CANCELLED:
        raise PermanentError(f"somebody has ended the plan, and wants no other: {problem}")
    check_paid(await supervisor.orchestrator.budgets.lineage_of(context.workflow_id), results, context)
    happened = [
        msgspec.to_builtins(task)
        for task in found.definition.tasks
        if task.effect is EffectClass.AT_MOST_ONCE and task.task_id in results and results[task.task_id].is_success()
    ]
    return {
        "happened": happened,
        "results": {name: result.value for name, result in results.items() if result.is_success()},
        "failed": {name: str(result.error) for name, result in results.items() if not result.is_success()}
        or {run_key: problem},
    }
