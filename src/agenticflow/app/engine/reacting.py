"""Has agents react to events: each agent that has an ``@agent.on`` gets one durable subscription to its patterns.

A reaction is one commit to the stream of the agent: that it reacted, and what it emitted. The id of the commit follows from event and
agent, so an event that is delivered again, after a crash or by hand, has its handler called again at most, and changes nothing. Retries and
dead letters are the subscription's; the length of a chain travels with the events it emits.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
from collections import OrderedDict
from typing import Final, Literal

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.choreography.facts import (
    REACTION_FACTS,
    AgentReacted,
    ReactionLimitReached,
    reaction_id,
    stream_of_reactions,
)
from agenticflow.agents.choreography.reactions import MAX_EMITTED, Reaction, ReactionContext, StartWorkflow
from agenticflow.agents.choreography.trace import depth_of_workflow
from agenticflow.agents.registry import AgentRegistry
from agenticflow.app.event_bus import EventBus
from agenticflow.communication.bus import MAX_CONCURRENCY, MAX_NAME_CHARS
from agenticflow.core import codec
from agenticflow.core.clocks import ambient
from agenticflow.core.decider import Fact
from agenticflow.core.events import AgenticEvent, EventMetadata, RecordedEvent
from agenticflow.core.plain import called
from agenticflow.errors import AgenticFlowError, InvalidInput, OutcomeUnknown, TemporaryError
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.loading import answered_before
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.event_store import decode_event, encode_event
from agenticflow.storage.store import Store

__all__ = ["Choreography"]

log = logging.getLogger("agenticflow.reactions")

MAX_DEPTH: Final = 50
"""Reactions in one chain; the next is not made."""
MAX_REACTIONS: Final = 10_000
"""Reactions of one agent to what agents emitted, for one correlation id and life of the process: a loop that also spreads ends there."""
MAX_COUNTED: Final = 10_000
"""Agents and correlation ids that are counted at a time; the one that was quiet for longest is forgotten."""
CHAIN_LINKS: Final = 10
LOOK_SECONDS: Final = 0.1
"""How soon an agent that takes work again goes on."""
RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 60.0


class Choreography:
    """The reactions of all agents of one orchestrator."""

    def __init__(self, bus: EventBus | None, store: Store, agents: AgentRegistry, start: StartWorkflow) -> None:
        self._has_own_bus = bus is None
        """An orchestrator without a bus has one for its agents only, started when the first reacts."""
        self._bus = EventBus() if bus is None else bus
        self._store = store
        self._agents = agents
        self._start = start
        self._waiting: dict[str, Agent] = {}
        """Agents with handlers that are not subscribed yet."""
        self._arranging: asyncio.Task[None] | None = None
        self._is_started = False
        self._subscribed: dict[str, tuple[str, ...]] = {}
        """Patterns by the name of the subscription."""
        self._known = 0
        """Up to this position events may have had their reactions in another life."""
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe every agent that reacts; return when what is recorded from now on is heard. Later agents: ``settle``."""
        self._known = await self._store.last_position()
        self._agents.react_with(self._noticed)
        while self._waiting:
            await self._subscribe(*self._waiting.popitem())
        self._is_started = True

    @property
    def is_arranging(self) -> bool:
        """Whether an agent that came after the start is not subscribed yet."""
        return self._arranging is not None and not self._arranging.done()

    async def settle(self) -> None:
        """Return when every agent that reacts is subscribed."""
        while self._arranging is not None and not self._arranging.done():
            await asyncio.wait([self._arranging])

    async def stop(self) -> None:
        """End the subscriptions; a handler in work is interrupted and runs again after the next start. A second call does nothing."""
        self._agents.react_with(None)
        if self._arranging is not None:
            self._arranging.cancel()
            await asyncio.wait([self._arranging])
        names, self._subscribed = list(self._subscribed), {}
        for name in names:
            await self._bus.unsubscribe(name)
        if self._has_own_bus:
            await self._bus.stop()

    def _noticed(self, agent: Agent) -> None:
        self._waiting[agent.agent_id] = agent
        if self._is_started and not self.is_arranging:
            self._arranging = asyncio.get_running_loop().create_task(self._arrange(), name="choreography")

    async def _arrange(self) -> None:
        while self._waiting:
            agent_id, agent = self._waiting.popitem()
            try:
                await self._subscribe(agent_id, agent)
            except AgenticFlowError:
                log.exception("agent %r does not react to events", agent_id)

    async def _subscribe(self, agent_id: str, agent: Agent) -> None:
        name = _subscription_of(agent_id)
        patterns = tuple(dict.fromkeys(reaction.pattern.text for reaction in agent.reactions))
        if self._subscribed.get(name) == patterns:
            return
        if self._has_own_bus:
            await self._bus.attach(self._store)
        if name in self._subscribed:
            await self._bus.unsubscribe(name)

        async def react(event: AgenticEvent) -> None:
            await self._react(agent, event)

        await self._bus.subscribe(patterns, react, name=name, concurrency=min(agent.seats, MAX_CONCURRENCY))
        self._subscribed[name] = patterns

    # --- one reaction -----------------------------------------------------------------------------------------------

    async def _react(self, agent: Agent, event: AgenticEvent) -> None:
        event_type = event.event_type
        reactions = [one for one in agent.reactions if one.pattern.matches(event_type)]
        if not reactions or event_type in REACTION_FACTS.types:
            return  # what is recorded about reactions gets none: an agent that hears everything would hear itself
        agent_id = agent.agent_id
        command_id = reaction_id(event, agent_id)
        if await self._was_made(agent_id, command_id, event):
            return
        while not agent.concurrency:  # noqa: ASYNC110 - suspended, draining or stopped; an agent tells nobody here when it goes on
            await asyncio.sleep(LOOK_SECONDS)
        came_from = max(event.depth, depth_of_workflow(event.correlation_id))
        limit = self._limit_of(agent_id, event, came_from)
        if limit is not None:
            await self._end_loop(agent_id, command_id, event, came_from, limit)
            return
        context = ReactionContext(event, agent_id, came_from + 1, command_id, self._start)
        reach("reactions.before_handler")
        for one in reactions:
            await _call(one, context)
        fact = AgentReacted(
            agent_id=agent_id,
            reacted_to=event.id,
            reacted_to_type=event_type,
            reacted_to_stream=event.stream_id if isinstance(event, RecordedEvent) else "",
            reacted_to_version=event.version if isinstance(event, RecordedEvent) else 0,
            patterns=tuple(one.pattern.text for one in reactions),
            depth=context.depth,
            emitted=len(context.emitted),
            started=tuple(context.started),
        )
        emitted = [encode_event(self._caused(one, context), self._store.schemas) for one in context.emitted]
        reach("reactions.before_commit")
        await self._commit(agent_id, command_id, [_encoded(fact, event), *emitted])
        reach("reactions.after_commit")

    def _caused(self, emitted: AgenticEvent, context: ReactionContext) -> AgenticEvent:
        """Return what an agent emitted, with its place in the chain."""
        cause = context.event
        if emitted.event_type in REACTION_FACTS.types:
            raise InvalidInput(
                f"agent {context.agent_id!r} emits {emitted.event_type!r}, which the engine records itself",
                hint="give the event a type of your own, 'order.checked' say",
            )
        return msgspec.structs.replace(
            emitted,
            causation_id=cause.id,
            correlation_id=cause.correlation_id or cause.id,
            actor_id=emitted.actor_id or context.agent_id,
            trace_id=emitted.trace_id or cause.trace_id,
            depth=context.depth,
        )

    async def _was_made(self, agent_id: str, command_id: str, event: AgenticEvent) -> bool:
        """Whether an earlier life reacted already: then the handler need not run again."""
        if isinstance(event, RecordedEvent) and event.position > self._known:
            return False
        return await answered_before(self._store, stream_of_reactions(agent_id), command_id) is not None

    async def _commit(self, agent_id: str, command_id: str, events: list[NewEvent]) -> Committed:
        """Make the reaction true. While the store fails it waits: the handler has run, and would run again."""
        commit = Commit(stream_id=stream_of_reactions(agent_id), events=events, command_id=command_id)
        pause = RETRY_SECONDS
        while True:
            try:
                return await self._store.commit(commit)
            except (TemporaryError, OutcomeUnknown) as error:
                log.warning("a reaction of agent %r is not recorded yet: %s", agent_id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)

    # --- loops ------------------------------------------------------------------------------------------------------

    def _limit_of(self, agent_id: str, event: AgenticEvent, depth: int) -> Literal["depth", "reactions"] | None:
        """Return which limit one more reaction would pass. Only what agents brought about is counted."""
        if depth == 0:
            return None
        if depth >= MAX_DEPTH:
            return "depth"
        key = (agent_id, event.correlation_id or event.id)
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > MAX_COUNTED:
            self._counts.popitem(last=False)
        return "reactions" if count > MAX_REACTIONS else None

    async def _end_loop(
        self, agent_id: str, command_id: str, event: AgenticEvent, depth: int, limit: Literal["depth", "reactions"]
    ) -> None:
        chain = await self._chain_of(event)
        fact = ReactionLimitReached(
            agent_id=agent_id,
            reacted_to=event.id,
            reacted_to_type=event.event_type,
            depth=depth,
            limit=limit,
            chain=tuple(chain),
        )
        committed = await self._commit(agent_id, command_id, [_encoded(fact, event)])
        if not committed.is_repeated:
            log.error(
                "agent %r does not react to %r %s, %s: agents answer each other in a loop: … %s",
                agent_id,
                event.event_type,
                event.id,
                f"{depth} reactions deep" if limit == "depth" else f"after {MAX_REACTIONS:,} reactions",
                " ← ".join(chain),
            )

    async def _chain_of(self, event: AgenticEvent) -> list[str]:
        """Return the last links that led to ``event``, the latest first, as far as the streams of reactions tell."""
        links: list[str] = []
        reacted_to = event
        while isinstance(reacted_to, RecordedEvent) and reacted_to.depth and len(links) < CHAIN_LINKS:
            links.append(f"{reacted_to.event_type} by {reacted_to.stream_id.partition('-')[2]}")
            start = max(reacted_to.version - MAX_EMITTED - 1, 0)
            page = await self._store.read_page(reacted_to.stream_id, start, reacted_to.version - start)
            fact: AgentReacted | None = None
            for stored in page:
                if stored.event_type == AgentReacted.event_type:
                    found = REACTION_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
                    fact = found if isinstance(found, AgentReacted) else fact
            before = None if fact is None else await self._find(fact)
            if before is None:
                break
            reacted_to = before
        return links

    async def _find(self, fact: AgentReacted) -> RecordedEvent | None:
        """Return the event behind a reaction, where its place is known."""
        if not fact.reacted_to_stream:
            return None
        page = await self._store.read_page(fact.reacted_to_stream, fact.reacted_to_version - 1, 1)
        return decode_event(page[0], self._store.schemas) if page else None


async def _call(reaction: Reaction, context: ReactionContext) -> None:
    arguments = (context.event, context) if reaction.takes_context else (context.event,)
    async with asyncio.timeout(reaction.timeout_seconds):
        if reaction.is_async:
            answer = reaction.function(*arguments)
            answer = await answer if inspect.isawaitable(answer) else answer
        else:
            answer = await asyncio.to_thread(called, reaction.function, *arguments)
    reaction.take(answer, context)


def _encoded(fact: Fact, event: AgenticEvent) -> NewEvent:
    metadata = EventMetadata(causation_id=event.id, correlation_id=event.correlation_id or event.id)
    return NewEvent(
        fact.event_type,
        REACTION_FACTS.encode(fact),
        ambient.clock.now_ns(),
        codec.encode(metadata),
        fact.schema_version,
    )


def _subscription_of(agent_id: str) -> str:
    """Return the name of an agent's subscription: readable where names of subscriptions allow it."""
    name = f"reactions-{agent_id}"
    if len(name) <= MAX_NAME_CHARS and "@" not in name:
        return name
    return f"reactions-{hashlib.sha256(agent_id.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
