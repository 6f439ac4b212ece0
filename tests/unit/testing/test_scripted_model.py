"""The scripted model says what it was told to, as a real one would, and the switch keeps real ones silent."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.agents.model import (
    Delta,
    FinishReason,
    ModelRequest,
    ModelResponse,
    ReasoningPart,
    ResponseFinished,
    TextDelta,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    assistant,
    fold,
    permission,
    tool_results,
    user,
)
from agenticflow.errors import DefinitionError, InvalidInput, ModelCallsForbidden, ModelRateLimited, ModelStreamCut
from agenticflow.testing import BrokenOff, ScriptedModel, allow_model_calls, call_tool, forbid_model_calls
from agenticflow.testing.scripted_model import MAX_REMEMBERED, Answer
from tests.unit.runtime.engine import in_virtual_time

ASKED = ModelRequest(messages=(user("hello"),))


async def test_answers_are_said_one_after_the_other() -> None:
    model = ScriptedModel(["one", call_tool("search", query="x"), ["two", call_tool("search"), call_tool("look")]])
    first, second, third = [await model.respond(ASKED) for _ in range(3)]
    assert (first.text, first.finish_reason) == ("one", FinishReason.STOP)
    assert second.tool_calls == (ToolCallPart("call-1", "search", {"query": "x"}),)
    assert second.finish_reason is FinishReason.TOOL_CALLS
    assert [part.call_id for part in third.tool_calls] == ["call-2", "call-3"]
    assert len({response.response_id for response in (first, second, third)}) == 3
    assert (model.asked, list(model.requests)) == (3, [ASKED] * 3)


async def test_a_script_that_is_over_says_so() -> None:
    model = ScriptedModel(["only"], name="parrot")
    await model.respond(ASKED)
    with pytest.raises(InvalidInput, match="'scripted:parrot' has 1 answers, and it was asked once more"):
        await model.respond(ASKED)


async def test_a_function_answers_what_it_is_asked() -> None:
    def echo(request: ModelRequest) -> Answer:
        return request.messages[-1].text.upper()

    async def slow_echo(request: ModelRequest) -> Answer:
        await asyncio.sleep(0)
        return echo(request)

    for function in (echo, slow_echo):
        model = ScriptedModel(function)
        asked = [ModelRequest(messages=(user(word),)) for word in ("a", "b", "c")]
        answers = await asyncio.gather(*map(model.respond, asked))
        assert [answer.text for answer in answers] == ["A", "B", "C"]


async def test_a_conversation_with_a_tool() -> None:
    def weather(request: ModelRequest) -> Answer:
        last = request.messages[-1].parts[0]
        return f"It is {last.content}." if isinstance(last, ToolResultPart) else call_tool("weather", place="here")

    model = ScriptedModel(weather)
    asked = await model.respond(ASKED)
    result = tool_results(ToolResultPart(asked.tool_calls[0].call_id, "sunny"))
    answer = await model.respond(ModelRequest(messages=(*ASKED.messages, asked.message, result)))
    assert answer.text == "It is sunny."


async def test_a_whole_response_is_said_as_it_is() -> None:
    own = ModelResponse(
        parts=(ReasoningPart("Hm.", provider="scripted"), TextPart("a"), call_tool("look")),
        finish_reason=FinishReason.LENGTH,
        usage=Usage(7, 3),
        model="other",
    )
    said = await ScriptedModel([own]).respond(ASKED)
    assert (said.finish_reason, said.usage, said.model, said.provider) == (
        FinishReason.LENGTH,
        Usage(7, 3),
        "other",
        "scripted",
    )
    assert (said.reasoning, said.text, said.tool_calls[0].call_id) == ("Hm.", "a", "call-1")


async def test_tokens_are_counted_by_the_rule() -> None:
    short, long = [await ScriptedModel([words]).respond(ASKED) for words in ("12345678", "123456789")]
    assert short.usage is not None
    assert long.usage is not None
    assert (short.usage.output_tokens, long.usage.output_tokens) == (2, 3)
    more = await ScriptedModel(["x"]).respond(ModelRequest(messages=(user("hello " * 100),)))
    assert more.usage is not None
    assert more.usage.input_tokens > short.usage.input_tokens + 140


async def test_texts_come_in_pieces() -> None:
    model = ScriptedModel(["abcdefg"], piece_chars=3)
    deltas: list[Delta] = [delta async for delta in model.stream(ASKED)]
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["abc", "def", "g"]
    assert fold(deltas).text == "abcdefg"


async def test_it_fails_as_it_is_told() -> None:
    model = ScriptedModel([ModelRateLimited("slow down", retry_after_seconds=3), BrokenOff("half an answer", after=2)])
    with pytest.raises(ModelRateLimited) as caught:
        await model.respond(ASKED)
    assert caught.value.retry_after_seconds == 3
    with pytest.raises(ModelStreamCut):
        await model.respond(ASKED)


@in_virtual_time
async def test_it_takes_the_time_it_is_told_to() -> None:
    moments: list[float] = []
    loop = asyncio.get_running_loop()
    model = ScriptedModel(["ab"], piece_chars=1, first_seconds=10, piece_seconds=2)
    deltas: list[Delta] = []
    async for delta in model.stream(ASKED):
        moments.append(loop.time())
        deltas.append(delta)
    assert moments == pytest.approx([10, 12, 14, 16, 18])
    assert isinstance(deltas[-1], ResponseFinished)


@in_virtual_time
async def test_a_silent_one_says_nothing_more() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1_000_000):
            await ScriptedModel([BrokenOff("half", after=1, is_silent=True)]).respond(ASKED)


async def test_what_it_remembers_is_bounded() -> None:
    model = ScriptedModel(lambda _: "x")
    for _ in range(MAX_REMEMBERED + 5):
        await model.respond(ASKED)
    assert (model.asked, len(model.requests)) == (MAX_REMEMBERED + 5, MAX_REMEMBERED)


async def test_what_no_provider_takes_it_does_not_take_either() -> None:
    model = ScriptedModel(["never"])
    with pytest.raises(InvalidInput, match="has no result"):
        await model.respond(ModelRequest(messages=(user("a"), assistant(call_tool("look")))))
    assert model.asked == 0


def test_a_script_is_a_list() -> None:
    with pytest.raises(DefinitionError, match="a script is a list of answers"):
        ScriptedModel("hello")


def test_the_switch_forbids_and_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "is_forbidden", False)
    permission.demand("openai:gpt", "https://h.invalid")
    forbid_model_calls()
    with pytest.raises(ModelCallsForbidden):
        permission.demand("openai:gpt", "https://h.invalid")
    with allow_model_calls():
        permission.demand("openai:gpt", "https://h.invalid")
    with allow_model_calls("http://127.0.0.1:1"), pytest.raises(ModelCallsForbidden):
        permission.demand("openai:gpt", "https://h.invalid")
