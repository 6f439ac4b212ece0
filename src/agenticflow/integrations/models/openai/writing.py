"""Our requests as chat-completions bodies. Pure.

What this format has no place for: reasoning is not sent back; a failed tool's result is marked by words; pictures and documents of a tool
go along in a message of the user right after the results.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from agenticflow.agents.model.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agenticflow.agents.model.requests import ModelRequest, OutputSpec, ToolChoice, ToolSpec

__all__ = ["Body", "body_of"]

Body = dict[str, object]
FAILED: Final = "error: "
MALFORMED: Final = "malformed_arguments"
"""Where a model sees again what it wrote in place of JSON: many servers refuse a conversation whose arguments are none."""


def body_of(
    request: ModelRequest, model: str, *, is_streaming: bool, limit_field: str, has_temperature: bool = True
) -> Body:
    """Return the body that asks ``model``. ``limit_field`` is what the server calls the limit of output tokens."""
    body: Body = {"model": model, "messages": list(_messages(request.messages))}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        choice = _tool_choice(request)
        if choice is not None:
            body["tool_choice"] = choice
    if request.output is not None:
        body["response_format"] = _response_format(request.output)
    for name, value in (
        ("temperature", request.temperature if has_temperature else None),
        (limit_field, request.max_output_tokens),
        ("stop", list(request.stop) or None),
        ("seed", request.seed),
        ("reasoning_effort", request.reasoning_effort or None),
    ):
        if value is not None:
            body[name] = value
    if is_streaming:
        body["stream_options"] = {"include_usage": True}
    return body


def _messages(messages: Iterable[Message]) -> Iterator[Body]:
    attached: list[Body] = []
    for message in messages:
        if message.role is Role.TOOL:
            results = [part for part in message.parts if isinstance(part, ToolResultPart)]
            yield from map(_result, results)
            attached += [block for part in results for block in _attached(part)]
            continue
        if attached:  # results of one answer stand together, whatever they attach
            yield {"role": "user", "content": attached}
            attached = []
        match message.role:
            case Role.SYSTEM:
                yield {"role": "system", "content": message.text}
            case Role.USER:
                yield {"role": "user", "content": _content(message.parts)}
            case Role.ASSISTANT:
                yield _assistant(message)
    if attached:
        yield {"role": "user", "content": attached}


def _content(parts: tuple[Part, ...]) -> object:
    if all(isinstance(part, TextPart) for part in parts):
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        if len(texts) == 1:
            return texts[0]
    return [_block(part) for part in parts]


def _block(part: Part) -> Body:
    match part:
        case ImagePart():
            return {"type": "image_url", "image_url": {"url": part.url or _data_url(part.data, part.media_type)}}
        case FilePart():
            if part.url:
                return {"type": "text", "text": f"{part.name or 'file'}: {part.url}"}
            file: Body = {"file_data": _data_url(part.data, part.media_type), "filename": part.name or "file"}
            return {"type": "file", "file": file}
        case TextPart():
            return {"type": "text", "text": part.text}
        case _:
            raise AssertionError(f"a message of a user holds no {type(part).__name__}")


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def _assistant(message: Message) -> Body:
    body: Body = {"role": "assistant", "content": message.text}
    calls = [_call(call) for call in message.tool_calls]
    if calls:
        body["tool_calls"] = calls
        body["content"] = message.text or None
    return body


def _call(call: ToolCallPart) -> Body:
    arguments = {MALFORMED: call.malformed} if call.is_malformed else call.arguments
    written = msgspec.json.encode(arguments).decode()
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": written}}


def _result(part: ToolResultPart) -> Body:
    content = f"{FAILED}{part.content}" if part.is_error else part.content
    return {"role": "tool", "tool_call_id": part.call_id, "content": content}


def _attached(part: ToolResultPart) -> Iterator[Body]:
    if part.attachments:
        yield {"type": "text", "text": f"What the tool call {part.call_id} gave:"}
        yield from map(_block, part.attachments)


def _tool(tool: ToolSpec) -> Body:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def _tool_choice(request: ModelRequest) -> object:
    if request.forced_tool:
        return {"type": "function", "function": {"name": request.forced_tool}}
    return None if request.tool_choice is ToolChoice.AUTO else request.tool_choice.value


def _response_format(output: OutputSpec) -> Body:
    form: Body = {"name": output.name, "schema": output.schema, "strict": _is_strict(output.schema)}
    return {"type": "json_schema", "json_schema": form}


def _is_strict(schema: object) -> bool:
    """Whether OpenAI holds answers to the schema exactly: every object is closed and requires all its fields."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required")
        names = required if isinstance(required, list) else []
        if schema.get("additionalProperties") is not False or set(properties) != set(names):
            return False
    elif schema.get("type") == "object":
        return False
    return all(_is_strict(inner) for inner in schema.values())
