"""One supervised request, as a workflow as code knows it: thrown away at any time, and built again from the record.

What a model said, what was made of it, what a person answered and what a plan came to are results of steps, so nobody is asked twice.
Nothing here looks at the world: that is done in steps, and what they found is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.prompts import shortened
from agenticflow.app.supervisor.records import MAX_NOTE_CHARS, PlanRecord, Terms, Verdict, Way, definition_in, terms_in
from agenticflow.core import codec
from agenticflow.errors import PermanentError, StepFailed
from agenticflow.orchestration.planning.context import WorkflowContext

__all__ = ["Supervision"]

MAX_EDITS: Final = 3
"""How often a person may change a plan so that it cannot be carried out."""
MAX_EDITABLE_BYTES: Final = 12 * 1024
"""Of a plan that whoever approves may change; a larger one is only shown."""
_SHOWN_TASKS: Final = 50


class Supervision:
    """One request."""

    def __init__(self, service: str, ctx: WorkflowContext, given: Mapping[str, Any]) -> None:
        """``service`` is what the names of the workers begin with that do its steps."""
        self._service = service
        self._ctx = ctx
        self._query: str = given["query"]
        self._context: Mapping[str, Any] = given["context"]
        self._terms: Terms = terms_in(given)
        self._asked = 0
        self._approvals = 0
        self._done: dict[str, Any] = {}
        """Results of tasks of plans that have failed."""
        self._happened: list[Any] = []
        """Tasks of them that must not happen twice, and have."""
        self._failed: dict[str, str] = {}
        self._why = ""
        """Why there is a plan at all, until one has failed."""

    async def run(self) -> dict[str, Any]:
        """Plan, run, and plan again until a plan comes to its end."""
        analysis = await self._do("analyse", "analyse", context=dict(self._context))
        _demand("analyse", analysis, "reason", "way", "complexity")
        self._why = str(analysis["reason"])
        number = 0
        while True:
            number += 1
            plan = await self._plan(number, analysis)
            if self._terms.approval is not None:
                plan = await self._approved(plan, self._terms.approval)
            if self._ctx.is_kept(f"look-{number}"):
                # The run before has given it up: tried again, it would do what is part of the plan that came after.
                await self._look(number)
                continue
            child = self._ctx.child(
                f"run-{number}",
                definition_in(plan),
                {**self._context, "query": self._query, **self._done},
            )
            try:
                output = await child
            except StepFailed as failure:
                if failure.reason == "cancelled" or number > self._terms.max_replans or not self._terms.has_model:
                    raise
                await self._look(number, failure.message)
                continue
            spent = {"spent": await self._do("close", "close")} if self._terms.has_budget else {}
            return {
                "output": next(iter(output.values())) if len(output) == 1 else output,
                "complexity": analysis["complexity"],
                "strategy": definition_in(plan).strategy,
                "plans": number,
                **spent,
            }

    async def _look(self, number: int, problem: str = "") -> None:
        """Find out what there is of a plan that has failed for that ``problem``. Raises ``StepFailed`` when there is to be no other."""
        found = await self._do(f"look-{number}", "look", run_key=f"run-{number}", problem=problem)
        _demand(f"look-{number}", found, "results", "happened", "failed")
        self._done |= found["results"]
        self._happened += found["happened"]
        self._failed = found["failed"]

    # --- planning -------------------------------------------------------------------------------------------------------

    async def _plan(self, number: int, analysis: Mapping[str, Any]) -> PlanRecord:
        """Return a plan that can be run. Raises ``PermanentError`` with what is wrong with the last one."""
        problems: tuple[str, ...] = ()
        answered: Any = None
        if number == 1 and analysis["way"] != Way.MODEL:
            plan = await self._laid_out(number, Way(analysis["way"]), analysis=analysis)
            if plan.verdict is not Verdict.REJECTED:
                return plan
            problems = plan.problems
        for _ in range(self._terms.max_answers if self._terms.has_model else 0):
            key = f"ask-{self._asked + 1}"
            answer = await self._do(
                key,
                "ask",
                timeout_seconds=self._terms.answer_timeout_seconds,
                context=dict(self._context),
                problems=list(problems) if answered is not None else [],
                answered=answered,
                done={name: shortened(value) for name, value in self._done.items()},
                failed=dict(self._failed),
            )
            _demand(key, answer)
            answered = answer.get("answer", answer)  # a person gives the plan itself
            plan = await self._laid_out(number, Way.MODEL, answer=answered, foreign=answer.get("foreign", ""))
            if plan.verdict is not Verdict.REJECTED:
                return plan
            problems = plan.problems
        raise PermanentError(
            f"there is no plan for this request: {'; '.join(problems) or analysis['reason']}",
            hint="say in the request what is to be done, register agents that can do it, or give the supervisor a decomposer",
        )

    async def _laid_out(self, number: int, way: Way, **given: Any) -> PlanRecord:
        self._asked += 1
        why = "; ".join(f"task {name!r} has failed: {words}" for name, words in self._failed.items()) or self._why
        key = f"plan-{self._asked}"
        record = await self._do(
            key,
            "plan",
            number=number,
            way=way.value,
            why=why[:MAX_NOTE_CHARS],
            context_keys=sorted(self._context),
            done=sorted(self._done),
            happened=self._happened,
            **given,
        )
        try:
            return msgspec.convert(record, PlanRecord)
        except msgspec.ValidationError as error:
            raise _useless(key, record) from error

    async def _approved(self, plan: PlanRecord, terms: Any) -> PlanRecord:
        """Return the plan as people want it. Raises ``StepFailed`` when they do not."""
        problem = ""
        for _ in range(MAX_EDITS):
            self._approvals += 1
            editable = plan.decomposition if len(codec.encode(plan.decomposition)) <= MAX_EDITABLE_BYTES else None
            question = "\n".join(part for part in (terms.question, problem, in_words(plan)) if part)
            key = f"approve-{self._approvals}"
            asks = msgspec.structs.replace(terms, question=question, arguments=editable)
            answer = await self._ctx.approval(key, asks)
            _demand(key, answer)
            edited = answer.get("value")
            if edited is None or edited == editable:
                return plan
            changed = await self._laid_out(plan.number, Way.PERSON, answer=edited)
            if changed.verdict is not Verdict.REJECTED:
                return changed
            problem = f"The changed plan cannot be carried out: {'; '.join(changed.problems)}"
        raise PermanentError(
            f"the plan was changed {MAX_EDITS} times so that it cannot be carried out: {problem}",
            hint="approve it as it is, or reject it",
        )

    async def _do(self, key: str, service: str, *, timeout_seconds: float = 60.0, **params: Any) -> Any:
        return await self._ctx.task(
            key, f"{self._service}.{service}", {"query": self._query, **params}, timeout_seconds=timeout_seconds
        )


def _demand(key: str, result: object, *names: str) -> None:
    """Raise ``PermanentError`` when a person has given a step a result, or none, with which the request cannot go on."""
    if not isinstance(result, Mapping) or not result.keys() >= set(names):
        raise _useless(key, result)


def _useless(key: str, result: object) -> PermanentError:
    is_skipped = result is None
    return PermanentError(
        f"step {key!r} {'was skipped' if is_skipped else f'was given the result {result!r:.60}'}, and the request cannot go on with that",
        hint="resume it: that step is done again"
        if is_skipped
        else "resume it from the step before, which does this one again",
    )


def in_words(plan: PlanRecord) -> str:
    """Return the plan as people read it: its reason, and a line for each task."""
    tasks = definition_in(plan).tasks
    lines = [plan.reason]
    for task in tasks[:_SHOWN_TASKS]:
        after = f", after {', '.join(task.dependencies)}" if task.dependencies else ""
        lines.append(f"- {task.task_id}: {task.agent_id}.{task.task_type}{after}")
    if len(tasks) > _SHOWN_TASKS:
        lines.append(f"- and {len(tasks) - _SHOWN_TASKS} more")
    return "\n".join(line for line in lines if line)
