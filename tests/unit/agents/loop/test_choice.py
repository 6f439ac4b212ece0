"""Whether an agent calls tools: forced until it has called one, recorded, its own again after a handoff."""

from __future__ import annotations

import pytest

from agenticflow.agents.loop.facts import AgentHandedOff, AskedCall, HandOff, LoopEnded, OutputRefused
from agenticflow.agents.model.responses import FinishReason
from agenticflow.core import codec
from tests.unit.agents.loop.play import Play, calling, saying

SAID = codec.encode("x")


@pytest.mark.parametrize("choice", ["required", "look"])
def test_a_call_is_forced_until_one_was_made(choice: str) -> None:
    play = Play(tool_choice=choice)
    assert (play.state.choice, play.state.has_to_call) == (choice, True)
    play.check()
    play.answer(calling(AskedCall("a", "look", refusal="no JSON")))
    assert play.state.choice == choice, "what cannot be made is no call"
    play.answer(calling(AskedCall("b", "look", refusal="no JSON"), AskedCall("c", "look")))
    assert (play.state.choice, play.state.has_to_call) == ("auto", False)
    play.end("c")
    play.check()
    play.answer(saying("done"), output=SAID)
    assert play.state.output == SAID


def test_calling_nothing_stays_and_is_no_demand() -> None:
    play = Play(tool_choice="none")
    play.answer(calling("look"))
    play.end("look")
    assert (play.state.choice, play.state.has_to_call) == ("none", False)


@pytest.mark.parametrize(
    ("choice", "told", "ends"),
    [
        ("required", "Call a tool before you answer.", "'lead' has to call a tool, and"),
        ("look", "Call the tool 'look' before you answer.", "'lead' has to call the tool 'look', and"),
    ],
)
def test_words_where_a_call_is_demanded_are_given_back_and_then_end_the_loop(choice: str, told: str, ends: str) -> None:
    play = Play(tool_choice=choice, max_repairs=1)
    assert [type(fact) for fact in play.answer(saying("no"), output=SAID)][1:] == [OutputRefused]
    assert play.messages[-1].text == told
    assert play.state.has_to_call
    play.check()
    play.answer(saying("no"), output=SAID)
    assert play.state.output is None
    assert play.state.error is not None
    assert play.state.error.type == "ModelOutputInvalid"
    assert ends in play.state.error.message


def test_an_answer_that_its_provider_refused_is_not_asked_for_a_call() -> None:
    play = Play(tool_choice="required")
    play.answer(saying("", finish_reason=FinishReason.CONTENT_FILTER))
    assert play.state.is_answered, "somebody looks at it, and says that it was refused"


def test_after_a_handoff_the_other_one_is_forced_and_each_only_once() -> None:
    play = Play(tool_choice="to_closer")
    play.answer(calling("to_closer"))
    play.do(HandOff, hand_off=AgentHandedOff("to_closer", "closer", SAID, "to_lead"))
    assert play.state.choice == "to_lead"
    play.check()
    play.answer(calling("to_lead"))
    play.do(HandOff, hand_off=AgentHandedOff("to_lead", "lead", SAID, "to_closer"))
    assert play.state.choice == "auto", "else two that hand off to each other never end"
    play.check()


def test_the_next_run_of_a_loop_goes_on_with_what_was_called() -> None:
    play = Play(tool_choice="look", callers=("lead",))
    assert play.state.choice == "auto"
    assert isinstance(play.answer(saying("done"), output=SAID)[-1], LoopEnded)
