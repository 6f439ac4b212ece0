"""What comes of a loop, and what is seen of it while it goes on. Data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from agenticflow.agents.model.deltas import Delta
from agenticflow.agents.model.parts import Message
from agenticflow.agents.model.responses import FinishReason, Usage

__all__ = ["AgentResult", "AgentUpdate", "Drafted", "HandedOff", "Spoken", "ToolCalled", "ToolReturned", "TurnBegan"]


class AgentResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent came to."""

    output: Any
    """Its answer: words, or what its ``output_type`` says."""
    agent: str
    """Who gave it: after a handoff not the one that was asked."""
    workflow_id: str
    messages: Sequence[Message] = ()
    """The conversation, without what was there before."""
    turns: int = 0
    usage: Usage = Usage()
    """Tokens of all models together."""
    finish_reason: FinishReason = FinishReason.STOP
    """Why the model ended its last answer: ``length`` for one that was cut at ``max_output_tokens``."""


class _Seen(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    task: str = ""
    """Key of the task that the agent works on."""


class TurnBegan(_Seen, frozen=True, tag="turn_began"):
    """A model is asked."""

    agent: str
    turn: int
    """From 1."""


class Spoken(_Seen, frozen=True, tag="spoken"):
    """A piece of an answer, as it is spoken. A ``ResponseRestarted`` means that what came of this turn before is void."""

    agent: str
    delta: Delta


class Drafted(_Seen, frozen=True, tag="drafted"):
    """What an answer with a form says so far. Void like a ``Spoken`` when the answer restarts, and when it turns out to be no answer."""

    agent: str
    data: Any
    """Plain data: names whose values have not come are not there, and the text that is spoken now is there as far as it has come."""
    value: Any = None
    """The same as the agent's ``output_type``, once everything that it requires is there; ``None`` before."""


class ToolCalled(_Seen, frozen=True, tag="tool_called"):
    """A tool is called."""

    agent: str
    call_id: str
    name: str
    arguments: dict[str, object]


class ToolReturned(_Seen, frozen=True, tag="tool_returned"):
    """A call has its result, which is recorded."""

    agent: str
    call_id: str
    name: str
    content: str
    is_error: bool


class HandedOff(_Seen, frozen=True, tag="handed_off"):
    """Another agent goes on."""

    agent: str
    to: str


AgentUpdate: TypeAlias = TurnBegan | Spoken | Drafted | ToolCalled | ToolReturned | HandedOff
"""Something seen of an agent at work. A view of what goes on: what is recorded is the stream of the loop."""
