"""Messages: who may say what, what a model wrote, and how they are kept."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    assistant,
    pack_messages,
    parse_arguments,
    system,
    tool_results,
    unpack_messages,
    user,
)
from agenticflow.agents.model.parts import MAX_ATTACHMENT_BYTES, whole_text
from agenticflow.errors import CorruptStore, InvalidInput
from tests.unit.agents.model.conversations import conversations

PICTURE = ImagePart(b"png", "image/png")
CONVERSATION = (
    system("Be brief."),
    user("What is this?", PICTURE, FilePart(url="https://example.invalid/a.pdf", name="a.pdf")),
    assistant(ReasoningPart("Hm.", "c2ln", provider="anthropic"), "Let me see.", ToolCallPart("c1", "look", {"at": 1})),
    tool_results(ToolResultPart("c1", "a cat", attachments=(PICTURE,)), ToolResultPart("c2", "no", is_error=True)),
)


def test_a_message_knows_its_words_and_its_calls() -> None:
    said = assistant("Let me ", TextPart("see."), ToolCallPart("c1", "look"))
    assert (said.role, said.text) == (Role.ASSISTANT, "Let me see.")
    assert said.tool_calls == (ToolCallPart("c1", "look"),)
    assert user(TextPart("a"), PICTURE, "b").text == "ab"


@pytest.mark.parametrize(
    ("role", "part"),
    [
        (Role.SYSTEM, PICTURE),
        (Role.USER, ToolCallPart("c1", "look")),
        (Role.ASSISTANT, PICTURE),
        (Role.TOOL, TextPart("words")),
    ],
)
def test_nobody_says_what_is_not_theirs_to_say(role: Role, part: TextPart) -> None:
    with pytest.raises(InvalidInput, match=r"cannot hold a \w+Part") as caught:
        Message(role, (part,))
    assert "it holds" in caught.value.hint


@pytest.mark.parametrize("kind", [ImagePart, FilePart])
@pytest.mark.parametrize(
    ("data", "media_type", "url", "words"),
    [
        (b"", "", "", "either data or a url"),
        (b"x", "image/png", "https://example.invalid", "either data or a url"),
        (b"x", "png", "", "media type 'png'"),
        (bytes(MAX_ATTACHMENT_BYTES + 1), "image/png", "", "the limit is 20,971,520"),
    ],
)
def test_an_attachment_is_whole_and_bounded(
    kind: type[ImagePart | FilePart], data: bytes, media_type: str, url: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        kind(data, media_type, url)


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"a": [1, 2.5, null, "ü"]}', {"a": [1, 2.5, None, "ü"]}),
        ("", {}),
        (" \n", {}),
        ('{"n": 18446744073709551615}', {"n": 2**64 - 1}),
    ],
)
def test_arguments_are_decoded(written: str, arguments: dict[str, object]) -> None:
    call = parse_arguments("c1", "look", written)
    assert (call.arguments, call.is_malformed) == (arguments, False)


@pytest.mark.parametrize(
    "written",
    [
        '{"a": ',
        "[1]",
        "null",
        "NaN",
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        "words",
        "[" * 10_000,
        # whole numbers that JSON has and the store has not, wherever they are
        '{"a": {"b": [1, 18446744073709551616]}}',
        '{"a": -9223372036854775809}',
    ],
)
def test_what_is_no_object_is_kept_as_it_was_written(written: str) -> None:
    call = parse_arguments("c1", "look", written)
    assert (call.arguments, call.malformed, call.is_malformed) == ({}, written, True)


def test_halves_of_a_character_are_put_together_and_lone_ones_replaced() -> None:
    assert whole_text("\ud83d\ude00!") == "😀!"
    assert whole_text("a\ud83d") == "a\ufffd"
    assert whole_text("plain ü") == "plain ü"
    assert parse_arguments("c1", "look", '{"a": "\ud83d\ude00"}').arguments == {"a": "😀"}


@given(conversations())
def test_what_is_stored_comes_back_as_it_was(messages: tuple[Message, ...]) -> None:
    assert tuple(unpack_messages(pack_messages(messages))) == messages


def test_the_stored_form_stays_what_it_is() -> None:
    """Frozen: conversations of this release are read by every later one."""
    stored = bytes.fromhex(STORED)
    assert tuple(unpack_messages(stored)) == CONVERSATION
    assert pack_messages(CONVERSATION) == stored


def test_a_field_that_a_later_release_adds_is_passed_over() -> None:
    part = {"kind": "text", "text": "hello", "language": "en"}
    stored = msgspec.msgpack.encode({"version": 1, "messages": [{"role": "user", "parts": [part], "at": 1}]})
    assert tuple(unpack_messages(stored)) == (user("hello"),)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xc1",
        b"\x80",
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode({"version": "1", "messages": []}),
        msgspec.msgpack.encode({"version": 1}),
        msgspec.msgpack.encode({"version": 1, "messages": [{"role": "user", "parts": [{"kind": "dance"}]}]}),
        msgspec.msgpack.encode({"version": 1, "messages": [{"role": "boss", "parts": []}]}),
        msgspec.msgpack.encode({"version": 1, "messages": [{"role": "user", "parts": [{"kind": "image"}]}]}),
        b"\x91" * 5_000,
    ],
)
def test_damage_is_told(damaged: bytes) -> None:
    with pytest.raises(CorruptStore, match="no stored messages"):
        unpack_messages(damaged)


def test_what_a_later_release_wrote_is_told() -> None:
    stored = msgspec.msgpack.encode({"version": 2, "messages": "something new"})
    with pytest.raises(CorruptStore, match="version 2, this release reads version 1"):
        unpack_messages(stored)


@given(st.text())
def test_whole_text_always_has_a_form_on_the_wire(text: str) -> None:
    assert whole_text(text).encode() is not None


STORED = (
    "82a776657273696f6e01a86d657373616765739482a4726f6c65a673797374656da570617274739182a46b696e64a4746578"
    "74a474657874a942652062726965662e82a4726f6c65a475736572a570617274739382a46b696e64a474657874a474657874"
    "ad5768617420697320746869733f83a46b696e64a5696d616765a464617461c403706e67aa6d656469615f74797065a9696d"
    "6167652f706e6783a46b696e64a466696c65a375726cbd68747470733a2f2f6578616d706c652e696e76616c69642f612e70"
    "6466a46e616d65a5612e70646682a4726f6c65a9617373697374616e74a570617274739384a46b696e64a9726561736f6e69"
    "6e67a474657874a3486d2ea97369676e6174757265a463326c6ea870726f7669646572a9616e7468726f70696382a46b696e"
    "64a474657874a474657874ab4c6574206d65207365652e84a46b696e64a9746f6f6c5f63616c6ca763616c6c5f6964a26331"
    "a46e616d65a46c6f6f6ba9617267756d656e747381a261740182a4726f6c65a4746f6f6ca570617274739284a46b696e64ab"
    "746f6f6c5f726573756c74a763616c6c5f6964a26331a7636f6e74656e74a56120636174ab6174746163686d656e74739183"
    "a46b696e64a5696d616765a464617461c403706e67aa6d656469615f74797065a9696d6167652f706e6784a46b696e64ab74"
    "6f6f6c5f726573756c74a763616c6c5f6964a26332a7636f6e74656e74a26e6fa869735f6572726f72c3"
)
