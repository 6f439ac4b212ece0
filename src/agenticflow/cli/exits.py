"""How a command ends: exit codes, and errors in words.

An error comes in, two lines on stderr and a code go out. Whose move it is decides the code; a traceback is shown only to who asks for it,
because a user's mistake is not the program's.
"""

from __future__ import annotations

import enum
import os
import traceback
from typing import Final

from agenticflow.cli.terminal import note
from agenticflow.errors import (
    AgenticFlowError,
    AgentNotFoundError,
    CommandRefused,
    ConcurrencyConflict,
    ConfigurationError,
    DefinitionError,
    InvariantError,
    StoreOwned,
    UsageError,
    WorkflowExecutionError,
    WorkflowIdConflict,
    WorkflowNotFoundError,
)
from agenticflow.orchestration.statuses import WorkflowStatus

__all__ = ["DEBUG_VARIABLE", "Exit", "NotThere", "code_of", "code_of_status", "tell"]

DEBUG_VARIABLE: Final = "AGENTICFLOW_DEBUG"
_REPORT: Final = (
    "this is a bug in agenticflow: please report it with the output of the same command after `agenticflow --debug`"
)


class Exit(enum.IntEnum):
    """Exit codes. Part of the contract: scripts depend on them."""

    OK = 0
    INTERNAL = 1
    """A bug in agenticflow."""
    USAGE = 2
    """The command, the definition or the input is wrong; nothing was started."""
    FAILED = 3
    """The run failed, the store is damaged, or the world did not let it happen."""
    CANCELLED = 4
    STILL_RUNNING = 5
    """The run goes on later: interrupted, or handed over."""
    WAITS_FOR_A_PERSON = 6
    """The run cannot go on before somebody sends a signal, unpauses it, or says what became of a task."""
    NOT_FOUND = 7
    CONFLICT = 8
    """Somebody or something else is in the way: another owner, another definition under this id, a run that has ended."""
    INTERRUPTED = 130
    """Ctrl-C in a command that runs nothing."""


class NotThere(UsageError):
    """What the command is about does not exist."""

    code = "not_found"


_CODES: Final[tuple[tuple[tuple[type[AgenticFlowError], ...], Exit], ...]] = (
    ((InvariantError,), Exit.INTERNAL),
    ((WorkflowNotFoundError, AgentNotFoundError, NotThere), Exit.NOT_FOUND),
    ((WorkflowIdConflict, ConcurrencyConflict, StoreOwned, CommandRefused), Exit.CONFLICT),
    ((UsageError,), Exit.USAGE),
    ((AgenticFlowError,), Exit.FAILED),
)


def code_of(error: AgenticFlowError) -> Exit:
    """Return the exit code for an error of ours."""
    if isinstance(error, WorkflowExecutionError):
        return Exit.CANCELLED if error.status == WorkflowStatus.CANCELLED else Exit.FAILED
    return next(code for kinds, code in _CODES if isinstance(error, kinds))


def code_of_status(status: WorkflowStatus) -> Exit:
    """Return the exit code that says where a run stands."""
    match status:
        case WorkflowStatus.COMPLETED | WorkflowStatus.CONTINUED:
            return Exit.OK
        case WorkflowStatus.CANCELLED:
            return Exit.CANCELLED
        case WorkflowStatus.FAILED | WorkflowStatus.PARTIALLY_FAILED | WorkflowStatus.COMPENSATED:
            return Exit.FAILED
        case WorkflowStatus.NEEDS_ATTENTION | WorkflowStatus.PAUSED:
            return Exit.WAITS_FOR_A_PERSON
        case _:
            return Exit.STILL_RUNNING


def tell(error: BaseException) -> Exit:
    """Say on stderr what went wrong and what to do; return the exit code."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # the parser of arguments has its own family of errors, with this in common
        context = getattr(error, "ctx", None)
        _say(format_message(), f"`{context.command_path} --help` shows how it is used" if context is not None else "")
        return Exit.USAGE
    if not isinstance(error, AgenticFlowError):
        words = " ".join(str(error).split())
        _say(f"internal error: {type(error).__name__}: {words[:500]}", _REPORT)
        return Exit.INTERNAL
    if isinstance(error, (DefinitionError, ConfigurationError)) and len(error.problems) > 1:
        _say(f"{len(error.problems)} mistakes:")
        for problem in error.problems:
            note(f"  {problem}")
        _hint(error.hint)
    else:
        alone = error.problems[0] if isinstance(error, DefinitionError) else error.message
        _say(alone, error.hint or (_REPORT if isinstance(error, InvariantError) else ""))
    if isinstance(error, WorkflowExecutionError) and (len(error.failed) > 1 or error.remaining):
        for key, reason in list(error.failed.items())[:20]:
            note(f"  task {key}: {reason}")
        if error.remaining:
            note(f"  never ran: {', '.join(error.remaining[:20])}")
    return code_of(error)


def _say(message: str, hint: str = "") -> None:
    note(f"error: {message}")
    _hint(hint)


def _hint(hint: str) -> None:
    if hint:
        note(f"hint: {hint}")
