"""Every sentence of every guarantee names the tests that prove it, and they exist."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "explanation" / "guarantees.md"
HOUSE = [f"G{number}" for number in range(1, 13)]
_PART = re.compile(r"^### (G\d+) [^\n]+\n\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
_NODE = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def guarantees() -> dict[str, list[tuple[str, str]]]:
    """Return, by guarantee, each sentence with the cell of its proofs."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, text in _PART.findall(PAGE.read_text(encoding="utf-8")):
        rows = [line.strip("|").rsplit("|", 1) for line in text.splitlines() if line.startswith("|")]
        assert [cell.strip() for cell in rows[0]] == ["what holds", "proven by"]
        found[name] = [(sentence.strip(), proofs.strip()) for sentence, proofs in rows[2:]]
    return found


GUARANTEES = guarantees()
NODES = sorted({node for rows in GUARANTEES.values() for _, proofs in rows for node in _NODE.findall(proofs)})


def test_every_guarantee_of_the_house_is_on_the_page() -> None:
    assert list(GUARANTEES) == HOUSE


@pytest.mark.parametrize("name", HOUSE)
def test_every_sentence_has_its_proof(name: str) -> None:
    for sentence, proofs in GUARANTEES[name]:
        assert sentence.endswith("."), f"{name}: {sentence!r} is no sentence"
        assert proofs, f"{name}: nothing proves {sentence!r}"
        assert _NODE.sub("", proofs).replace("<br>", "").strip() == "", f"{name}: {proofs!r} is no list of tests"


@pytest.mark.parametrize(("file", "name"), NODES, ids=lambda part: str(part).rsplit("/", 1)[-1])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    thing: object = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    for part in name.split("::"):
        thing = getattr(thing, part)
    assert inspect.isfunction(thing) or getattr(thing, "hypothesis", None) is not None
    assert getattr(thing, "__name__", "").startswith("test_")
