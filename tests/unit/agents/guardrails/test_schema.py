"""JSON schemas: the same verdict as an independent judge, and no schema that is not understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.guardrails import json_schema
from agenticflow.agents.guardrails.builtin.schema import check_schema, misfits_of
from agenticflow.errors import DefinitionError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([0.5, 1.0, 2.5, -1.0])
    | st.sampled_from(["", "a", "ab", "abc1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=2),
            "const": VALUES,
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", "b", "[0-9]$"]),
            "minimum": st.integers(-2, 5),
            "maximum": st.integers(-2, 5),
            "exclusiveMinimum": st.sampled_from([0, 1.5]),
            "exclusiveMaximum": st.sampled_from([3, 4.5]),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": inner,
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "description": st.just("says nothing"),
        },
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.builds(dict), schemas, max_leaves=4)


@given(SCHEMAS, VALUES)
def test_the_verdict_is_that_of_an_independent_judge(schema: Any, value: Any) -> None:
    check_schema(schema)
    right = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (misfits_of(value, schema) == []) is right


ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^o-[0-9]+$", "minLength": 3, "maxLength": 8},
        "lines": {
            "type": "array",
            "items": {"$ref": "#/$defs/line"},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
        },
        "state": {"enum": ["new", "paid"]},
        "kind": {"const": "order"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "paid": {"oneOf": [{"type": "boolean"}, {"type": "integer"}]},
        "code": {"not": {"const": 13}},
    },
    "required": ["id", "lines"],
    "additionalProperties": False,
    "maxProperties": 8,
    "$defs": {
        "line": {
            "allOf": [{"type": "object"}, {"required": ["n"]}],
            "properties": {
                "n": {"type": "integer", "minimum": 1, "maximum": 9},
                "share": {"exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.25},
            },
        }
    },
}
GOOD: dict[str, Any] = {
    "id": "o-1",
    "lines": [{"n": 1, "share": 0.5}],
    "note": None,
    "state": "new",
    "kind": "order",
    "paid": 1,
    "code": 12,
}

MISFITS: list[tuple[Any, str]] = [
    ([], "$ is [], not of type object"),
    ({}, "$ has no 'id'; $ has no 'lines'"),
    ({**GOOD, "x": 1}, "$.x may not be there"),
    ({**GOOD, "id": 7}, "$.id is 7, not of type string"),
    ({**GOOD, "id": "x-1"}, "$.id is 'x-1', which does not match '^o-[0-9]+$'"),
    (
        {**GOOD, "id": "o-" + "1" * 20_000},
        "$.id has 20002 characters, at most 8 may be there; $.id has 20,002 characters, too many to compare with a pattern",
    ),
    ({**GOOD, "lines": []}, "$.lines has 0 items, at least 1 are needed"),
    ({**GOOD, "lines": [{"n": 0}]}, "$.lines[0].n is 0, below 1"),
    (
        {**GOOD, "lines": [{"n": 10}, {"n": 1.5}]},
        "$.lines[0].n is 10, above 9; $.lines[1].n is 1.5, not of type integer",
    ),
    ({**GOOD, "lines": [{"n": 1}, {"n": 1.0}]}, "$.lines[1] is there twice"),
    ({**GOOD, "lines": [{"n": True}]}, "$.lines[0].n is True, not of type integer"),
    ({**GOOD, "lines": [{}]}, "$.lines[0] has no 'n'"),
    ({**GOOD, "lines": [{"n": 1, "share": 0}]}, "$.lines[0].share is 0, not above 0"),
    ({**GOOD, "lines": [{"n": 1, "share": 1}]}, "$.lines[0].share is 1, not below 1"),
    ({**GOOD, "lines": [{"n": 1, "share": 0.3}]}, "$.lines[0].share is 0.3, no multiple of 0.25"),
    ({**GOOD, "state": "old"}, "$.state is 'old', not one of ['new', 'paid']"),
    ({**GOOD, "kind": "bill"}, "$.kind is 'bill', not 'order'"),
    ({**GOOD, "note": 1}, "$.note is 1, which fits none of anyOf"),
    ({**GOOD, "paid": "yes"}, "$.paid is 'yes', which fits 0 of oneOf, not one"),
    ({**GOOD, "code": 13}, "$.code is 13, which is what it may not be"),
    ([[]] * 9, "$ is [[], [], [], [], [], [], [], [], []], not of type object"),
]


def test_what_fits_has_no_misfits() -> None:
    check_schema(ORDER)
    assert misfits_of(GOOD, ORDER) == []


@pytest.mark.parametrize(("value", "words"), MISFITS)
def test_what_does_not_fit_is_told_with_its_place(value: Any, words: str) -> None:
    assert "; ".join(misfits_of(value, ORDER)) == words


def test_the_first_items_may_have_schemas_of_their_own() -> None:
    schema = {"prefixItems": [{"type": "string"}, {"multipleOf": 3}], "items": False}
    assert misfits_of(["a", 9], schema) == []
    assert misfits_of([1, 10, 2], schema) == [
        "$[0] is 1, not of type string",
        "$[1] is 10, no multiple of 3",
        "$[2] may not be there",
    ]


def test_what_json_sees_as_equal_is_equal() -> None:
    for schema in ({"const": {"a": [1, "x"]}}, {"enum": [0, {"a": [1, "x"]}]}):
        assert misfits_of({"a": [1.0, "x"]}, schema) == []
        assert misfits_of({"a": [True, "x"]}, schema)
    assert misfits_of([{"a": 1}, {"a": 1.0}], {"uniqueItems": True}) == ["$[1] is there twice"]
    assert misfits_of([[1], [2]], {"uniqueItems": True, "minItems": 2}) == []
    assert misfits_of(1, True) == []
    assert misfits_of(1, False) == ["$ may not be there"]


def test_at_most_five_places_are_told() -> None:
    assert len(misfits_of([1] * 50, {"items": {"type": "string"}})) == 5


WRONG: list[tuple[Any, str]] = [
    (7, "at # is a int"),
    ({"type": "text"}, "'type' at # names no type"),
    ({"type": []}, "names no type"),
    ({"properties": {"a": {"minLength": -1}}}, "'minLength' at #/properties/a is no count"),
    ({"minItems": True}, "is no count"),
    ({"multipleOf": 0}, "is no number"),
    ({"minimum": "1"}, "is no number"),
    ({"allOf": []}, "is no list of schemas"),
    ({"anyOf": [{"not": 3}]}, "at #/anyOf/0/not is a int"),
    ({"enum": "ab"}, "is no list"),
    ({"required": "ab"}, "is no list of names"),
    ({"properties": []}, "is no mapping"),
    ({"uniqueItems": 1}, "is neither"),
    ({"pattern": "("}, "is no pattern"),
    ({"pattern": 1}, "is no pattern"),
    ({"$ref": "#/$defs/x"}, "leads nowhere"),
    ({"$ref": "https://example.org/schema"}, "leads nowhere"),
    ({"$ref": 1}, "leads nowhere"),
    ({"$defs": {"a": {"typ": "string"}}}, "'typ' at #/$defs/a is not understood"),
    ({"patternProperties": {}}, "is not understood"),
]


@pytest.mark.parametrize(("schema", "words"), WRONG)
def test_what_is_no_schema_is_refused_when_the_guardrail_is_made(schema: Any, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        json_schema(schema)
    assert words in caught.value.message


def test_depths_are_bounded() -> None:
    deep: Any = {}
    for _ in range(70):
        deep = {"not": deep}
    with pytest.raises(DefinitionError, match="deeper"):
        check_schema(deep)
    endless = {"$ref": "#"}
    check_schema(endless)
    assert misfits_of(1, endless) == ["$ is nested deeper than 60"]


def test_references_have_escapes() -> None:
    schema = {"$defs": {"a/b~c": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c"}
    check_schema(schema)
    assert misfits_of(1, schema) == ["$ is 1, not of type null"]


@dataclass
class Line:
    n: int
    name: str = ""


def test_texts_are_taken_as_json_and_types_as_their_schema() -> None:
    check: Any = json_schema(Line).check
    assert check(None, 'Here: ```json\n{"n": 1}\n```') == (True, "")
    assert check(None, Line(1)) == (True, "")
    assert check(None, {"n": "1"}) == (False, "$.n is '1', not of type integer")
    ok, message = check(None, "no answer")
    assert not ok
    assert "no JSON" in message
    with pytest.raises(DefinitionError, match="no JSON Schema"):
        json_schema(object)
