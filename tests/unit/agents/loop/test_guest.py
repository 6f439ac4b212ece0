"""What a loop decides: every command in every state, without an event loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.agents.loop import facts as f
from agenticflow.agents.loop.facts import AskedCall, CallEnding
from agenticflow.agents.loop.guest import MAX_PROBLEMS, LoopGuest
from agenticflow.agents.loop.state import LoopState, restored
from agenticflow.agents.model.parts import pack_messages, user
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import TimersDue
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import CommandRefused, CorruptStore, InvariantError
from tests.unit.agents.loop.play import DRIVER, STREAM, Play, calling, saying, started

BROKEN = ErrorInfo("ModelUnavailable", "it is away")


def kinds(made: list[Fact]) -> list[str]:
    return [fact.event_type for fact in made]


# --- beginning ----------------------------------------------------------------------------------------------------------


def test_a_loop_begins_once_and_is_gone_on_with() -> None:
    play = Play()
    assert kinds(play.facts) == ["agent_loop_started"]
    assert (play.state.status, play.state.is_open, play.state.next_due) == ("RUNNING", True, None)
    assert play.begin(started()) == [], "the same attempt asks again"
    assert kinds(play.begin(started(), "1.2:life")) == ["agent_loop_taken_up"]
    assert play.state.driver == "1.2:life"


def test_a_loop_that_has_begun_is_taken_up_without_saying_how_it_begins() -> None:
    play = Play(is_started=False)
    command = f.StartLoop(now=play.now, driver="1.2:life")
    with pytest.raises(CommandRefused, match="has not begun"):
        play.take(command)
    play.begin(started())
    assert kinds(play.take(command)) == ["agent_loop_taken_up"]


def test_who_was_superseded_is_refused_whatever_it_asks() -> None:
    play = Play()
    play.begin(started(), "1.2:life")
    for command in every_command():
        with pytest.raises(CommandRefused, match=r"driven by '1.2:life' now"):
            play.take(command)


def test_a_loop_that_has_ended_refuses_everything() -> None:
    play = Play()
    play.do(f.EndLoop, error=BROKEN)
    assert play.state.status == "FAILED"
    assert play.state.error == BROKEN
    for command in (*every_command(), f.StartLoop(now=1, driver="2.1:x", start=started())):
        with pytest.raises(CommandRefused, match="has ended"):
            play.take(command)
    play.check()


def every_command(driver: str = DRIVER) -> list[f.LoopCommand]:
    common: dict[str, Any] = {"now": 1, "driver": driver}
    summary = f.ConversationCompacted(1, pack_messages([user("short")]))
    return [
        f.RecordAnswer(**common, turn=0, answer=saying("done")),
        f.JudgeAnswer(**common, output=b"\xa1x"),
        f.BeginCall(**common, call_id="a"),
        f.EndCall(**common, end=f.ToolCallEnded("a", codec.encode("x"))),
        f.HandOff(**common, hand_off=f.AgentHandedOff("a", "closer", codec.encode("close"))),
        f.GiveFeedback(**common, number=0, message=pack_messages([user("well")])),
        f.Compact(**common, compacted=summary),
        f.EndLoop(**common),
    ]


def test_words_of_others_are_bugs() -> None:
    class Other(Command, frozen=True):
        pass

    class Unheard(f.LoopCommand, frozen=True):
        pass

    class Strange(Fact, frozen=True):
        event_type = "strange"

    play = Play()
    for command in (Other(now=1), Unheard(now=1, driver=DRIVER)):
        with pytest.raises(InvariantError, match="does not know the command"):
            play.guest.decide(play.state, command)
    with pytest.raises(InvariantError, match="does not know the fact"):
        play.guest.evolve(play.state, Strange(), 2, 2)
    assert play.guest.decide(play.state, TimersDue(now=1)) == ()


# --- answers ------------------------------------------------------------------------------------------------------------


def test_an_answer_that_asks_for_nothing_ends_it() -> None:
    play = Play()
    made = play.answer(saying("done"), output=codec.encode("done"))
    assert kinds(made) == ["model_answered", "agent_loop_ended"]
    assert play.state.status == "COMPLETED"
    assert play.state.output == codec.encode("done")
    assert [message.text for message in play.messages] == ["do it", "done"]
    assert play.state.tokens == Usage(10, 5)
    play.check()


def test_an_answer_that_somebody_looks_at_first_waits_for_that() -> None:
    play = Play()
    with pytest.raises(CommandRefused, match="no answer to judge"):
        play.do(f.JudgeAnswer, output=b"\xa1x")
    assert kinds(play.answer(saying("done"))) == ["model_answered"]
    assert play.state.is_answered
    with pytest.raises(CommandRefused, match="waits for no answer"):
        play.answer(saying("again"))
    assert kinds(play.do(f.JudgeAnswer, output=codec.encode("done"))) == ["agent_loop_ended"]


def test_an_answer_is_recorded_once_also_when_it_is_told_twice() -> None:
    play = Play()
    play.answer(calling("a"))
    play.end("a")
    with pytest.raises(CommandRefused, match="waits for no answer"):
        play.do(f.RecordAnswer, turn=0, answer=saying("late"))
    play.answer(calling("b"))
    with pytest.raises(CommandRefused, match="waits for no answer"):
        play.answer(saying("before the call has ended"))


def test_an_answer_without_its_form_is_given_back_so_often() -> None:
    play = Play(max_repairs=2)
    for number in range(2):
        made = play.answer(saying("x"), problems=tuple(f"field {one} is missing" for one in range(30)))
        assert kinds(made) == ["model_answered", "agent_output_refused"]
        assert play.state.repairs == number + 1
    told = play.messages[-1].text
    assert "field 0 is missing" in told
    assert f"field {MAX_PROBLEMS} is missing" not in told
    play.check()
    made = play.answer(saying("x"), problems=("no",))
    assert kinds(made) == ["model_answered", "agent_loop_ended"]
    assert play.state.error is not None
    assert play.state.error.type == "ModelOutputInvalid"


def test_calls_between_repairs_begin_the_count_anew() -> None:
    play = Play(max_repairs=1)
    play.answer(saying("x"), problems=("no",))
    play.answer(calling("a"))
    play.end("a")
    assert play.state.repairs == 0
    assert kinds(play.answer(saying("x"), problems=("no",)))[-1] == "agent_output_refused"
    assert kinds(play.answer(saying("x"), problems=("no",)))[-1] == "agent_loop_ended"


def test_the_last_turn_is_over_when_its_calls_have_ended() -> None:
    play = Play(max_turns=1)
    assert kinds(play.answer(calling("a", "b"))) == ["model_answered"]
    assert kinds(play.end("a")) == ["tool_call_ended"]
    assert kinds(play.end("b")) == ["tool_call_ended", "agent_loop_ended"]
    assert play.state.error is not None
    assert play.state.error.type == "MaxTurnsExceeded"
    play.check()


def test_turns_of_an_earlier_run_count() -> None:
    play = Play(max_turns=3, turns=2)
    assert (play.state.turns, play.state.first_turns) == (2, 2)
    play.answer(calling("a"))
    assert kinds(play.end("a"))[-1] == "agent_loop_ended"


def test_the_last_answer_may_be_judged_and_given_back_no_more() -> None:
    play = Play(max_turns=1)
    assert kinds(play.answer(saying("x"))) == ["model_answered"]
    assert kinds(play.do(f.JudgeAnswer, problems=("no",))) == ["agent_output_refused", "agent_loop_ended"]
    assert play.state.error is not None
    assert play.state.error.type == "MaxTurnsExceeded"


# --- calls --------------------------------------------------------------------------------------------------------------


def test_results_go_in_together_in_the_order_of_the_calls() -> None:
    play = Play()
    play.answer(calling("a", "b", "c"))
    play.end("c", "3")
    play.end("a", "1", CallEnding.FAILED)
    assert len(play.messages) == 2
    assert [one.asked.call_id for one in play.state.open_calls] == ["b"]
    play.end("b", "2")
    assert play.results() == {"a": "1", "b": "2", "c": "3"}
    assert [part.is_error for part in play.results_told] == [True, False, False]
    assert (play.state.calls, play.state.calls_before) == ({}, 3)
    play.check()


def test_a_call_ends_once() -> None:
    play = Play()
    play.answer(calling("a", "b"))
    play.end("a", "first")
    assert play.end("a", "second") == []
    with pytest.raises(CommandRefused, match=r"'nobody' of .* is not open"):
        play.end("nobody")
    play.end("b")
    assert play.results()["a"] == "first"
    with pytest.raises(CommandRefused, match="is not open"):
        play.end("a", "third")


def test_what_cannot_be_called_has_its_result_with_the_answer() -> None:
    play = Play()
    made = play.answer(calling(AskedCall("a", "nothing", refusal="there is no tool"), "b"))
    assert kinds(made) == ["model_answered", "tool_call_ended"]
    play.end("b")
    assert play.results() == {"a": "there is no tool", "b": "fine"}


def test_the_start_of_a_call_is_recorded_once_and_not_after_its_end() -> None:
    play = Play()
    play.answer(calling("a", "b"))
    assert kinds(play.do(f.BeginCall, call_id="a", approved_by="ada")) == ["tool_call_started"]
    assert play.do(f.BeginCall, call_id="a") == []
    play.end("a")
    with pytest.raises(CommandRefused, match="is not open"):
        play.do(f.BeginCall, call_id="a")


def test_whoever_takes_up_a_loop_makes_nothing_twice_that_must_not_happen_twice() -> None:
    play = Play()
    once = [AskedCall(name, "pay", is_at_most_once=True) for name in ("begun", "not begun", "done")]
    play.answer(calling(*once, "free"))
    for name in ("begun", "done"):
        play.do(f.BeginCall, call_id=name)
    play.end("done")
    assert kinds(play.begin(started(), "1.1:next")) == ["agent_loop_taken_up", "tool_call_ended"]
    assert [one.asked.call_id for one in play.state.open_calls] == ["not begun", "free"]
    for name in ("not begun", "free"):
        play.do(f.EndCall, driver="1.1:next", end=f.ToolCallEnded(name, codec.encode("fine")))
    assert "Nobody can say whether it has happened" in play.results()["begun"]
    play.check()


def test_who_gives_up_interrupts_what_is_open() -> None:
    play = Play()
    play.answer(calling(AskedCall("a", "pay", is_at_most_once=True), "b", "c"))
    play.do(f.BeginCall, call_id="a")
    play.end("c")
    made = play.do(f.EndLoop, error=ErrorInfo("TaskCancelled", "told to stop"), is_cancelled=True)
    assert kinds(made) == ["tool_call_ended", "tool_call_ended", "agent_loop_ended"]
    assert play.state.status == "CANCELLED"
    results = play.results()
    assert "Nobody can say" in results["a"]
    assert "may be made again" in results["b"]
    assert results["c"] == "fine"
    play.check()


def test_who_gives_up_says_how_calls_ended_as_far_as_that_is_known() -> None:
    play = Play()
    play.answer(calling(AskedCall("a", "pay", is_at_most_once=True), "b"))
    play.do(f.BeginCall, call_id="a")
    known = f.ToolCallEnded("a", codec.encode("it was made"), CallEnding.FAILED)
    play.do(f.EndLoop, error=BROKEN, ends=(known, f.ToolCallEnded("gone", codec.encode("?"))))
    assert play.results()["a"] == "it was made"
    assert "may be made again" in play.results()["b"]
    play.check()


@pytest.mark.parametrize("ending", [one for one in CallEnding if one is not CallEnding.HANDED_OFF])
def test_the_model_is_told_of_every_ending(ending: CallEnding) -> None:
    play = Play()
    play.answer(calling("a"))
    play.end("a", "so it is", ending)
    (part,) = play.results_told
    assert (part.content, part.is_error) == ("so it is", ending is not CallEnding.SUCCEEDED)
    assert f.ToolCallEnded("a", b"", ending).is_error == part.is_error


# --- the same again and again -------------------------------------------------------------------------------------------


def test_equal_calls_are_made_so_often_then_told_then_the_end() -> None:
    play = Play(max_turns=100, max_equal_calls=2)
    for number in range(2):
        play.answer(calling(AskedCall(f"a{number}", "look", digest="same")))
        play.end(f"a{number}")
    told = play.answer(calling(AskedCall("a2", "look", digest="same")))
    assert kinds(told) == ["model_answered", "tool_call_ended"]
    assert "exactly this 2 times in a row" in play.results()["a2"]
    made = play.answer(calling(AskedCall("a3", "look", digest="same"), AskedCall("b", "look", digest="same")))
    assert kinds(made) == ["model_answered"], "two of them are something else"
    play.end("a3")
    play.end("b")
    last: list[Fact] = []
    for number in range(4, 8):
        last = play.answer(calling(AskedCall(f"a{number}", "look", digest="same")))
        if number < 6:
            play.end(f"a{number}")
    assert kinds(last) == ["model_answered", "tool_call_ended", "agent_loop_ended"]
    assert play.state.error is not None
    assert play.state.error.type == "AgentLooped"
    assert "interrupted" in play.results()["a7"]
    play.check()


def test_the_order_of_equal_calls_does_not_matter_and_others_begin_the_count_anew() -> None:
    play = Play(max_turns=100, max_equal_calls=1)
    one, other = AskedCall("a", "look", digest="x"), AskedCall("b", "look", digest="y")
    play.answer(calling(one, other))
    play.end("a")
    play.end("b")
    again = AskedCall("c", "look", digest="y"), AskedCall("d", "look", digest="x")
    assert kinds(play.answer(calling(*again))) == ["model_answered", "tool_call_ended", "tool_call_ended"]
    assert kinds(play.answer(calling(AskedCall("e", "look", digest="z")))) == ["model_answered"]
    play.end("e")
    assert play.state.repeated[1] == 1


# --- handing off --------------------------------------------------------------------------------------------------------


def test_another_agent_goes_on_with_the_conversation() -> None:
    play = Play()
    play.answer(calling("transfer_to_closer", "look"))
    play.end("look")
    made = play.do(f.HandOff, hand_off=f.AgentHandedOff("transfer_to_closer", "closer", codec.encode("Close.")))
    assert kinds(made) == ["agent_handed_off"]
    assert (play.state.agent, play.state.instructions) == ("closer", codec.encode("Close."))
    assert "'closer' goes on" in play.results()["transfer_to_closer"]
    assert play.guest.summary(play.state).name == "closer"
    with pytest.raises(CommandRefused, match="is not open"):
        play.do(f.HandOff, hand_off=f.AgentHandedOff("transfer_to_closer", "closer", codec.encode("Close.")))
    play.check()


# --- people -------------------------------------------------------------------------------------------------------------


def test_feedback_goes_in_once_and_never_between_calls_and_results() -> None:
    play = Play()
    play.answer(calling("a"))
    with pytest.raises(CommandRefused, match=r"calls of .* are open"):
        play.do(f.GiveFeedback, number=0, message=pack_messages([user("ada says: faster")]))
    play.end("a")
    assert kinds(play.do(f.GiveFeedback, number=0, message=pack_messages([user("ada says: faster")]))) == [
        "feedback_taken"
    ]
    assert play.do(f.GiveFeedback, number=0, message=pack_messages([user("ada says: faster")])) == []
    assert play.messages[-1].text == "ada says: faster"


def test_an_answer_that_feedback_meets_is_no_answer_any_more() -> None:
    play = Play()
    play.answer(saying("done"))
    play.do(f.GiveFeedback, number=3, message=pack_messages([user("ada says: not yet")]))
    assert not play.state.is_answered
    assert kinds(play.answer(saying("now"), output=codec.encode("now")))[-1] == "agent_loop_ended"
    play.check()


# --- summaries ----------------------------------------------------------------------------------------------------------


def test_a_summary_stands_for_the_oldest_entries_and_parts_no_call_from_its_result() -> None:
    play = Play(asked_from=0, kept_from=0)
    for name in "abcd":
        play.answer(calling(name))
        play.end(name)
    summary = pack_messages([user("it was done")])

    def compact(entries: int) -> list[Fact]:
        return play.do(
            f.Compact,
            compacted=f.ConversationCompacted(entries, summary, "scripted:m", Usage(7, 3)),
        )

    for entries in (0, 2, 9, 20):  # nothing; between a call and its result; everything; more than there is
        with pytest.raises(CommandRefused, match="a summary cannot stand for"):
            compact(entries)
    assert kinds(compact(5)) == ["conversation_compacted"]
    assert [message.text for message in play.messages][:1] == ["it was done"]
    assert list(play.results()) == ["c", "d"]
    assert (play.state.left_out, play.state.summaries, play.state.tokens) == (5, 1, Usage(47, 23))
    play.check()
    compact(3)
    assert (play.state.left_out, list(play.results())) == (8, ["d"])
    play.answer(calling("e"))
    with pytest.raises(CommandRefused, match="are open"):
        compact(1)
    play.check()


def test_a_summary_stands_for_a_part_of_what_the_loop_began_with() -> None:
    play = Play(asked_from=0, kept_from=0)
    left = pack_messages([user("it was done"), user("do it")])
    play.do(f.Compact, compacted=f.ConversationCompacted(1, left, asked_from=1, kept_from=1))
    assert [message.text for message in play.messages] == ["it was done", "do it"]
    assert (play.state.asked_from, play.state.kept_from, play.state.left_out) == (1, 1, 1)
    play.answer(calling("a"))
    play.end("a")
    play.check()


# --- usage --------------------------------------------------------------------------------------------------------------


def test_tokens_are_counted_by_model_with_those_of_attempts_that_broke_off() -> None:
    play = Play()
    play.answer(calling("a", usage=None))
    assert (play.state.tokens, play.state.last_used) == (Usage(), ("scripted:m", None))
    play.end("a")
    play.answer(calling("b", usage=Usage(3, 1), lost_usage=Usage(2, 0), model="other:m"))
    assert play.state.last_used == ("other:m", Usage(5, 1))
    play.end("b")
    play.answer(calling("c", usage=None, lost_usage=Usage(4, 0)))
    assert play.state.usage == {"other:m": Usage(5, 1), "scripted:m": Usage(4, 0)}
    assert play.state.finish_reason is FinishReason.TOOL_CALLS


# --- what the engine asks -----------------------------------------------------------------------------------------------


def test_nothing_of_a_loop_is_performed_by_the_engine() -> None:
    play = Play()
    guest = play.guest
    assert guest.kind == "loop"
    assert guest.codec is f.LOOP_FACTS
    assert guest.effects(play.state, play.facts[0], 1) == ()
    recovery = guest.recover(play.state, 5)
    assert (tuple(recovery.effects), tuple(recovery.commands)) == ((), ())
    assert guest.is_in_work(play.state, 1) is False
    with pytest.raises(InvariantError, match="has no tasks"):
        guest.inputs(play.state, "x")


def test_the_index_says_how_it_stands() -> None:
    play = Play(parent=("workflow-w/1", "ask"))
    row = play.guest.summary(play.state)
    assert (row.execution_id, row.run_no, row.name, row.status, row.is_open) == ("abc", 1, "lead", "RUNNING", True)
    play.do(f.EndLoop)
    row = play.guest.summary(play.state)
    assert (row.status, row.is_open, row.ended_at) == ("COMPLETED", False, play.state.ended_at)
    assert play.state.parent == ("workflow-w/1", "ask")


def test_snapshots_that_cannot_be_read_say_so() -> None:
    with pytest.raises(CorruptStore, match="cannot be read"):
        restored(STREAM, b"nothing")
    play = Play()
    snapshot = play.guest.snapshot(play.state)
    fields = codec.decode(snapshot)
    assert isinstance(fields, dict)
    later = codec.encode({**fields, "form": 2})
    with pytest.raises(CorruptStore, match="form 2"):
        restored(STREAM, later)


# --- whatever happens ---------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d", "e", "f")
Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "answer",
                "call",
                "call",
                "end",
                "end",
                "begin",
                "judge",
                "hand",
                "feed",
                "short",
                "take",
                "stop",
                "problems",
            )
        ),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=40,
)


def play_step(play: Play, step: Step, number: int) -> None:
    """Do what a driver might, also at a wrong moment; a refusal changes nothing."""
    what, one, other = step
    state = play.state
    driver = state.driver
    names = [*state.calls] or ["none"]
    name = names[one % len(names)]
    before = play.guest.snapshot(state)
    common: dict[str, Any] = {"driver": driver}
    try:
        match what:
            case "answer":
                play.do(f.RecordAnswer, **common, turn=state.turns, answer=saying("done"))
            case "problems":
                play.do(f.RecordAnswer, **common, turn=state.turns, answer=saying("done"), problems=("no",))
            case "call":
                calls = [
                    AskedCall(
                        f"{number}-{place}",
                        "look",
                        digest=str(other),
                        is_at_most_once=place == 1,
                        refusal="no" if place == 2 else "",
                    )
                    for place in range(one + 1)
                ]
                play.do(f.RecordAnswer, **common, turn=state.turns, answer=calling(*calls))
            case "end":
                play.do(f.EndCall, **common, end=f.ToolCallEnded(name, codec.encode("x"), CallEnding.FAILED))
            case "begin":
                play.do(f.BeginCall, **common, call_id=name)
            case "judge":
                play.do(f.JudgeAnswer, **common, problems=("no",) if one else (), output=codec.encode("x"))
            case "hand":
                play.do(f.HandOff, **common, hand_off=f.AgentHandedOff(name, "closer", codec.encode("close")))
            case "feed":
                play.do(f.GiveFeedback, **common, number=one, message=pack_messages([user("well")]))
            case "short":
                summary = f.ConversationCompacted(one, pack_messages([user("short")]))
                play.do(f.Compact, **common, compacted=summary)
            case "take":
                play.begin(started(), f"1.{one}:x")
            case _:
                play.do(f.EndLoop, **common, error=BROKEN if other else None)
    except CommandRefused:
        assert play.guest.snapshot(play.state) == before


@settings(max_examples=60)
@given(steps, st.integers(1, 12), st.integers(0, 2), st.integers(1, 3))
def test_whatever_is_asked_each_call_has_one_result_and_providers_take_the_conversation(
    asked: list[Step], max_turns: int, max_repairs: int, max_equal_calls: int
) -> None:
    play = Play(max_turns=max_turns, max_repairs=max_repairs, max_equal_calls=max_equal_calls)
    for number, step in enumerate(asked):
        play_step(play, step, number)
        play.check()
    ended = [fact.call_id for fact in play.facts if isinstance(fact, f.ToolCallEnded | f.AgentHandedOff)]
    wanted = [call.call_id for fact in play.facts if isinstance(fact, f.ModelAnswered) for call in fact.calls]
    still_open = [call.asked.call_id for call in play.state.open_calls]
    assert sorted(ended + still_open) == sorted(wanted)
    assert play.state.turns <= max_turns
    assert not (still_open and not play.state.is_open)


def test_the_guest_holds_nothing() -> None:
    assert isinstance(LoopGuest().initial(STREAM), LoopState)


def test_it_says_what_it_waits_for() -> None:
    play = Play(max_turns=3)
    assert play.state.doing == "'lead' waits for its model (turn 1 of 3)"
    play.answer(calling("a", "b", "c", "d", "e", "f", "g"))
    play.end("b")
    assert play.state.doing == "'lead' calls a, c, d, e, f and 1 more (turn 1 of 3)"
    for name in "acdefg":
        play.end(name)
    play.answer(saying("well"))
    assert play.state.doing == "the answer of 'lead' is looked at (turn 2 of 3)"
    play.do(f.JudgeAnswer, output=codec.encode("well"))
    assert play.state.doing == ""
