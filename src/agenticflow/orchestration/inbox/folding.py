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

_Answer = (
    f.ApprovalGranted
    | f.ApprovalRejected
    | a.ApprovalAnswered
    | a.ApprovalEscalated
    | a.ApprovalDelegated
    | a.InterruptAnswered
    | a.InterruptRefused
    | a.InterruptWithdrawn
)

__all__ = [
    "answered",
    "delegated",
    "escalated",
    "granted",
    "interrupt_answered",
    "interrupted",
    "interrupted_again",
    "kept",
    "refused",
    "rejected",
    "required",
    "withdrawn",
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


def interrupted_again(state: RunState, fact: a.TaskInterruptedAgain, version: int, at: int) -> None:
    """A handler has ended for what is open already, or was answered while it ran."""
    record = state.tasks[fact.task_key]
    record.deadline = None
    if fact.is_due:
        _run_again(state, record)
    else:
        state.set_status(record, TaskStatus.WAITING)
        _show_first(state, record)


def withdrawn(state: RunState, fact: a.InterruptWithdrawn, version: int, at: int) -> None:
    """The handler does not ask that any more."""
    request = _request(state, fact)
    request.is_withdrawn = True
    state.close_request(request)


def refused(state: RunState, fact: a.InterruptRefused, version: int, at: int) -> None:
    """A no that its task hears of when its handler comes to it."""
    request = _request(state, fact)
    request.refusal = fact.error
    if fact.decided_by:
        request.votes.append(Vote(fact.decided_by, False, fact.error.message, at, "rejected"))
    state.close_request(request)


def _open(state: RunState, record: TaskRecord, request: Request) -> None:
    state.set_status(record, TaskStatus.WAITING)
    record.token = request.token
    state.requests.setdefault(record.key, {})[request.key] = state.unlisted[request.token] = request
    _show_first(state, record)
    _set_timers(state, request, request.terms)


def _show_first(state: RunState, record: TaskRecord) -> None:
    """Of several open questions the task shows the first, and the earliest deadline."""
    asked = state.requests[record.key].values()
    record.question = next(iter(asked)).question
    record.due = min((one.terms.deadline for one in asked if one.terms.deadline is not None), default=0)


def _request(state: RunState, fact: _Answer) -> Request:
    asked = state.requests[fact.task_key].values()
    return next(request for request in asked if request.token == fact.token)


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
    request, result = _request(state, fact), bytes(fact.result)
    is_approval = isinstance(fact, f.ApprovalGranted) or fact.is_approval
    fingerprint = fact.given or (codec.content_hash(result) if is_approval else "rejected")
    request.votes.append(Vote(fact.decided_by, is_approval, fact.comment, at, fingerprint))
    request.answer = result


def rejected(state: RunState, fact: f.ApprovalRejected, version: int, at: int) -> None:
    """A rejection that decides."""
    request = _request(state, fact)
    request.votes.append(Vote(fact.decided_by, False, fact.error.message, at, "rejected"))
    fail(state, state.tasks[fact.task_key], fact.error, at)


def answered(state: RunState, fact: a.ApprovalAnswered, version: int, at: int) -> None:
    """One answer of several."""
    request = _request(state, fact)
    request.votes.append(Vote(fact.decided_by, fact.is_approval, fact.comment, at, fact.given, fact.value))
    state.unlisted[request.token] = request


def escalated(state: RunState, fact: a.ApprovalEscalated, version: int, at: int) -> None:
    """More people may answer."""
    request = _request(state, fact)
    request.people += [one for one in fact.to if one not in request.people and one not in request.former]
    request.level = fact.level
    state.version = version
    state.unlisted[request.token] = request
    if request.next_escalation is not None:
        state.add_timer(request.next_escalation, ESCALATION, fact.task_key)


def delegated(state: RunState, fact: a.ApprovalDelegated, version: int, at: int) -> None:
    """Another person may answer in the place of one."""
    request = _request(state, fact)
    # Who may answer by a step of the escalation that nobody looked at yet stands in no list.
    place = request.people.index(fact.decided_by) if fact.decided_by in request.people else len(request.people)
    request.people[place : place + 1] = [fact.to]
    request.former.append(fact.decided_by)
    request.delegations.append(Delegation(fact.decided_by, fact.to, fact.comment, at))
    state.unlisted[request.token] = request


def interrupt_answered(state: RunState, fact: a.InterruptAnswered, version: int, at: int) -> None:
    """The handler runs again with the answer: the same attempt, from its beginning. One that runs with another finds it when it asks."""
    _vote(state, fact, at)
    state.close_request(_request(state, fact))
    record = state.tasks[fact.task_key]
    if record.status is TaskStatus.WAITING:
        _run_again(state, record)


def _run_again(state: RunState, record: TaskRecord) -> None:
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
