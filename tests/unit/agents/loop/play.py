"""Plays a loop without an event loop: commands are decided, folded and advanced as the host does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from agenticflow.agents.loop.conversation import Conversation
from agenticflow.agents.loop.facts import (
    LOOP_FACTS,
    AskedCall,
    CallEnding,
    EndCall,
    LoopCommand,
    LoopStarted,
    ModelAnswered,
    RecordAnswer,
    StartLoop,
    ToolCallEnded,
)
from agenticflow.agents.loop.guest import LoopGuest, stream_of_loop
from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.parts import Message, ToolCallPart, ToolResultPart, assistant, pack_messages, user
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.core import codec
from agenticflow.core.decider import Fact

STREAM: Final = stream_of_loop("abc", 1)
DRIVER: Final = "1.1:life"
SECOND: Final = 1_000_000_000


def started(**fields: Any) -> LoopStarted:
    """Return the beginning of a loop that was asked "do it"."""
    usual: dict[str, Any] = {
        "agent": "lead",
        "instructions": codec.encode("Do it well."),
        "messages": pack_messages([user("do it")]),
        "driver": DRIVER,
        "max_turns": 10,
    }
    return LoopStarted(**{**usual, **fields})


def calling(*calls: AskedCall | str, text: str = "", **fields: Any) -> ModelAnswered:
    """Return an answer that asks for ``calls``; a name stands for an equal call with an id of its own."""
    asked = [AskedCall(one, one, digest=one) if isinstance(one, str) else one for one in calls]
    parts: list[Any] = [*([text] if text else []), *(ToolCallPart(one.call_id, one.name) for one in asked)]
    usual: dict[str, Any] = {
        "message": pack_messages([assistant(*parts)]),
        "model": "scripted:m",
        "finish_reason": FinishReason.TOOL_CALLS,
        "calls": tuple(asked),
        "usage": Usage(10, 5),
    }
    return ModelAnswered(**{**usual, **fields})


def saying(text: str, **fields: Any) -> ModelAnswered:
    """Return an answer that asks for nothing."""
    usual: dict[str, Any] = {
        "message": pack_messages([assistant(text)]),
        "model": "scripted:m",
        "finish_reason": FinishReason.STOP,
        "usage": Usage(10, 5),
    }
    return ModelAnswered(**{**usual, **fields})


class Play:
    """One loop, command by command."""

    def __init__(self, **fields: Any) -> None:
        self.guest = LoopGuest()
        self.state: LoopState = self.guest.initial(STREAM)
        self.facts: list[Fact] = []
        self.now = SECOND
        if fields.pop("is_started", True):
            self.begin(started(**fields))

    def begin(self, start: LoopStarted, driver: str = DRIVER) -> list[Fact]:
        return self.take(StartLoop(now=self.now, driver=driver, start=start))

    def do(self, command: type[LoopCommand], *, driver: str = DRIVER, **fields: Any) -> list[Fact]:
        return self.take(command(now=self.now, driver=driver, **fields))

    def take(self, command: LoopCommand) -> list[Fact]:
        """Decide and fold, then whatever follows; every fact goes through its stored form."""
        made: list[Fact] = []
        facts: Sequence[Fact] = self.guest.decide(self.state, command)
        while facts:
            for fact in facts:
                stored = LOOP_FACTS.decode(fact.event_type, LOOP_FACTS.encode(fact), fact.schema_version)
                assert stored == fact
                self.facts.append(fact)
                made.append(fact)
                self.guest.evolve(self.state, fact, self.state.version + 1, self.now)
            facts = self.guest.advance(self.state, self.now)
        self.now += SECOND
        return made

    def answer(self, answer: ModelAnswered, **fields: Any) -> list[Fact]:
        return self.do(RecordAnswer, turn=self.state.turns, answer=answer, **fields)

    def end(self, call_id: str, text: str = "fine", ending: CallEnding = CallEnding.SUCCEEDED) -> list[Fact]:
        return self.do(EndCall, end=ToolCallEnded(call_id, codec.encode(text), ending))

    @property
    def messages(self) -> list[Message]:
        return list(Conversation().of(self.state))

    @property
    def results_told(self) -> list[ToolResultPart]:
        """What the model is told of calls, in order."""
        return [part for one in self.messages for part in one.parts if isinstance(part, ToolResultPart)]

    def results(self) -> dict[str, str]:
        """Return what the model is told of each call."""
        told = self.results_told
        assert len({part.call_id for part in told}) == len(told), "a call has one result"
        return {part.call_id: part.content for part in told}

    def refolded(self) -> LoopState:
        state = self.guest.initial(STREAM)
        for version, (fact, at) in enumerate(zip(self.facts, self._moments(), strict=True), 1):
            self.guest.evolve(state, fact, version, at)
        return state

    def _moments(self) -> Iterable[int]:
        # when facts were made matters for the beginning and the end only
        for fact in self.facts:
            yield (self.state.ended_at or 0) if fact.event_type == "agent_loop_ended" else self.state.started_at

    def check(self) -> None:
        """See that a provider takes the conversation, and that a snapshot says what the history says."""
        if not self.state.calls and self.state.version:
            ModelRequest(messages=tuple(self.messages)).check()
        snapshot = self.guest.snapshot(self.state)
        assert snapshot == self.guest.snapshot(self.guest.initial(STREAM, snapshot))
        assert snapshot == self.guest.snapshot(self.refolded())
