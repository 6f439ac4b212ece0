"""A conversation while agents work on a query: as the agent at work sees it, and as ``execute`` sees it.

Neither writes. What an agent adds comes back with its answer, and a step of its own adds it to the conversation, once: an attempt that
failed, or died, has said nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from agenticflow.agents.session.facts import stream_of_session
from agenticflow.agents.session.items import plain_item
from agenticflow.agents.session.session import AgentSession
from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["CrewSession", "DraftSession", "Say"]

MAX_ADDED: Final = 1_000

Say = Callable[[str, str, Mapping[str, object]], Awaitable[Any]]
"""Has a service do something in a step: its name, the key (made up when empty), and the params."""


class DraftSession:
    """A conversation as the agent at work sees it: everything that was said before, and what it adds, which is kept when it has answered.

    It has the shape of the OpenAI Agents SDK's ``Session`` protocol, so ``Runner.run(agent, query, session=session)`` takes it.
    """

    __slots__ = ("_kept", "added", "session_id", "session_settings")

    def __init__(self, kept: AgentSession) -> None:
        self._kept = kept
        self.session_id = kept.session_id
        self.session_settings: Any = None
        """The Agents SDK's own, when its user sets them; not looked at here."""
        self.added: list[dict[str, Any]] = []
        """What the agent has added so far."""

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the newest items, oldest first, as copies, with what was added here. Raises ``InvalidInput`` for a negative limit."""
        items = [*await self._kept.get_items(limit), *map(plain_item, self.added)]
        most = self._kept.max_items if limit is None else limit
        return items[max(0, len(items) - most) :]

    async def add_items(self, items: Iterable[Any]) -> None:
        """Add the items, all or none. Raises ``InvalidInput`` and ``NotSerializable`` for what is none, ``BoundExceeded`` beyond 1,000."""
        more = [plain_item(item) for item in items]
        if len(self.added) + len(more) > MAX_ADDED:
            raise BoundExceeded(
                f"an agent adds more than {MAX_ADDED:,} items to session {self.session_id!r} at once",
                hint="add what the next agent has to see",
            )
        self.added.extend(more)

    async def pop_item(self) -> Any:
        """Take back what was added last; ``None`` when nothing was ever said. Raises ``InvalidInput`` for what stood there before."""
        if not self.added:
            if not await self._kept.get_items(1):
                return None
            raise InvalidInput(
                f"an agent takes back what others have said in session {self.session_id!r}",
                hint="it may take back what it has added itself; orchestrator.session(id) changes a conversation outside of a run",
            )
        return self.added.pop()

    async def clear_session(self) -> None:
        """Raise ``InvalidInput``: an agent at work adds to a conversation that others share."""
        raise InvalidInput(
            f"an agent at work does not clear session {self.session_id!r}",
            hint="orchestrator.session(id).clear_session() does, outside of a run",
        )

    def __repr__(self) -> str:
        return f"DraftSession({self.session_id!r}, {len(self.added)} added)"


class CrewSession:
    """A conversation as ``execute`` sees it: looking at it and adding to it are steps of the run."""

    __slots__ = ("_say", "session_id")

    def __init__(self, session_id: str, say: Say) -> None:
        """Raises ``InvalidInput`` for what is no session id."""
        stream_of_session(session_id)
        self.session_id = session_id
        self._say = say

    async def get_items(self, limit: int | None = None, *, key: str = "") -> list[Any]:
        """Return the newest items as they were when this was first asked, oldest first."""
        found: list[Any] = await self._say("recall", key, {"session_id": self.session_id, "limit": limit})
        return found

    async def add_items(self, items: Iterable[Any], *, key: str = "") -> None:
        """Add the items after what is there, once. Raises ``InvalidInput`` and ``NotSerializable`` for what is no item."""
        plain = [plain_item(item) for item in items]
        if plain:
            await self._say("remember", key, {"session_id": self.session_id, "items": plain})

    def __repr__(self) -> str:
        return f"CrewSession({self.session_id!r})"
