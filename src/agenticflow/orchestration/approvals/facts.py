"""What can be true of requests to people beside being asked and decided. Data only; ``orchestration.inbox.folding`` gives it meaning."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.orchestration.approvals.terms import Terms

__all__ = [
    "AnswersKept",
    "ApprovalAnswered",
    "ApprovalDelegated",
    "ApprovalEscalated",
    "InterruptAnswered",
    "TaskInterrupted",
]

_NOTHING: Final = msgspec.Raw(codec.NULL)


class TaskInterrupted(Fact, frozen=True):
    """The handler of an attempt asks a person and has ended for that: it runs again when there is an answer."""

    event_type: ClassVar[str] = "task_interrupted"
    task_key: str
    token: int
    """Of the attempt."""
    key: str
    """Tells several interrupts of one handler apart."""
    question: str
    terms: Terms


class InterruptAnswered(Fact, frozen=True):
    """A person has answered what a handler asked: its task is due again."""

    event_type: ClassVar[str] = "interrupt_answered"
    task_key: str
    token: int
    decided_by: str
    comment: str = ""
    result: msgspec.Raw = _NOTHING
    given: str = ""
    """Fingerprint of what was given, when the answer says more."""


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
