"""What a model says arrives as it was said."""

from __future__ import annotations

import asyncio
from typing import Final

from agenticflow.agents.model.deltas import (
    Delta,
    ReasoningDelta,
    ResponseBegan,
    ResponseFinished,
    TextDelta,
    ToolCallDelta,
    UsageTold,
    fold,
)
from agenticflow.agents.model.parts import ReasoningPart, TextPart, ToolCallPart
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.responses import FinishReason, ModelResponse
from agenticflow.testing.model_kit.place import ASKED, ModelPlace, Says, said

__all__ = ["AnsweringCases"]

ODD: Final = 'Ünïcode 文書 👩‍🔬 "quoted" \\ / \n\t{"json": [1]} data: [DONE]\n\nevent: x'


async def spoken(model: Model) -> list[Delta]:
    """Return everything that ``model`` says."""
    return [delta async for delta in model.stream(ASKED)]


class AnsweringCases(ModelPlace):
    """Words, tool calls, reasoning, usage, and why it stopped."""

    async def test_words_come_whole_with_who_said_them_and_what_it_took(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("Sunny, 24 °C."))) as served:
            response = await served.model.respond(ASKED)
            assert response.text == "Sunny, 24 °C."
            assert response.finish_reason is FinishReason.STOP
            assert response.provider == served.model.provider
            assert response.model
            assert response.response_id
            assert response.attempts == 1
            assert response.usage is not None
            assert (response.usage.input_tokens, response.usage.output_tokens) == (12, 7)
            assert response.usage.cached_input_tokens == 3

    async def test_characters_of_all_kinds_come_through(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said(ODD))) as served:
            assert (await served.model.respond(ASKED)).text == ODD

    async def test_a_stream_begins_once_ends_once_and_tells_only_usage_after_it(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("one two three"))) as served:
            deltas = await spoken(served.model)
            assert isinstance(deltas[0], ResponseBegan)
            assert sum(isinstance(delta, ResponseBegan) for delta in deltas) == 1
            ends = [index for index, delta in enumerate(deltas) if isinstance(delta, ResponseFinished)]
            assert len(ends) == 1
            assert all(isinstance(delta, UsageTold) for delta in deltas[ends[0] + 1 :])
            assert fold(deltas).text == "one two three"

    async def test_a_long_answer_comes_in_pieces(self) -> None:
        self.need(self.has_pieces_of_text, "its answers come whole")
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("word " * 100))) as served:
            pieces = [delta for delta in await spoken(served.model) if isinstance(delta, TextDelta)]
            assert len(pieces) > 10
            assert "".join(piece.text for piece in pieces) == "word " * 100

    async def test_tool_calls_come_with_ids_names_and_decoded_arguments(self) -> None:
        calls = (
            ToolCallPart("call_1", "search", {"query": ODD, "limit": 3, "deep": {"list": [1, 2.5, None, True]}}),
            ToolCallPart("call_2", "search", {"query": "again"}),
            ToolCallPart("call_3", "weather", {}),
        )
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("Let me see.", *calls))) as served:
            response = await served.model.respond(ASKED)
            assert response.tool_calls == calls
            assert response.parts[0] == TextPart("Let me see.")
            assert response.finish_reason is FinishReason.TOOL_CALLS

    async def test_a_tool_call_begins_with_its_id_and_its_name(self) -> None:
        call = ToolCallPart("call_1", "search", {"query": "x" * 50})
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said(call))) as served:
            first = next(delta for delta in await spoken(served.model) if isinstance(delta, ToolCallDelta))
            assert (first.call_id, first.name) == ("call_1", "search")

    async def test_arguments_that_are_no_json_are_kept_as_they_were_written(self) -> None:
        self.need(self.is_streaming, "whole answers have decoded arguments in some formats")
        call = ToolCallPart("call_1", "search", malformed='{"query": "x')
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said(call))) as served:
            response = await served.model.respond(ASKED)
            assert response.tool_calls == (call,)
            assert response.tool_calls[0].is_malformed

    async def test_it_says_why_it_stopped(self) -> None:
        reasons = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
        answers = [Says(said("so far", reason=reason)) for reason in reasons]
        async with asyncio.timeout(self.patience_seconds), self.serving(*answers) as served:
            assert [(await served.model.respond(ASKED)).finish_reason for _ in reasons] == list(reasons)

    async def test_an_answer_may_be_empty(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said())) as served:
            response = await served.model.respond(ASKED)
            assert (response.parts, response.finish_reason) == ((), FinishReason.STOP)

    async def test_reasoning_is_a_part_of_its_own_and_none_of_the_words(self) -> None:
        self.need(self.has_reasoning, "it does not tell its reasoning")
        signature = "c2lnbmVk" if self.has_signatures else ""
        response = ModelResponse(
            parts=(ReasoningPart("Hm, let me think.", signature), TextPart("42")), finish_reason=FinishReason.STOP
        )
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(response)) as served:
            deltas = await spoken(served.model)
            assert any(isinstance(delta, ReasoningDelta) for delta in deltas)
            answer = fold(deltas)
            assert (answer.text, answer.reasoning) == ("42", "Hm, let me think.")
            thought = answer.parts[0]
            assert isinstance(thought, ReasoningPart)
            assert (thought.signature, thought.provider) == (signature, served.model.provider)

    async def test_answers_to_many_who_ask_at_once_are_not_mixed_up(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("the same for all"))) as served:
            answers = await asyncio.gather(*(served.model.respond(ASKED) for _ in range(20)))
            assert {answer.text for answer in answers} == {"the same for all"}
            assert len(served.seen) == 20
