"""Values held against a JSON Schema that somebody else wrote: every mistake is told, with its place, so that a model can mend its call."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from agenticflow.tools.schemas.checking import (
    MAX_PROBLEMS,
    missing_words,
    problems_in,
    schema_mistakes,
    short,
    unknown_words,
)

ORDER = {
    "type": "object",
    "properties": {
        "number": {"type": "integer", "minimum": 1, "maximum": 99, "description": "of the order"},
        "price": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1000, "multipleOf": 0.5},
        "size": {"enum": ["small", "large", 3]},
        "kind": {"const": "order"},
        "note": {"type": ["string", "null"], "minLength": 2, "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3, "uniqueItems": True},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        "where": {"$ref": "#/$defs/place"},
        "either": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/place"}]},
        "one": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "both": {"allOf": [{"type": "integer"}, {"minimum": 5}]},
        "free": True,
    },
    "required": ["number"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "in": {"$ref": "#/$defs/place"}},
            "required": ["city"],
            "additionalProperties": {"type": "integer"},
        }
    },
}


@pytest.mark.parametrize(
    "value",
    [
        {"number": 1},
        {"number": 2.0, "price": 1.5, "size": "small", "kind": "order", "note": None, "tags": ["a", "b"]},
        {
            "number": 99,
            "size": 3,
            "note": "abcde",
            "pair": [1, "x"],
            "where": {"city": "Oslo", "in": {"city": "N"}, "n": 3},
        },
        {"number": 1, "either": 3, "one": 2.5, "both": 7, "free": object},
        {"number": 1, "either": {"city": "Oslo"}},
    ],
)
def test_what_fits_has_no_problem(value: dict[str, Any]) -> None:
    assert problems_in(value, ORDER) == []
    if value.get("free") is not object:
        jsonschema.validate(value, ORDER)


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({}, ["'number' is missing (integer: of the order)"]),
        ({"number": "1"}, ["'number' is '1', not integer"]),
        ({"number": True}, ["'number' is True, not integer"]),
        ({"number": 1.5}, ["'number' is 1.5, not integer"]),
        ({"number": 0}, ["'number' is 0, below the minimum 1"]),
        ({"number": 100}, ["'number' is 100, above the maximum 99"]),
        ({"number": 1, "price": 0}, ["'price' is 0, not above 0"]),
        ({"number": 1, "price": 1000}, ["'price' is 1000, not below 1000"]),
        ({"number": 1, "price": 1.2}, ["'price' is 1.2, not a multiple of 0.5"]),
        ({"number": 1, "size": "smal"}, ["'size' is 'smal', not one of 'small', 'large', 3; did you mean 'small'?"]),
        ({"number": 1, "size": 4}, ["'size' is 4, not one of 'small', 'large', 3"]),
        ({"number": 1, "kind": "offer"}, ["'kind' is 'offer', not 'order'"]),
        ({"number": 1, "note": "a"}, ["'note' has 1 characters, below the least of 2"]),
        ({"number": 1, "note": "abcdef"}, ["'note' has 6 characters, above the most of 5"]),
        ({"number": 1, "note": 7}, ["'note' is 7, not string or null"]),
        ({"number": 1, "tags": []}, ["'tags' has 0 items, below the least of 1"]),
        ({"number": 1, "tags": ["a", "a", 3]}, ["'tags[2]' is 3, not string", "'tags[1]' is there twice"]),
        ({"number": 1, "pair": [1, "x", 2]}, ["'pair[2]' is not asked for"]),
        (
            {"number": 1, "where": {"in": {"city": 3}}},
            ["'where.city' is missing (string)", "'where.in.city' is 3, not string"],
        ),
        ({"number": 1, "where": {"city": "O", "n": "x"}}, ["'where.n' is 'x', not integer"]),
        (
            {"number": 1, "either": "x"},
            ["'either' is 'x', not integer and 'either' is 'x', not object"],
        ),
        ({"number": 1, "either": {"city": 3, "in": 4}}, ["'either' is {'city': 3, 'in': 4}, not integer"]),
        ({"number": 1, "one": 2}, ["'one' is 2, which fits 2 of its forms and has to fit one"]),
        ({"number": 1, "both": 3}, ["'both' is 3, below the minimum 5"]),
        ({"number": 1, "nuber": 2}, ["'nuber' is not asked for; did you mean 'number'?"]),
        ("text", ["the value is 'text', not object"]),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(value: object, problems: list[str]) -> None:
    assert problems_in(value, ORDER) == problems
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, ORDER)


def test_a_list_is_told_as_a_model_would_write_it() -> None:
    assert problems_in([1, 2], {"type": "array", "items": {"type": "string"}}, "names") == [
        "'names[0]' is 1, not string",
        "'names[1]' is 2, not string",
    ]


def test_no_more_is_told_than_helps() -> None:
    assert len(problems_in([0] * 1_000, {"items": {"type": "string"}})) == MAX_PROBLEMS
    assert len(short("x" * 1_000)) == 80


def test_what_refers_to_itself_ends() -> None:
    endless: dict[str, Any] = {"$ref": "#"}
    assert problems_in(1, endless) == ["the value is nested too deeply"]
    assert schema_mistakes({"type": "object", "properties": {"x": {"$ref": "#"}}}) == []


def test_what_is_no_schema_constrains_nothing() -> None:
    assert problems_in({"a": 1}, True) == []
    assert problems_in({"a": 1}, {"properties": 3, "required": 3, "enum": 3, "prefixItems": 3}) == []
    assert problems_in(3, {"type": "unheard of"}) == ["the value is 3, not unheard of"]
    assert problems_in(3, {"$ref": "elsewhere"}) == []
    assert problems_in(3, {"multipleOf": 0}) == []


@pytest.mark.parametrize(
    ("schema", "mistakes"),
    [
        (ORDER, []),
        (7, ["it is 7, not a mapping"]),
        ({"type": "array"}, ["its type is 'array', not 'object': params have names"]),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "x+"}}},
            ["at a: 'pattern' is not checked here: check it in the tool and leave it out"],
        ),
        ({"type": "object", "properties": {"a": 3}}, ["at a: 3 is no schema"]),
        (
            {"type": "object", "properties": {"a": {"items": {"type": "list"}}}},
            ["at a[]: there is no type 'list'; there are object, array, string, integer, number, boolean, null"],
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
            ["at a: the reference '#/$defs/none' leads nowhere"],
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/type/deep"}}},
            ["at a: the reference '#/type/deep' leads nowhere"],
        ),
        (
            {"type": "object", "properties": {"a": {"anyOf": [{"not": {}}]}}},
            ["at a: 'not' is not checked here: check it in the tool and leave it out"],
        ),
        (
            {"type": "object", "properties": {"a": {"type": ["string", "nul"]}}},
            ["at a: there is no type 'nul'; there are object, array, string, integer, number, boolean, null"],
        ),
    ],
)
def test_a_schema_that_cannot_be_obeyed_is_refused(schema: Any, mistakes: list[str]) -> None:
    assert schema_mistakes(schema) == mistakes


def test_words_for_what_is_missing_and_for_what_nobody_asks_for() -> None:
    assert missing_words("a.b", None) == "'a.b' is missing"
    assert missing_words("a", {}) == "'a' is missing"
    assert unknown_words("a.cty", ["city"]) == "'a.cty' is not asked for; did you mean 'city'?"
    assert unknown_words("a", []) == "'a' is not asked for; there are no params"


@pytest.mark.parametrize(
    ("value", "is_same"),
    [
        ({"a": [1, True]}, True),
        ({"a": [1, 1]}, False),
        ({"a": [1]}, False),
        ({"b": [1, True]}, False),
        ({"a": (1, True)}, True),
        (3, False),
    ],
)
def test_a_constant_is_equal_all_the_way_down(value: object, is_same: bool) -> None:
    assert (problems_in(value, {"const": {"a": [1, True]}}) == []) == is_same


@pytest.mark.parametrize(
    ("value", "factor", "is_one"),
    [
        (0.3, 0.1, True),
        (6, 3, True),
        (7, 3, False),
        (30, 0.1, True),
        (100, 10, True),
        (0, 5, True),
        (float("inf"), 2, False),
    ],
)
def test_a_multiple_is_one_as_it_is_written(value: float, factor: float, is_one: bool) -> None:
    assert (problems_in(value, {"multipleOf": factor}) == []) == is_one
