"""What models of Pydantic AI answer and its tools return, as plain data and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_ai import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, ToolReturn
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ToolReturnContent
from pydantic_ai.models import ModelRequestParameters

from agenticflow.agents.model.responses import Usage

__all__ = ["answer_of", "as_answer", "outcome_of", "raised_or_returned", "request_of", "signal_of", "used_in"]

_CONTENT: Final[TypeAdapter[Any]] = TypeAdapter(ToolReturnContent)
_RETURN: Final[TypeAdapter[ToolReturn]] = TypeAdapter(ToolReturn)
_PASSING: Final = frozenset({"timestamp", "run_id", "conversation_id", "metadata", "usage", "provider_response_id"})
"""What differs between two attempts that ask the same."""


def as_answer(response: ModelResponse) -> object:
    """Return an answer as plain data."""
    return ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]


def answer_of(data: object) -> ModelResponse:
    """Return the answer that was made into ``data``."""
    (message,) = ModelMessagesTypeAdapter.validate_python([data])
    assert isinstance(message, ModelResponse)
    return message


def used_in(data: object) -> Usage | None:
    """Return what the answer that was made into ``data`` used; ``None`` when the model did not tell."""
    used = answer_of(data).usage
    if not used.input_tokens and not used.output_tokens:
        return None
    thought = used.details.get("reasoning_tokens", 0)
    return Usage(used.input_tokens, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens, thought)


def request_of(
    messages: Sequence[ModelMessage], settings: Mapping[str, Any] | None, parameters: ModelRequestParameters
) -> dict[str, object]:
    """Return what a model is asked as far as its answer depends on it."""
    shown = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return {
        "messages": [_lasting(message) for message in shown],
        "settings": {name: repr(value) for name, value in (settings or {}).items()},
        "tools": sorted(tool.name for tool in parameters.function_tools),
        "outputs": sorted(tool.name for tool in parameters.output_tools),
        "output_mode": str(parameters.output_mode),
    }


def _lasting(message: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in message.items() if name not in _PASSING}
    found["parts"] = [
        {name: value for name, value in part.items() if name not in _PASSING} for part in message.get("parts", ())
    ]
    return found


def outcome_of(value: Any) -> dict[str, object]:
    """Return what a tool gave back as plain data. What has no form on the wire becomes its text."""
    if isinstance(value, ToolReturn):
        return {"kind": "tool-return", "data": _RETURN.dump_python(value, mode="json")}
    try:
        return {"kind": "value", "data": _CONTENT.dump_python(value, mode="json")}
    except ValueError:  # pydantic says so of what it has no form for
        return {"kind": "value", "data": str(value)}


def signal_of(error: Exception) -> dict[str, object] | None:
    """Return, as data, what a tool tells its loop by raising ``error``; ``None`` for an error that is one."""
    match error:
        case ModelRetry():
            return {"kind": "retry", "data": error.message}
        case ToolFailed():
            return {"kind": "failed", "data": error.message}
        case ApprovalRequired():
            return {"kind": "approval", "data": error.metadata}
        case CallDeferred():
            return {"kind": "deferred", "data": [error.metadata, error.kind]}
        case _:
            return None


def raised_or_returned(found: Any) -> Any:
    """Return what the tool returned, or raise what it told its loop."""
    if not isinstance(found, dict):
        return found  # what was given for an outcome that nobody knows
    data = found["data"]
    match found["kind"]:
        case "tool-return":
            return _RETURN.validate_python(data)
        case "retry":
            raise ModelRetry(data)
        case "failed":
            raise ToolFailed(data)
        case "approval":
            raise ApprovalRequired(data)
        case "deferred":
            raise CallDeferred(data[0], kind=data[1])
        case _:
            return _CONTENT.validate_python(data)
