"""Where an agent stood: its state as its stream has it."""

from __future__ import annotations

from agenticflow.agents.events import stream_of_agent
from agenticflow.agents.states import AgentState
from agenticflow.core.ids import check_id
from agenticflow.errors import InvalidInput
from agenticflow.storage.store import Store

__all__ = ["agent_state_at"]


async def agent_state_at(store: Store, agent_id: str, version: int | None) -> AgentState:
    """Return the state of an agent after event ``version`` of its stream (from 1), by default after the last; without events it is idle.

    Raises ``InvalidInput`` for what is no id or no version.
    """
    check_id(agent_id, "an agent")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise InvalidInput(f"{version!r:.80} is no version of agent {agent_id!r}", hint="give a whole number, from 1")
    state = AgentState.IDLE
    async for event in store.read_stream(stream_of_agent(agent_id)):
        if version is not None and event.version > version:
            break
        if (to_state := event.payload.get("to_state")) is not None:
            state = AgentState(str(to_state))
    return state
