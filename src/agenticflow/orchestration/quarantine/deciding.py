"""Who may have killed a process, who has done so often enough, and what a person may decide about that. Pure.

After a first death everything in work is suspected. Suspects record their start before they run, so that the next death is put down to
those that ran; what may lose only one process more runs beside no other suspect, so that its death is put down to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agenticflow.core.decider import Fact
from agenticflow.core.engine import EffectClass
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import CommandRefused
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.advance import MAX_KEYS_PER_FACT
from agenticflow.orchestration.interventions.moments import MAX_REASON_CHARS, not_now
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskRecord, TaskStatus
from agenticflow.orchestration.suspicion.commands import DiscardLetter, ProcessDied, RetryLetter
from agenticflow.orchestration.suspicion.facts import AttemptsInterrupted, ProcessLost, TaskQuarantined

__all__ = ["decided_about", "interrupted", "process_died", "suspected", "were_running"]


def suspected(state: RunState, life: str) -> list[str]:
    """Return the keys of what may have killed the process: everything in work, of suspects only what is known to have started.

    At-most-once work has its own rule: what had started is in question, the rest did not run. Sub-workflows are runs of their own.
    """
    if state.phase not in (Phase.RUNNING, Phase.COMPENSATING) or not state.in_flight:
        return []
    return [record.key for record in _in_work(state) if _may_have_killed(state, record, life)]


def _in_work(state: RunState) -> Iterator[TaskRecord]:
    for record in state.tasks.values():
        task = record.node.task
        if record.status in IN_FLIGHT and task.workflow is None and task.effect is not EffectClass.AT_MOST_ONCE:
            yield record


def _may_have_killed(state: RunState, record: TaskRecord, life: str) -> bool:
    suspect = state.suspects.get(record.key)
    return suspect is None or (record.status is TaskStatus.RUNNING and not suspect.counts(life))


def were_running(state: RunState) -> list[str]:
    """Return the keys of suspects whose start is recorded and that are not in work any more: they have to record it again."""
    if not state.suspects or state.phase not in (Phase.RUNNING, Phase.COMPENSATING):
        return []
    return [r.key for r in _in_work(state) if r.key in state.suspects and r.status is TaskStatus.RUNNING]


def process_died(state: RunState, command: ProcessDied) -> Sequence[Fact]:
    """Count the death for each attempt that may have caused it; put aside who has caused as many as it may."""
    death = command.death
    keys = suspected(state, death.life)
    facts: list[Fact] = [ProcessLost(part, death.life, death.began_at, death.pid, death.limit) for part in _parts(keys)]
    for key in keys:
        suspect = state.suspects.get(key)
        losses = 1 + (0 if suspect is None else len(suspect.losses))
        if losses >= death.limit:
            facts.append(TaskQuarantined(key, state.tasks[key].token, losses))
    return facts


def interrupted(state: RunState) -> Sequence[Fact]:
    """Have suspects whose process was stopped begin anew."""
    return [AttemptsInterrupted(part) for part in _parts(were_running(state))]


def _parts(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(keys), MAX_KEYS_PER_FACT):
        yield tuple(keys[start : start + MAX_KEYS_PER_FACT])


def decided_about(state: RunState, command: RetryLetter | DiscardLetter) -> Sequence[Fact]:
    """Take what a person decides about a task in quarantine. Raises ``CommandRefused`` when it is not there, or not any more."""
    if state.phase not in (Phase.RUNNING, Phase.COMPENSATING):
        raise not_now(state, command.words)
    key, by, reason = command.task_key, command.requested_by, command.reason[:MAX_REASON_CHARS]
    suspect, record = state.suspects.get(key), state.tasks.get(key)
    if suspect is None or record is None or not suspect.is_open or suspect.token != command.token:
        stands = f"the task is {record.status} now" if record is not None else "there is no such task"
        raise CommandRefused(
            f"the dead letter {command.token} of task {key!r} in workflow {state.workflow_id!r} is not open: {stands}",
            hint="`agenticflow dead-letters list` shows what is",
        )
    if isinstance(command, RetryLetter):
        return [f.TaskRetryRequested(key, by, reason)]
    message = f"task {key!r} lost its process {len(suspect.losses)} times, and {by} has given it up"
    message = f"{message}: {reason}" if reason else message
    if record.undoes is not None:
        # Nobody may go on as if it were undone: a person says what became of it.
        return [f.TaskOutcomeUnknown(key, record.token, f"it could not be undone: {message}"[:1_000])]
    error = ErrorInfo(
        "ProcessLost",
        message,
        "process_lost",
        is_permanent=True,
        attempt=record.attempt,
        at=command.now,
        kinds=("ProcessLost",),
    )
    return [f.TaskFailed(key, record.token, error, None, by)]
