"""The beginning of JSON: whatever comes in whatever pieces, what is told of it is JSON, and grows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model.outputs.prefix import MAX_OPEN, JsonPrefix


def told(*pieces: str) -> list[str]:
    prefix = JsonPrefix()
    for piece in pieces:
        prefix.add(piece)
    return list(prefix.closed())


@pytest.mark.parametrize(
    ("said", "closed"),
    [
        ("", [""]),
        ("no JSON", [""]),
        ("{", ["{}"]),
        ('Here: {"a', ["{}"]),
        ('{"a"', ["{}"]),
        ('{"a":', ["{}"]),
        ('{"a": 12', ["{}"]),
        ('{"a": 12,', ['{"a": 12}']),
        ('{"a": tru', ["{}"]),
        ('{"a": "x', ['{"a": "x"}', "{}"]),
        ('{"a": "x"', ['{"a": "x"}']),
        ('{"a": "x", "b', ['{"a": "x"}']),
        ('{"a": ["x", "y', ['{"a": ["x", "y"]}', '{"a": ["x"]}']),
        ('["x', ['["x"]', "[]"]),
        ('[[1, 2], {"a": {"b": 3', ['[[1, 2], {"a": {}}]']),
        ('{"a": "{[:,', ['{"a": "{[:,"}', "{}"]),
        ('{"a": "x\\', ['{"a": "x"}', "{}"]),
        ('{"a": "x\\"y', ['{"a": "x\\"y"}', "{}"]),
        ('{"a": "x\\\\', ['{"a": "x\\\\"}', "{}"]),
        ('{"a": "x\\u00e', ['{"a": "x"}', "{}"]),
        ('{"a": "x\\ud83d', ['{"a": "x"}', "{}"]),
        ('{"a": "x\\ud83d\\ude', ['{"a": "x"}', "{}"]),
        ('{"a": "x\\ud83d\\ude00', ['{"a": "x\\ud83d\\ude00"}', "{}"]),
        ('{"a": "x\\\\ud83d', ['{"a": "x\\\\ud83d"}', "{}"]),
        ('{"a": "x\\u00e4', ['{"a": "x\\u00e4"}', "{}"]),
        ('```json\n{"a": 1}\n``` and {"b": 2}', ['{"a": 1}']),
        ("[1]]", ["[1]"]),
    ],
)
def test_it_is_closed_where_it_has_come_to(said: str, closed: list[str]) -> None:
    assert told(said) == closed
    assert told(*said) == closed, "however it is cut"


def test_what_closes_what_is_not_open_ends_it() -> None:
    prefix = JsonPrefix()
    prefix.add('{"a": 1]')
    assert prefix.is_over
    prefix.add(', "b": 2}')
    assert prefix.length == len('{"a": 1]')


def test_it_is_nested_only_so_deep() -> None:
    prefix = JsonPrefix()
    prefix.add("[" * MAX_OPEN)
    assert not prefix.is_over
    prefix.add("[")
    assert prefix.is_over


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def is_beginning(part: Any, whole: Any) -> bool:
    match part, whole:
        case dict(), dict():
            return all(name in whole and is_beginning(one, whole[name]) for name, one in part.items())
        case list(), list():
            return len(part) <= len(whole) and all(map(is_beginning, part, whole))
        case str(), str():
            return whole.startswith(part)
        case _:
            return bool(part == whole)


@given(value=st.lists(VALUES, max_size=4), is_ascii=st.booleans(), data=st.data())
def test_every_beginning_of_a_value_says_a_part_of_it(value: list[Any], is_ascii: bool, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    prefix = JsonPrefix()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        prefix.add(text[start:end])
        for closed in prefix.closed() if prefix.length else ():
            found = json.loads(closed)
            assert is_beginning(found, value)
    assert prefix.is_over
    assert json.loads(*prefix.closed()) == value
