"""The one error tree. Every error says whose move it is, what happened, and what to do next.

::

    AgenticFlowError
    ├── UsageError                    yours: the program, a definition, a permission or a command
    │   ├── DefinitionError           a workflow, task, agent or handler is described wrongly
    │   ├── ConfigurationError        a URL, an option or an extra is wrong or missing
    │   ├── InvalidInput              a value does not fit the handler or the definition it is given to
    │   ├── NotSerializable           a value has no form on the wire
    │   ├── BoundExceeded             a value, history or queue would pass a hard limit
    │   ├── BudgetExceeded            a call may cost more than is left of a budget
    │   ├── ConcurrencyConflict       somebody else appended first: read again, decide again
    │   ├── WorkflowIdConflict        the id belongs to another definition or input
    │   ├── CommandRefused            the state does not allow the command
    │   │   ├── IllegalTransition     a state machine has no such transition
    │   │   └── UnsupportedInterventionError
    │   ├── NonDeterminismError       a workflow as code does not repeat what is recorded of its run
    │   ├── WorkflowNotFoundError / AgentNotFoundError
    │   ├── ToolNotFoundError         no tool has that name here
    │   ├── ModelRequestRefused       the model's provider does not take the request as it is
    │   │   └── ContextTooLong        it has more tokens than the model reads
    │   ├── ModelAccessDenied         the key is missing or wrong, or may not do this
    │   ├── ModelCallsForbidden       a test would have asked a real model
    │   └── SecurityError
    ├── WorldError                    the world's
    │   ├── TemporaryError            may go away by itself: worth another try
    │   │   ├── StoreUnavailable      closed, busy, disk full
    │   │   ├── StoreOwned            another process owns the file
    │   │   ├── NoHealthyAgentError   whoever could do the work is unhealthy, stopped or suspended
    │   │   ├── CircuitOpen           a circuit breaker lets nothing through
    │   │   ├── ResourceExhausted     no place, turn or resource became free in time
    │   │   ├── ModelUnavailable      the model's provider is overloaded, failing or out of reach
    │   │   │   ├── ModelRateLimited  it was asked too often
    │   │   │   ├── ModelTimeout      it did not answer in time
    │   │   │   ├── ModelStreamCut    its answer ended in the middle
    │   │   │   └── ModelAnswerGarbled  its answer does not speak the protocol
    │   │   ├── ModelOutputInvalid    the model's words do not have the form that was asked for
    │   │   └── TaskTimeout           a time limit passed
    │   │       └── ToolExecutionTimeoutError
    │   └── PermanentError            will not go away by itself
    │       ├── CorruptStore          the file is damaged or not ours
    │       ├── OutcomeUnknown        nobody can say whether the work happened
    │       ├── TaskCancelled         the work was told to stop, and did
    │       ├── ContentRefused        the model or its provider will not answer this
    │       ├── ResourceLimitExceeded  the work needed more memory or processor time than it may have
    │       ├── ToolExecutionError    a call of a tool has no value, and will have none
    │       ├── MaxTurnsExceeded      an agent has taken all its turns and is not done
    │       ├── AgentLooped           an agent calls the same again and again
    │       ├── GuardrailTripwireTriggered  a guardrail refused what goes in or comes out
    │       ├── StepFailed            a step of a workflow as code failed for good, or was cancelled
    │       └── WorkflowExecutionError  the run failed, with its failed and remaining tasks
    └── InvariantError                ours: a promise of the engine is broken; please report it

A handler may raise ``TemporaryError`` or ``PermanentError`` to say whether another attempt makes sense; any
other exception counts as temporary, a ``UsageError`` as permanent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

__all__ = [
    "AgentLooped",
    "AgentNotFoundError",
    "AgenticFlowError",
    "BoundExceeded",
    "BudgetExceeded",
    "CircuitOpen",
    "CommandRefused",
    "ConcurrencyConflict",
    "ConfigurationError",
    "ContentRefused",
    "ContextTooLong",
    "CorruptStore",
    "DefinitionError",
    "GuardrailTripwireTriggered",
    "IllegalTransition",
    "InvalidInput",
    "InvariantError",
    "MaxTurnsExceeded",
    "ModelAccessDenied",
    "ModelAnswerGarbled",
    "ModelCallsForbidden",
    "ModelOutputInvalid",
    "ModelRateLimited",
    "ModelRequestRefused",
    "ModelStreamCut",
    "ModelTimeout",
    "ModelUnavailable",
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
    "ToolExecutionError",
    "ToolExecutionTimeoutError",
    "ToolNotFoundError",
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
    told: ClassVar[tuple[str, ...]] = ()
    """What it says beside its words, each a text that its constructor takes: kept where the error is recorded."""

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


class BudgetExceeded(UsageError):
    """A call may cost more than is left of a budget, or its time is over; nothing was reserved, the call must not be made.

    ``budget_id`` names the budget, ``dimension`` what it lacks: ``usd``, ``tokens``, ``tool_calls`` or ``seconds``. ``is_held`` says that
    the call would be covered without what open calls have reserved, which may come to less.
    """

    code = "budget_exceeded"
    told: ClassVar[tuple[str, ...]] = ("budget_id", "dimension")

    def __init__(
        self, message: str, *, hint: str = "", budget_id: str = "", dimension: str = "", is_held: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.budget_id = budget_id
        self.dimension = dimension
        self.is_held = is_held


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


class ToolNotFoundError(UsageError):
    """No tool has that name here, or it is none of those that the caller was given."""

    code = "tool_not_found"


class ModelRequestRefused(UsageError):
    """The provider of a model does not take the request as it is: an unknown model, a wrong parameter, a schema it cannot use."""

    code = "model_request_refused"


class ContextTooLong(ModelRequestRefused):
    """The request has more tokens than the model reads: shorten the conversation, or take another model."""

    code = "context_too_long"


class ModelAccessDenied(UsageError):
    """The provider of a model does not know the key, or the key may not do this."""

    code = "model_access_denied"


class ModelCallsForbidden(UsageError):
    """A real model would have been asked while that is forbidden, as it is in tests; nothing was sent."""

    code = "model_calls_forbidden"


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


class ModelUnavailable(TemporaryError):
    """The provider of a model is overloaded, failing or out of reach.

    ``retry_after_seconds`` is when it wants to be asked again, ``None`` when it did not say.
    """

    code = "model_unavailable"

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class ModelRateLimited(ModelUnavailable):
    """The provider of a model was asked too often, or for too many tokens, or the quota is used up."""

    code = "model_rate_limited"


class ModelTimeout(ModelUnavailable):
    """A model said nothing, or did not end, within its time limit."""

    code = "model_timeout"


class ModelStreamCut(ModelUnavailable):
    """A model's answer ended in the middle; what came of it is not used."""

    code = "model_stream_cut"


class ModelAnswerGarbled(ModelUnavailable):
    """What came from the provider of a model does not speak its protocol; it is not used."""

    code = "model_answer_garbled"


class ModelOutputInvalid(TemporaryError):
    """A model's words do not have the form that was asked for. ``problems`` lists what is wrong, ``text`` is what it said."""

    code = "model_output_invalid"

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[str] = (), text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems) or (message,)
        self.text = text


class TaskTimeout(TemporaryError):
    """A time limit of an attempt, a task or a workflow has passed."""

    code = "timeout"


class ToolExecutionTimeoutError(TaskTimeout):
    """A call of a tool was not done within its time limit, or by the deadline of whoever called."""

    code = "tool_timeout"


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


class ContentRefused(PermanentError):
    """The model, or a filter of its provider, will not answer this. ``text`` is what it said instead."""

    code = "content_refused"

    def __init__(self, message: str, *, hint: str = "", text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


class ResourceLimitExceeded(PermanentError):
    """The work needed more memory or processor time than it may have, and was ended."""

    code = "resource_limit_exceeded"


class ToolExecutionError(PermanentError):
    """A call of a tool came to nothing, and will come to nothing again: from ``ToolResult.unwrap``."""

    code = "tool_failed"


class MaxTurnsExceeded(PermanentError):
    """An agent has asked its model as often as it may, and is not done."""

    code = "max_turns"


class AgentLooped(PermanentError):
    """An agent calls the same tools with the same arguments again and again."""

    code = "agent_looped"


class GuardrailTripwireTriggered(PermanentError):
    """A guardrail refused what went in or came out, or could not check it. ``guardrail`` is its name, ``kind`` what it guards
    (``input``, ``output``, ``tool_input``, ``tool_output``), ``reason`` what it said."""

    code = "guardrail"
    told: ClassVar[tuple[str, ...]] = ("guardrail", "kind", "reason")

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
        self,
        message: str,
        *,
        key: str = "",
        kind: str = "",
        kinds: Sequence[str] = (),
        reason: str = "",
        hint: str = "",
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
