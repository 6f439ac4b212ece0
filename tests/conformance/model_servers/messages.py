"""The messages wire format, as a server speaks it: written from its documentation, not from our adapter."""

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
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    system,
)
from agenticflow.testing.model_kit import Refuses, Seen
from tests.conformance.model_servers.http import WireServer, pieces_of, sse

REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class MessagesServer(WireServer):
    def pieces(self, response: ModelResponse) -> list[bytes]:
        usage = usage_of(response.usage or Usage())
        message = {**named(), "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
        for index, part in enumerate(response.parts):
            opened, deltas = block_pieces(part)
            events.append({"type": "content_block_start", "index": index, "content_block": opened})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        stop = {"stop_reason": REASONS[response.finish_reason], "stop_sequence": None}
        output = {"output_tokens": usage["output_tokens"]}
        events += [{"type": "message_delta", "delta": stop, "usage": output}, {"type": "message_stop"}]
        return [sse(event, event["type"]) for event in events]

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        content = [whole_block(part) for part in response.parts]
        usage = usage_of(response.usage or Usage())
        return {**named(), "content": content, "stop_reason": REASONS[response.finish_reason], "usage": usage}

    def garbled_piece(self, data: bytes) -> bytes:
        return sse(data, "message_start")

    def refusal(self, refusal: Refuses) -> dict[str, Any]:
        kind = refusal.code or TYPES.get(refusal.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": refusal.words}, "request_id": "req_1"}

    def read(self, body: dict[str, Any]) -> Seen:
        assert body["max_tokens"] > 0
        told = [system(body["system"])] if "system" in body else []
        form = body.get("output_config", {}).get("format")
        return Seen(
            messages=(*told, *map(message_in, body["messages"])),
            tools=tuple(tool["name"] for tool in body.get("tools", ())),
            schema=form["schema"] if form else None,
            temperature=body.get("temperature"),
            max_output_tokens=body["max_tokens"],
            stop=tuple(body.get("stop_sequences", ())),
        )


def named() -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test-0001", "stop_sequence": None}


def usage_of(usage: Usage) -> dict[str, Any]:
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return {
        "input_tokens": plain,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
    }


def block_pieces(part: TextPart | ReasoningPart | ToolCallPart) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match part:
        case TextPart():
            return {"type": "text", "text": ""}, [
                {"type": "text_delta", "text": piece} for piece in pieces_of(part.text)
            ]
        case ReasoningPart() if part.sealed:
            return {"type": "redacted_thinking", "data": part.sealed}, []
        case ReasoningPart():
            deltas: list[dict[str, Any]] = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces_of(part.text)
            ]
            deltas.append({"type": "signature_delta", "signature": part.signature})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case ToolCallPart():
            written = part.malformed or json.dumps(part.arguments)
            opened = {"type": "tool_use", "id": part.call_id, "name": part.name, "input": {}}
            return opened, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces_of(written)]


def whole_block(part: TextPart | ReasoningPart | ToolCallPart) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ReasoningPart() if part.sealed:
            return {"type": "redacted_thinking", "data": part.sealed}
        case ReasoningPart():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolCallPart():
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": part.arguments}


def message_in(message: dict[str, Any]) -> Message:
    parts = tuple(map(part_in, message["content"]))
    assert parts, "the format has no empty messages"
    if message["role"] == "assistant":
        return Message(Role.ASSISTANT, parts)
    return Message(Role.TOOL if any(isinstance(part, ToolResultPart) for part in parts) else Role.USER, parts)


def part_in(block: dict[str, Any]) -> Part:
    match block["type"]:
        case "text":
            assert block["text"], "the format has no empty texts"
            return TextPart(block["text"])
        case "thinking":
            return ReasoningPart(block["thinking"], block["signature"], provider="anthropic")
        case "redacted_thinking":
            return ReasoningPart(sealed=block["data"], provider="anthropic")
        case "image":
            return ImagePart(**source_in(block["source"]))
        case "document":
            return FilePart(**source_in(block["source"]), name=block.get("title", ""))
        case "tool_use":
            return ToolCallPart(block["id"], block["name"], block["input"])
        case "tool_result":
            content = block["content"]
            if isinstance(content, str):
                return ToolResultPart(block["tool_use_id"], content, block["is_error"])
            parts = list(map(part_in, content))
            words = "".join(part.text for part in parts if isinstance(part, TextPart))
            attached = tuple(part for part in parts if isinstance(part, (ImagePart, FilePart)))
            return ToolResultPart(block["tool_use_id"], words, block["is_error"], attached)
        case kind:
            raise AssertionError(f"the format has no block {kind!r}")


def source_in(source: dict[str, Any]) -> dict[str, Any]:
    match source["type"]:
        case "url":
            return {"url": source["url"]}
        case "base64":
            return {"data": base64.b64decode(source["data"]), "media_type": source["media_type"]}
        case "text":
            return {"data": source["data"].encode(), "media_type": source["media_type"]}
        case kind:
            raise AssertionError(f"the format has no source {kind!r}")
