"""The published schema of workflow files: current, and a good judge of what is right and wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from agenticflow.app.definitions import workflow_schema
from agenticflow.app.definitions.spellings import TASK_KEYS, WORKFLOW_KEYS
from tests.docs.pages import ROOT, blocks, pages

PUBLISHED = ROOT / "docs" / "reference" / "workflow.schema.json"
SCHEMA = json.loads(json.dumps(workflow_schema()))
JUDGE = Draft7Validator(SCHEMA)


def test_it_is_a_schema_and_the_published_one_is_current() -> None:
    Draft7Validator.check_schema(SCHEMA)
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert published == SCHEMA, "write it again: agenticflow workflows schema > docs/reference/workflow.schema.json"


def test_every_key_is_there_and_described() -> None:
    parts = SCHEMA["definitions"]
    assert tuple(parts["WorkflowDefinition"]["properties"]) == WORKFLOW_KEYS
    assert tuple(parts["TaskDefinition"]["properties"]) == TASK_KEYS
    silent = [
        f"{part}.{name}"
        for part, schema in parts.items()
        for name, field in schema["properties"].items()
        if not field.get("description")
    ]
    assert silent == []


def documents() -> Iterator[tuple[str, str]]:
    """Every workflow file in the documentation, in the examples and in the templates."""
    for page in pages():
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.title.endswith((".yaml", ".yml")) and "tasks:" in block.code and "wrong" not in block.title:
                yield f"{page.name} line {block.line}", block.code
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "tasks:" in text:
            yield path.name, text
    for template in ("basic", "enterprise", "examples"):
        folder: Traversable = files("agenticflow.cli") / "templates" / template
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".yaml.tmpl"):
                yield (
                    f"{template}/{entry.name}",
                    entry.read_text(encoding="utf-8").replace("{{name}}", "n").replace("{{package}}", "n"),
                )


@pytest.mark.parametrize(("name", "text"), [pytest.param(*one, id=one[0]) for one in documents()])
def test_every_file_that_we_show_is_right(name: str, text: str) -> None:
    assert [error.message for error in JUDGE.iter_errors(yaml.safe_load(text))] == []


def task(**fields: Any) -> dict[str, Any]:
    return {"tasks": [{"task_id": "a", "agent_id": "x", **fields}]}


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"tasks": {}},
        {"tasks": [{"agent_id": "x"}]},
        {"tasks": [{"task_id": "a"}]},
        {"tasks": [{"task_id": "1a", "agent_id": "x"}]},
        {"tasks": [{"task_id": "a b", "agent_id": "x"}]},
        {"tasks": [{"task_id": 1, "agent_id": "x"}]},
        {"tasks": [], "steps": []},
        {"tasks": [], "version": 1.0},
        {"tasks": [], "timeout_seconds": 0},
        {"workflows": []},
        {"workflows": [{"tasks": []}], "tasks": []},
        task(depends_on=["b"]),
        task(dependencies="b"),
        task(timeout_seconds="5m"),
        task(timeout_seconds=-1),
        task(effect="once"),
        task(join="one"),
        task(join=0),
        task(on_failure="continue"),
        task(retry_policy=3),
        task(retry_policy={"max": 3}),
        task(retry_policy={"max_attempts": 0}),
        task(limits={"key": "a"}),
        task(limits=[{"max_concurrent": 1}]),
        task(limits=[{"key": "a", "max_concurrent": 0}]),
        task(choices=[{"when": "1 > 2"}]),
        task(choices=[{"then": "b", "if": "1 > 2"}]),
        task(workflow={"name": "inner"}),
        task(workflow={"tasks": [{"task_id": "b"}]}),
        task(when=True),
        task(max_iterations=1_000_000),
    ],
    ids=repr,
)
def test_what_is_wrong_is_refused(wrong: object) -> None:
    assert not JUDGE.is_valid(wrong)


@pytest.mark.parametrize(
    "right",
    [
        task(retry_policy={"max_attempts": 3}, timeout_seconds=None, join=2, for_each=[1, "b", {"c": None}]),
        {"tasks": [{"task_id": "a", "workflow": {"tasks": [{"task_id": "b", "signal": "s"}]}}], "handlers": ["x"]},
        {"workflows": [{"name": "one", "tasks": []}], "handlers": "x"},
        {"tasks": [{"task_id": "für-alle.1", "capabilities": ["x"]}], "output": {"any": ["${a}"]}},
    ],
)
def test_what_is_right_is_accepted(right: object) -> None:
    assert JUDGE.is_valid(right)


def test_a_source_tree_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed without sources there are fewer descriptions, and the same judgement."""

    def nowhere(thing: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", nowhere)
    bare = Draft7Validator(workflow_schema())
    assert not bare.is_valid(task(effect="once"))
    assert bare.is_valid(task())
