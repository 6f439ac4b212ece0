"""Events of loops as release 0.2.0 wrote them: read today as they were meant, and written today as they were."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final

import pytest

from agenticflow.agents.loop import facts as f
from agenticflow.agents.loop.conversation import Conversation
from agenticflow.agents.loop.guest import LoopGuest
from agenticflow.agents.model import (
    FinishReason,
    ModelRequest,
    ReasoningPart,
    ToolCallPart,
    Usage,
    assistant,
    pack_messages,
    user,
)
from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.results import ErrorInfo

FILE: Final = Path(__file__).parent / "loop_facts_0.2.0.json"
"""``python -m tests.golden.test_loop_facts`` writes it, which is only right before that release is out."""
SAID: Final = codec.encode("fine")
HISTORY: Final[tuple[Fact, ...]] = (
    f.LoopStarted(
        "lead",
        SAID,
        pack_messages([user("go")]),
        "1.1:x",
        9,
        ("workflow-w/1", "ask"),
        1,
        0,
        0,
        max_repairs=3,
        max_equal_calls=5,
    ),
    f.LoopTakenUp("1.2:y"),
    f.ModelAnswered(
        pack_messages(
            [
                assistant(
                    ReasoningPart("hm", "s"), ToolCallPart("a", "pay", {"n": 1}), ToolCallPart("b", "x", malformed="{")
                )
            ]
        ),
        "openai:m",
        FinishReason.TOOL_CALLS,
        (f.AskedCall("a", "pay", "d1", True), f.AskedCall("b", "x", "d2", refusal="no JSON")),
        Usage(10, 5, 3, 2, 1),
        Usage(1, 0),
        2,
        "r1",
    ),
    f.ToolCallEnded("b", codec.encode("no JSON"), f.CallEnding.REFUSED),
    f.ToolCallStarted("a", "ada"),
    f.ToolCallEnded("a", codec.encode("paid"), f.CallEnding.SUCCEEDED, 2, "ada"),
    f.FeedbackTaken(3, pack_messages([user("ada says: quick")])),
    f.ConversationCompacted(1, pack_messages([user("short")]), "openai:m", Usage(4, 4)),
    f.ModelAnswered(
        pack_messages([assistant(ToolCallPart("c", "transfer_to_closer"))]),
        "openai:m",
        FinishReason.TOOL_CALLS,
        (f.AskedCall("c", "transfer_to_closer", "d3"),),
    ),
    f.AgentHandedOff("c", "closer", SAID),
    f.ModelAnswered(pack_messages([assistant("well")]), "openai:m", FinishReason.STOP),
    f.OutputRefused(pack_messages([user("again")])),
    f.LoopEnded(SAID, ErrorInfo("TaskCancelled", "enough", "cancelled"), True),
)

CHOSEN: Final[tuple[Fact, ...]] = (
    f.LoopStarted("lead", SAID, SAID, "1.1:x", 9, tool_choice="look", callers=("closer", "lead")),
    f.AgentHandedOff("c", "closer", SAID, "required"),
)
"""With fields that came later: what was written without them is in the history above."""
EVERY: Final = (*HISTORY, *CHOSEN)


def written(fact: Fact) -> dict[str, str]:
    return {"type": fact.event_type, "data": base64.b64encode(f.LOOP_FACTS.encode(fact)).decode()}


def test_every_fact_has_an_example() -> None:
    assert {fact.event_type for fact in HISTORY} == set(f.LOOP_FACTS.types)


@pytest.mark.parametrize("number", range(len(EVERY)))
def test_it_is_read_and_written_as_it_was(number: int) -> None:
    was = json.loads(FILE.read_text())["facts"][number]
    assert written(EVERY[number]) == was
    assert f.LOOP_FACTS.decode(was["type"], base64.b64decode(was["data"]), 1) == EVERY[number]


def test_it_folds_to_what_it_was_and_a_snapshot_of_then_is_read() -> None:
    guest = LoopGuest()
    state = guest.initial("loop-abc/1")
    for version, fact in enumerate(HISTORY, 1):
        guest.evolve(state, fact, version, version)
    snapshot = base64.b64decode(json.loads(FILE.read_text())["snapshot"])
    for found in (state, guest.initial("loop-abc/1", snapshot)):
        messages = Conversation().of(found)
        ModelRequest(messages=tuple(messages)).check()
        assert (found.status, found.agent, found.turns, found.feedback) == ("CANCELLED", "closer", 4, 3)
        assert found.choice == "auto"


def record() -> None:
    guest = LoopGuest()
    state = guest.initial("loop-abc/1")
    for version, fact in enumerate(HISTORY, 1):
        guest.evolve(state, fact, version, version)
    snapshot = base64.b64encode(guest.snapshot(state)).decode()
    FILE.write_text(json.dumps({"facts": [written(fact) for fact in EVERY], "snapshot": snapshot}, indent=1) + "\n")


if __name__ == "__main__":
    record()
