"""What the stream ``reaction-<agent id>`` holds beside what the agent emitted: to what it reacted, and where a loop was ended. Data only.

One stream for each agent, because a reaction is one commit to one stream: the fact that it was made and what it emitted become true
together, in the order in which the agent worked. Its command id follows from event and agent, so that it can become true once only.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar, Final, Literal

from agenticflow.core.decider import Fact, FactCodec
from agenticflow.core.events import AgenticEvent, RecordedEvent

__all__ = [
    "AGENT_REACTED",
    "REACTION_FACTS",
    "AgentReacted",
    "ReactionLimitReached",
    "reaction_id",
    "stream_of_reactions",
]

AGENT_REACTED: Final = "agent_reacted"


class AgentReacted(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """An agent has reacted to an event. The events it emitted follow at once in the same stream, recorded in the same commit."""

    event_type: ClassVar[str] = AGENT_REACTED
    stream: ClassVar[str] = "reaction-<agent id>"
    agent_id: str
    reacted_to: str
    """Id of the event."""
    reacted_to_type: str
    reacted_to_stream: str = ""
    """Where it is recorded; empty for an event that is in no store."""
    reacted_to_version: int = 0
    patterns: tuple[str, ...]
    """Those whose handlers were called."""
    depth: int
    """Reactions from what began the chain, this one included."""
    emitted: int = 0
    """Events emitted."""
    started: tuple[str, ...] = ()
    """Ids of the workflows it started."""


class ReactionLimitReached(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """An agent did not react to an event, because the chain of reactions that led there is too long: agents answer each other in a loop."""

    event_type: ClassVar[str] = "reaction_limit_reached"
    stream: ClassVar[str] = "reaction-<agent id>"
    agent_id: str
    reacted_to: str
    """Id of the event that got no reaction."""
    reacted_to_type: str
    depth: int
    limit: Literal["depth", "reactions"]
    """``depth``: of one chain; ``reactions``: of one agent to the events of one correlation."""
    chain: tuple[str, ...] = ()
    """The last links, the latest first: an event type and the agent that emitted it."""


REACTION_FACTS: Final = FactCodec([AgentReacted, ReactionLimitReached])


def stream_of_reactions(agent_id: str) -> str:
    """Return where the agent's reactions and what it emitted are."""
    return f"reaction-{agent_id}"


def reaction_id(event: AgenticEvent, agent_id: str) -> str:
    """Return the id of the one reaction of an agent to an event, whatever its handlers are.

    An event that was given an id is that event wherever it is recorded. The engine's own are named by their place, which a later run may
    have again when retention has deleted the first; they are told apart by their position, which none gets twice.
    """
    name = event.id
    if isinstance(event, RecordedEvent) and name == f"{event.stream_id}@{event.version}":
        name = f"{name}#{event.position}"
    digest = hashlib.sha256(f"{len(agent_id)}:{agent_id}{name}".encode("utf-8", "surrogatepass"))
    return f"reaction-{digest.hexdigest()[:40]}"
