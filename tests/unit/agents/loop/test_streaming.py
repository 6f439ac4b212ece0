"""What is emitted of an agent at work, and what a callback that fails changes: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agenticflow.agents import StreamingHelper
from agenticflow.agents.loop.results import AgentUpdate, Drafted, HandedOff, Spoken, ToolCalled, ToolReturned, TurnBegan
from agenticflow.agents.loop.streaming import MAX_EVENT_CHARS
from agenticflow.agents.model.deltas import ReasoningDelta, ResponseBegan, ResponseRestarted, TextDelta
from agenticflow.errors import InvalidInput


async def test_everything_that_is_seen_is_emitted_in_order() -> None:
    async def updates() -> AsyncIterator[AgentUpdate]:
        yield TurnBegan("guide", 1)
        yield Spoken("guide", ResponseBegan("p", "m"))
        yield Spoken("guide", ReasoningDelta(0, "hm"))
        yield Spoken("guide", TextDelta(1, "Hel"))
        yield Spoken("guide", TextDelta(1, ""))
        yield Spoken("guide", ResponseRestarted())
        yield Drafted("guide", {"a": 1})
        yield ToolCalled("guide", "c1", "look", {"what": "tea"})
        yield ToolReturned("guide", "c1", "look", "found", False)
        yield HandedOff("guide", "other")

    told: list[Any] = []
    helper = StreamingHelper(event_callback=told.append)
    await helper.follow(updates())
    await helper.emit_status("nearly done")
    await helper.emit_answer("Hello", sources=["tea.md"])
    await helper.emit_agent_end("other", turns=2)
    await helper.emit_error("no luck")
    assert told == [
        {"type": "agent_start", "agent": "guide", "iteration": 1},
        {"type": "thinking", "agent": "guide", "text": "hm"},
        {"type": "token", "agent": "guide", "text": "Hel"},
        {"type": "restart", "agent": "guide"},
        {"type": "draft", "agent": "guide", "data": {"a": 1}},
        {"type": "tool_call", "agent": "guide", "call_id": "c1", "tool": "look", "arguments": {"what": "tea"}},
        {
            "type": "tool_result",
            "agent": "guide",
            "call_id": "c1",
            "tool": "look",
            "content": "found",
            "is_error": False,
        },
        {"type": "handoff", "agent": "guide", "to": "other"},
        {"type": "status", "message": "nearly done"},
        {"type": "answer", "text": "Hello", "sources": ["tea.md"]},
        {"type": "agent_end", "agent": "other", "turns": 2},
        {"type": "error", "message": "no luck"},
    ]
    assert (helper.emitted, helper.failed) == (12, 0)


async def test_a_callback_may_be_async_and_may_fail() -> None:
    told: list[str] = []

    async def send(event: Any) -> None:
        if event["type"] == "status":
            raise ConnectionError("gone")
        told.append(event["type"])

    helper = StreamingHelper(event_callback=send)
    await helper.emit_status("one")
    await helper.emit_token("two")
    assert told == ["token"]
    assert (helper.emitted, helper.failed) == (2, 1)


async def test_long_texts_are_cut() -> None:
    told: list[Any] = []
    await StreamingHelper(event_callback=told.append).emit_answer("x" * (MAX_EVENT_CHARS + 1))
    assert len(told[0]["text"]) == MAX_EVENT_CHARS
    assert told[0]["is_cut"]


def test_what_cannot_be_called_is_told() -> None:
    with pytest.raises(InvalidInput, match="the event_callback is a str"):
        StreamingHelper(event_callback="send")  # type: ignore[arg-type]  # the mistake on trial
