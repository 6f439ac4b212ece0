"""Forms: what an answer has to look like, and words that name the field that does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agenticflow.core.forms import form_problems, misfit


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [
        ({"type": "string"}, 3, "answer is 3, not string"),
        ({"type": ["string", "null"]}, 3, "answer is 3, not string or null"),
        ({"type": "integer"}, True, "answer is True, not integer"),
        ({"type": "integer"}, 1.5, "answer is 1.5, not integer"),
        ({"type": "number"}, False, "answer is False, not number"),
        ({"type": "boolean"}, 1, "answer is 1, not boolean"),
        ({"type": "null"}, 0, "answer is 0, not null"),
        ({"type": "array"}, "ab", "answer is 'ab', not array"),
        ({"type": "object"}, [], "answer is [], not object"),
        ({"enum": ["a", 1]}, True, "answer is True, not one of 'a', 1"),
        ({"const": 1}, 2, "answer is 2, not 1"),
        ({"const": [1]}, [True], "answer is [True], not [1]"),
        ({"const": {"a": 1}}, {"a": True}, "answer is {'a': True}, not {'a': 1}"),
        ({"minLength": 2}, "a", "answer has 1 characters, below the least of 2"),
        ({"maxLength": 2}, "abc", "answer has 3 characters, above the most of 2"),
        ({"minItems": 1}, [], "answer has 0 items, below the least of 1"),
        ({"maxItems": 1}, [1, 2], "answer has 2 items, above the most of 1"),
        ({"items": {"type": "string"}}, ["a", 1], "answer[1] is 1, not string"),
        ({"minimum": 2}, 1, "answer is 1, below the minimum 2"),
        ({"maximum": 2}, 3, "answer is 3, above the maximum 2"),
        ({"exclusiveMinimum": 2}, 2, "answer is 2, not above 2"),
        ({"exclusiveMaximum": 2}, 2, "answer is 2, not below 2"),
        ({"required": ["a"]}, {}, "answer.a is missing"),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, "answer.a is 1, not string"),
        ({"additionalProperties": False}, {"a": 1}, "answer.a is not asked for; there are no fields"),
        ({"properties": {"b": {}}, "additionalProperties": False}, {"a": 1}, "answer.a is not asked for; there are b"),
        ({"type": "string", "maxLength": 1}, "x" * 100, "answer has 100 characters, above the most of 1"),
        ({"type": "integer"}, "x" * 200, f"answer is '{'x' * 78}…, not integer"),
    ],
)
def test_the_first_misfit_is_told_with_its_field(form: dict[str, Any], value: object, words: str) -> None:
    assert not form_problems(form)
    assert misfit(form, value) == words


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ({}, object()),
        ({"type": "integer"}, 2.0),
        ({"type": "number", "minimum": 1}, 1),
        ({"type": "boolean", "minimum": 5}, True),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "x", "more": 1}),
        ({"type": "array", "items": {"enum": [1, None]}}, [None, 1]),
        ({"minItems": 1}, [1]),
        ({"const": [1, "a"]}, (1, "a")),
        ({"enum": [{"a": [1]}]}, {"a": [1]}),
        ({"type": "null"}, None),
        ({"title": "t", "description": "d", "default": 3, "examples": [1]}, 1),
    ],
)
def test_what_fits_is_taken(form: dict[str, Any], value: object) -> None:
    assert not form_problems(form)
    assert misfit(form, value) is None


def deep(levels: int) -> dict[str, Any]:
    return {"items": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("string", "a form is a mapping like {'type': 'string'}, not 'string'"),
        ({"type": "money"}, "type is 'money', not one of object, array, string"),
        ({"type": ["string", 7]}, "type is ['string', 7], not one of object"),
        ({"type": []}, "type is [], not one of object"),
        ({"pattern": "a+"}, "the keyword 'pattern' is not understood; there are type"),
        ({"properties": {"a": {"anyOf": [{}]}}}, "at #/properties/a: the keyword 'anyOf' is not understood"),
        ({"minLength": -1}, "minLength is -1, not a whole number of at least 0"),
        ({"minimum": "1"}, "minimum is '1', not a number"),
        ({"required": "a"}, "required is 'a', not a list of names"),
        ({"enum": []}, "enum is [], not a list of values"),
        ({"additionalProperties": {}}, "additionalProperties is {}, not true or false"),
        ({"properties": {"a": {"type": "x"}}}, "at #/properties/a: type is 'x'"),
        ({"properties": {"a": True}}, "at #/properties/a: a form is a mapping like {'type': 'string'}, not True"),
        ({"items": {"items": {"type": "x"}}}, "at #/items/items: type is 'x'"),
        ({"items": {"title": 3}}, "at #/items: title is 3, not a text"),
        ({"type": "string", "default": 3}, "the default does not fit: it is 3, not string"),
        (deep(22), "it is nested more than 20 deep"),
        ({"title": "x" * 20_000}, "bytes, above the limit of 16,384"),
        ({"const": object()}, "has no form on the wire"),
    ],
)
def test_a_form_that_would_not_hold_is_refused(form: object, words: str) -> None:
    (problem,) = form_problems(form)
    assert words in problem


# --- the same verdict as a validator that knows all of JSON Schema --------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0]) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
types = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
small = st.integers(0, 3)
keywords = {
    "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
    "enum": st.lists(values, min_size=1, max_size=3),
    "const": values,
    "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
    "additionalProperties": st.booleans(),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), small),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 2)),
}
forms = st.recursive(
    st.fixed_dictionaries({}, optional=keywords),
    lambda inner: st.fixed_dictionaries(
        {},
        optional=keywords | {"items": inner, "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)},
    ),
    max_leaves=3,
)


@given(form=forms, value=values)
def test_it_judges_as_json_schema_does(form: dict[str, Any], value: object) -> None:
    assert not form_problems(form)
    assert (misfit(form, value) is None) is Draft202012Validator(form).is_valid(value)
