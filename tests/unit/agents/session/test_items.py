"""Items of a conversation: plain data goes in unchanged, objects become what models read, and what belongs together is seen."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.session import items as items_module
from agenticflow.agents.session.items import encode_items, plain_item
from agenticflow.core import codec
from agenticflow.errors import BoundExceeded, InvalidInput, NotSerializable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@dataclass
class Weather:
    city: str
    degrees: float


class Answer(msgspec.Struct):
    role: str
    content: str


@given(st.dictionaries(st.text(max_size=8).filter(lambda name: name != "content"), JSON, max_size=6))
def test_plain_data_stays_as_it_is(item: dict[str, Any]) -> None:
    before = copy.deepcopy(item)
    assert plain_item(item) == before == item


@given(st.sampled_from(["user", "assistant", "tool"]), st.text() | st.lists(JSON, max_size=3) | st.none())
def test_contents_that_models_read_stay_as_they_are(role: str, content: object) -> None:
    assert plain_item({"role": role, "content": content}) == {"role": role, "content": content}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (Weather("Graz", 21.5), '{"city":"Graz","degrees":21.5}'),
        (Answer("a", "b"), '{"role":"a","content":"b"}'),
        ({"city": "Graz", "tags": {1: "one"}}, '{"city":"Graz","tags":{"1":"one"}}'),
        (7, "7"),
        (True, "true"),
    ],
)
def test_an_object_as_content_becomes_its_json(content: object, text: str) -> None:
    item = {"role": "assistant", "content": content}
    assert plain_item(item) == {"role": "assistant", "content": text}
    assert item["content"] is content, "the caller's item is left alone"


def test_objects_as_items_become_mappings() -> None:
    assert plain_item(Answer("user", "hi")) == {"role": "user", "content": "hi"}
    assert plain_item(Weather("Graz", 1.0)) == {"city": "Graz", "degrees": 1.0}
    assert plain_item(OrderedDict(role="user", content="hi")) == {"role": "user", "content": "hi"}


@pytest.mark.parametrize("wrong", ["hi", b"hi", None, 7, [1], [("role", "user")], {1: "one"}])
def test_what_is_no_item_is_refused_with_an_example(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="role"):
        plain_item(wrong)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(NotSerializable):
        plain_item({"role": "user", "content": [object()]})


def test_fences_go_only_when_asked_for_and_only_from_the_assistant() -> None:
    fenced = 'Here you are:\n```json\n{"a": 1}\n```'
    message = {"role": "assistant", "content": fenced}
    assert plain_item(message) == message
    assert plain_item(message, cleans=True) == {"role": "assistant", "content": '{"a": 1}'}
    assert plain_item({"role": "user", "content": fenced}, cleans=True)["content"] == fenced
    parts = [
        {"type": "output_text", "text": fenced},
        {"type": "output_text", "text": None},
        {"type": "refusal", "text": fenced},
        "text",
    ]
    cleaned = plain_item({"role": "assistant", "content": parts}, cleans=True)["content"]
    assert cleaned == [{"type": "output_text", "text": '{"a": 1}'}, *parts[1:]]
    assert plain_item({"role": "assistant", "content": None}, cleans=True)["content"] is None


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTCOME = {"type": "function_call_output", "call_id": "c1", "output": "1"}


@pytest.mark.parametrize(
    ("item", "opens", "closes"),
    [
        (CALL, ("c1",), ""),
        (OUTCOME, (), "c1"),
        ({"type": "computer_call_output", "call_id": "c2"}, (), "c2"),
        (
            {"role": "assistant", "tool_calls": [{"id": "t1"}, {"id": "t2"}, {"id": 3}, "x", {"id": ""}]},
            ("t1", "t2"),
            "",
        ),
        ({"role": "tool", "tool_call_id": "t1", "content": "1"}, (), "t1"),
        ({"role": "user", "content": "hi"}, (), ""),
        ({"role": "user", "call_id": "", "tool_call_id": 7, "tool_calls": "t"}, (), ""),
        ({"type": "reasoning", "id": "rs_1"}, ("rs_1",), ""),
        ({"type": "reasoning"}, (), ""),
    ],
)
def test_calls_and_outcomes_are_recognized(item: dict[str, Any], opens: tuple[str, ...], closes: str) -> None:
    [encoded], blobs = encode_items([item])
    assert (encoded.opens, encoded.closes, blobs) == (opens, closes, ())
    assert codec.decode(bytes(encoded.data)) == item


def test_what_follows_a_thought_belongs_to_it() -> None:
    thought = {"type": "reasoning", "id": "rs_1"}
    answer = {"role": "assistant", "content": "so"}
    encoded, _ = encode_items([thought, CALL, {**CALL, "call_id": "c2"}, OUTCOME, {**CALL, "call_id": "c3"}])
    assert [item.closes for item in encoded] == ["", "rs_1", "rs_1", "c1", ""]
    encoded, _ = encode_items([thought, answer, {"role": "user", "content": "and?"}, answer])
    assert [item.closes for item in encoded] == ["", "rs_1", "", ""]


def test_large_items_are_kept_apart() -> None:
    large = {"role": "user", "content": "x" * 70_000}
    [small, kept], [(name, data)] = encode_items([{"role": "user", "content": "x"}, large])
    assert len(bytes(small.data)) < 100 > len(bytes(kept.data))
    assert codec.decode(data) == large
    assert name == codec.content_hash(data)


def test_too_large_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BoundExceeded, match="8,388,608"):
        encode_items([{"content": "x" * (8 * 1024 * 1024)}])
    monkeypatch.setattr(items_module, "MAX_ITEMS_AT_ONCE", 3)
    assert len(encode_items([{}] * 3)[0]) == 3
    with pytest.raises(BoundExceeded, match="3 items"):
        encode_items([{}] * 4)
    for wrong in ("text", b"bytes", {"role": "user"}):
        with pytest.raises(InvalidInput, match="list"):
            encode_items(wrong)
