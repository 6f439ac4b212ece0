"""What the stream of a loop, ``loop-<id>/<run no>``, records, and what it is asked to decide.

Messages are recorded in the schema of ``agents.model`` (``pack_messages``), never in a provider's. Everything large goes through
``store_form``: a value above 64 KiB stands apart. Fields are only ever added, with defaults.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import msgspec

from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.results import ErrorInfo

__all__ = [
    "KIND",
    "LOOP_FACTS",
    "AgentHandedOff",
    "AskedCall",
    "BeginCall",
    "CallEnding",
    "Compact",
    "ConversationCompacted",
    "EndCall",
    "EndLoop",
    "FeedbackTaken",
    "GiveFeedback",
    "HandOff",
    "JudgeAnswer",
    "LoopCommand",
    "LoopEnded",
    "LoopStarted",
    "LoopTakenUp",
    "ModelAnswered",
    "OutputRefused",
    "RecordAnswer",
    "StartLoop",
    "ToolCallEnded",
    "ToolCallStarted",
]

KIND: Final = "loop"
_STREAM: Final = "loop-<id>/<run no>"


KEPT_BACK: Final = "this call was made, and its result is kept back"
"""How a result begins that a guardrail refused."""


class CallEnding(enum.StrEnum):
    """How a call of a tool ended. Whatever happens, a call ends once, in one of these ways."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The tool, or the way to it, said what went wrong."""
    REFUSED = "refused"
    """It was never made: what the model wrote is no call that can be."""
    DENIED = "denied"
    """Somebody who was asked said no."""
    INTERRUPTED = "interrupted"
    """It was cut off. Whether it has happened is told in its result, as far as anybody knows."""
    HANDED_OFF = "handed_off"
    """It passed the conversation on to another agent."""


class AskedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that a model asks for, as far as it decides."""

    call_id: str
    name: str
    digest: str = ""
    """Equal for equal calls: name and arguments."""
    is_at_most_once: bool = False
    """Whether it must not happen twice: its start is recorded first, and it is not made again after a crash."""
    refusal: str = ""
    """Why it cannot be made, for the model; empty when it can."""


# --- facts --------------------------------------------------------------------------------------------------------------


class LoopStarted(Fact, frozen=True, omit_defaults=True):
    """An agent begins to work on something that was asked."""

    event_type: ClassVar[str] = "agent_loop_started"
    stream: ClassVar[str] = _STREAM
    agent: str
    instructions: bytes
    """An encoded text, or where it is."""
    messages: bytes
    """What was said before and what is asked now, packed."""
    driver: str
    """Which attempt works on it."""
    max_turns: int
    parent: tuple[str, str] | None = None
    """Stream and task key (or call id) of what it works for."""
    turns: int = 0
    """Turns of an earlier run that it goes on from."""
    asked_from: int = 0
    """How many of the messages were there before."""
    kept_from: int = 0
    """How many of them the session has already."""
    max_repairs: int = 2
    max_equal_calls: int = 4
    tool_choice: str = "auto"
    """Whether the agent calls tools: ``auto``, ``none``, ``required`` or the name of one. Forced only until it has called one."""
    callers: tuple[str, ...] = ()
    """Agents that have called a tool in an earlier run that it goes on from: nothing is forced upon them."""


class LoopTakenUp(Fact, frozen=True, omit_defaults=True):
    """Another attempt, or the same one after its process died, goes on with a loop."""

    event_type: ClassVar[str] = "agent_loop_taken_up"
    stream: ClassVar[str] = _STREAM
    driver: str


class ModelAnswered(Fact, frozen=True, omit_defaults=True):
    """A model gave a whole answer."""

    event_type: ClassVar[str] = "model_answered"
    stream: ClassVar[str] = _STREAM
    message: bytes
    """The packed message, or where it is."""
    model: str
    """``provider:name`` of who was asked."""
    finish_reason: FinishReason
    calls: tuple[AskedCall, ...] = ()
    usage: Usage | None = None
    lost_usage: Usage | None = None
    """What attempts had used that broke off."""
    attempts: int = 1
    response_id: str = ""


class ToolCallStarted(Fact, frozen=True, omit_defaults=True):
    """A call that must not happen twice is made now."""

    event_type: ClassVar[str] = "tool_call_started"
    stream: ClassVar[str] = _STREAM
    call_id: str
    approved_by: str = ""


class ToolCallEnded(Fact, frozen=True, omit_defaults=True):
    """A call of a tool has its one result."""

    event_type: ClassVar[str] = "tool_call_ended"
    stream: ClassVar[str] = _STREAM
    call_id: str
    content: bytes
    """The encoded text that the model is shown, or where it is."""
    ending: CallEnding = CallEnding.SUCCEEDED
    attempts: int = 1
    approved_by: str = ""
    params: bytes = b""
    """What it was called with, encoded, or where that is, when somebody has changed it; else that is what the model asked for."""

    @property
    def is_error(self) -> bool:
        """Whether the model is told that it is one."""
        return self.ending not in (CallEnding.SUCCEEDED, CallEnding.HANDED_OFF)


class AgentHandedOff(Fact, frozen=True, omit_defaults=True):
    """An agent passed the conversation on to another one, which works under its own instructions from now on."""

    event_type: ClassVar[str] = "agent_handed_off"
    stream: ClassVar[str] = _STREAM
    call_id: str
    agent: str
    instructions: bytes
    tool_choice: str = "auto"
    """That of the other agent."""


class OutputRefused(Fact, frozen=True, omit_defaults=True):
    """The model's last answer does not have the form asked for, or calls no tool where it has to; it is told, and asked again."""

    event_type: ClassVar[str] = "agent_output_refused"
    stream: ClassVar[str] = _STREAM
    message: bytes
    """What it is told, packed."""


class FeedbackTaken(Fact, frozen=True, omit_defaults=True):
    """What a person said to the task goes into the conversation."""

    event_type: ClassVar[str] = "feedback_taken"
    stream: ClassVar[str] = _STREAM
    number: int
    message: bytes


class ConversationCompacted(Fact, frozen=True, omit_defaults=True):
    """The oldest part of a conversation gives way to a summary. What was said stays in the stream."""

    event_type: ClassVar[str] = "conversation_compacted"
    stream: ClassVar[str] = _STREAM
    entries: int
    """How many of the entries in force, the oldest, are left out from now on."""
    message: bytes
    """What stands for them, packed: a summary, and what is left of the first entry when only its beginning was summarized."""
    model: str = ""
    usage: Usage | None = None
    asked_from: int = 0
    """Which message the agent was asked with, from now on."""
    kept_from: int = 0
    """Which message is the first that the session has not, from now on."""


class LoopEnded(Fact, frozen=True, omit_defaults=True):
    """Terminal: the agent has its answer, or there is none."""

    event_type: ClassVar[str] = "agent_loop_ended"
    stream: ClassVar[str] = _STREAM
    output: bytes | None = None
    """The encoded answer, or where it is; ``None`` when there is none."""
    error: ErrorInfo | None = None
    is_cancelled: bool = False


LOOP_FACTS: Final = FactCodec(
    [
        LoopStarted,
        LoopTakenUp,
        ModelAnswered,
        ToolCallStarted,
        ToolCallEnded,
        AgentHandedOff,
        OutputRefused,
        FeedbackTaken,
        ConversationCompacted,
        LoopEnded,
    ]
)


# --- commands -----------------------------------------------------------------------------------------------------------


class LoopCommand(Command, frozen=True, kw_only=True):
    """A request by whoever drives the loop. Refused when another attempt has taken it up meanwhile."""

    driver: str


class StartLoop(LoopCommand, frozen=True, kw_only=True):
    """Begin, or go on with what is there."""

    opens_stream: ClassVar[bool] = True
    start: LoopStarted | None = None
    """How it begins; ``None`` when it is known that it has begun."""


class RecordAnswer(LoopCommand, frozen=True, kw_only=True):
    """The model has answered. ``output`` is the encoded answer when it is one and nobody has to look at it; ``problems`` why it is none."""

    turn: int
    """How many answers there were before: asked again after a doubtful commit, it is refused and not repeated."""
    answer: ModelAnswered
    output: bytes | None = None
    problems: tuple[str, ...] = ()


class JudgeAnswer(LoopCommand, frozen=True, kw_only=True):
    """Somebody looked at the last answer: it is the ``output``, or has ``problems``."""

    output: bytes | None = None
    problems: tuple[str, ...] = ()


class BeginCall(LoopCommand, frozen=True, kw_only=True):
    """Make a call that must not happen twice."""

    call_id: str
    approved_by: str = ""


class EndCall(LoopCommand, frozen=True, kw_only=True):
    """A call has its result."""

    end: ToolCallEnded


class HandOff(LoopCommand, frozen=True, kw_only=True):
    """Pass the conversation on."""

    hand_off: AgentHandedOff


class GiveFeedback(LoopCommand, frozen=True, kw_only=True):
    """A person said something meanwhile."""

    number: int
    message: bytes


class Compact(LoopCommand, frozen=True, kw_only=True):
    """Let a summary stand for the oldest entries."""

    compacted: ConversationCompacted


class EndLoop(LoopCommand, frozen=True, kw_only=True):
    """Give up: calls that are open have ended as ``ends`` says, or are interrupted."""

    error: ErrorInfo | None = None
    is_cancelled: bool = False
    ends: tuple[ToolCallEnded, ...] = ()
