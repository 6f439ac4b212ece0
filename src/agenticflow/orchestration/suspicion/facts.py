"""What can be true of attempts whose process has ended. Data only; ``orchestration.quarantine.folding`` gives it meaning."""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Fact

__all__ = ["AttemptsInterrupted", "ProcessLost", "TaskQuarantined"]


class ProcessLost(Fact, frozen=True):
    """A process died while these attempts were in work, as far as anybody knows: each of them may have killed it."""

    event_type: ClassVar[str] = "process_lost"
    task_keys: tuple[str, ...]
    life: str
    """Tells one life of a process from the others; an attempt is counted once for each."""
    began_at: int
    pid: int
    limit: int
    """How many processes an attempt may lose."""


class AttemptsInterrupted(Fact, frozen=True):
    """A process was stopped while these attempts, which are suspected, were in work: they begin anew, and nothing is counted."""

    event_type: ClassVar[str] = "attempts_interrupted"
    task_keys: tuple[str, ...]


class TaskQuarantined(Fact, frozen=True, gc=False):
    """The attempt has lost as many processes as it may: it is not run again before a person says so. It is a dead letter now."""

    event_type: ClassVar[str] = "task_quarantined"
    task_key: str
    token: int
    """Of the attempt."""
    losses: int
