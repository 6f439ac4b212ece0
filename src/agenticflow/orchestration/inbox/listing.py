"""Requests as they are listed: the view that people get, and the entries by which open ones are found without folding a run. Pure.

An open request has an entry under ``approvals``, ordered by when it was asked, one under ``approvals-of`` for each person who may answer
and has not, and one under ``approvals-in`` for its workflow. They are written in the transaction of the events they follow from.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import Listed
from agenticflow.orchestration.approvals.requests import Request, approval_id
from agenticflow.orchestration.state import RunState

__all__ = [
    "ANYBODY",
    "BY_PERSON",
    "BY_WORKFLOW",
    "EVERY",
    "ApprovalAnswer",
    "ApprovalRequest",
    "id_in",
    "listed",
    "ordered_key",
    "prefix_of",
    "view_of_request",
]

EVERY: Final = "approvals"
BY_PERSON: Final = "approvals-of"
BY_WORKFLOW: Final = "approvals-in"
ANYBODY: Final = ""
"""Stands for whoever answers where nobody is named: no person is called so."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POINTER: Final = b""
"""What stands in the lists of people and workflows: where the request is, not the request again."""


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one person has said."""

    by: str
    approved: bool
    comment: str
    at: datetime


class ApprovalDelegation(msgspec.Struct, frozen=True, kw_only=True):
    """Who handed it to whom."""

    by: str
    to: str
    comment: str
    at: datetime


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to people as it stands. Moments are in UTC, to the microsecond."""

    approval_id: str
    workflow_id: str
    run_no: int
    task_key: str
    interrupt_key: str | None
    """Of a handler that asks; ``None`` for an approval task."""
    workflow: str
    """Name of its definition."""
    question: str
    arguments: object
    response_schema: dict[str, object] | None
    assignees: tuple[str, ...]
    """Who may answer now; empty for anybody."""
    asked_at: datetime
    deadline: datetime | None
    on_deadline: str
    level: int
    """How many steps of the escalation have come."""
    quorum: int
    answers: tuple[ApprovalAnswer, ...]
    delegations: tuple[ApprovalDelegation, ...]
    is_open: bool


def view_of_request(state: RunState, request: Request) -> ApprovalRequest:
    """Return the request as people see it."""
    terms = request.terms
    return ApprovalRequest(
        approval_id=_id(state, request),
        workflow_id=state.workflow_id,
        run_no=state.run_no,
        task_key=request.task_key,
        interrupt_key=request.interrupt,
        workflow=state.laid_out.definition.name,
        question=request.question,
        arguments=codec.decode(codec.encode(terms.arguments)),
        response_schema=terms.response_schema,
        assignees=tuple(request.people),
        asked_at=_moment(request.asked_at),
        deadline=None if terms.deadline is None else _moment(terms.deadline),
        on_deadline=terms.on_deadline,
        level=request.level,
        quorum=terms.quorum,
        answers=tuple(
            ApprovalAnswer(by=vote.by, approved=vote.is_approval, comment=vote.comment, at=_moment(vote.at))
            for vote in request.votes
        ),
        delegations=tuple(
            ApprovalDelegation(by=one.by, to=one.to, comment=one.comment, at=_moment(one.at))
            for one in request.delegations
        ),
        is_open=request.is_open,
    )


def _id(state: RunState, request: Request) -> str:
    return approval_id(state.workflow_id, state.run_no, request.task_key, request.token)


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)


# --- entries ------------------------------------------------------------------------------------------------------------


def ordered_key(asked_at: int, name: str) -> str:
    """Return the key under which a request stands: what was asked first comes first."""
    return f"{asked_at:020}/{name}"


def prefix_of(group: str) -> str:
    """Return what the keys of one person's requests, or of one workflow's, begin with. A hash, because a name may be of any length."""
    return f"{codec.content_hash(group.encode())}/"


def id_in(namespace: str, key: str) -> str:
    """Return the id of the request that an entry is about."""
    return key.split("/", 1 if namespace == EVERY else 2)[-1]


def listed(state: RunState, request: Request) -> Iterator[Listed]:
    """Yield what has to stand in the lists because of ``request``, and what must not."""
    key, is_open = ordered_key(request.asked_at, _id(state, request)), request.is_open
    yield Listed(EVERY, key, msgspec.msgpack.encode(view_of_request(state, request)) if is_open else None)
    yield Listed(BY_WORKFLOW, prefix_of(state.workflow_id) + key, _POINTER if is_open else None)
    waiting = {*request.people} - {vote.by for vote in request.votes} if request.people else {ANYBODY}
    for person in dict.fromkeys([*(request.everybody() or [ANYBODY]), *request.former]):
        yield Listed(BY_PERSON, prefix_of(person) + key, _POINTER if is_open and person in waiting else None)
