"""What a tool may know of the call it answers, and how it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from agenticflow.core.cancelling import CancelReason
from agenticflow.core.clocks import ambient
from agenticflow.core.tools import Caller, ToolCall
from agenticflow.errors import TaskCancelled
from agenticflow.tools.definition import ToolDefinition

__all__ = ["Cancellation", "ToolContext"]

NANOSECONDS: Final = 1_000_000_000
_log: Final = logging.getLogger("agenticflow.tool")


class Cancellation:
    """Says that a call is not wanted any more, once, with a reason; from any thread.

    Whoever makes calls hands one in and keeps it; tools see it as ``ctx.is_cancelled``.
    """

    __slots__ = ("_heard", "_lock", "cause", "is_cancelled", "reason")

    def __init__(self) -> None:
        self.is_cancelled = False
        self.reason = ""
        self.cause = CancelReason.CANCELLED
        self._lock = threading.Lock()
        self._heard: list[Callable[[], None]] = []

    def cancel(self, reason: str = "", *, cause: CancelReason = CancelReason.CANCELLED) -> None:
        """Say it: ``reason`` in words, for people, ``cause`` as tools find it in ``ctx.cancel_reason``. A second time changes nothing."""
        cause = CancelReason(cause)
        with self._lock:
            if self.is_cancelled:
                return
            self.reason, self.cause = reason, cause
            self.is_cancelled = True
            heard, self._heard = self._heard, []
        for listener in heard:
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` when it is said, at once when it was; return what ends that."""
        with self._lock:
            if not self.is_cancelled:
                self._heard.append(listener)
                return lambda: self._forget(listener)
        listener()
        return _nothing_to_end

    def _forget(self, listener: Callable[[], None]) -> None:
        with self._lock:
            if listener in self._heard:
                self._heard.remove(listener)


def _nothing_to_end() -> None:
    """It was said already."""


class _CallLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the fields of the call to those that a record gives itself."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class ToolContext:
    """The context of one attempt of one call: a parameter annotated with it, or called ``ctx``, is given it."""

    __slots__ = ("attempt", "call", "caller", "cancel_reason", "deadline", "definition", "is_cancelled")

    def __init__(
        self,
        definition: ToolDefinition,
        call: ToolCall,
        caller: Caller,
        *,
        attempt: int = 1,
        deadline: int | None = None,
    ) -> None:
        self.definition = definition
        self.call = call
        self.caller = caller
        self.attempt = attempt
        """From 1."""
        self.deadline = deadline
        """Moment in nanoseconds since the epoch at which the attempt is given up, or ``None``."""
        self.is_cancelled = False
        """Whether the call is not wanted any more, or its time is up: tools in threads look now and then, async ones are interrupted."""
        self.cancel_reason: CancelReason | None = None
        """Why, from before it is told on; ``None`` while nobody has."""

    @property
    def tool_name(self) -> str:
        return self.definition.name

    @property
    def call_id(self) -> str:
        """Unique for each call, equal for all attempts of it."""
        return self.call.call_id

    @property
    def effect_key(self) -> str:
        """Hand it to outside services as their idempotency key."""
        return self.call.effect_key or self.call.call_id

    @property
    def params(self) -> Mapping[str, object]:
        """The params as they were given, plain data."""
        return self.call.params

    @property
    def agent_id(self) -> str:
        """The agent that calls; empty when none does."""
        return self.caller.agent_id

    @property
    def principal(self) -> str:
        """On whose behalf."""
        return self.caller.principal

    @property
    def session(self) -> object:
        """The conversation, where there is one."""
        return self.caller.session

    @property
    def context(self) -> Any:
        """What the program wants its tools to see."""
        return self.caller.context

    @property
    def remaining_seconds(self) -> float | None:
        """How long the attempt may still take; ``None`` without a limit, 0 when the time is up."""
        if self.deadline is None:
            return None
        return max(0.0, (self.deadline - ambient.clock.now_ns()) / NANOSECONDS)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds tool, call and agent to every record."""
        fields = {"tool": self.tool_name, "call_id": self.call_id, "agent_id": self.agent_id, "attempt": self.attempt}
        return _CallLogger(_log, fields)

    def raise_if_cancelled(self) -> None:
        """Raise ``TaskCancelled`` when the call is not wanted any more; for loops in threads."""
        if self.is_cancelled:
            raise TaskCancelled(
                f"call {self.call_id!r} of tool {self.tool_name!r} was told to stop: {self.cancel_reason}"
            )

    def tell(self, reason: CancelReason) -> None:
        """Have the tool see that it shall stop, and why; what is told first stays. Whoever makes the call does."""
        if not self.is_cancelled:
            self.cancel_reason = reason  # first: a thread looks at the other
            self.is_cancelled = True

    def __repr__(self) -> str:
        return f"ToolContext({self.tool_name!r}, {self.call_id!r}, attempt={self.attempt})"
