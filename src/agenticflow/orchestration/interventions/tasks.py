"""What a person decides about one task: go on without it, try it now, or take this as its result.

Each is possible while nobody works on the task and its end can still matter; else the refusal says what is possible instead. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.endings import primary_of
from agenticflow.orchestration.interventions.moments import MAX_REASON_CHARS
from agenticflow.orchestration.interventions.taking import failed_parts, open_stand_in
from agenticflow.orchestration.plan import Node
from agenticflow.orchestration.state import IN_FLIGHT, RunState, TaskRecord, TaskStatus

__all__ = ["retry_task", "set_result", "skip_task"]

_NEVER_RAN: Final = frozenset({TaskStatus.SKIPPED, TaskStatus.CANCELLED})


def skip_task(state: RunState, command: c.SkipTask) -> Sequence[Fact]:
    """Go on as if the condition of the task did not hold. Raises ``CommandRefused``, ``InvalidInput`` for an unknown task."""
    node, record = _sought(state, command.task_key)
    _demand_idle(state, command.task_key, record)
    if record is not None:
        key = record.key
        if record.index is not None:
            raise _refused(
                state,
                key,
                f"is a part of task {node.task.task_id!r}",
                "give this part a result instead, or cancel the whole",
            )
        if record.status is TaskStatus.FAILED:
            if node.task.on_failure == "skip":
                raise _refused(state, key, "has failed and counts as skipped already", "there is nothing to do")
            _demand_needed(state, record)
    who = command.requested_by or "somebody"  # a skip that nobody decided follows from the definition
    reason = command.reason or f"{who} skipped it"
    return [f.TaskSkipped(command.task_key, reason[:MAX_REASON_CHARS], who)]


def retry_task(state: RunState, command: c.RetryTask) -> Sequence[Fact]:
    """Try a task now that waits for its next attempt, or has failed for good. Errors as for ``skip_task``."""
    key = command.task_key
    node, record = _sought(state, key)
    _demand_idle(state, key, record)
    if record is None or record.status in (TaskStatus.READY, TaskStatus.PENDING):
        raise _refused(state, key, "has not started", "it starts by itself when its turn comes")
    if record.status is TaskStatus.WAITING:
        raise _refused(state, key, "waits, nothing of it has failed", "skip it, or give it a result")
    if record.status is TaskStatus.UNKNOWN:
        raise _refused(
            state,
            key,
            "may have happened, nobody can say",
            "say what became of it: resolve it, with 'run_again' perhaps",
        )
    requested = f.TaskRetryRequested(key, command.requested_by, command.reason[:MAX_REASON_CHARS])
    if record.status is TaskStatus.RETRYING:
        # It has kept its place among ``max_parallel``.
        return [requested] if state.is_paused else [requested, f.TaskScheduled(key, record.attempt + 1)]
    _demand_needed(state, record)
    has_begun = record.items is not None or (record.index is None and f"{key}[0]" in state.tasks)
    if has_begun and (node.task.enough is not None or not failed_parts(state, record)):
        raise _refused(
            state, key, "has failed as a whole, nothing in it can be tried again", "skip it, or give it a result"
        )
    return [requested]


def set_result(state: RunState, command: c.SetResult) -> Sequence[Fact]:
    """Take a result from a person for a task that nobody works on. Errors as for ``skip_task``."""
    key = command.task_key
    node, record = _sought(state, key)
    _demand_idle(state, key, record)
    if node.approval is not None:
        raise _refused(state, key, "asks a person", "approve or reject it")
    if node.continue_with is not None:
        raise _refused(state, key, "begins the next run, its result is that run's input", "skip it, or abort the run")
    if node.is_alternative and not _is_needed(state, node):
        primary = primary_of(state, node)
        raise _refused(
            state, key, f"is the fallback of {primary!r}, which has not failed", f"give {primary!r} the result"
        )
    if node.choices:
        _demand_choice(node, codec.decode(state.values.resolve(command.value)))
    if record is not None and record.status is TaskStatus.FAILED:
        _demand_needed(state, record)
    result = msgspec.Raw(command.value)
    return [f.TaskResultGiven(key, result, command.requested_by, command.reason[:MAX_REASON_CHARS])]


# --- what has to hold ---------------------------------------------------------------------------------------------------


def _sought(state: RunState, key: str) -> tuple[Node, TaskRecord | None]:
    record = state.tasks.get(key)
    if record is not None:
        return record.node, record
    plan = state.laid_out
    if key in plan.by_id:
        return plan.nodes[plan.by_id[key]], None
    task_id = key.partition("[")[0]
    if task_id in plan.by_id:
        raise _refused(
            state, key, "is not there, or not yet", f"`agenticflow runs show {quote(state.workflow_id)}` shows what is"
        )
    known = list(plan.by_id)
    raise InvalidInput(
        f"workflow {state.workflow_id!r} has no task {key!r}",
        hint=f"it has {', '.join(known[:20])}{' …' if len(known) > 20 else ''}",
    )


def _demand_idle(state: RunState, key: str, record: TaskRecord | None) -> None:
    """Raise ``CommandRefused`` while somebody works on the task, and when its end is told already."""
    if record is None:
        return
    cancel = f"`agenticflow runs cancel-task {quote(state.workflow_id)} {quote(record.node.task.task_id)}` goes on without it"
    if record.status in IN_FLIGHT:
        raise _refused(state, key, "is in work", f"wait for its end, or {cancel}")
    if record.status is TaskStatus.EXPANDED:
        raise _refused(state, key, "has begun", f"name one of its parts, {key}[0] say, or {cancel}")
    if record.status is TaskStatus.FAILED and state.planning is not None:
        raise _refused(
            state, key, "has failed, and the function of its workflow was told", "the next run can run it: resume"
        )
    if record.status is TaskStatus.COMPLETED:
        raise _refused(
            state, key, "has its result", "what follows it can run again in the next run: resume with from_task"
        )
    if record.status in _NEVER_RAN:
        raise _refused(
            state, key, f"is {record.status.lower()}, and what follows it was told", "the next run can run it: resume"
        )


def _demand_needed(state: RunState, record: TaskRecord) -> None:
    """Raise ``CommandRefused`` when nobody waits for another end of the failed task, item or iteration ``record``."""
    node = record.node
    if record.index is not None:
        container = state.tasks[node.task.task_id]
        has_ended = container.status is not TaskStatus.EXPANDED
        if has_ended and (container.status is not TaskStatus.FAILED or node.task.enough is not None):
            raise _refused(
                state, record.key, f"is a part of task {container.key!r}, which has ended", "give that a result"
            )
    stand_in = open_stand_in(state, node)
    if stand_in is not None:
        raise _refused(
            state, record.key, f"has failed, and {stand_in!r} stands in for it", f"give {stand_in!r} the result"
        )
    if node.is_alternative and not _is_needed(state, node):
        primary = primary_of(state, node)
        raise _refused(
            state, record.key, f"has failed, and task {primary!r} no longer needs it", "there is nothing to do"
        )


def _is_needed(state: RunState, alternative: Node) -> bool:
    """Whether the task that the fallback stands in for has failed, and still is."""
    primary = state.tasks.get(primary_of(state, alternative))
    return primary is not None and primary.status is TaskStatus.FAILED


def _demand_choice(node: Node, value: object) -> None:
    ways = [choice.then for choice in node.task.choices]
    if node.task.choose_many:
        is_one = isinstance(value, list) and all(name in ways for name in value)
        wanted = "a list of some of"
    else:
        is_one, wanted = value in ways, "one of"
    if not is_one:
        raise InvalidInput(
            f"task {node.task.task_id!r} is a choice and takes {wanted} {', '.join(map(repr, ways))} as its result"
        )


def _refused(state: RunState, key: str, what: str, hint: str) -> CommandRefused:
    return CommandRefused(f"task {key!r} of workflow {state.workflow_id!r} {what}", hint=hint)
