"""Ties the engine to whoever listens to its telemetry.

What happens often is measured where it happens, by ``core.measures``; what is counted anyway, and how full the places are, is asked for
when somebody looks. Several engines of one process add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from agenticflow.agents.agent import Agent, AgentStateChanged
from agenticflow.core.engine import Performer
from agenticflow.core.measures import Measures
from agenticflow.core.telemetry import Counter, Telemetry
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.host import Host
from agenticflow.runtime.logbook import Logbook
from agenticflow.runtime.resources import measure_resources
from agenticflow.storage.store import Store
from agenticflow.tools.execution.measuring import measure_tools

__all__ = ["measure"]

_AGENT = "agent-"
WITHOUT_ROLE = "agent"
WORKER = "worker"


class Measured(Protocol):
    """The parts of an engine that are measured."""

    @property
    def store(self) -> Store: ...
    @property
    def host(self) -> Host: ...
    @property
    def dispatcher(self) -> Dispatcher: ...
    @property
    def logbook(self) -> Logbook: ...


def measure(telemetry: Telemetry, engine: Measured, performers: Mapping[str, Performer]) -> Callable[[], None]:
    """Let ``telemetry`` know of everything ``engine`` does from now on; return what ends that. Costs nothing when nobody listens."""
    if not telemetry.is_listening:
        return _nothing_to_end
    measuring = _Measuring(telemetry, engine, performers)
    ends = (measure_tools(telemetry), measure_resources(telemetry), telemetry.before_look(measuring.refresh))

    def end() -> None:
        for each in ends:
            each()
        measuring.end()

    return end


def _nothing_to_end() -> None:
    """Nobody listens."""


class _Measuring:
    """What one engine has told so far: several add up in one instrument, so each look adds by how much its figures have changed."""

    def __init__(self, telemetry: Telemetry, engine: Measured, performers: Mapping[str, Performer]) -> None:
        self._measures = measures = Measures(telemetry)
        self._dispatcher = engine.dispatcher
        self._performers = performers
        store, host, logbook = engine.store, engine.host, engine.logbook
        self._counts: tuple[tuple[Counter, Callable[[], int]], ...] = (
            (measures.stale, lambda: host.stale_reports),
            (measures.dropped, lambda: logbook.dropped),
            (measures.transactions, lambda: store.transactions),
        )
        self._counted = [0] * len(self._counts)
        self._load: dict[str, tuple[int, int]] = {}
        """Attempts in work and in queues, by role."""
        self._limit = 0
        host.measure_with(measures)
        logbook.listener = self._entered

    def refresh(self) -> None:
        """Tell what has changed since the last time."""
        for number, (counter, read) in enumerate(self._counts):
            count = read()
            counter.add(count - self._counted[number])
            self._counted[number] = count
        self._tell_limit(self._dispatcher.limit)
        load: dict[str, tuple[int, int]] = {}
        for performer_id, (in_flight, queued) in self._dispatcher.load().items():
            role = self._role_of(performer_id)
            before = load.get(role, (0, 0))
            load[role] = (before[0] + in_flight, before[1] + queued)
        self._tell_load(load)

    def end(self) -> None:
        """Tell the last changes, and that nothing is in work here any more."""
        self.refresh()
        self._tell_load({})
        self._tell_limit(0)

    def _tell_load(self, load: dict[str, tuple[int, int]]) -> None:
        for role in {**self._load, **load}:
            now, before = load.get(role, (0, 0)), self._load.get(role, (0, 0))
            self._measures.in_flight.add(now[0] - before[0], role)
            self._measures.queued.add(now[1] - before[1], role)
        self._load = load

    def _tell_limit(self, limit: int) -> None:
        self._measures.in_work_limit.add(limit - self._limit)
        self._limit = limit

    def _entered(self, stream_id: str, payload: msgspec.Struct) -> None:
        if isinstance(payload, AgentStateChanged):
            role = self._role_of(stream_id.removeprefix(_AGENT))
            self._measures.agent_moved(role, payload.from_state, payload.to_state)

    def _role_of(self, performer_id: str) -> str:
        performer = self._performers.get(performer_id)
        if not isinstance(performer, Agent):
            return WORKER
        return performer.role or WITHOUT_ROLE
