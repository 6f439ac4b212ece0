"""The folded state of a loop: who works, what was said, which calls are open, and how it ended."""

from __future__ import annotations

from typing import Final

import msgspec

from agenticflow.agents.loop.facts import AskedCall, CallEnding
from agenticflow.agents.model.requests import ToolChoice, tool_choice_of
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.core import codec
from agenticflow.core.guests import read_snapshot
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import Values

__all__ = ["CallResult", "Entry", "LoopState", "OpenCall", "Results", "Said", "restored", "saved"]

_FORM: Final = 1
_MAX_NAMED: Final = 5
"""Calls that are named where it is said what a loop does."""


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Messages of the conversation, packed, or where they are."""

    data: bytes


class CallResult(msgspec.Struct, frozen=True, array_like=True):
    """What came of one call, as the model is shown it."""

    call_id: str
    content: bytes
    is_error: bool


class Results(msgspec.Struct, frozen=True, tag="results"):
    """The results of all calls of one answer, in its order."""

    results: tuple[CallResult, ...]


Entry = Said | Results
"""A stretch of the conversation: entries are only ever added at the end, or left out at the beginning."""


class OpenCall(msgspec.Struct):
    """A call of the last answer. ``result`` is there when it has ended."""

    asked: AskedCall
    is_started: bool = False
    result: CallResult | None = None


class LoopState:
    """Where a loop stands. Mutable, and private to whoever folds it."""

    __slots__ = (
        "agent",
        "asked_from",
        "call_ids",
        "callers",
        "calls",
        "calls_before",
        "driver",
        "ended_at",
        "entries",
        "error",
        "feedback",
        "finish_reason",
        "first_turns",
        "instructions",
        "is_answered",
        "is_cancelled",
        "kept_from",
        "last_used",
        "left_out",
        "max_equal_calls",
        "max_repairs",
        "max_turns",
        "output",
        "parent",
        "repairs",
        "repeated",
        "started_at",
        "stream_id",
        "summaries",
        "tool_choice",
        "turns",
        "usage",
        "values",
        "version",
    )

    next_due = None
    """Never: whoever drives it keeps the time."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = 0
        self.agent = ""
        """Who works on it now."""
        self.instructions = b""
        self.driver = ""
        self.parent: tuple[str, str] | None = None
        self.tool_choice: str = ToolChoice.AUTO
        """What the agent was told about calls; ``choice`` says what is in force."""
        self.callers: set[str] = set()
        """Agents that have called a tool."""
        self.max_turns = 0
        self.max_repairs = 0
        self.max_equal_calls = 0
        self.turns = 0
        """Answers of models so far."""
        self.first_turns = 0
        """How many of them were given in earlier runs."""
        self.summaries = 0
        """How often the conversation was summarized."""
        self.entries: list[Entry] = []
        """The conversation in force."""
        self.left_out = 0
        """How many entries, from the beginning, summaries stand for."""
        self.asked_from = 0
        """How many messages of the first entry were there before this was asked."""
        self.kept_from = 0
        """How many of these the session has already."""
        self.calls: dict[str, OpenCall] = {}
        """Calls of the last answer, in its order; empty when all have ended."""
        self.calls_before = 0
        """How many calls earlier answers have asked for."""
        self.call_ids: set[str] = set()
        """Ids of all calls so far."""
        self.is_answered = False
        """Whether the last answer asks for nothing, and has to be judged."""
        self.finish_reason = FinishReason.STOP
        self.repairs = 0
        """How often in a row an answer was refused for its form."""
        self.repeated: tuple[str, int] = ("", 0)
        """What was called last, and how often in a row."""
        self.usage: dict[str, Usage] = {}
        """Tokens, by model."""
        self.last_used: tuple[str, Usage | None] = ("", None)
        """Who gave the last answer, and the tokens of it with those of attempts that broke off; ``None`` when nobody told."""
        self.feedback = -1
        """The number of the last feedback in the conversation."""
        self.output: bytes | None = None
        self.error: ErrorInfo | None = None
        self.is_cancelled = False
        self.started_at = 0
        self.ended_at: int | None = None

    @property
    def status(self) -> str:
        """Word for the index."""
        if self.ended_at is None:
            return "RUNNING"
        if self.is_cancelled:
            return "CANCELLED"
        return "FAILED" if self.error is not None else "COMPLETED"

    @property
    def is_open(self) -> bool:
        """Whether something can still happen."""
        return self.ended_at is None

    @property
    def choice(self) -> str:
        """Whether the model calls tools in the next turn: ``auto``, ``none``, ``required`` or the name of one.

        A call is forced upon an agent until it has made one: else the loop would never end.
        """
        is_forced = tool_choice_of(self.tool_choice)[0] is ToolChoice.REQUIRED
        return ToolChoice.AUTO if is_forced and self.agent in self.callers else self.tool_choice

    @property
    def has_to_call(self) -> bool:
        """Whether the next answer has to be a call."""
        return tool_choice_of(self.choice)[0] is ToolChoice.REQUIRED

    @property
    def open_calls(self) -> list[OpenCall]:
        """Calls without a result, in the order in which they were asked for."""
        return [call for call in self.calls.values() if call.result is None]

    @property
    def doing(self) -> str:
        """What it waits for now, in words; empty when it has ended."""
        if not self.is_open:
            return ""
        if self.calls:
            names = [call.asked.name for call in self.open_calls]
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            return f"{self.agent!r} calls {', '.join(names[:_MAX_NAMED])}{more} (turn {self.turns} of {self.max_turns})"
        if self.is_answered:
            return f"the answer of {self.agent!r} is looked at (turn {self.turns} of {self.max_turns})"
        return f"{self.agent!r} waits for its model (turn {self.turns + 1} of {self.max_turns})"

    @property
    def tokens(self) -> Usage:
        """What all models together used."""
        return sum(self.usage.values(), Usage())

    def add_usage(self, model: str, *used: Usage | None) -> None:
        """Count tokens."""
        for usage in used:
            if usage is not None:
                self.usage[model] = self.usage.get(model, Usage()) + usage

    def end_call(self, call_id: str, content: bytes, ending: CallEnding) -> None:
        """Give a call its result; with the last one all of them go into the conversation."""
        is_error = ending not in (CallEnding.SUCCEEDED, CallEnding.HANDED_OFF)
        self.calls[call_id].result = CallResult(call_id, content, is_error)
        results = [call.result for call in self.calls.values() if call.result is not None]
        if len(results) == len(self.calls):
            self.entries.append(Results(tuple(results)))
            self.calls_before += len(results)
            self.calls.clear()


class _Saved(msgspec.Struct):
    form: int
    version: int
    agent: str
    instructions: bytes
    driver: str
    parent: tuple[str, str] | None
    limits: tuple[int, int, int]
    turns: int
    counts: tuple[int, int, int]
    entries: list[Said | Results]
    left_out: int
    asked_from: int
    kept_from: int
    calls: list[OpenCall]
    call_ids: list[str]
    is_answered: bool
    finish_reason: FinishReason
    repairs: int
    repeated: tuple[str, int]
    usage: dict[str, Usage]
    last_used: tuple[str, Usage | None]
    feedback: int
    output: bytes | None
    error: ErrorInfo | None
    is_cancelled: bool
    started_at: int
    ended_at: int | None
    tool_choice: str = ToolChoice.AUTO
    callers: list[str] = []


def saved(state: LoopState) -> bytes:
    """Return the state as a snapshot."""
    return codec.encode(
        _Saved(
            form=_FORM,
            version=state.version,
            agent=state.agent,
            instructions=state.instructions,
            driver=state.driver,
            parent=state.parent,
            limits=(state.max_turns, state.max_repairs, state.max_equal_calls),
            turns=state.turns,
            counts=(state.first_turns, state.summaries, state.calls_before),
            entries=state.entries,
            left_out=state.left_out,
            asked_from=state.asked_from,
            kept_from=state.kept_from,
            calls=list(state.calls.values()),
            call_ids=sorted(state.call_ids),
            is_answered=state.is_answered,
            finish_reason=state.finish_reason,
            repairs=state.repairs,
            repeated=state.repeated,
            usage=state.usage,
            last_used=state.last_used,
            feedback=state.feedback,
            output=state.output,
            error=state.error,
            is_cancelled=state.is_cancelled,
            started_at=state.started_at,
            ended_at=state.ended_at,
            tool_choice=state.tool_choice,
            callers=sorted(state.callers),
        )
    )


def restored(stream_id: str, data: bytes) -> LoopState:
    """Return the state in a snapshot. Raises ``CorruptStore``."""
    found = read_snapshot(stream_id, data, _Saved, _FORM)
    state = LoopState(stream_id)
    for name in _PLAIN:
        setattr(state, name, getattr(found, name))
    state.max_turns, state.max_repairs, state.max_equal_calls = found.limits
    state.first_turns, state.summaries, state.calls_before = found.counts
    state.calls = {call.asked.call_id: call for call in found.calls}
    state.call_ids = set(found.call_ids)
    state.callers = set(found.callers)
    return state


_PLAIN: Final = tuple(
    name
    for name in _Saved.__struct_fields__
    if name not in ("form", "limits", "counts", "calls", "call_ids", "callers")
)
