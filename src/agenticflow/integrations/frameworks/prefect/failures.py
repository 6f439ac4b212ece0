"""What Prefect's own errors mean here: whose move it is, and whether another attempt makes sense."""

from __future__ import annotations

from typing import Final

from prefect.exceptions import (
    CancelledRun,
    ParameterBindError,
    ParameterTypeError,
    Pause,
    PausedRun,
    PrefectException,
    PrefectSignal,
    ReservedArgumentError,
    SignatureMismatchError,
)
from prefect.flow_engine import FlowRunTimeoutError

from agenticflow.errors import (
    AgenticFlowError,
    InvalidInput,
    PermanentError,
    TaskCancelled,
    TaskTimeout,
    TemporaryError,
)

__all__ = ["mapped"]

MAX_CAUSES: Final = 10


def mapped(flow: str, error: BaseException) -> AgenticFlowError | None:
    """Return our error for one of Prefect's, ``None`` for one that the flow raised itself: that is its author's to name."""
    match error:
        case ParameterTypeError() | ParameterBindError() | SignatureMismatchError() | ReservedArgumentError():
            return InvalidInput(f"the flow {flow!r} does not take its parameters: {error}", hint="see what it declares")
        case CancelledRun():
            return TaskCancelled(f"the flow {flow!r} was cancelled in Prefect: {error}")
        case FlowRunTimeoutError():
            return TaskTimeout(f"the flow {flow!r} was not done within its own timeout_seconds: {error}")
        case Pause() | PausedRun():
            return PermanentError(
                f"the flow {flow!r} was suspended, and nobody here would start it again",
                hint="ask people in the workflow: TaskDefinition.ask, or context.interrupt",
            )
        case PrefectException() | PrefectSignal():
            return TemporaryError(f"the flow {flow!r} did not come to a result: {type(error).__name__}: {error}")
        case _ if _is_out_of_reach(error):
            return TemporaryError(
                f"the server that the flow {flow!r} reports to is out of reach: {error}", hint="look at PREFECT_API_URL"
            )
        case _:
            return None


def _is_out_of_reach(error: BaseException) -> bool:
    """Whether Prefect's client failed at its transport; it wraps that in a ``RuntimeError``."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            return False
        if type(cause).__module__.partition(".")[0] in ("httpx", "httpcore"):
            return "prefect" in str(error).lower() or "Failed to reach API" in str(error)
        cause = cause.__cause__
    return False
