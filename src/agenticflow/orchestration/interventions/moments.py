"""Why a run takes nothing from anybody now, and what is possible instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Final

from agenticflow.errors import CommandRefused
from agenticflow.orchestration.state import Phase, RunState, WorkflowStatus

__all__ = ["MAX_REASON_CHARS", "not_now"]

MAX_REASON_CHARS: Final = 2_000
"""Of why somebody did something."""

_STANDS: Final[Mapping[Phase, str]] = {
    Phase.NEW: "has not started",
    Phase.CANCELLING: "is being cancelled",
    Phase.CONTINUING: "is being continued in the next",
    Phase.COMPENSATING: "is being undone",
}
_NEXT: Final[Mapping[Phase, str]] = {
    Phase.NEW: "start it first",
    Phase.CANCELLING: "wait for its end; `agenticflow runs resume {id}` opens the next run then",
    Phase.CONTINUING: "ask again in a moment: the next run takes it",
    Phase.COMPENSATING: "only what became of a task can be said now: `agenticflow runs resolve {id} TASK completed|failed|run-again`",
}


def not_now(state: RunState, words: str) -> CommandRefused:
    """Return the refusal of a request that people call ``words``, by a run that is not going on."""
    what = _STANDS.get(state.phase, f"is {state.status}")
    if state.phase is not Phase.ENDED:
        hint = _NEXT[state.phase]
    elif state.outcome is WorkflowStatus.COMPLETED:
        hint = "it has its result; `agenticflow runs resume {id} --from-task TASK` runs what follows a task again"
    elif state.outcome is WorkflowStatus.CONTINUED:
        hint = "the run after it goes on in its place"
    else:
        hint = "resume_workflow, or `agenticflow runs resume {id}`, opens its next run"
    return CommandRefused(
        f"run {state.run_no} of workflow {state.workflow_id!r} {what} and takes no {words}",
        hint=hint.format(id=quote(state.workflow_id)),
    )
