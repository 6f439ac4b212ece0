"""Vector clocks are a lattice: a partial order with least upper bounds. Checked as laws, over few actors so that they collide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core.clocks import Ambient, CounterIds, ManualClock, VectorClock, ambient
from agenticflow.errors import BoundExceeded

ACTORS = st.sampled_from(["ann", "bob", "cy"])
CLOCKS = st.dictionaries(ACTORS, st.integers(0, 3)).map(VectorClock)


def at_most(a: VectorClock, b: VectorClock) -> bool:
    return a == b or a.happened_before(b)


@given(CLOCKS)
def test_order_is_irreflexive(a: VectorClock) -> None:
    assert not a.happened_before(a)
    assert not a.concurrent_with(a)


@given(CLOCKS, CLOCKS)
def test_order_is_asymmetric_and_exactly_one_relation_holds(a: VectorClock, b: VectorClock) -> None:
    relations = [a == b, a.happened_before(b), b.happened_before(a), a.concurrent_with(b)]
    assert relations.count(True) == 1
    assert a.concurrent_with(b) == b.concurrent_with(a)


@given(CLOCKS, CLOCKS, CLOCKS)
def test_order_is_transitive(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    if a.happened_before(b) and b.happened_before(c):
        assert a.happened_before(c)


@given(CLOCKS, CLOCKS)
def test_merge_is_an_upper_bound_commutative_and_idempotent(a: VectorClock, b: VectorClock) -> None:
    merged = a.merge(b)
    assert at_most(a, merged)
    assert at_most(b, merged)
    assert merged == b.merge(a)
    assert a.merge(a) == a
    assert a.merge(VectorClock()) == a


@given(CLOCKS, CLOCKS, CLOCKS)
def test_merge_is_associative_and_the_least_upper_bound(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    if at_most(a, c) and at_most(b, c):
        assert at_most(a.merge(b), c)


@given(CLOCKS, ACTORS)
def test_an_increment_is_strictly_after(a: VectorClock, actor: str) -> None:
    after = a.increment(actor)
    assert a.happened_before(after)
    assert after[actor] == a.get(actor, 0) + 1


@given(CLOCKS, st.sampled_from([("ann", "bob"), ("bob", "cy")]))
def test_increments_of_two_actors_are_concurrent(a: VectorClock, actors: tuple[str, str]) -> None:
    one, other = (a.increment(actor) for actor in actors)
    assert one.concurrent_with(other)


@given(CLOCKS, CLOCKS)
def test_equal_clocks_have_equal_hashes(a: VectorClock, b: VectorClock) -> None:
    if a == b:
        assert hash(a) == hash(b)
    assert hash(a) == hash(VectorClock(dict(a)))


def test_zeros_are_not_kept() -> None:
    clock = VectorClock({"ann": 0, "bob": 2})
    assert dict(clock) == {"bob": 2}
    assert len(clock) == 1
    assert clock == VectorClock({"bob": 2})
    assert repr(clock) == "VectorClock({'bob': 2})"


def test_a_clock_is_only_equal_to_a_clock() -> None:
    assert VectorClock({"ann": 1}) != {"ann": 1}


def test_a_clock_does_not_change() -> None:
    counts = {"ann": 1}
    clock = VectorClock(counts)
    counts["ann"] = 9
    assert clock["ann"] == 1
    changed: Any = clock
    with pytest.raises(TypeError):
        changed["ann"] = 2


@pytest.mark.parametrize("counts", [{1: 1}, {"ann": -1}, {"ann": 1.5}, {"ann": True}, {"ann": "one"}])
def test_what_counts_nothing_is_refused(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="maps actor ids to counts"):
        VectorClock(counts)


def test_one_actor_too_many_is_refused_and_nobody_dropped() -> None:
    full = VectorClock({f"actor-{n}": 1 for n in range(VectorClock.MAX_ACTORS)})
    assert len(full) == VectorClock.MAX_ACTORS
    with pytest.raises(BoundExceeded, match="1025 actors"):
        full.increment("one more")
    with pytest.raises(BoundExceeded):
        full.merge(VectorClock({"one more": 1}))
    assert len(full.increment("actor-7")) == VectorClock.MAX_ACTORS


def test_ids_count_up_behind_their_prefix() -> None:
    ids = CounterIds("p")
    assert [ids.next_id() for _ in range(17)][-2:] == ["p-10", "p-11"]


def test_a_manual_clock_moves_when_told_and_never_back() -> None:
    clock = ManualClock(5)
    clock.advance(1.5)
    assert clock.now_ns() == 1_500_000_005
    with pytest.raises(ValueError, match="does not run backwards"):
        clock.advance(-1)


def test_the_ambient_pair_is_filled_by_the_front_door() -> None:
    assert isinstance(ambient, Ambient)
    first, second = ambient.ids.next_id(), ambient.ids.next_id()
    assert first != second
    assert ambient.clock.now_ns() > 1_700_000_000_000_000_000
