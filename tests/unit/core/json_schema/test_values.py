"""Values held against schemas: the same verdict as an independent judge, and every mistake told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agenticflow.core.json_schema import MAX_PROBLEMS, compile_schema, schema_mistakes, short

DEFINITIONS = {
    "one": {"type": "integer"},
    "two": {"type": "array", "items": {"$ref": "#/$defs/one"}},
    "never": False,
    "tree": {"type": "object", "additionalProperties": {"$ref": "#/$defs/tree"}},
    "a/b~c": {"type": "null"},
}
NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 6)
    | st.sampled_from([0.5, 1.0, 2.5, -1.0])
    | st.sampled_from(["", "a", "ab", "abc1", "b-b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
SIZES = st.integers(0, 3)


def schemas_around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a schema with some keywords, each with what may stand behind it."""
    some = st.lists(inner, min_size=1, max_size=2)
    by_name = st.dictionaries(NAMES, inner, max_size=2)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "$ref": st.sampled_from([f"#/$defs/{name}" for name in ("one", "two", "never", "tree", "a~1b~0c")]),
        "pattern": st.sampled_from(["^a", "b", "[0-9]$", "^$", "^[a-z]+(-[a-z]+)*$"]),
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        "uniqueItems": st.booleans(),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "properties": by_name,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "[bc]"]), inner, max_size=2),
        "dependentSchemas": by_name,
        **dict.fromkeys(("items", "contains", "additionalProperties", "propertyNames"), inner),
        **dict.fromkeys(("not", "if", "then", "else"), inner),
        **dict.fromkeys(("prefixItems", "allOf", "anyOf", "oneOf"), some),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), SIZES),
        **dict.fromkeys(("minContains", "maxContains"), SIZES),
        **dict.fromkeys(
            ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.sampled_from([-1, 0, 1.5, 3])
        ),
        "description": st.just("says nothing"),
    }
    return st.fixed_dictionaries({}, optional=keywords)


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.builds(dict) | TYPES.map(lambda name: {"type": name}), schemas_around, max_leaves=4
)


@given(SCHEMAS, VALUES)
def test_the_verdict_is_that_of_an_independent_judge(schema: Any, value: object) -> None:
    whole = schema if isinstance(schema, bool) else {**schema, "$defs": DEFINITIONS}
    assert schema_mistakes(whole) == []
    problems = compile_schema(whole).problems(value)
    assert (problems == []) is Draft202012Validator(whole).is_valid(value)
    assert len(problems) <= MAX_PROBLEMS


# keyword, schema, what fits it, what does not: the part of JSON Schema that we say we understand, word by word
CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"type": "object"}, [{}, {"a": 1}], [[], None, "a", 1]),
    ({"type": "array"}, [[], [1]], [{}, "ab"]),
    ({"type": "string"}, ["", "a"], [1, None, ["a"]]),
    ({"type": "integer"}, [1, -1, 2.0, 10**40], [True, 1.5, "1", None]),
    ({"type": "number"}, [1, 1.5, -0.0], [False, "1", None]),
    ({"type": "boolean"}, [True, False], [0, 1, "true"]),
    ({"type": "null"}, [None], [0, False, ""]),
    ({"type": ["string", "null"]}, ["a", None], [1, []]),
    ({"enum": ["a", 1, None, [True]]}, ["a", 1, 1.0, None, [True]], [True, "b", [1], [], {}]),
    ({"const": {"a": [1, True]}}, [{"a": [1, True]}, {"a": [1.0, True]}], [{"a": [1, 1]}, {"a": [1]}, {"b": [1]}, 3]),
    ({"const": False}, [False], [0, None]),
    ({"minLength": 2, "maxLength": 3}, ["ab", "äöü", 7, []], ["a", "abcd"]),
    ({"pattern": "^a+$"}, ["a", "aa", 1], ["", "ab", "ba"]),
    ({"minimum": 1, "maximum": 3}, [1, 2.5, 3, "0", True], [0, 3.5, 0.5]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [1.5, 2, None], [1, 3, 0]),
    ({"multipleOf": 3}, [0, 6, -3, 9.0, "x"], [1, 4.5]),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], {}, "abc"], [[], [1, 2, 3]]),
    ({"items": {"type": "integer"}}, [[], [1, 2], {"a": "b"}], [["a"], [1, "a"]]),
    ({"prefixItems": [{"type": "integer"}, {"type": "string"}]}, [[], [1], [1, "a", None]], [["a"], [1, 2]]),
    ({"prefixItems": [{"type": "integer"}], "items": False}, [[], [1]], [[1, 2], ["a"]]),
    ({"uniqueItems": True}, [[], [1, True, "1", [1], {"a": 1}]], [[1, 1.0], [{"a": 1}, {"a": 1}], [[1], [1]]]),
    ({"uniqueItems": False}, [[1, 1]], []),
    ({"contains": {"type": "integer"}}, [[1], ["a", 2], {}], [[], ["a"]]),
    ({"contains": {"type": "integer"}, "minContains": 2, "maxContains": 3}, [[1, 2, "a"]], [[1], [1, 2, 3, 4]]),
    ({"contains": {"type": "integer"}, "minContains": 0}, [[], ["a"]], []),
    ({"minProperties": 1, "maxProperties": 2}, [{"a": 1}, []], [{}, {"a": 1, "b": 2, "c": 3}]),
    ({"required": ["a", "b"]}, [{"a": 1, "b": None}, 3], [{}, {"a": 1}]),
    ({"properties": {"a": {"type": "string"}}}, [{}, {"a": "x", "b": 1}, [1]], [{"a": 1}]),
    ({"properties": {"a": True}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
    ({"additionalProperties": {"type": "integer"}}, [{}, {"a": 1}], [{"a": "x"}]),
    ({"patternProperties": {"^n_": {"type": "integer"}}}, [{"n_a": 1, "a": "x"}], [{"n_a": "x"}]),
    (
        {"patternProperties": {"^n_": True}, "properties": {"a": True}, "additionalProperties": False},
        [{"n_a": 1, "a": 2}],
        [{"b": 1}],
    ),
    ({"propertyNames": {"maxLength": 1}}, [{"a": 1}, [["ab"]]], [{"ab": 1}]),
    ({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 2}], [{"a": 1}]),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{}, {"a": 1, "b": 2}], [{"a": 1}]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]),
    ({"anyOf": [{"minimum": 3}, {"maximum": 1}]}, [0, 4], [2]),
    ({"oneOf": [{"minimum": 1}, {"maximum": 2}]}, [0, 3], [1.5]),
    ({"not": {"type": "integer"}}, ["a"], [1]),
    ({"if": {"type": "integer"}, "then": {"minimum": 1}, "else": {"type": "null"}}, [1, None], [0, "a"]),
    ({"if": {"type": "integer"}}, [1, "a"], []),
    ({"then": False, "else": False}, [1], []),
    ({"$ref": "#/$defs/n", "$defs": {"n": {"const": 1}}}, [1], [2]),
    ({"$ref": "#/definitions/n", "definitions": {"n": {"const": 1}}}, [1], [2]),
    ({"$ref": "#/$defs/n", "$defs": {"n": {"$ref": "#/$defs/m"}, "m": {"const": 1}}}, [1], [2]),
    ({"allOf": [{"const": 1}, {"$ref": "#/allOf/0"}]}, [1], [2]),
    (
        {"type": "object", "properties": {"in": {"$ref": "#"}}, "additionalProperties": False},
        [{}, {"in": {"in": {}}}],
        [{"in": {"in": 1}}],
    ),
    ({"title": "t", "description": "d", "default": 3, "examples": [1], "format": "date", "x-order": 3}, ["any"], []),
]


@pytest.mark.parametrize(("schema", "fits", "does_not"), CASES)
def test_each_word_that_is_understood_holds(schema: dict[str, Any], fits: list[Any], does_not: list[Any]) -> None:
    judge = Draft202012Validator(schema)
    compiled = compile_schema(schema)
    for value in fits:
        assert compiled.problems(value) == []
        assert judge.is_valid(value)
    for value in does_not:
        assert compiled.problems(value)
        assert not judge.is_valid(value)


ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "integer", "minimum": 1, "maximum": 99, "description": "of the order"},
        "price": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1000, "multipleOf": 0.5},
        "size": {"enum": ["small", "large", 3]},
        "kind": {"const": "order"},
        "note": {"type": ["string", "null"], "minLength": 2, "maxLength": 5, "pattern": "^[a-z]"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3, "uniqueItems": True},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        "where": {"$ref": "#/$defs/place"},
        "either": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/place"}]},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "integer"}, {"type": "null"}]},
        "one": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "both": {"allOf": [{"type": "integer"}, {"minimum": 5}]},
        "never": {"not": {"const": 13}},
        "lots": {"contains": {"const": 1}, "minContains": 1, "maxContains": 2},
        "named": {"propertyNames": {"pattern": "^[a-z]+$"}, "minProperties": 1},
        "needs": {"dependentRequired": {"a": ["b"]}},
        "shape": {
            "oneOf": [
                {"properties": {"is": {"const": "dot"}, "at": {"type": "integer"}}, "required": ["is", "at"]},
                {"properties": {"is": {"const": "line"}, "from": {"type": "integer"}}, "required": ["is", "from"]},
            ]
        },
        "close": {"anyOf": [{"maximum": 1}, {"minimum": 5}]},
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
    ("value", "problems"),
    [
        ({}, ["'number' is missing (integer: of the order)"]),
        ({"number": "1"}, ["'number' is '1', not integer"]),
        ({"number": True}, ["'number' is True, not integer"]),
        ({"number": 0}, ["'number' is 0, below the minimum 1"]),
        ({"number": 100}, ["'number' is 100, above the maximum 99"]),
        ({"number": 1, "price": 0}, ["'price' is 0, not above 0"]),
        ({"number": 1, "price": 1000}, ["'price' is 1000, not below 1000"]),
        ({"number": 1, "price": 1.2}, ["'price' is 1.2, not a multiple of 0.5"]),
        ({"number": 1, "size": "smal"}, ["'size' is 'smal', not one of 'small', 'large', 3; did you mean 'small'?"]),
        ({"number": 1, "size": 4}, ["'size' is 4, not one of 'small', 'large', 3"]),
        ({"number": 1, "kind": "offer"}, ["'kind' is 'offer', not 'order'"]),
        ({"number": 1, "note": "a"}, ["'note' has 1 characters, below the least of 2"]),
        (
            {"number": 1, "note": "Abcdef"},
            ["'note' has 6 characters, above the most of 5", "'note' is 'Abcdef', which does not match '^[a-z]'"],
        ),
        ({"number": 1, "note": 7}, ["'note' is 7, not string or null"]),
        ({"number": 1, "tags": []}, ["'tags' has 0 items, below the least of 1"]),
        ({"number": 1, "tags": ["a", "a", 3]}, ["'tags[2]' is 3, not string", "'tags[1]' is there twice"]),
        ({"number": 1, "pair": [1, "x", 2]}, ["'pair[2]' is not asked for"]),
        (
            {"number": 1, "where": {"in": {"city": 3}}},
            ["'where.city' is missing (string)", "'where.in.city' is 3, not string"],
        ),
        ({"number": 1, "where": {"city": "O", "n": "x"}}, ["'where.n' is 'x', not integer"]),
        # of several forms, the one that was meant is told of, where that is plain
        ({"number": 1, "either": "x"}, ["'either' is 'x', not object or integer"]),
        ({"number": 1, "maybe": "x"}, ["'maybe' is 'x', not number or null"]),
        (
            {"number": 1, "either": {"city": 3, "in": 4}},
            ["'either.city' is 3, not string", "'either.in' is 4, not object"],
        ),
        ({"number": 1, "shape": {"is": "line", "from": "x"}}, ["'shape.from' is 'x', not integer"]),
        (
            {"number": 1, "close": 3},
            ["'close' fits none of 2 forms: 'close' is 3, above the maximum 1; 'close' is 3, below the minimum 5"],
        ),
        ({"number": 1, "one": 2}, ["'one' is 2, which fits 2 forms, and only one is meant"]),
        ({"number": 1, "both": 3}, ["'both' is 3, below the minimum 5"]),
        ({"number": 1, "never": 13}, ["'never' is 13, which it must not be"]),
        (
            {"number": 1, "lots": []},
            ["'lots' has 0 items that fit what it has to contain, below the least of 1"],
        ),
        (
            {"number": 1, "lots": [1, 1, 1]},
            ["'lots' has 3 items that fit what it may contain, above the most of 2"],
        ),
        ({"number": 1, "named": {"A": 1}}, ["the name of 'named.A' is 'A', which does not match '^[a-z]+$'"]),
        ({"number": 1, "named": {}}, ["'named' has 0 fields, below the least of 1"]),
        ({"number": 1, "needs": {"a": 1}}, ["'needs.b' is missing, and 'a' needs it"]),
        ({"number": 1, "nuber": 2}, ["'nuber' is not asked for; did you mean 'number'?"]),
        ("text", ["the value is 'text', not object"]),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(value: object, problems: list[str]) -> None:
    assert compile_schema(ORDER).problems(value) == problems
    assert not Draft202012Validator(ORDER).is_valid(value)


def test_places_begin_at_what_the_value_is_called() -> None:
    compiled = compile_schema({"items": {"properties": {"a": {"type": "string"}}, "additionalProperties": False}})
    assert compiled.problems([{"a": 1, "b": 2}], "answer") == [
        "answer[0].a is 1, not string",
        "answer[0].b is not asked for; there are a",
    ]
    assert compiled.problems([{"a": 1}]) == ["'[0].a' is 1, not string"]
    assert compile_schema(False).problems(1, "answer") == ["answer is not asked for"]
    assert compile_schema({"additionalProperties": False}).problems({"a": 1}) == [
        "'a' is not asked for; there are no fields"
    ]


def test_values_need_not_be_dicts_and_lists() -> None:
    compiled = compile_schema(
        {"type": "object", "properties": {"a": {"type": "array", "enum": [[1, 2]]}}, "additionalProperties": False}
    )
    assert compiled.problems(MappingProxyType({"a": (1, 2)})) == []
    assert compiled.problems(MappingProxyType({"a": (2, 1)})) == ["'a' is (2, 1), not one of [1, 2]"]

    class Name(str):
        __slots__ = ()

    assert compile_schema({"type": "string", "minLength": 2}).problems(Name("a"))
    assert compile_schema({"type": "array"}).problems({1, 2}) == ["the value is {1, 2}, not array"]
    thing = object()
    assert compile_schema({}).problems(thing) == []
    assert compile_schema({"enum": [1]}).problems(thing)
    assert compile_schema({"properties": {"a": {"type": "null"}}}).problems({7: 1, None: 2}) == []


@pytest.mark.parametrize(
    ("value", "factor", "is_one"),
    [
        (0.3, 0.1, True),
        (19.99, 0.01, True),
        (0.35, 0.1, False),
        (6, 3, True),
        (7, 3, False),
        (30, 0.1, True),
        (0, 5, True),
        (10**400, 10, True),
        (10**400 + 1, 10, False),
        (1e300, 1e-300, True),
        (float("inf"), 2, False),
        (float("nan"), 2, False),
    ],
)
def test_a_multiple_is_one_as_it_is_written(value: float, factor: float, is_one: bool) -> None:
    assert (compile_schema({"multipleOf": factor}).problems(value) == []) is is_one


# --- bounds -------------------------------------------------------------------------------------------------------------


def test_no_more_is_told_than_helps() -> None:
    assert len(compile_schema({"items": {"type": "string"}}).problems([0] * 1_000)) == MAX_PROBLEMS
    schema = {"required": [str(number) for number in range(100)]}
    assert len(compile_schema(schema).problems({})) == MAX_PROBLEMS
    names = compile_schema({"propertyNames": False, "additionalProperties": {"type": "null"}})
    assert len(names.problems({str(number): 1 for number in range(30)})) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 1_000, "'" + "x" * 78 + "…"),
        ([1] * 41, "a list of 41"),
        (dict.fromkeys(range(1_000)), "an object of 1,000"),
        (["x" * 100], "['" + "x" * 77 + "…"),
    ],
)
def test_what_is_shown_of_a_value_is_short(value: object, words: str) -> None:
    assert short(value) == words
    assert short(10**5_000) == "a very large int"


def test_what_refers_to_itself_ends() -> None:
    assert compile_schema({"$ref": "#"}).problems(1) == ["the value is nested too deeply"]
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}
    assert compile_schema(circle).problems(1, "answer") == ["answer is nested too deeply"]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_look_takes_only_so_much() -> None:
    doubling = {
        "anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"items": {"$ref": "#"}, "maxItems": 0, "minItems": 1}]
    }
    (words,) = compile_schema(doubling).problems(nested(50), "answer")
    assert words == "answer takes more than 1,000,000 steps to be checked: give less of it"
    assert compile_schema({"pattern": "^a*$"}).problems("a" * 5_000_000) == [
        "the value takes more than 1,000,000 steps to be checked: give less of it"
    ]
    assert compile_schema({"items": {"type": "integer"}}).problems([1] * 400_000) == []


def test_a_value_that_is_too_deep_does_not_fit() -> None:
    assert compile_schema({"const": 1}).problems(nested(100_000)) == ["the value is nested too deeply"]


def test_a_schema_can_be_given_as_any_mapping() -> None:
    schema: Mapping[str, object] = MappingProxyType(
        {"type": ("string", "null"), "enum": ("a", None), "allOf": (MappingProxyType({"maxLength": 3}),)}
    )
    assert compile_schema(schema).problems("a") == []
    assert compile_schema(schema).problems("b") == ["the value is 'b', not one of 'a', None"]
