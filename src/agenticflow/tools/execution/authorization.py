"""The port of who decides whether a call may be made, and the answer until there is a security policy: what was granted."""

from __future__ import annotations

from typing import Final, Protocol

from agenticflow.core.tools import Caller, ToolCall
from agenticflow.tools.definition import ToolDefinition

__all__ = ["GRANTED", "Authorizer", "Granted"]


class Authorizer(Protocol):
    """Decides, before anything else, whether a call may be made."""

    async def refusal(self, definition: ToolDefinition, call: ToolCall, caller: Caller) -> str | None:
        """Return in words why ``caller`` may not make ``call``, ``None`` when they may.

        The params have not been validated yet. Whatever is raised is a refusal: who cannot be asked has not agreed.
        """


class Granted:
    """A call needs every permission that its tool names; the local owner has all of them."""

    async def refusal(self, definition: ToolDefinition, call: ToolCall, caller: Caller) -> str | None:
        lacking = caller.lacks(definition.permissions)
        if not lacking:
            return None
        return f"{caller.principal!r} lacks {', '.join(lacking)}"


GRANTED: Final = Granted()
