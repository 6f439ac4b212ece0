"""What an agent does, as small events for whoever shows it: a web page, a terminal, another program. Pure but for the callback.

Events are plain data with a ``type``. They are a view: nobody at work waits for them but as long as the callback takes, and a callback that
fails changes nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from agenticflow.agents.loop.results import AgentUpdate, Drafted, HandedOff, Spoken, ToolCalled, ToolReturned, TurnBegan
from agenticflow.agents.model.deltas import ReasoningDelta, ResponseRestarted, TextDelta
from agenticflow.errors import InvalidInput

__all__ = ["StreamEvent", "StreamingHelper"]

log = logging.getLogger("agenticflow.streaming")

MAX_EVENT_CHARS: Final = 64 * 1024
"""Of one text in an event; more is cut, and the event says so."""

StreamEvent = Mapping[str, Any]
"""``{"type": "token", "agent": "guide", "text": "Hel"}``: plain data, the type first."""


class StreamingHelper:
    """``StreamingHelper(event_callback=send)``: calls ``send(event)``, plain or async, for everything that is emitted, in order."""

    __slots__ = ("_callback", "emitted", "failed")

    def __init__(self, *, event_callback: Callable[[StreamEvent], object | Awaitable[object]]) -> None:
        """Raises ``InvalidInput`` for what cannot be called."""
        if not callable(event_callback):
            raise InvalidInput(
                f"the event_callback is a {type(event_callback).__name__}, not a function",
                hint="write async def send(event): …",
            )
        self._callback = event_callback
        self.emitted = 0
        """Events so far."""
        self.failed = 0
        """Events whose callback failed: they are in the log."""

    async def emit(self, event_type: str, **fields: Any) -> None:
        """Emit an event of your own. Texts beyond the limit are cut, and then it has ``is_cut``."""
        event: dict[str, Any] = {"type": event_type}
        for name, value in fields.items():
            if isinstance(value, str) and len(value) > MAX_EVENT_CHARS:
                value, event["is_cut"] = value[:MAX_EVENT_CHARS], True
            event[name] = value
        self.emitted += 1
        try:
            answer = self._callback(event)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            self.failed += 1
            log.exception("who is told of an agent's work failed at %r", event_type)

    async def emit_agent_start(self, name: str, *, iteration: int = 1) -> None:
        """An agent begins, or asks its model for the ``iteration``-th time."""
        await self.emit("agent_start", agent=name, iteration=iteration)

    async def emit_agent_end(self, name: str, *, turns: int = 0) -> None:
        """An agent is done."""
        await self.emit("agent_end", agent=name, turns=turns)

    async def emit_token(self, text: str, *, agent: str = "") -> None:
        """A piece of an answer."""
        await self.emit("token", agent=agent, text=text)

    async def emit_draft(self, data: Any, *, agent: str = "") -> None:
        """An answer with a form, as far as it has come."""
        await self.emit("draft", agent=agent, data=data)

    async def emit_thinking(self, text: str, *, agent: str = "") -> None:
        """A piece of what a model thinks before it speaks."""
        await self.emit("thinking", agent=agent, text=text)

    async def emit_restart(self, *, agent: str = "") -> None:
        """An answer broke off and begins anew: what was shown of it is void."""
        await self.emit("restart", agent=agent)

    async def emit_tool_call(
        self, name: str, arguments: Mapping[str, Any], *, call_id: str = "", agent: str = ""
    ) -> None:
        """A tool is called."""
        await self.emit("tool_call", agent=agent, call_id=call_id, tool=name, arguments=dict(arguments))

    async def emit_tool_result(
        self, name: str, content: str, *, call_id: str = "", is_error: bool = False, agent: str = ""
    ) -> None:
        """A call has its result."""
        await self.emit("tool_result", agent=agent, call_id=call_id, tool=name, content=content, is_error=is_error)

    async def emit_handoff(self, to: str, *, agent: str = "") -> None:
        """Another agent goes on."""
        await self.emit("handoff", agent=agent, to=to)

    async def emit_status(self, message: str) -> None:
        """What is going on, in words."""
        await self.emit("status", message=message)

    async def emit_answer(self, text: str, *, sources: Sequence[Any] = ()) -> None:
        """The answer as a whole, and what it rests on."""
        await self.emit("answer", text=text, sources=list(sources))

    async def emit_error(self, message: str) -> None:
        """It came to nothing."""
        await self.emit("error", message=message)

    async def follow(self, updates: AsyncIterable[AgentUpdate]) -> None:
        """Emit everything that is seen of an agent at work, ``await agent.run_stream(…)``, to its end. Raises what the stream raises."""
        async for update in updates:
            match update:
                case TurnBegan(agent, turn):
                    await self.emit_agent_start(agent, iteration=turn)
                case Spoken(agent, TextDelta(text=text)) if text:
                    await self.emit_token(text, agent=agent)
                case Spoken(agent, ReasoningDelta(text=text)) if text:
                    await self.emit_thinking(text, agent=agent)
                case Spoken(agent, ResponseRestarted()):
                    await self.emit_restart(agent=agent)
                case Drafted(agent, data):
                    await self.emit_draft(data, agent=agent)
                case ToolCalled(agent, call_id, name, arguments):
                    await self.emit_tool_call(name, arguments, call_id=call_id, agent=agent)
                case ToolReturned(agent, call_id, name, content, is_error):
                    await self.emit_tool_result(name, content, call_id=call_id, is_error=is_error, agent=agent)
                case HandedOff(agent, to):
                    await self.emit_handoff(to, agent=agent)
                case _:
                    continue  # beginnings and ends of answers, and tokens counted, are nothing to show
