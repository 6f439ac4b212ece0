"""What the engine measures of itself: every name, its labels and its classes, in one place.

The engine calls these methods with what it has at hand anyway; times come in as nanoseconds, nothing here reads a clock. An engine that
nobody listens to has no ``Measures`` at all: one look at an attribute is what each place pays then. What is cheaper to ask for than to
follow (queues, what other parts count for themselves) is declared here and filled by ``app.measuring``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agenticflow.core.decider import Fact
from agenticflow.core.results import OutcomeKind
from agenticflow.core.telemetry import COUNT_BOUNDS, Telemetry

__all__ = ["Measures", "ResourceMeasures", "ToolMeasures"]

NANOSECONDS: Final = 1_000_000_000


class Measures:
    """The engine's instruments, bound to whoever listens."""

    __slots__ = (
        "_attempts",
        "_commit_events",
        "_commits",
        "_events",
        "_recovered",
        "_retries",
        "_runs",
        "_states",
        "_timers",
        "dropped",
        "in_flight",
        "in_work_limit",
        "queued",
        "stale",
        "transactions",
    )

    def __init__(self, telemetry: Telemetry) -> None:
        self._attempts = telemetry.histogram(
            "task_execution_duration",
            "Seconds from the start of a handler to its end, by type of task and outcome of the attempt",
            ("task_type", "outcome"),
        )
        self._retries = telemetry.counter(
            "task_retries", "Attempts that ended and were not the first of their task", ("task_type",)
        )
        self._events = telemetry.counter("events_recorded", "Facts committed by executions, by type", ("event_type",))
        self._runs = telemetry.counter(
            "run_state_transitions", "Changes of status of executions", ("kind", "from_state", "to_state")
        )
        self._states = telemetry.counter(
            "agent_state_transitions", "Changes of state of agents, by role", ("role", "from_state", "to_state")
        )
        self._commits = telemetry.histogram(
            "store_commit_duration", "Seconds from handing a commit of an execution to the store to its answer"
        )
        self._commit_events = telemetry.histogram(
            "store_commit_events", "Events in a commit of an execution", (), COUNT_BOUNDS
        )
        self._timers = telemetry.histogram("timer_lateness", "Seconds from the moment a timer was due to its ringing")
        self._recovered = telemetry.counter("runs_recovered", "Unfinished executions taken up at a start")
        self.in_flight = telemetry.gauge("tasks_in_flight", "Attempts in work, by role of the performer", ("role",))
        self.queued = telemetry.gauge("tasks_queued", "Attempts that wait for a free place, by role", ("role",))
        self.in_work_limit = telemetry.gauge(
            "tasks_in_flight_limit", "Attempts that may be in work at once, by the load of this process and its machine"
        )
        self.stale = telemetry.counter("stale_reports", "Outcomes of attempts that were superseded: without effect")
        self.dropped = telemetry.counter("logbook_entries_dropped", "Changes of state of agents that were not recorded")
        self.transactions = telemetry.counter("store_transactions", "Transactions of the store; commits may share one")

    def attempt_ended(self, task_type: str, outcome: OutcomeKind, attempt: int, nanoseconds: int) -> None:
        """An attempt is over, after so long in its handler (0 when that never began)."""
        self._attempts.record(nanoseconds / NANOSECONDS, task_type, outcome)
        if attempt > 1:
            self._retries.add(1, task_type)

    def committed(self, events: int, nanoseconds: int) -> None:
        """The store took a commit."""
        self._commits.record(nanoseconds / NANOSECONDS)
        self._commit_events.record(events)

    def took_effect(self, kind: str, facts: Iterable[Fact], before: str, after: str) -> None:
        """Facts of an execution are true, which may have changed its status."""
        for fact in facts:
            self._events.add(1, fact.event_type)
        if after != before:
            self._runs.add(1, kind, before, after)

    def agent_moved(self, role: str, before: str, after: str) -> None:
        """An agent went from one state to another."""
        self._states.add(1, role, before, after)

    def timer_rang(self, nanoseconds: int) -> None:
        """A timer rang, so late."""
        self._timers.record(nanoseconds / NANOSECONDS)

    def recovered(self, count: int) -> None:
        """So many unfinished executions were taken up."""
        self._recovered.add(count)


class ResourceMeasures:
    """The instruments of breakers, limiters and pools, which belong to the process and not to an engine; labels are their names."""

    __slots__ = ("breaker_calls", "breaker_opened", "breaker_state", "limiter_refused", "limiter_waiting", "pool")

    def __init__(self, telemetry: Telemetry) -> None:
        self.breaker_state = telemetry.gauge(
            "circuit_breaker_state", "0 closed, 1 half open, 2 open, by breaker", ("breaker",)
        )
        self.breaker_opened = telemetry.counter("circuit_breaker_opened", "How often a breaker opened", ("breaker",))
        self.breaker_calls = telemetry.counter(
            "circuit_breaker_calls", "Calls that met a breaker, by how they ended", ("breaker", "outcome")
        )
        self.limiter_waiting = telemetry.gauge(
            "rate_limiter_waiting", "Calls that wait for their turn, by limiter", ("limiter",)
        )
        self.limiter_refused = telemetry.counter("rate_limiter_refused", "Calls turned away, by limiter", ("limiter",))
        self.pool = telemetry.gauge(
            "pool_resources", "Resources of a pool that are in use or idle, and callers that wait", ("pool", "state")
        )


class ToolMeasures:
    """The instruments of calls of tools, which belong to the process and not to an engine."""

    __slots__ = ("_calls", "abandoned", "in_flight")

    def __init__(self, telemetry: Telemetry) -> None:
        self._calls = telemetry.histogram(
            "tool_call_duration",
            "Seconds from asking for a call of a tool to its result, by tool and outcome",
            ("tool", "outcome"),
        )
        self.in_flight = telemetry.gauge("tool_calls_in_flight", "Calls of tools that are being made")
        self.abandoned = telemetry.gauge("tool_calls_abandoned", "Tools that were given up and still run")

    def call_ended(self, tool: str, outcome: str, nanoseconds: int) -> None:
        """A call has its result, after so long."""
        self._calls.record(nanoseconds / NANOSECONDS, tool, outcome)
