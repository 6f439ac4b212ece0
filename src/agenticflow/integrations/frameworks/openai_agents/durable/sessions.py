"""A session of the SDK in a durable run: what was read is read again as it was, and what was added is not added twice."""

from __future__ import annotations

from typing import Any

from agents.memory import Session

from agenticflow.agents.session import AgentSession
from agenticflow.core import codec
from agenticflow.core.tools import tool_effect_key
from agenticflow.integrations.loops import ForeignLoop

__all__ = ["JournalledSession"]


class JournalledSession(Session):
    """Stands before ``inner``. An ``AgentSession`` is told a command id with each addition, so that it takes it once whatever happens."""

    def __init__(self, inner: Any, loop: ForeignLoop) -> None:
        self.inner = inner
        self._loop = loop
        self.session_id = inner.session_id
        self.session_settings = getattr(inner, "session_settings", None)

    async def get_items(self, limit: int | None = None) -> list[Any]:
        async def read() -> object:
            items = await (self.inner.get_items() if limit is None else self.inner.get_items(limit=limit))
            return [codec.decode(codec.encode(item)) for item in items]

        return list(await self._loop.call(f"session-get-{limit}", read))

    async def add_items(self, items: list[Any]) -> None:
        if not items:
            return
        name = f"session-add-{codec.content_hash(codec.encode(items, is_canonical=True))[:16]}"

        command_id = tool_effect_key(self._loop.task.effect_key, self.session_id, {}, self._loop.key_of(name))

        async def add() -> None:
            if isinstance(self.inner, AgentSession):
                await self.inner.add_items(items, command_id=command_id)
            else:
                await self.inner.add_items(items)

        await self._loop.call(name, add)

    async def pop_item(self) -> Any:
        # Taken back at most once: with a second time something else would go.
        return await self._loop.call("session-pop", self.inner.pop_item, effect="at_most_once", interrupted=None)

    async def clear_session(self) -> None:
        await self._loop.call("session-clear", self.inner.clear_session)
