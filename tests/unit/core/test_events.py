"""Events are facts: frozen all the way down, equal by id, selected by predicates."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core import codec
from agenticflow.core.clocks import VectorClock
from agenticflow.core.events import AgenticEvent, EventPredicate, RecordedEvent, TimeRange, deep_freeze
from agenticflow.errors import InvalidInput

NESTED = st.recursive(
    st.integers(-100, 100) | st.text("abc é") | st.none() | st.binary().map(bytearray),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(deque)
        | st.dictionaries(st.text("abc"), values)
        | st.sets(st.integers(0, 9), max_size=1)
        | st.tuples(values)
    ),
    max_leaves=15,
)


def has_no_mutable_part(value: object) -> bool:
    if isinstance(value, (dict, list, set, deque, bytearray)):
        return False
    if isinstance(value, Mapping):
        return all(map(has_no_mutable_part, value.values()))
    if isinstance(value, (tuple, frozenset)):
        return all(map(has_no_mutable_part, value))
    return True


@given(NESTED)
def test_freezing_leaves_nothing_mutable(value: object) -> None:
    frozen = deep_freeze(value)
    assert has_no_mutable_part(frozen)
    assert codec.encode(frozen) == codec.encode(value), "and changes nothing on the wire"
    assert deep_freeze(frozen) == frozen


def test_freezing_keeps_what_it_does_not_know() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert deep_freeze({"at": moment}) == {"at": moment}


def test_a_payload_is_cut_off_from_what_it_was_made_of() -> None:
    rows = [1, 2]
    payload = {"rows": rows, "customer": {"name": "Ann"}}
    event = AgenticEvent("order_placed", payload)
    rows.append(3)
    payload["customer"] = "Bob"
    assert event.payload == {"rows": (1, 2), "customer": {"name": "Ann"}}
    customer: Any = event.payload["customer"]
    with pytest.raises(TypeError):
        customer["name"] = "Bob"
    changed: Any = event.payload
    with pytest.raises(TypeError):
        changed["rows"] = ()


def test_an_event_is_frozen_and_slotted() -> None:
    event: Any = AgenticEvent("order_placed")
    with pytest.raises(AttributeError):
        event.event_type = "order_refused"
    with pytest.raises(AttributeError):
        event.nickname = "first"
    assert not hasattr(event, "__dict__")


def test_an_event_is_its_id() -> None:
    one = AgenticEvent("order_placed", {"order_id": 7}, id="e1")
    same = AgenticEvent("order_refused", id="e1")
    other = AgenticEvent("order_placed", {"order_id": 7}, id="e2")
    recorded = RecordedEvent("order_placed", id="e1", stream_id="order-7", version=1, position=2)
    assert one == same == recorded
    assert one != other
    assert one != "e1"
    assert len({one, same, other, recorded}) == 2


def test_ids_and_moments_are_given_when_left_out() -> None:
    one, other = AgenticEvent("order_placed"), AgenticEvent("order_placed")
    assert one != other
    assert one.timestamp <= other.timestamp
    assert one.payload == {}


@pytest.mark.parametrize("event_type", ["", None, 7])
def test_a_type_is_a_text(event_type: Any) -> None:
    with pytest.raises(InvalidInput, match="event_type is"):
        AgenticEvent(event_type)


@pytest.mark.parametrize("payload", [["order_id", 7], "order", 7, None])
def test_a_payload_is_a_mapping(payload: Any) -> None:
    with pytest.raises(InvalidInput, match="the payload of 'order_placed' is a"):
        AgenticEvent("order_placed", payload)


def test_causality_grows_by_one_step_of_the_actor() -> None:
    event = AgenticEvent("order_placed", {"order_id": 7}, causality_vector=VectorClock({"ann": 2}))
    seen = event.with_causality("bob")
    assert (seen.actor_id, dict(seen.causality_vector)) == ("bob", {"ann": 2, "bob": 1})
    assert seen == event, "it is still the same event"
    assert seen.payload == event.payload
    assert event.causality_vector.happened_before(seen.causality_vector)
    assert event.actor_id is None


def test_a_plain_causality_vector_becomes_a_clock() -> None:
    plain: Any = {"ann": 2}
    assert AgenticEvent("order_placed", causality_vector=plain).causality_vector == VectorClock({"ann": 2})


def test_metadata_is_everything_but_type_payload_time_and_version() -> None:
    event = AgenticEvent(
        "order_placed",
        {"order_id": 7},
        id="e1",
        trace_id="t",
        span_id="s",
        parent_span_id="p",
        causation_id="c",
        correlation_id="k",
        actor_id="ann",
        causality_vector=VectorClock({"ann": 1}),
    )
    assert msgspec.to_builtins(event.metadata) == {
        "id": "e1",
        "trace_id": "t",
        "span_id": "s",
        "parent_span_id": "p",
        "causation_id": "c",
        "correlation_id": "k",
        "actor_id": "ann",
        "causality_vector": {"ann": 1},
    }


# --- time ranges ----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_NS = 1_767_268_800_000_000_000


def test_a_range_includes_its_start_and_excludes_its_end() -> None:
    hour = TimeRange(NOON, NOON + timedelta(hours=1))
    assert (hour.start_ns, hour.end_ns) == (NOON_NS, NOON_NS + 3_600_000_000_000)
    assert not hour.contains(NOON_NS - 1)
    assert hour.contains(NOON_NS)
    assert hour.contains(NOON_NS + 3_600_000_000_000 - 1)
    assert not hour.contains(NOON_NS + 3_600_000_000_000)


def test_open_ends_and_nanoseconds() -> None:
    assert TimeRange().contains(0)
    assert TimeRange(end=5).contains(4)
    assert not TimeRange(start=5).contains(4)
    assert TimeRange(NOON.astimezone(timezone(timedelta(hours=5)))).start_ns == NOON_NS


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_are_exact_to_the_microsecond(moment: datetime) -> None:
    start = TimeRange(moment).start_ns
    assert start is not None
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start // 1_000) == moment
    assert start % 1_000 == 0


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    TimeRange(5, 5)
    with pytest.raises(InvalidInput, match="cannot end"):
        TimeRange(NOON, NOON - timedelta(microseconds=1))


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no time zone"):
        TimeRange(NOON.replace(tzinfo=None))


# --- predicates -----------------------------------------------------------------------------------------------------------

PAID = RecordedEvent(
    "order_paid",
    {"order": {"status": "paid", "rows": [1, {"x": 2}]}, "total": 5},
    timestamp=NOON_NS,
    actor_id="ann",
    correlation_id="w1",
    stream_id="order-7",
    version=1,
    position=1,
)


@pytest.mark.parametrize(
    ("predicate", "is_selected"),
    [
        (EventPredicate(), True),
        (EventPredicate(event_types={"order_paid"}), True),
        (EventPredicate(event_types=(name for name in ["a", "order_paid"])), True),
        (EventPredicate(event_types=[]), False),
        (EventPredicate(event_types=["order_placed"]), False),
        (EventPredicate(stream_id="order-7"), True),
        (EventPredicate(stream_id="order-8"), False),
        (EventPredicate(actor_id="ann"), True),
        (EventPredicate(actor_id="bob"), False),
        (EventPredicate(correlation_id="w1"), True),
        (EventPredicate(correlation_id="w2"), False),
        (EventPredicate(time_range=TimeRange(NOON)), True),
        (EventPredicate(time_range=TimeRange(end=NOON)), False),
        (EventPredicate(payload={"order.status": "paid", "total": 5}), True),
        (EventPredicate(payload={"order.status": "paid", "total": 6}), False),
        (EventPredicate(payload={"order.rows": [1, {"x": 2}]}), True),
        (EventPredicate(payload={"order.status.deep": "paid"}), False),
        (EventPredicate(payload={"order.missing": None}), False),
        (EventPredicate(payload={}), True),
        (EventPredicate(actor_id="ann", stream_id="order-7", event_types=["order_paid"], correlation_id="w2"), False),
    ],
)
def test_every_given_field_must_match(predicate: EventPredicate, is_selected: bool) -> None:
    assert predicate.matches(PAID) is is_selected


def test_an_event_that_is_not_recorded_is_in_no_stream() -> None:
    assert not EventPredicate(stream_id="order-7").matches(AgenticEvent("order_paid"))


def test_a_text_is_no_collection_of_types() -> None:
    with pytest.raises(InvalidInput) as refusal:
        EventPredicate(event_types="order_paid")
    assert refusal.value.hint == "write event_types={'order_paid'}"


def test_frozen_payloads_are_read_only_views_and_dataclasses_stay() -> None:
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int

    event = AgenticEvent("moved", {"to": Point(1)})
    assert isinstance(event.payload, MappingProxyType)
    assert event.payload["to"] == Point(1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EventPredicate(event_types=cast(Any, 5)), "event_types is 5"),
        (lambda: EventPredicate(payload=cast(Any, 5)), "payload is 5"),
        (lambda: EventPredicate(time_range=cast(Any, (1, 2))), "time_range is"),
        (lambda: TimeRange(cast(Any, "monday")), "'monday' is no moment"),
    ],
)
def test_what_selects_no_events_is_told(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()
