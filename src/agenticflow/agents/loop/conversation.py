"""The conversation of a loop as a model is asked with it: messages out of entries, and where it may be cut. Pure.

Every call has exactly one result in the messages right after it: results stand in one entry, in the order of the calls, and no entry with
results is ever separated from the answer before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from agenticflow.agents.loop.state import Entry, LoopState, Said
from agenticflow.agents.loop.summaries import is_summary
from agenticflow.agents.model.parts import (
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    tool_results,
    unpack_messages,
)
from agenticflow.core import codec
from agenticflow.errors import CorruptStore

__all__ = ["Conversation", "cut_for_summary", "cut_of_first", "messages_in", "unique_calls"]

KEPT_ENTRIES: Final = 6
"""Of the newest, which a summary never stands for."""

_ATTACHMENT_CHARS: Final = 4_000
"""What a picture or a document is counted as."""

Resolve = Callable[[bytes], bytes]


def messages_in(entry: Entry, resolve: Resolve) -> tuple[Message, ...]:
    """Return the messages of one entry. ``resolve`` brings large values; whatever it raises goes through."""
    if isinstance(entry, Said):
        return tuple(unpack_messages(resolve(entry.data)))
    parts = [ToolResultPart(one.call_id, _text(resolve(one.content)), is_error=one.is_error) for one in entry.results]
    return (tool_results(*parts),)


class Conversation:
    """The messages of a loop, kept decoded: a turn costs what is new, not what was said before. Private to whoever asks."""

    __slots__ = ("_ends", "_left_out", "_messages", "call_ids", "chars")

    def __init__(self) -> None:
        self.chars = 0
        """How long it is, in characters of its words, calls and results."""
        self.call_ids: set[str] = set()
        """Ids of all calls that were ever in it, those of earlier conversations included."""
        self._messages: list[Message] = []
        self._ends: list[int] = []
        """Of each entry: where its messages end."""
        self._left_out = 0

    def of(self, state: LoopState) -> list[Message]:
        """Return all messages in force. The list is this object's own: look, and copy what is kept.

        Raises ``BlobMissing`` for a large value that is not at hand; called again it goes on where it was.
        """
        if state.left_out != self._left_out or len(self._ends) > len(state.entries):
            self._messages, self._ends, self._left_out, self.chars = [], [], state.left_out, 0
        for place in range(len(self._ends), len(state.entries)):
            added = messages_in(state.entries[place], state.values.resolve)
            self._messages += added
            self._ends.append(len(self._messages))
            self.chars += sum(map(_length, added))
            self.call_ids.update(call.call_id for message in added for call in message.tool_calls)
        return self._messages

    def first(self, entries: int) -> list[Message]:
        """Return the messages of the first ``entries``, as far as they were asked for."""
        return self._messages[: self._ends[entries - 1]]


def unique_calls(message: Message, turn: int, *used: Collection[str]) -> Message:
    """Return an answer whose calls have ids of their own: some servers begin anew with each answer, or name all calls alike.

    ``used`` are the ids of calls before it. No provider takes a conversation in which two calls have the same, and a call of ours is known
    by it.
    """
    seen: set[str] = set()
    parts: list[Part] = []
    is_changed = False
    for place, part in enumerate(message.parts):
        if isinstance(part, ToolCallPart):
            call_id = part.call_id
            while any(call_id in ids for ids in (seen, *used)):
                call_id = f"{call_id}-{turn}-{place}"
            if call_id != part.call_id:
                part, is_changed = msgspec.structs.replace(part, call_id=call_id), True
            seen.add(call_id)
        parts.append(part)
    return Message(Role.ASSISTANT, tuple(parts)) if is_changed else message


def cut_for_summary(entries: Sequence[Entry], kept: int = KEPT_ENTRIES) -> int:
    """Return how many entries, the oldest, a summary may stand for; 0 when there are too few.

    What is kept begins with something that was said, so that no result loses its call.
    """
    cut = len(entries) - kept
    while cut > 0 and not isinstance(entries[cut], Said):
        cut -= 1
    return max(0, cut) if cut > 1 else 0


def cut_of_first(messages: Sequence[Message], asked_from: int, kept: int = KEPT_ENTRIES) -> int:
    """Return how many of the messages that a loop began with a summary may stand for; 0 when there are too few.

    Those from before the agent was asked, or, when there are none (any more), all but the newest.
    """
    if asked_from > 1 or (asked_from == 1 and not is_summary(messages[0])):
        return min(asked_from, len(messages))
    cut = len(messages) - kept
    while cut > 0 and messages[cut].role is Role.TOOL:
        cut -= 1
    return cut if cut > 1 else 0


def _length(message: Message) -> int:
    length = 0
    for part in message.parts:
        match part:
            case ToolResultPart():
                length += len(part.content)
            case ToolCallPart():
                length += len(part.name) + len(part.malformed) + sum(len(str(one)) for one in part.arguments.values())
            case TextPart() | ReasoningPart():
                length += len(part.text)
            case _:
                length += _ATTACHMENT_CHARS
    return length


def _text(encoded: bytes) -> str:
    text = codec.decode(encoded)
    if not isinstance(text, str):
        raise CorruptStore(f"the result of a call is a {type(text).__name__}, not a text")
    return text
