"""A decomposition as a workflow: assigned, ordered, checked, and made as wide as it may be. Pure, and the same for the same input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from agenticflow.agents.capabilities import CapabilityRegistry
from agenticflow.agents.decomposition.decomposition import Bounds, Decomposition, PlannedTask
from agenticflow.agents.decomposition.notes import Notes
from agenticflow.agents.decomposition.plans.doers import Doer
from agenticflow.agents.decomposition.plans.matching import Assigned, assign
from agenticflow.agents.decomposition.plans.ordering import (
    Waits,
    cycle_problems,
    follows_anyway,
    levels_of,
    ordered,
)
from agenticflow.agents.decomposition.plans.parameters import References, parameters_for
from agenticflow.core.engine import EffectClass
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.validation import validate

__all__ = ["Plan", "Planned", "lay_out"]


class Plan(msgspec.Struct, frozen=True):
    """A workflow that can run, with what it was made of."""

    definition: WorkflowDefinition
    decomposition: Decomposition
    depth: int
    """How many levels of tasks follow each other."""
    width: int
    """How many tasks stand in the widest of them."""
    left_out: tuple[str, ...] = ()
    """Dependencies that follow from others, ``"load -> report"``."""


class Planned(msgspec.Struct, frozen=True):
    """What came of a decomposition: a plan and what was mended of it, or problems in words."""

    plan: Plan | None = None
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def lay_out(
    decomposition: Decomposition,
    doers: Sequence[Doer] | None,
    *,
    name: str = "plan",
    bounds: Bounds | None = None,
    done: Collection[str] = (),
    context_keys: Collection[str] | None = None,
    at_most_once: Collection[str] = (),
    happened: Sequence[TaskDefinition] = (),
    vocabulary: CapabilityRegistry | None = None,
) -> Planned:
    """Make a workflow of ``decomposition``, whose ids differ and exist (``read_answer`` sees to that).

    Without ``doers`` nobody is named, and the engine finds whoever has the capabilities when a task is ready. The input of the
    workflow is ``query``, what came with it, whose names are ``context_keys`` when that is known, and the results of ``done``, tasks of an
    earlier plan. ``at_most_once`` are the types of tasks that must not happen twice, and ``happened`` those of them
    that earlier plans have done.
    """
    limits = bounds or Bounds()
    notes = Notes()
    tasks = decomposition.tasks
    waits = {
        one: [other for other in others if other not in done]
        for one, others in ordered(decomposition.strategy, tasks).items()
    }
    references = References(decomposition.ids, done, context_keys, waits, notes)
    mended = [msgspec.structs.replace(task, parameters=references.mended(task.parameters, task.id)) for task in tasks]
    notes.problems += cycle_problems(waits)
    notes.problems += [
        f"task {one!r} is called like what came with the request"
        for one in decomposition.ids
        if one in (context_keys or ())
    ]
    if doers is None:
        made = [made for task in mended for made in _unassigned(task, limits, notes)]
        implied: dict[str, set[str]] = {}
    else:
        assigned = assign(mended, doers, notes, vocabulary)
        given = {
            one.task.id: parameters_for(
                one,
                decomposition.strategy,
                waits[one.task.id],
                {*done, *(context_keys or ())},
                notes,
                is_alone=len(tasks) == 1 and not done,
            )
            for one in assigned
        }
        made = [
            _assigned(one, given[one.task.id], limits, is_once=one.handler_type in at_most_once) for one in assigned
        ]
        notes.problems += [problem for task in made for problem in _repeated(task, happened)]
        implied = {} if notes.problems else _implied(assigned, given, waits)
    if notes.problems:
        return Planned(None, tuple(notes.repairs), tuple(notes.problems))
    plan = _widest(made, waits, implied, decomposition, name, limits)
    if problems := validate(plan.definition):
        return Planned(None, tuple(notes.repairs), tuple(problems))
    return Planned(plan, tuple(notes.repairs))


def _unassigned(task: PlannedTask, bounds: Bounds, notes: Notes) -> list[TaskDefinition]:
    if not task.capabilities:
        notes.problems.append(f"task {task.id!r} says no capabilities, and nothing is known of who there is")
        return []
    return [
        TaskDefinition(
            task.id,
            "",
            task.type,
            task.parameters,
            retry_policy=task.retry_policy,
            timeout_seconds=bounds.task_timeout_seconds,
            capabilities=task.capabilities,
        )
    ]


def _assigned(one: Assigned, parameters: Mapping[str, object], bounds: Bounds, *, is_once: bool) -> TaskDefinition:
    """What must not happen twice is neither tried again nor given to another agent."""
    may_move = bool(one.task.capabilities) and not is_once
    return TaskDefinition(
        one.task.id,
        one.doer.agent_id,
        one.handler_type,
        parameters,
        retry_policy=None if is_once else one.task.retry_policy,
        timeout_seconds=bounds.task_timeout_seconds,
        effect=EffectClass.AT_MOST_ONCE if is_once else EffectClass.IDEMPOTENT,
        capabilities=one.task.capabilities,
        on_failure="reassign" if may_move else "fail",
    )


def _repeated(task: TaskDefinition, happened: Sequence[TaskDefinition]) -> list[str]:
    if task.effect is not EffectClass.AT_MOST_ONCE:
        return []
    return [
        f"task {task.task_id!r} would do again what {one.task_id!r} has done, and that must not happen twice"
        for one in happened
        if (one.agent_id, one.task_type, one.params) == (task.agent_id, task.task_type, task.params)
    ]


def _implied(
    assigned: Sequence[Assigned], given: Mapping[str, Mapping[str, object]], waits: Waits
) -> dict[str, set[str]]:
    """Return the dependencies that can be left out: they follow from others, and no handler reads their results by itself."""
    implied = follows_anyway(waits)
    for one in assigned:
        handler = one.doer.handlers[one.handler_type]
        # A handler that has the context may read any direct dependency of its task.
        read = handler.parameter_names - given[one.task.id].keys()
        implied[one.task.id] = set() if handler.takes_context else implied[one.task.id] - read
    return implied


def _widest(
    made: Sequence[TaskDefinition],
    waits: Waits,
    implied: Mapping[str, set[str]],
    decomposition: Decomposition,
    name: str,
    bounds: Bounds,
) -> Plan:
    """Return the plan with as few dependencies as say the same; where not all of a level fit in, what much waits for goes first."""
    levels = levels_of(waits)
    width = max(map(len, levels))
    is_crowded = width > bounds.max_parallel
    heights = _heights(levels, waits) if is_crowded else {}
    tasks = [
        msgspec.structs.replace(
            task,
            dependencies=tuple(one for one in waits[task.task_id] if one not in implied.get(task.task_id, ())),
            priority=heights.get(task.task_id, 0),
        )
        for task in made
    ]
    definition = WorkflowDefinition(
        tasks,
        type="supervised",
        strategy=decomposition.strategy.value,
        name=name,
        max_parallel=bounds.max_parallel if is_crowded else None,
    )
    left_out = tuple(f"{other} -> {task}" for task in waits for other in waits[task] if other in implied.get(task, ()))
    return Plan(definition, decomposition, len(levels), width, left_out)


def _heights(levels: Sequence[Sequence[str]], waits: Waits) -> dict[str, int]:
    """Return of each task how many levels hang on it."""
    heights: dict[str, int] = {}
    for level in reversed(levels):
        for task in level:
            heights.setdefault(task, 0)
            for other in waits[task]:
                heights[other] = max(heights.get(other, 0), heights[task] + 1)
    return heights
