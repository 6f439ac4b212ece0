"""The retry policy: how often, how long, and what is never tried again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.errors import DefinitionError, InvalidInput, PermanentError, TemporaryError
from agenticflow.resilience import RetryPolicy

OOPS = describe_error(OSError("oops"))

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1_000),
    initial_delay_seconds=st.floats(0, 1e6),
    multiplier=st.floats(1, 100),
    max_delay_seconds=st.floats(0, 1e6),
    jitter=st.booleans(),
)


def delay(policy: RetryPolicy, attempt: int, *, seed: str = "s", error: ErrorInfo = OOPS) -> float | None:
    return policy.delay_after(attempt, error, seed=seed, task_key="t")


@given(POLICIES, st.integers(1, 1_100), st.text())
def test_the_delay_is_within_its_bounds_and_depends_on_nothing_else(
    policy: RetryPolicy, attempt: int, seed: str
) -> None:
    first = delay(policy, attempt, seed=seed)
    assert first == delay(policy, attempt, seed=seed)
    if attempt >= policy.max_attempts:
        assert first is None
        return
    assert first is not None
    assert 0 <= first <= policy.max_delay_seconds
    try:
        ceiling = policy.initial_delay_seconds * policy.multiplier ** (attempt - 1)
    except OverflowError:
        return
    assert first <= ceiling
    if not policy.jitter:
        assert first == min(ceiling, policy.max_delay_seconds)


def test_full_jitter_spreads_over_the_whole_range() -> None:
    policy = RetryPolicy(initial_delay_seconds=100, multiplier=1, max_delay_seconds=100)
    delays = [delay(policy, 1, seed=str(seed)) or 0.0 for seed in range(1_000)]
    assert len(set(delays)) == 1_000
    assert 45 < sum(delays) / 1_000 < 55
    assert min(delays) < 1
    assert 99 < max(delays) < 100


def test_each_attempt_and_task_draws_its_own() -> None:
    policy = RetryPolicy(initial_delay_seconds=1, multiplier=1, max_attempts=100)
    assert len({delay(policy, attempt) for attempt in range(1, 100)}) == 99
    assert policy.delay_after(1, OOPS, seed="s", task_key="a") != policy.delay_after(1, OOPS, seed="s", task_key="b")


def test_without_jitter_the_delay_doubles_up_to_its_limit() -> None:
    policy = RetryPolicy(max_attempts=8, initial_delay_seconds=1, max_delay_seconds=10, jitter=False)
    assert [delay(policy, attempt) for attempt in range(1, 9)] == [1, 2, 4, 8, 10, 10, 10, None]


def test_a_power_beyond_every_float_is_the_limit() -> None:
    policy = RetryPolicy(max_attempts=1_000, multiplier=1e10, max_delay_seconds=7, jitter=False)
    assert delay(policy, 999) == 7


class Busy(ConnectionError):
    """A class of the author's own."""


@pytest.mark.parametrize(
    ("policy", "error", "is_tried_again"),
    [
        (RetryPolicy(), OSError(), True),
        (RetryPolicy(), TemporaryError("x"), True),
        (RetryPolicy(), PermanentError("x"), False),
        (RetryPolicy(), InvalidInput("x"), False),
        (RetryPolicy(retryable_errors=("PermanentError",)), PermanentError("x"), False),
        (RetryPolicy(retryable_errors=("Busy",)), Busy(), True),
        (RetryPolicy(retryable_errors=("OSError",)), Busy(), True),
        (RetryPolicy(retryable_errors=("Exception",)), Busy(), True),
        (RetryPolicy(retryable_errors=("ValueError",)), Busy(), False),
        (RetryPolicy(permanent_errors=("ConnectionError",)), Busy(), False),
        (RetryPolicy(retryable_errors=("Busy",), permanent_errors=("OSError",)), Busy(), False),
        (RetryPolicy(permanent_errors=("ValueError",)), Busy(), True),
    ],
)
def test_errors_are_named_by_their_class_or_a_base(policy: RetryPolicy, error: Exception, is_tried_again: bool) -> None:
    assert (delay(policy, 1, error=describe_error(error)) is not None) is is_tried_again


def test_an_error_recorded_without_its_bases_is_known_by_its_name() -> None:
    policy = RetryPolicy(retryable_errors=("TaskTimeout",))
    assert delay(policy, 1, error=ErrorInfo("TaskTimeout", "too long")) is not None
    assert delay(policy, 1, error=ErrorInfo("OtherError", "")) is None


def test_classes_may_be_given_instead_of_names() -> None:
    classes: Any = (OSError, "ValueError")
    one: Any = OSError
    text: Any = "OSError"
    assert RetryPolicy(retryable_errors=classes).retryable_errors == ("OSError", "ValueError")
    assert RetryPolicy(permanent_errors=one).permanent_errors == ("OSError",)
    assert RetryPolicy(permanent_errors=text).permanent_errors == ("OSError",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1_001},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"initial_delay_seconds": -0.1},
        {"initial_delay_seconds": float("nan")},
        {"initial_delay_seconds": float("inf")},
        {"initial_delay_seconds": "1"},
        {"initial_delay_seconds": True},
        {"max_delay_seconds": -1},
        {"max_delay_seconds": 1e300},
        {"max_delay_seconds": None},
        {"multiplier": 0.5},
        {"multiplier": float("nan")},
        {"multiplier": float("inf")},
        {"multiplier": "2"},
        {"retryable_errors": (7,)},
        {"retryable_errors": ("",)},
        {"retryable_errors": 7},
        {"permanent_errors": (None,)},
    ],
    ids=str,
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        RetryPolicy(**wrong)
    with pytest.raises(DefinitionError):
        RetryPolicy.from_dict(wrong)


def test_a_policy_is_written_as_a_dict() -> None:
    written = {"max_attempts": 5, "initial_delay_seconds": 1, "jitter": False, "retryable_errors": ["OSError"]}
    policy = RetryPolicy.from_dict(written)
    assert policy == RetryPolicy(5, 1, jitter=False, retryable_errors=("OSError",))
    assert RetryPolicy.from_dict(msgspec.to_builtins(policy)) == policy
    assert RetryPolicy.from_dict({}) == RetryPolicy()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"max_attempts": 3, "atempts": 5}, "has no 'atempts'"),
        ({"max_attempts": "many"}, "a retry policy is wrong"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ("often", "a retry policy is a mapping"),
    ],
)
def test_a_wrong_dict_says_what_is_wrong(written: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        RetryPolicy.from_dict(written)


def test_a_first_delay_above_the_longest_is_a_contradiction() -> None:
    """It would silently be a minute."""
    assert "above max_delay_seconds 60" in RetryPolicy(initial_delay_seconds=3_600).contradiction
    assert RetryPolicy(initial_delay_seconds=3_600, max_delay_seconds=3_600).contradiction == ""
    assert RetryPolicy().contradiction == ""
