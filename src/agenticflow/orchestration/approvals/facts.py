"""What can be true of requests to people beside being asked and decided. Data only; ``orchestration.inbox.folding`` gives it meaning."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.results import ErrorInfo
from agenticflow.orchestration.approvals.terms import Terms

__all__ = [
    "AnswersKept",
    "ApprovalAnswered",
    "ApprovalDelegated",
    "ApprovalEscalated",
    "InterruptAnswered",
    "InterruptRefused",
    "InterruptWithdrawn",
    "TaskInterrupted",
    "TaskInterruptedAgain",
]

_NOTHING: Final = msgspec.Raw(codec.NULL)


class TaskInterrupted(Fact, frozen=True):
    """The handler of an attempt asks a person and has ended for that: it runs again when there is an answer.

    Of one that asks several things at once there is one for each."""

    event_type: ClassVar[str] = "task_interrupted"
    task_key: str
    token: int
    """Of the attempt."""
    key: str
    """Tells several interrupts of one handler apart."""
    question: str
    terms: Terms


class TaskInterruptedAgain(Fact, frozen=True):
    """The handler of an attempt has ended for what it had asked before and still asks."""

    event_type: ClassVar[str] = "task_interrupted_again"
    task_key: str
    token: int
    """Of the attempt."""
    is_due: bool = False
    """Whether an answer to it has come while it ran: then it runs again at once."""


class InterruptWithdrawn(Fact, frozen=True):
    """A handler that ran with an answer to something else does not ask this any more."""

    event_type: ClassVar[str] = "interrupt_withdrawn"
    task_key: str
    token: int
    """Of the request, as in those that follow."""


class InterruptRefused(Fact, frozen=True):
    """A no, or a deadline, came to what a handler had asked while it ran with other answers: its task fails when it asks that again."""

    event_type: ClassVar[str] = "interrupt_refused"
    task_key: str
    token: int
    error: ErrorInfo
    decided_by: str = ""
    """Empty when nobody has by the deadline."""


class InterruptAnswered(Fact, frozen=True):
    """A person has answered what a handler asked: its task is due again, unless it runs."""

    event_type: ClassVar[str] = "interrupt_answered"
    task_key: str
    token: int
    decided_by: str
    comment: str = ""
    result: msgspec.Raw = _NOTHING
    given: str = ""
    """Fingerprint of what was given, when the answer says more."""
    is_approval: bool = True
    """Whether it is a yes. A no is an answer when the handler said so: ``on_rejection="return"``."""


class AnswersKept(Fact, frozen=True):
    """What people answered, in the runs before, to handlers that run again in this one as the same work. Follows the start of the run."""

    event_type: ClassVar[str] = "answers_kept"
    answers: msgspec.Raw
    """Encoded ``{task key: {interrupt key: encoded answer}}``, or a reference to it."""


class ApprovalAnswered(Fact, frozen=True):
    """A person has answered, and others still have to."""

    event_type: ClassVar[str] = "approval_answered"
    task_key: str
    token: int
    decided_by: str
    is_approval: bool
    comment: str = ""
    value: object = None
    given: str = ""
    """Fingerprint of what was given."""


class ApprovalEscalated(Fact, frozen=True):
    """Nobody has decided for a while: more people may answer now."""

    event_type: ClassVar[str] = "approval_escalated"
    task_key: str
    token: int
    level: int
    """From 1."""
    to: tuple[str, ...]


class ApprovalDelegated(Fact, frozen=True):
    """Who could answer has handed that to another person."""

    event_type: ClassVar[str] = "approval_delegated"
    task_key: str
    token: int
    decided_by: str
    to: str
    comment: str = ""
