"""Schemas as providers want them: objects closed to fields that nobody lists."""

from __future__ import annotations

import pytest

from agenticflow.agents.model.outputs import closed


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


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("allOf", [{"properties": {"a": True}}]),
        ("not", {"properties": {"a": True}}),
        ("if", {"properties": {"a": True}}),
        ("patternProperties", {"^a": {"properties": {"a": True}}}),
    ],
)
def test_forms_that_are_put_together_stay_as_they_are(keyword: str, value: object) -> None:
    schema = {"properties": {"x": {keyword: value}}}
    assert closed(schema) == schema
