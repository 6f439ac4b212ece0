"""The back-pressure policy: nothing below four fifths of the load, ten seconds at most, and what is no policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import DefinitionError
from agenticflow.resilience import BackPressure


def test_the_delay_starts_at_four_fifths_and_ends_at_ten_seconds() -> None:
    policy = BackPressure()
    assert [policy.delay_seconds(queued, 1_000) for queued in (0, 799, 1_000, 2_000)] == [0, 0, 10, 10]
    assert 0 < policy.delay_seconds(800, 1_000) < 0.1
    assert policy.delay_seconds(900, 1_000) == pytest.approx(5, abs=0.1)


@given(st.integers(1, 2_000), st.floats(0.01, 1), st.floats(0, 100))
def test_the_delay_grows_with_the_load_and_stays_in_its_bounds(capacity: int, starts_at: float, most: float) -> None:
    policy = BackPressure(starts_at=starts_at, max_delay_seconds=most)
    delays = [policy.delay_seconds(queued, capacity) for queued in range(capacity + 1)]
    assert delays == sorted(delays)
    assert (delays[-1], max(delays)) == (most, most)
    threshold = policy.threshold(capacity)
    assert 1 <= threshold <= capacity
    assert all(delay == 0 for delay in delays[:threshold])
    assert most == 0 or all(delay > 0 for delay in delays[threshold:]) or most < 1e-300


def test_a_policy_may_wait_only_at_a_full_queue_or_never() -> None:
    assert BackPressure(starts_at=1.0).delay_seconds(999, 1_000) == 0
    assert BackPressure(starts_at=1.0).delay_seconds(1_000, 1_000) == 10
    assert BackPressure(max_delay_seconds=0).delay_seconds(1_000, 1_000) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"starts_at": 0}, "starts_at of a back-pressure policy is 0"),
        ({"starts_at": 80}, "is 80"),
        ({"starts_at": True}, "is True"),
        ({"max_delay_seconds": -1}, "max_delay_seconds of a back-pressure policy is -1"),
        ({"max_delay_seconds": 4_000}, "is 4000"),
        ({"max_delay_seconds": "ten"}, "is 'ten'"),
        ({"when_full": "wait"}, "when_full of a back-pressure policy is 'wait'"),
    ],
)
def test_what_is_no_policy_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        BackPressure(**arguments)
    assert words in str(refusal.value)
