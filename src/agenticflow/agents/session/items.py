"""What an item of a conversation looks like: made plain, and which items must stay together. Pure.

Items are what the OpenAI Agents SDK and the Responses API put into a history (``{"role": "user", "content": "…"}``,
``{"type": "function_call", "call_id": …}``), or chat messages with ``tool_calls``. Nothing here changes what fits already: who takes an
item back and compares it finds it equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.context.outputs import structured_text
from agenticflow.agents.session.facts import SessionItem
from agenticflow.core import codec
from agenticflow.core.types import Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["MAX_ITEM_BYTES", "encode_items", "plain_item"]

MAX_ITEM_BYTES: Final = 8 * 1024 * 1024
MAX_ITEMS_AT_ONCE: Final = 10_000
OUTPUT_ENDING: Final = "_output"


def plain_item(item: object, *, cleans: bool = False) -> dict[str, Any]:
    """Return the item as plain data: dataclasses, structs and models become dictionaries, and a message whose content is an object
    becomes one whose content is that object as JSON text, which is what models read.

    With ``cleans`` the fences and the prose around JSON in an answer of the assistant go as well. Raises ``InvalidInput`` for what is
    no item, ``NotSerializable``.
    """
    if isinstance(item, (str, bytes)) or item is None:
        raise InvalidInput(
            f"{item!r:.60} is no item of a conversation", hint='add {"role": "user", "content": "the text"}'
        )
    content = item.get("content") if isinstance(item, Mapping) else None
    if isinstance(item, Mapping) and _is_object(content):
        item = {**item, "content": msgspec.json.encode(codec.decode(codec.encode(content))).decode()}
    plain = codec.decode(codec.encode(item))
    if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
        raise InvalidInput(
            f"an item of a conversation is a mapping, not a {type(item).__name__}",
            hint='add {"role": "user", "content": "the text"}',
        )
    if cleans and plain.get("role") == "assistant":
        _clean(plain)
    return plain


def encode_items(items: Iterable[object], *, cleans: bool = False) -> tuple[tuple[SessionItem, ...], Blobs]:
    """Return the items as they are recorded, and the large ones beside them.

    Raises ``InvalidInput`` and ``NotSerializable`` for what is no item, ``BoundExceeded`` for an item over 8 MiB or more than 10,000.
    """
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise InvalidInput(f"items come as a list, not as a {type(items).__name__}", hint="add_items([item])")
    encoded: list[SessionItem] = []
    blobs: list[tuple[str, bytes]] = []
    thought = ""  # a reasoning item and what came of it are refused without each other
    for item in items:
        if len(encoded) >= MAX_ITEMS_AT_ONCE:
            raise BoundExceeded(
                f"more than {MAX_ITEMS_AT_ONCE:,} items at once",
                hint="add them in several calls; a model sees the last ones",
            )
        plain = plain_item(item, cleans=cleans)
        data = codec.encode(plain)
        if len(data) > MAX_ITEM_BYTES:
            raise BoundExceeded(
                f"an item of {len(data):,} bytes passes the limit of {MAX_ITEM_BYTES:,}",
                hint="keep large content in a file and say in the item where it is",
            )
        stored, large = store_form(data)
        blobs += large
        opens, closes = _calls_in(plain)
        if plain.get("type") == "reasoning" and isinstance(plain.get("id"), str):
            thought = plain["id"]
            opens = (thought,)
        elif thought and not closes and (opens or plain.get("role") == "assistant"):
            closes = thought
        else:
            thought = ""
        encoded.append(SessionItem(msgspec.Raw(stored), opens, closes))
    return tuple(encoded), tuple(blobs)


def _calls_in(item: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return the ids of the calls that the item opens, and of the one that it closes."""
    call_id = item.get("call_id")
    if isinstance(call_id, str) and call_id:
        return ((), call_id) if str(item.get("type", "")).endswith(OUTPUT_ENDING) else ((call_id,), "")
    answered = item.get("tool_call_id")
    if isinstance(answered, str) and answered:
        return (), answered
    calls = item.get("tool_calls")
    if isinstance(calls, list):
        ids = [call.get("id") for call in calls if isinstance(call, dict)]
        return tuple(name for name in ids if isinstance(name, str) and name), ""
    return (), ""


def _is_object(content: object) -> bool:
    """Whether the content is a structured answer: no text, and no list of parts."""
    return content is not None and not isinstance(content, (str, bytes, list, tuple))


def _clean(message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = structured_text(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str):
                part["text"] = structured_text(part["text"])
