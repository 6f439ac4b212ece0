"""Answers with a form while they are spoken: drafts that grow, fit as far as they go, begin anew, and cost little."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agenticflow.agents.model.deltas import Delta, ReasoningDelta, ResponseFinished, ResponseRestarted, TextDelta
from agenticflow.agents.model.outputs import Draft, Drafts, Expected
from agenticflow.agents.model.outputs.drafts import MAX_DRAFT_CHARS
from agenticflow.agents.model.responses import FinishReason
from agenticflow.core.json_schema import beginning_of


class Kind(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Note:
    title: str
    kind: Kind
    words: list[str] = field(default_factory=list)


TEXT = '{"title": "Tea", "kind": "good", "words": ["hot", "green"]}'


def drafts_of(form: Any, pieces: Iterable[str | Delta]) -> list[Draft]:
    drafts, found = Drafts(Expected(form)), []
    for piece in pieces:
        drafts.add(TextDelta(0, piece) if isinstance(piece, str) else piece)
        if (draft := drafts.next()) is not None:
            found.append(draft)
    return found


def test_values_grow_and_are_typed_once_all_is_there() -> None:
    found = drafts_of(Note, TEXT)
    assert found[0] == Draft({})
    assert Draft({"title": "T"}) in found
    assert Draft({"title": "Tea", "kind": "good"}, Note("Tea", Kind.GOOD)) in found
    assert found[-1] == Draft(msgspec.json.decode(TEXT), Note("Tea", Kind.GOOD, ["hot", "green"]))
    assert not any(draft.data.get("kind") == "g" for draft in found), "half of a word that it chooses is none of them"
    typed = [draft.value is not None for draft in found]
    assert typed == sorted(typed), "once it is there it stays"


def test_words_around_it_and_thoughts_are_passed_over() -> None:
    thought, end = ReasoningDelta(0, '{"title": "no"'), ResponseFinished(FinishReason.STOP)
    found = drafts_of(Note, ["Well: ```json\n", thought, TEXT[:16], TEXT[16:], "\n```", end])
    assert [draft.data for draft in found] == [{"title": "Tea"}, msgspec.json.decode(TEXT)]


def test_a_restart_begins_anew() -> None:
    found = drafts_of(Note, ['{"title": "Te', ResponseRestarted(), '{"title": "C', 'ake"'])
    assert [draft.data for draft in found] == [{"title": "Te"}, {"title": "C"}, {"title": "Cake"}]


def test_what_does_not_fit_is_not_shown() -> None:
    assert drafts_of(Note, ['{"title": 5,', '"kind": "good"}']) == [], "the first value is wrong already"
    assert drafts_of(Note, ['{"title" "Tea"}']) == []
    assert drafts_of(Note, ["[1, 2]"]) == []


def test_a_form_that_is_no_object_grows_without_its_wrapping() -> None:
    for pieces in (['{"value": ["a", "b', 'b"]}'], ['["a", "b', 'b"]']):
        found = drafts_of(list[str], pieces)
        assert found == [Draft(["a", "b"], ["a", "b"]), Draft(["a", "bb"], ["a", "bb"])]
    assert drafts_of(list[str], ["{"]) == []


def test_a_schema_is_a_form_too_and_its_value_is_what_fits_the_whole() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 2}, "b": {"type": "array", "minItems": 2}},
        "required": ["a", "b"],
    }
    found = drafts_of(schema, ['{"a": "x', 'yz", "b": [1', ", 2", "]}"])
    assert [(draft.data, draft.value is not None) for draft in found] == [
        ({}, False),
        ({"a": "xyz", "b": []}, False),
        ({"a": "xyz", "b": [1]}, False),
        ({"a": "xyz", "b": [1, 2]}, True),
    ]


def test_all_drafts_of_a_large_answer_cost_what_a_few_answers_do() -> None:
    words = ["word"] * 130_000
    text = msgspec.json.encode({"title": "x", "kind": "bad", "words": words}).decode()[: MAX_DRAFT_CHARS - 1]
    assert len(text) > 900_000
    drafts, looked, made = Drafts(Expected(Note)), 0, 0
    for start in range(0, len(text), 512):
        drafts.add(TextDelta(0, text[start : start + 512]))
        if (draft := drafts.next()) is not None:
            made += 1
            looked += sum(map(len, draft.data.get("words", ())))
    assert made < 80
    assert looked < 10 * len(text)


def test_what_is_said_after_it_costs_nothing() -> None:
    class Counting(Expected[Note]):
        looks = 0

        def begun(self, value: object) -> tuple[object, Note | None] | None:
            self.looks += 1
            return super().begun(value)

    for text in (TEXT, '{"title": 5}'):
        expected = Counting(Note)
        drafts = Drafts(expected)
        for piece in (text, *["and so on "] * 100):
            drafts.add(TextDelta(0, piece))
            drafts.next()
        assert expected.looks == 1
        drafts.add(ResponseRestarted())
        drafts.add(TextDelta(0, TEXT))
        assert drafts.next() is not None


def test_of_what_is_too_large_no_more_drafts_are_made() -> None:
    found = drafts_of(Note, ['{"title": "', "x" * (MAX_DRAFT_CHARS - 11), "x", "x"])
    assert [len(draft.data.get("title", "")) for draft in found] == [0, MAX_DRAFT_CHARS - 11]


def test_the_beginning_of_a_schema_asks_for_nothing_that_may_come() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "minProperties": 1,
        "properties": {
            "a": {"enum": ["x", "y"]},
            "b": {"enum": ["x", [1, 2]]},
            "c": {"const": {"d": 1}},
            "d": {"const": 5},
            "e": {"oneOf": [{"type": "array", "minItems": 3}, {"type": "null"}]},
            "f": {"not": {"type": "string"}, "contains": {}, "if": {}, "then": {}},
        },
    }
    assert beginning_of(schema) == {
        "type": "object",
        "properties": {
            "a": {"enum": ["x", "y"]},
            "b": {},
            "c": {},
            "d": {"const": 5},
            "e": {"allOf": [{"anyOf": [{"type": "array"}, {"type": "null"}]}]},
            "f": {},
        },
    }
