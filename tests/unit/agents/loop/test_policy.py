"""On what terms an agent works: each mistake is told by name."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents.loop.policy import MAX_TURNS, USUAL_POLICY, LoopPolicy
from agenticflow.errors import DefinitionError


def test_the_usual_terms() -> None:
    assert LoopPolicy() == USUAL_POLICY == LoopPolicy.from_dict({})
    assert (USUAL_POLICY.max_turns, USUAL_POLICY.temperature, USUAL_POLICY.compact_after_tokens) == (10, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_turns": MAX_TURNS},
        {"max_repairs": 0},
        {"max_output_tokens": 1},
        {"temperature": 0},
        {"temperature": 2.0},
        {"reasoning_effort": "high"},
        {"compact_after_tokens": 100, "seed": 7, "max_parallel_calls": 100},
    ],
)
def test_what_may_be_said(fields: dict[str, Any]) -> None:
    assert LoopPolicy.from_dict(fields) == LoopPolicy(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_turns": 0}, "max_turns is 0: give 1 to 10,000"),
        ({"max_turns": None}, "max_turns is None"),
        ({"max_turns": True}, "max_turns is True"),
        ({"max_turns": "9"}, "max_turns is '9'"),
        ({"max_repairs": -1}, "max_repairs is -1"),
        ({"max_equal_calls": 0}, "max_equal_calls is 0"),
        ({"max_parallel_calls": 101}, "max_parallel_calls is 101"),
        ({"max_output_tokens": 0}, "max_output_tokens is 0"),
        ({"compact_after_tokens": 99}, "compact_after_tokens is 99"),
        ({"temperature": 2.1}, "temperature is 2.1: give 0 to 2"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": "warm"}, "temperature is 'warm'"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": True}, "seed is True"),
        ({"reasoning_effort": "deep"}, "reasoning_effort is 'deep': give low, medium or high"),
    ],
)
def test_what_may_not(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        LoopPolicy(**fields)


def test_all_mistakes_are_found_at_once_and_unknown_names_are_told() -> None:
    with pytest.raises(DefinitionError) as caught:
        LoopPolicy(max_turns=0, temperature=9)
    assert len(caught.value.problems) == 2
    with pytest.raises(DefinitionError, match="has no 'max_turn'"):
        LoopPolicy.from_dict({"max_turn": 3})
