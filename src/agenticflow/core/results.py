"""What came of a piece of work: recorded errors, outcomes of attempts, and the result users hold."""

from __future__ import annotations

import enum
import math
from typing import Final, Generic, TypeVar

import msgspec

from agenticflow.errors import AgenticFlowError, InvalidInput, PermanentError, UsageError

__all__ = [
    "NOT_HAPPENED",
    "CheckAnswer",
    "ErrorInfo",
    "Happened",
    "NotHappened",
    "Outcome",
    "OutcomeKind",
    "TaskResult",
    "describe_error",
]

T = TypeVar("T")
MAX_MESSAGE_CHARS = 2_000
MAX_TRACE_CHARS = 4_000


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as it is recorded: data, bounded, comparable."""

    type: str
    """Class name."""
    message: str
    code: str = ""
    """Stable code when it is one of ours."""
    is_permanent: bool = False
    """Whether another attempt is pointless whatever the policy says."""
    kinds: tuple[str, ...] = ()
    """Names of the class and its bases, so that policies can name a base class."""
    trace: str = ""
    """The last lines of the traceback."""
    attempt: int = 0
    at: int = 0
    """When it was recorded, in nanoseconds since the epoch."""
    retry_after_seconds: float = 0.0
    """How long whoever failed wants to be left alone; 0 when it did not say."""
    told: dict[str, str] = {}
    """What one of ours says beside its words, by name: ``guardrail``, ``budget_id`` …"""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def describe_error(error: BaseException, *, trace: str = "") -> ErrorInfo:
    """Return ``error`` as data. Text beyond the bounds is cut: the head of the message, the tail of the trace."""
    kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind not in (BaseException, object))
    ours = isinstance(error, AgenticFlowError)
    return ErrorInfo(
        type=type(error).__name__,
        message=_encodable(_words_of(error)[:MAX_MESSAGE_CHARS]),
        code=error.code if isinstance(error, AgenticFlowError) else "",
        is_permanent=ours and isinstance(error, (PermanentError, UsageError)),
        kinds=kinds,
        trace=_encodable(trace[-MAX_TRACE_CHARS:]),
        retry_after_seconds=_wish_of(error),
        told=_told_by(error) if ours else {},
    )


def _told_by(error: BaseException) -> dict[str, str]:
    names: tuple[str, ...] = getattr(type(error), "told", ())
    return {name: _encodable(str(getattr(error, name))[:MAX_MESSAGE_CHARS]) for name in names}


def _wish_of(error: BaseException) -> float:
    wished = getattr(error, "retry_after_seconds", None)
    if isinstance(wished, bool) or not isinstance(wished, (int, float)):
        return 0.0
    return float(wished) if 0 < wished < math.inf else 0.0


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it has no words; that must not hide that it happened
        return ""


def _encodable(text: str) -> str:
    """Return ``text`` without what no encoding has: file names that are no UTF-8 come in as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


class OutcomeKind(enum.StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The handler asks a person (``core.interrupts``) and runs again when there is an answer; the value is what it asks."""
    UNKNOWN = "unknown"
    """Nobody can say: the process died, or the work could not be stopped in time."""


SUCCEEDED: Final = OutcomeKind.SUCCEEDED
"""What is asked for several times in each step is looked up faster in a module than in its enumeration."""


class Outcome(msgspec.Struct, frozen=True):
    """The end of one attempt. ``value`` is the encoded result (or blob reference) of a success, or what an interrupted one asks."""

    kind: OutcomeKind
    value: bytes = b""
    error: ErrorInfo | None = None
    is_abandoned: bool = False
    """Whether the handler still runs, out of reach; a later report may tell its end."""
    is_undoable: bool = False
    """Whether it is a sub-execution that did something which it can undo."""


class Happened(msgspec.Struct, frozen=True):
    """A check function found that the work has happened; ``value`` is the result of the task."""

    value: object = None


class NotHappened(enum.Enum):
    """A check function found that the work has not happened, and will not by itself: it may run again."""

    NOT_HAPPENED = "not happened"


NOT_HAPPENED: Final = NotHappened.NOT_HAPPENED
CheckAnswer = Happened | NotHappened | None
"""What a check function returns; ``None`` when it cannot say."""


class TaskResult(Generic[T]):
    """A value or an error. ``unwrap`` gives the value or raises."""

    __slots__ = ("error", "value")

    def __init__(self, value: T | None, error: ErrorInfo | None) -> None:
        self.value = value
        self.error = error

    @classmethod
    def success(cls, value: T) -> TaskResult[T]:
        """Return a result that holds ``value``."""
        return cls(value, None)

    @classmethod
    def failure(cls, error: BaseException | ErrorInfo | str) -> TaskResult[T]:
        """Return a result that holds ``error``: an exception, its record, or words."""
        if isinstance(error, BaseException):
            return cls(None, describe_error(error))
        if isinstance(error, str):
            return cls(None, ErrorInfo(type="Failure", message=error))
        if not isinstance(error, ErrorInfo):
            raise InvalidInput(f"{error!r} is not an error", hint='write TaskResult.failure("what went wrong")')
        return cls(None, error)

    def is_success(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value. Raises ``PermanentError`` with the error's words when there is none."""
        if self.error is not None:
            raise PermanentError(f"the task failed: {self.error}", hint="look at .error, or ask is_success() first")
        return self.value  # type: ignore[return-value]  # a success holds a T, which may be None itself

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskResult):
            return NotImplemented
        return bool(self.value == other.value) and self.error == other.error

    def __hash__(self) -> int:
        return hash((repr(self.value), self.error))

    def __repr__(self) -> str:
        return (
            f"TaskResult.success({self.value!r})" if self.error is None else f"TaskResult.failure({str(self.error)!r})"
        )
