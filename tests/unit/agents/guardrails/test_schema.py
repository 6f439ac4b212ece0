"""JSON schemas as guardrails: a text is taken as the JSON in it, a type as its schema; what holds is the business of core.json_schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.agents.guardrails import json_schema
from agenticflow.errors import DefinitionError

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^o-[0-9]+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
    },
    "required": ["id", "lines"],
    "additionalProperties": False,
    "$defs": {"line": {"properties": {"n": {"type": "integer", "minimum": 1}}}},
}


def test_what_does_not_fit_is_told_with_its_place() -> None:
    check: Any = json_schema(ORDER).check
    assert check(None, {"id": "o-1", "lines": [{"n": 1}]}) == (True, "")
    is_fine, words = check(None, {"id": "x", "lines": [{"n": 0}], "note": 1})
    assert not is_fine
    assert words.split("; ", 2) == [
        "value.id is 'x', which does not match '^o-[0-9]+$'",
        "value.lines[0].n is 0, below the minimum 1",
        "value.note is not asked for; there are id, lines",
    ]


def test_what_is_no_schema_is_refused_when_the_guardrail_is_made() -> None:
    with pytest.raises(DefinitionError, match="type is 'text', not one of"):
        json_schema({"type": "text"})
    wrong: Any = 7
    with pytest.raises(DefinitionError, match="is no schema"):
        json_schema(wrong)


@dataclass
class Line:
    n: int
    name: str = ""


def test_texts_are_taken_as_json_and_types_as_their_schema() -> None:
    check: Any = json_schema(Line).check
    assert check(None, 'Here: ```json\n{"n": 1}\n```') == (True, "")
    assert check(None, Line(1)) == (True, "")
    assert check(None, {"n": "1"}) == (False, "value.n is '1', not integer")
    ok, message = check(None, "no answer")
    assert not ok
    assert "no JSON" in message
    with pytest.raises(DefinitionError, match="no JSON Schema"):
        json_schema(object)
