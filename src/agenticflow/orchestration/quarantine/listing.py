"""Tasks in quarantine as they are listed: the dead letters of runs, and the entries by which they are found without folding a run. Pure.

Each has one entry under ``dead-letters``, ordered by when it came there, written in the transaction of the events it follows from.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Final

import msgspec

from agenticflow.core.context import LastReport
from agenticflow.core.engine import Listed
from agenticflow.core.redaction import redact, redact_text
from agenticflow.orchestration.approvals.requests import Request, approval_id
from agenticflow.orchestration.inbox import listing as inbox
from agenticflow.orchestration.interventions.feedback import feedback_for
from agenticflow.orchestration.state import RunState
from agenticflow.orchestration.suspicion.suspects import Suspect

__all__ = [
    "LETTERS",
    "LostProcess",
    "Reported",
    "TaskLetter",
    "entries_of",
    "id_of",
    "letter_of",
    "listed",
    "with_params",
    "with_report",
]

LETTERS: Final = "dead-letters"
MAX_SHOWN_CHARS: Final = 1_000
"""Of an error, or of what somebody said."""
MAX_FEEDBACK_SHOWN: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LostProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that died while the task was in work. Moments are in UTC, to the microsecond."""

    pid: int
    began_at: datetime
    noticed_at: datetime
    """When the process after it took the run up: it died before that."""
    attempt: int


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt reported last before its process died, as far as it came to the store."""

    fraction: float | None
    message: str
    attempt: int
    at: datetime


class TaskLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A task in quarantine as people see it. Secrets are hidden by the look of them."""

    letter_id: str
    workflow_id: str
    run_no: int
    task_key: str
    workflow: str
    """Name of its definition."""
    performer_id: str
    task_type: str
    attempt: int
    since: datetime
    losses: tuple[LostProcess, ...]
    last_error: str
    """Of the attempt before that ended by itself; empty when there was none."""
    feedback: tuple[str, ...]
    """What people have said to it last, oldest first."""
    what_to_do: str
    params: object = None
    """What its handler is given. Only where one letter is looked at."""
    last_report: Reported | None = None
    """How far it said it was. Only where one letter is looked at, and of what has lost more than one process."""


def id_of(state: RunState, suspect: Suspect) -> str:
    """Return the id of a letter: equal for ever, and of no other letter."""
    return approval_id(state.workflow_id, state.run_no, suspect.task_key, suspect.token)


def letter_of(state: RunState, suspect: Suspect) -> TaskLetter:
    """Return the letter, without what its handler is given."""
    record = state.tasks[suspect.task_key]
    name = id_of(state, suspect)
    return TaskLetter(
        letter_id=name,
        workflow_id=state.workflow_id,
        run_no=state.run_no,
        task_key=record.key,
        workflow=state.laid_out.definition.name,
        performer_id=record.performer_id,
        task_type=record.node.task_type,
        attempt=record.attempt,
        since=_moment(suspect.since),
        losses=tuple(
            LostProcess(
                pid=loss.pid,
                began_at=_moment(loss.began_at),
                noticed_at=_moment(loss.noticed_at),
                attempt=loss.attempt,
            )
            for loss in suspect.losses
        ),
        last_error=redact_text(str(record.errors[-1]))[:MAX_SHOWN_CHARS] if record.errors else "",
        feedback=tuple(
            redact_text(str(said.value))[:MAX_SHOWN_CHARS] for said in feedback_for(state, record)[-MAX_FEEDBACK_SHOWN:]
        ),
        what_to_do=(
            f"find out why the handler kills its process; `agenticflow dead-letters retry {quote(name)}` runs it again, "
            f"`agenticflow dead-letters discard {quote(name)}` has it failed"
        ),
    )


def with_params(letter: TaskLetter, params: object) -> TaskLetter:
    """Return the letter with what its handler is given, secrets hidden."""
    return msgspec.structs.replace(letter, params=redact(params))


def with_report(letter: TaskLetter, report: LastReport) -> TaskLetter:
    """Return the letter with what its task reported last, secrets hidden."""
    said = Reported(
        fraction=report.fraction,
        message=redact_text(report.message),
        attempt=report.attempt,
        at=_moment(report.at),
    )
    return msgspec.structs.replace(letter, last_report=said)


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)


# --- entries ------------------------------------------------------------------------------------------------------------


def entries_of(state: RunState) -> list[Listed]:
    """Return the entries of everything that has changed since it was listed: requests to people, and letters."""
    found: list[Listed] = []
    for changed in state.unlisted.values():
        found += inbox.listed(state, changed) if isinstance(changed, Request) else listed(state, changed)
    return found


def listed(state: RunState, suspect: Suspect) -> Iterator[Listed]:
    """Yield what has to stand in the list because of ``suspect``, or must not."""
    value = msgspec.msgpack.encode(letter_of(state, suspect)) if suspect.is_open else None
    yield Listed(LETTERS, inbox.ordered_key(suspect.since, id_of(state, suspect)), value)
