"""The chat-completions wire format, as a server speaks it: written from its documentation, not from our adapter."""

from __future__ import annotations

import base64
import json
from typing import Any

from agenticflow.agents.model import (
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    ModelResponse,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    assistant,
    parse_arguments,
    system,
    tool_results,
    user,
)
from agenticflow.testing.model_kit import Refuses, Seen
from tests.conformance.model_servers.http import WireServer, pieces_of, sse

REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}
TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
CODES = {"content_filter": "content_filter", "maximum context": "context_length_exceeded"}


class ChatServer(WireServer):
    """``reasoning_field`` is how this server calls reasoning: they differ."""

    reasoning_field = "reasoning_content"

    def pieces(self, response: ModelResponse) -> list[bytes]:
        said: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        calls = 0
        for part in response.parts:
            if isinstance(part, ReasoningPart):
                said += [{self.reasoning_field: piece} for piece in pieces_of(part.text)]
            elif isinstance(part, TextPart):
                said += [{"content": piece} for piece in pieces_of(part.text)]
            else:
                begin: dict[str, Any] = {"index": calls, "id": part.call_id, "type": "function"}
                function: dict[str, Any] = {"name": part.name, "arguments": ""}
                said.append({"tool_calls": [{**begin, "function": function}]})
                said += [
                    {"tool_calls": [{"index": calls, "function": {"arguments": piece}}]}
                    for piece in pieces_of(arguments_of(part))
                ]
                calls += 1
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in said]
        choices.append({"index": 0, "delta": {}, "finish_reason": REASONS[response.finish_reason]})
        events = [sse(self._chunk([choice])) for choice in choices]
        if response.usage is not None:
            events.append(sse({**self._chunk([]), "usage": usage_of(response)}))
        return [*events, b"data: [DONE]\n\n"]

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        named: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-test-0001",
        }
        return {**named, "choices": choices, "usage": None}

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": response.text or None}
        if response.reasoning:
            message[self.reasoning_field] = response.reasoning
        if response.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": arguments_of(call)},
                }
                for call in response.tool_calls
            ]
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": REASONS[response.finish_reason]}
        named: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-test-0001",
        }
        return {**named, "choices": [choice], "usage": usage_of(response) if response.usage is not None else None}

    def garbled_piece(self, data: bytes) -> bytes:
        return sse(data)

    def refusal(self, refusal: Refuses) -> dict[str, Any]:
        code = next((code for words, code in CODES.items() if words in refusal.words), None)
        kind = refusal.code or TYPES.get(refusal.status, "invalid_request_error")
        return {"error": {"message": refusal.words, "type": kind, "param": None, "code": code}}

    def read(self, body: dict[str, Any]) -> Seen:
        form = body.get("response_format")
        return Seen(
            messages=messages_in(body),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools", ())),
            schema=form["json_schema"]["schema"] if form else None,
            temperature=body.get("temperature"),
            max_output_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
            stop=tuple(body.get("stop", ())),
        )


def arguments_of(call: ToolCallPart) -> str:
    return call.malformed or json.dumps(call.arguments)


def usage_of(response: ModelResponse) -> dict[str, Any]:
    usage = response.usage
    assert usage is not None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def messages_in(body: dict[str, Any]) -> tuple[Message, ...]:
    """Read the messages of a request; results of tools that follow each other answer one message."""
    found: list[Message] = []
    for message in body["messages"]:
        match message["role"]:
            case "system":
                found.append(system(message["content"]))
            case "user":
                content = message["content"]
                found.append(user(content) if isinstance(content, str) else user(*map(block_in, content)))
            case "assistant":
                calls = [
                    parse_arguments(call["id"], call["function"]["name"], call["function"]["arguments"])
                    for call in message.get("tool_calls", ())
                ]
                words = [message["content"]] if message["content"] else []
                found.append(assistant(*words, *calls))
            case "tool":
                words = message["content"]
                is_error = words.startswith("error: ")
                result = ToolResultPart(message["tool_call_id"], words.removeprefix("error: "), is_error)
                if found and found[-1].role is Role.TOOL:
                    earlier = [part for part in found.pop().parts if isinstance(part, ToolResultPart)]
                    found.append(tool_results(*earlier, result))
                else:
                    found.append(tool_results(result))
            case role:
                raise AssertionError(f"the format has no role {role!r}")
    return tuple(found)


def block_in(block: dict[str, Any]) -> TextPart | ImagePart | FilePart:
    match block["type"]:
        case "text":
            return TextPart(block["text"])
        case "image_url":
            url = block["image_url"]["url"]
            return ImagePart(*data_in(url)) if url.startswith("data:") else ImagePart(url=url)
        case "file":
            return FilePart(*data_in(block["file"]["file_data"]), name=block["file"]["filename"])
        case kind:
            raise AssertionError(f"the format has no block {kind!r}")


def data_in(url: str) -> tuple[bytes, str]:
    head, _, data = url.partition(",")
    return base64.b64decode(data), head.removeprefix("data:").removesuffix(";base64")
