"""Any conversation and any answer survive each wire format: what is written is read again by an independent reader, and the other way
round."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model import (
    Delta,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    ModelRequest,
    ModelResponse,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    Usage,
    assistant,
    fold,
    system,
    tool_results,
    user,
)
from agenticflow.errors import ModelUnavailable
from agenticflow.integrations.models.anthropic import reading as messages_reading
from agenticflow.integrations.models.anthropic import writing as messages_writing
from agenticflow.integrations.models.openai import reading as chat_reading
from agenticflow.integrations.models.openai import writing as chat_writing
from tests.conformance.model_servers.chat import ChatServer, messages_in
from tests.conformance.model_servers.messages import MessagesServer
from tests.unit.agents.model.conversations import conversations, responses

REASONS = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER)


def on_the_wire(body: dict[str, object]) -> dict[str, Any]:
    """Send a body through JSON, as the client does."""
    read: dict[str, Any] = json.loads(json.dumps(body))
    return read


def chat_body(messages: tuple[Message, ...], **fields: Any) -> dict[str, Any]:
    request = ModelRequest(messages=messages, **fields)
    request.check()
    return on_the_wire(chat_writing.body_of(request, "gpt", is_streaming=True, limit_field="max_tokens"))


def messages_body(messages: tuple[Message, ...], **fields: Any) -> dict[str, Any]:
    request = ModelRequest(messages=messages, **fields)
    request.check()
    return on_the_wire(messages_writing.body_of(request, "claude", max_tokens=100))


@given(conversations(has_attachments=False))
def test_a_conversation_survives_chat_completions(messages: tuple[Message, ...]) -> None:
    assert messages_in(chat_body(messages)) == messages


@given(conversations())
def test_a_conversation_survives_the_messages_format(messages: tuple[Message, ...]) -> None:
    assert MessagesServer([]).read(messages_body(messages)).messages == messages


def normal(response: ModelResponse, *, is_streaming: bool) -> ModelResponse:
    """Return an answer as chat completions can tell it: texts in one, reasoning in one and without signature, calls with their words."""
    order: dict[str, TextPart | ReasoningPart | ToolCallPart] = {}
    for part in response.parts:
        if isinstance(part, TextPart):
            before = order.get("text", TextPart(""))
            assert isinstance(before, TextPart)
            order["text"] = TextPart(before.text + part.text)
        elif isinstance(part, ReasoningPart) and part.text:
            thought = order.get("reasoning", ReasoningPart(provider=response.provider))
            assert isinstance(thought, ReasoningPart)
            order["reasoning"] = ReasoningPart(thought.text + part.text, provider=response.provider)
        elif isinstance(part, ToolCallPart):
            order[part.call_id] = part
    parts = list(order.values())
    if not is_streaming:  # a whole answer has no order of its own
        ranks = {ReasoningPart: 0, TextPart: 1, ToolCallPart: 2}
        parts.sort(key=lambda part: ranks[type(part)])
    return msgspec.structs.replace(response, parts=tuple(parts))


@st.composite
def told(draw: st.DrawFn) -> ModelResponse:
    """An answer as providers give it: the reason fits the parts."""
    response = draw(responses())
    reasons = [FinishReason.TOOL_CALLS] if response.tool_calls else [FinishReason.STOP, FinishReason.LENGTH]
    usage = response.usage
    return msgspec.structs.replace(
        response,
        finish_reason=draw(st.sampled_from(reasons)),
        usage=usage and msgspec.structs.replace(usage, cache_write_tokens=0),
        provider="openai",
    )


def chat_deltas(chunks: list[Any], model: str = "gpt") -> list[Delta]:
    reader = chat_reading.ChunkReader("openai", model)
    return [delta for chunk in chunks for delta in reader.read(chunk)]


@given(told())
def test_an_answer_survives_chat_completions(response: ModelResponse) -> None:
    server = ChatServer([])
    pieces = [json.loads(piece.removeprefix(b"data: ")) for piece in server.pieces(response)[:-1]]
    for chunks, is_streaming in ((pieces, True), ([server.whole(response)], False)):
        found = fold(chat_deltas(chunks))
        assert msgspec.structs.replace(found, model=response.model, response_id=response.response_id) == normal(
            response, is_streaming=is_streaming
        )


@given(told())
def test_an_answer_survives_the_messages_format(response: ModelResponse) -> None:
    response = msgspec.structs.replace(response, provider="anthropic", usage=response.usage or Usage())
    assert response.usage is not None
    response = msgspec.structs.replace(response, usage=msgspec.structs.replace(response.usage, reasoning_tokens=0))
    server = MessagesServer([])
    events = [json.loads(piece.partition(b"data: ")[2]) for piece in server.pieces(response)]
    reader = messages_reading.EventReader("claude")
    found = fold(delta for event in events for delta in reader.read(event))
    assert msgspec.structs.replace(found, model=response.model, response_id=response.response_id) == response
    if not any(call.is_malformed for call in response.tool_calls):
        whole = fold(messages_reading.WholeReader("claude").read(server.whole(response)))
        assert msgspec.structs.replace(whole, model=response.model, response_id=response.response_id) == response


# --- what one of them has no place for ----------------------------------------------------------------------------------

PICTURE = ImagePart(b"png", "image/png")
CALL = ToolCallPart("c1", "look")


def test_chat_completions_tell_what_tools_attached_in_a_message_of_the_user_after_all_results() -> None:
    asked = (user("a"), assistant(CALL, ToolCallPart("c2", "look")))
    seen, not_seen = ToolResultPart("c1", "see", attachments=(PICTURE,)), ToolResultPart("c2", "no")
    for results in ((tool_results(seen, not_seen),), (tool_results(seen), tool_results(not_seen))):
        for after in ((), (assistant("I see."),)):
            body = chat_body((*asked, *results, *after))
            roles = [message["role"] for message in body["messages"]]
            assert roles == ["user", "assistant", "tool", "tool", "user", *("assistant" for _ in after)]
            words, picture = body["messages"][4]["content"]
            assert "c1" in words["text"]
            assert picture["image_url"]["url"].startswith("data:image/png;base64,")


def test_chat_completions_name_the_address_of_a_file_and_show_that_of_a_picture() -> None:
    asked = user(ImagePart(url="https://h.invalid/a.png"), FilePart(url="https://h.invalid/a.pdf", name="report"))
    picture, file = chat_body((asked,))["messages"][0]["content"]
    assert picture == {"type": "image_url", "image_url": {"url": "https://h.invalid/a.png"}}
    assert file == {"type": "text", "text": "report: https://h.invalid/a.pdf"}


def test_the_messages_format_takes_addresses_texts_and_results_with_pictures() -> None:
    asked = user(FilePart(b"words", "text/markdown"), ImagePart(url="https://h.invalid/a.png"), "")
    results = tool_results(ToolResultPart("c1", "", attachments=(PICTURE,)))
    body = messages_body((system("one"), asked, assistant(CALL), results, system("two"), assistant("")))
    assert body["system"] == "one\n\ntwo"
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block.get("source") for block in body["messages"][0]["content"]] == [
        {"type": "text", "media_type": "text/plain", "data": "words"},
        {"type": "url", "url": "https://h.invalid/a.png"},
    ]
    assert [block["type"] for block in body["messages"][2]["content"][0]["content"]] == ["image"]


def test_reasoning_goes_back_only_where_it_came_from() -> None:
    own = (ReasoningPart("Hm.", "c2ln", provider="anthropic"), ReasoningPart(sealed="c2Vh", provider="anthropic"))
    foreign = (ReasoningPart("Hm.", "c2ln", provider="openai"), ReasoningPart("unsigned", provider="anthropic"))
    conversation = (user("a"), assistant(*own, *foreign, "b"), user("c"))
    assert [block["type"] for block in messages_body(conversation)["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
    ]
    assert chat_body(conversation)["messages"][1] == {"role": "assistant", "content": "b"}


def test_a_choice_of_tools_is_told() -> None:
    tools = (ToolSpec("look"),)
    choices: list[tuple[dict[str, Any], Any, Any]] = [
        ({}, None, {"type": "auto"}),
        ({"tool_choice": ToolChoice.NONE}, "none", {"type": "none"}),
        ({"tool_choice": ToolChoice.REQUIRED}, "required", {"type": "any"}),
        (
            {"tool_choice": ToolChoice.REQUIRED, "forced_tool": "look"},
            {"type": "function", "function": {"name": "look"}},
            {"type": "tool", "name": "look"},
        ),
    ]
    for fields, chat, messages in choices:
        assert chat_body((user("a"),), tools=tools, **fields).get("tool_choice") == chat
        assert messages_body((user("a"),), tools=tools, **fields)["tool_choice"] == messages


@pytest.mark.parametrize("forced", [{"tool_choice": ToolChoice.REQUIRED}, {"forced_tool": "look"}])
def test_a_forced_call_comes_without_thoughts_where_the_format_refuses_both(forced: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"tools": (ToolSpec("look"),), "reasoning_effort": "low"}
    assert "thinking" in messages_body((user("a"),), **fields)
    body = messages_body((user("a"),), **fields, **forced)
    assert "thinking" not in body
    assert body["output_config"] == {"effort": "low"}
    assert chat_body((user("a"),), **fields, **forced)["reasoning_effort"] == "low"


def test_how_to_think_is_told() -> None:
    fields: dict[str, Any] = {"reasoning_effort": "low", "seed": 7, "stop": ("END",), "temperature": 0.5}
    chat, messages = chat_body((user("a"),), **fields), messages_body((user("a"),), **fields)
    assert (chat["reasoning_effort"], chat["seed"], chat["stop"], chat["temperature"]) == ("low", 7, ["END"], 0.5)
    assert (messages["thinking"], messages["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    assert messages["stop_sequences"] == ["END"]
    assert not {"seed", "temperature"} & set(messages)
    assert set(chat_body((user("a"),))) == {"model", "messages", "stream_options"}
    assert set(messages_body((user("a"),))) == {"model", "messages", "max_tokens"}


def test_a_form_is_strict_where_it_can_be() -> None:
    shut: dict[str, object] = {
        "type": "object",
        "properties": {"a": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    strict: list[tuple[dict[str, object], bool]] = [
        (shut, True),
        ({**shut, "required": []}, False),
        ({**shut, "additionalProperties": True}, False),
        ({**shut, "properties": {"a": {"type": "object"}}}, False),
        ({**shut, "properties": {"a": {"anyOf": [shut, {"type": "null"}]}}}, True),
        ({**shut, "properties": {"a": {"anyOf": [{"properties": {"b": {}}}]}}}, False),
        ({"properties": {}, "additionalProperties": False}, True),
    ]
    for schema, is_strict in strict:
        output = {"output": {"name": "x", "schema": schema}}
        request = msgspec.convert(
            {"messages": [{"role": "user", "parts": [{"kind": "text", "text": "a"}]}], **output}, ModelRequest
        )
        body = chat_writing.body_of(request, "gpt", is_streaming=False, limit_field="max_tokens")
        assert on_the_wire(body)["response_format"]["json_schema"]["strict"] is is_strict, schema


# --- servers that differ ------------------------------------------------------------------------------------------------


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "1", "model": "m", "choices": [{"delta": delta or {}, "finish_reason": reason}], **fields}


def call(name: str, call_id: str | None = None, index: int | None = 0, arguments: str = "{}") -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}]}


def test_a_server_that_counts_every_call_as_the_first_one() -> None:
    found = fold(chat_deltas([chunk(call("a", "c1")), chunk(call("b", "c2")), chunk(call("c", "c3"), "tool_calls")]))
    assert [(made.call_id, made.name) for made in found.tool_calls] == [("c1", "a"), ("c2", "b"), ("c3", "c")]


def test_a_server_that_does_not_count_calls_and_gives_no_ids() -> None:
    two = {"tool_calls": [{"function": {"name": name, "arguments": "{}"}} for name in "ab"]}
    found = fold(chat_deltas([chunk({"content": "x"}), chunk(two, "stop")]))
    assert [made.name for made in found.tool_calls] == ["a", "b"]
    ids = {made.call_id for made in found.tool_calls}
    assert len(ids) == 2
    assert all(call_id.startswith("call-") for call_id in ids)
    assert found.finish_reason is FinishReason.TOOL_CALLS
    again = fold(chat_deltas([chunk(two, "tool_calls")]))
    assert ids.isdisjoint(made.call_id for made in again.tool_calls), "ids of different answers are different"


def test_a_server_that_repeats_the_id_with_every_piece() -> None:
    pieces = [
        chunk(call("a", "c1", arguments='{"x"')),
        chunk(call("", "c1", arguments=": 1}")),
        chunk({}, "tool_calls"),
    ]
    assert fold(chat_deltas(pieces)).tool_calls == (ToolCallPart("c1", "a", {"x": 1}),)


def test_a_refusal_is_what_a_filter_says() -> None:
    found = fold(chat_deltas([chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop")]))
    assert (found.text, found.finish_reason) == ("I cannot.", FinishReason.CONTENT_FILTER)


def test_reasons_that_are_not_known_and_chunks_that_say_little() -> None:
    assert fold(chat_deltas([{}, chunk({}, "out_of_credit")])).finish_reason is FinishReason.OTHER
    assert fold(chat_deltas([chunk({}, "function_call"), chunk({}, "stop")])).finish_reason is FinishReason.TOOL_CALLS
    little = [
        chunk({"content": None, "tool_calls": None}),
        {"choices": None, "usage": {"prompt_tokens": 3}},
        chunk({}, "stop"),
    ]
    found = fold(chat_deltas(little))
    assert (found.parts, found.usage) == ((), Usage(3))


def test_an_error_in_the_middle_is_raised_as_ours() -> None:
    for error, words in (({"message": "busy", "code": 503}, "busy"), ("busy", "busy")):
        reader = chat_reading.ChunkReader("local", "m")
        with pytest.raises(ModelUnavailable, match=f"'local:m'.*{words}"):
            list(reader.read({"error": error}))


def test_kinds_of_blocks_and_events_that_are_not_known_are_passed_over() -> None:
    reader = messages_reading.EventReader("claude")
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "1", "usage": {"input_tokens": 3}}},
        {"type": "something_new", "index": 4, "stuff": []},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "id": "s"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2},
        {"type": "content_block_delta", "index": 2},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    ]
    found = fold(delta for event in events for delta in reader.read(event))
    assert (found.text, found.finish_reason, found.usage) == ("a", FinishReason.OTHER, Usage(3, 9))
    assert found.message.role is Role.ASSISTANT
