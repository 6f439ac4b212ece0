"""JSON is found in whatever a model says around it, and nothing is made up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model.outputs import candidates
from agenticflow.agents.model.outputs.extraction import MAX_TRIES
from tests.unit.agents.model.conversations import arguments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', [{"a": 1}]),
        (' \n[1, 2]\n', [[1, 2]]),
        ("42", [42]),
        ('"words"', ["words"]),
        ('Here you are: {"a": {"b": "}"}} I hope it helps.', [{"a": {"b": "}"}}]),
        ('```json\n{"a": 1}\n```', [{"a": 1}, {"a": 1}]),
        ('```\n[1]\n```\nand ```json\n"x"\n```', [[1], "x", [1]]),
        ('Sure!\n```json\n{"a": \n```', []),
        ('First [1] then {"a": 2}.', [[1], {"a": 2}]),
        ("a list [like this] and {this}", []),
        ("", []),
        ("no JSON at all", []),
        ('{"a": NaN}', []),
        ('{"a": Infinity, "b": [3]}', [[3]]),
        ('x {"a": 1e999}', []),
        ('x {"a": "\ud800"}', []),
    ],
)  # fmt: skip
def test_what_is_found(text: str, found: list[object]) -> None:
    assert list(candidates(text)) == found


def test_the_search_ends() -> None:
    assert list(candidates("[" * 100_000)) == []
    assert list(candidates("{" * (MAX_TRIES - 1) + ' {"a": 1}')) == [{"a": 1}]
    assert list(candidates("{" * MAX_TRIES + ' {"a": 1}')) == []


@given(arguments, st.text("abc .,:\n"), st.text("abc .,:\n"), st.sampled_from([None, 2]))
def test_an_object_between_words_is_found(
    value: dict[str, object], before: str, after: str, indent: int | None
) -> None:
    text = before + json.dumps(value, indent=indent) + after
    assert next(candidates(text)) == value
