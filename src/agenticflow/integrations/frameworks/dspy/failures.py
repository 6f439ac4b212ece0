"""What DSPy's own errors mean here: whose move it is, and whether another attempt makes sense."""

from __future__ import annotations

from typing import Final

from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedFeatureError,
)

from agenticflow.agents.spending.rules import is_not_billed
from agenticflow.errors import (
    AgenticFlowError,
    ConfigurationError,
    ContextTooLong,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRequestRefused,
    ModelTimeout,
    ModelUnavailable,
)

__all__ = ["is_unmade", "mapped"]

MAX_CAUSES: Final = 10
_UNMADE: Final = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMUnsupportedFeatureError,
)


def is_unmade(error: BaseException) -> bool:
    """Whether a call that raised ``error`` was refused before a model read it, for certain: it costs nothing."""
    return isinstance(error, _UNMADE) or is_not_billed(error)


def mapped(worker: str, error: BaseException) -> AgenticFlowError | None:
    """Return our error for one of DSPy's, ``None`` for one that the module raised itself: that is its author's to name."""
    if (ours := _within(error)) is not None:
        return ours
    model = getattr(error, "model", None) or "a model"
    match error:
        case ContextWindowExceededError():
            return ContextTooLong(f"{model!r} does not read that much at once: {error}")
        case LMAuthError() | LMBillingError():
            return ModelAccessDenied(
                f"{model!r} may not be asked: {error}", hint="look at the key, and at what it may do"
            )
        case LMConfigurationError():
            return ConfigurationError(f"{model!r} is not set up: {error}", hint="see what dspy.LM was given")
        case LMRateLimitError():
            return ModelRateLimited(f"{model!r} is asked too often: {error}", retry_after_seconds=_retry_after(error))
        case LMInvalidRequestError() | LMUnsupportedFeatureError():
            return ModelRequestRefused(f"{model!r} does not take the request: {error}")
        case LMTimeoutError():
            return ModelTimeout(f"nothing came from {model!r} in time: {error}", hint="ask again later")
        case LMServerError() | LMTransportError():
            return ModelUnavailable(f"{model!r} is out of reach: {error}", retry_after_seconds=_retry_after(error))
        case LMError():
            return ModelAnswerGarbled(f"{model!r} did not answer as it should: {error}")
        case AdapterParseError():
            return ModelOutputInvalid(
                f"the module of {worker!r} could not read what the model said: {error}", text=str(error.lm_response)
            )
        case _:
            return None


def _within(error: BaseException) -> AgenticFlowError | None:
    """Return our own error when that is what DSPy wraps: a call that a journal or a budget refused."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None or isinstance(cause, AgenticFlowError):
            return cause
        cause = cause.__cause__
    return None


def _retry_after(error: BaseException) -> float | None:
    seconds = getattr(error, "retry_after", None)
    return float(seconds) if isinstance(seconds, (int, float)) and seconds >= 0 else None
