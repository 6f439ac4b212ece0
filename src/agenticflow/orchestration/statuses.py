"""The words for where a run and its tasks stand."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Phase", "TaskStatus", "WorkflowStatus"]


class WorkflowStatus(enum.StrEnum):
    """Where a run stands, in the words users see."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    WAITING = "WAITING"
    """Nothing is in work: it waits for a timer, a retry or a signal."""
    COMPLETED = "COMPLETED"
    PARTIALLY_FAILED = "PARTIALLY_FAILED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    """A person has to say what became of a task."""
    CANCELLED = "CANCELLED"
    CONTINUED = "CONTINUED"
    """The next run of the workflow goes on in its place, with another input."""


class TaskStatus(enum.StrEnum):
    """Where a task, or an item of a map, stands."""

    PENDING = "PENDING"
    READY = "READY"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    EXPANDED = "EXPANDED"
    """A map or a loop whose items or iterations are in work."""
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    """For a timer, a signal or a person."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    QUARANTINED = "QUARANTINED"
    """It has lost too many processes: a person has to say whether it runs again."""


ENDS: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED})
"""Of a task: it asks nobody any more."""


class Phase(enum.Enum):
    """The stretches of a run."""

    NEW = 0
    RUNNING = 1
    CANCELLING = 2
    ENDED = 3
    CONTINUING = 4
    """Over, but for the start of the next run."""
    COMPENSATING = 5
    """Nothing of the graph runs any more; what was done is undone."""


RUNNING: Final = Phase.RUNNING
"""As those below: what is asked several times in each step is looked up faster here than in its enumeration."""
OVER: Final = (Phase.ENDED, Phase.CONTINUING)
READY: Final = TaskStatus.READY
SCHEDULED: Final = TaskStatus.SCHEDULED
COMPLETED: Final = TaskStatus.COMPLETED
FAILED: Final = TaskStatus.FAILED
