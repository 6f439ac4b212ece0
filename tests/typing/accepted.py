"""Usage that the type checker must accept, and the types it must find. Checked by ``make types``, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

from agenticflow.core.clocks import Clock, IdSource, ManualClock, VectorClock
from agenticflow.core.decider import Command, Decider, fold
from agenticflow.core.events import AgenticEvent, EventPredicate, TimeRange
from agenticflow.core.results import TaskResult
from agenticflow.core.types import Position, StreamId, TaskKey, WorkflowId
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, UsageError


def events_are_written_by_type_and_payload() -> None:
    event = AgenticEvent("order_placed", {"order_id": 7})
    assert_type(event.payload, Mapping[str, object])
    assert_type(event.with_causality("clerk"), AgenticEvent)
    assert_type(event.causality_vector, VectorClock)


def predicates_take_any_collection_of_types() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    EventPredicate(event_types={"order_placed"}, time_range=TimeRange(now - timedelta(hours=1), now))
    EventPredicate(event_types=["order_placed"], payload={"order.status": "paid"})


def ids_are_texts_with_a_name() -> None:
    def read(stream: StreamId, after: Position) -> str:
        return f"{stream} after {after}"

    assert_type(read(StreamId("workflow-1/1"), Position(3)), str)
    text: str = TaskKey("load")
    assert_type(WorkflowId(text), WorkflowId)


def a_clock_is_whatever_tells_the_time(clock: Clock, ids: IdSource) -> None:
    clock = ManualClock()
    assert_type(clock.now_ns(), int)
    assert_type(ids.next_id(), str)


def a_decider_keeps_the_type_of_its_state(decider: Decider[list[int]], command: Command) -> None:
    state = decider.initial("counter-1")
    assert_type(state, list[int])
    assert_type(fold(decider, state, ()), list[int])


def results_keep_their_type() -> None:
    assert_type(TaskResult.success(3).unwrap(), int)


def every_error_is_ours_and_says_more(error: ConcurrencyConflict) -> AgenticFlowError:
    assert_type(error.expected, int)
    usage: UsageError = error
    return usage
