"""What is said to a model and by it: messages made of parts, plain data in a schema of our own. Pure.

No provider's form is stored. An adapter translates when it calls, so a conversation goes on with another provider, and what was recorded
years ago is still read: fields are only ever added, with defaults, and the stored form carries its version.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from agenticflow.errors import CorruptStore, InvalidInput

__all__ = [
    "FilePart",
    "ImagePart",
    "Message",
    "Part",
    "ReasoningPart",
    "Role",
    "TextPart",
    "ToolCallPart",
    "ToolResultPart",
    "assistant",
    "pack_messages",
    "parse_arguments",
    "system",
    "tool_results",
    "unpack_messages",
    "user",
    "whole_text",
]

MESSAGES_VERSION: Final = 1
MAX_ATTACHMENT_BYTES: Final = 20 * 1024 * 1024
MAX_INTEGER: Final = 2**64 - 1
MIN_INTEGER: Final = -(2**63)


class TextPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="text"):
    """Words."""

    text: str


class ReasoningPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="reasoning"):
    """What a model thought before it spoke. Only its own provider gets it back, and then exactly as it was."""

    text: str = ""
    signature: str = ""
    """The provider's proof that the text is the model's own."""
    sealed: str = ""
    """Reasoning that only the provider can read, in place of text."""
    provider: str = ""


class ImagePart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="image"):
    """A picture: ``data`` with its ``media_type``, or the ``url`` where the provider gets it. Exactly one of the two."""

    data: bytes = b""
    media_type: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        _check_attachment("an image", self.data, self.media_type, self.url)


class FilePart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="file"):
    """A document: ``data`` with its ``media_type``, or the ``url`` where the provider gets it. Exactly one of the two."""

    data: bytes = b""
    media_type: str = ""
    url: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        _check_attachment("a file", self.data, self.media_type, self.url)


class ToolCallPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="tool_call"):
    """A model asks for a tool. ``call_id`` names the call; its result carries the same.

    ``arguments`` are decoded. When what the model wrote is no JSON object, they are empty, ``malformed`` holds its words, and the answer
    to give it is a result that says so.
    """

    call_id: str
    name: str
    arguments: dict[str, object] = {}
    malformed: str = ""

    @property
    def is_malformed(self) -> bool:
        """Whether the arguments could not be read."""
        return bool(self.malformed)


class ToolResultPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="tool_result"):
    """What came of a tool call, in words for the model; pictures and documents go along as ``attachments``."""

    call_id: str
    content: str
    is_error: bool = False
    attachments: tuple[ImagePart | FilePart, ...] = ()


Part: TypeAlias = TextPart | ReasoningPart | ImagePart | FilePart | ToolCallPart | ToolResultPart


class Role(enum.StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    """Whoever wrote the program."""
    USER = "user"
    ASSISTANT = "assistant"
    """The model."""
    TOOL = "tool"


_SPOKEN: Final[dict[Role, tuple[type, ...]]] = {
    Role.SYSTEM: (TextPart,),
    Role.USER: (TextPart, ImagePart, FilePart),
    Role.ASSISTANT: (TextPart, ReasoningPart, ToolCallPart),
    Role.TOOL: (ToolResultPart,),
}


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one of them said at one time. Raises ``InvalidInput`` for a part that the role does not speak."""

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if not isinstance(part, _SPOKEN[self.role]):
                spoken = ", ".join(kind.__name__ for kind in _SPOKEN[self.role])
                raise InvalidInput(
                    f"a message of {self.role.value!r} cannot hold a {type(part).__name__}", hint=f"it holds {spoken}"
                )

    @property
    def text(self) -> str:
        """All its words, one after the other."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """What it asks of tools, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def results(self) -> tuple[ToolResultPart, ...]:
        """What came of tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolResultPart))


# --- words for common cases ---------------------------------------------------------------------------------------------


def system(text: str) -> Message:
    """Return what the program tells the model about its task."""
    return Message(Role.SYSTEM, (TextPart(text),))


def user(*content: str | TextPart | ImagePart | FilePart) -> Message:
    """Return what a user says: words, pictures and documents in order."""
    return Message(Role.USER, tuple(TextPart(item) if isinstance(item, str) else item for item in content))


def assistant(*content: str | TextPart | ReasoningPart | ToolCallPart) -> Message:
    """Return what a model says: words, reasoning and tool calls in order."""
    return Message(Role.ASSISTANT, tuple(TextPart(item) if isinstance(item, str) else item for item in content))


def tool_results(*results: ToolResultPart) -> Message:
    """Return the results of the tool calls of one message of the model."""
    return Message(Role.TOOL, results)


# --- reading what a model wrote -----------------------------------------------------------------------------------------


def parse_arguments(call_id: str, name: str, written: str) -> ToolCallPart:
    """Return the tool call with the arguments that the model ``written``: a JSON object, or nothing for none."""
    written = whole_text(written)
    if not written.strip():
        return ToolCallPart(call_id, name)
    try:
        decoded: object = msgspec.json.decode(written)
    except (msgspec.MsgspecError, RecursionError):
        return ToolCallPart(call_id, name, malformed=written)
    if not isinstance(decoded, dict) or not _can_be_stored(decoded):
        return ToolCallPart(call_id, name, malformed=written)
    return ToolCallPart(call_id, name, decoded)


def _can_be_stored(value: object) -> bool:
    """Whether all whole numbers inside have a form in msgpack; JSON has larger ones."""
    todo: list[object] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, int) and not MIN_INTEGER <= item <= MAX_INTEGER:
            return False
    return True


def whole_text(text: str) -> str:
    """Return ``text`` with halves of characters put together, as they come when a stream is cut between them, and U+FFFD for the rest."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


# --- at rest ------------------------------------------------------------------------------------------------------------


class _Stored(msgspec.Struct, frozen=True):
    version: int
    messages: tuple[Message, ...]


class _Version(msgspec.Struct, frozen=True):
    version: int


def pack_messages(messages: Iterable[Message]) -> bytes:
    """Return ``messages`` in their stored form: msgpack that carries its version."""
    return msgspec.msgpack.encode(_Stored(MESSAGES_VERSION, tuple(messages)))


def unpack_messages(data: bytes) -> Sequence[Message]:
    """Return the messages in ``data``. Raises ``CorruptStore`` when it holds none, or a later release wrote them."""
    try:
        version = msgspec.msgpack.decode(data, type=_Version).version
        if version == MESSAGES_VERSION:
            return msgspec.msgpack.decode(data, type=_Stored).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
        raise CorruptStore(f"{len(data)} bytes are no stored messages: {error}") from error
    raise CorruptStore(
        f"messages were stored in version {version}, this release reads version {MESSAGES_VERSION}",
        hint="read them with the release that wrote them, or a later one",
    )


def _check_attachment(what: str, data: bytes, media_type: str, url: str) -> None:
    if bool(data) == bool(url):
        raise InvalidInput(f"{what} is either data or a url", hint="give exactly one of the two")
    if data and "/" not in media_type:
        raise InvalidInput(f"{what} has the media type {media_type!r}", hint="give one like 'image/png'")
    if len(data) > MAX_ATTACHMENT_BYTES:
        raise InvalidInput(
            f"{what} has {len(data):,} bytes, the limit is {MAX_ATTACHMENT_BYTES:,}", hint="give a url, or less of it"
        )
