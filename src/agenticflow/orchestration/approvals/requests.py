"""A request to people: who was asked what, who may answer now, who has said what. Part of a run's state; only the fold changes it."""

from __future__ import annotations

from typing import Final

import msgspec

from agenticflow.core.results import ErrorInfo
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.approvals.terms import Terms

__all__ = ["MAX_DELEGATIONS", "PLAIN_TERMS", "Delegation", "Request", "Vote", "approval_id", "split_approval_id"]

MAX_DELEGATIONS: Final = 10
"""Of one request."""
PLAIN_TERMS: Final = Terms()
"""Anybody may answer, and one answer decides."""


class Vote(msgspec.Struct, frozen=True, array_like=True):
    """What one person said."""

    by: str
    is_approval: bool
    comment: str
    at: int
    fingerprint: str
    """Equal for equal answers."""
    value: object = None


class Delegation(msgspec.Struct, frozen=True, array_like=True):
    """One person handed the request to another."""

    by: str
    to: str
    comment: str
    at: int


class Request(msgspec.Struct):
    """One request. Its token is the version of the event that asked."""

    task_key: str
    token: int
    question: str
    asked_at: int
    terms: Terms
    interrupt: str | None = None
    """Key of the interrupt of a handler; ``None`` for an approval task."""
    people: list[str] = []
    """Who may answer now; empty for anybody."""
    former: list[str] = []
    """Who handed it on."""
    level: int = 0
    """How many steps of the escalation have come."""
    votes: list[Vote] = []
    delegations: list[Delegation] = []
    is_open: bool = True
    answer: bytes | None = None
    """The answer that decided, encoded, when it was a yes, or a no that is an answer."""
    refusal: ErrorInfo | None = None
    """Why its task will fail when the handler, which runs with other answers, asks it again."""
    is_withdrawn: bool = False
    """Whether the handler ran with other answers and did not ask it any more."""

    @property
    def key(self) -> str:
        """Tells the requests of one task apart: the key of the interrupt."""
        return self.interrupt or ""

    @property
    def next_escalation(self) -> int | None:
        """When the next step of the escalation comes."""
        steps = self.terms.escalation
        return steps[self.level][0] if self.level < len(steps) else None

    @property
    def has_timer(self) -> bool:
        """Whether something of it comes by itself."""
        return self.terms.deadline is not None or self.next_escalation is not None

    @property
    def approvals(self) -> int:
        """How many have approved."""
        return sum(vote.is_approval for vote in self.votes)

    def people_at(self, now: int) -> list[str]:
        """Return who may answer at ``now``, also when nobody looked since a step of the escalation came; empty for anybody."""
        people = list(self.people)
        for moment, more in self.terms.escalation[self.level :]:
            if moment <= now:
                people += [one for one in more if one not in people and one not in self.former]
        return people

    def everybody(self) -> list[str]:
        """Return who may answer now or later by the escalation; empty for anybody."""
        last = self.terms.escalation[-1][0] if self.terms.escalation else 0
        return self.people_at(last)

    def vote_of(self, by: str) -> Vote | None:
        """Return what this person has said."""
        return next((vote for vote in self.votes if vote.by == by), None)


def approval_id(workflow_id: str, run_no: int, task_key: str, token: int) -> str:
    """Return the id of a request: equal for ever, and of no other request."""
    return f"{workflow_id}/{run_no}/{task_key}@{token}"


def split_approval_id(given: str) -> tuple[str, int, str, int]:
    """Return workflow id, run, task key and token. Raises ``InvalidInput`` for what is no id of a request."""
    head, at, token = given.rpartition("@") if isinstance(given, str) else ("", "", "")
    workflow_id, _, rest = head.partition("/")
    run_no, slash, task_key = rest.partition("/")
    if not (at and slash and workflow_id and task_key and _is_number(run_no) and _is_number(token)):
        raise InvalidInput(
            f"{given!r:.100} is no id of a request", hint="`agenticflow approvals list` shows them: spring/1/release@7"
        )
    return workflow_id, int(run_no), task_key, int(token)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_RUN_EVENTS)) + 1
