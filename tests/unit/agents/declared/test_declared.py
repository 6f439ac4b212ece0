"""Agents as descriptions: checked when made, known by name, instructed by text, function or template."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.context import AgentContext
from agenticflow.agents.declared import (
    AgentDefinition,
    AgentDefinitions,
    InstructionTemplate,
    get_agent_registry,
    instructions_file,
    register_agent,
)
from agenticflow.agents.declared import definitions as definitions_module
from agenticflow.agents.declared import templates as templates_module
from agenticflow.agents.guardrails import Guardrail, GuardrailNames, get_guardrail_names, length, register_guardrail
from agenticflow.agents.guardrails import names as names_module
from agenticflow.errors import AgentNotFoundError, DefinitionError, InvalidInput


@dataclass
class Answer:
    text: str


def polite(ctx: Any, value: Any) -> tuple[bool, str]:
    return "please" in value, "say please"


def analyst(**changes: Any) -> AgentDefinition:
    given: dict[str, Any] = {"name": "analyst", "description": "answers questions", "instructions": "Be brief."}
    return AgentDefinition(**{**given, **changes})


def test_a_definition_is_a_value() -> None:
    definition = analyst(tools=["query", "chart"], guardrails=[polite, "secrets"], model="small", output_type=Answer)
    assert definition.tools == ("query", "chart")
    assert definition.output_type is Answer
    assert definition == analyst(
        tools=("query", "chart"), guardrails=(polite, "secrets"), model="small", output_dataclass=Answer
    )
    assert analyst().output_type is None
    assert AgentDefinition("a", "b", "c", ["t"], ["secrets"], "m", Answer, True).requires_schema_injection
    frozen: Any = definition
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.name = "other"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "no name"),
    ({"name": "a/b"}, "no name"),
    ({"name": 7}, "no name"),
    ({"description": None}, "description"),
    ({"instructions": 7}, "give a text, a template or a function"),
    ({"instructions": " \n"}, "no instructions"),
    ({"tools": "query"}, "tools is 'query': give a list"),
    ({"guardrails": {"a"}}, "guardrails is {'a'}: give a list"),
    ({"tools": ["a"] * 201}, "201 tools"),
    ({"tools": ["a", "b", "a"]}, "'a' stands twice among the tools"),
    ({"guardrails": [7]}, "a guardrail is 7"),
    ({"output_type": Answer, "output_dataclass": dict}, "say two things"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        analyst(**changes)
    assert words in caught.value.message


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        analyst(name="", tools=7, instructions=None)
    assert len(caught.value.problems) == 3


# --- instructions ---------------------------------------------------------------------------------------------------------


def test_a_text_stays_as_it_is() -> None:
    assert analyst(instructions="Write ${name}.").render_instructions() == "Write ${name}."


def test_a_function_is_given_the_context_and_the_definition() -> None:
    def instruct(context: Any, agent_definition: AgentDefinition) -> str:
        return f"{agent_definition.name} for {context}"

    assert analyst(instructions=instruct).render_instructions("Ann") == "analyst for Ann"
    for answer in (None, b"text"):
        with pytest.raises(InvalidInput, match="returned a"):
            analyst(instructions=lambda context, definition, answer=answer: answer).render_instructions()


def test_the_schema_is_injected_where_it_is_needed() -> None:
    definition = analyst(requires_schema_injection=True)
    assert definition.render_instructions(AgentContext(schema={"orders": ["id"]})) == (
        "Be brief.\n\nThe database has these tables:\nTable orders\n- id"
    )
    for context in (None, AgentContext(), {"schema": {"orders": ["id"]}}):
        with pytest.raises(InvalidInput, match="needs a schema"):
            definition.render_instructions(context)


def test_a_template_names_what_a_run_knows(tmp_path: Path) -> None:
    file = tmp_path / "analyst.md"
    file.write_text(
        "# ${agent.name}\n${agent.description}; ${context.filters.year}, ${context.filters}, $${name}, ${user}, "
        "${context.database_connector}, ${rows[1]}\n",
        encoding="utf-8",
    )
    template = instructions_file(file)
    assert template.names == {"agent", "context", "user", "rows"}
    assert repr(template) == "InstructionTemplate('analyst.md')"
    context = AgentContext(filters={"year": 2026}, database_connector=object())
    text = analyst(instructions=template).render_instructions(context, user="Ann", rows=[1, {"ü": None}])
    assert text == '# analyst\nanswers questions; 2026, {"year": 2026}, ${name}, Ann, (object), {"ü": null}\n'
    assert template == instructions_file(file)
    assert hash(template) == hash(instructions_file(file))
    assert template != "text"


def test_what_a_template_does_not_find_is_told() -> None:
    template = InstructionTemplate("Hello ${user.name}", "hello.md")
    with pytest.raises(
        InvalidInput,
        match=r"hello.md: \$\{user.name\} leads nowhere: there is no 'user' here .known here: agent, context",
    ):
        analyst(instructions=template).render_instructions()
    with pytest.raises(InvalidInput, match="it has no 'name'"):
        template.render({"user": {}})
    assert InstructionTemplate("${a}").render({"a": object}) == "(type)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb ${x", "t.md line 2: a reference is not closed"),
        ("\n\n${1+1}", "t.md line 3: "),
        ("${a.b()}", "t.md line 1: "),
        ("${}", "line 1"),
    ],
)
def test_what_is_no_reference_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        InstructionTemplate(text, "t.md")
    assert words in caught.value.message


@given(st.text(), st.text())
def test_texts_are_put_in_as_they_are(value: str, around: str) -> None:
    around = around.replace("$", "")
    assert InstructionTemplate(f"{around}${{a}}{around}").render({"a": value}) == f"{around}{value}{around}"


def test_files_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match="No such file"):
        instructions_file(tmp_path / "none.md")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DefinitionError, match="UTF-8"):
        instructions_file(tmp_path / "bytes.md")
    monkeypatch.setattr(templates_module, "MAX_TEMPLATE_BYTES", 2)
    with pytest.raises(DefinitionError, match="larger"):
        instructions_file(tmp_path / "bytes.md")


# --- names ----------------------------------------------------------------------------------------------------------------


def test_definitions_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known = AgentDefinitions()
    first = known.register(analyst())
    assert known.register(analyst()) is first
    assert known.get("analyst") is first
    assert "analyst" in known
    assert [definition.name for definition in known] == ["analyst"]
    with pytest.raises(DefinitionError, match="described already"):
        known.register(analyst(description="another"))
    with pytest.raises(AgentNotFoundError, match="did you mean 'analyst'"):
        known.get("analist")
    with pytest.raises(AgentNotFoundError, match="there are analyst"):
        known.get("xyz")
    wrong: Any = "analyst"
    with pytest.raises(DefinitionError, match=r"orchestrator\.register_agent"):
        known.register(wrong)
    monkeypatch.setattr(definitions_module, "MAX_DEFINITIONS", 1)
    with pytest.raises(DefinitionError, match="no more"):
        known.register(analyst(name="other"))
    assert known.remove("analyst")
    assert not known.remove("analyst")
    assert len(known) == 0
    with pytest.raises(AgentNotFoundError, match="import the module"):
        known.get("analyst")


def test_importing_a_module_makes_its_agents_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "describing_agents.py").write_text(
        "from agenticflow.agents.declared import AgentDefinition, register_agent\n"
        'register_agent(AgentDefinition("imported", "from a module", "Be brief."))\n',
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("describing_agents")
    assert get_agent_registry().get("imported").description == "from a module"
    assert register_agent(analyst(name="imported", description="from a module")) is get_agent_registry().get("imported")
    get_agent_registry().remove("imported")


async def test_guardrails_are_found_by_name() -> None:
    names = GuardrailNames()
    made = names.register("manners", Guardrail(polite, kinds=("output",), timeout_seconds=3))
    rails = analyst(guardrails=["manners", "destructive_sql", length(5), polite]).resolve_guardrails(names)
    assert [one.name for one in rails.guardrails] == ["manners", "destructive_sql", "length", "polite"]
    assert (made.timeout_seconds, sorted(made.kinds)) == (3, ["output"])
    assert names.register("manners", polite).check is polite
    assert set(names.named) >= {"secrets", "prompt_injection", "read_only_sql", "manners"}
    with pytest.raises(
        DefinitionError, match=r"the agent 'analyst': there is no guardrail 'manner' .did you mean 'manners'"
    ):
        analyst(guardrails=["manner"]).resolve_guardrails(names)
    with pytest.raises(DefinitionError, match="there are"):
        names.get("xyz")
    with pytest.raises(DefinitionError, match="another guardrail 'secrets'"):
        names.register("secrets", polite)


def test_guardrails_of_the_process_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    register_guardrail("polite", polite)
    assert get_guardrail_names().get("polite").check is polite
    assert [one.name for one in analyst(guardrails=["polite"]).resolve_guardrails().guardrails] == ["polite"]
    monkeypatch.setattr(names_module, "MAX_NAMES", 1)
    with pytest.raises(DefinitionError, match="no more"):
        register_guardrail("one too many", polite)


def test_unknown_tools_are_told_with_what_was_meant() -> None:
    definition = analyst(tools=["qery", "chart", object(), "xyz"])
    assert definition.unknown_tools({"query", "chart"}) == [
        "the agent 'analyst' has no tool 'qery', did you mean 'query'?",
        "the agent 'analyst' has no tool 'xyz'",
    ]
