"""How lost processes and quarantine change the state of a run. Nothing is decided here."""

from __future__ import annotations

from agenticflow.orchestration.state import RunState, TaskStatus
from agenticflow.orchestration.suspicion.facts import AttemptsInterrupted, ProcessLost, TaskQuarantined
from agenticflow.orchestration.suspicion.suspects import Loss, Suspect

__all__ = ["interrupted", "lost", "quarantined"]


def lost(state: RunState, fact: ProcessLost, version: int, at: int) -> None:
    """Each attempt may have killed the process. It is the same attempt when it runs again."""
    for key in fact.task_keys:
        record = state.tasks[key]
        suspect = state.suspects.setdefault(key, Suspect(key, fact.limit))
        suspect.limit = fact.limit
        suspect.losses.append(Loss(fact.life, fact.began_at, at, fact.pid, record.attempt))
        state.set_status(record, TaskStatus.SCHEDULED)


def interrupted(state: RunState, fact: AttemptsInterrupted, version: int, at: int) -> None:
    """They are in work no more, and have not killed anything."""
    for key in fact.task_keys:
        state.set_status(state.tasks[key], TaskStatus.SCHEDULED)


def quarantined(state: RunState, fact: TaskQuarantined, version: int, at: int) -> None:
    """The task waits for a person."""
    suspect = state.suspects[fact.task_key]
    suspect.token, suspect.since, suspect.is_open = version, at, True
    state.unlisted[version] = suspect
    record = state.tasks[fact.task_key]
    record.deadline = None
    state.set_status(record, TaskStatus.QUARANTINED)
