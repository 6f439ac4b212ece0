"""A request is checked before it is sent: what no provider takes is told at once, all of it."""

from __future__ import annotations

import pytest

from agenticflow.agents.model import (
    FilePart,
    ImagePart,
    ModelAbilities,
    ModelRequest,
    OutputSpec,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    assistant,
    system,
    tool_results,
    user,
)
from agenticflow.errors import InvalidInput

HELLO = (user("hello"),)
CALL = ToolCallPart("c1", "look")
RESULT = ToolResultPart("c1", "a cat")


def test_a_request_of_a_whole_conversation_is_fine() -> None:
    ModelRequest(
        messages=(
            system("s"),
            *HELLO,
            assistant(CALL, ToolCallPart("c2", "look")),
            # results may come in several messages, in any order
            tool_results(ToolResultPart("c2", "a dog")),
            tool_results(RESULT),
            assistant("Here."),
        ),
        tools=(ToolSpec("look"), ToolSpec("listen")),
        tool_choice=ToolChoice.REQUIRED,
        forced_tool="look",
        temperature=0,
        max_output_tokens=1,
    ).check()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ModelRequest(messages=()), "no message of a user"),
        (ModelRequest(messages=(system("s"),)), "no message of a user"),
        (ModelRequest(messages=HELLO, tools=(ToolSpec("a"), ToolSpec("a"))), "two tools are called 'a'"),
        (ModelRequest(messages=HELLO, forced_tool="b"), "forces the tool 'b'"),
        (ModelRequest(messages=HELLO, tool_choice=ToolChoice.REQUIRED), "requires a tool and has none"),
        (ModelRequest(messages=HELLO, temperature=2.1), "temperature is 2.1"),
        (ModelRequest(messages=HELLO, temperature=-0.1), "temperature is -0.1"),
        (ModelRequest(messages=HELLO, max_output_tokens=0), "max_output_tokens is 0"),
        (ModelRequest(messages=(*HELLO, assistant(CALL))), "the tool call 'c1' has no result"),
        (ModelRequest(messages=(*HELLO, assistant(CALL), user("well?"))), "the tool call 'c1' has no result"),
        (ModelRequest(messages=(*HELLO, tool_results(RESULT))), "'c1' has no open call"),
        (ModelRequest(messages=(*HELLO, assistant(CALL), tool_results(RESULT, RESULT))), "'c1' has no open call"),
    ],
)
def test_what_no_provider_takes_is_told(request_: ModelRequest, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        request_.check()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"no message.*temperature.*max_output_tokens"):
        ModelRequest(messages=(), temperature=9, max_output_tokens=-1).check()


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    assert ToolSpec("look").parameters == {"type": "object", "properties": {}}


PICTURE = ImagePart(b"png", "image/png")
DOCUMENT = FilePart(url="https://h.invalid/a.pdf")


@pytest.mark.parametrize(
    ("request_", "ability", "words"),
    [
        (ModelRequest(messages=HELLO, tools=(ToolSpec("a"),)), "has_tools", "the model calls none"),
        (ModelRequest(messages=HELLO, output=OutputSpec("a", {})), "has_output_schemas", "the model is held to none"),
        (ModelRequest(messages=(user("a", PICTURE),)), "has_images", "the model sees none"),
        (ModelRequest(messages=(user("a", DOCUMENT),)), "has_files", "the model reads none"),
        (
            ModelRequest(messages=(*HELLO, assistant(CALL), tool_results(ToolResultPart("c1", "", False, (PICTURE,))))),
            "has_images",
            "the model sees none",
        ),
    ],
)
def test_what_the_model_cannot_do_is_told(request_: ModelRequest, ability: str, words: str) -> None:
    request_.check()
    with pytest.raises(InvalidInput, match=words):
        request_.check(ModelAbilities(**{ability: False}))
    others = dict.fromkeys(("has_tools", "has_output_schemas", "has_images", "has_files", "has_temperature"), False)
    request_.check(ModelAbilities(**{**others, ability: True}))
