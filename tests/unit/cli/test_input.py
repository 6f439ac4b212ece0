"""The workflow input from the command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from agenticflow.cli.commands.run import parsed_value, store_option, workflow_input
from agenticflow.cli.options import person
from agenticflow.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-1.5", -1.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('{"a": [1]}', {"a": [1]}),
        ("sales.csv", "sales.csv"),
        ("", ""),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("007", "007"),
        ("a=b", "a=b"),
        (" ", " "),
        ('"{draft"', "{draft"),
    ],
)
def test_a_value_is_json_when_it_is_json_and_else_text(text: str, value: object) -> None:
    assert parsed_value(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "--value looks like JSON and is none: Expecting ',' delimiter"),
        (" {bad", "Expecting property name enclosed in double quotes (column 3)"),
        ('"open', "Unterminated string"),
        ('{"a": NaN}', "none: NaN"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_what_looks_like_json_and_is_none_is_a_slip(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed_value(text)
    assert words in str(caught.value)
    assert "quote it to give it as text: '\"" in str(caught.value)
    with pytest.raises(InvalidInput, match="--input key looks like JSON"):
        workflow_input([f"key={text}"], None)


def test_pairs_go_over_the_document() -> None:
    assert workflow_input(["a=1", "b=x=y"], '{"a": 0, "c": 2}') == {"a": 1, "b": "x=y", "c": 2}
    assert workflow_input([], "[1, 2]") == [1, 2]
    assert workflow_input([], None) == {}


def test_the_document_comes_from_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"a": 1}')
    assert workflow_input([], f"@{path}") == {"a": 1}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"b": 2}'))
    assert workflow_input([], "-") == {"b": 2}


@pytest.mark.parametrize(
    ("pairs", "document", "words"),
    [
        (["a"], None, "is no pair"),
        (["=1"], None, "is no pair"),
        (["a=1", "a=2"], None, "gives 'a' twice"),
        (["a=1"], "[]", "to be an object"),
        ([], "{", "--input-json line 1 is no JSON"),
        ([], "@/nowhere/at/all.json", "cannot be read"),
        ([], "[" * 100_000, "nested too deeply"),
        ([], '{"a": NaN}', "has NaN, which is no JSON"),
    ],
)
def test_a_wrong_input_is_told(pairs: list[str], document: str | None, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        workflow_input(pairs, document)
    assert words in str(caught.value)


def test_the_next_command_is_told_the_store_only_when_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_STORE", "sqlite:///a.db")
    assert store_option(None) == ""
    assert store_option("sqlite:///a.db") == ""
    assert store_option("sqlite:///b c.db") == " --store 'sqlite:///b c.db'"


def test_nobody_answers_for_nobody() -> None:
    assert person(None) == "local-owner"
    assert person("ada") == "ada"
    with pytest.raises(InvalidInput, match="--by names nobody"):
        person(" ")
