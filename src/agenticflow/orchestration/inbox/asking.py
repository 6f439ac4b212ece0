"""How requests to people come about: from an approval task that is ready, or from a handler that stops to ask. Pure.

Returns facts; a request that makes no sense now (a reference that leads nowhere, nobody to ask) is an ``InvalidInput`` that fails its task.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.forms import misfit
from agenticflow.core.interrupts import MAX_INTERRUPTS, MAX_NAME_CHARS, MAX_PEOPLE, Ask
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals.facts import InterruptWithdrawn, TaskInterrupted, TaskInterruptedAgain
from agenticflow.orchestration.approvals.terms import MAX_TERMS_BYTES, Approval, Terms, checked_arguments
from agenticflow.orchestration.lookups import lookup
from agenticflow.orchestration.state import RunState, TaskRecord

__all__ = ["MAX_QUESTION_CHARS", "ask", "interrupted"]

MAX_QUESTION_CHARS: Final = 2_000
NANOSECONDS: Final = 1_000_000_000


def ask(state: RunState, record: TaskRecord, total_deadline: int | None, now: int) -> Fact:
    """Return the fact that the approval task ``record`` asks. Raises ``InvalidInput``."""
    template, approval = record.node.approval, record.node.task.approval
    found = template.resolve(lookup(state)) if template is not None else None
    if not isinstance(approval, Approval) or not isinstance(found, dict):
        return f.ApprovalRequired(record.key, str(found)[:MAX_QUESTION_CHARS], total_deadline)
    terms = _terms(record.key, approval, found, now)
    return f.ApprovalRequired(record.key, str(found["question"])[:MAX_QUESTION_CHARS], total_deadline, terms)


def _terms(key: str, approval: Approval, found: dict[str, object], now: int) -> Terms:
    escalation = tuple(
        (now + int(step.after_seconds * NANOSECONDS), _people(key, "to", people))
        for step, people in zip(approval.escalation, _as_list(found["to"]), strict=True)
    )
    assignees = _people(key, "assignees", found["assignees"]) if approval.assignees else ()
    everybody = {*assignees, *(name for _, people in escalation for name in people)}
    if assignees and len(everybody) < approval.quorum:
        raise InvalidInput(f"the approval {key!r} needs {approval.quorum} of {', '.join(sorted(everybody))}")
    try:
        arguments = checked_arguments(found["arguments"], f"the approval {key!r}")
    except DefinitionError as error:
        raise InvalidInput(error.message, hint=error.hint) from error
    schema, limit = approval.response_schema, approval.deadline_seconds
    default = arguments if approval.default is None else approval.default
    if (
        schema is not None
        and approval.on_deadline == "approve"
        and (words := misfit(schema, default, "default")) is not None
    ):
        raise InvalidInput(f"the approval {key!r}: {words}")
    terms = Terms(
        assignees=assignees,
        quorum=approval.quorum,
        rejection_ends=approval.rejection_ends,
        deadline=None if limit is None else now + int(limit * NANOSECONDS),
        limit_seconds=limit,
        on_deadline=approval.on_deadline,
        default=approval.default,
        escalation=escalation,
        response_schema=None if schema is None else dict(schema),
        arguments=arguments,
        is_proposal=arguments is not None,
    )
    if (size := len(codec.encode(terms))) > MAX_TERMS_BYTES:
        raise InvalidInput(
            f"the terms of the approval {key!r} have {size:,} bytes, above the limit of {MAX_TERMS_BYTES:,}",
            hint="ask fewer people, or one name for a group of them",
        )
    return terms


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _people(key: str, what: str, given: object) -> tuple[str, ...]:
    names = given if isinstance(given, list) else [given]
    if not 1 <= len(names) <= MAX_PEOPLE or not all(
        isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS for name in names
    ):
        raise InvalidInput(
            f"{what} of the approval {key!r} give {given!r:.100}, not 1 to {MAX_PEOPLE} names",
            hint='point them at a list of names: assignees="${draft.reviewers}"',
        )
    return tuple(dict.fromkeys(names))


def interrupted(state: RunState, record: TaskRecord, encoded: bytes, now: int) -> list[Fact]:
    """Return the facts that the handler of ``record`` asks what ``encoded`` says, or that it must not.

    What is open stays as it is, and what it does not ask any more is withdrawn. An answer that came while it ran has it run again; a no
    that fails its task does so now.
    """
    asked = {question.key: question for question in msgspec.msgpack.decode(encoded, type=list[Ask])}
    open_ones, closed = state.requests.get(record.key, {}), state.answered.get(record.key, {})
    came = [closed[key] for key in asked if key in closed and key not in open_ones]
    if (refusal := next((one.refusal for one in came if one.refusal is not None), None)) is not None:
        return [
            f.TaskFailed(record.key, record.token, msgspec.structs.replace(refusal, attempt=record.attempt, at=now))
        ]
    answered = {one.key for one in came if one.answer is not None}
    new = [question for key, question in asked.items() if key not in open_ones and key not in answered]
    if len(closed.keys() | open_ones.keys() | asked.keys()) > MAX_INTERRUPTS:
        message = f"its handler asked more than {MAX_INTERRUPTS} times"
        error_info = ErrorInfo(
            "BoundExceeded", message, "bound_exceeded", is_permanent=True, attempt=record.attempt, at=now
        )
        return [f.TaskFailed(record.key, record.token, error_info)]
    facts: list[Fact] = [
        InterruptWithdrawn(record.key, one.token) for key, one in open_ones.items() if key not in asked
    ]
    facts += [_asked(record, question, now) for question in new]
    if answered or not new:
        facts.append(TaskInterruptedAgain(record.key, record.token, bool(answered)))
    return facts


def _asked(record: TaskRecord, question: Ask, now: int) -> Fact:
    limit = question.deadline_seconds
    terms = Terms(
        assignees=question.assignees,
        quorum=question.quorum,
        rejection_ends=question.rejection_ends,
        escalation=tuple((now + int(after * NANOSECONDS), to) for after, to in question.escalation),
        deadline=None if limit is None else now + int(limit * NANOSECONDS),
        limit_seconds=limit,
        on_deadline=question.on_deadline,
        default=question.default,
        response_schema=question.response_schema,
        arguments=question.value,
        # What is asked for by a form is something else than what is shown.
        is_proposal=question.value is not None and question.response_schema is None,
        on_rejection=question.on_rejection,
    )
    words = question.question or (question.value if isinstance(question.value, str) else f"task {record.key!r} asks")
    return TaskInterrupted(record.key, record.token, question.key, words[:MAX_QUESTION_CHARS], terms)
