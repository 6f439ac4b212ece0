"""What waits comes in order; of one key one after the other; and nothing is ever lost or counted too early."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.communication.delivery.queues import Lanes, Line, Progress, Queue

Item = tuple[int, int]
"""A number, and its key."""


def key_of(item: Item) -> Hashable:
    return item[1]


def queues() -> list[Queue[Item]]:
    return [Line(), Lanes(key_of)]


@pytest.mark.parametrize("queue", queues())
def test_an_empty_queue_gives_nothing(queue: Queue[Item]) -> None:
    assert (len(queue), queue.take(), queue.oldest(), queue.drop_oldest()) == (0, None, None, None)


@pytest.mark.parametrize("queue", queues())
def test_items_come_in_the_order_put(queue: Queue[Item]) -> None:
    for number in range(5):
        queue.put((number, number))
    assert (len(queue), queue.oldest()) == (5, (0, 0))
    assert queue.drop_oldest() == (0, 0)
    taken = [item for _ in range(4) if (item := queue.take())]
    assert taken == [(number, number) for number in range(1, 5)]
    for item in taken:
        queue.finished(item)
    queue.put((9, 9))
    queue.clear()
    assert (len(queue), queue.take()) == (0, None)


def test_a_key_in_work_is_not_given_out_again() -> None:
    lanes = Lanes(key_of)
    for number in range(4):
        lanes.put((number, number % 2))
    assert (lanes.take(), lanes.take(), lanes.take()) == ((0, 0), (1, 1), None)
    lanes.finished((1, 1))
    assert (lanes.take(), lanes.take()) == ((3, 1), None)
    lanes.finished((0, 0))
    assert lanes.take() == (2, 0)


def test_what_was_dropped_is_not_given_out() -> None:
    lanes = Lanes(key_of)
    for number in range(3):
        lanes.put((number, 0))
    assert (lanes.drop_oldest(), lanes.drop_oldest()) == ((0, 0), (1, 0))
    assert lanes.take() == (2, 0)
    lanes.put((3, 0))
    lanes.drop_oldest()
    lanes.finished((2, 0))
    assert lanes.take() is None
    lanes.put((4, 0))
    assert lanes.take() == (4, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("finish"), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_keys_keep_their_order_and_nothing_is_lost(steps: list[tuple[str, int]]) -> None:
    """A list and a set say the same with less cunning: take the first waiting item whose key is not in work."""
    lanes: Lanes[Item] = Lanes(key_of)
    waiting: list[Item] = []
    in_work: dict[int, Item] = {}
    taken: dict[int, list[int]] = {}
    for number, (what, key) in enumerate(steps):
        match what:
            case "put":
                lanes.put((number, key))
                waiting.append((number, key))
            case "take":
                item = lanes.take()
                free = [item for item in waiting if item[1] not in in_work]
                assert (item is None) == (not free)
                if item is not None:
                    assert item == next(other for other in waiting if other[1] == item[1])
                    assert item[1] not in in_work
                    waiting.remove(item)
                    in_work[item[1]] = item
                    taken.setdefault(item[1], []).append(item[0])
            case "finish" if key in in_work:
                lanes.finished(in_work.pop(key))
            case "drop":
                assert lanes.drop_oldest() == (waiting.pop(0) if waiting else None)
            case _:
                pass
        assert len(lanes) == len(waiting)
        assert lanes.oldest() == (waiting[0] if waiting else None)
    assert all(numbers == sorted(numbers) for numbers in taken.values())


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_progress_is_what_is_done_without_a_gap(order: list[int], count: int) -> None:
    progress = Progress(0)
    for position in range(1, 9):
        progress.begin(position)
    done = set(order[:count])
    for position in order[:count]:
        progress.end(position)
    expected = next(position for position in range(9) if position + 1 not in done)
    assert progress.position == expected
    assert progress.is_idle == (count == 8)
    progress.pass_over(50)
    assert progress.position == (50 if count == 8 else expected)


def test_progress_never_goes_back() -> None:
    progress = Progress(10)
    progress.pass_over(3)
    assert progress.position == 10
