"""The one error tree. Every error says whose move it is, what happened, and what to do next.

::

    AgenticFlowError
    ├── UsageError                    yours: the program, a definition, a permission or a command
    │   ├── DefinitionError           a workflow, task, agent or handler is described wrongly
    │   ├── ConfigurationError        a URL, an option or an extra is wrong or missing
    │   ├── InvalidInput              a value does not fit the handler or the definition it is given to
    │   ├── NotSerializable           a value has no form on the wire
    │   ├── BoundExceeded             a value, history or queue would pass a hard limit
    │   ├── ConcurrencyConflict       somebody else appended first: read again, decide again
    │   ├── WorkflowIdConflict        the id belongs to another definition or input
    │   ├── CommandRefused            the state does not allow the command
    │   │   ├── IllegalTransition     a state machine has no such transition
    │   │   └── UnsupportedInterventionError
    │   ├── WorkflowNotFoundError / AgentNotFoundError
    │   └── SecurityError
    ├── WorldError                    the world's
    │   ├── TemporaryError            may go away by itself: worth another try
    │   │   ├── StoreUnavailable      closed, busy, disk full
    │   │   ├── StoreOwned            another process owns the file
    │   │   ├── NoHealthyAgentError   whoever could do the work is unhealthy, stopped or suspended
    │   │   ├── CircuitOpen           a circuit breaker lets nothing through
    │   │   ├── ResourceExhausted     no place, turn or resource became free in time
    │   │   └── TaskTimeout           a time limit passed
    │   └── PermanentError            will not go away by itself
    │       ├── CorruptStore          the file is damaged or not ours
    │       ├── OutcomeUnknown        nobody can say whether the work happened
    │       ├── TaskCancelled         the work was told to stop, and did
    │       ├── ResourceLimitExceeded  the work needed more memory or processor time than it may have
    │       ├── GuardrailTripwireTriggered  a guardrail refused what goes in or comes out
    │       └── WorkflowExecutionError  the run failed, with its failed and remaining tasks
    └── InvariantError                ours: a promise of the engine is broken; please report it

A handler may raise ``TemporaryError`` or ``PermanentError`` to say whether another attempt makes sense; any
other exception counts as temporary, a ``UsageError`` as permanent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

__all__ = [
    "AgentNotFoundError",
    "AgenticFlowError",
    "BoundExceeded",
    "CircuitOpen",
    "CommandRefused",
    "ConcurrencyConflict",
    "ConfigurationError",
    "CorruptStore",
    "DefinitionError",
    "GuardrailTripwireTriggered",
    "IllegalTransition",
    "InvalidInput",
    "InvariantError",
    "NoHealthyAgentError",
    "NonDeterminismError",
    "NotSerializable",
    "OutcomeUnknown",
    "PermanentError",
    "ResourceExhausted",
    "ResourceLimitExceeded",
    "SecurityError",
    "StepFailed",
    "StoreOwned",
    "StoreUnavailable",
    "TaskCancelled",
    "TaskTimeout",
    "TemporaryError",
    "UnsupportedInterventionError",
    "UsageError",
    "WorkflowExecutionError",
    "WorkflowIdConflict",
    "WorkflowNotFoundError",
    "WorldError",
]


class AgenticFlowError(Exception):
    """Root of every error this package raises on purpose.

    ``code`` is stable across releases; ``hint`` says what to do; ``str(error)`` is both in one text.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(AgenticFlowError):
    """The caller can mend this: the program, a definition, a permission or the moment is wrong."""

    code = "usage"


class DefinitionError(UsageError):
    """A workflow, task, agent or handler is described wrongly. ``problems`` lists every mistake found."""

    code = "definition"

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems) or (message,)


class ConfigurationError(UsageError):
    """A URL, an option, a setting or an installed extra is wrong or missing. ``problems`` lists every mistake found."""

    code = "configuration"

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems) or (message,)


class InvalidInput(UsageError):
    """A value does not fit the handler, reference or definition it was given to."""

    code = "invalid_input"


class NotSerializable(UsageError):
    """A value has no form on the wire. The message names the place inside the value and its type."""

    code = "not_serializable"


class BoundExceeded(UsageError):
    """A hard limit would be passed; nothing was written."""

    code = "bound_exceeded"


class ConcurrencyConflict(UsageError):
    """The stream is not at the expected version: read it again and decide again; nothing was written."""

    code = "concurrency_conflict"

    def __init__(self, stream_id: str, expected: int, actual: int) -> None:
        super().__init__(
            f"stream {stream_id!r} is at version {actual}, not at the expected version {expected}",
            hint="somebody appended first; read the stream again and decide again",
        )
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual


class WorkflowIdConflict(UsageError):
    """The workflow id already names a chain of runs with another definition or another input."""

    code = "workflow_id_conflict"


class CommandRefused(UsageError):
    """The state of the execution does not allow the command; nothing was recorded."""

    code = "command_refused"


class IllegalTransition(CommandRefused):
    """A demanded state transition is not in the table."""

    code = "illegal_transition"


class UnsupportedInterventionError(CommandRefused):
    """The kind of intervention is unknown, or this execution does not take it."""

    code = "unsupported_intervention"


class WorkflowNotFoundError(UsageError):
    """No workflow has that id in this store."""

    code = "workflow_not_found"


class AgentNotFoundError(UsageError):
    """No agent or worker has that id here."""

    code = "agent_not_found"


class SecurityError(UsageError):
    """The principal may not do this."""

    code = "security"


class WorldError(AgenticFlowError):
    """Something outside the program failed."""

    code = "world"


class TemporaryError(WorldError):
    """May go away by itself; another try is worth it."""

    code = "temporary"


class StoreUnavailable(TemporaryError):
    """The store is closed, busy or out of space; nothing of the refused commit was written."""

    code = "store_unavailable"


class StoreOwned(TemporaryError):
    """Another living process owns the store file. ``owner_pid`` is ``None`` when it could not be read."""

    code = "store_owned"

    def __init__(self, message: str, *, hint: str = "", owner_pid: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.owner_pid = owner_pid


class NoHealthyAgentError(TemporaryError):
    """Agents could do the work, but none of them is healthy and in service now. ``agent_ids`` names them."""

    code = "no_healthy_agent"

    def __init__(self, message: str, *, hint: str = "", agent_ids: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.agent_ids = tuple(agent_ids)


class CircuitOpen(TemporaryError):
    """A circuit breaker lets nothing through; nothing was asked of what stands behind it.

    ``retry_after_seconds`` is when it lets the next one through at the earliest, ``None`` when a person holds it open.
    """

    code = "circuit_open"

    def __init__(
        self, message: str, *, hint: str = "", breaker: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.breaker = breaker
        self.retry_after_seconds = retry_after_seconds


class ResourceExhausted(TemporaryError):
    """No place, turn or resource became free in time, or too many wait for one already; nothing was started.

    ``retry_after_seconds`` is when asking again makes sense, ``None`` when nobody can say.
    """

    code = "resource_exhausted"

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class TaskTimeout(TemporaryError):
    """A time limit of an attempt, a task or a workflow has passed."""

    code = "timeout"


class PermanentError(WorldError):
    """Will not go away by itself; another try is pointless."""

    code = "permanent"


class CorruptStore(PermanentError):
    """The store's content is damaged, or it was not made by this package; it was left untouched."""

    code = "corrupt_store"


class OutcomeUnknown(PermanentError):
    """Nobody can say whether the work happened: reconcile it or let a person decide."""

    code = "outcome_unknown"


class TaskCancelled(PermanentError):
    """The work was told to stop, and did."""

    code = "cancelled"


class ResourceLimitExceeded(PermanentError):
    """The work needed more memory or processor time than it may have, and was ended."""

    code = "resource_limit_exceeded"


class GuardrailTripwireTriggered(PermanentError):
    """A guardrail refused what went in or came out, or could not check it. ``guardrail`` is its name, ``kind`` what it guards
    (``input``, ``output``, ``tool_input``, ``tool_output``), ``reason`` what it said."""

    code = "guardrail"

    def __init__(self, message: str, *, hint: str = "", guardrail: str = "", kind: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.guardrail = guardrail
        self.kind = kind
        self.reason = reason


class WorkflowExecutionError(PermanentError):
    """A run ended without its result. ``failed`` maps task keys to their last error in words,
    ``remaining`` are the tasks that never ran."""

    code = "workflow_failed"

    def __init__(
        self,
        message: str,
        *,
        workflow_id: str,
        failed: Mapping[str, str] | None = None,
        remaining: Sequence[str] = (),
        status: str = "FAILED",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.workflow_id = workflow_id
        self.failed = dict(failed or {})
        self.remaining = tuple(remaining)
        self.status = status


class StepFailed(PermanentError):
    """A step of a workflow as code has failed for good, or was cancelled: its function may catch this and go on another way.

    ``key`` names the step, ``kind`` the class of the error it failed with, ``kinds`` that class and its bases; ``reason`` is that error's
    code (``"rejected"``, ``"timeout"``, ``"cancelled"``, …), empty for errors that are not ours.
    """

    code = "step_failed"

    def __init__(
        self, message: str, *, key: str, kind: str, kinds: Sequence[str] = (), reason: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.kind = kind
        self.kinds = tuple(kinds)
        self.reason = reason


class NonDeterminismError(UsageError):
    """A workflow as code asks for other steps than were recorded of its run: the run stands still until its function fits again."""

    code = "non_determinism"


class InvariantError(AgenticFlowError):
    """A promise of the engine does not hold. This is a bug in agenticflow: please report it."""

    code = "invariant"
