"""However an answer is cut into pieces, they fold to the same answer, or to an error; never to half of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.model import (
    Delta,
    FinishReason,
    ModelResponse,
    ReasoningDelta,
    ReasoningPart,
    ResponseBegan,
    ResponseFinished,
    ResponseFold,
    ResponseRestarted,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageTold,
    deltas_of,
    fold,
    fold_stream,
)
from agenticflow.agents.model.deltas import MAX_RESPONSE_PARTS
from agenticflow.errors import BoundExceeded, ModelAnswerGarbled, ModelStreamCut
from tests.unit.agents.model.conversations import responses

END = ResponseFinished(FinishReason.STOP)
BEGAN = ResponseBegan("openai", "gpt", "r1")


@given(responses(), st.integers(0, 5))
def test_an_answer_in_pieces_of_any_size_folds_to_itself(response: ModelResponse, piece_chars: int) -> None:
    assert fold(deltas_of(response, piece_chars=piece_chars)) == response


@given(responses(), st.data())
def test_an_answer_cut_anywhere_and_told_in_turns_folds_to_itself(response: ModelResponse, data: st.DataObject) -> None:
    """Pieces of different parts may come in any order, as long as those of one part keep theirs."""
    whole = list(deltas_of(response, piece_chars=data.draw(st.integers(1, 4))))
    lanes: dict[int, list[Delta]] = {}
    for delta in whole:
        if isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta):
            lanes.setdefault(delta.index, []).append(delta)
            if data.draw(st.booleans()):  # some send empty pieces
                lanes[delta.index].append(type(delta)(delta.index))
    mixed: list[Delta] = []
    while lanes:
        lane = data.draw(st.sampled_from(sorted(lanes)))
        mixed.append(lanes[lane].pop(0))
        if not lanes[lane]:
            del lanes[lane]
    others = [delta for delta in whole if isinstance(delta, ResponseBegan | UsageTold | ResponseFinished)]
    assert fold([others[0], *mixed, *others[1:]]) == response


@given(responses())
def test_deltas_are_plain_data(response: ModelResponse) -> None:
    deltas = list(deltas_of(response, piece_chars=3))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(deltas), type=list[Delta]) == deltas


@given(responses(), st.integers(1, 4), st.data())
def test_what_ends_before_its_end_is_cut(response: ModelResponse, piece_chars: int, data: st.DataObject) -> None:
    whole = list(deltas_of(response, piece_chars=piece_chars))
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ModelStreamCut, match="ended in the middle"):
        fold(whole[:kept])


def test_an_answer_of_every_kind_of_part() -> None:
    response = ModelResponse(
        parts=(
            ReasoningPart("Hm.", "c2ln", provider="openai"),
            ReasoningPart(sealed="c2VhbGVk", provider="openai"),
            TextPart("Let me see."),
            ToolCallPart("c1", "look", {"at": [1, "ü"]}),
            ToolCallPart("c2", "look", malformed='{"at'),
        ),
        finish_reason=FinishReason.TOOL_CALLS,
        usage=Usage(10, 5),
        provider="openai",
        model="gpt",
        response_id="r1",
    )
    for piece_chars in (0, 1, 2, 100):
        assert fold(deltas_of(response, piece_chars=piece_chars)) == response
    assert (response.text, response.reasoning) == ("Let me see.", "Hm.")
    assert [call.call_id for call in response.tool_calls] == ["c1", "c2"]
    assert response.message.tool_calls == response.tool_calls


def test_an_answer_without_its_end_is_cut() -> None:
    bare = ModelResponse(parts=(ReasoningPart("Hm."), TextPart("a")), finish_reason=FinishReason.STOP)
    whole = list(deltas_of(bare))
    assert fold(whole) == bare
    for kept in range(len(whole)):
        with pytest.raises(ModelStreamCut, match="ended in the middle") as caught:
            fold(whole[:kept])
        assert "it may be asked for again" in caught.value.hint


def test_usage_is_counted_to_the_last_word_of_it() -> None:
    told: list[Delta] = [BEGAN, UsageTold(Usage(10, 1)), TextDelta(0, "a"), END, UsageTold(Usage(10, 7))]
    response = fold(told)
    assert response.usage == Usage(10, 7)
    assert response.usage.total_tokens == 17
    assert fold([BEGAN, END]).usage is None


def test_what_was_said_before_a_restart_is_forgotten_and_what_it_used_is_not() -> None:
    lost: list[Delta] = [BEGAN, UsageTold(Usage(10, 1)), TextDelta(0, "half an"), ResponseRestarted("cut")]
    response = fold([*lost, *lost, ResponseRestarted("rate"), BEGAN, TextDelta(0, "whole"), END])
    assert (response.text, response.attempts) == ("whole", 4)
    assert (response.usage, response.lost_usage) == (None, Usage(20, 2))


def test_parts_stand_in_the_order_of_their_indexes_and_empty_ones_are_none() -> None:
    told: list[Delta] = [TextDelta(7, "b"), TextDelta(2, "a"), TextDelta(4, ""), ReasoningDelta(5), END]
    assert fold(told).parts == (TextPart("a"), TextPart("b"))


def test_a_character_cut_in_two_is_whole_again() -> None:
    assert fold([TextDelta(0, "\ud83d"), TextDelta(0, "\ude00"), END]).text == "😀"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([TextDelta(0, "a"), ReasoningDelta(0, "b")], "part 0 of an answer changed its kind"),
        ([END, TextDelta(0, "a")], "went on after its end"),
        ([END, END], "ended twice"),
        ([ToolCallDelta(0, "c1", arguments="{}"), END], "a tool call came without a name"),
        ([ToolCallDelta(0, name="look"), END], "a tool call came without an id"),
    ],
)
def test_what_makes_no_sense_is_told(told: list[Delta], words: str) -> None:
    with pytest.raises(ModelAnswerGarbled, match=words):
        fold(told)


def test_an_answer_is_bounded() -> None:
    small = ResponseFold(max_chars=4)
    small.add(TextDelta(0, "1234"))
    assert not small.is_finished
    with pytest.raises(BoundExceeded, match="more than 4 characters"):
        small.add(ReasoningDelta(1, signature="5"))
    many = ResponseFold()
    for index in range(MAX_RESPONSE_PARTS):
        many.add(TextDelta(index, ""))
    with pytest.raises(BoundExceeded, match="more than 1,000 parts"):
        many.add(TextDelta(MAX_RESPONSE_PARTS, ""))
    many.add(END)
    assert many.is_finished


async def test_a_stream_is_folded_as_it_comes() -> None:
    async def stream() -> AsyncIterator[Delta]:
        for delta in (BEGAN, TextDelta(0, "a"), END):
            yield delta

    assert (await fold_stream(stream())).text == "a"
