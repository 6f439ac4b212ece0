"""Feedback: what a person says to a run, and which of its handlers hear it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.context import Feedback
from agenticflow.core.decider import Fact
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.interventions.moments import MAX_REASON_CHARS
from agenticflow.orchestration.state import Heard, RunState, TaskRecord, TaskStatus

__all__ = ["feedback_for", "feedback_given", "give_feedback", "is_for", "said_before"]

MAX_FEEDBACK: Final = 100
"""Times that somebody may say something to a workflow, over all of its runs."""
MAX_FEEDBACK_BYTES: Final = 16 * 1024
_OVER: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED})


def give_feedback(state: RunState, command: c.GiveFeedback) -> Sequence[Fact]:
    """Take what a person says. Raises ``InvalidInput``, and ``CommandRefused`` when nobody would hear it."""
    key, size = command.task_key, len(command.feedback)
    if size > MAX_FEEDBACK_BYTES:
        raise InvalidInput(
            f"the feedback is {size:,} bytes, above the limit of {MAX_FEEDBACK_BYTES:,}",
            hint="say where the data is, not the data",
        )
    if len(state.feedback) >= MAX_FEEDBACK:
        raise CommandRefused(
            f"workflow {state.workflow_id!r} was given feedback {MAX_FEEDBACK} times, which is the limit",
            hint="abort it, and start it anew with what it has to know as its input",
        )
    if key and key.partition("[")[0] not in state.laid_out.by_id:
        raise InvalidInput(
            f"workflow {state.workflow_id!r} has no task {key!r}",
            hint=f"it has {', '.join(list(state.laid_out.by_id)[:20])}",
        )
    if key in state.tasks and state.tasks[key].status in _OVER:
        raise CommandRefused(
            f"task {key!r} of workflow {state.workflow_id!r} is {state.tasks[key].status}: nobody would hear it",
            hint="give it to another task, or to all that follow by naming none",
        )
    reason = command.reason[:MAX_REASON_CHARS]
    return [f.FeedbackGiven(msgspec.Raw(command.feedback), command.requested_by, key, reason)]


def feedback_given(state: RunState, fact: f.FeedbackGiven, version: int, at: int) -> None:
    """Part of the fold."""
    said_at = at if fact.said_at is None else fact.said_at
    state.feedback.append(Heard(bytes(fact.feedback), fact.given_by, said_at, fact.task_key, fact.reason))


def said_before(heard: Iterable[Heard]) -> Iterator[f.FeedbackGiven]:
    """Yield what people said to the run before, for the one that goes on after it."""
    for one in heard:
        yield f.FeedbackGiven(msgspec.Raw(one.feedback), one.given_by, one.task_key, one.reason, one.at)


def is_for(task_key: str, record: TaskRecord) -> bool:
    """Whether what is for ``task_key`` is for ``record`` too."""
    return task_key in ("", record.key, record.node.task.task_id)


def feedback_for(state: RunState, record: TaskRecord) -> tuple[Feedback, ...]:
    """Return what people have said to ``record``, oldest first, decoded anew."""
    return tuple(
        Feedback(codec.decode(heard.feedback), heard.given_by, heard.at, heard.task_key, number)
        for number, heard in enumerate(state.feedback, 1)
        if is_for(heard.task_key, record)
    )
