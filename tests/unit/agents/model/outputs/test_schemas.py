"""What a JSON Schema says holds: the same as an independent judge says, keyword by keyword."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model.outputs import closed, misfits, schema_problems
from agenticflow.agents.model.outputs.schemas import MAX_SCHEMA_DEPTH, MAX_TOLD

small_names = st.sampled_from(["a", "b", "c"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.5])
    | st.sampled_from(["", "a", "abc"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(small_names, inner, max_size=3), max_leaves=6
)
numbers = st.integers(-2, 3)
sizes = st.integers(0, 3)
types = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])


def schemas_of(inner: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[dict[str, object]]:
    """Draw a schema with some keywords, each with a value that makes sense."""
    keywords: dict[str, st.SearchStrategy[object]] = {
        "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "properties": st.dictionaries(small_names, inner, max_size=2),
        "additionalProperties": st.booleans() | inner,
        "required": st.lists(small_names, max_size=2, unique=True),
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["^a", "b", "^$"]),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), sizes),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), numbers),
        "multipleOf": st.integers(1, 3),
        "title": st.just("note"),
    }
    return st.fixed_dictionaries({}, optional=keywords)


leaves = st.sampled_from([{}, {"type": "integer"}, {"type": "string"}, {"const": 1}, {"type": ["null", "object"]}])
schemas = st.recursive(leaves, schemas_of, max_leaves=4)


@given(schemas, values)
def test_a_value_fits_where_an_independent_judge_says_so(schema: dict[str, object], value: object) -> None:
    whole = {
        **schema,
        "$defs": {"one": {"type": "integer"}, "two": {"type": "array", "items": {"$ref": "#/$defs/one"}}},
    }
    assert not schema_problems(whole)
    judge = jsonschema.Draft202012Validator(whole)
    assert (not misfits(whole, value)) == judge.is_valid(value)


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2, "uniqueItems": True},
        "boss": {"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"Name": {"type": "string", "pattern": "^[A-Z]"}},
}


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({"name": "Ada", "age": 36}, []),
        ({"name": "Ada", "age": 36.0, "tags": ["x", "y"], "boss": None}, []),
        ([], ["answer is [], not object"]),
        ({"age": True}, ["answer.name is missing", "answer.age is True, not integer"]),
        ({"name": "", "age": -1}, ["answer.name has 0 characters, below the least of 1", "answer.age is -1, below the minimum 0"]),
        (
            {"name": "A", "age": 1, "tags": ["x", "z", "x"]},
            [
                "answer.tags has 3 items, above the most of 2",
                "answer.tags[1] is 'z', not one of 'x', 'y'",
                "answer.tags has an item twice",
            ],
        ),
        ({"name": "A", "age": 1, "size": 3}, ["answer.size is not asked for; there are name, age, tags, boss"]),
        (
            {"name": "A", "age": 1, "boss": "ada"},
            ["answer.boss fits none of 2 forms: answer.boss is 'ada', which does not match '^[A-Z]'; answer.boss is 'ada', not null"],
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(value: object, problems: list[str]) -> None:
    assert schema_problems(PERSON) == []
    assert sorted(misfits(PERSON, value)) == sorted(problems)


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"const": 1}, True, "answer is True, not 1"),
        ({"enum": [[1]]}, [True], "answer is [True], not one of [1]"),
        ({"enum": [{"a": 1}]}, {"a": 2}, "answer is {'a': 2}, not one of {'a': 1}"),
        ({"enum": [{"a": 1}]}, {"b": 1}, "answer is {'b': 1}, not one of {'a': 1}"),
        ({"enum": [[1]]}, [1, 2], "answer is [1, 2], not one of [1]"),
        ({"maximum": 3}, 4, "answer is 4, above the maximum 3"),
        ({"exclusiveMinimum": 3}, 3, "answer is 3, not above 3"),
        ({"exclusiveMaximum": 3}, 3.5, "answer is 3.5, not below 3"),
        ({"multipleOf": 0.5}, 0.75, "answer is 0.75, not a multiple of 0.5"),
        ({"additionalProperties": False}, {"a": 1}, "answer.a is not asked for; there are no fields"),
        ({"additionalProperties": {"type": "null"}}, {"a": 1}, "answer.a is 1, not null"),
        ({"items": False}, [1], "answer[0] is not asked for"),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "string"}}, [None, 1], "answer[1] is 1, not string"),
        ({"oneOf": [{}, True]}, 1, "answer fits 2 forms, and only one is meant"),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 3, "answer fits none of 2 forms: answer is 3, not 1; answer is 3, not 2"),
        ({"not": {"type": "integer"}}, 3, "answer is 3, which it must not be"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 3, "answer is 3, above the maximum 2"),
        ({"minProperties": 1}, {}, "answer has 0 fields, below the least of 1"),
        ({"type": ["string", "null"]}, 3, "answer is 3, not string or null"),
        ({"$ref": "#/definitions/X", "definitions": {"X": {"const": 1}}}, 2, "answer is 2, not 1"),
        ({"const": "x" * 200}, 1, "answer is 1, not '" + "x" * 78 + "…"),
    ],
)  # fmt: skip
def test_each_keyword_tells_what_does_not_fit(schema: dict[str, object], value: object, problem: str) -> None:
    assert schema_problems(schema) == []
    assert misfits(schema, value) == [problem]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        # keywords of another kind of value say nothing
        ({"minLength": 3, "required": ["a"], "properties": {"a": False}, "additionalProperties": False}, 1),
        ({"minimum": 3, "items": False, "prefixItems": [False], "uniqueItems": True}, "a"),
        ({"pattern": "^b", "minItems": 2}, {}),
        ({"maximum": 1, "multipleOf": 2}, True),
        ({"multipleOf": 0}, 3),
        ({"uniqueItems": False}, [1, 1]),
        ({"uniqueItems": True}, [1, True, "1", [1]]),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
        ({"not": {"type": "integer"}}, "a"),
        ({"pattern": "^a"}, "abc"),
        ({"multipleOf": 2}, 4),
        ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}),
        ({"enum": "a"}, "a"),
    ],
)
def test_what_fits_is_no_problem(schema: dict[str, object], value: object) -> None:
    assert misfits(schema, value) == []


def test_only_so_many_problems_are_told() -> None:
    assert len(misfits({"items": {"type": "null"}}, list(range(100)))) == MAX_TOLD


def test_a_schema_that_never_ends_does() -> None:
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert misfits(endless, 1) == ["answer is nested too deeply"]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("string", "a schema is a mapping"),
        ({"typ": "string"}, "answer: the keyword 'typ' is not known"),
        ({"type": "text"}, "answer: the type 'text' is not known"),
        ({"type": [1]}, "answer: the type [1] is not known"),
        ({"properties": {"a": {"format": "date", "if": {}}}}, "answer.a: the keyword 'if' is not known"),
        ({"items": [{}]}, "answer[items]: a schema is a mapping"),
        ({"anyOf": [{"typ": 1}]}, "answer(anyOf 0): the keyword 'typ'"),
        ({"properties": [1]}, "answer: properties is [1], not a mapping"),
        ({"anyOf": {}}, "answer: anyOf is {}, not a list"),
        ({"$ref": "#/$defs/gone"}, "answer: '#/$defs/gone' leads nowhere"),
        ({"$ref": "https://example.invalid", "$defs": {}}, "leads nowhere"),
        ({"$ref": "#/$defs/a", "$defs": {"a": 1}}, "leads nowhere"),
        ({"$ref": 1}, "leads nowhere"),
        ({"pattern": "("}, "answer: the pattern '(' is no regular expression"),
        ({"pattern": 1}, "is no regular expression"),
        ({"minLength": -1}, "answer: minLength is -1, not a whole number"),
        ({"minLength": "1"}, "answer: minLength is '1'"),
        ({"minimum": "1"}, "answer: minimum is '1', not a number"),
        ({"minimum": True}, "answer: minimum is True, not a number"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_held_to_is_told(schema: object, problem: str) -> None:
    assert problem in schema_problems(schema)[0]


def test_a_schema_is_bounded() -> None:
    deep: dict[str, object] = {}
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        deep = {"items": deep}
    assert "nested more than 40 deep" in schema_problems(deep)[0]
    assert schema_problems(deep["items"]) == []


def test_objects_that_list_their_fields_are_closed() -> None:
    inner = {"type": "object", "properties": {"a": True}}
    shut = {**inner, "additionalProperties": False}
    schema = {
        "properties": {"one": inner, "any": True},
        "items": inner,
        "anyOf": [inner, False],
        "additionalProperties": inner,
        "$defs": {"X": inner},
        "enum": [inner],
    }
    assert closed(schema) == {
        "properties": {"one": shut, "any": True},
        "items": shut,
        "anyOf": [shut, False],
        "additionalProperties": shut,
        "$defs": {"X": shut},
        "enum": [inner],
    }
    assert closed({"type": "object", "items": True}) == {"type": "object", "items": True}


def test_forms_that_are_put_together_stay_as_they_are() -> None:
    for keyword, value in (("allOf", [{"properties": {"a": True}}]), ("not", {"properties": {"a": True}})):
        schema = {"properties": {"x": {keyword: value}}}
        assert closed(schema) == schema
