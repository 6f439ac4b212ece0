"""Calls of tools as data: what is asked, by whom, and what came of it; and the port of whoever makes them. Pure.

A call has an identity of its own (``call_id``), so that whoever records it can say which call a result belongs to, and an effect key that
is equal for all attempts of it. A result is a value or a failure; a failure says whose move it is. Nothing here runs a tool.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from agenticflow.core import codec
from agenticflow.core.cancelling import Told
from agenticflow.core.late import Late
from agenticflow.core.redaction import redact_text
from agenticflow.core.results import MAX_MESSAGE_CHARS, ErrorInfo, describe_error
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    BudgetExceeded,
    InvalidInput,
    OutcomeUnknown,
    PermanentError,
    SecurityError,
    TemporaryError,
    ToolExecutionError,
    ToolExecutionTimeoutError,
    ToolNotFoundError,
    UsageError,
)

__all__ = [
    "LOCAL_OWNER",
    "CallGiven",
    "Caller",
    "InvokesTools",
    "Move",
    "ToolAccess",
    "ToolCall",
    "ToolFailure",
    "ToolResult",
    "ToolSource",
    "call_of",
    "invokes_tools",
    "tool_effect_key",
]

Params = Mapping[str, object]
_NOTHING: Final[Params] = {}


class Move(enum.StrEnum):
    """Whose move it is after a failure."""

    CALLER = "caller"
    """Mend the call, or try something else: the same call fails again."""
    OPERATOR = "operator"
    """A person has to grant, approve, configure or find out something."""
    WORLD = "world"
    """Something outside failed or was busy: the same call may be well later."""
    AUTHOR = "author"
    """The tool does not do what it promises: whoever wrote it has to mend it."""


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """``ToolCall("weather", {"city": "Oslo"})``. What is left out is made up or looked up when the call is made."""

    name: str
    params: Params = {}
    call_id: str = ""
    """Unique for each call, equal for all attempts of it."""
    effect_key: str = ""
    """What outside services know the effect by, so that a second attempt changes nothing more; by default the call id."""
    deadline: int | None = None
    """Moment in nanoseconds since the epoch, by the clock of the pipeline, at which nobody waits any more; beside the tool's time limit."""
    attempt: int = 1
    approved_by: str = ""
    """Who allowed this very call, for tools that need approval."""


CallGiven = ToolCall | tuple[str, Params] | Mapping[str, object]
"""A call as it may be written: ``ToolCall(…)``, ``("weather", {"city": "Oslo"})``, ``{"name": "weather", "params": {…}}``."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, what they may do, and what the tool sees of their situation."""

    principal: str
    permissions: frozenset[str] = frozenset()
    """What was granted: ``file:read``, or ``file:*`` for all of a kind."""
    is_owner: bool = False
    """Whether everything is granted: the program itself, in its own process."""
    agent_id: str = ""
    session: object = None
    """The conversation, where there is one: the tool finds it as ``ctx.session``."""
    context: object = None
    """Whatever the program wants its tools to see: ``ctx.context``."""

    def lacks(self, required: Sequence[str]) -> tuple[str, ...]:
        """Return which of the ``required`` permissions were not granted."""
        if self.is_owner or not required:
            return ()
        return tuple(one for one in required if not _is_granted(one, self.permissions))


def _is_granted(required: str, granted: frozenset[str]) -> bool:
    kind, _, _ = required.partition(":")
    return required in granted or f"{kind}:*" in granted or "*" in granted


LOCAL_OWNER: Final = Caller(principal="local owner", is_owner=True)
"""The program itself: without a server there is nobody to keep it from its own tools."""


class ToolFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no value, in words a model can act on."""

    code: str
    """Stable: ``tool_not_found``, ``invalid_input``, ``security``, ``approval_required``, ``tool_timeout``, ``tool_failed`` …"""
    message: str
    move: Move
    hint: str = ""
    problems: tuple[str, ...] = ()
    """Every mistake in the params, one line each."""
    retry_after_seconds: float | None = None
    """When the same call makes sense again, where somebody said so."""
    error: ErrorInfo | None = None
    """What the tool raised, for the log."""

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may be well later."""
        return self.move is Move.WORLD

    def __str__(self) -> str:
        lines = "".join(f"\n- {problem}" for problem in self.problems)
        return f"{self.message}{f' ({self.hint})' if self.hint else ''}{lines}"

    @classmethod
    def of(cls, error: BaseException) -> ToolFailure:
        """Return what ``error`` means: usage errors are the caller's move, permanent ones too, everything else is the world's."""
        info = describe_error(error)
        message = error.message if isinstance(error, AgenticFlowError) else str(info)
        move = Move.WORLD
        if isinstance(error, (BudgetExceeded, OutcomeUnknown, SecurityError)):
            move = Move.OPERATOR
        elif isinstance(error, (UsageError, PermanentError)):
            move = Move.CALLER
        return cls(
            code=error.code if isinstance(error, AgenticFlowError) else "tool_failed",
            message=redact_text(message[:MAX_MESSAGE_CHARS]),
            move=move,
            hint=error.hint if isinstance(error, AgenticFlowError) else "",
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            error=info,
        )


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value or a failure, of one call. ``unwrap`` gives the value or raises."""

    value: object = None
    error: ToolFailure | None = None
    call_id: str = ""
    tool: str = ""
    attempts: int = 1
    """Which attempt it came of."""

    @classmethod
    def success(cls, value: object) -> ToolResult:
        """Return a result that holds ``value``: plain data, or what the codec turns into it."""
        return cls(value)

    @classmethod
    def failure(
        cls, error: ToolFailure | BaseException | str, *, code: str = "tool_failed", move: Move = Move.CALLER
    ) -> ToolResult:
        """Return a result that holds a failure: an exception, a ``ToolFailure``, or words with a ``code`` and whose ``move`` it is."""
        if isinstance(error, BaseException):
            return cls(error=ToolFailure.of(error))
        if isinstance(error, str):
            return cls(error=ToolFailure(code, error, move))
        if not isinstance(error, ToolFailure):
            raise InvalidInput(f"{error!r:.80} is no failure", hint='write ToolResult.failure("what went wrong")')
        return cls(error=error)

    def is_success(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> object:
        """Return the value. Raises ``ToolNotFoundError``, ``ToolExecutionTimeoutError``, ``InvalidInput``, ``SecurityError``,
        ``OutcomeUnknown`` or ``BoundExceeded`` for what these stand for, else ``TemporaryError`` for what may go away by itself and
        ``ToolExecutionError``."""
        failure = self.error
        if failure is None:
            return self.value
        words = f"{self.tool!r}: {failure.message}" if self.tool else failure.message
        for problem in failure.problems:
            words += f"; {problem}"
        kind = _RAISED.get(failure.code) or (TemporaryError if failure.is_temporary else ToolExecutionError)
        raise kind(words, hint=failure.hint)

    def text(self) -> str:
        """Return what a model is shown: a text as it is, other values as JSON, a failure as JSON with what to do about it."""
        if self.error is None:
            return self.value if isinstance(self.value, str) else _json(self.value)
        failure = self.error
        shown: dict[str, object] = {"error": failure.code, "message": failure.message}
        if failure.hint:
            shown["hint"] = failure.hint
        if failure.problems:
            shown["problems"] = list(failure.problems)
        if failure.retry_after_seconds is not None:
            shown["retry_after_seconds"] = failure.retry_after_seconds
        return _json(shown)


_RAISED: Final[Mapping[str, type[AgenticFlowError]]] = {
    kind.code: kind
    for kind in (
        ToolNotFoundError,
        ToolExecutionTimeoutError,
        InvalidInput,
        SecurityError,
        OutcomeUnknown,
        BoundExceeded,
    )
}


def _json(value: object) -> str:
    return msgspec.json.encode(codec.decode(codec.encode(value))).decode()


def tool_effect_key(scope: str, name: str, params: Params, key: str = "") -> str:
    """Return the key by which outside services know this effect: equal for the same tool and params in the same ``scope``.

    Several equal calls that are meant to happen several times have a ``key`` each. Raises ``NotSerializable``.
    """
    told = key.encode() if key else codec.encode(dict(params), is_canonical=True)
    return blake2b(f"{scope}\0{name}\0{bool(key):d}".encode() + told, digest_size=16).hexdigest()


def call_of(given: CallGiven) -> ToolCall:
    """Return a call as it may be written. Raises ``InvalidInput``."""
    if isinstance(given, ToolCall):
        return given
    if isinstance(given, Mapping):
        try:
            return msgspec.convert(dict(given), ToolCall)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"{given!r:.80} is no call of a tool: {error}", hint=_RIGHT_CALL) from error
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str) and isinstance(given[1], Mapping):
        return ToolCall(given[0], given[1])
    raise InvalidInput(f"{given!r:.80} is no call of a tool", hint=_RIGHT_CALL)


_RIGHT_CALL: Final = 'write ToolCall("weather", {"city": "Oslo"}) or ("weather", {"city": "Oslo"})'


class ToolAccess(Protocol):
    """The tools of somebody, ready to be called: an agent's, for its handlers."""

    async def invoke(self, call: ToolCall) -> ToolResult:
        """Make one call; see ``InvokesTools``."""

    async def invoke_parallel(self, calls: Sequence[CallGiven], *, max_concurrent: int) -> list[ToolResult]:
        """Make several calls; see ``InvokesTools``."""


class ToolSource(Protocol):
    """Where tools are found by name: ``tools.registry.ToolRegistry``."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all of them, in order."""


class InvokesTools(Protocol):
    """Makes calls: the one execution path. ``tools.execution.pipeline`` stands behind it."""

    async def invoke(
        self,
        call: ToolCall,
        caller: Caller = LOCAL_OWNER,
        tools: ToolSource | None = None,
        *,
        told: Told | None = None,
    ) -> ToolResult:
        """Make one call of a tool in ``tools`` (a set of tools, by default all that are registered) and return what came of it.

        Whatever goes wrong is a failure in the result, never an exception; only when the task that waits is cancelled, that goes through:
        the tool is told the reason that ``told`` has for it.
        """

    async def invoke_parallel(
        self,
        calls: Sequence[CallGiven],
        caller: Caller = LOCAL_OWNER,
        tools: ToolSource | None = None,
        *,
        max_concurrent: int,
        told: Told | None = None,
    ) -> list[ToolResult]:
        """Make all calls, at most ``max_concurrent`` at once; results in the order of the calls, failures in their places."""


invokes_tools: Final[Late[InvokesTools]] = Late("tools")
