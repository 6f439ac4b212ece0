"""Whether modifications fit a run that goes on: every mistake at once, before anything is recorded. Pure.

Only tasks that have not started may be touched: their record is not there yet, or they are ready and held back. The definition that comes
out has to be as sound as one that is started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.errors import CommandRefused, DefinitionError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.interventions.modification import Modification, applied, decode_modifications
from agenticflow.orchestration.interventions.moments import MAX_REASON_CHARS
from agenticflow.orchestration.plan import Plan, decode_plan, unknown_roots
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.state import RunState, TaskStatus
from agenticflow.orchestration.validation import meant, validate

__all__ = ["demand_version", "has_started", "modified", "modify", "problems_of"]


def modify(state: RunState, command: c.Modify) -> Sequence[Fact]:
    """Take modifications. Raises ``DefinitionError`` with every mistake, ``CommandRefused`` when whoever asks has seen something else."""
    demand_version(state, command.expected_version)
    if command.definition != state.laid_out.content_hash:
        raise CommandRefused(
            f"somebody has modified workflow {state.workflow_id!r} meanwhile",
            hint="look at it again, and modify what is there now",
        )
    modifications = decode_modifications(state.values.resolve(command.modifications))
    if problems := problems_of(state, modifications):
        raise DefinitionError(
            f"workflow {state.workflow_id!r} cannot be modified so: {'; '.join(problems)}", problems=problems
        )
    return [modified(state, command, modifications)]


def modified(
    state: RunState, command: c.Modify | Propose, modifications: Collection[Modification], number: int = 0
) -> f.WorkflowModified:
    """Return the fact that the run takes ``modifications``, as an answer to request ``number`` for another plan or unasked."""
    return f.WorkflowModified(
        msgspec.Raw(command.modifications),
        command.requested_by,
        command.reason[:MAX_REASON_CHARS],
        {
            one.task_id: state.generations.get(one.task_id, 0) + 1
            for one in modifications
            if one.task_id in state.laid_out.by_id
        },
        number,
    )


def demand_version(state: RunState, expected: int | None) -> None:
    """Raise ``CommandRefused`` when the run has gone on since whoever asks has looked."""
    if expected is not None and expected != state.version:
        raise CommandRefused(
            f"run {state.run_no} of workflow {state.workflow_id!r} is at version {state.version}, not at the expected {expected}",
            hint="look at it again, and modify what is there now",
        )


def has_started(state: RunState, task_id: str) -> bool:
    """Whether anything has become of the task, or it stands in for one that has failed."""
    record = state.tasks.get(task_id)
    if record is None:
        return False
    is_new = record.status is TaskStatus.READY and record.attempt == 0 and task_id not in state.answered
    return not is_new or record.node.is_alternative


def problems_of(state: RunState, modifications: Sequence[Modification], also: Collection[str] = ()) -> list[str]:
    """Return, in words, every reason why the run cannot go on with ``modifications``; ``also`` may be touched although it has started."""
    if state.planning is not None:
        return ["its function plans its tasks: change that, with ctx.patched or as a new version"]
    problems = [*_touching(state, modifications, also)]
    if problems:
        # What is wrong is put aside, so that the rest is still looked at.
        known = state.laid_out.by_id
        modifications = [
            one
            for one in modifications
            if (one.task_id in known) is (one.kind != "add")
            and (one.task_id in also or not has_started(state, one.task_id))
        ]
    definition = applied(state.laid_out.definition, modifications)
    found = validate(definition)
    if not found:
        found = _missing_input(state, definition)
    if not found:
        found = [*_fallbacks(state, modifications, decode_plan(definition.encoded()))]
    return problems + found


def _touching(state: RunState, modifications: Sequence[Modification], also: Collection[str]) -> Iterator[str]:
    known = state.laid_out.by_id
    for task_id, times in Counter(one.task_id for one in modifications).items():
        if times > 1:
            yield f"{times} modifications touch task {task_id!r}; make one of them"
    for one in modifications:
        task_id = one.task_id
        if one.kind == "add":
            if task_id in known:
                yield f"there is a task {task_id!r} already; replace it, or give the other another id"
        elif task_id not in known:
            yield f"there is no task {task_id!r}{meant(task_id, known)}"
        elif task_id not in also and has_started(state, task_id):
            status = state.tasks[task_id].status
            yield f"task {task_id!r} has started, it is {status}, and stays as it is"


def _missing_input(state: RunState, definition: WorkflowDefinition) -> list[str]:
    given = codec.decode(state.values.resolve(state.input))
    return unknown_roots(decode_plan(definition.encoded()), given)


def _fallbacks(state: RunState, modifications: Sequence[Modification], plan: Plan) -> Iterator[str]:
    """What stands in for another starts when that fails, and only then; it cannot become so, or cease to be so, in the middle."""
    touched = {one.task_id for one in modifications}
    for one in modifications:
        name = one.task.fallback if one.task is not None else None
        if name is not None and name not in touched and name in state.tasks:
            yield f"task {one.task_id!r} falls back to {name!r}, which has its own turn already"
    before = state.laid_out
    for index, primary in before.alternatives.items():
        name = before.nodes[index].task.task_id
        is_left = name in plan.by_id and plan.by_id[name] not in plan.alternatives
        if is_left and name not in touched and name not in state.tasks:
            yield (
                f"task {name!r} is the fallback of {before.nodes[primary].task.task_id!r} and would start at once without it; "
                "remove or replace it too"
            )
