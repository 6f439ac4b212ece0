"""What is seen of agents at work, to whoever looks: a view of what goes on, never a second way of doing it.

Nobody at work waits for who looks: one that falls behind by more than the bound is told so, and looks again at what is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Final

from agenticflow.agents.loop.results import AgentUpdate, Drafted, Spoken
from agenticflow.agents.model.deltas import Delta
from agenticflow.agents.model.outputs import Drafts, Expected
from agenticflow.errors import BoundExceeded

__all__ = ["Heard", "Subscription", "Updates", "Watch"]

log = logging.getLogger("agenticflow.engine")

MAX_BEHIND: Final = 10_000
"""Updates that wait for somebody who looks."""


class Heard:
    """One answer, as it is heard: what was said last, and, of an answer with a form, what it says so far."""

    __slots__ = ("_agent", "_delta", "_drafts")

    def __init__(self, agent: str, expected: Expected[Any] | None) -> None:
        self._agent = agent
        self._drafts = None if expected is None else Drafts(expected)
        self._delta: Delta | None = None

    def add(self, delta: Delta) -> None:
        """Hear what is said next."""
        self._delta = delta
        if self._drafts is not None:
            self._drafts.add(delta)

    def updates(self) -> Iterator[AgentUpdate]:
        """Yield what whoever looks is shown of it."""
        if self._delta is not None:
            yield Spoken(self._agent, self._delta)
        try:
            draft = None if self._drafts is None else self._drafts.next()
        except Exception:  # of the code of a type: who looks at an answer never ends it
            log.exception("an answer of %r cannot be shown while it is spoken", self._agent)
            self._drafts = draft = None
        if draft is not None:
            yield Drafted(self._agent, draft.data, draft.value)


class Subscription:
    """One who looks at one workflow."""

    def __init__(self, updates: Updates, workflow_id: str) -> None:
        self._updates = updates
        self._workflow_id = workflow_id
        self._queue: asyncio.Queue[AgentUpdate | None] = asyncio.Queue()
        self._is_behind = False

    def put(self, update: AgentUpdate) -> None:
        if self._queue.qsize() >= MAX_BEHIND:
            self._is_behind = True
        else:
            self._queue.put_nowait(update)

    def end(self) -> None:
        """Nothing more comes."""
        self._updates.forget(self._workflow_id, self)
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AgentUpdate]:
        """Yield what happens until the end. Raises ``BoundExceeded`` for who is too slow."""
        try:
            while (update := await self._queue.get()) is not None:
                yield update
                if self._is_behind:
                    raise BoundExceeded(
                        f"whoever looks at {self._workflow_id!r} is more than {MAX_BEHIND:,} updates behind",
                        hint="look again, and do less with each of them",
                    )
            self._queue.put_nowait(None)  # for who looks once more
        finally:
            self._updates.forget(self._workflow_id, self)


class Watch:
    """One who looks at all agents of a run, from now until its end."""

    def __init__(self, subscription: Subscription, ended: Awaitable[object]) -> None:
        self._subscription = subscription
        self._ending = asyncio.ensure_future(ended)
        self._ending.add_done_callback(self._over)

    def _over(self, ending: asyncio.Future[object]) -> None:
        if not ending.cancelled():
            ending.exception()  # whoever asks for the result is told of it
        self._subscription.end()

    async def __aiter__(self) -> AsyncIterator[AgentUpdate]:
        """Yield what happens until the run is over. Raises ``BoundExceeded`` for who is too slow."""
        try:
            async for update in self._subscription:
                yield update
        finally:
            self._ending.cancel()
            self._subscription.end()


class Updates:
    """Who looks at what."""

    def __init__(self) -> None:
        self._looking: dict[str, list[Subscription]] = {}

    def subscribe(self, workflow_id: str) -> Subscription:
        """Look at the agents of a workflow from now on."""
        made = Subscription(self, workflow_id)
        self._looking.setdefault(workflow_id, []).append(made)
        return made

    def watch(self, workflow_id: str, ended: Awaitable[object]) -> Watch:
        """Look at the agents of a run until it has ended."""
        return Watch(self.subscribe(workflow_id), ended)

    def forget(self, workflow_id: str, subscription: Subscription) -> None:
        """Somebody looks no more."""
        looking = self._looking.get(workflow_id, [])
        if subscription in looking:
            looking.remove(subscription)
        if not looking:
            self._looking.pop(workflow_id, None)

    def are_wanted(self, workflow_id: str) -> bool:
        """Whether anybody looks."""
        return workflow_id in self._looking

    def tell(self, workflow_id: str, update: AgentUpdate) -> None:
        """Show it to everybody who looks."""
        for one in self._looking.get(workflow_id, ()):
            one.put(update)

    def close(self) -> None:
        """Nothing more comes, of nobody."""
        for looking in list(self._looking.values()):
            for one in list(looking):
                one.end()
