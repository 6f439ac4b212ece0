"""The breaker as state: when it opens, whom it lets through, what a late answer means."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.errors import (
    CircuitOpen,
    DefinitionError,
    InvalidInput,
    PermanentError,
    ResourceExhausted,
    TaskTimeout,
    TemporaryError,
)
from agenticflow.resilience import Breaker, BreakerPolicy, BreakerState

SECOND = 1_000_000_000
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Door:
    """A breaker, called by tests; time passes when told."""

    def __init__(self, **policy: Any) -> None:
        self.breaker = Breaker("payments", BreakerPolicy(**policy))
        self.now = 1_000 * SECOND

    def passes(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    def admit(self) -> int:
        ticket = self.breaker.admit(self.now)
        assert ticket is not None
        return ticket

    def is_refused(self) -> bool:
        return self.breaker.admit(self.now) is None

    def fails(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.failed(self.admit(), self.now, "ConnectionError: no route")

    def works(self) -> None:
        self.breaker.succeeded(self.admit(), self.now)

    @property
    def state(self) -> BreakerState:
        return self.breaker.state


def test_it_opens_at_five_failures_within_thirty_seconds_and_lets_nothing_through() -> None:
    door = Door()
    for _ in range(4):
        door.fails()
        door.passes(7.5)
    assert door.state is CLOSED
    door.fails()  # exactly thirty seconds after the first
    assert door.state is OPEN
    assert door.is_refused()


def test_failures_further_apart_do_not_open_it_however_many_there_are() -> None:
    door = Door()
    for _ in range(50):
        door.fails()
        door.passes(7.6)
    assert (door.state, door.breaker.failed_calls) == (CLOSED, 50)
    assert door.breaker.status(door.now).recent_failures == 3


def test_successes_in_between_do_not_hide_failures() -> None:
    door = Door()
    for _ in range(5):
        door.works()
        door.fails()
    assert door.state is OPEN


def test_after_the_recovery_time_one_call_tries_and_its_success_closes_the_breaker() -> None:
    door = Door()
    door.fails(5)
    door.passes(29.9)
    assert door.is_refused()
    assert door.breaker.wait_seconds(door.now) == pytest.approx(0.1)
    door.passes(0.1)
    probe = door.admit()
    assert door.state is HALF_OPEN
    assert door.is_refused()
    door.breaker.succeeded(probe, door.now)
    assert door.state is CLOSED
    door.fails(4)
    assert door.state is CLOSED, "what failed before it opened is forgotten"


def test_a_failed_probe_opens_it_for_another_recovery_time() -> None:
    door = Door(recovery_seconds=10)
    door.fails(5)
    door.passes(10)
    door.fails()
    assert (door.state, door.breaker.opened) == (OPEN, 2)
    door.passes(9)
    assert door.is_refused()
    door.passes(1)
    door.works()
    assert door.state is CLOSED


def test_as_many_probes_as_allowed_try_at_once_and_all_have_to_be_well() -> None:
    door = Door(max_probes=3)
    door.fails(5)
    door.passes(30)
    probes = [door.admit() for _ in range(3)]
    assert door.is_refused()
    for probe in probes[:2]:
        door.breaker.succeeded(probe, door.now)
        assert door.state is HALF_OPEN
    door.breaker.failed(probes[2], door.now)
    assert door.state is OPEN


def test_the_answer_of_a_call_that_began_before_it_opened_changes_nothing() -> None:
    door = Door()
    late, later = door.admit(), door.admit()
    door.fails(5)
    door.passes(30)
    probe = door.admit()
    door.breaker.succeeded(late, door.now)
    door.breaker.failed(later, door.now)
    assert door.state is HALF_OPEN
    door.breaker.succeeded(probe, door.now)
    assert door.state is CLOSED


def test_a_call_of_an_earlier_stretch_does_not_count_towards_opening_it_again() -> None:
    door = Door(failure_threshold=1)
    late = door.admit()
    door.fails()
    door.passes(30)
    door.works()
    door.breaker.failed(late, door.now)
    assert door.state is CLOSED


def test_a_probe_that_says_nothing_makes_room_for_the_next() -> None:
    door = Door()
    door.fails(5)
    door.passes(30)
    door.breaker.released(door.admit())
    assert door.state is HALF_OPEN
    door.works()
    assert door.state is CLOSED
    door.breaker.released(door.admit())
    assert (door.state, door.breaker.ignored_calls) == (CLOSED, 2)


def test_a_probe_that_never_comes_back_does_not_keep_it_half_open_for_ever() -> None:
    door = Door()
    door.fails(5)
    door.passes(30)
    lost = door.admit()
    door.passes(12)
    assert door.breaker.wait_seconds(door.now) == 18
    door.passes(18)
    found = door.admit()
    door.breaker.failed(lost, door.now)
    assert door.state is HALF_OPEN
    door.breaker.succeeded(found, door.now)
    assert door.state is CLOSED


def test_a_person_opens_it_until_a_person_closes_it() -> None:
    door = Door()
    door.breaker.open(door.now)
    door.passes(1_000_000)
    assert door.is_refused()
    assert door.breaker.wait_seconds(door.now) is None
    assert door.breaker.status(door.now).is_held
    door.breaker.close(door.now)
    door.works()
    status = door.breaker.status(door.now)
    assert (status.state, status.is_held, status.refused, status.opened) == (CLOSED, False, 1, 1)


def test_reset_forgets_counts_as_well() -> None:
    door = Door()
    door.fails(5)
    door.breaker.reset(door.now)
    status = door.breaker.status(door.now)
    assert (status.state, status.failed, status.opened, status.last_error) == (CLOSED, 0, 0, "")
    assert status.last_failed_at is None


def test_the_status_tells_all_of_it() -> None:
    door = Door()
    door.works()
    door.fails(5)
    assert door.is_refused()
    door.passes(30)
    door.admit()
    status = door.breaker.status(door.now)
    assert (status.name, status.state, status.since, status.probes) == ("payments", HALF_OPEN, door.now, 1)
    assert (status.succeeded, status.failed, status.ignored, status.refused) == (1, 5, 0, 1)
    assert (status.last_error, status.last_failed_at) == ("ConnectionError: no route", door.now - 30 * SECOND)
    assert door.breaker.wait_seconds(door.now) == 30
    assert Breaker("new", BreakerPolicy()).wait_seconds(0) == 0


# --- which errors count -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectionError("down"), True),
        (TemporaryError("busy"), True),
        (TaskTimeout("late"), True),
        (ResourceExhausted("full"), True),
        (InvalidInput("what the caller did wrong"), False),
        (PermanentError("card declined"), False),
        (CircuitOpen("nothing was asked"), False),
        (asyncio.CancelledError(), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_errors_that_waiting_may_mend_count(error: BaseException, counts: bool) -> None:
    assert BreakerPolicy().counts(error) is counts


def test_a_policy_may_name_what_counts_and_what_does_not() -> None:
    only: Any = {"counted_errors": (OSError, "PermanentError")}
    policy = BreakerPolicy(**only)
    assert policy.counted_errors == ("OSError", "PermanentError")
    assert policy.counts(ConnectionError())
    assert policy.counts(PermanentError("no"))
    assert not policy.counts(ValueError())
    but: Any = {"ignored_errors": LookupError}
    assert not BreakerPolicy(**but).counts(KeyError("x"))
    assert BreakerPolicy(**but).counts(ValueError())
    assert not BreakerPolicy(ignored_errors=("ConnectionError",), counted_errors=("OSError",)).counts(ConnectionError())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"failure_threshold": 0}, "failure_threshold of a circuit breaker is 0"),
        ({"failure_threshold": True}, "is True"),
        ({"max_probes": 2_000}, "max_probes of a circuit breaker is 2000"),
        ({"window_seconds": 0}, "window_seconds of a circuit breaker is 0"),
        ({"recovery_seconds": "soon"}, "is 'soon'"),
        ({"recovery_seconds": 1e9}, "recovery_seconds"),
        ({"counted_errors": 7}, "counted_errors of a circuit breaker are exception classes"),
        ({"ignored_errors": [""]}, "ignored_errors"),
    ],
)
def test_what_is_no_policy_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        BreakerPolicy(**arguments)
    assert words in str(refusal.value)


# --- laws ---------------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.floats(0, 20)),
        st.tuples(st.sampled_from(["works", "fails", "says_nothing"]), st.integers(0, 20)),
        st.tuples(st.sampled_from(["open", "close", "reset"]), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=300)
@given(steps, st.integers(1, 4), st.integers(1, 3))
def test_whatever_happens_it_keeps_its_bounds(
    happened: list[tuple[str, float]], failure_threshold: int, max_probes: int
) -> None:
    breaker = Breaker("b", BreakerPolicy(failure_threshold=failure_threshold, max_probes=max_probes))
    now, out, seen = 0, [], set[int]()
    failures: list[int] = []
    for what, amount in happened:
        before = breaker.state
        if what == "ask":
            now += int(amount * SECOND)
            wait = breaker.wait_seconds(now)
            ticket = breaker.admit(now)
            assert (ticket is not None) == (wait == 0), "what it says about waiting is what it does"
            if ticket is not None:
                assert before is CLOSED or ticket not in seen, "a probe's ticket is its own"
                seen.add(ticket)
                out.append(ticket)
        elif what in ("open", "close", "reset"):
            getattr(breaker, what)(now)
            assert breaker.state is (OPEN if what == "open" else CLOSED)
        elif out:
            ticket = out.pop(int(amount) % len(out))
            if what == "works":
                breaker.succeeded(ticket, now)
            elif what == "fails":
                failures.append(now)
                breaker.failed(ticket, now)
            else:
                breaker.released(ticket)
        status = breaker.status(now)
        assert status.probes <= max_probes
        assert status.probes == 0 or breaker.state is HALF_OPEN
        assert status.recent_failures < failure_threshold
        if breaker.state is OPEN and before is CLOSED and what == "fails":
            assert sum(now - at <= 30 * SECOND for at in failures) >= failure_threshold
