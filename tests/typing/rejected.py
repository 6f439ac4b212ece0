"""Usage that the type checker must refuse. ``# E: code`` marks each line it must complain about, and as what.

Kept out of `make types`; tests/typing/test_rejected.py compares the marks with what mypy says.
"""

from __future__ import annotations

from agenticflow.core.clocks import Clock, VectorClock
from agenticflow.core.decider import Command, Decider, fold
from agenticflow.core.events import AgenticEvent, EventPredicate, TimeRange
from agenticflow.core.types import Position, StreamId, TaskKey, WorkflowId
from agenticflow.errors import ConcurrencyConflict


def a_task_key_is_no_stream(stream: StreamId, task: TaskKey, workflow: WorkflowId) -> None:
    stream = task  # E: assignment
    workflow = stream  # E: assignment


def a_plain_text_is_no_id() -> None:
    stream: StreamId = "workflow-1/1"  # E: assignment
    position: Position = 3  # E: assignment


def a_payload_has_names(event: AgenticEvent) -> None:
    AgenticEvent("order_placed", ["order_id", 7])  # E: arg-type
    AgenticEvent()  # E: call-arg


def a_fact_does_not_change(event: AgenticEvent) -> None:
    event.event_type = "order_refused"  # E: misc
    event.payload["order_id"] = 8  # E: index


def a_predicate_is_spelled_out() -> None:
    EventPredicate("clerk")  # E: call-arg
    EventPredicate(agent_id="clerk")  # E: call-arg
    TimeRange("yesterday")  # E: arg-type


def a_clock_tells_whole_nanoseconds() -> None:
    class Watch:
        def now_ns(self) -> float:
            return 0.5

    clock: Clock = Watch()  # E: assignment


def counts_are_numbers() -> None:
    VectorClock({"clerk": "two"})  # E: dict-item


def a_command_brings_its_moment() -> None:
    Command()  # E: call-arg
    Command(0)  # E: call-arg


def a_state_belongs_to_its_decider(decider: Decider[list[int]], state: str) -> None:
    fold(decider, state, ())  # E: misc


def a_conflict_names_both_versions() -> None:
    ConcurrencyConflict("order-7")  # E: call-arg
