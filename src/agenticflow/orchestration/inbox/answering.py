"""How requests to people are answered, handed on, and end by themselves. Pure.

A person is told why an answer is not taken: which request it was for, who may answer, which field does not fit. The same answer of the same
person to the same request, given again, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.forms import misfit
from agenticflow.core.results import ErrorInfo
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import commands as c
from agenticflow.orchestration.approvals.facts import (
    ApprovalAnswered,
    ApprovalDelegated,
    ApprovalEscalated,
    InterruptAnswered,
    InterruptRefused,
)
from agenticflow.orchestration.approvals.requests import MAX_DELEGATIONS, Request, approval_id
from agenticflow.orchestration.state import ANSWER, ESCALATION, RunState, TaskStatus

__all__ = ["MAX_COMMENT_CHARS", "answer_of", "answers_to", "due", "is_repeated"]

MAX_COMMENT_CHARS: Final = 2_000
MAX_LISTED: Final = 100
NOBODY: Final = "engine"
"""Who decides when a deadline does."""

Answer = c.Approve | c.Reject | c.Delegate
Facts = Sequence[Fact]


def fingerprint_of(command: c.Approve | c.Reject) -> str:
    """Return what equal answers have in common."""
    return codec.content_hash(command.result) if isinstance(command, c.Approve) else "rejected"


def answers_to(state: RunState, key: str) -> dict[str, bytes]:
    """Return what people have answered to the handler of a task, in this run and those before, by the key of the interrupt."""
    closed = state.answered.get(key, {})
    given = {name: one.answer for name, one in closed.items() if one.answer is not None}
    return {**state.answers.get(key, {}), **given}


# --- which request ------------------------------------------------------------------------------------------------------


def is_repeated(state: RunState, command: Answer) -> bool:
    """Whether this very answer was given before: then it changes nothing, also when the request is closed or the run has ended."""
    open_ones = _open_ones(state, command)
    if open_ones:
        return len(open_ones) == 1 and _said_before(open_ones[0], command)
    closed = state.answered.get(command.task_key, {}).values()
    meant = [request for request in closed if request.token == command.token]
    if command.token is None:
        meant = list(closed)[-1:]
    return any(_said_before(request, command) for request in meant)


def _open_ones(state: RunState, command: Answer) -> list[Request]:
    """Return the open requests of the task that can be meant."""
    asked = state.requests.get(command.task_key, {}).values()
    return [request for request in asked if command.token in (None, request.token)]


def _said_before(request: Request, command: Answer) -> bool:
    by = command.requested_by
    if isinstance(command, c.Delegate):
        return any(one.by == by and one.to == command.to for one in request.delegations)
    vote = request.vote_of(by)
    return vote is not None and vote.fingerprint == fingerprint_of(command)


def _request(state: RunState, command: Answer) -> Request:
    """Return the open request that ``command`` is about. Raises ``CommandRefused`` with the reason."""
    key, token = command.task_key, command.token
    open_ones = _open_ones(state, command)
    if len(open_ones) == 1:
        return open_ones[0]
    if open_ones:
        names = [approval_id(state.workflow_id, state.run_no, key, one.token) for one in open_ones]
        raise CommandRefused(
            f"task {key!r} of workflow {state.workflow_id!r} asks {len(open_ones)} questions at once",
            hint=f"name the one you answer, `agenticflow approvals` does: {', '.join(names)}",
        )
    if token is None:
        waiting = ", ".join(list(state.requests)[:MAX_LISTED])
        raise CommandRefused(
            f"task {key!r} of workflow {state.workflow_id!r} does not wait for an answer",
            hint=f"waiting for one: {waiting or 'none'}",
        )
    name = approval_id(state.workflow_id, state.run_no, key, token)
    closed = next((one for one in state.answered.get(key, {}).values() if one.token == token), None)
    if closed is None:
        raise CommandRefused(
            f"there is no request {name!r}", hint="`agenticflow approvals list` shows what waits for an answer"
        )
    raise CommandRefused(f"the request {name!r} is closed: {_how_it_ended(closed)}")


def _how_it_ended(request: Request) -> str:
    last = request.votes[-1] if request.votes else None
    if request.is_withdrawn:
        return "its handler does not ask it any more"
    if last is None:
        return "its task has ended without an answer" if request.refusal is None else "its deadline has passed"
    return f"{last.by} {'approved' if last.is_approval else 'rejected'} it"


def _demand_person(request: Request, command: Answer) -> None:
    """Raise ``CommandRefused`` when whoever asks may not answer, or has, or it is too late."""
    by, now = command.requested_by, command.now
    deadline = request.terms.deadline
    if deadline is not None and deadline <= now:
        raise CommandRefused(
            f"the deadline for an answer to {request.task_key!r} passed {(now - deadline) / 1e9:.0f} s ago",
            hint=f"what its deadline says ({request.terms.on_deadline}) is what happens",
        )
    people = request.people_at(now)
    if people and by not in people:
        reason = "has handed it on" if by in request.former else "is not one of them"
        raise CommandRefused(
            f"{', '.join(people[:MAX_LISTED])} may answer {request.task_key!r}; {by!r} {reason}",
            hint="one of them may delegate it",
        )
    if (vote := request.vote_of(by)) is not None:
        raise CommandRefused(
            f"{by!r} has {'approved' if vote.is_approval else 'rejected'} {request.task_key!r} already, in other words"
        )


# --- answers ------------------------------------------------------------------------------------------------------------


def answer_of(state: RunState, command: Answer) -> Facts:
    """Return what the answer makes true. Raises ``CommandRefused``, ``InvalidInput`` naming the field that does not fit."""
    request = _request(state, command)
    if isinstance(command, c.Delegate):
        return [_delegate(request, command)]
    _demand_person(request, command)
    if isinstance(command, c.Reject):
        return [_reject(state, request, command)]
    return [_approve(state, request, command)]


def _approve(state: RunState, request: Request, command: c.Approve) -> Fact:
    terms, by, comment = request.terms, command.requested_by, command.comment[:MAX_COMMENT_CHARS]
    result = command.result
    if request.interrupt is not None or terms.is_proposal or terms.response_schema is not None or terms.quorum > 1:
        given = codec.decode(state.values.resolve(result))
        answer = dict(given) if isinstance(given, Mapping) else {"value": given}
        answer["value"] = value = _value(request, answer.get("value"))
        is_last = request.approvals + 1 >= terms.quorum
        if not is_last:
            # Half of the room is for whoever answers last.
            said = codec.encode([value, *(vote.value for vote in request.votes)])
            _demand_small(request, said, MAX_INLINE_BYTES // 2)
            fingerprint = fingerprint_of(command)
            return ApprovalAnswered(request.task_key, request.token, by, True, comment, value, fingerprint)
        if terms.quorum > 1:
            answer["answers"] = [*_answers(request), {"by": by, "comment": comment, "value": value}]
        if answer != given:
            result = codec.encode(answer)
            _demand_small(request, result, MAX_INLINE_BYTES)
    changed = "" if result is command.result else fingerprint_of(command)
    return _granted(request, by, comment, result, changed)


def _answers(request: Request) -> list[dict[str, object]]:
    """Return who has approved, and with which value."""
    return [{"by": one.by, "comment": one.comment, "value": one.value} for one in request.votes if one.is_approval]


def _granted(request: Request, by: str, comment: str, result: bytes, changed: str = "") -> Fact:
    kind = f.ApprovalGranted if request.interrupt is None else InterruptAnswered
    return kind(request.task_key, request.token, by, comment, msgspec.Raw(result), changed)


def _value(request: Request, given: object) -> object:
    """Return the value of an answer: what was given, else what was proposed. Raises ``InvalidInput`` when it does not fit."""
    terms = request.terms
    value = terms.arguments if given is None and terms.is_proposal else given
    if terms.response_schema is not None and (words := misfit(terms.response_schema, value)) is not None:
        raise InvalidInput(
            f"{words}; nothing was recorded for {request.task_key!r}",
            hint="give a value with the answer" if given is None else "",
        )
    return value


def _demand_small(request: Request, encoded: bytes, limit: int) -> None:
    if len(encoded) > limit:
        raise InvalidInput(
            f"the answers to {request.task_key!r} have {len(encoded):,} bytes, above the limit of {limit:,}",
            hint="answer with where the data is, not the data",
        )


def _reject(state: RunState, request: Request, command: c.Reject) -> Fact:
    terms, by, comment = request.terms, command.requested_by, command.comment[:MAX_COMMENT_CHARS]
    rejecting = {vote.by for vote in request.votes if not vote.is_approval} | {by}
    able = [one for one in request.everybody() if one not in rejecting]
    # Of anybody there are always more.
    is_lost = bool(request.people) and len(able) < terms.quorum
    if terms.rejection_ends or is_lost:
        return _rejected(state, request, by, comment, command.now)
    return ApprovalAnswered(request.task_key, request.token, by, False, comment, None, fingerprint_of(command))


def _rejected(state: RunState, request: Request, by: str, comment: str, now: int) -> Fact:
    """Return the fact that the request is rejected: its task fails, or its handler is told."""
    key, token = request.task_key, request.token
    if request.terms.on_rejection == "return":
        told = codec.encode({"approved": False, "by": by, "comment": comment, "value": None})
        return InterruptAnswered(key, token, by, comment, msgspec.Raw(told), "rejected", False)
    message = f"{by} rejected it" + (f": {comment}" if comment else "")
    error = ErrorInfo("ApprovalRejected", message[:MAX_COMMENT_CHARS], "rejected", is_permanent=True, at=now)
    if not _is_waiting(state, key):
        return InterruptRefused(key, token, error, by)
    return f.ApprovalRejected(key, token, by, error)


def _is_waiting(state: RunState, key: str) -> bool:
    """Whether the task can fail for want of an answer: one whose handler runs, or will, with other answers is left to come to it."""
    return state.tasks[key].status is TaskStatus.WAITING


def _delegate(request: Request, command: c.Delegate) -> Fact:
    by, to = command.requested_by, command.to
    if not request.people:
        raise CommandRefused(f"anybody may answer {request.task_key!r}, there is nothing to hand on")
    _demand_person(request, command)
    if len(request.delegations) >= MAX_DELEGATIONS:
        raise CommandRefused(
            f"the request of {request.task_key!r} was handed on {MAX_DELEGATIONS} times, that is the limit",
            hint="somebody has to answer it",
        )
    if to in request.former:
        chain = " -> ".join([one.by for one in request.delegations] + [by, to])
        raise CommandRefused(f"the request of {request.task_key!r} would go in a circle: {chain}")
    if to == by or to in request.people_at(command.now):
        raise CommandRefused(f"{to!r} may answer {request.task_key!r} already")
    return ApprovalDelegated(request.task_key, request.token, by, to, command.comment[:MAX_COMMENT_CHARS])


# --- time ---------------------------------------------------------------------------------------------------------------


def due(state: RunState, key: str, kind: int, moment: int, now: int) -> list[Fact]:
    """Return what follows of a deadline, or a step of the escalation, at ``moment``: of all requests of the task that have it, or one that
    fails the task."""
    facts: list[Fact] = []
    for request in state.requests[key].values():
        if kind == ESCALATION and request.next_escalation == moment:
            level = request.level + 1
            facts.append(ApprovalEscalated(key, request.token, level, request.terms.escalation[level - 1][1]))
        elif kind == ANSWER and request.terms.deadline == moment:
            facts.append(_too_late(state, request, now))
    failed = next((fact for fact in facts if isinstance(fact, (f.TaskFailed, f.ApprovalRejected))), None)
    return facts if failed is None else [failed]


def _too_late(state: RunState, request: Request, now: int) -> Fact:
    terms, key = request.terms, request.task_key
    words = f"nobody answered within {terms.limit_seconds or 0:g} s"
    if request.votes:
        words = f"{request.approvals} of {terms.quorum} approved within {terms.limit_seconds or 0:g} s"
    if terms.on_deadline == "approve":
        value = terms.arguments if terms.default is None and terms.is_proposal else terms.default
        answer = {"approved": True, "by": NOBODY, "comment": words, "value": value}
        if terms.quorum > 1:
            answer["answers"] = _answers(request)
        return _granted(request, NOBODY, words, codec.encode(answer))
    if terms.on_deadline == "reject":
        return _rejected(state, request, NOBODY, words, now)
    error = ErrorInfo("TaskTimeout", f"task {key!r}: {words}", "timeout", attempt=state.tasks[key].attempt, at=now)
    return (
        f.TaskFailed(key, request.token, error)
        if _is_waiting(state, key)
        else InterruptRefused(key, request.token, error)
    )
