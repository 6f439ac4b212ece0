"""How much may be in work at once, by the load: less under it, more when it is calm, never below one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import DefinitionError
from agenticflow.resilience import Adaptation, Load

POLICY = Adaptation(max_lag_seconds=0.2, max_memory_share=0.9, max_cpu_share=2)
LATE = Load(lag_seconds=0.3, in_work=40)


def test_under_load_half_of_what_is_in_work_goes_on_and_further_down_to_one() -> None:
    limit, found = 1_000, []
    while limit > 1:
        limit = POLICY.next_limit(limit, 1_000, Load(lag_seconds=0.3, in_work=min(limit, 40)))
        found.append(limit)
    assert found == [20, 10, 5, 2, 1]
    assert POLICY.next_limit(1, 1_000, LATE) == 1


def test_when_it_is_calm_more_is_let_in_step_by_step_up_to_the_most() -> None:
    limit, looks = 1, 0
    while limit < 100:
        limit, looks = POLICY.next_limit(limit, 100, Load(lag_seconds=0.01)), looks + 1
    assert limit == 100
    assert looks == 38


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Load(lag_seconds=0.21), "the event loop was late by 0.21 s"),
        (Load(memory_share=0.95), "the machine has 95% of its memory in use"),
        (Load(cpu_share=2.5), "the machine has 2.5 times as much to do as it can"),
    ],
)
def test_each_bound_counts_and_says_so_and_one_that_is_left_out_does_not(load: Load, words: str) -> None:
    assert POLICY.overload(load) == (words,)
    nothing = Adaptation(max_lag_seconds=None, max_memory_share=None, max_cpu_share=None)
    assert nothing.overload(load) == ()
    assert nothing.is_calm(load)


@pytest.mark.parametrize("load", [Load(lag_seconds=0.17), Load(memory_share=0.85), Load(cpu_share=1.8)])
def test_between_load_and_calm_it_stays(load: Load) -> None:
    assert not POLICY.is_calm(load)
    assert POLICY.next_limit(7, 100, load) == 7


def test_what_may_wait_for_what_waits_is_given_one_more_whatever_the_load() -> None:
    assert POLICY.next_limit(1, 100, Load(lag_seconds=3, in_work=1, waiting=2, is_stuck=True)) == 2
    assert POLICY.next_limit(100, 100, Load(is_stuck=True)) == 100


def test_the_least_is_kept_and_is_no_more_than_the_most() -> None:
    policy = Adaptation(least=8)
    assert policy.next_limit(16, 100, LATE) == 8
    assert policy.next_limit(5, 5, LATE) == 5


@given(
    limit=st.integers(1, 500),
    most=st.integers(1, 500),
    least=st.integers(1, 600),
    lag=st.floats(0, 10),
    memory=st.none() | st.floats(0, 1),
    cpu=st.none() | st.floats(0, 100),
    in_work=st.integers(0, 500),
    stuck=st.booleans(),
)
def test_it_is_never_below_one_and_never_above_the_most(
    limit: int, most: int, least: int, lag: float, memory: float | None, cpu: float | None, in_work: int, stuck: bool
) -> None:
    load = Load(lag, memory, cpu, in_work, 1, stuck)
    found = Adaptation(least=least).next_limit(min(limit, most), most, load)
    assert min(least, most) <= found <= most
    assert found >= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_lag_seconds": 0}, "max_lag_seconds of an adaptation is 0"),
        ({"max_memory_share": 1.5}, "max_memory_share of an adaptation is 1.5"),
        ({"max_cpu_share": True}, "max_cpu_share of an adaptation is True"),
        ({"least": 0}, "least of an adaptation is 0"),
        ({"least": True}, "least of an adaptation is True"),
        ({"least": 1.5}, "least of an adaptation is 1.5"),
        ({"shrink": 1}, "shrink of an adaptation is 1"),
        ({"shrink": "half"}, "shrink of an adaptation is 'half'"),
        ({"grow": 0}, "grow of an adaptation is 0"),
        ({"every_seconds": 0.001}, "every_seconds of an adaptation is 0.001"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Adaptation(**options)
