"""Answers of a model recorded once and replayed: in order, to the same agent, and with a clear word when what is asked differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, tool
from agenticflow.agents.model import ModelRequest
from agenticflow.agents.model.parts import user
from agenticflow.errors import CorruptStore, DefinitionError, InvalidInput, ModelUnavailable
from agenticflow.testing import CassetteModel, ScriptedModel, call_tool


def asking(words: str) -> ModelRequest:
    return ModelRequest(messages=(user(words),))


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def guide(model: Any) -> Agent:
    return Agent("guide", instructions="Help.", model=model, tools=[weather])


async def test_an_agent_is_replayed_without_its_model(tmp_path: Path) -> None:
    file = tmp_path / "cassettes" / "guide.json"
    real = ScriptedModel([call_tool("weather", city="Oslo"), "It is sunny."], name="gpt", provider="openai")
    async with CassetteModel(file, model=lambda: real, mode="record") as recorder:
        first = await guide(recorder).run("How is Oslo?")
        assert (recorder.identity, recorder.asked) == ("openai:gpt", 2)
    replayed = CassetteModel(file)
    second = await guide(replayed).run("How is Oslo?")
    assert (second.output, second.messages, second.usage) == (first.output, first.messages, first.usage)
    assert (replayed.identity, replayed.asked) == ("openai:gpt", 0)


async def test_equal_requests_are_answered_in_order_and_then_with_the_last(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    async with CassetteModel(file, model=ScriptedModel(["one", "two"]), mode="record") as recorder:
        assert [(await recorder.respond(asking("?"))).text for _ in range(2)] == ["one", "two"]
    replayed = CassetteModel(file)
    assert [(await replayed.respond(asking("?"))).text for _ in range(3)] == ["one", "two", "two"]


async def test_what_was_not_recorded_is_told_with_the_first_difference(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    async with CassetteModel(file, model=ScriptedModel(["one"]), mode="record") as recorder:
        await recorder.respond(asking("How is Oslo?"))
    replayed = CassetteModel(file)
    with pytest.raises(
        InvalidInput, match=r"messages\[0\]\.parts\[0\]\.text was 'How is Oslo\?' and is 'How is Rome\?'"
    ):
        await replayed.respond(asking("How is Rome?"))
    with pytest.raises(InvalidInput, match=r"messages\[1\] was None and is"):
        await replayed.respond(ModelRequest(messages=(user("How is Oslo?"), user("And Rome?"))))


async def test_a_cassette_is_extended_by_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    real = ScriptedModel(["one", "two"])
    async with CassetteModel(file, model=real, mode="extend") as recorder:
        await recorder.respond(asking("1"))
    async with CassetteModel(file, model=real, mode="extend") as recorder:
        assert [(await recorder.respond(asking(words))).text for words in ("1", "2")] == ["one", "two"]
        assert recorder.asked == 1
    assert (await CassetteModel(file).respond(asking("2"))).text == "two"


async def test_secrets_are_hidden_and_errors_are_not_recorded(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    secret = "sk-" + "a1" * 24
    async with CassetteModel(
        file, model=ScriptedModel([ModelUnavailable("busy"), f"use {secret}"]), mode="record"
    ) as recorder:
        with pytest.raises(ModelUnavailable):
            await recorder.respond(asking("?"))
        assert secret in (await recorder.respond(asking(f"what is {secret}?"))).text
    assert secret not in file.read_text()
    assert len(json.loads(file.read_text())["answers"]) == 1
    assert secret not in (await CassetteModel(file).respond(asking(f"what is {secret}?"))).text


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no cassette"):
        CassetteModel(tmp_path / "none.json")
    with pytest.raises(DefinitionError, match="mode='record' asks a model, and there is none"):
        CassetteModel(tmp_path / "c.json", mode="record")
    with pytest.raises(DefinitionError, match="mode='rec' is unknown"):
        CassetteModel(tmp_path / "c.json", mode="rec")  # type: ignore[arg-type]  # the mistake on trial
    broken = tmp_path / "broken.json"
    for text, words in (("{", "cannot be read"), ("{}", "is no cassette"), ('{"form": 9}', "has form 9")):
        broken.write_text(text)
        with pytest.raises(CorruptStore, match=words):
            CassetteModel(broken)
