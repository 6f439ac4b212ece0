"""Files that describe agents: what stands in them, and where a mistake is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenticflow.agents.declared import get_agent_registry
from agenticflow.agents.guardrails import GuardrailNames
from agenticflow.app.declared import load_agent_definitions
from agenticflow.errors import DefinitionError


@pytest.fixture(autouse=True)
def _leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for definition in get_agent_registry():
        get_agent_registry().remove(definition.name)


FILE = """\
agents:
  - name: analyst
    description: answers questions about sales
    instructions_file: analyst.md
    tools: [query, chart]
    guardrails:
      - secrets
      - length: {max_chars: 400, kinds: [output]}
      - destructive_sql: {read_only: true, argument: query}
      - rails_of_agents:polite
    model: small
    output_type: rails_of_agents:Answer
    requires_schema_injection: true
  - name: greeter
    description: says hello
    instructions: |
      Say hello, ${name} stays as it is.
"""
MODULE = """\
from dataclasses import dataclass


@dataclass
class Answer:
    text: str


def polite(ctx, value):
    return "please" in value, "say please"
"""


def written(folder: Path, text: str, name: str = "agents.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / "analyst.md").write_text("You are ${agent.name}.\n", encoding="utf-8")
    (folder / "rails_of_agents.py").write_text(MODULE, encoding="utf-8")
    return folder / name


def test_a_file_describes_agents(tmp_path: Path) -> None:
    analyst, greeter = load_agent_definitions(written(tmp_path, FILE))
    assert get_agent_registry().get("analyst") is analyst
    assert (analyst.tools, analyst.model, analyst.output_type.__name__) == (("query", "chart"), "small", "Answer")
    assert [one.name for one in analyst.resolve_guardrails().guardrails] == [
        "secrets",
        "length",
        "read_only_sql",
        "polite",
    ]
    assert analyst.requires_schema_injection
    assert greeter.render_instructions() == "Say hello, ${name} stays as it is.\n"
    assert load_agent_definitions(written(tmp_path, FILE), registers=False)[1] == greeter


def test_a_file_may_describe_one_agent_and_be_json(tmp_path: Path) -> None:
    data = {"name": "a", "description": "b", "instructions": "c"}
    [agent] = load_agent_definitions(written(tmp_path, json.dumps(data), "one.json"), registers=False)
    assert agent.name == "a"
    assert "a" not in get_agent_registry()


MISTAKES = [
    ("agents: []", "agents.yaml line 1: `agents` is a list of agents"),
    ("agents: {a: 1}\nmore: 1", "agents.yaml line 2: 'more' is not known beside `agents`"),
    ("- 1", "agents.yaml line 1: an agent is a mapping, not [1]"),
    ("agents:\n  - 7", "agents.yaml line 2: an agent is a mapping, not 7"),
    ("agents:\n- name: a\n  prompt: x", "agents.yaml line 3: 'prompt' is not known, did you mean 'instructions'?"),
    ("agents:\n- nam: a", "agents.yaml line 2: 'nam' is not known, did you mean 'name'?"),
    ("zzz: 1", "agents.yaml line 1: 'zzz' is not known"),
    ("name: a\ninstructions: x", "agents.yaml line 1: an agent needs a description, a text"),
    ("name: 7", "agents.yaml line 1: the name is no text"),
    ("name: a\ndescription: b", "agents.yaml line 1: an agent needs either `instructions` or `instructions_file`"),
    ("instructions: [a]", "agents.yaml line 1: instructions is ['a'], not a text"),
    ("name: a\ninstructions_file: none.md", "agents.yaml line 2: the instructions "),
    ("tools: query", "agents.yaml line 1: tools is 'query': give a list"),
    ("tools:\n- a\n- 7", "agents.yaml line 3: a tool is 7: give its name"),
    ("guardrails:\n- secret", "agents.yaml line 2: there is no guardrail 'secret' (did you mean 'secrets'?)"),
    ("guardrails:\n- 7", "agents.yaml line 2: a guardrail is 7: give a name, or a name with arguments"),
    (
        "guardrails:\n- lenght: {max_chars: 1}",
        "agents.yaml line 2: no guardrail 'lenght' takes arguments here, did you mean 'length'?",
    ),
    (
        "guardrails:\n- zzz: {}",
        "agents.yaml line 2: no guardrail 'zzz' takes arguments here, choose from destructive_sql, ",
    ),
    ("guardrails:\n- length: 400", "agents.yaml line 2: the arguments of 'length' are 400: give a mapping"),
    ("guardrails:\n- length: {chars: 400}", "agents.yaml line 2: the guardrail does not take that: "),
    ("guardrails:\n- length: {max_chars: -1}", "agents.yaml line 2: length(-1, min_chars=0) lets nothing pass"),
    (
        "guardrails:\n- rails_of_agents:polit",
        "agents.yaml line 2: the module 'rails_of_agents' has no 'polit', did you mean 'polite'?",
    ),
    ("guardrails:\n- no_such_module:f", "agents.yaml line 2: there is no module 'no_such_module'"),
    ("output_type: Answer", "agents.yaml line 1: 'Answer' is no place in a module: write package.module:name"),
    ("output_type: 7", "agents.yaml line 1: 7 is no place in a module"),
    ("model: [a]", "agents.yaml line 1: the model is ['a']: give its name"),
    ("requires_schema_injection: maybe", "agents.yaml line 1: requires_schema_injection is 'maybe': true or false"),
    ("name: a/b\ndescription: b\ninstructions: c", "agents.yaml line 1: 'a/b' is no name of an agent"),
    (
        "agents:\n- &a {name: a, description: b, instructions: c}\n- *a",
        "agents.yaml line 2: the agent 'a' is described at agents.yaml line 2 already",
    ),
    ("agents: [", "line"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_agent_definitions(written(tmp_path, text))
    assert any(words in problem for problem in caught.value.problems), caught.value.problems
    assert len(get_agent_registry()) == 0


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = "agents:\n- name: a\n  tools: 1\n- name: b\n  description: b\n  instructions: c\n- names: c\n"
    with pytest.raises(DefinitionError, match=r"and \d more mistakes") as caught:
        load_agent_definitions(written(tmp_path, text), guardrails=GuardrailNames())
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        *["agents.yaml line 2"] * 2,
        "agents.yaml line 3",
        *["agents.yaml line 7"] * 4,
    ]
    assert "b" not in get_agent_registry()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for name in ("none.yaml", "agents.txt"):
        with pytest.raises(DefinitionError, match="no file"):
            load_agent_definitions(tmp_path / name)
