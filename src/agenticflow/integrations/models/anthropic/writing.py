"""Our requests as bodies of the messages format. Pure.

What this format has no place for: a temperature (the API of 2026-10-21 refuses every request that names one) and a seed are left out, and
messages of the program are put together in front, wherever they stood.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Final

from agenticflow.agents.model.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agenticflow.agents.model.requests import ModelRequest, ToolChoice, ToolSpec

__all__ = ["PROVIDER", "Body", "body_of"]

Body = dict[str, object]
PROVIDER: Final = "anthropic"
MALFORMED: Final = "malformed_arguments"
"""Where the model sees again what it wrote in place of JSON: the format takes objects only."""
_CHOICES: Final = {ToolChoice.AUTO: "auto", ToolChoice.NONE: "none", ToolChoice.REQUIRED: "any"}


def body_of(request: ModelRequest, model: str, *, max_tokens: int) -> Body:
    """Return the body that asks ``model``. The format demands a limit of output tokens: ``max_tokens`` when the request has none."""
    body: Body = {
        "model": model,
        "max_tokens": request.max_output_tokens or max_tokens,
        "messages": _messages(request.messages),
    }
    told = "\n\n".join(message.text for message in request.messages if message.role is Role.SYSTEM and message.text)
    if told:
        body["system"] = told
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = (
            {"type": "tool", "name": request.forced_tool}
            if request.forced_tool
            else {"type": _CHOICES[request.tool_choice]}
        )
    config: Body = {}
    if request.output is not None:
        config["format"] = {"type": "json_schema", "schema": request.output.schema}
    if request.reasoning_effort:
        config["effort"] = request.reasoning_effort
        if (
            not request.forced_tool and request.tool_choice is not ToolChoice.REQUIRED
        ):  # the format refuses both at once
            body["thinking"] = {"type": "adaptive"}
    if config:
        body["output_config"] = config
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    return body


def _messages(messages: Iterable[Message]) -> list[Body]:
    written: list[Body] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        blocks = [block for part in message.parts if (block := _block(part)) is not None]
        if blocks:  # the format has no empty messages
            role = "assistant" if message.role is Role.ASSISTANT else "user"
            written.append({"role": role, "content": blocks})
    return written


def _block(part: Part) -> Body | None:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text} if part.text else None
        case ReasoningPart():
            return _reasoning(part)
        case ImagePart():
            return {"type": "image", "source": _source(part)}
        case FilePart():
            document: Body = {"type": "document", "source": _source(part)}
            return document | ({"title": part.name} if part.name else {})
        case ToolCallPart():
            arguments = {MALFORMED: part.malformed} if part.is_malformed else part.arguments
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": arguments}
        case ToolResultPart():
            return _result(part)


def _reasoning(part: ReasoningPart) -> Body | None:
    """Return the reasoning as it came; what another provider's model thought is not sent, it could not be proven."""
    if part.provider != PROVIDER:
        return None
    if part.sealed:
        return {"type": "redacted_thinking", "data": part.sealed}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature} if part.signature else None


def _source(part: ImagePart | FilePart) -> Body:
    if part.url:
        return {"type": "url", "url": part.url}
    if part.media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": part.data.decode("utf-8", "replace")}
    return {"type": "base64", "media_type": part.media_type, "data": b64encode(part.data).decode()}


def _result(part: ToolResultPart) -> Body:
    content: object = part.content
    if part.attachments:
        texts: list[Body] = [{"type": "text", "text": part.content}] if part.content else []
        content = texts + [_block(item) for item in part.attachments]
    return {"type": "tool_result", "tool_use_id": part.call_id, "content": content, "is_error": part.is_error}


def _tool(tool: ToolSpec) -> Body:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
