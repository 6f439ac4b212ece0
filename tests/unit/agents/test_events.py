"""What is recorded on an agent's stream is frozen: later releases read it."""

from __future__ import annotations

import msgspec
import pytest

from agenticflow.agents.events import (
    AGENT_EVENTS,
    NAMED_CHANGES,
    AgentDraining,
    AgentHealthChanged,
    AgentStarted,
    AgentStateChanged,
    AgentStopped,
    stream_of_agent,
)
from agenticflow.core.decider import Fact, FactCodec

CODEC = FactCodec(AGENT_EVENTS)


@pytest.mark.parametrize(
    ("fact", "event_type", "payload"),
    [
        (
            AgentStateChanged("IDLE", "PROCESSING", "task_assigned", 1),
            "agent_state_changed",
            {"from_state": "IDLE", "to_state": "PROCESSING", "cause": "task_assigned", "in_flight": 1},
        ),
        (
            NAMED_CHANGES["suspend_agent"]("IDLE", "SUSPENDED", "suspend_agent"),
            "suspend_agent",
            {"from_state": "IDLE", "to_state": "SUSPENDED", "cause": "suspend_agent"},
        ),
        (
            AgentHealthChanged("HEALTHY", "DEGRADED", "failures", "3 failures in a row", 3),
            "agent_health_changed",
            {
                "from_health": "HEALTHY",
                "to_health": "DEGRADED",
                "cause": "failures",
                "reason": "3 failures in a row",
                "failures": 3,
            },
        ),
        (AgentStarted(), "agent_started", {}),
        (AgentDraining(2, "upgrade"), "agent_draining", {"in_flight": 2, "reason": "upgrade"}),
        (AgentStopped(), "agent_stopped", {}),
    ],
)
def test_events_have_their_form(fact: Fact, event_type: str, payload: dict[str, object]) -> None:
    stored = CODEC.encode(fact)
    assert fact.event_type == event_type
    assert msgspec.msgpack.decode(stored) == payload
    assert CODEC.decode(event_type, stored) == fact


def test_the_list_is_complete() -> None:
    kinds = [*Fact.__subclasses__(), *AgentStateChanged.__subclasses__()]
    assert {kind.event_type for kind in AGENT_EVENTS} == {
        kind.event_type for kind in kinds if kind.__module__ == "agenticflow.agents.events"
    }


def test_they_stand_on_the_stream_of_the_agent() -> None:
    assert stream_of_agent("ada") == "agent-ada"
