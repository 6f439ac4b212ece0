"""Messages as items of a session, and back: our own, those of the OpenAI Agents SDK, chat forms, and what is damaged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.loop.items import items_of, messages_of
from agenticflow.agents.model.parts import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    Role,
    ToolCallPart,
    ToolResultPart,
    assistant,
    system,
    tool_results,
    user,
)
from agenticflow.agents.model.requests import ModelRequest

LOST = "the result of this call was not kept"


def there_and_back(*messages: Message) -> list[Message]:
    return messages_of(items_of(messages))


# --- there and back -----------------------------------------------------------------------------------------------------


def test_words_calls_results_and_thoughts_come_back() -> None:
    said = [
        system("be good"),
        user("look"),
        assistant(
            ReasoningPart("hm", "proof", "", "anthropic"),
            ReasoningPart(sealed="xyz", provider="openai"),
            "I look",
            ToolCallPart("1", "see", {"at": ["it", 5, None]}),
            ToolCallPart("2", "see", malformed='{"at'),
        ),
        tool_results(ToolResultPart("1", "fine"), ToolResultPart("2", "no JSON", is_error=True)),
        assistant("seen"),
        user("thanks"),
    ]
    assert there_and_back(*said) == said


def test_pictures_and_documents_come_back() -> None:
    said = [
        user("look", ImagePart(b"\x89PNG", "image/png"), ImagePart(url="https://example.org/a.png")),
        user(
            FilePart(b"%PDF", "application/pdf", name="a.pdf"),
            FilePart(url="https://example.org/b.pdf", name="b.pdf"),
            FilePart(url="https://example.org/c.pdf"),
        ),
        user(ImagePart(b"x", "image/gif")),
    ]
    assert there_and_back(*said) == said


def test_one_answer_after_another_is_one_answer() -> None:
    assert there_and_back(assistant("a"), assistant("b")) == [assistant("a", "b")]


def test_an_answer_without_a_word_leaves_nothing() -> None:
    assert there_and_back(user("a"), Message(Role.ASSISTANT, ()), user("b")) == [user("a"), user("b")]
    assert there_and_back(assistant(ReasoningPart())) == []


def test_results_are_items_only_where_they_are_results() -> None:
    assert items_of([tool_results(ToolResultPart("1", "x"))]) == [
        {"type": "function_call_output", "call_id": "1", "output": "x"}
    ]
    assert items_of([user("a", "b")]) == [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}
    ]


# --- what others write --------------------------------------------------------------------------------------------------


def test_a_history_of_the_agents_sdk_is_read() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "hello"},
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "think"}, "?"],
            "content": None,
        },
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "hi ", "annotations": []},
                {"type": "output_text", "text": "you"},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "see", "arguments": '{"at": 1}'},
        {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "see", "arguments": ""},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "function_call_output", "call_id": "c1", "output": {"a": 1}},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "and?"}, {"type": "input_audio", "data": "x"}]},
    ]
    assert messages_of(items) == [
        user("hello"),
        assistant(ReasoningPart("think"), "hi you", ToolCallPart("c1", "see", {"at": 1}), ToolCallPart("c2", "see")),
        tool_results(ToolResultPart("c1", '{"a":1}'), ToolResultPart("c2", "two")),
        system("be brief"),
        user("and?"),
    ]


def test_chat_messages_are_read() -> None:
    items: list[dict[str, Any]] = [
        {"role": "system", "content": "be good"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "see", "arguments": '{"at": "it"}'}},
                "nothing",
                {"id": "c2"},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "fine"},
        {"role": "assistant", "content": "seen", "tool_calls": None},
    ]
    assert messages_of(items) == [
        system("be good"),
        user("look", ImagePart(url="u")),
        assistant(ToolCallPart("c1", "see", {"at": "it"})),
        tool_results(ToolResultPart("c1", "fine")),
        assistant("seen"),
    ]


# --- what is damaged ----------------------------------------------------------------------------------------------------


def test_a_call_without_a_result_gets_one_and_a_result_without_a_call_goes() -> None:
    items: list[dict[str, Any]] = [
        {"type": "function_call_output", "call_id": "before", "output": "x"},
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c1", "name": "see", "arguments": "[1]"},
        {"type": "function_call_output", "call_id": "other", "output": "x"},
        {"role": "user", "content": "b"},
        {"type": "function_call_output", "call_id": "c1", "output": "too late"},
    ]
    made = messages_of(items)
    assert made == [
        user("a"),
        assistant(ToolCallPart("c1", "see", malformed="[1]")),
        tool_results(ToolResultPart("c1", LOST, is_error=True)),
        user("b"),
    ]


def test_of_two_results_the_first_counts() -> None:
    items = [
        {"type": "function_call", "call_id": "c1", "name": "see", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "first"},
        {"type": "function_call_output", "call_id": "c1", "output": "second"},
    ]
    assert messages_of(items)[1] == tool_results(ToolResultPart("c1", "first"))


def test_two_calls_with_one_id_have_a_result_each() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "see", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "fine"}
    made = messages_of([call, call, output])
    ModelRequest(messages=(user("x"), *made)).check()
    assert made[1] == tool_results(ToolResultPart("c1", "fine"), ToolResultPart("c1", "fine"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "input_image", "image_url": "data:image/png;base64,eA=="}], user(ImagePart(b"x", "image/png"))),
        (
            [{"type": "input_image", "image_url": "data:image/png;base64,§"}],
            user(ImagePart(url="data:image/png;base64,§")),
        ),
        ([{"type": "input_image", "image_url": "data:image/png,x"}], user(ImagePart(url="data:image/png,x"))),
        ([{"type": "input_image", "image_url": "data:;base64,eA=="}], user(ImagePart(url="data:;base64,eA=="))),
        ([{"type": "input_image", "file_id": "f1"}], None),
        ([{"type": "input_file", "file_id": "f1"}], None),
        ([{"type": "input_file", "file_data": "broken", "file_url": "u"}], user(FilePart(url="u"))),
        ([], None),
        (["words"], None),
        (None, user("")),
        ({"a": 1}, user('{"a":1}')),
        (5, user("5")),
    ],
)
def test_what_a_user_said(content: object, expected: Message | None) -> None:
    assert messages_of([{"role": "user", "content": content}]) == ([] if expected is None else [expected])


def test_what_is_no_message_is_left_out() -> None:
    assert messages_of([{}, {"role": "narrator", "content": "x"}, {"role": "system", "content": ""}]) == []
    assert messages_of([{"type": "reasoning", "summary": None}, {"role": "assistant", "content": []}]) == []


def test_a_refusal_is_what_the_model_said() -> None:
    refused = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]}
    assert messages_of([refused]) == [assistant("I will not")]
    assert messages_of([{"role": "assistant", "content": [{"type": "other"}]}]) == [assistant('[{"type":"other"}]')]


def test_data_that_is_too_much_for_a_message_does_not_close_the_conversation() -> None:
    url = "data:image/png;base64," + "A" * (30 * 1024 * 1024)
    assert messages_of([{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]) == [
        user(ImagePart(url=url))
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["c1", "c2", "c3"])
item = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": anything}),
    st.fixed_dictionaries({"type": st.just("function_call"), "call_id": names, "name": names, "arguments": anything}),
    st.fixed_dictionaries({"type": st.just("function_call_output"), "call_id": names, "output": anything}),
    st.fixed_dictionaries({"type": st.just("reasoning"), "summary": anything, "encrypted_content": anything}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": anything, "tool_calls": anything}),
    st.fixed_dictionaries(
        {
            "role": st.just("user"),
            "content": st.lists(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["input_image", "image_url", "input_file", "text"])},
                    optional={"image_url": anything, "file_data": anything, "file_url": anything, "text": anything},
                ),
                max_size=3,
            ),
        }
    ),
    st.dictionaries(st.sampled_from(["type", "role", "content", "call_id"]), anything, max_size=4),
)


@given(st.lists(item, max_size=12))
def test_whatever_a_session_holds_providers_take_it(items: list[dict[str, Any]]) -> None:
    made = messages_of(items)
    ModelRequest(messages=(*made, user("go on"))).check()
    again = messages_of(items_of(made))
    ModelRequest(messages=(*again, user("go on"))).check()
