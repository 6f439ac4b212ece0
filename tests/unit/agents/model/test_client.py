"""The simple face: a prompt goes in, words or a value of the form asked for come out, or an error that says what was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from agenticflow.agents.model import (
    FinishReason,
    ImagePart,
    LLMClient,
    ModelAbilities,
    ModelResponse,
    PriceTable,
    Role,
    TextPart,
    Usage,
    user,
)
from agenticflow.agents.model.client import MAX_REPAIRS
from agenticflow.errors import (
    ContentRefused,
    DefinitionError,
    InvalidInput,
    ModelOutputInvalid,
    ModelUnavailable,
)
from agenticflow.testing import ScriptedModel


@dataclass
class Person:
    name: str
    age: int


def said(text: str, reason: FinishReason) -> ModelResponse:
    return ModelResponse(parts=(TextPart(text),), finish_reason=reason, usage=Usage(10, 5))


async def test_words_come_out() -> None:
    model = ScriptedModel(["Hello."])
    client = LLMClient(model, temperature=0.1)
    words: str = await client.generate("Say hello.", instructions="Be brief.", max_output_tokens=9)
    assert words == "Hello."
    request = model.requests[0]
    assert [(message.role, message.text) for message in request.messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "Say hello."),
    ]
    assert (request.temperature, request.max_output_tokens, request.output) == (0.1, 9, None)


async def test_a_call_says_its_own_temperature_also_zero() -> None:
    model = ScriptedModel(["a", "b"])
    await LLMClient(model, temperature=0.5).generate("x", temperature=0.0)
    await LLMClient(model).generate("x")
    assert [request.temperature for request in model.requests] == [0.0, None]


async def test_a_prompt_may_be_a_whole_message() -> None:
    model = ScriptedModel(["a cat"])
    asked = user("What is this?", ImagePart(b"png", "image/png"))
    assert await LLMClient(model).generate(asked) == "a cat"
    assert model.requests[0].messages == (asked,)


async def test_a_value_of_the_type_comes_out() -> None:
    model = ScriptedModel(['Sure! ```json\n{"name": "Ada", "age": 36}\n```'])
    person: Person = await LLMClient(model).generate("Who?", Person)
    assert person == Person("Ada", 36)
    output = model.requests[0].output
    assert output is not None
    assert output.name == "Person"
    assert len(model.requests[0].messages) == 1


async def test_a_value_that_fits_a_schema_comes_out() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert await LLMClient(ScriptedModel(['{"a": 1}'])).generate("?", schema) == {"a": 1}
    assert await LLMClient(ScriptedModel(["[1, 2]"])).generate("?", list[int]) == [1, 2]


async def test_what_does_not_fit_is_given_back_with_what_is_wrong() -> None:
    model = ScriptedModel(["I would say 36.", '{"name": "Ada"}', '{"name": "Ada", "age": 36}'])
    client = LLMClient(model)
    assert await client.generate("Who?", Person) == Person("Ada", 36)
    last = model.requests[-1].messages
    assert [message.role for message in last] == [Role.USER, *[Role.ASSISTANT, Role.USER] * 2]
    assert (last[1].text, last[3].text) == ("I would say 36.", '{"name": "Ada"}')
    assert "there is no JSON in it" in last[2].text
    assert "answer.age is missing" in last[4].text
    assert client.spending.calls == 3


async def test_repairs_are_bounded() -> None:
    model = ScriptedModel(lambda _: "")
    for repairs in (0, 1, 2):
        before = model.asked
        with pytest.raises(ModelOutputInvalid, match="no JSON") as caught:
            await LLMClient(model, max_repairs=repairs).generate("Who?", Person)
        assert model.asked - before == repairs + 1
        assert caught.value.problems == ("there is no JSON in it",)
    assert model.requests[-1].messages[1].text == "(nothing)"


async def test_an_answer_cut_at_its_limit_is_not_repaired() -> None:
    model = ScriptedModel([said('{"name": "A', FinishReason.LENGTH)])
    with pytest.raises(ModelOutputInvalid, match="was cut at its length limit") as caught:
        await LLMClient(model).generate("Who?", Person)
    assert "max_output_tokens" in caught.value.hint
    assert caught.value.text == '{"name": "A'


async def test_words_cut_at_their_limit_are_words() -> None:
    assert await LLMClient(ScriptedModel([said("Once upon", FinishReason.LENGTH)])).generate("Tell.") == "Once upon"


async def test_what_a_filter_left_is_no_answer() -> None:
    model = ScriptedModel([said("I would rather", FinishReason.CONTENT_FILTER)])
    with pytest.raises(ContentRefused, match="would not answer") as caught:
        await LLMClient(model).generate("Tell.")
    assert caught.value.text == "I would rather"


async def test_a_model_that_is_held_to_no_form_is_told_it_in_words() -> None:
    abilities = ModelAbilities(has_output_schemas=False)
    model = ScriptedModel(lambda _: '{"name": "Ada", "age": 36}', abilities=abilities)
    client = LLMClient(model)
    assert await client.generate("Who?", Person) == Person("Ada", 36)
    await client.generate("Who?", Person, instructions="Be brief.")
    await client.generate("Who?")
    first, second, third = model.requests
    assert first.output is None
    assert first.messages[0].text.startswith("Answer with JSON only")
    assert '"age"' in first.messages[0].text
    assert second.messages[0].text.startswith("Be brief.\n\nAnswer with JSON only")
    assert len(third.messages) == 1


async def test_what_it_costs_is_counted_with_all_repairs() -> None:
    prices = PriceTable.from_dict({"scripted:*": {"input_per_million": 1_000_000, "output_per_million": 0}})
    model = ScriptedModel([said("?", FinishReason.STOP), said('{"name": "A", "age": 1}', FinishReason.STOP)])
    client = LLMClient(model, prices=prices)
    await client.generate("Who?", Person)
    assert client.spending.amounts == {"USD": Decimal(20)}
    assert client.spending.is_complete


async def test_what_the_model_raises_comes_through() -> None:
    with pytest.raises(ModelUnavailable, match="down"):
        await LLMClient(ScriptedModel([ModelUnavailable("down")])).generate("x")


async def test_a_form_that_is_none_is_told_and_nothing_is_asked() -> None:
    model = ScriptedModel(["never said"])
    with pytest.raises(DefinitionError, match="is 'thing', not one of"):
        await LLMClient(model).generate("x", {"type": "thing"})
    assert model.asked == 0


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        (" ", {}, "the prompt is empty"),
        (5, {}, "the prompt is a int"),
        ("x", {"temperature": "hot"}, "the temperature is 'hot'"),
        ("x", {"temperature": True}, "the temperature is True"),
        ("x", {"max_output_tokens": "5"}, "max_output_tokens is '5'"),
    ],
)
async def test_what_is_no_question_is_told_and_nothing_is_asked(prompt: Any, options: Any, words: str) -> None:
    model = ScriptedModel(["never"])
    with pytest.raises(InvalidInput, match=words):
        await LLMClient(model).generate(prompt, **options)
    assert model.asked == 0


def test_a_client_asks_a_model() -> None:
    name: Any = "openai:gpt-5"
    with pytest.raises(InvalidInput, match="not 'openai:gpt-5'") as caught:
        LLMClient(name)
    assert "model_from" in caught.value.hint
    for repairs in (-1, MAX_REPAIRS + 1):
        with pytest.raises(InvalidInput, match="max_repairs"):
            LLMClient(ScriptedModel([]), max_repairs=repairs)


async def test_a_call_may_want_no_repairs_and_another_model_share_the_account() -> None:
    first, second = ScriptedModel(["no JSON"]), ScriptedModel(['{"value": 5}'])
    client = LLMClient(first, temperature=0.5)
    with pytest.raises(ModelOutputInvalid) as told:
        await client.generate("How many?", int, max_repairs=0)
    assert (told.value.text, first.asked) == ("no JSON", 1)
    other = client.through(second)
    assert await other.generate("How many?", int) == 5
    assert second.requests[0].temperature == 0.5
    assert other.spending is client.spending
    assert client.spending.calls == 2
