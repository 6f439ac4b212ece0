"""Messages as items of a session, and back. Pure.

A session holds what the OpenAI Agents SDK and the Responses API put into a history, so an agent of ours and one of that SDK go on with each
other's conversations. Chat messages with ``tool_calls`` are read as well. What has no place in a message is left out: who reads a foreign
history takes the words, calls and results.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.model.parts import (
    MAX_ATTACHMENT_BYTES,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    parse_arguments,
    tool_results,
)
from agenticflow.core import codec

__all__ = ["items_of", "messages_of"]

_MAX_DATA_CHARS: Final = MAX_ATTACHMENT_BYTES // 3 * 4
_LOST: Final = "the result of this call was not kept"


def items_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return ``messages`` as items, in order."""
    return [item for message in messages for item in _items_in(message)]


def _items_in(message: Message) -> Iterator[dict[str, Any]]:
    if message.role is Role.TOOL:
        for part in message.parts:
            assert isinstance(part, ToolResultPart), "nothing else stands in such a message"
            item = {"type": "function_call_output", "call_id": part.call_id, "output": part.content}
            yield {**item, "status": "incomplete"} if part.is_error else item
        return
    if message.role is Role.ASSISTANT:
        yield from _items_of_answer(message)
        return
    content = [_content_of(part) for part in message.parts]
    words = content[0].get("text") if len(content) == 1 else None
    yield {"role": message.role.value, "content": content if words is None else words}


def _items_of_answer(message: Message) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if isinstance(part, TextPart):
            yield {"role": "assistant", "content": part.text}
        elif isinstance(part, ToolCallPart):
            arguments = part.malformed or msgspec.json.encode(part.arguments).decode()
            yield {"type": "function_call", "call_id": part.call_id, "name": part.name, "arguments": arguments}
        else:
            assert isinstance(part, ReasoningPart), "an answer holds nothing else"
            yield {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
                "encrypted_content": part.sealed or None,
                "signature": part.signature,
                "provider": part.provider,
            }


def _content_of(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, ImagePart):
        return {"type": "input_image", "image_url": part.url or _data_url(part.data, part.media_type)}
    assert isinstance(part, FilePart), "a user says nothing else"
    if part.url:
        return {"type": "input_file", "file_url": part.url, "filename": part.name}
    return {"type": "input_file", "file_data": _data_url(part.data, part.media_type), "filename": part.name}


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


# --- back ---------------------------------------------------------------------------------------------------------------


def messages_of(items: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return ``items`` as messages that every provider takes: each call has exactly one result, right after it.

    A result without its call is left out; a call without a result gets one that says so.
    """
    made: list[Message] = []
    said: list[TextPart | ReasoningPart | ToolCallPart] = []
    results: dict[str, ToolResultPart] = {}

    def close() -> None:
        """An answer is over, and with it the results of its calls."""
        if said:
            made.append(Message(Role.ASSISTANT, tuple(said)))
            calls = [part for part in said if isinstance(part, ToolCallPart)]
            if calls:
                made.append(
                    tool_results(
                        *(results.get(one.call_id) or ToolResultPart(one.call_id, _LOST, True) for one in calls)
                    )
                )
        said.clear()
        results.clear()

    for item in items:
        result = _result_in(item)
        if result is not None:
            results.setdefault(result.call_id, result)
            continue
        spoken = list(_spoken_in(item))
        if spoken:
            if results:
                close()
            said.extend(spoken)
            continue
        message = _told_in(item)
        if message is not None:
            close()
            made.append(message)
    close()
    return made


def _result_in(item: Mapping[str, Any]) -> ToolResultPart | None:
    if item.get("type") == "function_call_output":
        return ToolResultPart(
            str(item.get("call_id", "")), _words(item.get("output")), item.get("status") == "incomplete"
        )
    if item.get("role") == "tool":
        return ToolResultPart(str(item.get("tool_call_id", "")), _words(item.get("content")))
    return None


def _spoken_in(item: Mapping[str, Any]) -> Iterator[TextPart | ReasoningPart | ToolCallPart]:
    """Yield what a model said in one item; several items may be one answer."""
    kind = item.get("type")
    if kind == "function_call":
        yield parse_arguments(str(item.get("call_id", "")), str(item.get("name", "")), str(item.get("arguments") or ""))
    elif kind == "reasoning":
        text = "".join(str(one.get("text", "")) for one in _list(item.get("summary")) if isinstance(one, Mapping))
        sealed = str(item.get("encrypted_content") or "")
        if text or sealed:
            yield ReasoningPart(text, str(item.get("signature") or ""), sealed, str(item.get("provider") or ""))
    elif item.get("role") == "assistant":
        words = _words(item.get("content"))
        if words:
            yield TextPart(words)
        for call in _list(item.get("tool_calls")):
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                yield parse_arguments(
                    str(call.get("id", "")), str(function.get("name", "")), str(function.get("arguments") or "")
                )


def _told_in(item: Mapping[str, Any]) -> Message | None:
    """Return what a user or the program said, ``None`` for what is no message."""
    role = item.get("role")
    if role in ("system", "developer"):
        words = _words(item.get("content"))
        return Message(Role.SYSTEM, (TextPart(words),)) if words else None
    if role != "user":
        return None
    content = item.get("content")
    if not isinstance(content, list):
        return Message(Role.USER, (TextPart(_words(content)),))
    parts = [part for one in content if isinstance(one, Mapping) and (part := _part_in(one)) is not None]
    return Message(Role.USER, tuple(parts)) if parts else None


def _part_in(content: Mapping[str, Any]) -> TextPart | ImagePart | FilePart | None:
    kind = content.get("type")
    if kind in ("input_text", "text", "output_text"):
        return TextPart(str(content.get("text", "")))
    if kind in ("input_image", "image_url"):
        given = content.get("image_url")
        url = str(given.get("url", "")) if isinstance(given, Mapping) else str(given or "")
        data, media_type = _data_in(url)
        if data:
            return ImagePart(data, media_type)
        return ImagePart(url=url) if url else None
    if kind == "input_file":
        name = str(content.get("filename") or "")
        data, media_type = _data_in(str(content.get("file_data") or ""))
        if data:
            return FilePart(data, media_type, name=name)
        url = str(content.get("file_url") or "")
        return FilePart(url=url, name=name) if url else None
    return None


def _data_in(url: str) -> tuple[bytes, str]:
    """Return what a ``data:`` URL holds, and its media type; nothing for any other, nor for more than a message takes."""
    head, comma, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not comma or head != f"data:{media_type};base64" or "/" not in media_type or len(data) > _MAX_DATA_CHARS:
        return b"", ""
    try:
        return b64decode(data, validate=True), media_type
    except (Base64Error, ValueError):
        return b"", ""


def _words(content: object) -> str:
    """Return the text that ``content`` is: words, a list of parts with words, or data as JSON."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [one for one in content if isinstance(one, Mapping)]
        found = [str(one[kind]) for one in parts for kind in ("text", "refusal") if kind in one]
        if found or not content:
            return "".join(found)
    return msgspec.json.encode(codec.decode(codec.encode(content))).decode()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
