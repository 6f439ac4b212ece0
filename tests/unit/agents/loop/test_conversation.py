"""The messages of a loop: out of entries, kept decoded, cut where no result loses its call; and what a summary is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.loop import facts as f
from agenticflow.agents.loop.conversation import Conversation, cut_for_summary, cut_of_first, messages_in, unique_calls
from agenticflow.agents.loop.facts import CallEnding
from agenticflow.agents.loop.state import CallResult, Entry, Results, Said
from agenticflow.agents.loop.summaries import (
    MAX_CHARS,
    MAX_RESULT_CHARS,
    SUMMARY_SYSTEM,
    summary_message,
    transcript,
)
from agenticflow.agents.model.parts import (
    ImagePart,
    Message,
    ReasoningPart,
    ToolCallPart,
    ToolResultPart,
    assistant,
    pack_messages,
    system,
    tool_results,
    user,
)
from agenticflow.core import codec
from agenticflow.core.values import BlobMissing, Values, store_form
from agenticflow.errors import CorruptStore
from tests.unit.agents.loop.play import Play, calling, saying

PICTURE = ImagePart(b"x", "image/png")


def as_it_is(data: bytes) -> bytes:
    return data


# --- messages -----------------------------------------------------------------------------------------------------------


def test_entries_are_messages() -> None:
    said = Said(pack_messages([user("a"), assistant("b")]))
    assert [message.text for message in messages_in(said, as_it_is)] == ["a", "b"]
    results = Results((CallResult("1", codec.encode("x"), False), CallResult("2", codec.encode("y"), True)))
    assert messages_in(results, as_it_is) == (
        tool_results(ToolResultPart("1", "x"), ToolResultPart("2", "y", is_error=True)),
    )


def test_a_result_that_is_no_text_is_damage() -> None:
    with pytest.raises(CorruptStore, match="is a int, not a text"):
        messages_in(Results((CallResult("1", codec.encode(5), False),)), as_it_is)


def test_only_what_is_new_is_decoded() -> None:
    play = Play()
    said = Conversation()
    first = said.of(play.state)
    assert [message.text for message in first] == ["do it"]
    play.answer(calling("a", text="let me look"))
    play.end("a", "12345")
    assert said.of(play.state) is first
    assert len(first) == 3
    assert said.chars == len("do it") + len("let me look") + len("a") + len("12345")
    assert [message.text for message in said.first(1)] == ["do it"]
    assert len(said.first(2)) == 2


def test_after_a_summary_it_begins_anew() -> None:
    play = Play()
    said = Conversation()
    for name in "abcd":
        play.answer(calling(name))
        play.end(name)
    assert len(said.of(play.state)) == 9
    summary = f.ConversationCompacted(5, pack_messages([user("short")]))
    play.do(f.Compact, compacted=summary)
    assert said.of(play.state) == Conversation().of(play.state)
    assert said.chars == len("short") + 2 * len("cfine")


def test_a_shorter_conversation_of_another_run_is_read_anew() -> None:
    long, short = Play(), Play()
    long.answer(calling("a"))
    said = Conversation()
    said.of(long.state)
    assert said.of(short.state) == Conversation().of(short.state)


def test_large_values_are_asked_for_and_it_goes_on_where_it_was() -> None:
    play = Play()
    play.answer(calling("a"))
    content, (blob,) = store_form(codec.encode("x" * 100_000))
    play.do(f.EndCall, end=f.ToolCallEnded("a", content, CallEnding.SUCCEEDED))
    said = Conversation()
    values = play.state.values = Values()
    with values.gathering():
        with pytest.raises(BlobMissing):
            said.of(play.state)
        values.put(*blob)
        assert len(said.of(play.state)) == 3
    assert said.chars > 100_000


def test_everything_in_a_message_has_a_length() -> None:
    play = Play(
        messages=pack_messages(
            [
                user("ab", PICTURE),
                assistant(ReasoningPart("abc"), ToolCallPart("1", "look", {"a": "xy", "b": 12}, malformed="")),
                tool_results(ToolResultPart("1", "four")),
                assistant(ToolCallPart("2", "look", malformed="{")),
                tool_results(ToolResultPart("2", "")),
            ]
        )
    )
    said = Conversation()
    said.of(play.state)
    assert said.chars == 2 + 4_000 + 3 + (4 + 2 + 2) + 4 + (4 + 1)


# --- ids of calls -------------------------------------------------------------------------------------------------------


def test_an_answer_whose_calls_have_ids_of_their_own_is_left_alone() -> None:
    message = assistant("let me see", ToolCallPart("1", "a"), ToolCallPart("2", "b"))
    assert unique_calls(message, 3, {"0"}) is message


def test_ids_that_were_used_before_or_twice_are_changed() -> None:
    message = assistant("x", ToolCallPart("1", "a"), ToolCallPart("2", "b"), ToolCallPart("2", "c", {"k": 1}))
    made = unique_calls(message, 3, set(), {"1"})
    assert [call.call_id for call in made.tool_calls] == ["1-3-1", "2", "2-3-3"]
    assert made.text == "x"
    assert made.tool_calls[2].arguments == {"k": 1}
    assert unique_calls(message, 3, set(), {"1"}) == made, "the same whenever it is asked"


@given(st.lists(st.sampled_from(["a", "b", "a-1-0", "a-1-1", "a-1-2", ""]), max_size=8), st.sets(st.sampled_from("ab")))
def test_no_two_calls_are_ever_called_alike(ids: list[str], used: set[str]) -> None:
    message = assistant(*(ToolCallPart(one, "t") for one in ids))
    made = [call.call_id for call in unique_calls(message, 1, used).tool_calls]
    assert len(set(made)) == len(made)
    assert not set(made) & used


# --- where it may be cut ------------------------------------------------------------------------------------------------

SAID = Said(b"")
RESULTS = Results(())


def test_too_little_is_not_summarized() -> None:
    assert cut_for_summary([SAID] * 6) == 0
    assert cut_for_summary([SAID] * 7) == 0, "one message instead of one message"
    assert cut_for_summary([SAID] * 8) == 2
    assert cut_for_summary([SAID, SAID, RESULTS], kept=1) == 0
    assert cut_for_summary([]) == 0


@given(st.lists(st.sampled_from([SAID, RESULTS]), max_size=20), st.integers(1, 8))
def test_what_is_kept_begins_with_something_that_was_said(entries: list[Entry], kept: int) -> None:
    cut = cut_for_summary(entries, kept)
    if cut:
        assert isinstance(entries[cut], Said)
        assert 1 < cut <= len(entries) - kept


# --- summaries ----------------------------------------------------------------------------------------------------------


def test_a_transcript_says_who_said_what() -> None:
    messages: list[Message] = [
        system("be good"),
        user("look", PICTURE),
        assistant(
            ReasoningPart("hm"),
            "I look",
            ToolCallPart("1", "see", {"at": "it"}),
            ToolCallPart("2", "see", malformed="{a"),
        ),
        tool_results(ToolResultPart("1", "x" * (MAX_RESULT_CHARS + 1)), ToolResultPart("2", "y")),
    ]
    lines = transcript(messages).split("\n")
    assert lines == [
        "system: be good",
        "user: look",
        "assistant: I look",
        'assistant calls see({"at":"it"})',
        "assistant calls see({a)",
        f"result: {'x' * MAX_RESULT_CHARS} …",
        "result: y",
    ]


def test_of_a_very_long_one_the_newest_is_kept() -> None:
    text = transcript([user("a" * MAX_CHARS), user("the end")])
    assert text.startswith("…a")
    assert text.endswith("user: the end")
    assert len(text) == MAX_CHARS + 1


def test_what_stands_for_it() -> None:
    assert summary_message(" they met \n").text == "(The conversation so far was summarized:)\nthey met"
    assert "nothing of it is needed" in summary_message("  ").text
    assert "data" in SUMMARY_SYSTEM


def test_a_conversation_is_said_as_it_was() -> None:
    play = Play()
    play.answer(saying("done"), output=codec.encode("done"))
    assert [message.role.value for message in play.messages] == ["user", "assistant"]


def test_of_what_a_loop_began_with_a_summary_stands_for_what_was_before_or_for_all_but_the_newest() -> None:
    many = [user(str(number)) for number in range(10)]
    assert cut_of_first(many, 9) == 9
    assert cut_of_first(many, 1) == 1
    assert cut_of_first(many[:3], 5) == 3
    assert cut_of_first([summary_message("x"), *many], 1) == 5, "there was nothing before but a summary"
    assert cut_of_first([summary_message("x"), user("go")], 1) == 0
    assert cut_of_first(many, 0) == 4
    assert cut_of_first(many[:7], 0) == 0, "one message instead of one message"
    calling = [assistant(ToolCallPart("a", "look")), tool_results(ToolResultPart("a", "fine"))]
    assert cut_of_first([*many[:3], *calling, *many[:5]], 0, kept=6) == 3, "no result loses its call"
    assert cut_of_first([*calling, *many[:5]], 0, kept=6) == 0
