"""What can be true of a conversation, and what can be asked of it. Pure data.

The stream ``session-<session id>`` holds everything that was ever said; what a model sees of it is the window (``window``).
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.errors import InvalidInput

__all__ = [
    "SESSION_FACTS",
    "AddItems",
    "ChangeMetadata",
    "ClearSession",
    "PopItem",
    "SessionCleared",
    "SessionItem",
    "SessionItemPopped",
    "SessionItemsAdded",
    "SessionMetadataChanged",
    "SessionSummarized",
    "SummarizeItems",
    "stream_of_session",
]

MAX_ID_CHARS: Final = 200
STREAM: Final = "session-"


class SessionItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One item of a conversation, encoded, with what has to stay together."""

    data: msgspec.Raw
    """The item, or the reference to a large one."""
    opens: tuple[str, ...] = ()
    """Ids of the tool calls that it asks for, or its own as a thought."""
    closes: str = ""
    """Id of the tool call whose outcome it is, or of the thought that led to it."""


class SessionItemsAdded(Fact, frozen=True):
    """Something was said, asked or answered in a conversation."""

    event_type: ClassVar[str] = "session_items_added"
    stream: ClassVar[str] = "session-<session id>"
    items: tuple[SessionItem, ...]
    keep: int
    """How many items the window holds at most: the oldest leave it."""


class SessionItemPopped(Fact, frozen=True):
    """The newest item of a conversation was taken back."""

    event_type: ClassVar[str] = "session_item_popped"
    stream: ClassVar[str] = "session-<session id>"


class SessionSummarized(Fact, frozen=True):
    """The oldest items of a conversation gave way to a summary of them."""

    event_type: ClassVar[str] = "session_summarized"
    stream: ClassVar[str] = "session-<session id>"
    summary: SessionItem
    through: int
    """Number of the last item that the summary stands for; items are numbered from 1 as they are added."""


class SessionCleared(Fact, frozen=True):
    """A conversation begins anew: nothing of what was said is seen any more."""

    event_type: ClassVar[str] = "session_cleared"
    stream: ClassVar[str] = "session-<session id>"


class SessionMetadataChanged(Fact, frozen=True):
    """What is known about a conversation has changed."""

    event_type: ClassVar[str] = "session_metadata_changed"
    stream: ClassVar[str] = "session-<session id>"
    values: dict[str, msgspec.Raw]
    """New values by name; null takes a name away."""


SESSION_FACTS: Final = FactCodec(
    [SessionItemsAdded, SessionItemPopped, SessionSummarized, SessionCleared, SessionMetadataChanged]
)


class AddItems(Command, frozen=True, kw_only=True):
    """Add ``items`` after what is there, whatever that is, and keep ``keep`` of all."""

    items: tuple[SessionItem, ...]
    keep: int


class PopItem(Command, frozen=True, kw_only=True):
    """Take the newest item back, if there is one."""


class SummarizeItems(Command, frozen=True, kw_only=True):
    """Let ``summary`` stand for everything up to item ``through``, if that is still there to be summarized."""

    summary: SessionItem
    through: int
    era: int
    """The window's era when the items were read."""


class ClearSession(Command, frozen=True, kw_only=True):
    """Begin anew."""


class ChangeMetadata(Command, frozen=True, kw_only=True):
    """Set these encoded values by name; null takes a name away."""

    values: dict[str, bytes]


def stream_of_session(session_id: str) -> str:
    """Return where the conversation is. Raises ``InvalidInput`` for what is no session id."""
    if not isinstance(session_id, str) or not 1 <= len(session_id) <= MAX_ID_CHARS or not session_id.isprintable():
        raise InvalidInput(
            f"{session_id!r:.60} is no session id", hint=f"use 1 to {MAX_ID_CHARS} printable characters: 'user-42'"
        )
    return f"{STREAM}{session_id}"
