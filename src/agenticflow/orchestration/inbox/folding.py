"""How the facts about requests to people change the state of a run. Nothing is decided here."""

from __future__ import annotations

from agenticflow.core import codec
from agenticflow.errors import InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import facts as a
from agenticflow.orchestration.approvals.requests import PLAIN_TERMS, Delegation, Request, Vote
from agenticflow.orchestration.approvals.terms import Terms
from agenticflow.orchestration.endings import complete, fail, take_ready
from agenticflow.orchestration.state import ANSWER, ESCALATION, TOTAL, RunState, TaskRecord, TaskStatus

__all__ = [
    "answered",
    "delegated",
    "escalated",
    "granted",
    "interrupt_answered",
    "interrupted",
    "kept",
    "rejected",
    "required",
]


def required(state: RunState, fact: f.ApprovalRequired, version: int, at: int) -> None:
    """An approval task asks."""
    record = take_ready(state, fact.task_key)
    record.scheduled_at = at
    state.version = version
    if fact.total_deadline is not None:
        state.add_timer(fact.total_deadline, TOTAL, fact.task_key)
    terms = PLAIN_TERMS if fact.terms is None else fact.terms
    _open(state, record, Request(fact.task_key, version, fact.question, at, terms, people=list(terms.assignees)))


def interrupted(state: RunState, fact: a.TaskInterrupted, version: int, at: int) -> None:
    """A handler asks; its attempt has ended."""
    record, terms = state.tasks[fact.task_key], fact.terms
    state.version = version
    record.deadline = None
    people = list(terms.assignees)
    _open(state, record, Request(fact.task_key, version, fact.question, at, terms, interrupt=fact.key, people=people))


def _open(state: RunState, record: TaskRecord, request: Request) -> None:
    state.set_status(record, TaskStatus.WAITING)
    record.token = request.token
    record.question = request.question
    record.due = request.terms.deadline or 0
    state.requests[record.key] = state.unlisted[request.token] = request
    _set_timers(state, request, request.terms)


def _set_timers(state: RunState, request: Request, terms: Terms) -> None:
    if terms.deadline is not None:
        state.add_timer(terms.deadline, ANSWER, request.task_key)
    if request.next_escalation is not None:
        state.add_timer(request.next_escalation, ESCALATION, request.task_key)


def granted(state: RunState, fact: f.ApprovalGranted, version: int, at: int) -> None:
    """The last approval that was needed."""
    _vote(state, fact, at)
    complete(state, state.tasks[fact.task_key], bytes(fact.result), at)


def _vote(state: RunState, fact: f.ApprovalGranted | a.InterruptAnswered, at: int) -> None:
    request, result = state.requests[fact.task_key], bytes(fact.result)
    fingerprint = fact.given or codec.content_hash(result)
    request.votes.append(Vote(fact.decided_by, True, fact.comment, at, fingerprint))
    request.answer = result


def rejected(state: RunState, fact: f.ApprovalRejected, version: int, at: int) -> None:
    """A rejection that decides."""
    request = state.requests[fact.task_key]
    request.votes.append(Vote(fact.decided_by, False, fact.error.message, at, "rejected"))
    fail(state, state.tasks[fact.task_key], fact.error, at)


def answered(state: RunState, fact: a.ApprovalAnswered, version: int, at: int) -> None:
    """One answer of several."""
    request = state.requests[fact.task_key]
    request.votes.append(Vote(fact.decided_by, fact.is_approval, fact.comment, at, fact.given, fact.value))
    state.unlisted[request.token] = request


def escalated(state: RunState, fact: a.ApprovalEscalated, version: int, at: int) -> None:
    """More people may answer."""
    request = state.requests[fact.task_key]
    request.people += [one for one in fact.to if one not in request.people and one not in request.former]
    request.level = fact.level
    state.version = version
    state.unlisted[request.token] = request
    if request.next_escalation is not None:
        state.add_timer(request.next_escalation, ESCALATION, fact.task_key)


def delegated(state: RunState, fact: a.ApprovalDelegated, version: int, at: int) -> None:
    """Another person may answer in the place of one."""
    request = state.requests[fact.task_key]
    # Who may answer by a step of the escalation that nobody looked at yet stands in no list.
    place = request.people.index(fact.decided_by) if fact.decided_by in request.people else len(request.people)
    request.people[place : place + 1] = [fact.to]
    request.former.append(fact.decided_by)
    request.delegations.append(Delegation(fact.decided_by, fact.to, fact.comment, at))
    state.unlisted[request.token] = request


def interrupt_answered(state: RunState, fact: a.InterruptAnswered, version: int, at: int) -> None:
    """The handler runs again with the answer: the same attempt, from its beginning."""
    _vote(state, fact, at)
    record = state.tasks[fact.task_key]
    state.set_status(record, TaskStatus.READY)
    record.attempt -= 1
    record.due = 0
    state.queue(record)


def kept(state: RunState, fact: a.AnswersKept, version: int, at: int) -> None:
    """A handler finds what people answered it in the runs before."""
    found = codec.decode(state.values.resolve(bytes(fact.answers)))
    if not isinstance(found, dict):
        raise InvariantError(f"the answers of run {state.stream_id!r} are no mapping")
    state.answers = found
