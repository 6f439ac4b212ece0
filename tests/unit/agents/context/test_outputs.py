"""What a model answered, as data: JSON in fences and prose is found, and made into what was asked for."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.context.outputs import parse_output, structured_text
from agenticflow.errors import BoundExceeded, InvalidInput

OBJECT = '{"city": "Graz", "degrees": 21.5}'


@dataclass
class Weather:
    city: str
    degrees: float


class Score(msgspec.Struct):
    points: int


class Model:
    """Validates as a pydantic model does."""

    def __init__(self, points: int) -> None:
        self.points = points

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if not isinstance(value, dict) or not isinstance(value.get("points"), int):
            raise ValueError("points: Input should be a valid integer")
        return cls(value["points"])


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"Here it is:\n\n```JSON\n{OBJECT}\n```\nIt's {{nice}} there.",
        f"The answer [see above] is {OBJECT}, isn't it?",
        f'Don\'t say "{{" too early: {OBJECT}',
        f"\ufeff {OBJECT}",
        f"[[[ {OBJECT} }}",
    ],
)
def test_an_object_is_found(text: str) -> None:
    assert parse_output(text, Weather) == Weather("Graz", 21.5)
    assert json.loads(structured_text(text)) == json.loads(OBJECT)


@pytest.mark.parametrize("text", [" 7 ", '"text"', "true", "null", "[1, 2]", OBJECT])
def test_what_is_json_as_a_whole_stays_as_it_is(text: str) -> None:
    assert structured_text(text) == text
    assert parse_output(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "plain words", "{not json}", "[1, 2", "it is NaN", "[NaN]", "{'a': 1}"])
def test_a_text_without_json_stays_as_it_is(text: str) -> None:
    assert structured_text(text) == text
    with pytest.raises(InvalidInput, match="no JSON"):
        parse_output(text)


def test_two_pieces_are_no_single_answer() -> None:
    text = 'First {"points": "x"}, then {"points": 2}.'
    assert structured_text(text) == text
    assert parse_output(text) == {"points": "x"}
    assert parse_output(text, Score) == Score(2), "the first one that fits"


def test_inner_braces_and_quotes_do_not_end_it() -> None:
    value = {"a": "}{", "b": ['"', {"c": "```"}], "d": "\\"}
    assert parse_output(f"so: {json.dumps(value)} :os") == value


@pytest.mark.parametrize("kind", [Weather, Score, Model, list[int]])
def test_what_does_not_fit_says_where(kind: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_output('{"city": 1, "points": "many"}', kind)
    assert "ask again" in caught.value.hint
    assert len(caught.value.message) > 30


def test_models_validate_themselves() -> None:
    assert parse_output('ok {"points": 3}', Model).points == 3
    assert parse_output("scores: [1, 2]", list[int]) == [1, 2]
    with pytest.raises(InvalidInput, match="list\\[int\\]"):
        parse_output("nothing", list[int])


def test_a_text_full_of_brackets_costs_little() -> None:
    started = time.perf_counter()
    for text in ("[" * 900_000, "{" * 900_000, '[{"a":' * 150_000):
        assert structured_text(text) == text
    assert time.perf_counter() - started < 10
    with pytest.raises(BoundExceeded):
        parse_output("x" * 1_100_000)
    assert structured_text("x" * 1_100_000) == "x" * 1_100_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(), inner, min_size=1, max_size=3)
        ),
    ).filter(lambda value: isinstance(value, (dict, list))),
    st.text(st.characters(exclude_characters="[]{}"), max_size=20),
    st.text(st.characters(exclude_characters="[]{}"), max_size=20),
)
def test_prose_around_changes_nothing(value: object, before: str, after: str) -> None:
    text = f"{before}{json.dumps(value)}{after}"
    assert parse_output(text) == value
    assert structured_text(structured_text(text)) == structured_text(text)
