"""A request of ours in the words of Pydantic AI: messages, settings and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from pydantic_ai import ToolDefinition
from pydantic_ai import messages as theirs
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from agenticflow.agents.model.parts import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agenticflow.agents.model.requests import ModelRequest, ToolChoice

__all__ = ["messages_of", "parameters_of", "settings_of"]


def messages_of(request: ModelRequest, provider: str) -> list[theirs.ModelMessage]:
    """Return the conversation; thoughts of another ``provider`` are left out."""
    found: list[theirs.ModelMessage] = []
    names: dict[str, str] = {}
    for message in request.messages:
        names |= {call.call_id: call.name for call in message.tool_calls}
        if message.role is Role.ASSISTANT:
            found.append(theirs.ModelResponse(parts=list(_answered(message, provider)), provider_name=provider))
            continue
        parts = list(_asked(message, names))
        if found and isinstance(found[-1], theirs.ModelRequest):
            found[-1] = theirs.ModelRequest(parts=[*found[-1].parts, *parts])
        else:
            found.append(theirs.ModelRequest(parts=parts))
    return found


def settings_of(request: ModelRequest) -> ModelSettings:
    """Return how the model shall answer, as far as the request says."""
    settings = ModelSettings()
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        settings["max_tokens"] = request.max_output_tokens
    if request.stop:
        settings["stop_sequences"] = list(request.stop)
    if request.seed is not None:
        settings["seed"] = request.seed
    if request.reasoning_effort:
        settings["thinking"] = request.reasoning_effort
    if request.forced_tool:
        settings["tool_choice"] = [request.forced_tool]
    elif request.tools and request.tool_choice is not ToolChoice.AUTO:
        settings["tool_choice"] = "none" if request.tool_choice is ToolChoice.NONE else "required"
    return settings


def parameters_of(request: ModelRequest) -> ModelRequestParameters:
    """Return the tools, and the form of the answer."""
    tools = [
        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.parameters)
        for tool in request.tools
    ]
    if request.output is None:
        return ModelRequestParameters(function_tools=tools)
    form = OutputObjectDefinition(json_schema=request.output.schema, name=request.output.name)
    return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=form)


def _answered(message: Message, provider: str) -> Iterator[theirs.ModelResponsePart]:
    for part in message.parts:
        match part:
            case TextPart():
                yield theirs.TextPart(part.text)
            case ReasoningPart() if part.provider == provider:
                signature = part.signature or part.sealed or None
                yield theirs.ThinkingPart(part.text, signature=signature, provider_name=provider)
            case ToolCallPart():
                written = part.malformed or msgspec.json.encode(part.arguments).decode()
                yield theirs.ToolCallPart(part.name, written, tool_call_id=part.call_id)
            case _:
                continue


def _asked(message: Message, names: dict[str, str]) -> Iterator[theirs.ModelRequestPart]:
    if message.role is Role.SYSTEM:
        yield theirs.SystemPromptPart(message.text)
    elif message.role is Role.USER:
        if all(isinstance(part, TextPart) for part in message.parts):
            yield theirs.UserPromptPart(message.text)
        else:
            yield theirs.UserPromptPart(_content(message.parts))
    else:
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                yield theirs.ToolReturnPart(
                    names.get(part.call_id, "tool"),
                    part.content,
                    tool_call_id=part.call_id,
                    outcome="failed" if part.is_error else "success",
                )
                if part.attachments:
                    yield theirs.UserPromptPart(_content(part.attachments))


def _content(parts: Sequence[object]) -> list[theirs.UserContent]:
    found: list[theirs.UserContent] = []
    for part in parts:
        match part:
            case TextPart():
                found.append(part.text)
            case ImagePart(url=url) if url:
                found.append(theirs.ImageUrl(url))
            case FilePart(url=url) if url:
                found.append(theirs.DocumentUrl(url))
            case ImagePart() | FilePart():
                found.append(theirs.BinaryContent(part.data, media_type=part.media_type))
            case _:
                continue
    return found
