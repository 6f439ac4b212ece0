"""What models behind Pydantic AI's layer refuse a request with, as errors of ours: for its agents, and for it as a layer of models."""

from __future__ import annotations

from pydantic_ai import exceptions as theirs

from agenticflow.agents.model.recovery import refusal
from agenticflow.errors import AgenticFlowError, ContentRefused, ModelTimeout, ModelUnavailable

__all__ = ["refusal_in"]


def refusal_in(error: BaseException) -> AgenticFlowError | None:
    """Return the error that a failed request to a model means; ``None`` for any other."""
    match error:
        case theirs.ModelHTTPError():
            after = (error.headers or {}).get("retry-after", "")
            seconds = float(after) if after.replace(".", "", 1).isdigit() else None
            words = str(error.body or error)
            return refusal(error.model_name, error.status_code, words=words, retry_after_seconds=seconds)
        case theirs.ContentFilterError():
            return ContentRefused(f"the model will not answer this: {error}")
        case theirs.ModelTimeoutError() | theirs.ModelRequestTimeout():
            return ModelTimeout(f"the model {error.model_name!r} did not answer in time")
        case theirs.ModelAPIError():
            return ModelUnavailable(f"the model {error.model_name!r} is out of reach: {error}", hint="ask again later")
        case _:
            return None
