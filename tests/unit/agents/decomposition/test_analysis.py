"""How much a request asks for, and which template fits it."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents.decomposition import (
    Complexity,
    PlannedTask,
    QueryAnalysis,
    Strategy,
    WorkflowTemplate,
    WorkflowTemplateRegistry,
    analyse,
)
from agenticflow.errors import DefinitionError

CAPABILITIES = ["billing", "data_analysis", "writing"]
WORDS = {"billing": ["invoice", "pay back"], "writing": ["write"]}


def look(query: str, *context_keys: str) -> QueryAnalysis:
    return analyse(query, CAPABILITIES, words=WORDS, context_keys=context_keys)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("Where is my INVOICE?", ["billing"]),
        ("Please pay me back", ["billing"]),
        ("An analysis of the data", ["data_analysis"]),
        ("Write to me about the data analysis", ["writing", "data_analysis"]),
        ("Hello", []),
    ],
)
def test_capabilities_are_named(query: str, named: list[str]) -> None:
    assert list(look(query).capabilities) == named


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("Look at the invoice, then write", "it names 2 capabilities: billing, writing"),
        ("Wait and then go", "it puts things in order: 'then'"),
        ("1. wait\n2) go", "it puts things in order: '1.', '2)'"),
        ("a; b", "it puts things in order: ';'"),
        ("One. Two! Three?", "it has 3 sentences"),
        ("x" * 401, "it has 401 characters"),
    ],
)
def test_what_makes_it_complex(query: str, why: str) -> None:
    analysis = look(query)
    assert analysis.complexity is Complexity.COMPLEX
    assert why in analysis.reasons


def test_what_is_simple() -> None:
    analysis = look("Where is my invoice?", "order", "a")
    assert analysis == QueryAnalysis("Where is my invoice?", Complexity.SIMPLE, ("billing",), (), ("a", "order"))
    assert analysis.words == {"where", "is", "my", "invoice"}


@pytest.mark.parametrize("words", [{"billing": "invoice"}, {"billing": ["?"]}, {"billing": [7]}])
def test_words_that_are_none(words: Any) -> None:
    with pytest.raises(DefinitionError, match="the words of capability 'billing'"):
        analyse("Hello", CAPABILITIES, words=words)


# --- templates ------------------------------------------------------------------------------------------------------------

STEPS: list[Any] = [
    {"id": "find", "type": "find", "capabilities": ["billing"], "parameters": {"order": "${context.order}"}},
    {"id": "study", "type": "study", "capabilities": ["data_analysis"], "dependencies": ["find"]},
    PlannedTask("letter", ("writing",), {}, ("study",), id="letter"),
]


def refund(name: str = "refund", **options: Any) -> WorkflowTemplate:
    given: dict[str, Any] = {"keywords": ["Refund"], "needs": ["order"], "optional": ["study"]}
    return WorkflowTemplate(name, STEPS, **(given | options))


def test_a_template_matches_by_words_capabilities_and_what_it_needs() -> None:
    template = refund(capabilities=["billing"])
    assert template.fits(look("A refund for this invoice", "order")) == 2
    assert not template.fits(look("A refund for this invoice"))
    assert not template.fits(look("A refund", "order"))
    assert not template.fits(look("This invoice", "order"))


def test_the_template_that_speaks_of_most_is_found() -> None:
    registry = WorkflowTemplateRegistry([refund(), refund("b", keywords=["refund", "invoice"]), refund("a", needs=())])
    assert len(registry) == 3
    assert registry.find_matching_template(look("Refund", "order")) is registry.get("a")
    assert registry.find_matching_template(look("Refund the invoice", "order")) is registry.get("b")
    assert registry.find_matching_template(look("Hello", "order")) is None
    assert WorkflowTemplateRegistry().find_matching_template(look("Refund")) is None


def test_optional_tasks_are_left_out_unless_they_are_asked_for() -> None:
    made = refund().customised(look("Refund", "order"))
    assert made.ids == ("find", "letter")
    assert made.tasks[1].dependencies == ("find",)
    assert made.reason == "the request fits the template 'refund'"
    assert refund().customised(look("Refund, with an analysis of the data", "order")).ids == ("find", "study", "letter")


def test_the_last_task_is_not_left_out() -> None:
    template = WorkflowTemplate("only", STEPS[:1], keywords=["x"], optional=["find"])
    assert template.customised(look("x")).ids == ("find",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": ""}, "is no name of a template"),
        ({"keywords": ()}, "it would match every request"),
        ({"keywords": "refund"}, "keywords of template 'refund' are 'refund'"),
        ({"needs": [1]}, "needs of template"),
        ({"optional": ["nothing"]}, "optional names 'nothing'"),
        ({"strategy": "chaos"}, "the strategy 'chaos' is unknown"),
    ],
)
def test_what_is_no_template(change: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        refund(**change)


def test_mistakes_in_the_tasks_are_told() -> None:
    with pytest.raises(DefinitionError, match="depends on 'b', which does not exist") as told:
        WorkflowTemplate("x", [{"type": "a", "dependencies": ["b"]}], keywords=["x"], strategy=Strategy.PARALLEL)
    assert len(told.value.problems) == 1


def test_a_registry_takes_templates_of_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, template = WorkflowTemplateRegistry(), refund()
    assert registry.register(template) is registry.register(template) is template
    with pytest.raises(DefinitionError, match="a template 'refund' already"):
        registry.register(refund())
    with pytest.raises(DefinitionError, match="a registry got a dict"):
        registry.register({})  # type: ignore[arg-type]  # the mistake
    monkeypatch.setattr("agenticflow.agents.decomposition.templates.MAX_TEMPLATES", 1)
    with pytest.raises(DefinitionError, match="and no more"):
        registry.register(refund("other"))
    assert repr(template) == "WorkflowTemplate('refund', 3 tasks)"
