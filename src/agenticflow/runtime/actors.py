"""What the host keeps of one execution in memory, and the forms its work takes at the edges: requests, answers, index rows.

Nothing here decides, waits or writes: that is the host's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agenticflow.core.decider import Command
from agenticflow.core.engine import ActivityFinished, Guest
from agenticflow.core.events import EventMetadata
from agenticflow.core.results import Outcome, OutcomeKind, describe_error
from agenticflow.core.types import MAX_COMMIT_BYTES
from agenticflow.storage.rows import RunRow

__all__ = ["Actor", "Answer", "Request", "answer_all", "as_failure", "is_success", "metadata_of", "refuse", "run_row"]

MAX_BATCH: Final = 2_000
MAX_BATCH_BYTES: Final = MAX_COMMIT_BYTES // 4


class Answer(msgspec.Struct, frozen=True):
    """What became of a submitted command."""

    version: int
    """Version of the stream after it."""
    facts: int
    """How many facts it made true; 0 means it changed nothing."""
    is_repeated: bool = False
    """Whether its command id had been decided before."""


class Request:
    """A command and who waits for its answer."""

    __slots__ = ("answer", "command", "command_id")

    def __init__(self, command: Command, command_id: str | None, answer: asyncio.Future[Answer] | None) -> None:
        self.command = command
        self.command_id = command_id
        self.answer = answer


class Actor:
    """One execution in memory."""

    __slots__ = (
        "conflicts",
        "dispatched",
        "ended",
        "execution_id",
        "failures",
        "guest",
        "inbox",
        "is_busy",
        "is_deciding",
        "listed",
        "loading",
        "settled",
        "snapshot_version",
        "state",
        "stream_id",
        "told",
        "version",
    )

    def __init__(self, stream_id: str, guest: Guest[Any]) -> None:
        self.stream_id = stream_id
        self.execution_id = stream_id.partition("-")[2].rpartition("/")[0]
        self.guest = guest
        self.state: Any = None
        self.version = 0
        self.inbox: deque[Request] = deque()
        self.is_busy = False
        self.listed: tuple[str, int | None] | None = None
        self.told = "NEW"
        """The status that was measured last."""
        self.snapshot_version = 0
        self.ended: list[asyncio.Future[Any]] = []
        """Who waits for the end."""
        self.loading: asyncio.Future[None] | None = None
        self.conflicts = 0
        """Commits in a row that somebody else was faster than."""
        self.failures = 0
        """Turns in a row that the store failed."""
        self.dispatched = -1
        """Version up to which effects were handed out here; -1 when that is not our business, or not known yet."""
        self.is_deciding = False
        """Whether the state holds facts that are not committed yet."""
        self.settled: list[asyncio.Future[None]] = []
        """Who waits for the facts being decided to be committed, or thrown away."""

    def take_batch(self) -> list[Request]:
        """Take what goes into one commit: one command that has an id, or as many as fit of those that have none."""
        inbox = self.inbox
        batch = [inbox.popleft()]
        if batch[0].command_id is not None:
            return batch
        size = 0
        while inbox and len(batch) < MAX_BATCH and inbox[0].command_id is None:
            command = inbox[0].command
            size += len(command.outcome.value) if type(command) is ActivityFinished else 1_000
            if size > MAX_BATCH_BYTES:
                break
            batch.append(inbox.popleft())
        return batch

    def forget(self) -> None:
        """Throw the folded state away; the next turn folds it from the store."""
        self.state = None
        self.version = 0
        self.listed = None

    def tell_the_end(self) -> None:
        """Hand the state to everybody who waits for the end."""
        for future in self.ended:
            if not future.done():
                future.set_result(self.state)
        self.ended.clear()


class _EngineMetadata(msgspec.Struct, omit_defaults=True):
    """The two fields of ``EventMetadata`` that the engine's own events carry."""

    causation_id: str
    correlation_id: str


assert set(_EngineMetadata.__struct_fields__) <= set(EventMetadata.__struct_fields__)
_encode: Final = msgspec.msgpack.Encoder().encode


def metadata_of(actor: Actor, command: Command) -> bytes:
    """Return who caused the facts of ``command``, encoded: for an outcome the scheduling of its attempt, by that event's id."""
    cause = f"{actor.stream_id}@{command.token}" if type(command) is ActivityFinished else type(command).__name__
    return _encode(_EngineMetadata(causation_id=cause, correlation_id=actor.execution_id))


def run_row(stream_id: str, guest: Guest[Any], state: Any, version: int) -> RunRow:
    """Return the index row that follows from ``state``; also what ``store verify`` compares with."""
    summary = guest.summary(state)
    return RunRow(
        stream_id=stream_id,
        kind=guest.kind,
        execution_id=summary.execution_id,
        run_no=summary.run_no,
        name=summary.name,
        status=summary.status,
        is_open=summary.is_open,
        next_due=summary.next_due,
        fingerprint=summary.fingerprint,
        started_at=summary.started_at,
        ended_at=summary.ended_at,
        version=version,
    )


def refuse(requests: Iterable[Request], error: Exception) -> None:
    """Answer with ``error`` whoever still waits."""
    for request in requests:
        if request.answer is not None and not request.answer.done():
            request.answer.set_exception(error)


def answer_all(
    answers: Sequence[tuple[asyncio.Future[Answer], int, int]],
    refusals: Sequence[tuple[Request, Exception]],
    *,
    is_repeated: bool,
) -> None:
    """Tell everybody of a turn what became of it: who was refused why, who made how many facts true, at which version."""
    for request, refusal in refusals:
        refuse([request], refusal)
    for answer, count, at in answers:
        if not answer.done():
            answer.set_result(Answer(at, count, is_repeated))


def is_success(command: Command) -> bool:
    """Whether the command reports a result."""
    return isinstance(command, ActivityFinished) and command.outcome.kind is OutcomeKind.SUCCEEDED


def as_failure(command: Command, error: Exception) -> Command:
    """Return the report of a result that does not fit as the report of a failure that does."""
    if not isinstance(command, ActivityFinished) or command.outcome.kind is not OutcomeKind.SUCCEEDED:
        return command
    outcome = Outcome(OutcomeKind.FAILED, error=describe_error(error))
    return ActivityFinished(now=command.now, task_key=command.task_key, token=command.token, outcome=outcome)
