"""What is seen of agents at work: drafts of answers that grow, and nobody who is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from agenticflow import Agent, tool
from agenticflow.agents.loop.results import AgentUpdate, Drafted, Spoken, TurnBegan
from agenticflow.agents.model.deltas import ResponseFinished, ResponseRestarted, TextDelta
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import FinishReason
from agenticflow.testing import ScriptedModel, call_tool

PATIENCE = 5.0
"""Seconds; what hangs shall fail."""


@dataclass
class Verdict:
    is_fine: bool
    why: str


@dataclass
class Grumpy:
    why: str

    def __post_init__(self) -> None:
        if self.why.endswith("y"):
            raise LookupError("no such reason")


@tool
def look() -> str:
    """Look."""
    return "seen"


async def seen_of(agent: Agent) -> tuple[list[AgentUpdate], Any]:
    async with asyncio.timeout(PATIENCE):
        stream = await agent.run_stream("go")
        return [update async for update in stream], (await stream.result()).output


def judge(script: Any, form: Any = Verdict, **more: Any) -> Agent:
    return Agent("judge", instructions="x", output_type=form, model=ScriptedModel(script, piece_chars=8), **more)


async def test_an_answer_with_a_form_is_seen_growing() -> None:
    seen, output = await seen_of(judge(['{"is_fine": true, "why": "short and clear"}']))
    drafts = [update for update in seen if isinstance(update, Drafted)]
    assert drafts[0] == Drafted("judge", {}, task="run")
    assert Drafted("judge", {"is_fine": True, "why": "short "}, Verdict(True, "short "), task="run") in drafts
    assert drafts[-1].value == output == Verdict(True, "short and clear")
    whys = [draft.data["why"] for draft in drafts if "why" in draft.data]
    assert all(later.startswith(earlier) for earlier, later in pairwise(whys))
    places = [place for place, update in enumerate(seen) if isinstance(update, Drafted)]
    assert all(isinstance(seen[place - 1], Spoken) for place in places), "each follows what it was made of"


class Stumbling(Model):
    """Breaks off in the middle and begins anew, as a guarded model does."""

    provider = name = "stumbling"

    async def stream(self, request: ModelRequest) -> Any:
        yield TextDelta(0, '{"is_fine": false, "why": "to')
        yield ResponseRestarted()
        for piece in ('{"is_fine": ', 'true, "w', 'hy": "x"}'):
            yield TextDelta(0, piece)
        yield ResponseFinished(FinishReason.STOP)


async def test_an_answer_that_begins_anew_is_seen_from_its_beginning() -> None:
    seen, output = await seen_of(Agent("judge", instructions="x", output_type=Verdict, model=Stumbling()))
    assert [update.data for update in seen if isinstance(update, Drafted)] == [
        {"is_fine": False, "why": "to"},
        {},
        {"is_fine": True},
        {"is_fine": True, "why": "x"},
    ]
    assert output == Verdict(True, "x")


async def test_words_and_forced_calls_have_no_drafts() -> None:
    answer = '{"is_fine": true, "why": "x"}'
    seen, output = await seen_of(judge([[answer, call_tool("look")], answer], tools=[look], tool_choice="look"))
    assert output == Verdict(True, "x")
    turns = [update.turn if isinstance(update, TurnBegan) else 0 for update in seen]
    second = turns.index(2)
    assert not any(isinstance(update, Drafted) for update in seen[:second])
    assert any(isinstance(update, Drafted) for update in seen[second:])
    seen, output = await seen_of(judge([answer], str))
    assert output == answer
    assert not any(isinstance(update, Drafted) for update in seen)


async def test_a_type_that_fails_ends_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    seen, output = await seen_of(judge(['{"why": "noteasy yet"}'], Grumpy))
    assert output == Grumpy("noteasy yet")
    assert not any(isinstance(update, Drafted) and update.value for update in seen)
    assert "cannot be shown while it is spoken" in caplog.text
