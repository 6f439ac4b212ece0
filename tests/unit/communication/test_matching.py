"""Patterns: what they mean, that they mean the same as a naive reading, and what is no pattern."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.communication.matching import MAX_PATTERN, EventPattern, EventPatterns
from agenticflow.errors import InvalidInput

TOKENS = st.text("ab", min_size=1, max_size=3)
TYPES = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
WILD = st.text("ab*?", min_size=1, max_size=3).filter(lambda token: "**" not in token)
PATTERNS = st.tuples(st.lists(WILD, min_size=0, max_size=3), st.booleans()).map(
    lambda parts: ".".join([*parts[0], *([">"] if parts[1] or not parts[0] else [])])
)


def naive(pattern: list[str], given: list[str]) -> bool:
    """The meaning, token by token."""
    match pattern, given:
        case [">"], [_, *_]:
            return True
        case [], []:
            return True
        case [first, *rest], [token, *others]:
            return fnmatch.fnmatchcase(token, first) and naive(rest, others)
        case _:
            return False


@given(PATTERNS, TYPES)
def test_a_pattern_means_what_its_tokens_mean(pattern: str, event_type: str) -> None:
    expected = pattern == "*" or naive(pattern.split("."), event_type.split("."))
    assert EventPattern(pattern).matches(event_type) == expected


@given(TYPES)
def test_every_type_matches_itself_everything_and_its_own_branch(event_type: str) -> None:
    assert EventPattern(event_type).matches(event_type)
    assert EventPattern(event_type).is_exact
    assert EventPattern("*").matches(event_type)
    assert EventPattern(">").matches(event_type)
    assert EventPattern(f"{event_type}.>").matches(f"{event_type}.below")
    assert not EventPattern(f"{event_type}.>").matches(event_type)


@pytest.mark.parametrize(
    ("pattern", "matched", "missed"),
    [
        ("task_*", ["task_completed", "task_"], ["task", "task_a.b", "TASK_a"]),
        ("order.*", ["order.placed", "order."], ["order", "order.item.added", "orders.placed"]),
        ("order.>", ["order.placed", "order.item.added"], ["order", "orders.placed"]),
        ("*.placed", ["order.placed", ".placed"], ["placed", "a.b.placed"]),
        ("order.[ab]?.>", ["order.ax.y", "order.bx.y.z"], ["order.ax", "order.cx.y"]),
        ("order.[!ab]", ["order.c"], ["order.a", "order.", "order..."]),
        ("order.p+d", ["order.p+d"], ["order.ppd"]),
    ],
)
def test_wildcards(pattern: str, matched: list[str], missed: list[str]) -> None:
    compiled = EventPattern(pattern)
    assert [event_type for event_type in matched if not compiled.matches(event_type)] == []
    assert [event_type for event_type in missed if compiled.matches(event_type)] == []


@pytest.mark.parametrize(
    "pattern", ["order..placed", ".order", "order.", "order.>.placed", "order.a>", ">>", "**", "order.**"]
)
def test_what_can_never_match_or_says_two_things_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        EventPattern(pattern)
    assert repr(pattern) in str(refusal.value)
    assert refusal.value.hint


def test_bounds_and_words() -> None:
    with pytest.raises(InvalidInput, match="is no pattern"):
        EventPattern("")
    with pytest.raises(InvalidInput, match="at most 512 characters"):
        EventPattern("a" * (MAX_PATTERN + 1))
    assert repr(EventPattern("a.*")) == "EventPattern('a.*')"
    assert not EventPattern("a.*").is_exact


def test_many_stars_cost_no_time() -> None:
    pattern = EventPattern("*".join("a" * 100) + "b")
    assert not pattern.matches("a" * 300)


def test_several_patterns_mean_what_any_of_them_means() -> None:
    several = EventPatterns(["order.*", "paid", "order.*"])
    assert (several.text, several.is_exact) == ("order.* | paid", False)
    assert [several.matches(name) for name in ("order.placed", "paid", "order.item.added", "unpaid")] == [
        True,
        True,
        False,
        False,
    ]
    assert EventPatterns(["paid"]).is_exact
    for nonsense in ([], ["a"] * 101, ["a..b"]):
        with pytest.raises(InvalidInput):
            EventPatterns(nonsense)
