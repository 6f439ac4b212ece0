"""A rate as state: never more turns than it says in any stretch of time, none lost, in the order of asking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import DefinitionError
from agenticflow.resilience import Rate, RateWindow

SECOND = 1_000_000_000


def test_so_many_go_at_once_and_the_next_when_the_first_is_a_window_ago() -> None:
    window = RateWindow(Rate(3, 10))
    assert [window.take(0) for _ in range(7)] == [0, 0, 0, 10 * SECOND, 10 * SECOND, 10 * SECOND, 20 * SECOND]


def test_whoever_will_not_wait_so_long_takes_nothing() -> None:
    window = RateWindow(Rate(1, 10))
    assert window.take(0) == 0
    assert window.take(0, latest=9 * SECOND) is None
    assert window.take(0, latest=10 * SECOND) == 10 * SECOND
    assert window.next_free(0) == 20 * SECOND


def test_a_turn_given_back_goes_to_the_next_who_asks() -> None:
    window = RateWindow(Rate(1, 10))
    turns = [window.take(0) for _ in range(3)]
    assert turns[1] is not None
    window.give_back(turns[1], 5 * SECOND)
    assert window.take(6 * SECOND) == 10 * SECOND
    assert window.take(6 * SECOND) == 30 * SECOND


def test_a_turn_given_back_too_late_is_lost() -> None:
    window = RateWindow(Rate(1, 10))
    window.take(0)
    window.take(0)
    window.give_back(10 * SECOND, 11 * SECOND)
    assert window.take(11 * SECOND) == 20 * SECOND
    window.give_back(20 * SECOND, 12 * SECOND)
    assert window.take(21 * SECOND) == 30 * SECOND, "it was free until it had passed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rate": 0}, "the rate of a limiter is 0"),
        ({"rate": True}, "is True"),
        ({"rate": 1.5}, "is 1.5"),
        ({"rate": 1, "per_seconds": 0}, "per_seconds of a limiter is 0"),
        ({"rate": 1, "per_seconds": "1"}, "is '1'"),
    ],
)
def test_what_is_no_rate_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        Rate(**arguments)
    assert words in str(refusal.value)


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.booleans()), max_size=60),
)
def test_no_window_ever_has_more_turns_than_the_rate(rate: int, asked: list[tuple[int, bool]]) -> None:
    window = RateWindow(Rate(rate, 2))
    now = 0
    used: list[int] = []
    for pause, is_wanted in asked:
        now += pause
        moment = window.take(now)
        assert moment is not None
        assert moment >= now
        if is_wanted:
            used.append(moment)
        else:
            window.give_back(moment, now)
    used.sort()
    assert all(later - first >= 2 * SECOND for first, later in zip(used, used[rate:], strict=False))
