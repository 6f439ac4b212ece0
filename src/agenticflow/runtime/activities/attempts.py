"""One attempt on its way through this process, and the seat of the performer it is for."""

from __future__ import annotations

import asyncio
import enum
from collections import deque

import msgspec

from agenticflow.core.binding import Handler
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import Execution, Performer, RunActivity

__all__ = ["Attempt", "Seat", "StopCause"]


class StopCause(enum.Enum):
    """Why a handler was told to stop."""

    TIME = "its time limit passed"
    SILENCE = "it reported no progress for too long"
    TOLD = "the execution asked for it"


class Seat:
    """A performer, how much it has in work, and what queues for it."""

    __slots__ = ("in_flight", "performer", "performer_id", "queue", "working")

    def __init__(self, performer: Performer) -> None:
        self.performer = performer
        self.performer_id = performer.performer_id
        self.in_flight = 0
        """Attempts that were let in: at most the performer's concurrency."""
        self.working = 0
        """Of these, whose handlers have begun."""
        self.queue: deque[Attempt] = deque()

    def add(self, attempt: Attempt) -> None:
        """Let the attempt queue: behind everybody of its own priority or a higher one."""
        queue, priority = self.queue, attempt.effect.priority
        if not queue or queue[-1].effect.priority >= priority:
            queue.append(attempt)
        else:
            queue.insert(next(i for i, other in enumerate(queue) if other.effect.priority < priority), attempt)


class Attempt(msgspec.Struct, eq=False):
    """An attempt that was handed to this process."""

    stream_id: str
    effect: RunActivity
    handler: Handler
    seat: Seat
    cause: StopCause | None = None
    context: TaskContext | None = None
    started_at: int = 0
    limit_seconds: float | None = None
    notice_seconds: float | None = None
    heard: int = -1
    """Number of the last report of progress that was looked at."""
    silence: int = 0
    """How often there was no news since."""
    listen_seconds: float | None = None
    """How often one looks, when it has to report progress."""
    is_abandoned: bool = False
    is_over: bool = False
    """Whether it is superseded, or its handler has begun: it must not begin again."""
    task: asyncio.Task[None] | None = None
    """The worker task, while an async handler runs in it and may be interrupted."""
    worker: asyncio.Task[None] | None = None
    """Whoever asks gates for it, and then whoever performs it, from the moment it does."""
    process: asyncio.Future[None] | None = None
    """Done as soon as the process that runs the handler shall be killed."""

    @property
    def log_fields(self) -> dict[str, object]:
        """Whose log line it is: the fields that the handler's own logger adds."""
        execution = Execution.of(self.stream_id)
        return {
            "workflow_id": execution.id,
            "run_no": execution.run_no,
            "task_key": self.effect.task_key,
            "attempt": self.effect.attempt,
        }
