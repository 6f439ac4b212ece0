"""What the engine measures comes out under the documented names, with roles, types and outcomes, never ids."""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Fact
from agenticflow.core.measures import Measures, ToolMeasures
from agenticflow.core.results import OutcomeKind
from agenticflow.observability.registry import Metrics, Spread

SECOND = 1_000_000_000


class Happened(Fact, frozen=True):
    event_type: ClassVar[str] = "happened"


def test_every_measure_has_its_name_and_labels() -> None:
    metrics = Metrics()
    Measures(metrics)
    assert {family.name: (family.kind, family.labels) for family in metrics.look()} == {
        "agent_state_transitions": ("counter", ("role", "from_state", "to_state")),
        "events_recorded": ("counter", ("event_type",)),
        "logbook_entries_dropped": ("counter", ()),
        "run_state_transitions": ("counter", ("kind", "from_state", "to_state")),
        "runs_recovered": ("counter", ()),
        "stale_reports": ("counter", ()),
        "store_commit_duration": ("histogram", ()),
        "store_commit_events": ("histogram", ()),
        "store_transactions": ("counter", ()),
        "task_execution_duration": ("histogram", ("task_type", "outcome")),
        "task_retries": ("counter", ("task_type",)),
        "tasks_in_flight": ("gauge", ("role",)),
        "tasks_in_flight_limit": ("gauge", ()),
        "tasks_queued": ("gauge", ("role",)),
        "timer_lateness": ("histogram", ()),
    }


def test_attempts_by_type_and_outcome_and_retries_among_them() -> None:
    metrics = Metrics()
    measures = Measures(metrics)
    measures.attempt_ended("load", OutcomeKind.FAILED, 1, 2 * SECOND)
    measures.attempt_ended("load", OutcomeKind.SUCCEEDED, 2, SECOND // 2)
    assert metrics.value("task_execution_duration", "load", "failed") == 1
    assert metrics.value("task_execution_duration", "load", "succeeded") == 1
    assert metrics.value("task_retries", "load") == 1
    durations = next(family for family in metrics.look() if family.name == "task_execution_duration")
    spread = durations.series["load", "succeeded"]
    assert isinstance(spread, Spread)
    assert spread.total == 0.5


def test_facts_by_type_and_changes_of_status() -> None:
    metrics = Metrics()
    measures = Measures(metrics)
    measures.took_effect("workflow", [Happened(), Happened()], "NEW", "RUNNING")
    measures.took_effect("workflow", [Happened()], "RUNNING", "RUNNING")
    assert metrics.value("events_recorded", "happened") == 3
    assert metrics.value("run_state_transitions", "workflow", "NEW", "RUNNING") == 1
    assert metrics.value("run_state_transitions", "workflow", "RUNNING", "RUNNING") == 0


def test_the_others() -> None:
    metrics = Metrics()
    measures = Measures(metrics)
    measures.committed(3, SECOND // 1_000)
    measures.agent_moved("analyst", "IDLE", "PROCESSING")
    measures.timer_rang(0)
    measures.recovered(7)
    assert metrics.value("store_commit_duration") == 1
    assert metrics.value("store_commit_events") == 1
    assert metrics.value("agent_state_transitions", "analyst", "IDLE", "PROCESSING") == 1
    assert metrics.value("timer_lateness") == 1
    assert metrics.value("runs_recovered") == 7


def test_calls_of_tools_by_name_and_outcome() -> None:
    metrics = Metrics()
    measures = ToolMeasures(metrics)
    measures.call_ended("weather", "succeeded", SECOND // 2)
    measures.in_flight.set(3)
    measures.abandoned.set(1)
    assert metrics.value("tool_call_duration", "weather", "succeeded") == 1
    assert metrics.value("tool_calls_in_flight") == 3
    assert metrics.value("tool_calls_abandoned") == 1
