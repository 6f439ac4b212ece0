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
    store, host, dispatcher, logbook = engine.store, engine.host, engine.dispatcher, engine.logbook
    measures = Measures(telemetry)
    host.measure_with(measures)

    def role_of(performer_id: str) -> str:
        performer = performers.get(performer_id)
        return performer.role or WITHOUT_ROLE if isinstance(performer, Agent) else WORKER

    def entry(stream_id: str, payload: msgspec.Struct) -> None:
        if isinstance(payload, AgentStateChanged):
            measures.agent_moved(role_of(stream_id.removeprefix(_AGENT)), payload.from_state, payload.to_state)

    logbook.listener = entry
    counts: tuple[tuple[Counter, Callable[[], int]], ...] = (
        (measures.stale, lambda: host.stale_reports),
        (measures.dropped, lambda: logbook.dropped),
        (measures.transactions, lambda: store.transactions),
    )
    counted = [0] * len(counts)
    places: dict[str, tuple[int, int]] = {}
    limit = [0]

    def refresh() -> None:
        for number, (counter, read) in enumerate(counts):
            count = read()
            counter.add(count - counted[number])
            counted[number] = count
        measures.in_work_limit.add(dispatcher.limit - limit[0])
        limit[0] = dispatcher.limit
        by_role: dict[str, tuple[int, int]] = {}
        for performer_id, (in_flight, queued) in dispatcher.load().items():
            role = role_of(performer_id)
            before = by_role.get(role, (0, 0))
            by_role[role] = (before[0] + in_flight, before[1] + queued)
        fill(by_role)

    def fill(by_role: dict[str, tuple[int, int]]) -> None:
        for role in {**places, **by_role}:
            now, before = by_role.get(role, (0, 0)), places.get(role, (0, 0))
            measures.in_flight.add(now[0] - before[0], role)
            measures.queued.add(now[1] - before[1], role)
        places.clear()
        places.update(by_role)

    forget = telemetry.before_look(refresh)
    forget_resources = measure_resources(telemetry)
    forget_tools = measure_tools(telemetry)

    def end() -> None:
        forget_tools()
        forget_resources()
        forget()
        refresh()
        fill({})
        measures.in_work_limit.add(-limit[0])

    return end


def _nothing_to_end() -> None:
    """Nobody listens."""
