"""A schema that values cannot be held to is told, with the place of each mistake, before any value comes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agenticflow.core.json_schema import (
    MAX_PROBLEMS,
    compile_schema,
    inner_schemas,
    missing_words,
    schema_mistakes,
    understood_part,
    unknown_words,
)
from agenticflow.core.json_schema.keywords import NOTES, RULES
from agenticflow.errors import DefinitionError
from tests.unit.core.json_schema.test_values import SCHEMAS, VALUES


@pytest.mark.parametrize(
    ("schema", "mistake"),
    [
        (7, "7 is no schema: write a mapping like {'type': 'string'}"),
        ({"typ": "string"}, "the keyword 'typ' is not understood; did you mean 'type'?"),
        ({"unevaluatedItems": False}, "the keyword 'unevaluatedItems' is not understood; did you mean 'uniqueItems'?"),
        ({"$dynamicRef": "#a"}, "the keyword '$dynamicRef' is not understood; leave it out, or check it yourself"),
        ({7: 1}, "the keyword 7 is not understood; leave it out, or check it yourself"),
        (
            {"type": "text"},
            "type is 'text', not one of object, array, string, integer, number, boolean, null, or a list",
        ),
        ({"type": ["string", 7]}, "type is ['string', 7], not one of"),
        ({"type": []}, "type is [], not one of"),
        ({"enum": []}, "enum is [], not a list of values"),
        ({"enum": "ab"}, "enum is 'ab', not a list of values"),
        ({"required": "ab"}, "required is 'ab', not a list of names"),
        ({"required": [1]}, "required is [1], not a list of names"),
        ({"dependentRequired": {"a": "b"}}, "dependentRequired is {'a': 'b'}, not lists of names by name"),
        ({"dependentRequired": []}, "not lists of names by name"),
        ({"minLength": -1}, "minLength is -1, not a whole number of at least 0"),
        ({"maxItems": "1"}, "maxItems is '1', not a whole number of at least 0"),
        ({"minItems": True}, "minItems is True, not a whole number of at least 0"),
        ({"minimum": "1"}, "minimum is '1', not a number"),
        ({"exclusiveMinimum": True}, "exclusiveMinimum is True, not a number"),
        ({"maximum": float("nan")}, "maximum is nan, not a number"),
        ({"multipleOf": 0}, "multipleOf is 0, not a number above 0"),
        ({"multipleOf": "1"}, "multipleOf is '1', not a number above 0"),
        ({"uniqueItems": 1}, "uniqueItems is 1, not true or false"),
        ({"pattern": 1}, "pattern is 1, not a pattern"),
        ({"pattern": "("}, "pattern is '(', not a pattern that is understood: a ( is not closed, at character 1"),
        ({"patternProperties": {"[": {}}}, "not a pattern that is understood: it ends too early, at character 1"),
        ({"patternProperties": []}, "patternProperties is [], not a mapping from names to schemas"),
        ({"properties": [1]}, "properties is [1], not a mapping from names to schemas"),
        ({"properties": {1: {}}}, "properties is {1: {}}, not a mapping from names to schemas"),
        ({"anyOf": {}}, "anyOf is {}, not a list of schemas"),
        ({"allOf": []}, "allOf is [], not a list of schemas"),
        ({"items": [{}]}, "at #/items: [{}] is no schema"),
        ({"properties": {"a": {"anyOf": [{"not": 3}]}}}, "at #/properties/a/anyOf/0/not: 3 is no schema"),
        ({"$defs": {"a/b": {"typ": 1}}}, "at #/$defs/a~1b: the keyword 'typ' is not understood"),
        ({"$ref": "#/$defs/x"}, "the reference '#/$defs/x' leads nowhere: write #/$defs/NAME; nothing is fetched"),
        ({"$ref": "https://example.org/schema"}, "nothing is fetched"),
        ({"$ref": "other.json"}, "leads nowhere"),
        ({"$ref": 1}, "the reference 1 leads nowhere"),
        ({"$ref": "#/type/deep", "type": "null"}, "leads nowhere"),
        ({"$ref": "#/type", "type": "null"}, "leads nowhere"),
        ({"$ref": "#/allOf/7", "allOf": [{}]}, "leads nowhere"),
        ({"$ref": "#/allOf/x", "allOf": [{}]}, "leads nowhere"),
        ({"$ref": "#/allOf/9999999", "allOf": [{}]}, "leads nowhere"),
        ({"$ref": "#/x-own", "x-own": {"typ": 1}}, "at #/x-own: the keyword 'typ' is not understood"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_told(schema: Any, mistake: str) -> None:
    mistakes = schema_mistakes(schema)
    assert any(mistake in one for one in mistakes), mistakes
    with pytest.raises(DefinitionError, match="the schema is wrong") as caught:
        compile_schema(schema)
    assert list(caught.value.problems) == mistakes


def test_all_mistakes_are_told_at_once_as_far_as_that_helps() -> None:
    assert schema_mistakes({"type": "text", "minLength": -1, "items": {"minimum": "1"}}) == [
        "type is 'text', not one of object, array, string, integer, number, boolean, null, or a list of them",
        "minLength is -1, not a whole number of at least 0",
        "at #/items: minimum is '1', not a number",
    ]
    assert len(schema_mistakes({"properties": {str(number): 1 for number in range(100)}})) == MAX_PROBLEMS


def test_keywords_can_be_fewer() -> None:
    assert schema_mistakes({"type": "string"}, ("type", "title")) == []
    assert schema_mistakes({"minLength": 1}, ("type", "title")) == [
        "the keyword 'minLength' is not understood; there are type, title"
    ]


def test_a_schema_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(61):
        deep = {"items": deep}
    assert schema_mistakes(deep) == [f"at #{'/items' * 61}: it is nested more than 60 deep: use $ref to definitions"]
    assert schema_mistakes(deep["items"]) == []
    shared: Any = {"type": "null"}
    for _ in range(30):
        shared = {"allOf": [shared, shared]}
    (mistake,) = schema_mistakes(shared)
    assert mistake.endswith("it has more than 10,000 schemas inside")
    many: dict[str, Any] = {"$defs": {str(number): {"not": {}} for number in range(6_000)}}
    assert len(schema_mistakes(many)) == 1
    chain = {f"n{number}": {"$ref": f"#/$defs/n{number + 1}"} for number in range(3_000)}
    assert schema_mistakes({"$ref": "#/$defs/n0", "$defs": {**chain, "n3000": {}}}) == []


def test_what_a_schema_said_when_it_was_made_ready_holds() -> None:
    names = ["a"]
    compiled = compile_schema({"required": names})
    names.append("b")
    assert compiled.problems({"a": 1}) == []


def test_words_for_what_is_missing_and_for_what_nobody_asks_for() -> None:
    assert missing_words(None) == "is missing"
    assert missing_words({}) == "is missing"
    assert missing_words({"type": ["a"], "description": "where"}) == "is missing (where)"
    assert unknown_words("cty", ["city"]) == "is not asked for; did you mean 'city'?"
    assert unknown_words("a", []) == "is not asked for; there are no fields"
    assert unknown_words("c" * 1_000, ["city"]) == "is not asked for; there are city"


def test_the_page_lists_every_word() -> None:
    page = (Path(__file__).parents[4] / "docs" / "reference" / "json-schema.md").read_text(encoding="utf-8")
    table = page.split("|---|---|")[1].split("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", table)) == {*RULES, *NOTES, "x-"}


def test_schemas_that_stand_in_a_schema_are_found_with_their_way() -> None:
    schema = {"not": 1, "anyOf": [2, 3], "properties": {"a/b": 4}, "enum": [5], "oneOf": 6, "$defs": 7, "title": "t"}
    assert list(inner_schemas(schema)) == [("/not", 1), ("/anyOf/0", 2), ("/anyOf/1", 3), ("/properties/a~1b", 4)]


# --- somebody else's schemas ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a"}),
        ({"type": "string", "pattern": "(?=a)"}, {"type": "string"}),
        ({"nullable": True, "items": {"nullable": True, "type": "null"}}, {"items": {"type": "null"}}),
        (
            {"properties": {"nullable": {"odd": 1}}, "const": {"odd": 1}},
            {"properties": {"nullable": {}}, "const": {"odd": 1}},
        ),
        # what would take less when a schema inside takes more goes too
        ({"not": {"odd": 1}, "if": {}, "then": {}, "type": "null"}, {"type": "null"}),
        ({"oneOf": [{"odd": 1}, True]}, {"allOf": [{"anyOf": [{}, True]}]}),
        (
            {"oneOf": [{"odd": 1}], "allOf": [{"type": "null"}]},
            {"allOf": [{"type": "null"}, {"anyOf": [{}]}]},
        ),
        (
            {"patternProperties": {"(?=a)": {}, "b": {}}, "additionalProperties": False},
            {"patternProperties": {"b": {}}},
        ),
        # mistakes of another kind are its owner's, and stay to be told
        ({"type": "text", "anyOf": 3, "odd": 1, "properties": 4}, {"type": "text", "anyOf": 3, "properties": 4}),
        ({"not": {"type": "null"}}, {"not": {"type": "null"}}),
    ],
)
def test_of_another_schema_the_part_that_is_understood_is_taken(schema: dict[str, Any], part: dict[str, Any]) -> None:
    assert understood_part(schema) == part


def strange(schema: Any) -> Any:
    """Give ``schema`` words that are not understood, where it says ``title``."""
    if isinstance(schema, list):
        return [strange(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: strange(said) for name, said in schema.items()}
    if "description" in changed:
        changed["unevaluatedProperties"] = changed["unevaluatedItems"] = False
    return changed


@given(SCHEMAS, VALUES, st.booleans())
def test_the_part_takes_whatever_the_whole_takes(schema: Any, value: object, has_lookahead: bool) -> None:
    whole = strange(schema if isinstance(schema, dict) else {"allOf": [schema]})
    if has_lookahead:
        whole["pattern"] = "(?=a)"
    if "$ref" in str(whole):
        whole["$defs"] = {name: {"type": "integer"} for name in ("one", "two", "never", "tree", "a/b~c")}
    compiled = compile_schema(understood_part(whole))
    if Draft202012Validator(whole).is_valid(value):
        assert compiled.problems(value) == []
